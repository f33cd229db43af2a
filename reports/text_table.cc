#include "reports/text_table.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;  // not a UTF-8 continuation byte
  }));
}

}  // namespace

void TextTable::AddColumn(Align align, std::vector<std::string> header) {
  SIM_CHECK(headers_.empty() || headers_.front().size() == header.size());
  aligns_.push_back(align);
  headers_.push_back(std::move(header));
}

void TextTable::AddRow(std::vector<std::string> cells) {
  SIM_CHECK(cells.size() == aligns_.size());
  rows_.push_back(std::move(cells));
}

void TextTable::AddGap() { rows_.emplace_back(); }

std::string TextTable::Text() const {
  std::vector<size_t> widths(aligns_.size(), 0);
  for (size_t c = 0; c < aligns_.size(); ++c) {
    for (const std::string& line : headers_[c]) widths[c] = std::max(widths[c], Width(line));
    for (const auto& row : rows_) {
      if (!row.empty()) widths[c] = std::max(widths[c], Width(row[c]));
    }
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t c = 0; c < aligns_.size(); ++c) {
      const std::string& cell = cell_of(c);
      const std::string pad(widths[c] - Width(cell), ' ');
      line += (c == 0 ? "" : "  ") + (aligns_[c] == Align::kLeft ? cell + pad : pad + cell);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  const size_t header_lines = headers_.empty() ? 0 : headers_.front().size();
  for (size_t h = 0; h < header_lines; ++h) {
    add_line([&](size_t c) -> const std::string& { return headers_[c][h]; });
  }
  size_t total = 0;
  for (const size_t width : widths) total += width + 2;
  text += std::string(total > 2 ? total - 2 : 0, '-') + "\n";
  for (const auto& row : rows_) {
    if (row.empty()) {
      text += "\n";
    } else {
      add_line([&](size_t c) -> const std::string& { return row[c]; });
    }
  }
  return text;
}

}  // namespace moecast
