// Suite of latent decode attention: 16 query heads (one of eight tensor-parallel slices) and all
// 128, latents at 16, 8 and 4 bits, over batch, context and skew of lengths; fewer rows of other
// slices.
#include "kernels/bench/suite_mla.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>

#include "kernels/bench/drawn_lengths.h"
#include "kernels/bench/fill.h"
#include "kernels/bench/kv_rows.h"
#include "kernels/bench/latent_fill.h"
#include "kernels/bench/latent_rows.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/mla/attend_mla.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kQueryChannels = kLatentChannels + kRotaryChannels;
constexpr double kArenaBytes = 10e9;
constexpr double kCachesBetweenUses = 4;  // L2 sizes that other launches read in between
constexpr int64_t kMostTokens = 4 << 20;

struct Heads {
  const char* model;
  int32_t query_heads;
};
constexpr Heads kHeads[] = {{"DeepSeek-V3-TP8", 16}, {"DeepSeek-V3", 128}};
constexpr Heads kOtherSlices[] = {
    {"DeepSeek-V3-TP16", 8}, {"DeepSeek-V3-TP4", 32}, {"DeepSeek-V3-TP2", 64}};

// Lengths of a batch and the word for them.
struct Batch {
  std::string regime;
  std::vector<int32_t> lengths;
};

Batch EvenBatch(size_t sequences, int32_t tokens) {
  return {"even", std::vector<int32_t>(sequences, tokens)};
}

std::vector<Batch> Batches() {
  std::vector<Batch> batches;
  for (const int64_t sequences : {1, 16, 64, 256}) {
    for (const int32_t tokens : {1024, 4096, 16384, 65536}) {
      if (sequences * tokens <= kMostTokens)
        batches.push_back(EvenBatch(static_cast<size_t>(sequences), tokens));
    }
  }
  constexpr int kSkewed = 64;
  Batch one_long{"one_long", std::vector<int32_t>(kSkewed, 2048)};
  one_long.lengths[0] = 131072;
  batches.push_back(one_long);
  // Quantiles of a lognormal distribution with median 4096 and a standard deviation of 1 in its
  // logarithm, by the logistic curve that is close to its quantile function.
  Batch lognormal{"lognormal", {}};
  for (int i = 0; i < kSkewed; ++i) {
    const double share = (i + 0.5) / kSkewed;
    constexpr double kLogisticScale = 1.702;
    lognormal.lengths.push_back(
        static_cast<int32_t>(4096 * std::exp(std::log(share / (1 - share)) / kLogisticScale)));
  }
  batches.push_back(lognormal);
  return batches;
}

Batch DrawnBatch(int32_t sequences, int32_t mean) {
  constexpr double kDeviation = 0.8;  // of the logarithm
  return {"lognormal", LognormalLengths(sequences, mean, kDeviation)};
}

using Counts = std::initializer_list<int32_t>;
void AddEven(Counts sequences, Counts tokens, std::vector<Batch>& batches) {
  for (const int32_t count : sequences) {
    for (const int32_t each : tokens)
      batches.push_back(EvenBatch(static_cast<size_t>(count), each));
  }
}

// What lies between those counts, few of them powers of two, and lengths drawn as steps have them.
std::vector<Batch> BatchesBetween() {
  std::vector<Batch> batches;
  AddEven({2, 8, 32, 128}, {700, 2100, 8200, 30000}, batches);
  AddEven({4, 12, 48}, {1400, 5000, 20000}, batches);
  for (const int32_t sequences : {3, 16, 48}) {
    for (const int32_t mean : {600, 2400, 9600}) batches.push_back(DrawnBatch(sequences, mean));
  }
  return batches;
}

// Of DeepSeek-V2-Lite, which has 16 heads.
std::vector<Batch> ShortBatches() {
  std::vector<Batch> batches;
  AddEven({1, 4, 16, 64}, {128, 256, 512}, batches);
  AddEven({1}, {64}, batches);
  AddEven({4}, {1024, 2048, 4096}, batches);
  AddEven({16}, {640, 900}, batches);
  AddEven({2, 8, 24, 48}, {180, 360}, batches);
  AddEven({512}, {512}, batches);
  return batches;
}

std::vector<Batch> BatchesOfOthers() {
  std::vector<Batch> batches;
  AddEven({1}, {1400, 16384, 65536}, batches);
  AddEven({4}, {1400}, batches);
  AddEven({16}, {1400, 4096}, batches);
  AddEven({64}, {1024, 4096, 16384}, batches);
  for (const int32_t mean : {600, 2400}) batches.push_back(DrawnBatch(24, mean));
  return batches;
}

// One batch over as many copies of its cache as keep it out of L2.
class MlaBench {
 public:
  MlaBench(const AttendMlaShape& shape, const std::vector<int32_t>& lengths,
           const DeviceBuffer<uint8_t>& arena, double cold_bytes, const Stream& stream)
      : shape_(shape),
        arena_(arena),
        lengths_(std::span<const int32_t>(lengths)),
        query_(static_cast<size_t>(shape.sequences) * static_cast<size_t>(shape.query_heads) *
               kQueryChannels),
        out_(static_cast<size_t>(shape.sequences) * static_cast<size_t>(shape.query_heads) *
             kLatentChannels),
        workspace_(AttendMlaWorkspaceBytes(shape)) {
    const int32_t longest = *std::max_element(lengths.begin(), lengths.end());
    pages_per_sequence_ = (longest + kPageTokens - 1) / kPageTokens;
    std::vector<int32_t> table;
    for (const int32_t length : lengths) {
      for (int32_t p = 0; p < pages_per_sequence_; ++p)
        table.push_back(p * kPageTokens < length ? pages_++ : 0);
    }
    const double bytes = static_cast<double>(pages_) * LatentLayoutOf(shape.element).page_bytes;
    const double fit = static_cast<double>(arena.size()) / bytes;
    copies_ = static_cast<int>(std::clamp(std::ceil(cold_bytes / bytes) + 1, 1.0, std::floor(fit)));
    table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(table));
    workspace_.Zero();
    FillUniform(query_.data(), query_.size(), 1, 1, stream.get());
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  }

  void Launch(int launch, const Stream& stream) const {
    constexpr float kScale = 0.0417F;  // 1 / sqrt(576)
    const int64_t first =
        static_cast<int64_t>(launch % copies_) * pages_ * LatentLayoutOf(shape_.element).page_bytes;
    AttendMla({.shape = shape_,
               .cache = {.pages = arena_.data() + first,
                         .page_count = pages_,
                         .block_table = table_.data(),
                         .pages_per_sequence = pages_per_sequence_},
               .lengths = lengths_.data(),
               .query = query_.data(),
               .scale = kScale,
               .out = out_.data(),
               .workspace = workspace_.data()},
              stream.get());
  }

 private:
  AttendMlaShape shape_;
  const DeviceBuffer<uint8_t>& arena_;
  int32_t pages_ = 0;
  int32_t pages_per_sequence_ = 0;
  int copies_ = 1;
  DeviceBuffer<int32_t> lengths_;
  DeviceBuffer<int32_t> table_;
  DeviceBuffer<Bf16> query_;
  DeviceBuffer<Bf16> out_;
  DeviceBuffer<uint8_t> workspace_;
};

KvMeasurement Describe(const SuiteContext& context, const LatentScheme& scheme, const Heads& heads,
                       const Batch& batch) {
  const double tokens = std::accumulate(batch.lengths.begin(), batch.lengths.end(), 0.0);
  const auto sequences = static_cast<double>(batch.lengths.size());
  KvMeasurement row = DescribeLatents(context, scheme);
  row.op = "attend_mla";
  row.model = heads.model;
  row.regime = batch.regime;
  row.sequences = sequences;
  row.cached_tokens = tokens;
  row.max_context = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  row.new_tokens = sequences;
  row.query_heads = heads.query_heads;
  row.bytes = tokens * kQueryChannels * row.read_bits / 8 +
              sequences * heads.query_heads * 2 * (kQueryChannels + kLatentChannels);
  row.flops = 2 * tokens * heads.query_heads * (kQueryChannels + kLatentChannels);
  return row;
}

}  // namespace

std::vector<KvMeasurement> RunMlaSuite(const SuiteContext& context) {
  SuiteContext steady = UnderPowerCap(context);
  steady.bench.rule = {.min_samples = 20,
                       .max_samples = 60,
                       .max_iqr_ratio = 0.01,
                       .max_relative_error = 0.003,
                       .max_seconds = 0.15};
  const Stream& stream = context.bench.stream;
  const DeviceBuffer<uint8_t> arena(static_cast<size_t>(kArenaBytes));
  std::vector<KvMeasurement> rows;
  const auto append = [&](const LatentScheme& scheme, const Heads& heads, const Batch& batch) {
    const AttendMlaShape shape{.sequences = static_cast<int32_t>(batch.lengths.size()),
                               .query_heads = heads.query_heads,
                               .element = scheme.element};
    const MlaBench bench(shape, batch.lengths, arena,
                         kCachesBetweenUses * context.environment.l2_bytes, stream);
    AppendMeasured(
        steady, [&](int launch) { bench.Launch(launch, stream); },
        Describe(context, scheme, heads, batch), rows);
  };
  for (const LatentScheme& scheme : kLatentSchemes) {
    const auto page_bytes = static_cast<size_t>(LatentLayoutOf(scheme.element).page_bytes);
    FillLatents(scheme.element, arena.data(), static_cast<int64_t>(arena.size() / page_bytes), 1,
                stream.get());
    for (const Heads& heads : kHeads) {
      for (const Batch& batch : Batches()) append(scheme, heads, batch);
      for (const Batch& batch : BatchesBetween()) append(scheme, heads, batch);
    }
    for (const Batch& batch : ShortBatches()) append(scheme, kHeads[0], batch);
    for (const Heads& heads : kOtherSlices) {
      for (const Batch& batch : BatchesOfOthers()) append(scheme, heads, batch);
    }
  }
  return rows;
}

}  // namespace moecast::kernels
