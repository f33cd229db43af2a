// The one table of what moecast_kernels measures. A suite stands in it beside the check that must
// pass in the same process before any of its rows is timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/bench/case_range.h"
#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// Takes one line that says what was compared and how far apart it was.
using ReportLine = std::function<void(const std::string& line)>;

/// Compares kernels with their references on small shapes; `seed` draws the data.
/// ERRORS: throws std::runtime_error that names the first difference and its case.
using Check = void (*)(uint64_t seed, const Stream& stream, const ReportLine& report);
/// The same of a check that can run some of its cases: each draws the data that it draws among all.
/// ERRORS: throws std::runtime_error where `cases` ends behind the last.
using CheckOfCases = void (*)(uint64_t seed, const CaseRange& cases, const Stream& stream,
                              const ReportLine& report);

/// A suite of the KV path: rows of other columns.
using KvSuite = std::vector<KvMeasurement> (*)(const SuiteContext& context);

/// None where nothing of ours is computed.
using AnyCheck = std::variant<std::monostate, Check, CheckOfCases>;

struct NamedSuite {
  std::string name;  // of its file, NAME.csv
  std::variant<Suite, KvSuite> run;
  AnyCheck check;  // suites may share one
};

/// In the order they run in.
const std::vector<NamedSuite>& AllSuites();

}  // namespace moecast::kernels
