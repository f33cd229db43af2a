// KvPools: the paged cache of every layer in device memory, and the tables that name the pages of a
// step's sequences.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "kernels/execute/kv_pages.h"
#include "kernels/execute/step_form.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/attend/attend.h"
#include "kernels/ops/kv/kv_cache.h"
#include "kernels/ops/mla/attend_mla.h"
#include "sim/model/step_executor.h"

namespace moecast::kernels {

/// The kernels' form of a scheme for heads of `head` channels. ERRORS: CudaError where there are no
/// kernels for it.
KvScheme KernelScheme(const moecast::KvScheme& scheme, int32_t head);
/// How the kernels store a scheme's latents. ERRORS: likewise.
KvElement LatentElement(const moecast::KvScheme& scheme);

class KvPools {
 public:
  /// Takes the memory that `request` asks for, or what is left of the card's if that is less; all
  /// of it set to zero. ERRORS: CudaError, when not one sequence fits.
  explicit KvPools(const ExecutorRequest& request);

  /// Gives the step's sequences their pages and copies the tables, a row for each of `rows`
  /// (padding included, chunks last).
  /// ERRORS: CudaError when the cache is too small for the step.
  void Prepare(std::span<const SequenceWork> sequences, bool padded, int32_t rows);
  /// Entries of a table row; grows with the longest sequence and never shrinks. Another value means
  /// other addresses: captured graphs are void.
  [[nodiscard]] int32_t row_pages() const { return row_pages_; }

  [[nodiscard]] const KvScheme& scheme() const { return scheme_; }  // of keys and values
  [[nodiscard]] const KvShape& shape() const { return shape_; }
  [[nodiscard]] KvElement latents() const { return latents_; }
  /// The layer's cache as seen by the table rows from `first_row` on: keys and values, or latents.
  [[nodiscard]] KvCache CacheOf(size_t layer, int32_t first_row) const;
  [[nodiscard]] LatentCache LatentsOf(size_t layer, int32_t first_row) const;
  /// The layer's pages, to be written.
  [[nodiscard]] uint8_t* PagesOf(size_t layer) const { return pool_.data() + layer * layer_bytes_; }
  /// Scratch of decode attention for a shape, zeroed when first asked for.
  void* WorkspaceOf(const AttendShape& shape);
  void* WorkspaceOf(const AttendMlaShape& shape);

 private:
  void ChooseScheme(const ExecutorRequest& request);
  [[nodiscard]] size_t PageBytes() const;  // of a layer
  void Allocate(const ExecutorRequest& request);
  void* Workspace(int32_t sequences, size_t bytes);
  void GrowTable(int32_t row_pages);

  KvScheme scheme_;
  KvShape shape_;
  bool latent_;
  KvElement latents_ = KvElement::kBf16;
  int32_t most_rows_;
  size_t layer_bytes_ = 0;
  size_t window_layer_bytes_ = 0;
  PageCapacity capacity_;
  KvPages pages_{{}};
  DeviceBuffer<uint8_t> pool_;
  DeviceBuffer<uint8_t> window_pool_;
  int32_t row_pages_ = 0;
  DeviceBuffer<int32_t> table_;
  DeviceBuffer<int32_t> window_table_;
  std::vector<int32_t> host_table_;
  std::map<int32_t, DeviceBuffer<uint8_t>> workspaces_;  // by sequences
};

}  // namespace moecast::kernels
