// StepCost: how long one step of one replica takes, and how much of that was measured.
// With a profile, the ops that it knows are priced from measured kernels; the rest, and everything
// without a profile, by the analytic model: roofline with stated efficiencies, launch overhead,
// alpha-beta collectives, host overhead. docs/model/calibration.md, docs/model/roofline.md,
// docs/model/collectives.md.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/units.h"
#include "sim/cost/collective.h"
#include "sim/cost/efficiency.h"
#include "sim/cost/label.h"
#include "sim/cost/profile_cost.h"
#include "sim/cost/roofline.h"
#include "sim/cost/rule_cost.h"
#include "sim/model/hardware.h"
#include "sim/model/lower.h"

namespace moecast {

/// What a step's time is spent on.
enum class StepPart {
  kAttention,    // attention over the cache, linear-attention state, cache append
  kExperts,      // router, top-k, routed experts
  kDense,        // every other GEMM and elementwise op
  kCollectives,  // traffic between GPUs
  kHost,         // scheduling, and launches not hidden behind the GPU
};
inline constexpr int kStepPartCount = 5;
std::string_view StepPartName(StepPart part);

/// Ops whose errors have one cause: fully correlated inside, independent of one another. Classes
/// of ops first, in their order (op_class.h).
enum class ErrorSource {
  kGemm,
  kExperts,
  kRoute,
  kDecodeAttention,
  kPrefillAttention,
  kElementwise,
  kCollective,
  kHost
};
inline constexpr size_t kErrorSources = 8;

/// A step's time and its parts. `total` is the sum of the parts in the order written here, rounded
/// up to 1 ns.
struct StepTime {
  Duration total{1};
  Seconds attention{};
  Seconds experts{};
  Seconds dense{};
  Seconds collectives{};
  Seconds host{};
  Seconds cache_writes{};  // of attention: appends, flushes and conversions
  std::array<Seconds, kLabelCount> by_label{};
  ErrorBand band{};  // of the total; 0 without a profile, where nothing says how wrong it is
};

/// Which end of its 95 % interval every step is taken at: for intervals of whole runs.
enum class StepQuantile { kExpected, kFast, kSlow };

/// One line of `moecast explain`: an op, its arithmetic and its time. Expert lines give the mean
/// over MoE layers of each layer's slowest rank.
struct OpLine {
  std::string name{};
  std::string shape{};  // human-readable dimensions
  StepPart part = StepPart::kDense;
  int64_t count = 1;        // times per step
  Bytes bytes{};            // per execution: device memory, or sent by one GPU for a collective
  Flops flops{};            // per execution
  Seconds memory_bound{};   // bytes / (peak bandwidth * efficiency); of the fabric for a collective
  Seconds compute_bound{};  // flops / (peak rate * efficiency)
  Seconds each{};           // predicted, per execution
  Seconds all{};            // predicted, count executions
  std::string_view bound{};  // "memory", "compute", "link", "latency" (the fixed time) or "host"
  std::string note{};        // what the reader must know, e.g. dequantisation; often empty
  Label label = Label::kAnalytic;
};

/// Prices steps of one replica: no clock, no randomness, no allocation once its scratch has grown.
/// Not thread safe; one per simulator.
class StepCost {
 public:
  /// REQUIRES: CheckParallelism(model, parallelism) passed; `model` outlives this object; a fabric
  /// bandwidth > 0 unless the replica is one GPU.
  StepCost(const ModelSpec& model, const Parallelism& parallelism, const KvPlan& kv,
           const DeviceSpec& device, const FabricSpec& fabric, const Efficiencies& efficiencies,
           std::shared_ptr<const Profile> profile = nullptr);

  /// From now on Predict's total is this end of the step's interval; parts and labels stay.
  void set_quantile(StepQuantile quantile) { quantile_ = quantile; }

  /// REQUIRES: step.attention has one entry per attention group, step.experts one per MoE layer and
  /// expert rank.
  /// RETURNS: at least 1 ns and at least the roofline bound; not less when work is added (INV-6).
  /// COST: O(op classes + MoE layers * expert ranks).
  StepTime Predict(const StepShape& step);
  /// The same arithmetic line by line, in execution order, host last; MoE layers are merged into
  /// one line per op. The lines of a part add up, in order, to Predict's part exactly.
  std::vector<OpLine> Explain(const StepShape& step);

 private:
  static constexpr size_t kHostItems = 4;

  /// All executions of an op: its time, the same by label, and its half widths in seconds.
  struct Priced {
    Seconds time{};
    std::array<Seconds, kLabelCount> by_label{};
    ErrorBand spread{};
    void Add(const KernelTime& each, int64_t count);
    void Add(const Priced& other);
    /// The worst label of any part, `otherwise` without one.
    [[nodiscard]] Label Worst(Label otherwise) const;
  };

  /// Launches of measured kernels, each of which has a gap, and how many of them write or read a
  /// cache in codes.
  struct Gaps {
    int64_t kernels = 0;
    int64_t in_codes = 0;
    void Add(const Gaps& other) {
      kernels += other.kernels;
      in_codes += other.in_codes;
    }
  };

  /// The ops that steps of equal rows have in common, before and after the cache, and their prices.
  struct RowOps {
    struct Each {
      Priced price{};
      Gaps gaps{};
      StepPart part{};
      ErrorSource source{};
      bool by_load = false;  // priced anew in every step, from its expert loads
    };
    int64_t rows = -1;
    int64_t logit_rows = 0;
    SelectionKind selection{};
    std::vector<CountedOp> ops{};
    size_t before = 0;           // of ops, those before the cache
    std::vector<Each> priced{};  // [op]
    int64_t launches = 0;
  };
  /// Of the step, remembered.
  RowOps& RowOpsOf(const StepShape& step);
  void FillRowOps(const StepShape& step, RowOps& rows);
  [[nodiscard]] Priced PriceLoads(CountedOp& counted, const StepShape& step, Gaps& gaps);
  [[nodiscard]] static int64_t LaunchCount(const std::vector<CountedOp>& ops);

  /// The attention group that a step waits for.
  [[nodiscard]] const AttentionLoad& SlowestLoad(const StepShape& step);
  [[nodiscard]] Seconds AnalyticTime(const CountedOp& counted) const;
  [[nodiscard]] Seconds ExpertTime(const ExpertGemm& op) const;
  /// The same where experts are read in part or stored in two formats: bounds of the parts add up.
  [[nodiscard]] Seconds UnevenExpertTime(const ExpertGemm& op) const;
  [[nodiscard]] Bounds BoundsOf(const ExpertGemm& op, const ExpertLoad& load,
                                double assignments) const;
  /// Time per step, of all sequences, of all prompt tokens, and launches the GPU waits for.
  [[nodiscard]] std::array<Seconds, kHostItems> HostTimes(const StepShape& step, Seconds gpu,
                                                          int64_t launches) const;

  // With a profile: profiled_step.cc, profiled_time.cc.
  StepTime PredictProfiled(const StepShape& step, RowOps& rows);
  /// Its measured kernels are added to `gaps`.
  [[nodiscard]] Priced PriceOf(const CountedOp& counted, Gaps& gaps);
  [[nodiscard]] std::optional<Priced> ProfiledPrice(const CountedOp& counted, Gaps& gaps);
  /// What `kernels` of the step take longer for following others than their like.
  [[nodiscard]] Priced PriceGaps(const StepShape& step, int64_t kernels) const;
  /// What `kernels` take longer beyond that for a cache in codes.
  [[nodiscard]] Priced PriceNarrowGaps(int64_t kernels) const;
  /// Cache writes, `count` times: of sequences that decode by one kernel, of chunks by another.
  /// Nothing where the profile lacks either.
  [[nodiscard]] std::optional<Priced> PriceWrites(const KvAppend& op, int64_t count, Gaps& gaps);
  /// Windows that sequences which decode empty: inside the launch that appends, as are those of
  /// chunks in theirs.
  [[nodiscard]] std::optional<Priced> PriceFlush(const KvAppend& op, int64_t count);
  [[nodiscard]] Priced PriceExperts(const ExpertGemm& op);
  [[nodiscard]] std::optional<KernelTime> ProfiledTime(const Op& op);
  void ExplainProfile(const CountedOp& counted, OpLine& line);

  [[nodiscard]] OpLine LineOf(const CountedOp& counted, Gaps& gaps);
  void ExplainBounds(const ExpertGemm& op, OpLine& line) const;
  void ExplainWork(const CollectiveWork& work, OpLine& line) const;
  template <class Body>
  void ExplainBounds(const Body& op, OpLine& line) const;

  Parallelism parallelism_;
  Lowering lowering_;
  Roofline roofline_;
  CollectiveCost collective_;
  Seconds host_per_step_;
  Seconds host_per_sequence_;
  Seconds host_per_prefill_token_;
  Seconds eager_launch_;
  Seconds graph_gap_;
  Seconds prompt_gap_;
  Seconds narrow_gap_;
  ErrorBand analytic_error_;
  RuleCosts rules_;
  std::string kv_format_;
  std::string activation_format_;
  std::optional<ProfileCost> profile_;
  StepQuantile quantile_ = StepQuantile::kExpected;
  double routed_tokens_ = 0;      // on each GPU, in the step being priced
  std::vector<RowOps> row_ops_;   // direct mapped
  std::vector<CountedOp> ops_;    // of the cache, or in Explain all; reused from call to call
  std::vector<CountedOp> group_;  // reused from call to call
};

}  // namespace moecast
