// The strict reader: walks a completed YAML tree along a message's schema and fills the message.
// Unknown and doubled keys, doubled and missing arms, wrong types, values out of range and missing
// required fields are all reported, each at its place; nothing stops at the first.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "scenarios/problems.h"
#include "scenarios/yaml_node.h"

namespace google::protobuf {
class Message;
}

namespace moecast {

/// What reading a tree yields besides the message.
struct ReadNotes {
  FieldPlaces places;
  std::vector<std::filesystem::path> files;  // named by file fields; each exists
};

/// Fills `message` from `node`, a mapping spelled out by TreeEditor::Complete. On a problem the
/// field is left absent.
void ReadMessage(const YamlNode& node, google::protobuf::Message& message, ReadNotes& notes,
                 Problems& problems);

}  // namespace moecast
