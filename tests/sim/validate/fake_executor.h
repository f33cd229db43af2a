// Executors without a GPU: they answer what a formula or the prediction itself says.
#pragma once

#include <vector>

#include "scenarios/scenario.h"
#include "sim/run/build.h"
#include "sim/validate/execute_study.h"

namespace moecast::test {

/// A step takes 1 ms and 10 us per token.
inline Seconds AffineStep(const StepRun& run) {
  constexpr double kStep = 1e-3;
  constexpr double kToken = 1e-5;
  int64_t tokens = 0;
  for (const SequenceWork& sequence : run.sequences) tokens += sequence.tokens;
  return Seconds(kStep + kToken * static_cast<double>(tokens));
}

/// What an executor was asked, copied out of the caller's buffers.
struct SeenRun {
  std::vector<SequenceWork> sequences;
  std::vector<uint16_t> experts;
  int64_t rows = 0;
  int64_t logit_rows = 0;
  bool graph = false;
  bool time_ops = false;
};

/// Keeps every run and answers `time(run)`.
template <class TimeOf>
OpenExecutor Recording(std::vector<SeenRun>& seen, TimeOf time) {
  return [&seen, time](const ExecutorRequest&) -> Result<StepExecutor> {
    return StepExecutor{.device = "fake", .run = [&seen, time](const StepRun& run) {
                          seen.push_back({.sequences = {run.sequences.begin(), run.sequences.end()},
                                          .experts = {run.experts.begin(), run.experts.end()},
                                          .rows = run.rows,
                                          .logit_rows = run.logit_rows,
                                          .graph = run.graph,
                                          .time_ops = run.time_ops});
                          return Result<ExecutedStep>(ExecutedStep{.gpu = time(run)});
                        }};
  };
}

}  // namespace moecast::test
