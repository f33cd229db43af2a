#include "traces/sequence_list.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <optional>
#include <string_view>

#include "sim/base/files.h"
#include "sim/base/lines.h"
#include "sim/base/text.h"
#include "traces/formats/json_text.h"

namespace moecast {
namespace {

constexpr WholeRange kTokens = {1, int64_t{1} << 32};
constexpr WholeRange kPosition = {0, int64_t{1} << 40};

using DropRules = std::vector<std::pair<std::string, std::string>>;

std::string Allowed(WholeRange range) {
  return ", allowed are whole numbers from " + std::to_string(range.least) + " to " +
         std::to_string(range.most);
}

std::vector<ImportSequence> FromLengths(const std::vector<int64_t>& lengths) {
  std::vector<ImportSequence> sequences;
  sequences.reserve(lengths.size());
  for (const int64_t tokens : lengths) sequences.push_back({.tokens = tokens});
  return sequences;
}

std::vector<ImportSequence> FromJson(YamlFields& fields, const std::filesystem::path& folder,
                                     Errors& errors) {
  fields.AllowOnly({"path", "pointer"});
  const std::filesystem::path path = folder / fields.Text("path");
  const std::string pointer = fields.Text("pointer");
  if (!errors.empty()) return {};
  const Result<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    errors.insert(errors.end(), bytes.errors().begin(), bytes.errors().end());
    return {};
  }
  const Result<boost::json::value> root = ParseJsonText(*bytes, path.string());
  if (!root.ok()) {
    errors.push_back(root.errors().front());
    return {};
  }
  const std::string where = path.string() + ": " + pointer;
  boost::system::error_code error;
  const boost::json::value* list = root->find_pointer(pointer, error);
  if (list == nullptr || !list->is_array()) {
    errors.push_back({"is not there, or not a list of sequence lengths", where});
    return {};
  }
  std::vector<int64_t> lengths;
  for (const boost::json::value& item : list->as_array()) {
    const int64_t tokens = item.is_int64() ? item.as_int64() : 0;
    if (tokens < kTokens.least || tokens > kTokens.most) {
      errors.push_back({"entry " + std::to_string(lengths.size()) + " is " +
                            boost::json::serialize(item) + Allowed(kTokens),
                        where});
      return {};
    }
    lengths.push_back(tokens);
  }
  return FromLengths(lengths);
}

/// The columns of an index file that a description names; empty names are not read.
struct IndexColumns {
  std::string length, first_position, prompt_tokens, request_id, category;
};

/// A comma-separated file without quotes: header line, then one line per sequence.
class IndexCsv {
 public:
  IndexCsv(std::string file, Errors& errors) : file_(std::move(file)), errors_(&errors) {}

  std::vector<ImportSequence> Read(std::string_view text, const IndexColumns& columns,
                                   const DropRules& drop) {
    std::vector<ImportSequence> sequences;
    while (!text.empty() && errors_->empty()) {
      ++line_;
      const std::vector<std::string_view> cells = SplitCells(TakeLine(text));
      cells_.assign(cells.begin(), cells.end());
      if (line_ == 1) {
        names_ = cells_;
        continue;
      }
      if (cells_.size() != names_.size()) {
        Fail(std::to_string(cells_.size()) + " cells where the header has " +
             std::to_string(names_.size()));
        break;
      }
      sequences.push_back(ReadRow(columns, drop));
    }
    return sequences;
  }

 private:
  void Fail(std::string message) {
    errors_->push_back({std::move(message), file_ + ":" + std::to_string(line_)});
  }

  std::string Cell(const std::string& column) {
    const auto found = std::find(names_.begin(), names_.end(), column);
    if (found != names_.end()) return cells_[static_cast<size_t>(found - names_.begin())];
    errors_->push_back(
        {"has no column '" + column + "'" + DidYouMean(column, names_), file_ + ":1"});
    return {};
  }

  int64_t Number(const std::string& column, WholeRange range) {
    const std::string cell = Cell(column);
    int64_t value = 0;
    const char* end = cell.data() + cell.size();
    const auto [stop, error] = std::from_chars(cell.data(), end, value);
    if (error == std::errc() && stop == end && value >= range.least && value <= range.most) {
      return value;
    }
    if (errors_->empty()) Fail(column + " is '" + cell + "'" + Allowed(range));
    return range.least;
  }

  ImportSequence ReadRow(const IndexColumns& columns, const DropRules& drop) {
    ImportSequence sequence = {.tokens = Number(columns.length, kTokens)};
    if (!columns.first_position.empty()) {
      sequence.first_position = Number(columns.first_position, kPosition);
    }
    if (!columns.prompt_tokens.empty()) {
      sequence.prompt_tokens = Number(columns.prompt_tokens, WholeRange{0, sequence.tokens});
    }
    if (!columns.request_id.empty()) sequence.label.request_id = Cell(columns.request_id);
    if (!columns.category.empty()) sequence.label.category = Cell(columns.category);
    for (const auto& [column, value] : drop) sequence.dropped |= Cell(column) == value;
    return sequence;
  }

  std::string file_;
  Errors* errors_;
  int64_t line_ = 0;
  std::vector<std::string> names_;
  std::vector<std::string> cells_;
};

std::vector<ImportSequence> FromCsv(YamlFields& fields, const std::filesystem::path& folder,
                                    const DropRules& drop, Errors& errors) {
  fields.AllowOnly({"path", "length", "first_position", "prompt_tokens", "request_id", "category"});
  const std::filesystem::path path = folder / fields.Text("path");
  const auto optional = [&fields](const char* key) {
    return fields.Has(key) ? fields.Text(key) : std::string();
  };
  const IndexColumns columns = {.length = fields.Text("length"),
                                .first_position = optional("first_position"),
                                .prompt_tokens = optional("prompt_tokens"),
                                .request_id = optional("request_id"),
                                .category = optional("category")};
  if (!errors.empty()) return {};
  const Result<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    errors.insert(errors.end(), bytes.errors().begin(), bytes.errors().end());
    return {};
  }
  return IndexCsv(path.string(), errors).Read(*bytes, columns, drop);
}

}  // namespace

std::vector<ImportSequence> ReadSequences(YamlFields& fields, const std::filesystem::path& folder,
                                          const DropRules& drop, Errors& errors) {
  fields.AllowOnly({"lengths", "json", "csv", "category"});
  const bool lengths = fields.Has("lengths");
  const bool json = fields.Has("json");
  const bool csv = fields.Has("csv");
  if (lengths + json + csv != 1) {
    fields.Fail("", "needs exactly one of lengths, json and csv");
    return {};
  }
  if (!drop.empty() && !csv) {
    fields.Fail("", "has no csv, so there is no column to drop sequences by");
    return {};
  }
  std::vector<ImportSequence> sequences;
  if (lengths) {
    sequences = FromLengths(fields.WholeList("lengths", kTokens));
  } else if (json) {
    YamlFields source = fields.Mapping("json");
    sequences = FromJson(source, folder, errors);
  } else {
    YamlFields source = fields.Mapping("csv");
    sequences = FromCsv(source, folder, drop, errors);
  }
  if (fields.Has("category")) {
    const std::string category = fields.Text("category");
    for (ImportSequence& sequence : sequences) sequence.label.category = category;
  }
  if (sequences.empty() && errors.empty()) fields.Fail("", "lists no sequence");
  return sequences;
}

}  // namespace moecast
