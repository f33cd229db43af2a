#include "scenarios/fields.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "field_rules.pb.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

std::string Range(const pb::FieldRule& rule) {
  std::string text;
  if (rule.has_above()) text += " above " + ShortestDouble(rule.above());
  if (rule.has_min()) text += " of at least " + ShortestDouble(rule.min());
  if (rule.has_max())
    text += (text.empty() ? "" : " and") + (" at most " + ShortestDouble(rule.max()));
  if (!rule.unit().empty()) text += " (" + rule.unit() + ")";
  return text;
}

}  // namespace

const pb::FieldRule& RuleOf(const FieldDescriptor& field) {
  return field.options().GetExtension(pb::rule);
}

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(type.field_count()));
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

std::vector<std::string> ValueNames(const FieldDescriptor& field) {
  const google::protobuf::EnumDescriptor& type = *field.enum_type();
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(type.value_count()));
  for (int i = 0; i < type.value_count(); ++i) names.push_back(type.value(i)->name());
  return names;
}

bool IsChoice(const Descriptor& type) {
  return type.real_oneof_decl_count() == 1 &&
         type.oneof_decl(0)->field_count() == type.field_count();
}

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map();
}

std::string AllowedValues(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return "a whole number" + Range(RuleOf(field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "a number" + Range(RuleOf(field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_STRING:
      return RuleOf(field).file() ? "the path of a file" : "text";
    case FieldDescriptor::CPPTYPE_ENUM:
      return "one of " + CommaList(ValueNames(field));
    default:
      return IsMessage(field) ? "a mapping with " + CommaList(FieldNames(*field.message_type()))
                              : "a mapping of names to texts";
  }
}

std::string AllowedKeys(std::string_view name, const Descriptor& type) {
  const std::vector<std::string> names = FieldNames(type);
  if (names.empty()) return "this mapping takes no keys";
  const std::string prefix = std::string(name) + "_";
  const auto with_unit = std::find_if(names.begin(), names.end(), [&](const std::string& known) {
    return known.starts_with(prefix);
  });
  const std::string hint =
      with_unit != names.end() ? "; did you mean '" + *with_unit + "'?" : DidYouMean(name, names);
  return "allowed: " + CommaList(names) + hint;
}

std::string JoinPath(const std::string& parent, std::string_view child) {
  return parent.empty() ? std::string(child) : parent + "." + std::string(child);
}

}  // namespace moecast
