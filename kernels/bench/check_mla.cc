#include "kernels/bench/check_mla.h"

#include <algorithm>
#include <cmath>

#include "kernels/bench/check_support.h"
#include "kernels/bench/drawn_latents.h"
#include "kernels/ops/attend_prefill/reference.h"
#include "kernels/ops/mla/attend_mla.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;

constexpr double kTolerance = 3e-3;       // bf16 outputs of bf16 weights and fp32 sums
constexpr double kCodesTolerance = 4e-3;  // what codes stand for is rounded to bf16 besides
constexpr int kQueryChannels = kLatentChannels + kRotaryChannels;

struct MlaCase {
  AttendMlaShape shape;  // sequences is filled in
  std::vector<int32_t> lengths;
};

std::string Describe(const MlaCase& check) {
  std::string text = std::to_string(check.shape.query_heads) + " heads, latents in " +
                     std::string(Name(check.shape.element)) + ", lengths";
  for (const int32_t length : check.lengths) text += " " + std::to_string(length);
  return text;
}

// Rows of one sequence in float64; none of a padding row.
MatrixXd Expected(const MlaCase& check, const DrawnLatents& latents, const MatrixXd& query,
                  int32_t sequence, double scale) {
  const int32_t heads = check.shape.query_heads;
  const int32_t length = check.lengths[static_cast<size_t>(sequence)];
  if (length == 0) return {};
  const MatrixXd keys = latents.Read(sequence, length);
  const MatrixXd values = keys.leftCols(kLatentChannels);
  MatrixXd expected(heads, kLatentChannels);
  for (int32_t h = 0; h < heads; ++h)
    expected.row(h) = reference::CausalAttention(query.row(sequence * heads + h), keys, values,
                                                 scale, length - 1);
  return expected;
}

// A padding row is as it was before the launch.
double CompareSequence(const MlaCase& check, const MatrixXd& expected, const MatrixXd& out,
                       int32_t sequence) {
  const int32_t heads = check.shape.query_heads;
  const MatrixXd rows = out.middleRows(Eigen::Index{sequence} * heads, heads);
  if (expected.size() == 0) {
    Require(rows.array().isNaN().all(), Describe(check) + ": wrote a padding row");
    return 0;
  }
  return RequireClose(rows, expected,
                      check.shape.element == KvElement::kBf16 ? kTolerance : kCodesTolerance,
                      Describe(check) + ": sequence " + std::to_string(sequence));
}

std::string CheckCase(MlaCase check, RngStream& rng, const Stream& stream) {
  AttendMlaShape& s = check.shape;
  s.sequences = static_cast<int32_t>(check.lengths.size());
  const double scale = 1 / std::sqrt(static_cast<double>(kQueryChannels));
  const DrawnLatents latents(s.element, check.lengths, rng);
  const Eigen::Index rows = int64_t{s.sequences} * s.query_heads;
  const Operand query = Draw(rng, rows, kQueryChannels, 2);
  const DeviceBuffer<__nv_bfloat16> device_query{std::span<const __nv_bfloat16>(query.row_major)};
  const DeviceBuffer<int32_t> lengths{std::span<const int32_t>(check.lengths)};
  DeviceBuffer<__nv_bfloat16> out(static_cast<size_t>(rows * kLatentChannels));
  DeviceBuffer<uint8_t> workspace(AttendMlaWorkspaceBytes(s));
  workspace.Zero();
  std::vector<MatrixXd> expected;
  expected.reserve(check.lengths.size());
  for (int32_t sequence = 0; sequence < s.sequences; ++sequence)
    expected.push_back(Expected(check, latents, query.exact, sequence, scale));
  double worst = 0;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the counters are left as they were found
    out.Poison();
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
    AttendMla({.shape = s,
               .cache = latents.View(),
               .lengths = lengths.data(),
               .query = device_query.data(),
               .scale = static_cast<float>(scale),
               .out = out.data(),
               .workspace = workspace.data()},
              stream.get());
    const MatrixXd result = ToMatrix(out, rows, kLatentChannels);
    for (int32_t sequence = 0; sequence < s.sequences; ++sequence)
      worst = std::max(
          worst, CompareSequence(check, expected[static_cast<size_t>(sequence)], result, sequence));
  }
  return Describe(check) + ": error " + std::to_string(worst);
}

std::vector<MlaCase> Cases() {
  std::vector<MlaCase> cases;
  for (const KvElement element : {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt4}) {
    cases.push_back({{.query_heads = 16, .element = element}, {1}});
    cases.push_back({{.query_heads = 16, .element = element}, {0, 33, 64, 65, 0, 700, 31, 4, 0}});
    cases.push_back({{.query_heads = 16, .element = element}, {9000}});
    cases.push_back({{.query_heads = 8, .element = element}, {1, 130, 0, 2049}});
    cases.push_back({{.query_heads = 32, .element = element}, {127, 64, 1500, 2}});
    cases.push_back({{.query_heads = 64, .element = element}, {128, 1, 95}});
    cases.push_back({{.query_heads = 64, .element = element}, {14000, 200}});
    cases.push_back({{.query_heads = 128, .element = element}, {2100, 0, 37}});
  }
  // More sequences than blocks.
  MlaCase many{{.query_heads = 16}, {}};
  for (int32_t i = 0; i < 300; ++i) many.lengths.push_back(i * 7 % 90);
  cases.push_back(many);
  return cases;
}

}  // namespace

void CheckMla(uint64_t seed, const CaseRange& range, const Stream& stream,
              const std::function<void(const std::string& line)>& report) {
  const std::vector<MlaCase> cases = Cases();
  ForCases(range, static_cast<int>(cases.size()), "mla", report, [&](int n) {
    RngStream rng({.seed = seed}, "kernels/check_mla", static_cast<uint64_t>(n - 1));
    return CheckCase(cases[static_cast<size_t>(n - 1)], rng, stream);
  });
}

}  // namespace moecast::kernels
