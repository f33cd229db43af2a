#include "scenarios/yaml_node.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <utility>

namespace moecast {
namespace {

// Lets a stream read a string_view in place.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // never written: the buffer is only read from
    setg(begin, begin, begin + text.size());
  }
};

// Builds the tree from yaml-cpp's events. Stops by throwing ParserException, which the caller of
// yaml-cpp catches with the library's own.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string source) : source_(std::move(source)) {
    root_.place = {.source = source_, .line = 1, .column = 1};  // of an empty document
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Put(mark, YamlNode::Kind::kNull);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { RefuseAnchor(mark, 1); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (ExpectsKey()) {
      keys_.back() = {value, At(mark), true};
      return;
    }
    YamlNode& node = Put(mark, YamlNode::Kind::kScalar);
    node.text = value;
    node.quoted = tag == "!";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMapping);
  }
  void OnMapEnd() override { Close(); }

  YamlNode Take() { return std::move(root_); }

 private:
  struct Key {
    std::string text;
    Place place;
    bool set = false;
  };

  Place At(const YAML::Mark& mark) const {
    return {.source = source_, .line = mark.line + 1, .column = mark.column + 1};
  }

  bool ExpectsKey() const {
    return !open_.empty() && open_.back()->is_mapping() && !keys_.back().set;
  }

  static void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == 0) return;
    throw YAML::ParserException(mark, "anchors and aliases are not supported");
  }

  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw YAML::ParserException(mark, "tags are not supported, found '" + tag + "'");
  }

  // Puts a new node where the document has arrived.
  YamlNode& Put(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (++nodes_ > kMaxYamlNodes) {
      throw YAML::ParserException(
          mark, "more than " + std::to_string(kMaxYamlNodes) + " values in one file");
    }
    if (ExpectsKey()) throw YAML::ParserException(mark, "a key must be plain text");
    YamlNode* node = &root_;
    if (!open_.empty()) node = &open_.back()->children.emplace_back();
    node->kind = kind;
    node->place = At(mark);
    if (!open_.empty() && open_.back()->is_mapping()) {
      node->key = std::move(keys_.back().text);
      node->key_place = keys_.back().place;
      keys_.back().set = false;
    }
    return *node;
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (open_.size() >= kMaxYamlDepth) {
      throw YAML::ParserException(
          mark, "nested deeper than " + std::to_string(kMaxYamlDepth) + " levels");
    }
    YamlNode& node = Put(mark, kind);
    open_.push_back(&node);  // stays valid: a parent grows only after this node is closed
    keys_.emplace_back();
  }

  void Close() {
    open_.pop_back();
    keys_.pop_back();
  }

  std::string source_;
  YamlNode root_;
  std::vector<YamlNode*> open_;
  std::vector<Key> keys_;  // pending key of each open mapping
  size_t nodes_ = 0;
};

Result<YamlNode> Parse(std::string_view text, const std::string& source,
                       size_t most_bytes = kMaxYamlBytes) {
  if (text.size() > most_bytes) {
    return Error{.message = "is " + std::to_string(text.size()) + " bytes long; at most " +
                            std::to_string(most_bytes) + " are read",
                 .where = source};
  }
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  TreeBuilder builder(source);
  TreeBuilder rest(source);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (parser.HandleNextDocument(rest)) {
      return Error{.message = "holds more than one YAML document", .where = source};
    }
  } catch (const YAML::Exception& error) {
    const Place place{source, error.mark.line + 1, error.mark.column + 1};
    return Error{.message = "not valid YAML: " + error.msg, .where = place.Text()};
  }
  return builder.Take();
}

void SetPlaces(YamlNode& node, const Place& place) {
  node.place = place;
  node.key_place = place;
  for (YamlNode& child : node.children) SetPlaces(child, place);
}

}  // namespace

std::string Place::Text() const {
  if (on_command_line()) return source;
  return source + ":" + std::to_string(line) + ":" + std::to_string(column);
}

const YamlNode* YamlNode::Find(std::string_view name) const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [name](const YamlNode& child) { return child.key == name; });
  return is_mapping() && found != children.end() ? &*found : nullptr;
}

YamlNode* YamlNode::Find(std::string_view name) {
  return const_cast<YamlNode*>(std::as_const(*this).Find(name));
}

std::string YamlNode::Describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "'" + text + "'";
    case Kind::kSequence:
      return "a list";
    case Kind::kMapping:
      return "a mapping";
  }
  return {};
}

void YamlNode::Assign(YamlNode value) {
  value.key = std::move(key);
  value.key_place = std::move(key_place);
  *this = std::move(value);
}

Result<YamlNode> ParseYaml(std::string_view text, const std::string& file, size_t most_bytes) {
  return Parse(text, file, most_bytes);
}

Result<YamlNode> ParseYamlValue(std::string_view text, const Place& place) {
  Result<YamlNode> node = Parse(text, place.source);
  if (!node.ok()) {
    Errors errors = node.errors();
    for (Error& error : errors) error.where = place.Text();
    return errors;
  }
  SetPlaces(*node, place);
  return node;
}

YamlNode MakeScalar(std::string text, const Place& place) {
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = std::move(text);
  node.place = place;
  return node;
}

YamlNode MakeMapping(const Place& place) {
  YamlNode node;
  node.kind = YamlNode::Kind::kMapping;
  node.place = place;
  return node;
}

}  // namespace moecast
