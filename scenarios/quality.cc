#include "scenarios/quality.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <array>
#include <utility>

#include "quality.pb.h"
#include "scenarios/catalog.h"
#include "scenarios/convert.h"
#include "scenarios/tree_edit.h"
#include "scenarios/yaml_walk.h"

namespace moecast {
namespace {

constexpr const char* kUnchangedKv = "bf16";

/// Rules that keep the same experts of every row compare equal after this.
ExpertSelection CanonicalRule(ExpertSelection rule, int64_t native_top_k) {
  if (const auto* schedule = std::get_if<LayerSchedule>(&rule)) {
    const std::vector<int64_t>& k = schedule->k_per_moe_layer;
    if (std::adjacent_find(k.begin(), k.end(), std::not_equal_to<>()) == k.end()) {
      rule = UniformTopK{k.front()};
    }
  }
  const auto* uniform = std::get_if<UniformTopK>(&rule);
  if (uniform != nullptr && uniform->k >= native_top_k) return NativeTopK{};
  return rule;
}

ExpertPolicy Canonical(ExpertPolicy policy, int64_t native_top_k) {
  for (ExpertRule& rule : policy.rules) {
    if (auto* token = std::get_if<ExpertSelection>(&rule)) {
      *token = CanonicalRule(std::move(*token), native_top_k);
    }
  }
  return policy;
}

QualityFinding Convert(const pb::Finding& in, const ModelSpec& model, const FieldReporter& report) {
  QualityFinding out{.experts = ConvertExperts(in.experts(), model, report),
                     .kv_format = in.kv(),
                     .family = static_cast<TaskFamily>(in.family()),
                     .task = in.task(),
                     .value = in.value(),
                     .unit = in.unit(),
                     .standard_error = {},
                     .native_value = {},
                     .source = in.source(),
                     .note = in.note()};
  out.experts.mass_ranks = in.renormalise_ranks();
  if (model.moe) out.experts = Canonical(std::move(out.experts), model.moe->top_k);
  if (in.has_standard_error()) out.standard_error = in.standard_error();
  return out;
}

bool IsUnchanged(const QualityFinding& finding) {
  return finding.experts.IsNative() && finding.kv_format == kUnchangedKv;
}

void LinkNativeValues(std::vector<QualityFinding>& findings) {
  for (QualityFinding& finding : findings) {
    for (const QualityFinding& other : findings) {
      if (IsUnchanged(other) && other.family == finding.family && other.task == finding.task &&
          other.source == finding.source) {
        finding.native_value = other.value;
      }
    }
  }
}

/// The tree of a catalog entry, completed and read into a message of its type.
template <class Message>
Result<YamlNode> ReadEntry(Catalog& catalog, const std::string& kind, const std::string& name,
                           Message& message) {
  Problems problems;
  SIM_TRY(YamlNode tree, catalog.Find(kind, name));
  TreeEditor(catalog, problems).Complete(tree, *Message::descriptor(), "");
  ReadNotes notes;
  ReadMessage(tree, message, notes, problems);
  if (!problems.none()) return problems.Take();
  return tree;
}

Result<std::vector<QualityFinding>> ReadFindings(const YamlNode& list, const ModelSpec& model) {
  Problems problems;
  std::vector<QualityFinding> findings;
  for (const YamlNode& item : list.children) {
    pb::Finding message;
    ReadNotes notes;
    ReadMessage(item, message, notes, problems);
    findings.push_back(Convert(message, model, {.places = notes.places, .problems = problems}));
  }
  if (!problems.none()) return problems.Take();
  LinkNativeValues(findings);
  return findings;
}

}  // namespace

struct QualityLibrary::Entry {
  pb::Model model;  // the catalog's
  std::vector<QualityFinding> findings;
};

QualityLibrary::QualityLibrary(Catalog& catalog) : catalog_(catalog) {}
QualityLibrary::~QualityLibrary() = default;

std::string_view TaskFamilyName(TaskFamily family) {
  static constexpr std::array<std::string_view, 5> kNames = {"multiple choice", "generation",
                                                             "long context", "perplexity", "mixed"};
  return kNames[static_cast<size_t>(family)];
}

Result<const QualityLibrary::Entry*> QualityLibrary::EntryOf(const std::string& model) {
  if (const auto known = entries_.find(model); known != entries_.end()) return &known->second;
  Entry entry;
  // A resolved scenario needs no catalog; where there is none, nothing is known.
  const Result<std::vector<std::string>> described = catalog_.Names("quality");
  if (described.ok() && std::binary_search(described->begin(), described->end(), model)) {
    SIM_RETURN_IF_ERROR(ReadEntry(catalog_, "models", model, entry.model));
    pb::Quality quality;
    SIM_TRY(const YamlNode tree, ReadEntry(catalog_, "quality", model, quality));
    Problems problems;
    const FieldPlaces places;
    const ModelSpec spec = ConvertModel(entry.model, {.places = places, .problems = problems});
    if (!problems.none()) return problems.Take();
    SIM_TRY(entry.findings, ReadFindings(*tree.Find("findings"), spec));
  }
  return &entries_.emplace(model, std::move(entry)).first->second;
}

Result<std::vector<QualityFinding>> QualityLibrary::Find(const Scenario& scenario,
                                                         const pb::Model& model) {
  SIM_TRY(const Entry* entry, EntryOf(scenario.model.name));
  std::vector<QualityFinding> found;
  if (!google::protobuf::util::MessageDifferencer::Equals(entry->model, model)) return found;
  if (scenario.pruning) return found;  // nobody's figures are about the experts that stay here
  ExpertPolicy rule = scenario.experts;
  if (scenario.model.moe) rule = Canonical(std::move(rule), scenario.model.moe->top_k);
  for (const QualityFinding& finding : entry->findings) {
    if (finding.experts == rule && finding.kv_format == scenario.kv_format.name) {
      found.push_back(finding);
    }
  }
  return found;
}

}  // namespace moecast
