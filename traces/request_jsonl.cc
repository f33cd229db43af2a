#include "traces/request_jsonl.h"

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/base/text.h"
#include "traces/request_numbers.h"

namespace moecast {
namespace {

namespace json = boost::json;

enum Member : size_t { kTimestamp, kInputLength, kOutputLength, kHashIds, kMembers };
constexpr std::array<std::string_view, kMembers> kNames = {"timestamp", "input_length",
                                                           "output_length", "hash_ids"};
constexpr std::array<std::string_view, kMembers> kAllowed = {
    "a number of milliseconds from 0 to 4e12", "a whole number from 1 to 100000000",
    "a whole number from 1 to 100000000", "an array of whole numbers from 0 to 2^64-1"};

// What is wrong with a member, in the terms of LineReader::FieldError; or free words when `field`
// is empty.
struct Problem {
  std::string field;
  std::string value;
  std::string text;
};

// Receives the parser's events of one line and fills a Request. The interface, down to the names,
// is that of boost::json::basic_parser's Handler. A problem stops the parse.
class LineHandler {
 public:
  static constexpr size_t max_object_size = kMaxLineBytes;  // NOLINT(readability-identifier-naming)
  static constexpr size_t max_array_size = kMaxLineBytes;   // NOLINT(readability-identifier-naming)
  static constexpr size_t max_key_size = kMaxLineBytes;     // NOLINT(readability-identifier-naming)
  static constexpr size_t max_string_size = kMaxLineBytes;  // NOLINT(readability-identifier-naming)

  void Begin(Request& request) {
    request_ = &request;
    request.prefix_blocks.clear();
    seen_ = {};
    member_.reset();
    in_object_ = in_array_ = false;
    problem_.reset();
  }
  [[nodiscard]] const std::optional<Problem>& problem() const { return problem_; }
  [[nodiscard]] bool seen(Member member) const { return seen_[member]; }

  bool on_document_begin(json::error_code& /*ec*/) { return true; }
  bool on_document_end(json::error_code& /*ec*/) { return true; }
  bool on_object_begin(json::error_code& ec) {
    if (in_object_) return Misplaced("{...}", ec);
    return in_object_ = true;
  }
  bool on_object_end(size_t /*count*/, json::error_code& /*ec*/) { return true; }
  bool on_array_begin(json::error_code& ec) {
    if (member_ != kHashIds || in_array_) return Misplaced("[...]", ec);
    return in_array_ = true;
  }
  bool on_array_end(size_t /*count*/, json::error_code& /*ec*/) {
    in_array_ = false;
    return true;
  }
  bool on_key_part(json::string_view part, size_t /*size*/, json::error_code& /*ec*/) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view last, size_t /*size*/, json::error_code& ec);
  bool on_string_part(json::string_view /*part*/, size_t /*size*/, json::error_code& /*ec*/) {
    return true;
  }
  bool on_string(json::string_view last, size_t /*size*/, json::error_code& ec) {
    return Misplaced(last, ec);
  }
  bool on_number_part(json::string_view /*part*/, json::error_code& /*ec*/) { return true; }
  bool on_int64(int64_t value, json::string_view text, json::error_code& ec) {
    if (in_array_ && value >= 0) return AddBlock(static_cast<uint64_t>(value));
    return Number(text, ec);
  }
  bool on_uint64(uint64_t value, json::string_view text, json::error_code& ec) {
    return in_array_ ? AddBlock(value) : Number(text, ec);
  }
  bool on_double(double /*value*/, json::string_view text, json::error_code& ec) {
    return Number(text, ec);
  }
  bool on_bool(bool value, json::error_code& ec) { return Misplaced(value ? "true" : "false", ec); }
  bool on_null(json::error_code& ec) { return Misplaced("null", ec); }
  bool on_comment_part(json::string_view /*part*/, json::error_code& /*ec*/) { return true; }
  bool on_comment(json::string_view /*last*/, json::error_code& /*ec*/) { return true; }

 private:
  bool AddBlock(uint64_t hash) {
    request_->prefix_blocks.push_back(hash);
    return true;
  }
  bool Number(std::string_view text, json::error_code& ec);
  bool Misplaced(std::string_view value, json::error_code& ec);
  bool Stop(Problem problem, json::error_code& ec) {
    problem_ = std::move(problem);
    ec = json::error::exception;  // any error: it only stops the parser
    return false;
  }

  Request* request_ = nullptr;
  std::array<bool, kMembers> seen_{};
  std::optional<size_t> member_;  // the one whose value comes next
  bool in_object_ = false;
  bool in_array_ = false;
  std::string key_;
  std::optional<Problem> problem_;
};

bool LineHandler::on_key(json::string_view last, size_t /*size*/, json::error_code& ec) {
  key_.append(last.data(), last.size());
  member_.reset();
  for (size_t i = 0; i < kMembers; ++i) {
    if (key_ == kNames[i]) member_ = i;
  }
  const std::string key = std::exchange(key_, {});
  if (!member_) {
    const std::vector<std::string> names(kNames.begin(), kNames.end());
    return Stop(
        {.field = {},
         .value = {},
         .text = "unknown member " + Quoted(key) + DidYouMean(key, names) +
                 "; a Mooncake line may have timestamp, input_length, output_length, hash_ids"},
        ec);
  }
  if (seen_[*member_]) {
    return Stop({.field = {}, .value = {}, .text = "member " + Quoted(key) + " appears twice"}, ec);
  }
  return seen_[*member_] = true;
}

// A value of a kind, or at a place, where none is allowed.
bool LineHandler::Misplaced(std::string_view value, json::error_code& ec) {
  if (!in_object_ || !member_) {
    return Stop({.field = {}, .value = {}, .text = "expected a JSON object, {...}, on every line"},
                ec);
  }
  return Stop({.field = std::string(kNames[*member_]),
               .value = std::string(value),
               .text = std::string(kAllowed[*member_])},
              ec);
}

bool LineHandler::Number(std::string_view text, json::error_code& ec) {
  if (in_array_ || !member_ || *member_ == kHashIds) return Misplaced(text, ec);
  if (*member_ == kTimestamp) {
    const auto ns = ParseTimeNs(text, TimeUnit::kMilliseconds);
    if (!ns) return Misplaced(text, ec);
    request_->arrival = Time{Duration{*ns}};
    return true;
  }
  const auto tokens = ParseCount(text);
  if (!tokens || *tokens < 1 || *tokens > kMaxRequestTokens) return Misplaced(text, ec);
  (*member_ == kInputLength ? request_->input_tokens : request_->output_tokens) = *tokens;
  return true;
}

}  // namespace

struct MooncakeReader::Parser {
  json::basic_parser<LineHandler> json{json::parse_options{}};
};

MooncakeReader::MooncakeReader(LineReader lines, int64_t block_tokens)
    : lines_(std::move(lines)), block_tokens_(block_tokens), parser_(std::make_unique<Parser>()) {}
MooncakeReader::MooncakeReader(MooncakeReader&&) noexcept = default;
MooncakeReader& MooncakeReader::operator=(MooncakeReader&&) noexcept = default;
MooncakeReader::~MooncakeReader() = default;

Result<MooncakeReader> MooncakeReader::Open(const std::filesystem::path& path,
                                            int64_t block_tokens) {
  SIM_TRY(auto lines, LineReader::Open(path));
  return MooncakeReader(std::move(lines), block_tokens);
}

Result<bool> MooncakeReader::Next(Request& request) {
  std::string_view line;
  SIM_TRY(const bool more, lines_.Next(line));
  if (!more) return false;
  auto& parser = parser_->json;
  parser.reset();
  parser.handler().Begin(request);
  json::error_code ec;
  const size_t used = parser.write_some(false, line.data(), line.size(), ec);
  if (const auto& problem = parser.handler().problem()) {
    return problem->field.empty()
               ? lines_.LineError(problem->text)
               : lines_.FieldError(problem->field, problem->value, problem->text);
  }
  if (!ec && used < line.size()) ec = json::error::extra_data;
  if (ec) {
    return lines_.LineError("not valid JSON at byte " + std::to_string(used + 1) + ": " +
                            ec.message());
  }
  for (const Member member : {kTimestamp, kInputLength, kOutputLength}) {
    if (parser.handler().seen(member)) continue;
    return lines_.LineError(
        "no member " + Quoted(kNames[member]) +
        "; a Mooncake line has timestamp, input_length, output_length, hash_ids");
  }
  SIM_RETURN_IF_ERROR(Check(request));
  request.prefix_block_tokens = request.prefix_blocks.empty() ? 0 : block_tokens_;
  return true;
}

Status MooncakeReader::Check(const Request& request) const {
  const auto blocks = static_cast<int64_t>(request.prefix_blocks.size());
  const int64_t room = (request.input_tokens + block_tokens_ - 1) / block_tokens_;
  if (blocks <= room) return Ok();
  return lines_.LineError("hash_ids has " + std::to_string(blocks) + " blocks; input_length " +
                          std::to_string(request.input_tokens) + " fills " + std::to_string(room) +
                          " of " + std::to_string(block_tokens_) + " tokens");
}

}  // namespace moecast
