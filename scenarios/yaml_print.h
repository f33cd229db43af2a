// Prints a YAML tree so that parsing it gives the same tree: block style, short lists in one line.
#pragma once

#include <string>

#include "scenarios/yaml_node.h"

namespace google::protobuf {
class Message;
}

namespace moecast {

/// The tree as a YAML document, ending in a newline.
std::string PrintYaml(const YamlNode& root);

/// The fields that are set, in schema order; maps sorted by key.
YamlNode ToYaml(const google::protobuf::Message& message);

}  // namespace moecast
