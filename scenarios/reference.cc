#include "scenarios/reference.h"

#include <google/protobuf/descriptor.h>

#include <set>

#include "field_rules.pb.h"
#include "scenario.pb.h"
#include "scenarios/fields.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr const char* kIntroduction =
    R"(# Scenario files

Printed from `scenarios/scenario.proto` and what it imports by `ninja -C build/dev scenario_reference`; a test compares the two.

A scenario is one YAML (or JSON) file. Reading is strict: unknown, doubled or missing keys, wrong types and values out of range are errors, all
reported at once with file, line and column. Units are part of the key, never of the value. Anchors, aliases and tags are not supported.

- **Catalog.** A field marked *catalog* takes the name of an entry of `scenarios/catalog`, a file that holds one (`mine.yaml`), a mapping that spells one out, or
  `{from: NAME, field: value}` for an entry with changes.
- **Choice.** A section marked *choice* takes exactly one of its keys. The bare name stands for a key with nothing to set: `router: least_kv`.
- **Files.** A relative path starts at the folder of the file it is written in; in `--set` at the working directory.
- **`--set path=value`** overrides a field: `--set workload.stop.requests=500`, `--set engine.graph_batch_sizes[0]=2`. The value is YAML. A mapping is merged into the
  field, unless it has `name` or `from` and so is a whole catalog entry; anything else replaces the field; `null` removes it; setting a key of a choice
  removes the other keys. Catalog entries can be changed below their name: `--set model.formats.experts=fp8`.
- **`variants` and `loads`** are lists of `{name, set}`, where `set` holds such overrides, as paths or as nested mappings. Every variant runs at every load.
- **`moecast run --resolve`** prints the file with every default and catalog entry in place. It loads again and gives the same study.

## Examples

Each of `scenarios/examples` is a lesson; its first lines say what to look for.

- `01_first_forecast.yaml`: what computing fewer experts per token gains, at three loads, and what it costs in quality.
- `02_replay_captured_routing.yaml`: rules that read gate scores, on routing a real model chose; how to bring your own.
- `03_gpt_oss_20b_decode.yaml`: what the assumption of uniform routing costs.
- `04_saturation.yaml`: where a GPU stops keeping up, and how the KV format moves that point.
- `05_two_replicas.yaml`: two GPUs as two replicas under two routers, or as one.
- `06_measured_kernels.yaml`: step times from kernels measured on an H200, with prediction intervals.
- `07_rules_of_the_step.yaml`: rules that choose experts for the whole batch, a rule by load, half the experts.
)";

std::string Range(const pb::FieldRule& rule) {
  std::string text;
  if (rule.has_above()) text += "> " + ShortestDouble(rule.above());
  if (rule.has_min()) text += ">= " + ShortestDouble(rule.min());
  if (rule.has_max()) text += (text.empty() ? "" : ", ") + ("<= " + ShortestDouble(rule.max()));
  return text;
}

std::string Anchor(const Descriptor& type) {
  std::string anchor = type.name();
  for (char& c : anchor) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return "[" + type.name() + "](#" + anchor + ")";
}

std::string TypeOf(const FieldDescriptor& field) {
  const pb::FieldRule& rule = RuleOf(field);
  const std::string list = field.is_repeated() && !field.is_map() ? "list of " : "";
  if (rule.overrides()) return "overrides";
  if (field.is_map()) return "mapping of texts";
  if (IsMessage(field)) {
    return list + Anchor(*field.message_type()) +
           (rule.catalog().empty() ? "" : ", catalog " + rule.catalog());
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return list + "whole number";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return list + "number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return AllowedValues(field);
    default:
      return rule.file() ? "file" : "text";
  }
}

std::string DefaultOf(const FieldDescriptor& field) {
  constexpr size_t kLongest = 40;
  const pb::FieldRule& rule = RuleOf(field);
  if (rule.required()) return "required";
  std::string value = rule.default_yaml();
  if (value.size() > kLongest) value = value.substr(0, value.rfind(' ', kLongest)) + " ...]";
  return value.empty() ? "absent" : "`" + value + "`";
}

void PrintSection(const Descriptor& type, std::string& out) {
  const bool choice = IsChoice(type);
  out += "\n## " + type.name() + "\n\n";
  if (type.field_count() == 0) {
    out += "Nothing to set.\n";
    return;
  }
  if (choice) out += "A choice: exactly one of these keys.\n\n";
  out += choice ? "| key | type | meaning |\n| --- | --- | --- |\n"
                : "| key | type | unit | default | allowed | meaning |\n| --- | --- | --- | --- | "
                  "--- | --- |\n";
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const pb::FieldRule& rule = RuleOf(field);
    out += "| `" + field.name() + "` | " + TypeOf(field) + " | ";
    if (!choice) {
      const bool arm = field.real_containing_oneof() != nullptr;
      out += rule.unit() + " | " + (arm ? "one of its kind" : DefaultOf(field)) + " | " +
             Range(rule) + " | ";
    }
    out += rule.doc() + " |\n";
  }
}

// Sections in the order in which a reader meets them.
void PrintReachable(const Descriptor& type, std::set<const Descriptor*>& printed,
                    std::string& out) {
  if (!printed.insert(&type).second) return;
  PrintSection(type, out);
  for (int i = 0; i < type.field_count(); ++i) {
    if (IsMessage(*type.field(i))) PrintReachable(*type.field(i)->message_type(), printed, out);
  }
}

}  // namespace

std::string ScenarioReference() {
  std::string out = kIntroduction;
  std::set<const Descriptor*> printed;
  PrintReachable(*pb::Scenario::descriptor(), printed, out);
  return out;
}

}  // namespace moecast
