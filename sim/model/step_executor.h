// StepExecutor: runs a step on a GPU instead of pricing it. This is the whole contract between the
// simulator, which knows no CUDA, and the kernels, which know no scheduler: what one step computes
// goes in, how long it took comes out.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "sim/base/units.h"
#include "sim/model/hardware.h"
#include "sim/model/kv_scheme.h"
#include "sim/model/model_spec.h"

namespace moecast {

/// One sequence's part of a step. A step's tokens stand in the order of its sequences, decodes
/// first, and within a sequence in order of position.
struct SequenceWork {
  uint32_t slot = 0;     // names the sequence as long as it holds KV; may name another afterwards
  int64_t past = 0;      // cached tokens before the step; 0 starts the sequence (again)
  int64_t tokens = 0;    // computed by the step; 1 for a decode
  bool decodes = false;  // its token was generated: one query over the cache
  bool emits = false;    // the step samples its next token
  friend bool operator==(const SequenceWork&, const SequenceWork&) = default;
};

/// In place of an expert id: nothing is computed for this slot.
inline constexpr uint16_t kNoExpert = 0xffff;

/// One step of one GPU. Spans point into the caller's buffers. A sequence that is absent from a
/// step holds no KV afterwards.
struct StepRun {
  std::span<const SequenceWork> sequences{};
  int64_t rows = 0;                     // of the dense products, padding included
  int64_t logit_rows = 0;               // of the output head, padding included
  bool graph = false;                   // decodes only, padded to a captured batch
  std::span<const uint16_t> experts{};  // [MoE layer][token][top_k], kNoExpert where skipped
  bool time_ops = false;                // also time the step's ops apart and its layers one by one
};

/// All executions of one op of a step, timed apart from the others.
struct OpSeconds {
  std::string op{};  // as OpName names it
  Seconds time{};
};

/// The nearest whole nanosecond.
inline Seconds WholeNs(Seconds time) {
  return Seconds(std::round(time.count() * kNsPerSecond) / kNsPerSecond);
}

/// Times of the GPU are WholeNs, so that a file of microseconds holds them exactly.
struct ExecutedStep {
  Seconds gpu{};      // the whole step, from its first kernel to its last
  double sm_mhz = 0;  // mean clock of the multiprocessors in it
  // Only where the run asked for time_ops:
  std::vector<OpSeconds> ops{};
  Seconds layers{};  // sum over layers, each timed as one, and what stands outside of them
  // What it cost to find out, wall time that nobody is charged for:
  Seconds preparing{};   // pages, inputs, algorithms and graphs, before the step could run
  Seconds timing_ops{};  // ops and layers apart
};

/// What an executor must hold: weights (random) of the model in its formats and a paged KV cache.
struct ExecutorRequest {
  ModelSpec model{};
  DeviceSpec device{};           // what the scenario says it runs on
  KvScheme kv{};                 // of every layer
  int64_t kv_tokens = 0;         // capacity of the cache
  int64_t max_batch_tokens = 0;  // of a step
  int64_t max_sequences = 0;     // of a step
};

struct StepExecutor {
  std::string device{};  // as the driver names it
  std::function<Result<ExecutedStep>(const StepRun&)> run{};
};

/// Opens the GPU of this machine. Defined by the kernels in a build with CUDA; a build without says
/// so. ERRORS: no GPU, another one than the request's, a model or scheme without kernels, memory.
Result<StepExecutor> OpenStepExecutor(const ExecutorRequest& request);

}  // namespace moecast
