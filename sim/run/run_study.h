// RunStudy: every (variant, load, replication) of a study on common random numbers, in threads.
// Results do not depend on the number of threads (INV-2).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/engine/run_result.h"
#include "sim/model/memory.h"
#include "sim/replay/replay_table.h"

namespace moecast {

/// One cell of the study with all its replications.
struct CaseResult {
  std::string variant;
  std::string load;
  MemoryPlan memory;
  SelectionNotes selection;
  std::optional<double> kv_output_error = {};  // StudyCase's
  std::vector<RunResult> replications;
  /// With a profile: the first replication again, every step at the fast and at the slow end of its
  /// 95 % interval. Else empty.
  std::vector<RunResult> fast_and_slow = {};
};

struct StudyResult {
  std::vector<CaseResult> cases;  // in the order of Study::cases
  double wall_seconds = 0;        // provenance, not a result
};

struct RunOptions {
  int threads = 1;
  /// Memory for routing tables; what exceeds it lies in temporary files. Changes no result.
  int64_t routing_bytes = ReplayTable::kResidentBytes;
  /// Existing folder below which every run writes its requests.csv (see case_files.h); absent:
  /// request rows are not written.
  std::optional<std::filesystem::path> request_rows{};
  /// Called after each run with (done, all), from one worker at a time.
  std::function<void(int done, int all)> progress{};
};

/// Plans memory and opens every input of every case first, so that bad input costs no simulation.
/// ERRORS: every case that does not fit in memory or names a bad file, once per distinct message;
/// or the errors of the first run, in case order, that failed on the way.
Result<StudyResult> RunStudy(const Study& study, const RunOptions& options);

}  // namespace moecast
