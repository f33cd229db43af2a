#include "kernels/bench/attend_prefill_bench.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/bench/attend_fill.h"
#include "kernels/bench/fill.h"
#include "kernels/ops/kv/kv_bits.h"

namespace moecast::kernels {
namespace {

// Query and key pairs of one sequence and head.
double Pairs(const ChunkLength& chunk, int32_t sliding) {
  const double all = chunk.past + chunk.tokens;
  const double first = chunk.past + 1;  // keys of the first query
  const double window = sliding > 0 ? sliding : all;
  if (first >= window) return chunk.tokens * window;
  const double growing = std::min(window, all) - first + 1;  // queries that see all before them
  return growing * (first + std::min(window, all)) / 2 + (chunk.tokens - growing) * window;
}

std::vector<int32_t> Ascending(int32_t count) {
  std::vector<int32_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// A past of latents is expanded by the caller and lies in front of the chunk's keys.
bool ExpandsPast(const AttendPrefillShape& shape) { return shape.key_dim != shape.value_dim; }

int32_t KeyRows(const AttendPrefillShape& shape, const ChunkLength& chunk) {
  return chunk.tokens + (ExpandsPast(shape) ? chunk.past : 0);
}

AttendPrefillCase WithRows(AttendPrefillCase attend) {
  AttendPrefillShape& s = attend.shape;
  s.sequences = static_cast<int32_t>(attend.chunks.size());
  s.query_rows = s.key_rows = 0;
  for (const ChunkLength& chunk : attend.chunks) {
    s.query_rows += chunk.tokens;
    s.key_rows += KeyRows(s, chunk);
  }
  s.scale = 1.0F / std::sqrt(static_cast<float>(s.key_dim));
  return attend;
}

DeviceBuffer<int32_t> ToDevice(const std::vector<int32_t>& values) {
  return DeviceBuffer<int32_t>(std::span<const int32_t>(values));
}

DeviceBuffer<__nv_bfloat16> DrawRows(int32_t rows, int32_t columns, uint64_t seed,
                                     const Stream& stream) {
  constexpr float kLargest = 1.5F;
  DeviceBuffer<__nv_bfloat16> drawn(static_cast<size_t>(rows) * static_cast<size_t>(columns));
  FillUniform(drawn.data(), drawn.size(), kLargest, seed, stream.get());
  return drawn;
}

}  // namespace

Traffic AttendPrefillTraffic(const AttendPrefillCase& attend) {
  const AttendPrefillShape& s = attend.shape;
  const double query_elements = s.query_heads * (s.key_dim + s.value_dim);
  const double cached_elements = s.kv_heads * (s.key_dim + s.value_dim);
  Traffic traffic;
  for (const ChunkLength& chunk : attend.chunks) {
    traffic.bytes += chunk.tokens * 2.0 * (query_elements + cached_elements);
    traffic.flops += Pairs(chunk, s.window) * 2 * query_elements;
    if (chunk.past == 0) continue;
    const int32_t read = s.window > 0 ? std::min(chunk.past, s.window) : chunk.past;
    traffic.bytes += read * cached_elements * ReadBits(attend.scheme, s.key_dim, chunk.past) / 8;
  }
  return traffic;
}

AttendPrefillBench::AttendPrefillBench(const AttendPrefillCase& attend, const Stream& stream)
    : attend_(WithRows(attend)),
      past_in_pages_(!ExpandsPast(attend.shape) &&
                     std::ranges::any_of(attend.chunks,
                                         [](const ChunkLength& chunk) { return chunk.past > 0; })),
      counters_(kAttendPrefillCounters) {
  const AttendPrefillShape& s = attend_.shape;
  query_ = DrawRows(s.query_rows, s.query_heads * s.key_dim, 1, stream);
  key_ = DrawRows(s.key_rows, s.kv_heads * s.key_dim, 2, stream);
  value_ = DrawRows(s.key_rows, s.kv_heads * s.value_dim, 3, stream);
  out_ = DeviceBuffer<__nv_bfloat16>(static_cast<size_t>(s.query_rows) *
                                     static_cast<size_t>(s.query_heads * s.value_dim));
  std::vector<int32_t> offsets{0};
  std::vector<int32_t> key_offsets{0};
  for (const ChunkLength& chunk : attend_.chunks) {
    offsets.push_back(offsets.back() + chunk.tokens);
    key_offsets.push_back(key_offsets.back() + KeyRows(s, chunk));
  }
  offsets_ = ToDevice(offsets);
  key_offsets_ = ToDevice(key_offsets);
  if (past_in_pages_) DrawPast(stream);
  counters_.Zero();
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
}

void AttendPrefillBench::DrawPast(const Stream& stream) {
  const AttendPrefillShape& s = attend_.shape;
  const KvScheme& scheme = attend_.scheme;
  const auto draw = [&](const KvScheme& stored, int32_t pages) {
    const PageLayout layout = LayoutOf(stored, s.key_dim);
    const int64_t count = static_cast<int64_t>(pages) * s.kv_heads;
    DeviceBuffer<uint8_t> pool(static_cast<size_t>(count * layout.page_bytes));
    FillPages(stored, layout, pool.data(), count, 4, stream.get());
    return pool;
  };
  std::vector<int32_t> past;
  int64_t tiles = 0;
  for (const ChunkLength& chunk : attend_.chunks) {
    past.push_back(chunk.past);
    tiles += (chunk.past + kPastTileTokens - 1) / kPastTileTokens;
  }
  const int32_t longest = *std::ranges::max_element(past);
  cache_.pages_per_sequence = (longest + kPageTokens - 1) / kPageTokens;
  const int32_t pages = s.sequences * cache_.pages_per_sequence;
  pages_ = draw(scheme, pages);
  table_ = ToDevice(Ascending(pages));
  if (HasWindow(scheme)) {
    const int32_t window_pages = s.sequences * WindowPages(scheme.window);
    window_ = draw(KvScheme{}, window_pages);
    window_table_ = ToDevice(Ascending(window_pages));
  }
  expanded_ = DeviceBuffer<uint8_t>(AttendPrefillPastBytes(s, tiles));
  past_ = ToDevice(past);
  cache_.pages = pages_.data();
  cache_.block_table = table_.data();
  cache_.window = window_.data();
  cache_.window_table = window_table_.data();
}

void AttendPrefillBench::Launch(const Stream& stream) const {
  const AttendPrefillShape& s = attend_.shape;
  AttendPrefill(s,
                {.query = {query_.data(), int64_t{s.query_heads} * s.key_dim},
                 .key = {key_.data(), int64_t{s.kv_heads} * s.key_dim},
                 .value = {value_.data(), int64_t{s.kv_heads} * s.value_dim},
                 .offsets = offsets_.data(),
                 .key_offsets = key_offsets_.data()},
                {.scheme = attend_.scheme,
                 .cache = cache_,
                 .tokens = past_in_pages_ ? past_.data() : nullptr,
                 .expanded = expanded_.data()},
                out_.data(), counters_.data(), stream.get());
}

}  // namespace moecast::kernels
