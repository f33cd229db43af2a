// ProfileCost: prices ops from a profile, or says that the profile has no such kernel. Predictions
// are memoised on their exact features. docs/model/calibration.md, "In the simulator".
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/units.h"
#include "sim/cost/features.h"
#include "sim/cost/kernel_curve.h"
#include "sim/model/hardware.h"
#include "sim/model/op.h"
#include "sim/model/selection_kind.h"

namespace moecast {

/// The kernels of a profile that can run one kind of op in one format at one shape. Several are
/// variants of one another: the fastest at a point is taken.
struct KernelChoice {
  struct Candidate {
    size_t kernel = 0;              // position in the profile
    std::optional<size_t> shape{};  // position in the kernel's shapes; absent: not measured
  };
  std::vector<Candidate> candidates{};
  [[nodiscard]] bool empty() const { return candidates.empty(); }
};

/// A kernel to look up: `slot` tells uses of one op apart that have different shapes, so that each
/// remembers its own answer.
struct KernelQuery {
  std::string_view op{};
  std::string_view format{};
  size_t slot = 0;
  bool latent = false;  // of a latent cache, whose writes are a variant of their own
};

/// What an expert layer of one model is, for the profile.
struct ExpertLayerShape {
  int64_t hidden = 0;
  int64_t intermediate = 0;  // of one expert on one GPU
  int64_t experts = 0;
  int64_t top_k = 0;
  TensorFormat format{};
};

/// Not thread safe (the memo); one per StepCost.
class ProfileCost {
 public:
  /// `experts`: of the model's expert layers; absent for a dense model.
  ProfileCost(std::shared_ptr<const Profile> profile, const DeviceSpec& device,
              std::optional<ExpertLayerShape> experts);

  /// The time of one launch, or nothing when the profile has no such kernel. The last answer of
  /// every (op, format, slot) is kept. COST: no allocation after the first call of each.
  std::optional<KernelTime> Find(const KernelQuery& query, const KernelFeatures& f, double floor);
  /// The rows behind the last answer of Find.
  [[nodiscard]] std::string DescribeLast() const;

  /// Kernels for `op` in `format` and the shape of `f`; empty: the profile has none. A format
  /// matches its own name, or "name_...": int4 is served by int4_g32. Of several the one that says
  /// least beyond the wanted name; "_tensor" says nothing beyond it. "-" and "_" are the same. The
  /// variant "latent" serves launches on latent caches (`latent`) and nothing else.
  [[nodiscard]] KernelChoice Choose(std::string_view op, std::string_view format,
                                    const KernelFeatures& f, bool latent = false);
  /// The time of one launch of the best labelled, then fastest candidate. REQUIRES:
  /// !choice.empty().
  [[nodiscard]] KernelTime Time(const KernelChoice& choice, const KernelFeatures& f,
                                double floor) const {
    Launches launches(f);
    return BestTime(choice, launches, floor).time;
  }

  /// Whether the profile has kernels for the expert layers, and for their routing.
  [[nodiscard]] bool has_experts() const;
  [[nodiscard]] bool has_route() const { return !route(SelectionKind::kNative).empty(); }
  /// Whether routing was measured under this rule.
  [[nodiscard]] bool has_route(SelectionKind rule) const { return !route(rule).empty(); }
  /// The routed experts of one layer on one rank, alignment to combine; routing is not included.
  /// Memoised on (tokens, load). REQUIRES: has_experts().
  KernelTime ExpertTime(double tokens, const ExpertLoad& load);
  /// Router, selection and alignment of one layer. REQUIRES: has_route(rule).
  KernelTime RouteTime(double tokens, SelectionKind rule);
  /// What the prediction for a load rests on, in words: kernels, nearest rows and their distance.
  [[nodiscard]] std::string DescribeExperts(double tokens, const ExpertLoad& load);
  [[nodiscard]] std::string DescribeRoute(double tokens, SelectionKind rule) const;

  /// Least time at datasheet rates, seconds.
  [[nodiscard]] double Floor(const OpFeatures& features) const;

 private:
  struct Use {
    std::string op{};
    std::string format{};
    size_t slot = 0;
    bool latent = false;
    KernelChoice choice{};
    KernelFeatures last{};
    double floor = -1;
    std::optional<KernelTime> time{};
  };
  /// Tokens and load.
  using LoadKey = std::array<double, 5>;
  struct MemoEntry {
    LoadKey key{-1};
    KernelTime time;
  };
  /// A kernel of the expert layer that knows of loads no more than their sum, and its last answer.
  struct ByTokens {
    KernelChoice choice;
    double tokens = -1;
    double assignments = -1;
    KernelTime time;
  };
  /// A time, and the kernel it is of.
  struct Covered {
    KernelTime time;
    size_t kernel = 0;
  };
  /// What prices a load: the layer as a whole, or its products in one launch or two, and combine.
  struct ExpertParts {
    const KernelChoice* first = nullptr;
    const KernelChoice* second = nullptr;
    bool combines = false;
    KernelTime products;  // of first and second, and of the permutation that they need
  };
  /// Where the memo keeps the answer for this load.
  [[nodiscard]] static size_t MemoPlace(const LoadKey& key);
  [[nodiscard]] const KernelCurve& CurveOf(const KernelChoice::Candidate& candidate) const {
    return *curves_[candidate.kernel];
  }
  /// The best labelled, then fastest candidate. REQUIRES: !choice.empty().
  [[nodiscard]] Covered BestTime(const KernelChoice& choice, Launches& launches,
                                 double floor) const;
  /// The same, of a candidate whose rows reach the launch: measured or interpolated; or nothing.
  /// Another whose rows begin within an octave of it takes over where it is faster beyond both
  /// errors.
  [[nodiscard]] std::optional<Covered> CoveredTime(const KernelChoice& choice, Launches& launches,
                                                   double floor) const;
  void ChooseRoutes();
  /// RETURNS: whether the query has a use; last_use_ is then it, else the place of a new one.
  [[nodiscard]] bool FindUse(const KernelQuery& query);
  [[nodiscard]] const KernelChoice& route(SelectionKind rule) const {
    return routes_[static_cast<size_t>(rule)].choice;
  }
  [[nodiscard]] std::string Describe(const KernelChoice& choice, const KernelFeatures& f) const;
  /// The same launch, with what kernels need to know of the GPU.
  [[nodiscard]] KernelFeatures OnDevice(KernelFeatures f) const;
  [[nodiscard]] KernelFeatures RouteFeatures(double tokens) const;
  /// Whether layers as a whole have a price: their routing is another op's, and taken out.
  [[nodiscard]] bool prices_layers() const { return !layer_.empty() && has_route(); }
  [[nodiscard]] ExpertParts InOneLaunch(const KernelTime& products) const {
    return {.first = &fused_, .combines = !combine_.choice.empty(), .products = products};
  }
  [[nodiscard]] ExpertParts InTwoLaunches(const KernelTime& products) const {
    return {.first = &gate_up_,
            .second = &down_,
            .combines = !combine_.choice.empty(),
            .products = products};
  }
  [[nodiscard]] ExpertParts PartsFor(Launches& launches);
  /// Where no rows reach: the layer as a whole if its shape was measured, else its products in one
  /// launch or in two, whichever is the faster.
  [[nodiscard]] ExpertParts ExtrapolatedParts(Launches& launches);
  /// Whether rows of products on permuted tokens reach the launch, or nearly.
  [[nodiscard]] bool MayPermute(Launches& launches) const;
  /// Both products by two launches, and the permutation before those that need one.
  [[nodiscard]] KernelTime ProductsTime(Launches& launches, const Covered& up, const Covered& down);
  /// The kernel's time, remembered while tokens and assignments stay.
  const KernelTime& TimeOf(ByTokens& kernel, const KernelFeatures& f);
  KernelTime ComputeExpertTime(double tokens, const ExpertLoad& load);
  [[nodiscard]] KernelFeatures ExpertFeatures(double tokens, const ExpertLoad& load) const;

  std::shared_ptr<const Profile> profile_;
  double multiprocessors_;
  double cache_bytes_;
  double seconds_per_byte_;
  std::array<double, kComputeClassCount> seconds_per_flop_{};
  std::vector<std::optional<KernelCurve>> curves_;  // [kernel of the profile]; of those chosen
  std::optional<ExpertLayerShape> experts_;
  KernelChoice layer_, gate_up_, down_, fused_;
  ByTokens combine_, permute_;
  std::array<ByTokens, kSelectionNames.size()> routes_;  // [SelectionKind]
  std::vector<MemoEntry> memo_;                          // direct mapped
  std::vector<Use> uses_;
  size_t last_use_ = 0;
};

}  // namespace moecast
