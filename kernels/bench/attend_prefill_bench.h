// AttendPrefillBench: one prefill attention on drawn numbers, with or without a past in pages.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/expert_load.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"

namespace moecast::kernels {

/// Of one sequence.
struct ChunkLength {
  int32_t tokens = 0;
  int32_t past = 0;  // in front of them: in the cache or, of latents, expanded
};

struct AttendPrefillCase {
  AttendPrefillShape shape;  // sequences and rows are filled in by the bench
  std::vector<ChunkLength> chunks;
  KvScheme scheme = {};  // of the past
};

/// Each input and output once, what the window leaves of the past at the width it is stored in;
/// products of the pairs that the causal mask and the window leave.
Traffic AttendPrefillTraffic(const AttendPrefillCase& attend);

class AttendPrefillBench {
 public:
  AttendPrefillBench(const AttendPrefillCase& attend, const Stream& stream);

  void Launch(const Stream& stream) const;

 private:
  void DrawPast(const Stream& stream);

  AttendPrefillCase attend_;
  bool past_in_pages_;
  KvCache cache_;
  DeviceBuffer<__nv_bfloat16> query_;
  DeviceBuffer<__nv_bfloat16> key_;
  DeviceBuffer<__nv_bfloat16> value_;
  DeviceBuffer<__nv_bfloat16> out_;
  DeviceBuffer<int32_t> offsets_;
  DeviceBuffer<int32_t> key_offsets_;
  DeviceBuffer<int32_t> past_;
  DeviceBuffer<int32_t> table_;
  DeviceBuffer<int32_t> window_table_;
  DeviceBuffer<uint8_t> pages_;
  DeviceBuffer<uint8_t> window_;
  DeviceBuffer<uint8_t> expanded_;
  DeviceBuffer<uint32_t> counters_;
};

}  // namespace moecast::kernels
