#include "scenarios/scenario_codec.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "scenario.pb.h"
#include "scenarios/catalog.h"
#include "scenarios/convert.h"
#include "scenarios/kv_errors.h"
#include "scenarios/problems.h"
#include "scenarios/profile_codec.h"
#include "scenarios/tree_edit.h"
#include "scenarios/yaml_print.h"
#include "scenarios/yaml_walk.h"
#include "sim/base/files.h"

namespace moecast {
namespace {

const Descriptor& ScenarioType() { return *pb::Scenario::descriptor(); }

// A named set of overrides of the scenario; the single nameless one changes nothing.
struct Alternative {
  std::string name;
  const YamlNode* set = nullptr;
};

// "path=value" becomes a mapping from path to value.
Result<YamlNode> ParseOverride(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{.message = "expected path=value, as in workload.stop.requests=500",
                 .where = "--set " + text};
  }
  const Place place{.source = "--set " + text.substr(0, equals)};
  SIM_TRY(YamlNode value, ParseYamlValue(std::string_view(text).substr(equals + 1), place));
  value.key = text.substr(0, equals);
  value.key_place = place;
  YamlNode mapping = MakeMapping(place);
  mapping.children.push_back(std::move(value));
  return mapping;
}

std::vector<Alternative> ReadAlternatives(const YamlNode& root, const char* key,
                                          const std::string& default_name, Problems& problems) {
  std::vector<Alternative> alternatives;
  std::set<std::string> names;
  const YamlNode* list = root.Find(key);
  if (list != nullptr && list->is_sequence()) {
    for (size_t i = 0; i < list->children.size(); ++i) {
      const YamlNode& item = list->children[i];
      const YamlNode* name = item.Find("name");
      const YamlNode* set = item.Find("set");
      if (name == nullptr || !name->is_scalar()) continue;  // the reader reports it
      if (!names.insert(name->text).second) {
        problems.Add(name->place, std::string(key) + "." + std::to_string(i) + ".name",
                     "'" + name->text + "' is used twice");
      }
      alternatives.push_back({name->text, set != nullptr && set->is_mapping() ? set : nullptr});
    }
  }
  if (alternatives.empty()) alternatives.push_back({default_name, nullptr});
  return alternatives;
}

// What one case yields: the scenario, or its problems.
struct CaseReading {
  StudyCase result;
  std::vector<std::filesystem::path> files;
  Errors errors;
};

// Entries that cases share, each read once.
struct Libraries {
  Catalog& catalog;
  QualityLibrary qualities;
  KvErrors kv_errors;
  ProfileLibrary profiles{};
};

CaseReading ReadCase(const YamlNode& base, const Alternative& variant, const Alternative& load,
                     Libraries& libraries) {
  CaseReading reading{
      .result = {.variant = variant.name, .load = load.name, .scenario = {}, .quality = {}},
      .files = {},
      .errors = {}};
  Problems problems;
  TreeEditor editor(libraries.catalog, problems);
  YamlNode tree = base;
  for (const Alternative* alternative : {&load, &variant}) {
    if (alternative->set != nullptr) editor.Merge(tree, ScenarioType(), *alternative->set, "");
  }
  editor.Complete(tree, ScenarioType(), "");
  pb::Scenario message;
  ReadNotes notes;
  ReadMessage(tree, message, notes, problems);
  if (problems.none()) {
    reading.result.scenario =
        ConvertScenario(message, {.places = notes.places, .problems = problems});
  }
  if (problems.none() && message.cost().has_profile()) {
    reading.result.scenario.profile =
        libraries.profiles.Find(message.cost().profile(), reading.result.scenario.device.name,
                                {.places = notes.places, .problems = problems});
  }
  if (problems.none()) {
    auto quality = libraries.qualities.Find(reading.result.scenario, message);
    if (quality.ok()) {
      reading.result.quality = std::move(quality).value();
      reading.result.kv_output_error = libraries.kv_errors.Of(reading.result.scenario);
    } else {
      problems.Add(quality.errors());
    }
  }
  reading.files = std::move(notes.files);
  reading.errors = problems.Take();
  return reading;
}

// Problems of every case are told once; those of some cases say which case met them first.
Errors MergeErrors(const std::vector<CaseReading>& cases) {
  std::map<std::pair<std::string, std::string>, size_t> met;
  for (const CaseReading& each : cases) {
    std::set<std::pair<std::string, std::string>> own;
    for (const Error& error : each.errors) own.emplace(error.where, error.message);
    for (const auto& error : own) ++met[error];
  }
  Errors merged;
  std::set<std::pair<std::string, std::string>> told;
  for (const CaseReading& each : cases) {
    for (const Error& error : each.errors) {
      if (!told.emplace(error.where, error.message).second) continue;
      std::string prefix;
      if (met.at({error.where, error.message}) < cases.size()) {
        prefix = "in variant '" + each.result.variant + "'" +
                 (each.result.load.empty() ? "" : " at load '" + each.result.load + "'") + ": ";
      }
      merged.push_back({.message = prefix + error.message, .where = error.where});
    }
  }
  return merged;
}

Result<std::vector<InputFile>> HashInputs(const std::vector<CaseReading>& cases) {
  std::set<std::filesystem::path> paths;
  for (const CaseReading& each : cases) paths.insert(each.files.begin(), each.files.end());
  std::vector<InputFile> inputs;
  for (const std::filesystem::path& path : paths) {
    SIM_TRY(std::string sha256, Sha256OfFile(path));
    inputs.push_back({.path = path, .sha256 = std::move(sha256)});
  }
  return inputs;
}

// The whole scenario with names and defaults spelled out, overrides of variants included.
std::string Resolve(YamlNode root, TreeEditor& editor) {
  editor.Complete(root, ScenarioType(), "");
  for (const char* key : {"variants", "loads"}) {
    YamlNode* list = root.Find(key);
    if (list == nullptr) continue;
    for (YamlNode& item : list->children) {
      YamlNode* set = item.Find("set");
      if (set != nullptr) editor.ExpandNames(*set, ScenarioType());
    }
  }
  return PrintYaml(root);
}

// The catalog's table, or none of a catalog without one.
Result<KvErrors> ReadKvErrors(const Catalog& catalog) {
  const std::filesystem::path file = catalog.folder() / "quality" / "kv_accuracy.csv";
  if (!std::filesystem::exists(file)) return KvErrors{};
  SIM_TRY(const std::string text, ReadFile(file));
  return KvErrors::Parse(text, file);
}

Result<std::vector<CaseReading>> ReadCases(const YamlNode& root, Catalog& catalog,
                                           Problems& problems) {
  const std::vector<Alternative> variants = ReadAlternatives(root, "variants", "base", problems);
  const std::vector<Alternative> loads = ReadAlternatives(root, "loads", "", problems);
  if (variants.size() * loads.size() > kMaxCases) {
    return Error{.message = std::to_string(variants.size()) + " variants at " +
                            std::to_string(loads.size()) + " loads; at most " +
                            std::to_string(kMaxCases) + " cases are allowed",
                 .where = root.place.source};
  }
  SIM_TRY(KvErrors kv_errors, ReadKvErrors(catalog));
  Libraries libraries{
      .catalog = catalog, .qualities = QualityLibrary(catalog), .kv_errors = std::move(kv_errors)};
  std::vector<CaseReading> cases;
  for (const Alternative& load : loads) {
    for (const Alternative& variant : variants) {
      cases.push_back(ReadCase(root, variant, load, libraries));
    }
  }
  problems.Add(MergeErrors(cases));
  return cases;
}

}  // namespace

Result<Study> ParseStudy(std::string_view text, const std::filesystem::path& file,
                         std::span<const std::string> overrides,
                         const std::filesystem::path& catalog_folder) {
  SIM_TRY(YamlNode root, ParseYaml(text, file.string()));
  if (root.kind == YamlNode::Kind::kNull) root = MakeMapping({file.string(), 1, 1});
  Catalog catalog(catalog_folder);
  Problems problems;
  TreeEditor editor(catalog, problems);
  for (const std::string& override_text : overrides) {
    Result<YamlNode> change = ParseOverride(override_text);
    if (!change.ok()) {
      problems.Add(change.errors());
    } else if (root.is_mapping()) {
      editor.Merge(root, ScenarioType(), *change, "");
    }
  }
  SIM_TRY(std::vector<CaseReading> cases, ReadCases(root, catalog, problems));
  if (!problems.none()) return problems.Take();

  Study study;
  study.name = cases.front().result.scenario.name;
  SIM_TRY(study.inputs, HashInputs(cases));
  for (CaseReading& each : cases) study.cases.push_back(std::move(each.result));
  study.resolved_yaml = Resolve(root, editor);
  if (!problems.none()) return problems.Take();
  return study;
}

Result<Study> LoadStudy(const std::filesystem::path& file, std::span<const std::string> overrides,
                        const std::filesystem::path& catalog) {
  SIM_TRY(const std::string text, ReadFile(file));
  return ParseStudy(text, file, overrides, catalog);
}

}  // namespace moecast
