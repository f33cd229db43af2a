#include "kernels/bench/check_formats.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "kernels/bench/stored_layer.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/expert_gemm/reference.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Eigen::MatrixXd;

// Rounding of act or y to bf16 is 1.7e-3; sums are float32.
constexpr double kTolerance = 3e-3;
constexpr double kKeptShare = 0.8;

struct FormatCase {
  ExpertShape shape;
  double hot_share = 0;  // of slots that go to expert 0
};

// REQUIRES: Streams(format, shape) for every format.
std::vector<FormatCase> Cases() {
  return {
      {{1, 2, 4, 128, 128}},  {{3, 4, 9, 256, 128}},  {{17, 2, 3, 896, 384}},
      {{40, 2, 2, 384, 128}}, {{70, 1, 2, 128, 640}}, {{130, 2, 5, 256, 256}, 0.5},
      {{9, 4, 17, 640, 128}},
  };
}
// For formats whose block is 32 or 64 columns.
std::vector<FormatCase> NarrowCases() { return {{{5, 2, 4, 192, 64}}, {{33, 2, 2, 1472, 192}}}; }

std::vector<int32_t> DrawExperts(const FormatCase& c, RngStream& rng) {
  std::vector<int32_t> chosen;
  for (int t = 0; t < c.shape.tokens; ++t) {
    const auto first = c.hot_share > 0 && rng.NextUniform() < c.hot_share
                           ? 0
                           : static_cast<int32_t>(rng.NextUniform() * c.shape.experts);
    for (int j = 0; j < c.shape.top_k; ++j) {
      const bool kept = j == 0 || rng.NextUniform() < kKeptShare;
      chosen.push_back(kept ? (first + j) % c.shape.experts : c.shape.experts);
    }
  }
  return chosen;
}

MatrixXd Draw(RngStream& rng, int64_t rows, int64_t columns, double scale) {
  return MatrixXd::NullaryExpr(
      rows, columns, [&] { return ValueOfBf16(Bf16Of(scale * (2 * rng.NextUniform() - 1))); });
}

std::vector<Bf16> ToBf16(const MatrixXd& m) {
  std::vector<Bf16> values;
  for (Eigen::Index r = 0; r < m.rows(); ++r) {
    for (Eigen::Index c = 0; c < m.cols(); ++c)
      values.push_back(__float2bfloat16(static_cast<float>(m(r, c))));
  }
  return values;
}
MatrixXd ToMatrix(const std::vector<Bf16>& values, Eigen::Index rows, Eigen::Index columns) {
  return MatrixXd::NullaryExpr(rows, columns, [&](Eigen::Index r, Eigen::Index c) {
    return static_cast<double>(__bfloat162float(values[static_cast<size_t>(r * columns + c)]));
  });
}

void Require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}
double RequireClose(const MatrixXd& out, const MatrixXd& expected, const std::string& what) {
  const double error = reference::RelativeError(out, expected);
  Require(error <= kTolerance, what + ": relative error " + std::to_string(error));
  return error;
}

bool SameBits(const std::vector<Bf16>& a, const std::vector<Bf16>& b, size_t count) {
  return std::memcmp(a.data(), b.data(), count * sizeof(Bf16)) == 0;
}

// Device side of a case.
struct Rows {
  DeviceBuffer<int32_t> active;
  DeviceBuffer<int32_t> count;
  DeviceBuffer<int32_t> offsets;
  DeviceBuffer<int32_t> token;
  [[nodiscard]] ExpertSlots slots() const {
    return {active.data(), count.data(), offsets.data(), token.data()};
  }
};

Rows Upload(const ExpertShape& s, const reference::Alignment& rows) {
  const auto padded = [](std::vector<int32_t> values, size_t count) {
    values.resize(count, -1);
    return DeviceBuffer<int32_t>(std::span<const int32_t>(values));
  };
  const auto experts = static_cast<size_t>(s.experts);
  return {padded(rows.active_experts, experts),
          padded({static_cast<int32_t>(rows.active_experts.size())}, 1),
          padded(rows.offsets, experts + 1),
          padded(rows.slot_token, static_cast<size_t>(s.tokens) * static_cast<size_t>(s.top_k))};
}

struct Outputs {
  DeviceBuffer<Bf16> act;
  DeviceBuffer<Bf16> y;
  explicit Outputs(const ExpertShape& s)
      : act(static_cast<size_t>(s.tokens) * static_cast<size_t>(s.top_k * s.intermediate)),
        y(static_cast<size_t>(s.tokens) * static_cast<size_t>(s.top_k * s.hidden)) {
    act.Poison();
    y.Poison();
  }
};

std::string CheckCase(const FormatCase& c, WeightFormat format, uint64_t seed,
                      const Stream& stream) {
  const ExpertShape& s = c.shape;
  RngStream rng({.seed = seed}, "kernels/check_formats");
  const reference::Alignment rows = reference::Align(s, DrawExperts(c, rng));
  const MatrixXd x = Draw(rng, s.tokens, s.hidden, 1);
  const StoredLayer layer(s, format, [&](int64_t r, int64_t k) { return Draw(rng, r, k, 0.2); });
  const DeviceBuffer<Bf16> device_x{std::span<const Bf16>(ToBf16(x))};
  const Rows device_rows = Upload(s, rows);
  const Outputs apart(s);
  const Outputs together(s);
  DeviceBuffer<uint32_t> handoff(static_cast<size_t>(s.experts) + 1);
  handoff.Zero();
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  GateUpSwiGlu(s, device_rows.slots(), layer.stored(), device_x.data(), apart.act.data(),
               stream.get());
  Down(s, device_rows.slots(), layer.stored(), apart.act.data(), apart.y.data(), stream.get());
  for (int repeat = 0; repeat < 2; ++repeat)
    Experts(s, device_rows.slots(), layer.stored(), device_x.data(), together.act.data(),
            together.y.data(), handoff.data(), stream.get());
  stream.Synchronize();

  const std::string name(Name(format));
  const auto kept = static_cast<Eigen::Index>(rows.slot_token.size());
  const std::vector<Bf16> act = apart.act.ToHost();
  const std::vector<Bf16> y = apart.y.ToHost();
  const MatrixXd act_out = ToMatrix(act, kept, s.intermediate);
  const double gate_up_error = RequireClose(
      act_out,
      reference::GateUpSwiGlu(rows, QuantiseActivations(format, x, layer.stored().x_scale),
                              layer.experts()),
      name + " gate_up");
  const double down_error = RequireClose(
      ToMatrix(y, kept, s.hidden),
      reference::Down(rows, QuantiseActivations(format, act_out, layer.stored().act_scale),
                      layer.experts()),
      name + " down");
  const auto elements = static_cast<size_t>(kept);
  Require(SameBits(act, together.act.ToHost(), elements * static_cast<size_t>(s.intermediate)) &&
              SameBits(y, together.y.ToHost(), elements * static_cast<size_t>(s.hidden)),
          name + ": both products in one launch differ from two launches");
  for (const uint32_t count : handoff.ToHost())
    Require(count == 0, name + ": the handoff is not back at zero");
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "%s T=%d k=%d E=%d H=%d I=%d: A=%d D=%zu, errors %.1e %.1e", name.c_str(), s.tokens,
                s.top_k, s.experts, s.hidden, s.intermediate, static_cast<int>(kept),
                rows.active_experts.size(), gate_up_error, down_error);
  return line.data();
}

}  // namespace

void CheckFormats(uint64_t seed, const Stream& stream,
                  const std::function<void(const std::string& line)>& report) {
  for (const WeightFormat format : kWeightFormats) {
    std::vector<FormatCase> cases = Cases();
    for (const FormatCase& narrow : NarrowCases()) {
      if (Streams(format, narrow.shape)) cases.push_back(narrow);
    }
    for (const FormatCase& c : cases) report(CheckCase(c, format, ++seed, stream));
  }
}

}  // namespace moecast::kernels
