#include "kernels/bench/check_small.h"

#include <cmath>
#include <limits>

#include "kernels/bench/check_support.h"
#include "kernels/execute/glue.h"
#include "kernels/ops/norm/norm.h"
#include "kernels/ops/norm/reference.h"
#include "kernels/ops/rope/reference.h"
#include "kernels/ops/rope/rope.h"
#include "kernels/ops/sample/reference.h"
#include "kernels/ops/sample/sample.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Report = std::function<void(const std::string& line)>;

constexpr double kTolerance = 3e-3;  // bf16 outputs of fp32 arithmetic
constexpr double kDrawMargin = 1e-5;

DeviceBuffer<Bf16> ToDevice(const Operand& operand) {
  return DeviceBuffer<Bf16>(std::span<const Bf16>(operand.row_major));
}

// Copies and zeros: to the bit.
void CheckEmbedding(RngStream& rng, int32_t tokens, int32_t hidden, const Stream& stream,
                    const Report& report) {
  constexpr int32_t kVocabulary = 100;
  const Operand table = Draw(rng, kVocabulary, hidden, 1);
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (int32_t& id : ids) id = static_cast<int32_t>(kVocabulary * rng.NextUniform());
  const DeviceBuffer<int32_t> device_ids{std::span<const int32_t>(ids)};
  const DeviceBuffer<Bf16> device_table = ToDevice(table);
  DeviceBuffer<Bf16> residual(static_cast<size_t>(tokens) * static_cast<size_t>(hidden));
  DeviceBuffer<Bf16> x(residual.size());
  residual.Poison();
  x.Poison();
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  Embed(tokens, hidden, device_ids.data(), device_table.data(), residual.data(), x.data(),
        stream.get());
  Eigen::MatrixXd expected(tokens, hidden);
  for (int32_t t = 0; t < tokens; ++t)
    expected.row(t) = table.exact.row(ids[static_cast<size_t>(t)]);
  const bool same =
      ToMatrix(residual, tokens, hidden) == expected && ToMatrix(x, tokens, hidden).isZero(0);
  if (!same) throw std::runtime_error("embedding: rows differ from the table's");
  report("embedding T=" + std::to_string(tokens) + " H=" + std::to_string(hidden) + ": equal");
}

void CheckNorm(RngStream& rng, const NormShape& shape, const Stream& stream, const Report& report) {
  const Operand x = Draw(rng, shape.tokens, shape.hidden, 1);
  const Operand residual = Draw(rng, shape.tokens, shape.hidden, 2);
  const Operand weight = Draw(rng, 1, shape.hidden, 1);
  const DeviceBuffer<Bf16> device_x = ToDevice(x);
  const DeviceBuffer<Bf16> device_weight = ToDevice(weight);
  for (const bool naive : {false, true}) {
    const DeviceBuffer<Bf16> device_residual = ToDevice(residual);
    DeviceBuffer<Bf16> out(x.row_major.size());
    out.Poison();
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
    (naive ? AddRmsNormNaive : AddRmsNorm)(shape, device_x.data(), device_weight.data(),
                                           device_residual.data(), out.data(), stream.get());
    const Eigen::MatrixXd sum = ToMatrix(device_residual, shape.tokens, shape.hidden);
    const double added = RequireClose(sum, x.exact + residual.exact, kTolerance, "norm residual");
    const double error = RequireClose(ToMatrix(out, shape.tokens, shape.hidden),
                                      reference::RmsNorm(sum, weight.exact.row(0).transpose(),
                                                         static_cast<double>(shape.epsilon)),
                                      kTolerance, "norm out");
    report("norm T=" + std::to_string(shape.tokens) + " H=" + std::to_string(shape.hidden) +
           (naive ? " naive" : "") + ": errors " + std::to_string(added) + " " +
           std::to_string(error));
  }
}

void CheckRope(RngStream& rng, const RopeShape& shape, const Stream& stream, const Report& report) {
  constexpr int32_t kPositions = 5000;
  constexpr double kScale = 1.2;
  const std::vector<double> frequencies = InverseFrequencies(1e6, shape.rotary);
  const std::vector<float> table = RopeTable(frequencies, kScale, kPositions);
  std::vector<int32_t> positions(static_cast<size_t>(shape.tokens));
  for (int32_t& each : positions) each = static_cast<int32_t>(kPositions * rng.NextUniform());
  const Operand query = Draw(rng, int64_t{shape.tokens} * shape.query_heads, shape.head, 1);
  const Operand key = Draw(rng, int64_t{shape.tokens} * shape.key_heads, shape.head, 1);
  const DeviceBuffer<int32_t> device_positions{std::span<const int32_t>(positions)};
  const DeviceBuffer<float> device_table{std::span<const float>(table)};
  for (const bool naive : {false, true}) {
    const DeviceBuffer<Bf16> device_query = ToDevice(query);
    const DeviceBuffer<Bf16> device_key = ToDevice(key);
    CUDA_CHECK(cudaDeviceSynchronize());
    (naive ? RopeNaive : Rope)(shape, device_positions.data(), device_table.data(),
                               device_query.data(), device_key.data(), stream.get());
    const double of_query = RequireClose(
        ToMatrix(device_query, query.exact.rows(), shape.head),
        reference::Rope(shape, shape.query_heads, positions, frequencies, kScale, query.exact),
        kTolerance, "rope query");
    const double of_key = RequireClose(
        ToMatrix(device_key, key.exact.rows(), shape.head),
        reference::Rope(shape, shape.key_heads, positions, frequencies, kScale, key.exact),
        kTolerance, "rope key");
    report("rope T=" + std::to_string(shape.tokens) + " heads " +
           std::to_string(shape.query_heads) + "+" + std::to_string(shape.key_heads) + " of " +
           std::to_string(shape.head) + ", " + std::to_string(shape.rotary) + " rotated, style " +
           std::to_string(static_cast<int>(shape.style)) + (naive ? " naive" : "") + ": errors " +
           std::to_string(of_query) + " " + std::to_string(of_key));
  }
}

std::vector<SampleRule> SampleRules(RngStream& rng, int rows) {
  std::vector<SampleRule> rules;
  for (int row = 0; row < rows; ++row) {
    SampleRule rule{.uniform = static_cast<float>(rng.NextUniform())};
    if (row % 6 != 0) rule.temperature = 0.3F + 0.4F * static_cast<float>(row % 4);
    if (row % 3 == 1) rule.top_k = 1 + row % 50;
    if (row % 3 != 0) rule.top_p = 0.5F + 0.1F * static_cast<float>(row % 5);
    rules.push_back(rule);
  }
  return rules;
}

void CheckSample(RngStream& rng, int rows, int vocabulary, const Stream& stream,
                 const Report& report) {
  Operand logits = Draw(rng, rows, vocabulary, 8);
  for (int i = 0; i < vocabulary; i += 3) {  // masked tokens, and a row with one token left
    logits.exact(rows - 1, i) = -std::numeric_limits<double>::infinity();
    logits.row_major[static_cast<size_t>(rows - 1) * static_cast<size_t>(vocabulary) +
                     static_cast<size_t>(i)] =
        __float2bfloat16(-std::numeric_limits<float>::infinity());
  }
  const std::vector<SampleRule> rules = SampleRules(rng, rows);
  const DeviceBuffer<Bf16> device_logits = ToDevice(logits);
  const DeviceBuffer<SampleRule> device_rules{std::span<const SampleRule>(rules)};
  DeviceBuffer<int32_t> tokens(static_cast<size_t>(rows));
  tokens.Poison();
  CUDA_CHECK(cudaDeviceSynchronize());
  Sample(rows, vocabulary, device_logits.data(), device_rules.data(), tokens.data(), stream.get());
  const std::vector<int32_t> taken = tokens.ToHost();
  int close = 0;
  for (int row = 0; row < rows; ++row) {
    const SampleRule& rule = rules[static_cast<size_t>(row)];
    const Eigen::VectorXd values = logits.exact.row(row).transpose();
    const reference::Sampled expected =
        reference::Sample({values.data(), static_cast<size_t>(vocabulary)},
                          {.temperature = static_cast<double>(rule.temperature),
                           .top_k = rule.top_k,
                           .top_p = static_cast<double>(rule.top_p),
                           .uniform = static_cast<double>(rule.uniform)});
    if (expected.margin < kDrawMargin) {
      ++close;
      continue;
    }
    Require(taken[static_cast<size_t>(row)] == expected.token,
            "sample row " + std::to_string(row) + ": token " +
                std::to_string(taken[static_cast<size_t>(row)]) + ", reference " +
                std::to_string(expected.token));
  }
  report("sample rows " + std::to_string(rows) + " vocabulary " + std::to_string(vocabulary) +
         ": close " + std::to_string(close));
}

}  // namespace

void CheckSmall(uint64_t seed, const Stream& stream, const Report& report) {
  RngStream rng({.seed = seed}, "kernels/check_small");
  CheckEmbedding(rng, 1, 8, stream, report);
  CheckEmbedding(rng, 37, 2880, stream, report);
  for (const NormShape& shape : {NormShape{1, 8}, NormShape{3, 2048}, NormShape{5, 2880},
                                 NormShape{2, 7168}, NormShape{2, 16384}})
    CheckNorm(rng, shape, stream, report);
  for (const RopeStyle style : {RopeStyle::kNeox, RopeStyle::kInterleaved}) {
    CheckRope(rng, {7, 32, 4, 128, 128, style}, stream, report);
    CheckRope(rng, {3, 5, 1, 96, 32, style}, stream, report);
  }
  CheckSample(rng, 24, 4096, stream, report);
  CheckSample(rng, 13, 50304, stream, report);
  CheckSample(rng, 2, 8, stream, report);
}

}  // namespace moecast::kernels
