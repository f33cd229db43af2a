// What validation keeps of every executed step: its shape, what was predicted for it, what it took.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/units.h"

namespace moecast {

/// All executions of one op in a step.
struct OpComparison {
  std::string op{};
  Seconds predicted{};
  Seconds executed{};  // timed apart from the rest of the step
};

struct StepComparison {
  size_t case_index = 0;
  int64_t step = 0;  // of its run, from 0
  int64_t decode_sequences = 0;
  int64_t decode_context = 0;  // cached tokens their queries attend to
  int64_t prefill_tokens = 0;
  int64_t prefill_context = 0;  // cached tokens read by prompt chunks
  int64_t rows = 0;             // of the dense products, padding included
  bool graph = false;           // padded to a captured batch
  uint64_t work = 0;            // StepWork
  Seconds predicted{};          // GPU time; the host's is modelled in both runs
  Seconds executed{};
  double sm_mhz = 0;  // mean clock of the multiprocessors in the executed step
  Seconds host{};
  Seconds attention{};  // parts of the prediction
  Seconds experts{};
  Seconds dense{};
  // Of steps whose ops were timed apart:
  std::vector<OpComparison> ops{};
  Seconds layers{};  // sum of layers, each timed as one, and what stands outside of them
};

}  // namespace moecast
