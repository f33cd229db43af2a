// Tree: what a JSON document or a restricted pickle says. Values live in one arena and refer to
// each other by index, so nothing recurses and a value that is mentioned twice exists once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "traces/formats/array_ref.h"

namespace moecast {

/// A value, or a reference into the Tree it came from.
struct TreeValue {
  enum class Kind : uint8_t {
    kNull,
    kBool,
    kInteger,
    kReal,
    kText,
    kList,
    kMap,
    kIntegers,  // JSON only: lists nested evenly around whole numbers, as one array
    kTensor,    // pickle only, as are the two below
    kStorage,
    kGlobal
  };
  Kind kind = Kind::kNull;
  uint32_t node = 0;    // of texts, lists, maps, arrays
  int64_t integer = 0;  // kInteger; kBool as 0 or 1
  double real = 0;      // kReal
};

/// What a value other than a number refers to; which fields mean something depends on its kind.
struct TreeNode {
  std::string text = {};              // kText, kGlobal; key of a kStorage, of a kTensor's storage
  std::vector<TreeValue> items = {};  // kList; kMap: key, value, key, value ..
  std::vector<int64_t> shape = {};    // kIntegers
  size_t first = 0;                   // kIntegers: where they begin in Tree::integers
  uint64_t first_number = 0;          // kIntegers: numbers of the document before them
  ArrayRef array = {};                // kTensor, kStorage
};

class Tree {
 public:
  using Kind = TreeValue::Kind;

  /// More values than this are refused by the readers that fill a Tree.
  static constexpr size_t kMaxNodes = size_t{1} << 20;

  using Node = TreeNode;

  void Clear() {
    nodes.clear();
    integers.clear();
    root = {};
  }
  /// A new node's value.
  TreeValue Add(Kind kind, Node node = {}) {
    nodes.push_back(std::move(node));
    return {.kind = kind, .node = static_cast<uint32_t>(nodes.size() - 1)};
  }
  [[nodiscard]] const Node& at(const TreeValue& value) const { return nodes[value.node]; }
  [[nodiscard]] Node& at(const TreeValue& value) { return nodes[value.node]; }

  /// What a map has under `key`; none without the key or when `map` is no map.
  [[nodiscard]] std::optional<TreeValue> Find(const TreeValue& map, std::string_view key) const;
  /// Find, when what is found has this kind.
  [[nodiscard]] std::optional<TreeValue> Find(const TreeValue& map, std::string_view key,
                                              Kind kind) const;
  /// A text under `key`; empty when there is none.
  [[nodiscard]] std::string_view Text(const TreeValue& map, std::string_view key) const;
  [[nodiscard]] std::optional<int64_t> Integer(const TreeValue& map, std::string_view key) const;
  /// The whole numbers of a flat list; none when it is not one.
  [[nodiscard]] std::optional<std::vector<int64_t>> Integers(const TreeValue& list) const;

  std::vector<Node> nodes;
  std::vector<int32_t> integers;
  TreeValue root;
};

}  // namespace moecast
