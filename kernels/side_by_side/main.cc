// moecast_side_by_side: our expert layer and cuBLAS grouped products on the same drawn routings.
//   moecast_side_by_side --out DIR [--data kernels/data] [--model NAME]...
// Writes DIR/loads.csv, the routings, for implementations that are no part of this program, and
// DIR/native.csv, the times. moe_layer.py runs this program and the others.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <stdexcept>

#include "kernels/bench/fill.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/harness/environment.h"
#include "kernels/harness/measure.h"
#include "kernels/harness/measurement.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/route/route.h"
#include "kernels/side_by_side/drawn_loads.h"
#include "kernels/side_by_side/library_products.h"
#include "sim/base/files.h"

namespace moecast::kernels {
namespace {

constexpr int kRotation = 8;  // routings of a replay
constexpr int kMaxCopies = 4;
constexpr double kPoolBytes = 40e9;  // of weights, so that both cards hold it
constexpr float kWeightScale = 0.05F;
constexpr std::array<int32_t, 6> kTokens = {1, 8, 64, 256, 2048, 8192};

using Bf16 = __nv_bfloat16;

size_t Count(int64_t value) { return static_cast<size_t>(value); }

// Copies of one layer's expert weights; every implementation reads the same bytes as it likes.
struct WeightCopies {
  int64_t elements;  // of gate-up; down has half
  int copies;
  DeviceBuffer<Bf16> gate_up;
  DeviceBuffer<Bf16> down;

  WeightCopies(const ExpertShape& s, const Stream& stream)
      : elements(int64_t{2} * s.experts * s.hidden * s.intermediate),
        copies(static_cast<int>(
            std::clamp<double>(kPoolBytes / (3 * static_cast<double>(elements)), 1, kMaxCopies))),
        gate_up(Count(elements * copies)),
        down(Count(elements / 2 * copies)) {
    FillUniform(gate_up.data(), gate_up.size(), kWeightScale, 2, stream.get());
    FillUniform(down.data(), down.size(), kWeightScale, 3, stream.get());
  }
  [[nodiscard]] const Bf16* GateUp(int launch) const {
    return gate_up.data() + launch % copies * elements;
  }
  [[nodiscard]] const Bf16* Down(int launch) const {
    return down.data() + launch % copies * (elements / 2);
  }
};

// One routing on the device.
struct DeviceRouting {
  reference::Alignment rows;
  DeviceBuffer<int32_t> position;
  DeviceBuffer<int32_t> active;
  DeviceBuffer<int32_t> count;
  DeviceBuffer<int32_t> offsets;
  DeviceBuffer<int32_t> token;
  DeviceBuffer<float> weight;

  DeviceRouting(const ExpertShape& s, reference::Alignment alignment)
      : rows(std::move(alignment)),
        position(std::span<const int32_t>(rows.position_of_slot)),
        active(std::span<const int32_t>(rows.active_experts)),
        count(1),
        offsets(std::span<const int32_t>(rows.offsets)),
        token(std::span<const int32_t>(rows.slot_token)) {
    const auto distinct = static_cast<int32_t>(rows.active_experts.size());
    count.CopyFrom(std::span(&distinct, 1));
    const std::vector<float> even(rows.position_of_slot.size(), 1.0F / static_cast<float>(s.top_k));
    weight = DeviceBuffer<float>(std::span<const float>(even));
  }
  [[nodiscard]] ExpertSlots slots() const {
    return {.active_experts = active.data(),
            .active_count = count.data(),
            .offsets = offsets.data(),
            .slot_token = token.data()};
  }
  [[nodiscard]] RouteBuffers buffers() const {
    RouteBuffers all;
    all.weight_of_slot = weight.data();
    all.position_of_slot = position.data();
    return all;
  }
};

struct Activations {
  DeviceBuffer<Bf16> tokens;    // [T, H]
  DeviceBuffer<Bf16> permuted;  // [A, H]
  DeviceBuffer<Bf16> gate_up;   // [A, 2 I], of the library
  DeviceBuffer<Bf16> act;       // [A, I]
  DeviceBuffer<Bf16> y;         // [A, H]
  DeviceBuffer<Bf16> out;       // [T, H]

  Activations(const ExpertShape& s, const Stream& stream)
      : tokens(Count(int64_t{s.tokens} * s.hidden)),
        permuted(Count(int64_t{s.tokens} * s.top_k * s.hidden)),
        gate_up(Count(int64_t{2} * s.tokens * s.top_k * s.intermediate)),
        act(gate_up.size() / 2),
        y(permuted.size()),
        out(tokens.size()) {
    FillUniform(tokens.data(), tokens.size(), 1, 4, stream.get());
    FillUniform(permuted.data(), permuted.size(), 1, 5, stream.get());
    FillUniform(act.data(), act.size(), 1, 6, stream.get());
  }
};

// One model at one number of tokens: everything that is compared, and its rows.
class Comparison {
 public:
  Comparison(const Bench& bench, const ModelShape& model, int32_t tokens,
             const WeightCopies& weights, LoadLines& loads)
      : bench_(bench),
        name_(model.name),
        shape_(model.shape),
        weights_(weights),
        activations_(WithTokens(model.shape, tokens), bench.stream) {
    shape_.tokens = tokens;
    for (int r = 0; r < kRotation; ++r) {
      routings_.emplace_back(
          shape_, reference::Align(shape_, DrawUniformSlots(shape_, static_cast<uint64_t>(r))));
      loads.Append(name_, tokens, r, routings_.back().rows);
    }
  }

  void RunOurs(std::string& csv) {
    Append(csv, "moecast_streamed", "gate_up", [&](int r) { StreamedGateUp(r); });
    Append(csv, "moecast_streamed", "down", [&](int r) { StreamedDown(r); });
    Append(csv, "moecast_streamed", "layer", [&](int r) {
      StreamedGateUp(r);
      StreamedDown(r);
      CombineRows(r);
    });
    Append(csv, "moecast_prefill", "gate_up", [&](int r) { TiledGateUp(r); });
    Append(csv, "moecast_prefill", "down", [&](int r) { TiledDown(r); });
    Append(csv, "moecast_prefill", "layer", [&](int r) {
      PermuteTokens(shape_, WeightFormat::kBf16, Routing(r).position.data(),
                    activations_.tokens.data(), Permuted(), bench_.stream.get());
      TiledGateUp(r);
      TiledDown(r);
      CombineRows(r);
    });
  }

  void RunLibrary(std::string& csv, const CublasHandle& handle) {
    std::vector<GroupedProduct> gate_up;
    std::vector<GroupedProduct> down;
    for (int r = 0; r < kRotation; ++r) {
      gate_up.push_back(GroupedProduct({.in = activations_.permuted.data(),
                                        .weights = weights_.GateUp(r),
                                        .out = activations_.gate_up.data(),
                                        .n = 2 * shape_.intermediate,
                                        .k = shape_.hidden},
                                       Routing(r).rows));
      down.push_back(GroupedProduct({.in = activations_.act.data(),
                                     .weights = weights_.Down(r),
                                     .out = activations_.y.data(),
                                     .n = shape_.hidden,
                                     .k = shape_.intermediate},
                                    Routing(r).rows));
    }
    const auto at = [](int r) { return static_cast<size_t>(r % kRotation); };
    Append(csv, "cublas_grouped", "gate_up", [&](int r) { gate_up[at(r)].Launch(handle); });
    Append(csv, "cublas_grouped", "down", [&](int r) { down[at(r)].Launch(handle); });
  }

 private:
  static ExpertShape WithTokens(ExpertShape shape, int32_t tokens) {
    shape.tokens = tokens;
    return shape;
  }
  const DeviceRouting& Routing(int launch) const {
    return routings_[static_cast<size_t>(launch % kRotation)];
  }
  [[nodiscard]] PrefillRows Permuted() const { return {.values = activations_.permuted.data()}; }
  [[nodiscard]] PrefillRows Act() const { return {.values = activations_.act.data()}; }
  [[nodiscard]] PrefillWeights Tiled(int r) const {
    return {.gate_up = weights_.GateUp(r), .down = weights_.Down(r)};
  }

  void StreamedGateUp(int r) const {
    GateUpSwiGlu(shape_, Routing(r).slots(), activations_.tokens.data(), weights_.GateUp(r),
                 activations_.act.data(), bench_.stream.get());
  }
  void StreamedDown(int r) const {
    Down(shape_, Routing(r).slots(), activations_.act.data(), weights_.Down(r),
         activations_.y.data(), bench_.stream.get());
  }
  void TiledGateUp(int r) const {
    PrefillGateUp(shape_, Routing(r).slots(), Tiled(r), Permuted(), Act(), bench_.stream.get());
  }
  void TiledDown(int r) const {
    PrefillDown(shape_, Routing(r).slots(), Tiled(r), Act(), activations_.y.data(),
                bench_.stream.get());
  }
  void CombineRows(int r) const {
    Combine(shape_, Routing(r).buffers(), activations_.y.data(), activations_.out.data(),
            bench_.stream.get());
  }

  void Append(std::string& csv, const std::string& implementation, const std::string& part,
              const EnqueueLaunch& enqueue) {
    Measurement row;
    row.op = implementation;
    Measure(bench_, {.min_launches = kRotation, .period = kRotation, .max_periods = 4}, enqueue,
            row);
    std::array<char, 256> line{};
    std::snprintf(line.data(), line.size(), "%s,%s,%s,%d,%d,%.0f,%.5g,%.5g,%.5g\n",
                  implementation.c_str(), part.c_str(), name_.c_str(), shape_.tokens,
                  shape_.tokens * shape_.top_k, row.samples, row.time_us.median, row.time_us.p25,
                  row.time_us.p75);
    csv += line.data();
  }

  const Bench& bench_;
  std::string name_;
  ExpertShape shape_;
  const WeightCopies& weights_;
  Activations activations_;
  std::vector<DeviceRouting> routings_;
};

template <class T>
T OrThrow(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(ToString(result.errors()));
  return std::move(result).value();
}

void Run(const std::filesystem::path& out, const std::filesystem::path& data,
         const std::vector<std::string>& wanted) {
  const Stream stream;
  const Environment environment = ReadEnvironment();
  const ClockMonitor clocks(environment.pci_bus_id);
  const ClockProbe probe;
  const Bench bench{.stream = stream,
                    .clocks = clocks,
                    .probe = probe,
                    .rule = {.min_samples = 20, .max_samples = 40, .max_seconds = 0.1},
                    .power_cap = PowerCap::kIsSteadyState};
  const CublasHandle handle(stream.get());
  LoadLines loads;
  std::string csv =
      "implementation,part,model,tokens,assignments,samples,median_us,p25_us,p75_us\n";
  for (const ModelShape& model : OrThrow(ReadModelShapes(data / "models.csv"))) {
    if (std::find(wanted.begin(), wanted.end(), model.name) == wanted.end()) continue;
    const WeightCopies weights(model.shape, stream);
    for (const int32_t tokens : kTokens) {
      Comparison comparison(bench, model, tokens, weights, loads);
      CUDA_CHECK(cudaDeviceSynchronize());
      comparison.RunOurs(csv);
      try {
        comparison.RunLibrary(csv, handle);
      } catch (const CudaError& error) {
        std::fprintf(stderr, "cuBLAS skips %s at %d tokens: %s\n", model.name.c_str(), tokens,
                     error.what());
      }
    }
  }
  std::filesystem::create_directories(out);
  for (const auto& [name, text] :
       {std::pair("loads.csv", loads.text), std::pair("native.csv", csv)}) {
    const Status written = WriteFileAtomically(out / name, text);
    if (!written.ok()) throw std::runtime_error(ToString(written.errors()));
  }
}

}  // namespace
}  // namespace moecast::kernels

int main(int argc, char** argv) {
  std::string out;
  std::string data = "kernels/data";
  std::vector<std::string> models = {"Qwen3-30B-A3B", "Mixtral-8x7B"};
  try {
    CLI::App app("Times our expert layer and cuBLAS grouped products on the same routings");
    app.add_option("--out", out, "folder for loads.csv and native.csv")->required();
    app.add_option("--data", data, "folder of models.csv");
    app.add_option("--model", models, "shapes of models.csv");
    CLI11_PARSE(app, argc, argv);
    moecast::kernels::Run(out, data, models);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
