#include "traces/formats/tree.h"

namespace moecast {

std::optional<TreeValue> Tree::Find(const TreeValue& map, std::string_view key) const {
  if (map.kind != Kind::kMap) return std::nullopt;
  const std::vector<TreeValue>& items = at(map).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind == Kind::kText && at(items[i]).text == key) return items[i + 1];
  }
  return std::nullopt;
}

std::optional<TreeValue> Tree::Find(const TreeValue& map, std::string_view key, Kind kind) const {
  const auto found = Find(map, key);
  return found && found->kind == kind ? found : std::nullopt;
}

std::string_view Tree::Text(const TreeValue& map, std::string_view key) const {
  const auto found = Find(map, key, Kind::kText);
  return found ? std::string_view(at(*found).text) : std::string_view();
}

std::optional<int64_t> Tree::Integer(const TreeValue& map, std::string_view key) const {
  const auto found = Find(map, key, Kind::kInteger);
  return found ? std::optional(found->integer) : std::nullopt;
}

std::optional<std::vector<int64_t>> Tree::Integers(const TreeValue& list) const {
  std::vector<int64_t> values;
  if (list.kind == Kind::kIntegers) {
    const Node& node = at(list);
    if (node.shape.size() != 1) return std::nullopt;
    const auto first = integers.begin() + static_cast<std::ptrdiff_t>(node.first);
    values.assign(first, first + node.shape[0]);
    return values;
  }
  if (list.kind != Kind::kList) return std::nullopt;
  for (const TreeValue& item : at(list).items) {
    if (item.kind != Kind::kInteger) return std::nullopt;
    values.push_back(item.integer);
  }
  return values;
}

}  // namespace moecast
