#include "kernels/bench/suite_append.h"

#include <algorithm>
#include <memory>

#include "kernels/bench/cache_writers.h"
#include "kernels/bench/fill.h"
#include "kernels/bench/kv_pool.h"
#include "kernels/bench/kv_rotation.h"
#include "kernels/bench/kv_rows.h"
#include "kernels/bench/suite_latent.h"
#include "kernels/ops/kv/kv_bits.h"
#include "kernels/ops/kv/rotate.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

constexpr const char* kModels[] = {"Qwen3-30B-A3B", "Mixtral-8x7B", "gpt-oss-120b", "OLMoE-1B-7B"};
constexpr int kRows = 65536;  // of the fused product that launches take their inputs from
// Appends start here: no window flushes within kPositions tokens; kFlushAt is where all do.
constexpr int kContext = 1064;
constexpr int kPositions = 16;
constexpr int kFlushAt = 1152;
constexpr int kMostCopies = 8;
// Schemes whose first rung is measured, for the model of AppendGroups.
constexpr const char* kNaivePlain = "int4";
constexpr const char* kNaiveWindow = "kivi2";

double QuantisedBytes(const FittedScheme& fitted, const KvShape& shape, double tokens) {
  return tokens * shape.kv_heads * shape.head_dim * 2 *
         QuantisedBits(fitted.scheme, shape.head_dim) / 8;
}
double PlainBytes(const KvShape& shape, double tokens) {
  return tokens * shape.kv_heads * shape.head_dim * 2 * 2;
}

// One model's fused product [rows][query, key, value heads] and what launches on it need.
class Attention {
 public:
  Attention(const SuiteContext& context, const AttentionShape& model)
      : context_(context),
        model_(model.model),
        query_heads_(model.rope.query_heads),
        shape_{.kv_heads = model.rope.key_heads, .head_dim = model.rope.head},
        stride_((int64_t{query_heads_} + 2 * shape_.kv_heads) * shape_.head_dim),
        fused_(static_cast<size_t>(kRows) * static_cast<size_t>(stride_)),
        rotation_(HadamardColumns(shape_.head_dim)) {
    FillUniform(fused_.data(), fused_.size(), 1, 1, context.bench.stream.get());
    context.bench.stream.Synchronize();
  }

  [[nodiscard]] const KvShape& shape() const { return shape_; }
  [[nodiscard]] const SuiteContext& context() const { return context_; }
  [[nodiscard]] int64_t stride() const { return stride_; }
  [[nodiscard]] cudaStream_t stream() const { return context_.bench.stream.get(); }

  // Keys of the rows that a launch takes when each takes `rows`.
  [[nodiscard]] Bf16* Keys(int launch, int rows) const {
    return Queries(launch, rows) + int64_t{query_heads_} * shape_.head_dim;
  }
  [[nodiscard]] Bf16* Values(int launch, int rows) const {
    return Keys(launch, rows) + int64_t{shape_.kv_heads} * shape_.head_dim;
  }

  // Queries and keys of those rows, where the scheme rotates them. A calibrated matrix costs what a
  // Hadamard one does.
  void Rotate(const FittedScheme& fitted, int launch, int rows) const {
    if (fitted.scheme.rotation == KeyRotation::kNone) return;
    RotateHeads({.rows = rows,
                 .heads = query_heads_ + shape_.kv_heads,
                 .head_dim = shape_.head_dim,
                 .stride = stride_,
                 .heads_data = Queries(launch, rows),
                 .columns = rotation_.data(),
                 .factor = HadamardFactor(shape_.head_dim)},
                stream());
  }
  [[nodiscard]] double RotatedBytes(const FittedScheme& fitted, double rows) const {
    const bool rotates = fitted.scheme.rotation != KeyRotation::kNone;
    return rotates ? rows * (query_heads_ + shape_.kv_heads) * shape_.head_dim * 4 : 0;
  }

  [[nodiscard]] KvMeasurement Describe(const char* op, const char* regime,
                                       const FittedScheme& fitted,
                                       const EvenContext& cached) const {
    KvMeasurement row = DescribeCache(context_, fitted, shape_, cached);
    row.op = op;
    row.regime = regime;
    row.model = model_;
    row.query_heads = query_heads_;
    return row;
  }

  // Copies of something so large that launches which rotate through them find none in L2.
  [[nodiscard]] int Copies(double bytes) const {
    return std::clamp(static_cast<int>(2 * context_.environment.l2_bytes / bytes) + 1, 1,
                      kMostCopies);
  }

 private:
  [[nodiscard]] Bf16* Queries(int launch, int rows) const {
    return fused_.data() + static_cast<int64_t>(launch % (kRows / rows)) * rows * stride_;
  }

  const SuiteContext& context_;
  std::string model_;
  int query_heads_;
  KvShape shape_;
  int64_t stride_;
  DeviceBuffer<Bf16> fused_;
  DeviceBuffer<Bf16> rotation_;
};

// The tables of copy `copy` of `sequences` sequences.
KvCache CopyOf(const KvPool& pool, const KvScheme& scheme, int sequences, int copy) {
  KvCache cache = pool.view();
  cache.block_table += static_cast<int64_t>(copy) * sequences * cache.pages_per_sequence;
  if (HasWindow(scheme))
    cache.window_table += static_cast<int64_t>(copy) * sequences * WindowPages(scheme.window);
  return cache;
}

DeviceBuffer<int32_t> ToDevice(const std::vector<int32_t>& values) {
  return DeviceBuffer<int32_t>(std::span<const int32_t>(values));
}

// Launch r appends to copy r % copies of the cache, with row r % (lengths / sequences) of lengths.
// All take the same keys and values: in a step the kernels before have just written them, so they
// are in L2.
EnqueueLaunch Appending(const Attention& attention, const FittedScheme& fitted, const KvPool& pool,
                        const DeviceBuffer<int32_t>& lengths, int sequences, int copies,
                        const CacheWriters& writers) {
  return [&attention, &fitted, &pool, &lengths, sequences, copies, &writers](int launch) {
    attention.Rotate(fitted, 0, sequences);
    const auto rows = static_cast<int>(lengths.size()) / sequences;
    writers.append({.shape = attention.shape(),
                    .scheme = fitted.scheme,
                    .cache = CopyOf(pool, fitted.scheme, sequences, launch % copies),
                    .sequences = sequences,
                    .lengths = lengths.data() + int64_t{launch % rows} * sequences,
                    .keys = attention.Keys(0, sequences),
                    .values = attention.Values(0, sequences),
                    .key_stride = attention.stride(),
                    .value_stride = attention.stride()},
                   attention.stream());
  };
}

double AppendBytes(const Attention& attention, const FittedScheme& fitted, int sequences) {
  const KvShape& shape = attention.shape();
  const double written = HasWindow(fitted.scheme) ? PlainBytes(shape, sequences)
                                                  : QuantisedBytes(fitted, shape, sequences);
  return PlainBytes(shape, sequences) + written + attention.RotatedBytes(fitted, sequences);
}

void AppendStep(const Attention& attention, const FittedScheme& fitted, int sequences,
                const CacheWriters& writers, std::vector<KvMeasurement>& rows) {
  const KvPool pool(attention.shape(), fitted.scheme, sequences, kFlushAt, 1);
  std::vector<int32_t> lengths;
  for (int position = 1; position <= kPositions; ++position)
    lengths.insert(lengths.end(), static_cast<size_t>(sequences), kContext + position);
  const DeviceBuffer<int32_t> device_lengths = ToDevice(lengths);
  KvMeasurement row =
      attention.Describe("append", "even", fitted, {.sequences = sequences, .tokens = kContext});
  row.op += writers.suffix;
  row.new_tokens = sequences;
  row.bytes = AppendBytes(attention, fitted, sequences);
  AppendMeasured(attention.context(),
                 Appending(attention, fitted, pool, device_lengths, sequences, 1, writers), row,
                 rows);
}

// The step at which all sequences flush.
void AppendFlush(const Attention& attention, const FittedScheme& fitted, int sequences,
                 const CacheWriters& writers, std::vector<KvMeasurement>& rows) {
  const KvShape& shape = attention.shape();
  const double tokens = static_cast<double>(sequences) * fitted.scheme.window.flush;
  const int copies = attention.Copies(PlainBytes(shape, tokens));
  const KvPool pool(shape, fitted.scheme, sequences * copies, kFlushAt, 1);
  const DeviceBuffer<int32_t> device_lengths =
      ToDevice(std::vector<int32_t>(static_cast<size_t>(sequences), kFlushAt));
  KvMeasurement row =
      attention.Describe("flush", "all", fitted, {.sequences = sequences, .tokens = kFlushAt - 1});
  row.op += writers.suffix;
  row.new_tokens = sequences;
  row.bytes = AppendBytes(attention, fitted, sequences) + PlainBytes(shape, tokens) +
              QuantisedBytes(fitted, shape, tokens);
  AppendMeasured(attention.context(),
                 Appending(attention, fitted, pool, device_lengths, sequences, copies, writers),
                 row, rows);
}

// One launch's chunks: prompts from their first token on.
struct Chunks {
  const char* regime;
  std::vector<int32_t> tokens;
};

std::vector<int32_t> RowStarts(const std::vector<int32_t>& chunks) {
  std::vector<int32_t> starts{0};
  for (const int32_t tokens : chunks) starts.push_back(starts.back() + tokens);
  return starts;
}

// Row of a pack, but for its times.
KvMeasurement DescribePack(const Attention& attention, const FittedScheme& fitted,
                           const Chunks& chunks) {
  const KvShape& shape = attention.shape();
  KvMeasurement row = attention.Describe("pack", chunks.regime, fitted, {.sequences = 1});
  row.sequences = static_cast<double>(chunks.tokens.size());
  double quantised = 0;
  row.stored_bits = row.read_bits = 0;
  for (const int32_t tokens : chunks.tokens) {
    row.new_tokens += tokens;
    row.stored_bits += tokens * StoredBits(fitted.scheme, shape.head_dim, tokens);
    row.read_bits += tokens * ReadBits(fitted.scheme, shape.head_dim, tokens);
    quantised += static_cast<double>(QuantisedTokens(fitted.scheme.window, tokens));
  }
  row.stored_bits /= row.new_tokens;
  row.read_bits /= row.new_tokens;
  row.bytes = PlainBytes(shape, row.new_tokens) + QuantisedBytes(fitted, shape, quantised) +
              PlainBytes(shape, row.new_tokens - quantised) +
              attention.RotatedBytes(fitted, row.new_tokens);
  return row;
}

void AppendPack(const Attention& attention, const FittedScheme& fitted, const Chunks& chunks,
                const CacheWriters& writers, std::vector<KvMeasurement>& rows) {
  const KvShape& shape = attention.shape();
  KvMeasurement row = DescribePack(attention, fitted, chunks);
  row.op += writers.suffix;
  const auto sequences = static_cast<int>(chunks.tokens.size());
  const auto tokens = static_cast<int>(row.new_tokens);
  const int longest = *std::max_element(chunks.tokens.begin(), chunks.tokens.end());
  const int copies = attention.Copies(QuantisedBytes(fitted, shape, tokens));
  const KvPool pool(shape, fitted.scheme, sequences * copies, longest, 1);
  const DeviceBuffer<int32_t> starts = ToDevice(RowStarts(chunks.tokens));
  const DeviceBuffer<int32_t> lengths = ToDevice(chunks.tokens);
  AppendMeasured(
      attention.context(),
      [&](int launch) {
        attention.Rotate(fitted, launch, tokens);
        writers.pack({.shape = shape,
                      .scheme = fitted.scheme,
                      .cache = CopyOf(pool, fitted.scheme, sequences, launch % copies),
                      .sequences = sequences,
                      .most_new_tokens = longest,
                      .row_starts = starts.data(),
                      .lengths = lengths.data(),
                      .keys = attention.Keys(launch, tokens),
                      .values = attention.Values(launch, tokens),
                      .key_stride = attention.stride(),
                      .value_stride = attention.stride()},
                     attention.stream());
      },
      row, rows);
}

// As steps have them: an even pack of one prompt is the bandwidth's, chunks that end inside pages
// are a scheduler's. No sum of chunks is a prompt's count: the two take different times.
std::vector<Chunks> ChunksToPack() {
  std::vector<Chunks> packs;
  for (const int tokens : {32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192,
                           16384, 32768, 65536})
    packs.push_back({"even", {tokens}});
  const std::vector<int32_t> mixed{300, 100, 420, 288, 64, 500, 200, 188};
  for (const int count : {1, 2, 4, 8})
    packs.push_back({"mixed", {mixed.begin(), mixed.begin() + count}});
  return packs;
}

void AppendScheme(const Attention& attention, const FittedScheme& fitted,
                  std::vector<KvMeasurement>& rows) {
  for (const int sequences : {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384})
    AppendStep(attention, fitted, sequences, kWriters, rows);
  if (HasWindow(fitted.scheme)) {
    // A step of many sequences flushes few of them.
    for (const int sequences : {1, 2, 4, 8, 16, 32, 64, 128, 256})
      AppendFlush(attention, fitted, sequences, kWriters, rows);
  }
  for (const Chunks& chunks : ChunksToPack()) AppendPack(attention, fitted, chunks, kWriters, rows);
}

// Of a scheme that shows an op at one size.
constexpr int kSequences = 256;
constexpr int kFewSequences = 16;
constexpr int kFewTokens = 1024;
constexpr int kTokens = 8192;

// Groups of 64 and 128 where schemes have groups of their own.
void AppendGroups(const Attention& attention, const NamedScheme& named,
                  std::vector<KvMeasurement>& rows) {
  if (named.scheme.keys.group == 0) return;
  for (const int group : {64, 128}) {
    const FittedScheme fitted =
        Fitted({.name = named.name, .layer = named.layer, .scheme = WithGroup(named.scheme, group)},
               attention.shape().head_dim);
    AppendFlush(attention, fitted, kSequences, kWriters, rows);
    AppendPack(attention, fitted, {"even", {kTokens}}, kWriters, rows);
  }
}

// The first rung of each op: appends without a window, flushes and packs with one.
void AppendNaiveRows(const Attention& attention, const NamedScheme& named,
                     std::vector<KvMeasurement>& rows) {
  const FittedScheme fitted = Fitted(named, attention.shape().head_dim);
  if (named.name == kNaivePlain) AppendStep(attention, fitted, kSequences, kNaiveWriters, rows);
  if (named.name != kNaiveWindow) return;
  AppendFlush(attention, fitted, kFewSequences, kNaiveWriters, rows);
  AppendPack(attention, fitted, {"even", {kFewTokens}}, kNaiveWriters, rows);
}

}  // namespace

std::vector<KvMeasurement> RunAppendSuite(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};  // many rows
  std::vector<KvMeasurement> rows;
  for (const AttentionShape& model : context.attention) {
    if (std::find(std::begin(kModels), std::end(kModels), model.model) == std::end(kModels))
      continue;
    const Attention attention(context, model);
    for (const NamedScheme& named : context.kv_schemes) {
      AppendScheme(attention, Fitted(named, attention.shape().head_dim), rows);
      if (model.model != kModels[1]) continue;
      AppendGroups(attention, named, rows);
      AppendNaiveRows(attention, named, rows);
    }
  }
  AppendLatentRows(context, rows);
  return rows;
}

}  // namespace moecast::kernels
