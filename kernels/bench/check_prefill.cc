#include "kernels/bench/check_prefill.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "kernels/bench/prefill_data.h"
#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/route/reference.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;

constexpr double kTolerance = 3e-3;        // bf16 outputs of fp32 sums
constexpr double kTensorTolerance = 5e-3;  // of sums the tensor cores keep to themselves in fp8
// e4m3 keeps three fraction bits: half a step is at most 2^-4 of a normal number and 2^-10 of the
// scale below. A value on the border of a step may fall either way.
constexpr double kHalfStep = 0.0625;
constexpr double kSubnormalHalfStep = 0x1p-10;
constexpr double kBorder = 1.01;
constexpr double kSkipShare = 0.2;
constexpr float kTokenScale = 1.0F / 448.0F;  // fp8_tensor: tokens are within one
constexpr float kActScale = 0.1F;

struct PrefillCase {
  ExpertShape shape;
  std::vector<int32_t> first_loads;  // of the first experts; the others share what is left
};

std::vector<PrefillCase> Cases() {
  return {
      {{1, 1, 3, 128, 128}, {1}},          {{130, 4, 8, 256, 128}, {0, 1, 127, 128, 129}},
      {{300, 2, 6, 192, 320}, {300, 64}},  {{257, 3, 5, 384, 640}, {257, 255, 0, 3}},
      {{700, 2, 3, 512, 192}, {690, 513}},
  };
}

// Slots so that expert e gets first_loads[e] of them while there are any, then at random, a fifth
// skipped; a token names an expert at most once.
std::vector<int32_t> DrawSlots(const PrefillCase& check, RngStream& rng) {
  const ExpertShape& s = check.shape;
  const auto given = static_cast<int32_t>(check.first_loads.size());
  std::vector<int32_t> left = check.first_loads;
  std::vector<int32_t> expert_of_slot;
  for (int32_t token = 0; token < s.tokens; ++token) {
    const auto begin = static_cast<std::ptrdiff_t>(expert_of_slot.size());
    for (int32_t j = 0; j < s.top_k; ++j) {
      int32_t expert = s.experts;
      const auto fresh = [&](int32_t e) {
        return std::find(expert_of_slot.begin() + begin, expert_of_slot.end(), e) ==
               expert_of_slot.end();
      };
      for (int32_t e = 0; e < given && expert == s.experts; ++e) {
        if (left[static_cast<size_t>(e)] > 0 && fresh(e)) expert = e;
      }
      if (expert < s.experts) {
        --left[static_cast<size_t>(expert)];
      } else if (given < s.experts && rng.NextUniform() > kSkipShare) {
        const auto others = static_cast<double>(s.experts - given);
        const int32_t drawn = given + static_cast<int32_t>(others * rng.NextUniform());
        if (fresh(drawn)) expert = drawn;
      }
      expert_of_slot.push_back(expert);
    }
  }
  return expert_of_slot;
}

void Require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("prefill: " + what);
}

// The first `count` rows as numbers; those behind must still be poisoned.
MatrixXd ReadRows(const PrefillRowBuffers& buffers, int32_t count, const std::string& what) {
  const std::vector<uint8_t> bytes = buffers.values.ToHost();
  const std::vector<float> scales = buffers.block_scale.ToHost();
  MatrixXd out(count, buffers.columns);
  for (int32_t r = 0; r < buffers.rows; ++r) {
    for (int32_t c = 0; c < buffers.columns; ++c) {
      const auto at =
          static_cast<size_t>(r) * static_cast<size_t>(buffers.columns) + static_cast<size_t>(c);
      uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + at * static_cast<size_t>(buffers.element_bytes()),
                  static_cast<size_t>(buffers.element_bytes()));
      if (r >= count) {
        Require(bits == (IsFp8(buffers.format) ? 0xff : 0xffff),
                what + ": wrote row " + std::to_string(r) + " of no slot");
        continue;
      }
      double scale = static_cast<double>(buffers.static_scale);
      if (buffers.format == WeightFormat::kFp8Block)
        scale =
            static_cast<double>(scales[static_cast<size_t>(c / kFp8BlockSize * buffers.rows + r)]);
      out(r, c) = IsFp8(buffers.format) ? scale * ValueOfE4m3(static_cast<uint8_t>(bits))
                                        : ValueOfBf16(bits);
    }
  }
  return out;
}

// Rows in e4m3: no element further from the exact value than its code's rounding and `slack`.
double RequireRounded(const PrefillRowBuffers& buffers, const MatrixXd& out,
                      const MatrixXd& expected, double slack, const std::string& what) {
  const std::vector<float> scales = buffers.block_scale.ToHost();
  for (Eigen::Index r = 0; r < out.rows(); ++r) {
    for (Eigen::Index c = 0; c < out.cols(); ++c) {
      double scale = static_cast<double>(buffers.static_scale);
      if (buffers.format == WeightFormat::kFp8Block)
        scale =
            static_cast<double>(scales[static_cast<size_t>(c / kFp8BlockSize * buffers.rows + r)]);
      const double allowed =
          kBorder * std::max(kHalfStep * std::abs(expected(r, c)), kSubnormalHalfStep * scale) +
          slack;
      const double saturated = std::clamp(expected(r, c), -scale * 448, scale * 448);
      Require(std::abs(out(r, c) - saturated) <= allowed,
              what + ": row " + std::to_string(r) + " column " + std::to_string(c) + " is " +
                  std::to_string(out(r, c)) + ", reference " + std::to_string(expected(r, c)));
    }
  }
  return reference::RelativeError(out, expected);
}

double RequireClose(const MatrixXd& out, const MatrixXd& expected, double tolerance,
                    const std::string& what) {
  const double error = reference::RelativeError(out, expected);
  Require(error <= tolerance, what + ": relative error " + std::to_string(error));
  return error;
}

// Routing of one case on host and device.
struct Routing {
  reference::Alignment rows;
  DeviceBuffer<int32_t> position_of_slot;
  DeviceBuffer<int32_t> active_experts;
  DeviceBuffer<int32_t> active_count;
  DeviceBuffer<int32_t> offsets;
  DeviceBuffer<int32_t> slot_token;

  explicit Routing(reference::Alignment alignment)
      : rows(std::move(alignment)),
        position_of_slot(std::span<const int32_t>(rows.position_of_slot)),
        active_experts(std::span<const int32_t>(rows.active_experts)),
        active_count(1),
        offsets(std::span<const int32_t>(rows.offsets)),
        slot_token(std::span<const int32_t>(rows.slot_token)) {
    const auto distinct = static_cast<int32_t>(rows.active_experts.size());
    active_count.CopyFrom(std::span(&distinct, 1));
  }
  [[nodiscard]] ExpertSlots slots() const {
    return {.active_experts = active_experts.data(),
            .active_count = active_count.data(),
            .offsets = offsets.data(),
            .slot_token = slot_token.data()};
  }
  [[nodiscard]] int32_t kept() const { return static_cast<int32_t>(rows.slot_token.size()); }
  /// The same experts over rows that are already in order.
  [[nodiscard]] reference::Alignment Ordered() const {
    reference::Alignment ordered = rows;
    for (size_t row = 0; row < ordered.slot_token.size(); ++row)
      ordered.slot_token[row] = static_cast<int32_t>(row);
    return ordered;
  }
};

struct Tokens {
  std::vector<uint16_t> bits;
  MatrixXd exact;
  DeviceBuffer<uint16_t> device;

  Tokens(const ExpertShape& s, RngStream& rng) : exact(s.tokens, s.hidden) {
    for (Eigen::Index r = 0; r < s.tokens; ++r) {
      for (Eigen::Index c = 0; c < s.hidden; ++c) {
        bits.push_back(Bf16Of(2 * rng.NextUniform() - 1));
        exact(r, c) = ValueOfBf16(bits.back());
      }
    }
    device = DeviceBuffer<uint16_t>(std::span<const uint16_t>(bits));
  }
  [[nodiscard]] const __nv_bfloat16* data() const {
    return reinterpret_cast<const __nv_bfloat16*>(device.data());
  }
};

using GateUpProduct = decltype(&PrefillGateUp);
using DownProduct = decltype(&PrefillDown);

std::string CheckCase(const PrefillCase& check, WeightFormat format, GateUpProduct gate_up,
                      DownProduct down, uint64_t seed, const Stream& stream) {
  const ExpertShape& s = check.shape;
  RngStream rng({.seed = seed}, "kernels/check_prefill");
  const Tokens tokens(s, rng);
  const PrefillLayer layer = DrawPrefillLayer(s, format, rng);
  const Routing routing(reference::Align(s, DrawSlots(check, rng)));
  const int32_t capacity = s.tokens * s.top_k;
  const PrefillRowBuffers x(format, capacity, s.hidden, kTokenScale);
  const PrefillRowBuffers act(format, capacity, s.intermediate, kActScale);
  const PrefillRowBuffers y(WeightFormat::kBf16, capacity, s.hidden, 1);
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  PermuteTokens(s, format, routing.position_of_slot.data(), tokens.data(), x.view(), stream.get());
  gate_up(s, routing.slots(), layer.weights(format), x.view(), act.view(), stream.get());
  down(s, routing.slots(), layer.weights(format), act.view(),
       static_cast<__nv_bfloat16*>(y.view().values), stream.get());
  stream.Synchronize();

  const MatrixXd rows = ReadRows(x, routing.kept(), "permute");
  MatrixXd gathered(routing.kept(), s.hidden);
  for (int32_t r = 0; r < routing.kept(); ++r)
    gathered.row(r) = tokens.exact.row(routing.rows.slot_token[static_cast<size_t>(r)]);
  const reference::Alignment ordered = routing.Ordered();
  const MatrixXd middle = ReadRows(act, routing.kept(), "gate_up");
  const MatrixXd exact = reference::GateUpSwiGlu(ordered, rows, layer.exact);
  const double typical = exact.norm() / std::sqrt(static_cast<double>(exact.size()));
  const double tolerance = format == WeightFormat::kFp8 ? kTensorTolerance : kTolerance;
  std::array<double, 3> errors{};
  if (IsFp8(format)) {
    errors[0] = RequireRounded(x, rows, gathered, 0, "permute");
    errors[1] = RequireRounded(act, middle, exact, 4 * tolerance * typical, "gate_up");
  } else {
    errors[0] = RequireClose(rows, gathered, 0, "permute");
    errors[1] = RequireClose(middle, exact, tolerance, "gate_up");
  }
  errors[2] = RequireClose(ReadRows(y, routing.kept(), "down"),
                           reference::Down(ordered, middle, layer.exact), tolerance, "down");
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "prefill %s T=%d k=%d E=%d H=%d I=%d: A=%d D=%zu, errors %.1e %.1e %.1e",
                std::string(Name(format)).c_str(), s.tokens, s.top_k, s.experts, s.hidden,
                s.intermediate, routing.kept(), routing.rows.active_experts.size(), errors[0],
                errors[1], errors[2]);
  return line.data();
}

}  // namespace

void CheckPrefill(uint64_t seed, const Stream& stream, const ReportLine& report) {
  for (const PrefillCase& check : Cases()) {
    for (const WeightFormat format : kWeightFormats) {
      if (!Fits(format, check.shape.hidden) || !Fits(format, check.shape.intermediate)) continue;
      report(CheckCase(check, format, PrefillGateUp, PrefillDown, seed++, stream));
    }
    report("naive " + CheckCase(check, WeightFormat::kBf16, NaivePrefillGateUp, NaivePrefillDown,
                                seed++, stream));
  }
}

}  // namespace moecast::kernels
