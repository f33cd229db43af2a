// AttendBench: one decode attention on drawn pages, as often over as keeps its cache cold.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/attend/attend.h"

namespace moecast::kernels {

struct AttendCase {
  AttendShape shape;
  KvScheme scheme;
  std::vector<int32_t> lengths;  // [sequences]
  VisibleTokens visible = {};
  int32_t selected_pages = 0;  // of each sequence, evenly spaced; 0: no selection
};

/// Compulsory traffic and arithmetic of one launch: each seen token once at the width it is stored
/// in, metadata included, queries and outputs; a product each for keys and values.
struct AttendTraffic {
  double tokens = 0;  // in the cache
  double seen = 0;
  double bytes = 0;
  double flops = 0;
};
AttendTraffic CachedTraffic(const AttendCase& attend);

class AttendBench {
 public:
  /// Takes its pages from `arena`, as many copies of the cache as fit and together exceed
  /// `cold_bytes`, up to `most_copies`. ERRORS: throws when not even one fits.
  AttendBench(const AttendCase& attend, const DeviceBuffer<uint8_t>& arena, double cold_bytes,
              int most_copies, const Stream& stream);

  [[nodiscard]] int copies() const { return copies_; }
  /// Attends to copy `launch` % copies().
  void Launch(int launch, const Stream& stream) const;
  /// The first rung of the ladder, on the same data.
  void LaunchNaive(int launch, const Stream& stream) const;

 private:
  void PlacePools(const DeviceBuffer<uint8_t>& arena, double cold_bytes, int most_copies,
                  const Stream& stream);
  void MakeTables();
  void SelectPages();
  [[nodiscard]] AttendArgs ArgsOf(int launch) const;

  AttendCase attend_;
  int copies_ = 0;
  int64_t pages_ = 0;           // of one copy; a short sequence owns few of its table's entries
  int64_t table_entries_ = 0;   // of one copy
  int64_t window_entries_ = 0;  // of one copy
  KvCache cache_;               // of copy 0
  DeviceBuffer<int32_t> tables_;
  DeviceBuffer<int32_t> window_tables_;
  DeviceBuffer<int32_t> lengths_;
  DeviceBuffer<int32_t> selected_;
  DeviceBuffer<int32_t> selected_counts_;
  DeviceBuffer<__nv_bfloat16> query_;
  DeviceBuffer<__nv_bfloat16> out_;
  DeviceBuffer<uint8_t> workspace_;
};

}  // namespace moecast::kernels
