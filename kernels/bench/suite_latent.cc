#include "kernels/bench/suite_latent.h"

#include <span>

#include "kernels/bench/fill.h"
#include "kernels/bench/kv_rows.h"
#include "kernels/bench/latent_rows.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/kv/latent.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kWidth = kLatentChannels + kRotaryChannels;
constexpr int kRows = 262144;  // that launches take their inputs from: beyond L2
constexpr int kContext = 1064;
constexpr int kPagesPerSequence = 32;

KvMeasurement Describe(const SuiteContext& context, const LatentScheme& scheme, const char* op,
                       const EvenContext& cached) {
  KvMeasurement row = DescribeLatents(context, scheme);
  row.op = op;
  row.model = "DeepSeek-V3";
  row.regime = "even";
  row.sequences = static_cast<double>(cached.sequences);
  row.cached_tokens = static_cast<double>(cached.sequences * cached.tokens);
  row.max_context = static_cast<double>(cached.tokens);
  return row;
}

// A cache of `sequences` sequences, each with pages of its own in order.
struct LatentPool {
  DeviceBuffer<uint8_t> pages;
  DeviceBuffer<int32_t> table;

  LatentPool(KvElement element, int sequences, int pages_per_sequence)
      : pages(static_cast<size_t>(sequences) * static_cast<size_t>(pages_per_sequence) *
              static_cast<size_t>(LatentLayoutOf(element).page_bytes)) {
    std::vector<int32_t> order;
    order.reserve(static_cast<size_t>(sequences) * static_cast<size_t>(pages_per_sequence));
    for (int i = 0; i < sequences * pages_per_sequence; ++i) order.push_back(i);
    table = DeviceBuffer<int32_t>(std::span<const int32_t>(order));
  }
};

void Append(const SuiteContext& context, const LatentScheme& scheme, const DeviceBuffer<Bf16>& x,
            int sequences, std::vector<KvMeasurement>& rows) {
  const LatentPool pool(scheme.element, sequences, kPagesPerSequence);
  const std::vector<int32_t> lengths(static_cast<size_t>(sequences), kContext + 1);
  const DeviceBuffer<int32_t> device_lengths{std::span<const int32_t>(lengths)};
  KvMeasurement row = Describe(context, scheme, "append", {sequences, kContext});
  row.new_tokens = sequences;
  row.bytes = sequences * kWidth * (2 + row.stored_bits / 8);
  AppendMeasured(
      context,
      [&](int launch) {
        const Bf16* const from =
            x.data() + static_cast<int64_t>(launch) * sequences % (kRows - sequences) * kWidth;
        AppendLatents({.element = scheme.element,
                       .pages = pool.pages.data(),
                       .block_table = pool.table.data(),
                       .pages_per_sequence = kPagesPerSequence,
                       .sequences = sequences,
                       .lengths = device_lengths.data(),
                       .latents = from,
                       .rotary = from + kLatentChannels,
                       .latent_stride = kWidth,
                       .rotary_stride = kWidth},
                      context.bench.stream.get());
      },
      row, rows);
}

// Prompts of one launch, of `tokens` each.
struct Chunks {
  int count;
  int tokens;
};
constexpr Chunks kChunks[] = {{1, 64},    {1, 256}, {1, 300},  {1, 1024}, {1, 2048}, {1, 8192},
                              {1, 32768}, {2, 150}, {2, 1024}, {4, 128},  {4, 300},  {4, 1500}};

void Pack(const SuiteContext& context, const LatentScheme& scheme, const DeviceBuffer<Bf16>& x,
          const Chunks& chunks, std::vector<KvMeasurement>& rows) {
  const int tokens = chunks.count * chunks.tokens;
  const int copies = kRows / tokens;
  const int pages = (chunks.tokens + kPageTokens - 1) / kPageTokens;  // of a sequence
  const LatentPool pool(scheme.element, copies * chunks.count, pages);
  std::vector<int32_t> starts{0};
  for (int i = 0; i < chunks.count; ++i) starts.push_back(starts.back() + chunks.tokens);
  const std::vector<int32_t> lengths(static_cast<size_t>(chunks.count), chunks.tokens);
  const DeviceBuffer<int32_t> device_starts{std::span<const int32_t>(starts)};
  const DeviceBuffer<int32_t> device_lengths{std::span<const int32_t>(lengths)};
  KvMeasurement row = Describe(context, scheme, "pack", {chunks.count, 0});
  row.new_tokens = tokens;
  row.bytes = tokens * kWidth * (2 + row.stored_bits / 8);
  AppendMeasured(
      context,
      [&](int launch) {
        const int copy = launch % copies;
        const Bf16* const from = x.data() + static_cast<int64_t>(copy) * tokens * kWidth;
        AppendLatents({.element = scheme.element,
                       .pages = pool.pages.data(),
                       .block_table = pool.table.data() + int64_t{copy} * chunks.count * pages,
                       .pages_per_sequence = pages,
                       .sequences = chunks.count,
                       .most_new_tokens = chunks.tokens,
                       .row_starts = device_starts.data(),
                       .lengths = device_lengths.data(),
                       .latents = from,
                       .rotary = from + kLatentChannels,
                       .latent_stride = kWidth,
                       .rotary_stride = kWidth},
                      context.bench.stream.get());
      },
      row, rows);
}

}  // namespace

void AppendLatentRows(const SuiteContext& context, std::vector<KvMeasurement>& rows) {
  const Stream& stream = context.bench.stream;
  const DeviceBuffer<Bf16> x(static_cast<size_t>(kRows) * kWidth);
  FillUniform(x.data(), x.size(), 1, 1, stream.get());
  stream.Synchronize();
  for (const LatentScheme& scheme : kLatentSchemes) {
    for (const int sequences : {1, 2, 4, 8, 16, 32, 64, 128, 256})
      Append(context, scheme, x, sequences, rows);
    for (const Chunks& chunks : kChunks) Pack(context, scheme, x, chunks, rows);
  }
}

}  // namespace moecast::kernels
