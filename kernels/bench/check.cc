#include "kernels/bench/check.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "kernels/bench/check_route.h"
#include "kernels/bench/check_support.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_gemm/reference.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;
using Bf16 = __nv_bfloat16;

constexpr double kTolerance = 3e-3;  // bf16 outputs of fp32 sums

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
  RoutingOutputs routing;
  DeviceBuffer<Bf16> act;
  DeviceBuffer<Bf16> y;
  DeviceBuffer<Bf16> out;

  explicit LayerOutputs(const ExpertShape& s)
      : routing(s),
        act(static_cast<size_t>(s.tokens * s.top_k) * static_cast<size_t>(s.intermediate)),
        y(static_cast<size_t>(s.tokens * s.top_k) * static_cast<size_t>(s.hidden)),
        out(static_cast<size_t>(s.tokens * s.hidden)) {
    act.Poison(), y.Poison(), out.Poison();
  }

  [[nodiscard]] ExpertSlots slots() const {
    return {.active_experts = routing.active_experts.data(),
            .active_count = routing.active_count.data(),
            .offsets = routing.offsets.data(),
            .slot_token = routing.slot_token.data()};
  }
};

}  // namespace

std::vector<CheckCase> CheckCases() {
  std::vector<CheckCase> cases;
  for (const int32_t tokens : {1, 7, 8, 9, 17, 40, 65})
    cases.push_back({{tokens, 8, 64, 256, 128}, {}});
  cases.push_back({{130, 4, 33, 128, 96}, {}});
  cases.push_back({{3, 2, 8, 64, 32}, {}});
  cases.push_back({{63, 1, 5, 192, 64}, {}});
  cases.push_back({{1, 8, 60, 320, 32}, {.skip = {.kind = SkipKind::kUniform, .k = 1}}});
  cases.push_back({{9, 8, 300, 512, 32}, {.skip = {.kind = SkipKind::kUniform, .k = 3}}});
  cases.push_back({{33, 16, 512, 64, 32}, {.skip = {.kind = SkipKind::kTopP, .threshold = 0.5F}}});
  return cases;
}

std::string CheckOnDevice(const CheckCase& check, uint64_t seed, const Stream& stream) {
  const ExpertShape& s = check.shape;
  const LayerInputs in = DrawInputs(s, seed);
  LayerOutputs out(s);
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  Route(s, check.rule, in.device_x.data(), in.device_router.data(), nullptr, out.routing.buffers(),
        stream.get());
  GateUpSwiGlu(s, out.slots(), in.device_x.data(), in.device_gate_up.data(), out.act.data(),
               stream.get());
  Down(s, out.slots(), out.act.data(), in.device_down.data(), out.y.data(), stream.get());
  Combine(s, out.routing.buffers(), out.y.data(), out.out.data(), stream.get());
  stream.Synchronize();

  const reference::Selection expected =
      reference::Select(s, check.rule, {}, reference::GateLogits(in.x.exact, in.router.exact));
  const RoutingMatch match = RequireRouting(s, expected, out.routing);
  const auto kept = static_cast<Eigen::Index>(match.rows.slot_token.size());
  const MatrixXd act = ToMatrix(out.act, kept, s.intermediate);
  const MatrixXd y = ToMatrix(out.y, kept, s.hidden);
  const std::vector<float> weights = out.routing.weight_of_slot.ToHost();
  const std::vector<double> exact_weights(weights.begin(), weights.end());
  const std::array<double, 3> errors = {
      RequireClose(act, reference::GateUpSwiGlu(match.rows, in.x.exact, in.experts), kTolerance,
                   "gate_up"),
      RequireClose(y, reference::Down(match.rows, act, in.experts), kTolerance, "down"),
      RequireClose(ToMatrix(out.out, s.tokens, s.hidden),
                   reference::Combine(s, match.rows.position_of_slot, exact_weights, y), kTolerance,
                   "combine")};
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "T=%d k=%d E=%d H=%d I=%d rule %d: A=%d D=%d close %d, errors %.1e %.1e %.1e",
                s.tokens, s.top_k, s.experts, s.hidden, s.intermediate,
                static_cast<int>(check.rule.skip.kind), static_cast<int>(kept),
                static_cast<int>(match.rows.active_experts.size()), match.close, errors[0],
                errors[1], errors[2]);
  return line.data();
}

void CheckExpertPath(uint64_t seed, const Stream& stream,
                     const std::function<void(const std::string& line)>& report) {
  for (const CheckCase& check : CheckCases()) report(CheckOnDevice(check, seed++, stream));
}

}  // namespace moecast::kernels
