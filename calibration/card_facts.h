// CardFacts: the GPU a folder of measurements was taken on, from its environment.yaml.
#pragma once

#include <string>
#include <string_view>

#include "sim/base/result.h"

namespace moecast::calibration {

/// The card's datasheet rates, which no row may beat, and what the work of kernels depends on.
struct CardFacts {
  std::string gpu;  // "h200_sxm"
  double hbm_bytes_per_s = 0;
  double bf16_flop_per_s = 0;
  double fp8_flop_per_s = 0;  // 0: not stated; 8-bit rows are then checked by bytes alone
  double multiprocessors = 0;
  double cache_bytes = 0;  // of the last cache before device memory
};

/// environment.yaml: flat lines of "key: value". ERRORS: a line of another form, a doubled key, a
/// missing field, a rate or size that is no number above 0.
Result<CardFacts> ParseEnvironment(std::string_view text, const std::string& file);

}  // namespace moecast::calibration
