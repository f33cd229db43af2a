#include "scenarios/quality.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <array>
#include <utility>

#include "quality.pb.h"
#include "scenario.pb.h"
#include "scenarios/catalog.h"
#include "scenarios/convert.h"
#include "scenarios/tree_edit.h"
#include "scenarios/yaml_walk.h"

namespace moecast {
namespace {

using google::protobuf::util::MessageDifferencer;

/// A finding and what it was measured under, as written.
struct Known {
  QualityFinding finding;
  pb::Finding message;
};

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

/// "kivi2", or the name of the policy's arm: "xquant".
std::string KvName(const pb::Kv& kv) {
  if (kv.has_scheme()) return kv.scheme().name();
  const google::protobuf::OneofDescriptor* kind = pb::Kv::descriptor()->oneof_decl(0);
  return std::string(kv.GetReflection()->GetOneofFieldDescriptor(kv, kind)->name());
}

bool IsUnchangedKv(const pb::Kv& kv) {
  return kv.has_scheme() && (kv.scheme().name() == "bf16" || kv.scheme().name() == "mla_bf16");
}

/// Equal values, wherever they were written: a change of a catalog entry is noted in its sources.
template <class Message>
bool SameValues(const Message& a, const Message& b) {
  MessageDifferencer differencer;
  differencer.IgnoreField(pb::KvScheme::descriptor()->FindFieldByName("sources"));
  differencer.IgnoreField(pb::Format::descriptor()->FindFieldByName("sources"));
  return differencer.Compare(a, b);
}

bool SameKv(const pb::Kv& a, const pb::Kv& b) {
  return (IsUnchangedKv(a) && IsUnchangedKv(b)) || SameValues(a, b);
}

QualityFinding Convert(const pb::Finding& in, const ModelSpec& model, const FieldReporter& report) {
  QualityFinding out{.experts = ConvertExperts(in.experts(), model, report),
                     .kv = KvName(in.kv()),
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

bool IsUnchanged(const Known& known) {
  return known.finding.experts.IsNative() && IsUnchangedKv(known.message.kv()) &&
         !known.message.has_weights() && known.message.change().empty();
}

void LinkNativeValues(std::vector<Known>& findings) {
  for (Known& known : findings) {
    QualityFinding& finding = known.finding;
    for (const Known& other : findings) {
      if (IsUnchanged(other) && other.finding.family == finding.family &&
          other.finding.task == finding.task && other.finding.source == finding.source) {
        finding.native_value = other.finding.value;
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

Result<std::vector<Known>> ReadFindings(const YamlNode& list, const ModelSpec& model) {
  Problems problems;
  std::vector<Known> findings;
  for (const YamlNode& item : list.children) {
    pb::Finding message;
    ReadNotes notes;
    ReadMessage(item, message, notes, problems);
    QualityFinding finding =
        Convert(message, model, {.places = notes.places, .problems = problems});
    findings.push_back({.finding = std::move(finding), .message = std::move(message)});
  }
  if (!problems.none()) return problems.Take();
  LinkNativeValues(findings);
  return findings;
}

}  // namespace

struct QualityLibrary::Entry {
  pb::Model model;  // the catalog's
  std::vector<Known> findings;

  /// Whether a scenario of this message runs the model in the formats of the finding.
  [[nodiscard]] bool SameWeights(const pb::Finding& finding, const pb::Model& run) const {
    return SameValues(finding.has_weights() ? finding.weights() : model.formats(), run.formats());
  }
  /// Whether the scenario's model is the catalog's, formats aside.
  [[nodiscard]] bool SameShape(pb::Model run) const {
    *run.mutable_formats() = model.formats();
    return MessageDifferencer::Equals(model, run);
  }
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
                                                         const pb::Scenario& message) {
  SIM_TRY(const Entry* entry, EntryOf(scenario.model.name));
  std::vector<QualityFinding> found;
  if (!entry->SameShape(message.model())) return found;
  if (scenario.pruning) return found;  // nobody's figures are about the experts that stay here
  ExpertPolicy rule = scenario.experts;
  if (scenario.model.moe) rule = Canonical(std::move(rule), scenario.model.moe->top_k);
  for (const Known& known : entry->findings) {
    if (known.finding.experts == rule && SameKv(known.message.kv(), message.kv()) &&
        known.message.change() == scenario.change &&
        entry->SameWeights(known.message, message.model())) {
      found.push_back(known.finding);
    }
  }
  return found;
}

}  // namespace moecast
