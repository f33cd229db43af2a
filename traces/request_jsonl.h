// MooncakeReader: the rows of a Mooncake JSONL trace as requests on the trace's own clock.
#pragma once

#include <filesystem>
#include <memory>

#include "sim/base/result.h"
#include "traces/request.h"
#include "traces/request_lines.h"

namespace moecast {

class MooncakeReader {
 public:
  /// `block_tokens`: tokens that one of the hash_ids stands for. ERRORS: as LineReader::Open.
  static Result<MooncakeReader> Open(const std::filesystem::path& path, int64_t block_tokens);
  MooncakeReader(MooncakeReader&&) noexcept;
  MooncakeReader& operator=(MooncakeReader&&) noexcept;
  ~MooncakeReader();

  /// Fills everything but the id, arrival as the trace has it; false at the end.
  /// ERRORS: as LineReader::Next; a line that is not one JSON object with the members timestamp
  /// (ms), input_length, output_length and optionally hash_ids; a value out of range; more hash_ids
  /// than blocks in the prompt. COST: no allocation once `request` has held the longest row.
  Result<bool> Next(Request& request);
  [[nodiscard]] const LineReader& lines() const { return lines_; }

 private:
  struct Parser;
  MooncakeReader(LineReader lines, int64_t block_tokens);
  Status Check(const Request& request) const;

  LineReader lines_;
  int64_t block_tokens_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace moecast
