#include "sim/model/op.h"

#include "sim/base/check.h"

namespace moecast {
namespace {

std::string_view NameOf(const Gemm& op) {
  switch (op.role) {
    case GemmRole::kQkv:
      return "gemm.qkv";
    case GemmRole::kAttentionOut:
      return "gemm.attention_out";
    case GemmRole::kMlaDown:
      return "gemm.mla_down";
    case GemmRole::kMlaQueryUp:
      return "gemm.mla_query_up";
    case GemmRole::kMlaKeyValueUp:
      return "gemm.mla_key_value_up";
    case GemmRole::kMlaAbsorbQuery:
      return "gemm.mla_absorb_query";
    case GemmRole::kMlaAbsorbValue:
      return "gemm.mla_absorb_value";
    case GemmRole::kLinearAttentionIn:
      return "gemm.linear_attention_in";
    case GemmRole::kLinearAttentionOut:
      return "gemm.linear_attention_out";
    case GemmRole::kDenseGateUp:
      return "gemm.dense_gate_up";
    case GemmRole::kDenseDown:
      return "gemm.dense_down";
    case GemmRole::kSharedGateUp:
      return "gemm.shared_gate_up";
    case GemmRole::kSharedDown:
      return "gemm.shared_down";
    case GemmRole::kRouter:
      return "gemm.router";
    case GemmRole::kLmHead:
      return "gemm.lm_head";
  }
  SIM_CHECK(false);
}

std::string_view NameOf(const Elementwise& op) {
  switch (op.role) {
    case ElementwiseRole::kNorm:
      return "elementwise.norm";
    case ElementwiseRole::kRope:
      return "elementwise.rope";
    case ElementwiseRole::kActivation:
      return "elementwise.activation";
    case ElementwiseRole::kEmbedding:
      return "elementwise.embedding";
    case ElementwiseRole::kSampling:
      return "elementwise.sampling";
    case ElementwiseRole::kMlaPast:
      return "elementwise.mla_past";
    case ElementwiseRole::kMlaKeys:
      return "elementwise.mla_keys";
  }
  SIM_CHECK(false);
}

std::string_view NameOf(const Collective& op) {
  switch (op.kind) {
    case CollectiveKind::kAllReduce:
      return "collective.all_reduce";
    case CollectiveKind::kAllGather:
      return "collective.all_gather";
    case CollectiveKind::kReduceScatter:
      return "collective.reduce_scatter";
    case CollectiveKind::kAllToAll:
      return "collective.all_to_all";
  }
  SIM_CHECK(false);
}

std::string_view NameOf(const ExpertGemm&) { return "experts"; }
std::string_view NameOf(const ExpertExchange&) { return "collective.dispatch_combine"; }
std::string_view NameOf(const RouteTokens&) { return "route"; }
std::string_view NameOf(const DecodeAttention&) { return "attention.decode"; }
std::string_view NameOf(const PrefillAttention&) { return "attention.prefill"; }
std::string_view NameOf(const LinearAttentionScan&) { return "attention.linear"; }
std::string_view NameOf(const SelectTokens&) { return "attention.select"; }
std::string_view NameOf(const KvAppend& op) {
  switch (op.write) {
    case KvWrite::kAppend:
      return "kv_append";
    case KvWrite::kFlush:
      return "kv_flush";
    case KvWrite::kConvert:
      return "kv_convert";
  }
  SIM_CHECK(false);
}
std::string_view NameOf(const ExtraWork& op) { return op.what->name; }

}  // namespace

std::string_view OpName(const Op& op) {
  return std::visit([](const auto& body) { return NameOf(body); }, op);
}

}  // namespace moecast
