#include "kernels/bench/attend_bench.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/bench/attend_fill.h"
#include "kernels/bench/fill.h"
#include "kernels/ops/attend/naive.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

constexpr uint64_t kPageSeed = 1;
constexpr uint64_t kWindowSeed = 2;
constexpr uint64_t kQuerySeed = 3;

int64_t PagesOf(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// A cache in use hands out pages in no order.
std::vector<int32_t> Shuffled(int64_t count) {
  RngStream rng({.seed = 1}, "kernels/attend_bench");
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.NextBelow(i)]);
  return order;
}

// The layer whose codes a layer with shares_codes reads.
KvScheme WithOwnCodes(KvScheme scheme) {
  scheme.keys.shares_codes = scheme.values.shares_codes = false;
  return scheme;
}

// Bytes of a token in a quantised page of one head, with its share of the metadata.
double BytesOfToken(const KvScheme& scheme, int head_dim) {
  const PartLayout last = LayoutOf(WithOwnCodes(scheme), head_dim).values;
  return static_cast<double>(last.scales + last.metadata_bytes) / kPageTokens;
}

// Tokens of [first, end) that a sliding window shows.
int64_t Seen(const VisibleTokens& visible, int64_t length, int64_t first, int64_t end) {
  if (visible.window == 0) return std::max<int64_t>(end - first, 0);
  const int64_t front = std::min<int64_t>(visible.sink, end) - first;
  const int64_t from = std::max<int64_t>({length - visible.window, visible.sink, first});
  return std::max<int64_t>(front, 0) + std::max<int64_t>(end - from, 0);
}

int64_t SelectedPages(const AttendCase& attend, int32_t length) {
  return std::min<int64_t>(attend.selected_pages,
                           PagesOf(QuantisedTokens(attend.scheme.window, length)));
}

// Evenly spaced, the last included; a row of the list for each sequence.
std::vector<int32_t> ListPages(const AttendCase& attend) {
  std::vector<int32_t> listed;
  for (const int32_t length : attend.lengths) {
    const int64_t first = attend.scheme.window.sink / kPageTokens;
    const int64_t pages = PagesOf(QuantisedTokens(attend.scheme.window, length));
    const int64_t selected = std::max<int64_t>(SelectedPages(attend, length), 1);
    for (int64_t i = 0; i < attend.selected_pages; ++i)
      listed.push_back(static_cast<int32_t>(first + (i + 1) * pages / selected - 1));
  }
  return listed;
}

}  // namespace

AttendTraffic CachedTraffic(const AttendCase& attend) {
  const AttendShape& shape = attend.shape;
  const double heads = shape.kv.kv_heads;
  const double bf16_token = 4.0 * shape.kv.head_dim;
  AttendTraffic traffic;
  for (const int32_t length : attend.lengths) {
    const KvWindow& window = attend.scheme.window;
    const int64_t sinks = std::min<int64_t>(window.sink, length);
    const int64_t quantised = QuantisedTokens(window, length);
    const int64_t in_pages = attend.selected_pages > 0
                                 ? SelectedPages(attend, length) * kPageTokens
                                 : Seen(attend.visible, length, sinks, sinks + quantised);
    const int64_t in_window = Seen(attend.visible, length, 0, sinks) +
                              Seen(attend.visible, length, sinks + quantised, length);
    traffic.tokens += length;
    traffic.seen += static_cast<double>(in_pages + in_window);
    traffic.bytes +=
        heads * (static_cast<double>(in_pages) * BytesOfToken(attend.scheme, shape.kv.head_dim) +
                 static_cast<double>(in_window) * bf16_token);
  }
  const double query = static_cast<double>(shape.query_heads) * shape.kv.head_dim;
  traffic.bytes += 2 * 2 * query * shape.sequences;
  traffic.flops = 4 * query * traffic.seen;
  return traffic;
}

AttendBench::AttendBench(const AttendCase& attend, const DeviceBuffer<uint8_t>& arena,
                         double cold_bytes, int most_copies, const Stream& stream)
    : attend_(attend) {
  const AttendShape& shape = attend.shape;
  const int32_t longest = *std::max_element(attend.lengths.begin(), attend.lengths.end());
  cache_.pages_per_sequence = static_cast<int32_t>(PagesOf(longest));
  table_entries_ = static_cast<int64_t>(shape.sequences) * cache_.pages_per_sequence;
  for (const int32_t length : attend.lengths) pages_ += PagesOf(length);
  if (HasWindow(attend.scheme))
    window_entries_ = static_cast<int64_t>(shape.sequences) * WindowPages(attend.scheme.window);
  PlacePools(arena, cold_bytes, most_copies, stream);
  MakeTables();
  if (attend.selected_pages > 0) SelectPages();
  lengths_ = DeviceBuffer<int32_t>(std::span<const int32_t>(attend.lengths));
  const auto elements = static_cast<size_t>(shape.sequences) *
                        static_cast<size_t>(shape.query_heads) *
                        static_cast<size_t>(shape.kv.head_dim);
  query_ = DeviceBuffer<__nv_bfloat16>(elements);
  FillUniform(query_.data(), elements, 1, kQuerySeed, stream.get());
  out_ = DeviceBuffer<__nv_bfloat16>(elements);
  workspace_ = DeviceBuffer<uint8_t>(AttendWorkspaceBytes(shape));
  workspace_.Zero();
  CUDA_CHECK(cudaDeviceSynchronize());
}

// Pages of all copies, then those of the layer whose codes are shared, then windows.
void AttendBench::PlacePools(const DeviceBuffer<uint8_t>& arena, double cold_bytes, int most_copies,
                             const Stream& stream) {
  const KvScheme& scheme = attend_.scheme;
  const int64_t heads = attend_.shape.kv.kv_heads;
  const int head_dim = attend_.shape.kv.head_dim;
  const PageLayout layout = LayoutOf(scheme, head_dim);
  const PageLayout window_layout = WindowLayout(head_dim);
  const bool shares = scheme.keys.shares_codes || scheme.values.shares_codes;
  cache_.code_layout = LayoutOf(WithOwnCodes(scheme), head_dim);
  const int64_t own_bytes = pages_ * heads * layout.page_bytes;
  const int64_t code_bytes = shares ? pages_ * heads * cache_.code_layout.page_bytes : 0;
  const int64_t window_bytes = window_entries_ * heads * window_layout.page_bytes;
  const int64_t copy_bytes = own_bytes + code_bytes + window_bytes;
  const auto fitting = static_cast<double>(arena.size()) / static_cast<double>(copy_bytes);
  const double wanted = std::ceil(cold_bytes / CachedTraffic(attend_).bytes) + 1;
  copies_ = static_cast<int>(std::min({fitting, wanted, static_cast<double>(most_copies)}));
  if (copies_ < 1)
    throw std::runtime_error("a cache of " + std::to_string(copy_bytes) +
                             " bytes does not fit into " + std::to_string(arena.size()));
  cache_.pages = arena.data();
  uint8_t* const code_pages = cache_.pages + copies_ * own_bytes;
  cache_.code_pages = code_pages;
  cache_.window = code_pages + copies_ * code_bytes;
  FillPages(scheme, layout, cache_.pages, copies_ * pages_ * heads, kPageSeed, stream.get());
  if (shares)
    FillPages(WithOwnCodes(scheme), cache_.code_layout, code_pages, copies_ * pages_ * heads,
              kPageSeed, stream.get());
  if (window_entries_ > 0)
    FillPages({}, window_layout, cache_.window, copies_ * window_entries_ * heads, kWindowSeed,
              stream.get());
}

void AttendBench::MakeTables() {
  const std::vector<int32_t> order = Shuffled(copies_ * pages_);
  std::vector<int32_t> tables;
  tables.reserve(static_cast<size_t>(copies_ * table_entries_));
  auto next = order.begin();
  for (int copy = 0; copy < copies_; ++copy) {
    for (const int32_t length : attend_.lengths) {
      const int64_t own = PagesOf(length);
      tables.insert(tables.end(), next, next + own);
      next += own;
      tables.resize(tables.size() + static_cast<size_t>(cache_.pages_per_sequence - own), 0);
    }
  }
  tables_ = DeviceBuffer<int32_t>(std::span<const int32_t>(tables));
  const std::vector<int32_t> windows = Shuffled(copies_ * window_entries_);
  window_tables_ = DeviceBuffer<int32_t>(std::span<const int32_t>(windows));
  cache_.block_table = tables_.data();
  cache_.window_table = window_tables_.data();
}

void AttendBench::SelectPages() {
  const std::vector<int32_t> listed = ListPages(attend_);
  std::vector<int32_t> counts;
  for (const int32_t length : attend_.lengths)
    counts.push_back(static_cast<int32_t>(SelectedPages(attend_, length)));
  selected_ = DeviceBuffer<int32_t>(std::span<const int32_t>(listed));
  selected_counts_ = DeviceBuffer<int32_t>(std::span<const int32_t>(counts));
}

AttendArgs AttendBench::ArgsOf(int launch) const {
  const AttendShape& shape = attend_.shape;
  const int copy = launch % copies_;
  AttendArgs args{.shape = shape,
                  .scheme = attend_.scheme,
                  .cache = cache_,
                  .lengths = lengths_.data(),
                  .query = query_.data(),
                  .query_stride = static_cast<int64_t>(shape.query_heads) * shape.kv.head_dim,
                  .softmax_scale = 1 / std::sqrt(static_cast<float>(shape.kv.head_dim)),
                  .visible = attend_.visible,
                  .out = out_.data(),
                  .workspace = workspace_.data()};
  args.cache.block_table += copy * table_entries_;
  args.cache.window_table += copy * window_entries_;
  if (attend_.selected_pages > 0)
    args.selection = {.pages = selected_.data(),
                      .counts = selected_counts_.data(),
                      .pages_per_sequence = attend_.selected_pages};
  return args;
}

void AttendBench::Launch(int launch, const Stream& stream) const {
  Attend(ArgsOf(launch), stream.get());
}
void AttendBench::LaunchNaive(int launch, const Stream& stream) const {
  AttendNaive(ArgsOf(launch), stream.get());
}

}  // namespace moecast::kernels
