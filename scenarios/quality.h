// Quality findings: what was measured about a model under a policy, looked up, never modelled.
// A case has the findings of exactly its policy on exactly the catalog's model; a policy that
// nobody measured has none, however close a measured one is. docs/formats/quality.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "sim/policy/expert_policy.h"

namespace moecast {

class Catalog;
struct Scenario;

namespace pb {
class Scenario;
}

/// Values of two families are not comparable.
enum class TaskFamily { kMultipleChoice, kGeneration, kLongContext, kPerplexity, kMixed };
std::string_view TaskFamilyName(TaskFamily family);

struct QualityFinding {
  ExpertPolicy experts;
  std::string kv;  // name of the scheme or policy
  TaskFamily family = TaskFamily::kMultipleChoice;
  std::string task;
  double value = 0;
  std::string unit;
  std::optional<double> standard_error;
  std::optional<double> native_value;  // of the unchanged model: same family, task and source
  std::string source;
  std::string note;
};

/// The findings of every model of a study; a model's file is read once.
class QualityLibrary {
 public:
  /// REQUIRES: outlives this object.
  explicit QualityLibrary(Catalog& catalog);
  ~QualityLibrary();
  QualityLibrary(const QualityLibrary&) = delete;
  QualityLibrary& operator=(const QualityLibrary&) = delete;

  /// Findings about exactly the scenario's policies of experts and cache, weight formats and change
  /// of structure; none when its model is not the catalog's entry of that name otherwise. `message`
  /// is what the scenario was made of. ERRORS: a malformed file of the catalog.
  Result<std::vector<QualityFinding>> Find(const Scenario& scenario, const pb::Scenario& message);

 private:
  struct Entry;
  Result<const Entry*> EntryOf(const std::string& model);

  Catalog& catalog_;
  std::map<std::string, Entry> entries_;
};

}  // namespace moecast
