// Suite of the routing: router, rule and alignment by every rule, its naive form, and combine.
#include <algorithm>
#include <cmath>

#include "kernels/bench/layer_bench.h"
#include "kernels/bench/suites.h"
#include "kernels/ops/route/naive.h"

namespace moecast::kernels {
namespace {

// A thread that aligns alone takes seconds for large batches.
constexpr int kMostNaiveTokens = 8;
constexpr const char* kNative = "native";

Traffic RouteOnly(const ExpertShape& shape, const ExpertLoad&) { return RouteTraffic(shape); }

struct NamedBatchRule {
  std::string text;
  BatchRule rule;
};

// Half of the ranks as base; a quarter of the experts as budget.
std::vector<NamedBatchRule> BatchRulesFor(const ExpertShape& shape) {
  const int32_t base = (shape.top_k + 1) / 2;
  const int32_t budget = std::max(shape.experts / 4, shape.top_k);
  return {{"oea " + std::to_string(base), {.kind = BatchKind::kOea, .base_k = base}},
          {"xshare " + std::to_string(budget), {.kind = BatchKind::kXShare, .budget = budget}}};
}

// Tensor-parallel slices route as the whole model does.
bool RoutesAlike(const ModelShape& a, const ModelShape& b) {
  return a.shape.hidden == b.shape.hidden && a.shape.experts == b.shape.experts &&
         a.shape.top_k == b.shape.top_k && a.biased == b.biased;
}

std::vector<ModelShape> DistinctRouters(const std::vector<ModelShape>& models) {
  std::vector<ModelShape> distinct;
  for (const ModelShape& model : models) {
    const auto same = [&](const ModelShape& other) { return RoutesAlike(model, other); };
    if (std::none_of(distinct.begin(), distinct.end(), same)) distinct.push_back(model);
  }
  return distinct;
}

// Launches that rotate through routers until those of the first have left the L2, a multiple of
// kRoutings.
ReplayPlan ColdRouters(const SuiteContext& context, const LayerBench& layer) {
  constexpr double kCachesBetweenUses = 2;  // L2 sizes that other launches move in between
  const double bytes = RouteTraffic(layer.shape()).bytes;
  const double launches = kCachesBetweenUses * context.environment.l2_bytes / bytes;
  const int rings = static_cast<int>(std::ceil(launches / kRoutings));
  const int wanted = std::clamp(rings * kRoutings, kRoutings, layer.weights().routers());
  return {.min_launches = wanted, .period = wanted};
}

// Other rules differ from native by passes over the same tokens: a row every octave says how much.
bool AllRulesAt(int tokens) {
  constexpr int kRuleTokens[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  return std::ranges::find(kRuleTokens, tokens) != std::ranges::end(kRuleTokens);
}

void AppendModel(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                 int tokens, std::vector<Measurement>& rows) {
  ExpertShape shape = model.shape;
  shape.tokens = tokens;
  LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
  const ReplayPlan plan = ColdRouters(context, layer);
  const auto finish = [&](Measurement& row) {
    FinishWith(context, layer, RouteOnly, 0)(row);
    row.warm_ratio = row.bytes * row.launches > context.environment.l2_bytes ? 0 : 1;
  };
  Measurement row = DescribeRow("route", model.name, layer);
  for (const NamedRule& rule : RulesFor(shape)) {
    if (rule.text != kNative && !AllRulesAt(tokens)) continue;
    layer.PrepareRouted(rule.rule);
    row.rule = rule.text;
    AppendMeasured(
        context, plan, [&](int r) { layer.Route(rule.rule, r); }, finish, row, rows);
  }
  for (const NamedBatchRule& batch : BatchRulesFor(shape)) {
    if (!AllRulesAt(tokens)) continue;
    layer.PrepareRouted({}, batch.rule);
    row.rule = batch.text;
    AppendMeasured(
        context, plan, [&](int r) { layer.Route({}, r, batch.rule); }, finish, row, rows);
  }
  layer.PrepareRouted({});
  AppendMeasured(
      context, [&](int r) { layer.Combine(r); }, FinishWith(context, layer, CombineTraffic, 0),
      DescribeRow("combine", model.name, layer), rows);
  if (tokens > kMostNaiveTokens || model.biased) return;
  row.op = "route_naive";
  row.rule = kNative;
  const cudaStream_t stream = context.bench.stream.get();
  AppendMeasured(
      context,
      [&](int r) {
        RouteNaive(shape, {.score = model.router}, layer.Tokens(r), weights.router(r),
                   layer.Buffers(r), stream);
      },
      finish, row, rows);
}

}  // namespace

std::vector<Measurement> RunRouteSuite(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 10, .max_samples = 60, .max_seconds = 0.15};  // many rows
  std::vector<Measurement> rows;
  for (const ModelShape& model : DistinctRouters(context.models)) {
    const WeightPool weights(model.shape, 0, context.bench.stream);
    // With 264, 352, 528, 704 and 1056 the blocks of combine end a round at some hidden size.
    for (const int tokens : {1,   2,   4,    8,    16,   24,   32,   48,   64,   88,   128,
                             150, 184, 224,  256,  264,  300,  352,  424,  512,  528,  600,
                             704, 850, 1024, 1056, 1200, 1380, 1728, 2048, 2760, 4096, 8192})
      AppendModel(context, model, weights, tokens, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
