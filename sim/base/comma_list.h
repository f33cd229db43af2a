// "a, b, c": how messages name several things, and how files write lists. Not a general join: every
// list of ours is separated so. (Boost's join takes no std::span and no function of an item.)
#pragma once

#include <functional>
#include <string>

namespace moecast {

/// The texts of `items`, first to last, with ", " between them; empty for no items. `text` gives an
/// item's text; without it the items are texts.
template <class Items, class Text = std::identity>
std::string CommaList(const Items& items, const Text& text = {}) {
  std::string list;
  const char* between = "";
  for (const auto& item : items) {
    list.append(between).append(std::invoke(text, item));
    between = ", ";
  }
  return list;
}

}  // namespace moecast
