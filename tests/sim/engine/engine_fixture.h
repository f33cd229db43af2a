// Small inputs and observations shared by the engine's tests.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "sim/base/distributions.h"
#include "sim/base/rng.h"
#include "sim/engine/simulator.h"

namespace moecast::testing {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Prompt and output tokens of a request.
struct Lengths {
  int64_t input = 1;
  int64_t output = 1;
};

inline Request MakeRequest(uint64_t id, Duration arrival, Lengths lengths) {
  Request request;
  request.id = RequestId(id);
  request.arrival = Time(arrival);
  request.input_tokens = lengths.input;
  request.output_tokens = lengths.output;
  return request;
}

/// `count` requests of equal lengths at one instant.
inline std::vector<Request> Burst(uint64_t count, Lengths lengths) {
  std::vector<Request> requests;
  for (uint64_t i = 0; i < count; ++i) requests.push_back(MakeRequest(i, Duration(0), lengths));
  return requests;
}

/// Poisson arrivals with lengths uniform in [1, max] of each kind.
inline std::vector<Request> RandomRequests(uint64_t seed, uint64_t count, Duration mean_gap,
                                           Lengths max) {
  RngStream rng(Seed{.seed = seed}, "test/requests");
  std::vector<Request> requests;
  Duration at{0};
  for (uint64_t i = 0; i < count; ++i) {
    at += Duration(
        static_cast<int64_t>(SampleExponential(rng, static_cast<double>(mean_gap.count()))));
    const Lengths lengths{.input = SampleUniformInt(rng, 1, max.input),
                          .output = SampleUniformInt(rng, 1, max.output)};
    requests.push_back(MakeRequest(i, at, lengths));
  }
  return requests;
}

/// One replica of one GPU, a dense model, plenty of everything; steps of 1 ms.
inline SimulatorInputs BaseInputs(std::vector<Request> requests) {
  SimulatorInputs inputs;
  inputs.engine = {.max_batch_tokens = 2048, .max_sequences = 64, .kv_block_tokens = 16};
  inputs.kv_tokens_per_group = 1 << 20;
  inputs.cost = AffineCost{.per_step = milliseconds(1)};
  inputs.stop.requests = requests.size();
  inputs.requests = RequestList{.requests = std::move(requests)};
  return inputs;
}

struct Observed {
  RunResult result;
  std::vector<RequestRecord> rows;
  [[nodiscard]] const Summary& summary() const { return result.summary; }
};

/// Runs to the end and keeps every row, in the order in which they were emitted.
inline Observed RunAndKeepRows(SimulatorInputs inputs) {
  Observed observed;
  inputs.recorder.sink = [&observed](std::span<const RequestRecord> rows) {
    observed.rows.insert(observed.rows.end(), rows.begin(), rows.end());
  };
  observed.result = Simulator(std::move(inputs)).Run().value();
  return observed;
}

}  // namespace moecast::testing
