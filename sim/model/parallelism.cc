#include "sim/model/parallelism.h"

#include <string>
#include <string_view>
#include <utility>

namespace moecast {
namespace {

/// Collects errors under parallelism.*.
class Findings {
 public:
  void Add(std::string_view field, std::string message) {
    errors_.push_back(
        {.message = std::move(message), .where = "parallelism." + std::string(field)});
  }

  /// `total` things of the model are shared out over `degree` of `field`.
  void RequireDivides(std::string_view field, int64_t degree, int64_t total, const char* what) {
    if (total % degree == 0) return;
    Add(field, std::to_string(degree) + " does not divide the model's " + std::to_string(total) +
                   " " + what + "; allowed: a divisor of " + std::to_string(total));
  }

  [[nodiscard]] bool empty() const { return errors_.empty(); }
  Status Take() && {
    if (errors_.empty()) return Ok();
    return std::move(errors_);
  }

 private:
  Errors errors_;
};

void CheckAttention(const ModelSpec& model, int64_t tensor, Findings& findings) {
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    findings.RequireDivides("tensor", tensor, mla->heads, "attention heads");
  } else {
    const auto& gqa = std::get<GqaAttention>(model.attention);
    findings.RequireDivides("tensor", tensor, gqa.heads, "attention heads");
    if (gqa.kv_heads % tensor != 0 && tensor % gqa.kv_heads != 0) {
      findings.Add("tensor", std::to_string(tensor) +
                                 " neither divides nor is a multiple of the model's " +
                                 std::to_string(gqa.kv_heads) + " key/value heads");
    }
  }
  if (model.linear_attention) {
    findings.RequireDivides("tensor", tensor, model.linear_attention->key_heads,
                            "linear-attention key heads");
    findings.RequireDivides("tensor", tensor, model.linear_attention->value_heads,
                            "linear-attention value heads");
  }
}

void CheckExperts(const MoeSpec& moe, const Parallelism& p, Findings& findings) {
  findings.RequireDivides("tensor", p.tensor, moe.shared_intermediate,
                          "intermediate columns of the shared experts");
  if (p.gpus() % p.expert != 0) {
    findings.Add("expert", std::to_string(p.expert) + " does not divide the replica's " +
                               std::to_string(p.gpus()) + " GPUs (tensor * data)");
    return;
  }
  findings.RequireDivides("expert", p.expert, moe.experts, "routed experts per layer");
  if (moe.expert_intermediate % p.expert_tensor() != 0) {
    findings.Add("expert", std::to_string(p.expert) + " splits every expert over " +
                               std::to_string(p.expert_tensor()) +
                               " GPUs, which does not divide its " +
                               std::to_string(moe.expert_intermediate) + " intermediate columns");
  }
}

}  // namespace

Status CheckParallelism(const ModelSpec& model, const Parallelism& p) {
  Findings findings;
  const std::pair<std::string_view, int64_t> degrees[] = {
      {"tensor", p.tensor}, {"data", p.data}, {"expert", p.expert}};
  for (const auto& [field, degree] : degrees) {
    if (degree < 1) findings.Add(field, std::to_string(degree) + "; allowed: at least 1");
  }
  if (!findings.empty()) return std::move(findings).Take();
  CheckAttention(model, p.tensor, findings);
  findings.RequireDivides("tensor", p.tensor, model.dense_intermediate,
                          "intermediate columns of the dense feed-forward blocks");
  if (model.moe) {
    CheckExperts(*model.moe, p, findings);
  } else if (p.expert != 1) {
    findings.Add("expert", std::to_string(p.expert) + ", but model '" + model.name +
                               "' has no experts; allowed: 1");
  }
  return std::move(findings).Take();
}

}  // namespace moecast
