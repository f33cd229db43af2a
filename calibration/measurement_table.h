// Measurements: every suite below a folder becomes KernelRows, with the card they were taken on.
// Columns are found by name: a column named after a feature is that feature, a time column carries
// its unit ("median_us"), and a column nobody reads is listed, so new ops and suites need no code.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/card_facts.h"
#include "calibration/kernel_row.h"
#include "sim/base/result.h"
#include "sim/cost/profile.h"

namespace moecast::calibration {

/// A row that no fit may use, and why.
struct RefusedRow {
  RowSource source{};
  std::string kernel{};  // "down bf16, Mixtral-8x7B even"
  std::string why{};
};

/// What a profile is fitted from, whoever measured it.
struct Measurements {
  CardFacts card;
  std::string engine;  // "" for this project's kernels
  std::vector<KernelRow> rows;
  std::vector<RefusedRow> refused;           // by a reader; hygiene refuses further ones
  std::vector<ProfileSource> files;          // in path order; `rows` counts what was read
  std::vector<std::string> superseded{};     // files that a later folder has anew
  std::map<std::string, int64_t> ceilings;   // op: rows that are no kernel of a step (bare copies)
  std::vector<std::string> ignored_columns;  // sorted, once each
};

/// A suite measured again, that is a file of the same name in a folder later by name, counts
/// instead of the earlier one. Reads every *.csv beside an environment.yaml, in `folder` or below
/// it. Names of files are relative to `folder`. ERRORS: no suite found, two cards, a missing or
/// doubled column, a time column without a unit, a cell that is no number; each with its place.
Result<Measurements> ReadMeasurements(const std::filesystem::path& folder);

/// One suite's rows appended to `into`. `file` goes into messages.
Status ParseSuite(std::string_view text, const std::string& file, Measurements& into);
}  // namespace moecast::calibration
