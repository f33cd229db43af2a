#include "scenarios/tree_edit.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>

#include "field_rules.pb.h"

namespace moecast {
namespace {

std::optional<size_t> AsIndex(const std::string& key) {
  size_t index = 0;
  const auto end = std::from_chars(key.data(), key.data() + key.size(), index);
  if (end.ec != std::errc() || end.ptr != key.data() + key.size()) return std::nullopt;
  return index;
}

// Every key is a number: the mapping edits items of a list.
bool NamesItems(const YamlNode& value) {
  return value.is_mapping() && !value.children.empty() &&
         std::all_of(value.children.begin(), value.children.end(),
                     [](const YamlNode& child) { return AsIndex(child.key).has_value(); });
}

bool IsWholeEntry(const FieldDescriptor& field, const YamlNode& value) {
  return !RuleOf(field).catalog().empty() &&
         (value.Find("name") != nullptr || value.Find("from") != nullptr);
}

void Erase(YamlNode& mapping, std::string_view key) {
  std::erase_if(mapping.children, [key](const YamlNode& child) { return child.key == key; });
}

void EraseOtherArms(YamlNode& mapping, const FieldDescriptor& field) {
  const google::protobuf::OneofDescriptor* choice = field.real_containing_oneof();
  if (choice == nullptr) return;
  for (int i = 0; i < choice->field_count(); ++i) {
    if (choice->field(i) != &field) Erase(mapping, choice->field(i)->name());
  }
}

// A default is ours and parses; a bad one is a mistake in the schema.
YamlNode DefaultOf(const FieldDescriptor& field, const Place& place) {
  Result<YamlNode> value = ParseYamlValue(RuleOf(field).default_yaml(), place);
  SIM_CHECK(value.ok());
  value->key = field.name();
  value->key_place = place;
  return std::move(value).value();
}

/// A relative path starts where it is written.
std::filesystem::path PathOf(const YamlNode& value) {
  std::filesystem::path path(value.text);
  if (!value.place.on_command_line() && path.is_relative()) {
    path = std::filesystem::path(value.place.source).parent_path() / path;
  }
  return std::filesystem::absolute(path).lexically_normal();
}

void MakeAbsolute(YamlNode& value) { value.text = PathOf(value).string(); }

/// Whether the name of a catalog entry is that of a file instead.
bool IsFile(std::string_view name) { return name.ends_with(".yaml"); }

YamlNode Keyed(YamlNode node, const std::string& key, const Place& place) {
  node.key = key;
  node.key_place = place;
  return node;
}

// A changed field of a catalog entry no longer is what its source says.
void NoteChange(YamlNode& entry, const YamlNode& change) {
  YamlNode* sources = entry.Find("sources");
  if (sources == nullptr || !sources->is_mapping() || change.key == "sources") return;
  Erase(*sources, change.key);
  const char* changed = change.place.on_command_line() ? "changed by " : "changed at ";
  YamlNode note = MakeScalar(changed + change.place.Text(), change.place);
  note.quoted = true;
  sources->children.push_back(Keyed(std::move(note), change.key, change.key_place));
}

}  // namespace

std::vector<std::string> SplitPath(const std::string& path) {
  std::vector<std::string> steps(1);
  for (const char c : path) {
    if (c == '.' || c == '[') {
      steps.emplace_back();
    } else if (c != ']') {
      steps.back() += c;
    }
  }
  return steps.size() <= kMaxYamlDepth ? steps : std::vector<std::string>{path};
}

YamlNode NestPaths(const YamlNode& overrides) {
  YamlNode nested = overrides;
  for (YamlNode& child : nested.children) {
    const std::vector<std::string> steps = SplitPath(child.key);
    const Place place = child.key_place;
    YamlNode value = std::move(child);
    for (size_t i = steps.size(); i-- > 1;) {
      YamlNode outer = MakeMapping(place);
      outer.children.push_back(Keyed(std::move(value), steps[i], place));
      value = std::move(outer);
    }
    child = Keyed(std::move(value), steps.front(), place);
  }
  return nested;
}

void TreeEditor::Merge(YamlNode& into, const Descriptor& type, const YamlNode& overrides,
                       const std::string& path) {
  const YamlNode nested = NestPaths(overrides);
  for (size_t i = 0; i < nested.children.size(); ++i) {
    const YamlNode& value = nested.children[i];
    const std::string child_path = JoinPath(path, value.key);
    const std::string& written = overrides.children[i].key;
    const bool doubled = std::any_of(
        overrides.children.begin(), overrides.children.begin() + static_cast<std::ptrdiff_t>(i),
        [&](const YamlNode& earlier) { return earlier.key == written; });
    if (doubled) problems_.Add(value.key_place, child_path, "key '" + written + "' appears twice");
    const FieldDescriptor* field = type.FindFieldByName(value.key);
    if (field == nullptr) {
      into.children.push_back(value);  // the reader reports it
      continue;
    }
    MergeField(into, *field, value, child_path);
    NoteChange(into, value);
  }
}

void TreeEditor::MergeField(YamlNode& parent, const FieldDescriptor& field, const YamlNode& value,
                            const std::string& path) {
  if (value.kind == YamlNode::Kind::kNull) return Erase(parent, field.name());
  EraseOtherArms(parent, field);
  YamlNode* existing = parent.Find(field.name());
  if (existing == nullptr && !RuleOf(field).default_yaml().empty()) {
    existing = &parent.children.emplace_back(DefaultOf(field, value.key_place));
  }
  if (existing == nullptr) {
    parent.children.push_back(value);
    return;
  }
  if (field.is_repeated() && !field.is_map() && NamesItems(value)) {
    return MergeItems(*existing, field, value, path);
  }
  const bool merges = value.is_mapping() && !IsWholeEntry(field, value);
  if (merges && IsMessage(field) && !field.is_repeated()) {
    ExpandHead(*existing, field, path);
    if (existing->is_mapping()) return Merge(*existing, *field.message_type(), value, path);
  }
  const bool open = field.is_map() || RuleOf(field).overrides();
  if (merges && open && existing->is_mapping()) {
    for (const YamlNode& entry : value.children) {
      Erase(*existing, entry.key);
      existing->children.push_back(entry);
    }
    return;
  }
  *existing = value;
}

void TreeEditor::MergeItems(YamlNode& list, const FieldDescriptor& field, const YamlNode& value,
                            const std::string& path) {
  for (const YamlNode& change : value.children) {
    const size_t index = *AsIndex(change.key);
    const std::string item_path = JoinPath(path, change.key);
    if (!list.is_sequence() || index >= list.children.size()) {
      const size_t size = list.is_sequence() ? list.children.size() : 0;
      problems_.Add(change.key_place, item_path,
                    "there is no item " + change.key + "; the list has " + std::to_string(size) +
                        ", counted from 0");
      continue;
    }
    YamlNode& item = list.children[index];
    if (IsMessage(field) && item.is_mapping() && change.is_mapping()) {
      Merge(item, *field.message_type(), change, item_path);
    } else {
      item.Assign(change);
    }
  }
}

void TreeEditor::ExpandHead(YamlNode& node, const FieldDescriptor& field, const std::string& path) {
  const std::string& kind = RuleOf(field).catalog();
  const YamlNode* from = kind.empty() ? nullptr : node.Find("from");
  if (node.reported) return;
  if (!kind.empty() && (node.is_scalar() || (from != nullptr && from->is_scalar()))) {
    const YamlNode name = from != nullptr ? *from : node;
    Result<YamlNode> entry =
        IsFile(name.text) ? Catalog::Read(PathOf(name)) : catalog_.Find(kind, name.text);
    if (!entry.ok()) {
      for (const Error& error : entry.errors()) {
        if (error.where.empty()) {
          problems_.Add(name.place, path, error.message);
        } else {
          problems_.Add(Errors{error});
        }
      }
      node.reported = true;
      return;
    }
    YamlNode changes = node.is_mapping() ? node : MakeMapping(node.place);
    Erase(changes, "from");
    node.Assign(*entry);
    if (!changes.children.empty()) Merge(node, *field.message_type(), changes, path);
    return;
  }
  const Descriptor& type = *field.message_type();
  if (node.is_scalar() && IsChoice(type) && type.FindFieldByName(node.text) != nullptr) {
    YamlNode choice = MakeMapping(node.place);
    choice.children.push_back(Keyed(MakeMapping(node.place), node.text, node.place));
    node.Assign(std::move(choice));
  }
}

void TreeEditor::Complete(YamlNode& node, const Descriptor& type, const std::string& path) {
  SpellOut(node, type, path, Defaults::kAdd);
}

void TreeEditor::ExpandNames(YamlNode& overrides, const Descriptor& type) {
  for (YamlNode& child : overrides.children) {
    YamlNode alone = MakeMapping(child.place);
    alone.children.push_back(child);
    alone = NestPaths(alone);
    SpellOut(alone, type, "", Defaults::kLeaveOut);
    YamlNode* value = &alone.children.front();
    for (size_t depth = SplitPath(child.key).size(); depth > 1; --depth) {
      value = &value->children.front();
    }
    child.Assign(*value);
  }
}

void TreeEditor::SpellOut(YamlNode& node, const Descriptor& type, const std::string& path,
                          Defaults defaults) {
  if (!node.is_mapping()) return;
  if (defaults == Defaults::kAdd) AddDefaults(node, type);
  const auto order = [&type](const YamlNode& child) {
    const FieldDescriptor* field = type.FindFieldByName(child.key);
    return field == nullptr ? type.field_count() : field->index();
  };
  std::stable_sort(node.children.begin(), node.children.end(),
                   [&order](const YamlNode& a, const YamlNode& b) { return order(a) < order(b); });
  for (YamlNode& child : node.children) {
    const FieldDescriptor* field = type.FindFieldByName(child.key);
    if (field != nullptr) SpellOutField(child, *field, JoinPath(path, child.key), defaults);
  }
}

void TreeEditor::SpellOutField(YamlNode& value, const FieldDescriptor& field,
                               const std::string& path, Defaults defaults) {
  if (RuleOf(field).file() && value.is_scalar() && !value.text.empty()) MakeAbsolute(value);
  if (!IsMessage(field)) return;
  if (!field.is_repeated()) {
    ExpandHead(value, field, path);
    return SpellOut(value, *field.message_type(), path, defaults);
  }
  for (size_t i = 0; i < value.children.size(); ++i) {
    SpellOut(value.children[i], *field.message_type(), JoinPath(path, std::to_string(i)), defaults);
  }
}

void TreeEditor::AddDefaults(YamlNode& node, const Descriptor& type) {
  const Place place = node.place;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (RuleOf(field).default_yaml().empty() || node.Find(field.name()) != nullptr) continue;
    node.children.push_back(DefaultOf(field, place));
  }
}

}  // namespace moecast
