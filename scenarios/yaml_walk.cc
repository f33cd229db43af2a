#include "scenarios/yaml_walk.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <set>
#include <string>

#include "field_rules.pb.h"
#include "scenario.pb.h"
#include "scenarios/fields.h"
#include "scenarios/yaml_scalar.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

class Walker {
 public:
  Walker(const Descriptor& root, ReadNotes& notes, Problems& problems)
      : settable_(&root == pb::Scenario::descriptor()), notes_(notes), problems_(problems) {}

  void Fields(const YamlNode& node, Message& message, const std::string& path) {
    notes_.places.Record(path, node.place);
    const Descriptor& type = *message.GetDescriptor();
    std::set<std::string_view> seen;
    for (const YamlNode& child : node.children) {
      const FieldDescriptor* field = type.FindFieldByName(child.key);
      const std::string child_path = JoinPath(path, child.key);
      if (field == nullptr) {
        problems_.Add(child.key_place, child_path,
                      "unknown key '" + child.key + "'; " + AllowedKeys(child.key, type));
      } else if (!seen.insert(child.key).second) {
        problems_.Add(child.key_place, child_path, "key '" + child.key + "' appears twice");
      } else {
        Field(child, message, *field, child_path);
      }
    }
    Required(node, type, seen, path);
    Choices(node, type, seen, path);
  }

 private:
  void Field(const YamlNode& value, Message& message, const FieldDescriptor& field,
             const std::string& path) {
    notes_.places.Record(path, value.place);
    if (value.reported) return;
    if (RuleOf(field).overrides()) return Overrides(value, path);
    if (field.is_map()) return Map(value, message, field, path);
    if (field.is_repeated()) return List(value, message, field, path);
    const Reflection& reflection = *message.GetReflection();
    if (!IsMessage(field)) {
      Scalar(value, message, field, path);
    } else if (value.is_mapping()) {
      Fields(value, *reflection.MutableMessage(&message, &field), path);
    } else {
      WrongValue(value, field, path);
    }
  }

  void List(const YamlNode& value, Message& message, const FieldDescriptor& field,
            const std::string& path) {
    if (!value.is_sequence()) {
      problems_.Add(value.place, path, "expected a list, got " + value.Describe());
      return;
    }
    if (RuleOf(field).required() && value.children.empty()) {
      problems_.Add(value.place, path, "must not be empty");
    }
    for (size_t i = 0; i < value.children.size(); ++i) {
      const YamlNode& item = value.children[i];
      const std::string item_path = JoinPath(path, std::to_string(i));
      if (!IsMessage(field)) {
        Scalar(item, message, field, item_path);
      } else if (item.is_mapping()) {
        Fields(item, *message.GetReflection()->AddMessage(&message, &field), item_path);
      } else {
        WrongValue(item, field, item_path);
      }
    }
  }

  // Only maps from text to text occur: the sources of a catalog entry.
  void Map(const YamlNode& value, Message& message, const FieldDescriptor& field,
           const std::string& path) {
    if (!value.is_mapping()) return WrongValue(value, field, path);
    std::set<std::string_view> seen;
    for (const YamlNode& child : value.children) {
      const std::string child_path = JoinPath(path, child.key);
      if (!seen.insert(child.key).second) {
        problems_.Add(child.key_place, child_path, "key '" + child.key + "' appears twice");
      } else if (!child.is_scalar()) {
        problems_.Add(child.place, child_path, "expected text, got " + child.Describe());
      } else {
        Message* entry = message.GetReflection()->AddMessage(&message, &field);
        const Descriptor& type = *field.message_type();
        entry->GetReflection()->SetString(entry, type.map_key(), child.key);
        entry->GetReflection()->SetString(entry, type.map_value(), child.text);
      }
    }
  }

  // Overrides are checked when they are applied; here only their shape.
  void Overrides(const YamlNode& value, const std::string& path) {
    if (!value.is_mapping()) {
      problems_.Add(value.place, path,
                    "expected a mapping of fields to override, got " + value.Describe());
    }
  }

  void Scalar(const YamlNode& value, Message& message, const FieldDescriptor& field,
              const std::string& path) {
    if (!value.is_scalar()) return WrongValue(value, field, path);
    notes_.places.Record(path, value.place);
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT64:
        return Number(ReadWholeNumber(value.text), value, message, field, path);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Number(ReadNumber(value.text), value, message, field, path);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Bool(value, message, field, path);
      case FieldDescriptor::CPPTYPE_STRING:
        return Text(value, message, field, path);
      default:
        return Enum(value, message, field, path);
    }
  }

  template <class T>
  void Number(std::optional<T> number, const YamlNode& value, Message& message,
              const FieldDescriptor& field, const std::string& path) {
    const pb::FieldRule& rule = RuleOf(field);
    if (!number || value.quoted) return WrongValue(value, field, path);
    const auto real = static_cast<double>(*number);
    const bool in_range = !(rule.has_min() && real < rule.min()) &&
                          !(rule.has_max() && real > rule.max()) &&
                          !(rule.has_above() && real <= rule.above());
    if (!in_range) return WrongValue(value, field, path);
    const Reflection& reflection = *message.GetReflection();
    if constexpr (std::is_same_v<T, double>) {
      if (field.is_repeated()) return reflection.AddDouble(&message, &field, *number);
      reflection.SetDouble(&message, &field, *number);
    } else {
      if (field.is_repeated()) return reflection.AddInt64(&message, &field, *number);
      reflection.SetInt64(&message, &field, *number);
    }
  }

  void Bool(const YamlNode& value, Message& message, const FieldDescriptor& field,
            const std::string& path) {
    const std::optional<bool> flag = ReadBool(value.text);
    if (!flag || value.quoted) return WrongValue(value, field, path);
    message.GetReflection()->SetBool(&message, &field, *flag);
  }

  void Text(const YamlNode& value, Message& message, const FieldDescriptor& field,
            const std::string& path) {
    if (value.text.empty()) return WrongValue(value, field, path);
    message.GetReflection()->SetString(&message, &field, value.text);
    if (!RuleOf(field).file()) return;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(value.text, ignored)) {
      notes_.files.emplace_back(value.text);
    } else {
      const bool exists = std::filesystem::exists(value.text, ignored);
      problems_.Add(value.place, path,
                    exists ? "'" + value.text + "' is not a file"
                           : "file '" + value.text + "' does not exist");
    }
  }

  void Enum(const YamlNode& value, Message& message, const FieldDescriptor& field,
            const std::string& path) {
    const auto* known = field.enum_type()->FindValueByName(value.text);
    if (known != nullptr) return message.GetReflection()->SetEnum(&message, &field, known);
    problems_.Add(value.place, path,
                  "expected " + AllowedValues(field) + ", got '" + value.text + "'" +
                      DidYouMean(value.text, ValueNames(field)));
  }

  void WrongValue(const YamlNode& value, const FieldDescriptor& field, const std::string& path) {
    std::string hint;
    if (IsMessage(field) && value.is_scalar() && IsChoice(*field.message_type())) {
      hint = DidYouMean(value.text, FieldNames(*field.message_type()));
    }
    if (value.kind == YamlNode::Kind::kNull) hint = "; leave the key out to mean the default";
    problems_.Add(value.place, path,
                  "expected " + AllowedValues(field) + ", got " + value.Describe() + hint);
  }

  void Required(const YamlNode& node, const Descriptor& type,
                const std::set<std::string_view>& seen, const std::string& path) {
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (!RuleOf(field).required() || seen.contains(field.name())) continue;
      const std::string field_path = JoinPath(path, field.name());
      std::string what = "is missing; expected " + Meaning(field);
      if (!IsMessage(field)) what += ", " + AllowedValues(field);
      if (!IsMessage(field) && settable_) {
        what += "; write it in the file or pass --set " + field_path + "=VALUE";
      }
      problems_.Add(PlaceOf(node), field_path, what);
    }
  }

  void Choices(const YamlNode& node, const Descriptor& type, const std::set<std::string_view>& seen,
               const std::string& path) {
    for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
      const OneofDescriptor& choice = *type.oneof_decl(i);
      std::vector<std::string> arms;
      std::vector<std::string> given;
      for (int j = 0; j < choice.field_count(); ++j) {
        arms.push_back(choice.field(j)->name());
        if (seen.contains(arms.back())) given.push_back(arms.back());
      }
      if (given.size() == 1) continue;
      problems_.Add(PlaceOf(node), path,
                    "expected exactly one of " + CommaList(arms) + ", got " +
                        (given.empty() ? "none" : CommaList(given)));
    }
  }

  // The field's one-line description inside a sentence.
  static std::string Meaning(const FieldDescriptor& field) {
    std::string meaning = RuleOf(field).doc();
    if (meaning.ends_with('.')) meaning.pop_back();
    return "'" + meaning + "'";
  }

  // A mapping is best found by its key; the root has none.
  static const Place& PlaceOf(const YamlNode& node) {
    return node.key.empty() ? node.place : node.key_place;
  }

  bool settable_;  // `--set` reaches fields of a scenario, not those of a profile
  ReadNotes& notes_;
  Problems& problems_;
};

}  // namespace

void ReadMessage(const YamlNode& node, Message& message, ReadNotes& notes, Problems& problems) {
  if (!node.is_mapping()) {
    problems.Add(node.place, "",
                 "expected a mapping with " + CommaList(FieldNames(*message.GetDescriptor())) +
                     ", got " + node.Describe());
    return;
  }
  Walker(*message.GetDescriptor(), notes, problems).Fields(node, message, "");
}

}  // namespace moecast
