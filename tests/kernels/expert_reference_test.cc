// The expert products' reference: closed forms, and the whole layer against a plain triple loop.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/ops/expert_gemm/reference.h"
#include "sim/base/rng.h"

namespace moecast::kernels::reference {
namespace {

using Eigen::MatrixXd;

MatrixXd Random(RngStream& rng, int rows, int columns) {
  return MatrixXd::NullaryExpr(rows, columns, [&] { return 2 * rng.NextUniform() - 1; });
}

struct Layer {
  ExpertShape shape{.tokens = 5, .top_k = 3, .experts = 6, .hidden = 8, .intermediate = 4};
  MatrixXd x;
  std::vector<ExpertWeights> experts;
  Selection selection;
};

Layer RandomLayer(uint64_t seed) {
  RngStream rng({.seed = seed}, "test/layer");
  Layer layer;
  const ExpertShape& s = layer.shape;
  layer.x = Random(rng, s.tokens, s.hidden);
  for (int e = 0; e < s.experts; ++e)
    layer.experts.push_back({.gate = Random(rng, s.intermediate, s.hidden),
                             .up = Random(rng, s.intermediate, s.hidden),
                             .down = Random(rng, s.hidden, s.intermediate)});
  const RoutingRule rule{.skip = {.kind = SkipKind::kRatio, .threshold = 0.6F}};
  layer.selection = Select(s, rule, {}, GateLogits(layer.x, Random(rng, s.experts, s.hidden)));
  return layer;
}

// Token by token, without any alignment.
MatrixXd Naive(const Layer& layer) {
  const ExpertShape& s = layer.shape;
  MatrixXd out = MatrixXd::Zero(s.tokens, s.hidden);
  for (int slot = 0; slot < s.tokens * s.top_k; ++slot) {
    const int e = layer.selection.expert_of_slot[static_cast<size_t>(slot)];
    if (e == s.experts) continue;
    const ExpertWeights& w = layer.experts[static_cast<size_t>(e)];
    for (int i = 0; i < s.intermediate; ++i) {
      double gate = 0;
      double up = 0;
      for (int h = 0; h < s.hidden; ++h) {
        gate += w.gate(i, h) * layer.x(slot / s.top_k, h);
        up += w.up(i, h) * layer.x(slot / s.top_k, h);
      }
      const double act = gate / (1 + std::exp(-gate)) * up;
      for (int h = 0; h < s.hidden; ++h)
        out(slot / s.top_k, h) +=
            layer.selection.weight_of_slot[static_cast<size_t>(slot)] * w.down(h, i) * act;
    }
  }
  return out;
}

TEST(ExpertReference, AlignedLayerEqualsTokenByToken) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Layer layer = RandomLayer(seed);
    const Alignment rows = Align(layer.shape, layer.selection.expert_of_slot);
    const MatrixXd y = Down(rows, GateUpSwiGlu(rows, layer.x, layer.experts), layer.experts);
    const MatrixXd out =
        Combine(layer.shape, rows.position_of_slot, layer.selection.weight_of_slot, y);
    EXPECT_LT(RelativeError(out, Naive(layer)), 1e-14);
  }
}

TEST(ExpertReference, SwiGluOfKnownNumbers) {
  const Alignment one{
      .active_experts = {0}, .offsets = {0, 1}, .slot_token = {0}, .position_of_slot = {0}};
  const MatrixXd x = MatrixXd::Constant(1, 1, 2.0);
  const std::vector<ExpertWeights> experts{{.gate = MatrixXd::Constant(1, 1, 0.5),
                                            .up = MatrixXd::Constant(1, 1, 3.0),
                                            .down = MatrixXd::Constant(1, 1, 1.0)}};
  EXPECT_NEAR(GateUpSwiGlu(one, x, experts)(0, 0), 6 / (1 + std::exp(-1.0)), 1e-15);
}

TEST(ExpertReference, AnExpertWithoutTokensContributesNoRow) {
  Layer layer = RandomLayer(3);
  const Alignment rows = Align(layer.shape, layer.selection.expert_of_slot);
  const MatrixXd before = GateUpSwiGlu(rows, layer.x, layer.experts);
  for (int e = 0; e < layer.shape.experts; ++e) {
    bool active = false;
    for (const int32_t used : rows.active_experts) active = active || used == e;
    if (!active) layer.experts[static_cast<size_t>(e)].gate.setConstant(1e9);
  }
  EXPECT_EQ(GateUpSwiGlu(rows, layer.x, layer.experts), before);
}

TEST(RelativeError, IsInfiniteForUnwrittenOutputsAndScaleFree) {
  MatrixXd out = MatrixXd::Constant(2, 2, 1.01);
  EXPECT_NEAR(RelativeError(out, MatrixXd::Constant(2, 2, 1.0)), 0.01, 1e-12);
  EXPECT_NEAR(RelativeError(1e6 * out, MatrixXd::Constant(2, 2, 1e6)), 0.01, 1e-12);
  out(1, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isinf(RelativeError(out, MatrixXd::Constant(2, 2, 1.0))));
}

}  // namespace
}  // namespace moecast::kernels::reference
