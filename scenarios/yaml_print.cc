#include "scenarios/yaml_print.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include <algorithm>

#include "scenarios/fields.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

using google::protobuf::Message;
using google::protobuf::Reflection;

bool IsPlainList(const YamlNode& node) {
  return std::all_of(node.children.begin(), node.children.end(),
                     [](const YamlNode& item) { return item.is_scalar(); });
}

void Emit(YAML::Emitter& out, const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      out << YAML::Null;
      return;
    case YamlNode::Kind::kScalar:
      if (node.quoted) out << YAML::DoubleQuoted;
      out << node.text;
      return;
    case YamlNode::Kind::kSequence:
      if (IsPlainList(node)) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const YamlNode& item : node.children) Emit(out, item);
      out << YAML::EndSeq;
      return;
    case YamlNode::Kind::kMapping:
      if (node.children.empty()) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const YamlNode& value : node.children) {
        out << YAML::Key << value.key << YAML::Value;
        Emit(out, value);
      }
      out << YAML::EndMap;
      return;
  }
}

YamlNode ValueToYaml(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return MakeScalar(
          std::to_string(repeated ? reflection.GetRepeatedInt64(message, &field, index)
                                  : reflection.GetInt64(message, &field)),
          Place{});
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return MakeScalar(
          ShortestDouble(repeated ? reflection.GetRepeatedDouble(message, &field, index)
                                  : reflection.GetDouble(message, &field)),
          Place{});
    case FieldDescriptor::CPPTYPE_BOOL:
      return MakeScalar(reflection.GetBool(message, &field) ? "true" : "false", Place{});
    case FieldDescriptor::CPPTYPE_ENUM:
      return MakeScalar(reflection.GetEnum(message, &field)->name(), Place{});
    case FieldDescriptor::CPPTYPE_STRING:
      return MakeScalar(reflection.GetString(message, &field), Place{});
    default:
      return ToYaml(repeated ? reflection.GetRepeatedMessage(message, &field, index)
                             : reflection.GetMessage(message, &field));
  }
}

YamlNode MapToYaml(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  YamlNode node = MakeMapping(Place{});
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const Descriptor& type = *field.message_type();
    YamlNode value = MakeScalar(entry.GetReflection()->GetString(entry, type.map_value()), Place{});
    value.key = entry.GetReflection()->GetString(entry, type.map_key());
    node.children.push_back(std::move(value));
  }
  std::sort(node.children.begin(), node.children.end(),
            [](const YamlNode& a, const YamlNode& b) { return a.key < b.key; });
  return node;
}

YamlNode ListToYaml(const Message& message, const FieldDescriptor& field) {
  YamlNode node;
  node.kind = YamlNode::Kind::kSequence;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    node.children.push_back(ValueToYaml(message, field, i));
  }
  return node;
}

}  // namespace

std::string PrintYaml(const YamlNode& root) {
  YAML::Emitter out;
  Emit(out, root);
  return std::string(out.c_str(), out.size()) + "\n";
}

YamlNode ToYaml(const Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  YamlNode node = MakeMapping(Place{});
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const bool present = field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                                             : reflection.HasField(message, &field);
    if (!present) continue;
    YamlNode value = field.is_map()        ? MapToYaml(message, field)
                     : field.is_repeated() ? ListToYaml(message, field)
                                           : ValueToYaml(message, field, 0);
    value.key = field.name();
    node.children.push_back(std::move(value));
  }
  return node;
}

}  // namespace moecast
