#include "calibration/import/aic_tables.h"

#include <algorithm>
#include <array>
#include <utility>

namespace moecast::calibration {
namespace {

constexpr auto kReaders = std::to_array<std::pair<std::string_view, AicReader>>({
    {"moe_perf", ReadAicMoe},
    {"wideep_moe_perf", ReadAicMoe},
    {"gemm_perf", ReadAicGemm},
    {"computescale_perf", ReadAicQuantize},
    {"scale_matrix_perf", ReadAicQuantize},
    {"context_attention_perf", ReadAicContextAttention},
    {"generation_attention_perf", ReadAicGenerationAttention},
    {"context_mla_perf", ReadAicContextMla},
    {"mla_context_module_perf", ReadAicContextMla},
    {"generation_mla_perf", ReadAicGenerationMla},
    {"mla_generation_module_perf", ReadAicGenerationMla},
    {"mla_bmm_perf", ReadAicMlaBmm},
    {"nccl_perf", ReadAicNccl},
    {"custom_allreduce_perf", ReadAicCustomAllReduce},
    {"wideep_deepep_ll_perf", ReadAicDeepEpLowLatency},
    {"wideep_deepep_normal_perf", ReadAicDeepEpNormal},
});

constexpr auto kFormats = std::to_array<std::pair<std::string_view, AicFormat>>({
    {"bfloat16", {"bf16", 2, ComputeClass::kBf16}},
    {"half", {"fp16", 2, ComputeClass::kBf16}},
    {"int8", {"int8", 1, ComputeClass::kInt8}},
    {"fp8", {"fp8", 1, ComputeClass::kFp8}},
    {"fp8_block", {"fp8-block", 1, ComputeClass::kFp8}},
    {"int4_wo", {"int4-g128", 0.5, ComputeClass::kBf16}},
    {"w4a16_mxfp4", {"mxfp4", 0.5, ComputeClass::kBf16}},
    {"nvfp4", {"nvfp4", 0.5, ComputeClass::kFp4}},
});

template <class Pairs>
auto Lookup(const Pairs& pairs, std::string_view key) {
  using Value = std::remove_cvref_t<decltype(pairs.front().second)>;
  const auto* const found =
      std::find_if(pairs.begin(), pairs.end(), [key](const auto& p) { return p.first == key; });
  return found == pairs.end() ? Value{} : found->second;
}

}  // namespace

AicReader AicReaderOf(std::string_view stem) { return Lookup(kReaders, stem); }
AicFormat AicFormatOf(std::string_view text) { return Lookup(kFormats, text); }

KernelRow AicRow(const TableFields& fields, const ImportTarget& target, std::string op) {
  KernelRow row;
  row.op = std::move(op);
  row.gpu = target.gpu;
  row.engine = target.engine;
  row.source = fields.source();
  return row;
}

}  // namespace moecast::calibration
