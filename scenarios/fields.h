// Fields: what the schema says about a field, in the words of error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace moecast {

namespace pb {
class FieldRule;
}

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

/// The field's (rule); an empty one when it has none.
const pb::FieldRule& RuleOf(const FieldDescriptor& field);

/// Keys a mapping of this type may hold, in schema order.
std::vector<std::string> FieldNames(const Descriptor& type);

/// Values of an enum field, in schema order.
std::vector<std::string> ValueNames(const FieldDescriptor& field);

/// True for a message that is one choice: nothing but one oneof.
bool IsChoice(const Descriptor& type);

/// True for a field that holds a message (and is no map).
bool IsMessage(const FieldDescriptor& field);

/// "an integer of at least 1 and at most 10 (tokens)", "one of masked, routed", ...
std::string AllowedValues(const FieldDescriptor& field);

/// "allowed: a, b, c; did you mean 'b'?": tail of a message about the unknown key `name`.
/// A key that lacks only its unit ("rate" for "rate_per_s") is recognised.
std::string AllowedKeys(std::string_view name, const Descriptor& type);

/// "parent.child", or "child" when parent is empty.
std::string JoinPath(const std::string& parent, std::string_view child);

}  // namespace moecast
