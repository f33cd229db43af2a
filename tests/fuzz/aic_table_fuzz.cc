// An aiconfigurator table, as tests/fuzz/imported_rows.h asks.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/import/aic.h"
#include "tests/fuzz/imported_rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast;
  // The first byte chooses the table; the rest is the file.
  constexpr std::array kNames{"moe_perf.csv",
                              "gemm_perf.csv",
                              "context_attention_perf.csv",
                              "generation_attention_perf.csv",
                              "generation_mla_perf.csv",
                              "mla_bmm_perf.csv",
                              "nccl_perf.csv",
                              "custom_allreduce_perf.csv",
                              "wideep_deepep_ll_perf.csv",
                              "wideep_deepep_normal_perf.csv"};
  if (size == 0) return 0;
  const std::string name = kNames[data[0] % kNames.size()];
  fuzz::CheckImported(calibration::ImportAicTable(
      std::string(reinterpret_cast<const char*>(data + 1), size - 1), name, fuzz::AnyTarget()));
  return 0;
}
