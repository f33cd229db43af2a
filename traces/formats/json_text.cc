#include "traces/formats/json_text.h"

#include <algorithm>
#include <boost/json/stream_parser.hpp>

namespace moecast {
namespace {

/// "file:line:column" of a byte; both count from 1, columns in bytes.
std::string PlaceOf(std::string_view text, size_t byte, const std::string& file) {
  const std::string_view before = text.substr(0, byte);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_break = before.rfind('\n');
  const size_t column = line_break == std::string_view::npos ? byte + 1 : byte - line_break;
  return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}

}  // namespace

Result<boost::json::value> ParseJsonText(std::string_view text, const std::string& file) {
  boost::json::stream_parser parser;
  boost::json::error_code error;
  const size_t used = parser.write_some(text.data(), text.size(), error);
  if (!error && used < text.size()) error = boost::json::error::extra_data;
  if (!error) parser.finish(error);
  if (error) return Error{"not valid JSON: " + error.message(), PlaceOf(text, used, file)};
  return parser.release();
}

}  // namespace moecast
