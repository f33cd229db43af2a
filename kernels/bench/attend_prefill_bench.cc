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
double Pairs(const AttendPrefillCase& attend) {
  const double all = attend.past_tokens + attend.new_tokens;
  const double first = attend.past_tokens + 1;  // keys of the first query
  const double window = attend.shape.window > 0 ? attend.shape.window : all;
  if (first >= window) return attend.new_tokens * window;
  const double growing = std::min(window, all) - first + 1;  // queries that see all before them
  return growing * (first + std::min(window, all)) / 2 + (attend.new_tokens - growing) * window;
}

std::vector<int32_t> Ascending(int32_t count) {
  std::vector<int32_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

AttendPrefillCase WithRows(AttendPrefillCase attend) {
  attend.shape.query_rows = attend.shape.key_rows = attend.shape.sequences * attend.new_tokens;
  attend.shape.scale = 1.0F / std::sqrt(static_cast<float>(attend.shape.key_dim));
  return attend;
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
  double bytes = attend.new_tokens * 2.0 * (query_elements + cached_elements);
  if (attend.past_tokens > 0) {
    const int32_t read = s.window > 0 ? std::min(attend.past_tokens, s.window) : attend.past_tokens;
    bytes += read * cached_elements * ReadBits(attend.scheme, s.key_dim, attend.past_tokens) / 8;
  }
  return {.bytes = s.sequences * bytes, .flops = s.sequences * Pairs(attend) * 2 * query_elements};
}

AttendPrefillBench::AttendPrefillBench(const AttendPrefillCase& attend, const Stream& stream)
    : attend_(WithRows(attend)), counters_(kAttendPrefillCounters) {
  const AttendPrefillShape& s = attend_.shape;
  query_ = DrawRows(s.query_rows, s.query_heads * s.key_dim, 1, stream);
  key_ = DrawRows(s.key_rows, s.kv_heads * s.key_dim, 2, stream);
  value_ = DrawRows(s.key_rows, s.kv_heads * s.value_dim, 3, stream);
  out_ = DeviceBuffer<__nv_bfloat16>(static_cast<size_t>(s.query_rows) *
                                     static_cast<size_t>(s.query_heads * s.value_dim));
  std::vector<int32_t> offsets = Ascending(s.sequences + 1);
  for (int32_t& offset : offsets) offset *= attend.new_tokens;
  offsets_ = DeviceBuffer<int32_t>(std::span<const int32_t>(offsets));
  if (attend.past_tokens > 0) DrawPast(stream);
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
  cache_.pages_per_sequence = (attend_.past_tokens + kPageTokens - 1) / kPageTokens;
  const int32_t pages = s.sequences * cache_.pages_per_sequence;
  pages_ = draw(scheme, pages);
  table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(Ascending(pages)));
  if (HasWindow(scheme)) {
    const int32_t window_pages = s.sequences * WindowPages(scheme.window);
    window_ = draw(KvScheme{}, window_pages);
    window_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(Ascending(window_pages)));
  }
  const int64_t tiles = (attend_.past_tokens + kPastTileTokens - 1) / kPastTileTokens;
  expanded_ = DeviceBuffer<uint8_t>(AttendPrefillPastBytes(s, s.sequences * tiles));
  const std::vector<int32_t> past(static_cast<size_t>(s.sequences), attend_.past_tokens);
  past_ = DeviceBuffer<int32_t>(std::span<const int32_t>(past));
  cache_.pages = pages_.data();
  cache_.block_table = table_.data();
  cache_.window = window_.data();
  cache_.window_table = window_table_.data();
}

void AttendPrefillBench::Launch(const Stream& stream) const {
  const AttendPrefillShape& s = attend_.shape;
  AttendPrefill(s,
                {.query = {query_.data(), s.query_heads * s.key_dim},
                 .key = {key_.data(), s.kv_heads * s.key_dim},
                 .value = {value_.data(), s.kv_heads * s.value_dim},
                 .offsets = offsets_.data()},
                {.scheme = attend_.scheme,
                 .cache = cache_,
                 .tokens = attend_.past_tokens > 0 ? past_.data() : nullptr,
                 .expanded = expanded_.data()},
                out_.data(), counters_.data(), stream.get());
}

}  // namespace moecast::kernels
