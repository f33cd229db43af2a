// Small tables and a GPU on which nothing is too fast.
#pragma once

#include <string>

#include "calibration/import/imported.h"

namespace moecast::calibration::test {

inline ImportTarget Target() {
  ImportTarget target{.gpu = "any", .engine = "vllm-1.0", .device = {}, .expert_tile_rows = 16};
  target.device.hbm_bandwidth = BytesPerSecond(1e18);
  target.device.l2_capacity = Bytes(1e6);
  target.device.peak.fill(FlopsPerSecond(1e21));
  return target;
}

inline std::string MoeTable(const std::string& rows) {
  return "op_name,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,"
         "moe_tp_size,moe_ep_size,distribution,latency\n" +
         rows;
}

}  // namespace moecast::calibration::test
