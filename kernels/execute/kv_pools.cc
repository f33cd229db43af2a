#include "kernels/execute/kv_pools.h"

#include <algorithm>
#include <bit>
#include <string>

#include "kernels/execute/attention_widths.h"

namespace moecast::kernels {
namespace {

constexpr int32_t kFirstRowPages = 16;
/// Left free for captured graphs and the driver.
constexpr size_t kSpareBytes = size_t{2} << 30;

KvElement ElementOf(const moecast::KvScheme& scheme, double bits) {
  if (scheme.name == "fp8_e4m3") return KvElement::kE4m3;
  if (scheme.name == "fp8_e5m2") return KvElement::kE5m2;
  for (const KvElement element :
       {KvElement::kBf16, KvElement::kInt8, KvElement::kInt4, KvElement::kInt2, KvElement::kInt1}) {
    if (static_cast<double>(BitsOf(element)) == bits) return element;
  }
  throw CudaError("kv: no kernels for codes of " + std::to_string(bits) + " bits in '" +
                  scheme.name + "'");
}

KvPart PartOf(const moecast::KvScheme& scheme, const moecast::KvSide& side, int32_t head) {
  const KvElement element = ElementOf(scheme, side.code.bits);
  if (element == KvElement::kBf16) return {};
  // A head of fewer channels than a group is one group; fp8 has one scale per head.
  const bool tokens = side.code.axis == moecast::KvAxis::kToken;
  const auto group = static_cast<int32_t>(side.code.group);
  return {.element = element,
          .axis = tokens ? ScaleAxis::kToken : ScaleAxis::kChannel,
          .group = IsFp8(element) ? head
                   : tokens       ? std::min(group, head)
                                  : group};
}

/// Keys and values leave a kernel's window together, when the keys' side says so.
KvWindow WindowOf(const moecast::KvSide& keys) {
  if (keys.flush <= 1) return {};
  const int64_t recent = keys.bands.empty() ? 0 : keys.bands.front().newest;
  return {.sink = static_cast<int32_t>(keys.sink),
          .recent = static_cast<int32_t>(recent),
          .flush = static_cast<int32_t>(keys.flush)};
}

}  // namespace

KvScheme KernelScheme(const moecast::KvScheme& scheme, int32_t head) {
  const KvScheme kernel{.keys = PartOf(scheme, scheme.layer.keys, head),
                        .values = PartOf(scheme, scheme.layer.values, head),
                        .window = WindowOf(scheme.layer.keys),
                        .rotation = scheme.rotated ? KeyRotation::kHadamard : KeyRotation::kNone};
  if (!Fits(kernel, head)) {
    throw CudaError("kv: no kernels for '" + scheme.name + "' with heads of " +
                    std::to_string(head));
  }
  return kernel;
}

KvElement LatentElement(const moecast::KvScheme& scheme) {
  const moecast::KvCode& code = scheme.layer.keys.code;
  for (const KvElement element : {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt4}) {
    const bool grouped = element == KvElement::kBf16 || code.group == kLatentGroup;
    if (static_cast<double>(BitsOf(element)) == code.bits && grouped && !scheme.rotated &&
        scheme.layer.keys.bands.empty()) {
      return element;
    }
  }
  throw CudaError("kv: no kernels for latents stored as '" + scheme.name + "'");
}

KvPools::KvPools(const ExecutorRequest& request)
    : latent_(std::holds_alternative<MlaAttention>(request.model.attention)),
      most_rows_(static_cast<int32_t>(2 * request.max_sequences)) {
  ChooseScheme(request);
  Allocate(request);
  GrowTable(kFirstRowPages);
}

void KvPools::ChooseScheme(const ExecutorRequest& request) {
  if (latent_) {
    latents_ = LatentElement(request.kv);
    return;
  }
  const AttentionWidths widths = WidthsOf(request.model);
  shape_ = {.kv_heads = widths.kv_heads, .head_dim = widths.key_dim};
  scheme_ = KernelScheme(request.kv, shape_.head_dim);
  if (!Fits(AttendShape{.query_heads = widths.heads, .kv = shape_}, scheme_)) {
    throw CudaError("kv: decode attention takes at most " + std::to_string(kMostQueriesPerHead) +
                    " query heads for a KV head; not '" + request.kv.name + "' of " +
                    request.model.name);
  }
}

size_t KvPools::PageBytes() const {
  if (latent_) return static_cast<size_t>(LatentLayoutOf(latents_).page_bytes);
  return static_cast<size_t>(shape_.kv_heads) *
         static_cast<size_t>(LayoutOf(scheme_, shape_.head_dim).page_bytes);
}

void KvPools::Allocate(const ExecutorRequest& request) {
  const auto layers = static_cast<size_t>(request.model.layer_count());
  const auto sequences = static_cast<size_t>(request.max_sequences);
  const size_t page = PageBytes();
  const auto per_sequence =
      HasWindow(scheme_) ? static_cast<size_t>(WindowPages(scheme_.window)) : size_t{0};
  if (per_sequence > 0) {
    window_layer_bytes_ = sequences * per_sequence * static_cast<size_t>(shape_.kv_heads) *
                          static_cast<size_t>(WindowLayout(shape_.head_dim).page_bytes);
  }
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  const size_t taken = kSpareBytes + layers * window_layer_bytes_;
  const size_t room = free_bytes > taken ? (free_bytes - taken) / (layers * page) : 0;
  // Every sequence's last page may be empty but for one token.
  const size_t wanted = static_cast<size_t>(request.kv_tokens) / kPageTokens + sequences;
  const size_t pages = std::min(room, wanted);
  if (pages == 0) throw CudaError("no memory is left for a KV cache beside the weights");
  layer_bytes_ = pages * page;
  pool_ = DeviceBuffer<uint8_t>(layers * layer_bytes_);
  pool_.Zero();
  window_pool_ = DeviceBuffer<uint8_t>(layers * window_layer_bytes_);
  if (window_pool_.size() > 0) window_pool_.Zero();
  capacity_ = {.pages = static_cast<int32_t>(pages),
               .window_pages = static_cast<int32_t>(sequences * per_sequence),
               .window_per_sequence = static_cast<int32_t>(per_sequence)};
  pages_ = KvPages(capacity_);
  window_table_ = DeviceBuffer<int32_t>(static_cast<size_t>(most_rows_) * per_sequence);
  if (per_sequence > 0) window_table_.Zero();
}

void KvPools::GrowTable(int32_t row_pages) {
  row_pages_ = row_pages;
  table_ = DeviceBuffer<int32_t>(static_cast<size_t>(most_rows_) * static_cast<size_t>(row_pages));
  table_.Zero();
}

void KvPools::Prepare(std::span<const SequenceWork> sequences, bool padded, int32_t rows) {
  if (!pages_.Prepare(sequences)) {
    throw CudaError("the KV cache has " + std::to_string(capacity_.pages) + " pages of " +
                    std::to_string(kPageTokens) + " tokens, too few for the step");
  }
  if (pages_.longest() > row_pages_) {
    GrowTable(static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(pages_.longest()))));
  }
  const auto table_rows = padded ? static_cast<size_t>(rows) : sequences.size();
  host_table_.resize(table_rows * static_cast<size_t>(row_pages_));
  pages_.FillTable(sequences, row_pages_, host_table_);
  table_.CopyFrom(host_table_);
  if (capacity_.window_per_sequence == 0) return;
  host_table_.resize(table_rows * static_cast<size_t>(capacity_.window_per_sequence));
  pages_.FillWindowTable(sequences, host_table_);
  window_table_.CopyFrom(host_table_);
}

KvCache KvPools::CacheOf(size_t layer, int32_t first_row) const {
  const bool window = capacity_.window_per_sequence > 0;
  return {.pages = PagesOf(layer),
          .block_table = table_.data() + static_cast<int64_t>(first_row) * row_pages_,
          .pages_per_sequence = row_pages_,
          .window = window ? window_pool_.data() + layer * window_layer_bytes_ : nullptr,
          .window_table = window ? window_table_.data() + static_cast<int64_t>(first_row) *
                                                              capacity_.window_per_sequence
                                 : nullptr};
}

LatentCache KvPools::LatentsOf(size_t layer, int32_t first_row) const {
  return {.pages = PagesOf(layer),
          .page_count = capacity_.pages,
          .block_table = table_.data() + static_cast<int64_t>(first_row) * row_pages_,
          .pages_per_sequence = row_pages_};
}

void* KvPools::WorkspaceOf(const AttendShape& shape) {
  return Workspace(shape.sequences, AttendWorkspaceBytes(shape));
}

void* KvPools::WorkspaceOf(const AttendMlaShape& shape) {
  return Workspace(shape.sequences, AttendMlaWorkspaceBytes(shape));
}

void* KvPools::Workspace(int32_t sequences, size_t bytes) {
  const auto [it, is_new] = workspaces_.try_emplace(sequences);
  if (is_new) {
    it->second = DeviceBuffer<uint8_t>(bytes);
    if (it->second.size() > 0) it->second.Zero();
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  }
  return it->second.data();
}

}  // namespace moecast::kernels
