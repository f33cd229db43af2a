#include "kernels/bench/check.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/expert_gemm/reference.h"
#include "kernels/ops/route/reference.h"
#include "kernels/ops/route/route.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;
using Bf16 = __nv_bfloat16;

constexpr double kTolerance = 3e-3;        // bf16 outputs of fp32 sums
constexpr double kWeightTolerance = 1e-4;  // relative, fp32 with approximate exponentials
constexpr double kDecisionMargin = 1e-4;

// A bf16 matrix as the kernel reads it (row-major or packed) and as the reference does.
struct Operand {
  std::vector<Bf16> row_major;
  MatrixXd exact;
};

Operand Draw(RngStream& rng, Eigen::Index rows, Eigen::Index columns, double scale) {
  Operand operand{.row_major = {}, .exact = MatrixXd(rows, columns)};
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < columns; ++c) {
      const Bf16 value = __float2bfloat16(static_cast<float>(scale * (2 * rng.NextUniform() - 1)));
      operand.row_major.push_back(value);
      operand.exact(r, c) = static_cast<double>(__bfloat162float(value));
    }
  }
  return operand;
}

std::vector<Bf16> Packed(const std::vector<Bf16>& row_major, int64_t rows, int64_t columns) {
  const int64_t padded = (rows + kFragmentRows - 1) / kFragmentRows * kFragmentRows;
  std::vector<Bf16> source = row_major;
  source.resize(static_cast<size_t>(padded * columns), __float2bfloat16(0.0F));
  std::vector<Bf16> packed(source.size());
  PackRows(source.data(), padded, columns, packed.data());
  return packed;
}

// Row tiles alternate gate, up: the layout GateUpSwiGlu reads.
std::vector<Bf16> PackedGateUp(const Operand& gate, const Operand& up, int64_t intermediate,
                               int64_t hidden) {
  std::vector<Bf16> rows;
  const int64_t tile = kFragmentRows * hidden;
  for (int64_t first = 0; first < intermediate * hidden; first += tile) {
    rows.insert(rows.end(), gate.row_major.begin() + first, gate.row_major.begin() + first + tile);
    rows.insert(rows.end(), up.row_major.begin() + first, up.row_major.begin() + first + tile);
  }
  return Packed(rows, 2 * intermediate, hidden);
}

// Inputs of one layer on the host and on the device.
struct LayerInputs {
  Operand x;
  Operand router;
  std::vector<reference::ExpertWeights> experts;
  DeviceBuffer<Bf16> device_x;
  DeviceBuffer<Bf16> device_router;
  DeviceBuffer<Bf16> device_gate_up;
  DeviceBuffer<Bf16> device_down;
};

LayerInputs DrawInputs(const ExpertShape& s, uint64_t seed) {
  RngStream rng({.seed = seed}, "kernels/check");
  LayerInputs in;
  in.x = Draw(rng, s.tokens, s.hidden, 1);
  in.router = Draw(rng, s.experts, s.hidden, 4 / std::sqrt(static_cast<double>(s.hidden)));
  std::vector<Bf16> gate_up;
  std::vector<Bf16> down;
  for (int32_t e = 0; e < s.experts; ++e) {
    const Operand gate = Draw(rng, s.intermediate, s.hidden, 0.2);
    const Operand up = Draw(rng, s.intermediate, s.hidden, 0.2);
    const Operand out = Draw(rng, s.hidden, s.intermediate, 0.2);
    const std::vector<Bf16> packed = PackedGateUp(gate, up, s.intermediate, s.hidden);
    const std::vector<Bf16> packed_down = Packed(out.row_major, s.hidden, s.intermediate);
    gate_up.insert(gate_up.end(), packed.begin(), packed.end());
    down.insert(down.end(), packed_down.begin(), packed_down.end());
    in.experts.push_back({.gate = gate.exact, .up = up.exact, .down = out.exact});
  }
  in.device_x = DeviceBuffer<Bf16>(std::span<const Bf16>(in.x.row_major));
  const std::vector<Bf16> router = Packed(in.router.row_major, s.experts, s.hidden);
  in.device_router = DeviceBuffer<Bf16>(std::span<const Bf16>(router));
  in.device_gate_up = DeviceBuffer<Bf16>(std::span<const Bf16>(gate_up));
  in.device_down = DeviceBuffer<Bf16>(std::span<const Bf16>(down));
  return in;
}

// Everything the kernels write, poisoned.
struct LayerOutputs {
  DeviceBuffer<float> partial_logits;
  DeviceBuffer<int32_t> expert_of_slot;
  DeviceBuffer<float> weight_of_slot;
  DeviceBuffer<int32_t> position_of_slot;
  DeviceBuffer<int32_t> active_experts;
  DeviceBuffer<int32_t> active_count;
  DeviceBuffer<int32_t> offsets;
  DeviceBuffer<int32_t> slot_token;
  DeviceBuffer<uint32_t> blocks_done;
  DeviceBuffer<Bf16> act;
  DeviceBuffer<Bf16> y;
  DeviceBuffer<Bf16> out;

  explicit LayerOutputs(const ExpertShape& s)
      : partial_logits(static_cast<size_t>(GateSplits(s.hidden) * s.tokens * s.experts)),
        expert_of_slot(static_cast<size_t>(s.tokens * s.top_k)),
        weight_of_slot(expert_of_slot.size()),
        position_of_slot(expert_of_slot.size()),
        active_experts(static_cast<size_t>(s.experts)),
        active_count(1),
        offsets(static_cast<size_t>(s.experts) + 1),
        slot_token(expert_of_slot.size()),
        blocks_done(1),
        act(expert_of_slot.size() * static_cast<size_t>(s.intermediate)),
        y(expert_of_slot.size() * static_cast<size_t>(s.hidden)),
        out(static_cast<size_t>(s.tokens * s.hidden)) {
    partial_logits.Poison(), expert_of_slot.Poison(), weight_of_slot.Poison();
    position_of_slot.Zero();  // its -1 is a result
    active_experts.Poison(), active_count.Poison(), offsets.Poison(), slot_token.Poison();
    blocks_done.Zero();
    act.Poison(), y.Poison(), out.Poison();
  }

  [[nodiscard]] RouteBuffers routing() const {
    return {.partial_logits = partial_logits.data(),
            .expert_of_slot = expert_of_slot.data(),
            .weight_of_slot = weight_of_slot.data(),
            .position_of_slot = position_of_slot.data(),
            .active_experts = active_experts.data(),
            .active_count = active_count.data(),
            .offsets = offsets.data(),
            .slot_token = slot_token.data(),
            .blocks_done = blocks_done.data()};
  }
  [[nodiscard]] ExpertSlots slots() const {
    return {.active_experts = active_experts.data(),
            .active_count = active_count.data(),
            .offsets = offsets.data(),
            .slot_token = slot_token.data()};
  }
};

void Require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

MatrixXd ToMatrix(const DeviceBuffer<Bf16>& buffer, Eigen::Index rows, Eigen::Index columns) {
  const std::vector<Bf16> values = buffer.ToHost();
  MatrixXd matrix(rows, columns);
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < columns; ++c)
      matrix(r, c) =
          static_cast<double>(__bfloat162float(values[static_cast<size_t>(r * columns + c)]));
  }
  return matrix;
}

// RETURNS: tokens left out because a decision was too close.
int CheckSelection(const CheckCase& check, const LayerInputs& in,
                   const std::vector<int32_t>& experts, const std::vector<float>& weights) {
  const ExpertShape& s = check.shape;
  const reference::Selection expected = reference::Select(
      s, check.rule, check.renormalise, reference::GateLogits(in.x.exact, in.router.exact));
  int close = 0;
  for (int32_t t = 0; t < s.tokens; ++t) {
    if (expected.margin_of_token[static_cast<size_t>(t)] < kDecisionMargin) {
      ++close;
      continue;
    }
    for (int32_t j = 0; j < s.top_k; ++j) {
      const auto slot = static_cast<size_t>(t * s.top_k + j);
      const std::string where = "token " + std::to_string(t) + " rank " + std::to_string(j);
      Require(experts[slot] == expected.expert_of_slot[slot],
              where + ": expert " + std::to_string(experts[slot]) + ", reference " +
                  std::to_string(expected.expert_of_slot[slot]));
      const double want = expected.weight_of_slot[slot];
      Require(std::abs(static_cast<double>(weights[slot]) - want) <= kWeightTolerance * want,
              where + ": weight " + std::to_string(weights[slot]) + ", reference " +
                  std::to_string(want));
    }
  }
  return close;
}

reference::Alignment CheckAlignment(const ExpertShape& s, const LayerOutputs& out,
                                    const std::vector<int32_t>& experts) {
  const reference::Alignment expected = reference::Align(s, experts);
  const auto head = [](const DeviceBuffer<int32_t>& buffer, size_t count) {
    std::vector<int32_t> values = buffer.ToHost();
    values.resize(count);
    return values;
  };
  const size_t distinct = expected.active_experts.size();
  Require(head(out.active_count, 1)[0] == static_cast<int32_t>(distinct), "active count differs");
  Require(head(out.active_experts, distinct) == expected.active_experts, "active experts differ");
  Require(head(out.offsets, distinct + 1) == expected.offsets, "offsets differ");
  Require(head(out.slot_token, expected.slot_token.size()) == expected.slot_token,
          "tokens of slots differ");
  Require(out.position_of_slot.ToHost() == expected.position_of_slot, "positions differ");
  Require(out.blocks_done.ToHost()[0] == 0, "block counter is not back at zero");
  return expected;
}

double RequireClose(const MatrixXd& out, const MatrixXd& expected, const std::string& what) {
  const double error = reference::RelativeError(out, expected);
  Require(error <= kTolerance, what + ": relative error " + std::to_string(error));
  return error;
}

}  // namespace

std::vector<CheckCase> CheckCases() {
  std::vector<CheckCase> cases;
  for (const int32_t tokens : {1, 7, 8, 9, 17, 40, 65})
    cases.push_back({{tokens, 8, 64, 256, 128}, {}, Renormalise::kKept});
  cases.push_back({{130, 4, 33, 128, 96}, {}, Renormalise::kNone});
  cases.push_back({{3, 2, 8, 64, 32}, {}, Renormalise::kNative});
  cases.push_back({{261, 4, 40, 1088, 32}, {}, Renormalise::kKept});
  cases.push_back({{63, 1, 5, 192, 64}, {}, Renormalise::kKept});
  cases.push_back({{1, 8, 60, 320, 32}, {.kind = SkipKind::kUniform, .k = 1}, {}});
  cases.push_back({{9, 8, 300, 512, 32}, {.kind = SkipKind::kUniform, .k = 3}, {}});
  cases.push_back({{33, 16, 512, 64, 32}, {.kind = SkipKind::kTopP, .threshold = 0.5F}, {}});
  for (const Renormalise norm : {Renormalise::kNone, Renormalise::kKept, Renormalise::kNative}) {
    cases.push_back({{16, 8, 128, 256, 64}, {.kind = SkipKind::kRatio, .threshold = 0.6F}, norm});
    cases.push_back({{16, 8, 128, 256, 64}, {.kind = SkipKind::kTopP, .threshold = 0.7F}, norm});
    cases.push_back({{16, 6, 96, 256, 64},
                     {.kind = SkipKind::kAsetDerived, .threshold = 0.9F, .penalty = 0.3F},
                     norm});
  }
  return cases;
}

std::string CheckOnDevice(const CheckCase& check, uint64_t seed, const Stream& stream) {
  const ExpertShape& s = check.shape;
  const LayerInputs in = DrawInputs(s, seed);
  LayerOutputs out(s);
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  Route(s, check.rule, check.renormalise, in.device_x.data(), in.device_router.data(),
        out.routing(), stream.get());
  GateUpSwiGlu(s, out.slots(), in.device_x.data(), in.device_gate_up.data(), out.act.data(),
               stream.get());
  Down(s, out.slots(), out.act.data(), in.device_down.data(), out.y.data(), stream.get());
  Combine(s, out.routing(), out.y.data(), out.out.data(), stream.get());
  stream.Synchronize();

  const std::vector<int32_t> experts = out.expert_of_slot.ToHost();
  const std::vector<float> weights = out.weight_of_slot.ToHost();
  const int close = CheckSelection(check, in, experts, weights);
  const reference::Alignment rows = CheckAlignment(s, out, experts);
  const auto kept = static_cast<Eigen::Index>(rows.slot_token.size());
  const MatrixXd act = ToMatrix(out.act, kept, s.intermediate);
  const MatrixXd y = ToMatrix(out.y, kept, s.hidden);
  const std::vector<double> exact_weights(weights.begin(), weights.end());
  const std::array<double, 3> errors = {
      RequireClose(act, reference::GateUpSwiGlu(rows, in.x.exact, in.experts), "gate_up"),
      RequireClose(y, reference::Down(rows, act, in.experts), "down"),
      RequireClose(ToMatrix(out.out, s.tokens, s.hidden),
                   reference::Combine(s, rows.position_of_slot, exact_weights, y), "combine")};
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "T=%d k=%d E=%d H=%d I=%d rule %d: A=%d D=%d close %d, errors %.1e %.1e %.1e",
                s.tokens, s.top_k, s.experts, s.hidden, s.intermediate,
                static_cast<int>(check.rule.kind), static_cast<int>(kept),
                static_cast<int>(rows.active_experts.size()), close, errors[0], errors[1],
                errors[2]);
  return line.data();
}

void CheckExpertPath(uint64_t seed, const Stream& stream,
                     const std::function<void(const std::string& line)>& report) {
  for (const CheckCase& check : CheckCases()) report(CheckOnDevice(check, seed++, stream));
}

}  // namespace moecast::kernels
