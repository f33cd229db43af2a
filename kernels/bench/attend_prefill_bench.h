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

struct AttendPrefillCase {
  AttendPrefillShape shape;  // rows are filled in by the bench
  int32_t new_tokens = 0;    // of each sequence
  int32_t past_tokens = 0;   // likewise
  KvScheme scheme = {};      // of the past
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
  KvCache cache_;
  DeviceBuffer<__nv_bfloat16> query_;
  DeviceBuffer<__nv_bfloat16> key_;
  DeviceBuffer<__nv_bfloat16> value_;
  DeviceBuffer<__nv_bfloat16> out_;
  DeviceBuffer<int32_t> offsets_;
  DeviceBuffer<int32_t> past_;
  DeviceBuffer<int32_t> table_;
  DeviceBuffer<int32_t> window_table_;
  DeviceBuffer<uint8_t> pages_;
  DeviceBuffer<uint8_t> window_;
  DeviceBuffer<uint8_t> expanded_;
  DeviceBuffer<uint32_t> counters_;
};

}  // namespace moecast::kernels
