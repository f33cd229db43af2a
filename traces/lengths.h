// LengthSampler: token counts of synthetic requests. docs/model/workload.md, "Lengths".
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/base/result.h"
#include "sim/base/rng.h"
#include "traces/workload.h"

namespace moecast {

/// The pair of lengths of one request, each in [1, kMaxRequestTokens].
struct RequestLengths {
  int32_t input_tokens = 0;
  int32_t output_tokens = 0;
  friend bool operator==(RequestLengths, RequestLengths) = default;
};

/// The lengths of request n depend on (spec, seed, n) alone: they are drawn from
/// RngStream(seed, "workload/input_tokens", n) and RngStream(seed, "workload/output_tokens", n).
/// Two empirical lengths of one file take both from one row, drawn from the input's stream.
class LengthSampler {
 public:
  /// Reads empirical files whole: 8 bytes a row. ERRORS: a parameter out of range (`where` is the
  /// field); as CsvRequestReader; a file without rows.
  static Result<LengthSampler> Make(const SyntheticWorkload& workload, Seed seed);

  [[nodiscard]] RequestLengths Sample(uint64_t request) const;

 private:
  using Rows = std::vector<RequestLengths>;
  LengthSampler(const SyntheticWorkload& workload, Seed seed);

  Length input_;
  Length output_;
  Seed seed_;
  bool one_row_ = false;  // both lengths come from input_rows_
  Rows input_rows_;       // of an empirical input
  Rows output_rows_;      // of an empirical output from another file
};

}  // namespace moecast
