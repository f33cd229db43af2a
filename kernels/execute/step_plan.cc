#include "kernels/execute/step_plan.h"

#include "kernels/execute/attention_widths.h"

namespace moecast::kernels {
namespace {

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

/// Collects the ops of one step.
class Plan {
 public:
  Plan(const ModelSpec& model, const CacheTraits& cache, const StepForm& form)
      : model_(model), cache_(cache), form_(form), widths_(WidthsOf(model)) {}

  std::vector<PlannedOp> Make() && {
    Add(StepLaunch::kEmbed, "elementwise.embedding");
    for (const LayerSpec& layer : model_.layers) {
      ++layer_;
      Add(StepLaunch::kNormAttention, "elementwise.norm");
      AddAttention();
      Add(StepLaunch::kNormFeedForward, "elementwise.norm");
      AddFeedForward(layer.feed_forward == FeedForwardKind::kMoe);
    }
    layer_ = kOutsideLayers;
    Add(StepLaunch::kNormLast, "elementwise.norm");
    if (form_.logit_rows > 0) AddHead();
    return std::move(ops_);
  }

 private:
  void Add(StepLaunch launch, std::string_view op, const ProductSize& product = {}) {
    ops_.push_back({.launch = launch, .op = op, .layer = layer_, .product = product});
  }
  void AddProduct(StepLaunch launch, std::string_view op, int64_t outputs, int64_t inputs) {
    Add(launch, op, {.rows = form_.rows, .outputs = Int(outputs), .inputs = Int(inputs)});
  }

  void AddAttention() {
    if (const auto* mla = std::get_if<MlaAttention>(&model_.attention)) {
      AddLatentAttention(*mla);
    } else {
      AddGroupedAttention();
    }
    AddProduct(StepLaunch::kAttentionOut, "gemm.attention_out", model_.hidden, widths_.values);
  }

  /// A chunk attends before it joins the cache: a sliding window may overwrite what it reads.
  void AddGroupedAttention() {
    AddProduct(StepLaunch::kQkv, "gemm.qkv", widths_.qkv, model_.hidden);
    Add(StepLaunch::kRope, "elementwise.rope");
    if (cache_.rotated) Add(StepLaunch::kRotate, "kv_append");
    if (form_.chunks > 0) Add(StepLaunch::kPrefillAttention, "attention.prefill");
    AddWrites();
    if (form_.decode_rows > 0) Add(StepLaunch::kDecodeAttention, "attention.decode");
  }

  /// Chunks meet keys and values that are expanded from latents; decodes stay in latent space.
  void AddLatentAttention(const MlaAttention& a) {
    AddProduct(StepLaunch::kLatentDown, "gemm.mla_down", widths_.latent, model_.hidden);
    AddProduct(StepLaunch::kQkv, "gemm.mla_query_up", widths_.qkv, model_.hidden);
    Add(StepLaunch::kRope, "elementwise.rope");
    AddWrites();
    if (form_.chunks > 0) {
      if (form_.has_past()) Add(StepLaunch::kGatherPast, "elementwise.mla_past");
      Add(StepLaunch::kExpandPast, "gemm.mla_key_value_up",
          {.rows = form_.context_rows,
           .outputs = Int(a.heads * (a.qk_nope_head_dim + a.v_head_dim)),
           .inputs = Int(a.kv_lora_rank)});
      Add(StepLaunch::kAssembleKeys, "elementwise.mla_keys");
      Add(StepLaunch::kPrefillAttention, "attention.prefill");
    }
    if (form_.decode_rows == 0) return;
    Add(StepLaunch::kAbsorbQuery, "gemm.mla_absorb_query",
        {.rows = form_.decode_rows,
         .outputs = Int(a.kv_lora_rank),
         .inputs = Int(a.qk_nope_head_dim),
         .batch = Int(a.heads)});
    Add(StepLaunch::kDecodeAttention, "attention.decode");
    Add(StepLaunch::kAbsorbValue, "gemm.mla_absorb_value",
        {.rows = form_.decode_rows,
         .outputs = Int(a.v_head_dim),
         .inputs = Int(a.kv_lora_rank),
         .batch = Int(a.heads)});
  }

  void AddWrites() {
    if (form_.decode_rows > 0) Add(StepLaunch::kAppendDecodes, "kv_append");
    if (form_.chunks > 0) Add(StepLaunch::kPackChunks, "kv_append");
  }

  void AddFeedForward(bool moe) {
    const int64_t width = moe ? model_.moe->shared_intermediate : model_.dense_intermediate;
    if (width > 0) {
      AddProduct(StepLaunch::kGateUp, moe ? "gemm.shared_gate_up" : "gemm.dense_gate_up", 2 * width,
                 model_.hidden);
      Add(StepLaunch::kActivation, "elementwise.activation");
      AddProduct(StepLaunch::kDown, moe ? "gemm.shared_down" : "gemm.dense_down", model_.hidden,
                 width);
    }
    if (!moe) return;
    Add(StepLaunch::kRoute, "route");
    Add(StepLaunch::kExperts, "experts");
  }

  void AddHead() {
    if (form_.logit_rows != form_.rows) Add(StepLaunch::kGatherLast, "gemm.lm_head");
    Add(StepLaunch::kHead, "gemm.lm_head",
        {.rows = form_.logit_rows,
         .outputs = Int(model_.vocabulary),
         .inputs = Int(model_.hidden)});
    Add(StepLaunch::kSample, "elementwise.sampling");
  }

  const ModelSpec& model_;
  const CacheTraits& cache_;
  const StepForm& form_;
  AttentionWidths widths_;
  int32_t layer_ = kOutsideLayers;
  std::vector<PlannedOp> ops_;
};

}  // namespace

std::vector<PlannedOp> PlanStep(const ModelSpec& model, const CacheTraits& cache,
                                const StepForm& form) {
  return Plan(model, cache, form).Make();
}

}  // namespace moecast::kernels
