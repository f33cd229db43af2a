// Lines and cells of plain text that is already in memory: what every small table reader needs.
#pragma once

#include <string_view>
#include <vector>

namespace moecast {

/// The first line of `text`, which is taken from its front with its line break ("\n" or "\r\n").
std::string_view TakeLine(std::string_view& text);

/// The cells between commas; an empty line is one empty cell. Quotes mean nothing.
std::vector<std::string_view> SplitCells(std::string_view line);

}  // namespace moecast
