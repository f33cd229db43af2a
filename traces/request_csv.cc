#include "traces/request_csv.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "traces/request_numbers.h"

namespace moecast {
namespace {

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes the first cell and the comma after it off `line`; `line` becomes null after the last cell.
// A cell in double quotes may contain commas. It is returned without its quotes.
std::string_view TakeCell(std::string_view& line) {
  size_t from = 0;
  if (line.starts_with('"')) {
    from = line.find('"', 1);
    while (from != std::string_view::npos && line.substr(from + 1).starts_with('"')) {
      from = line.find('"', from + 2);
    }
    if (from == std::string_view::npos) from = line.size();
  }
  const size_t comma = line.find(',', from);
  std::string_view cell = Trimmed(line.substr(0, comma));
  if (from > 0 && cell.size() >= 2 && cell.ends_with('"')) cell = cell.substr(1, cell.size() - 2);
  line = comma == std::string_view::npos ? std::string_view{} : line.substr(comma + 1);
  return cell;
}

// The cells of `line` into `cells`; RETURNS how many there are, which may be more than fit.
size_t SplitCells(std::string_view line, std::span<std::string_view> cells) {
  size_t count = 0;
  do {
    const std::string_view cell = TakeCell(line);
    if (count < cells.size()) cells[count] = cell;
    ++count;
  } while (line.data() != nullptr);
  return count;
}

std::string AllowedTokens(int64_t least) {
  return "a whole number from " + std::to_string(least) + " to " +
         std::to_string(kMaxRequestTokens);
}

std::string AllowedArrival(ArrivalNotation notation) {
  switch (notation) {
    case ArrivalNotation::kSeconds:
      return "a decimal number of seconds from 0 to 4e9";
    case ArrivalNotation::kNanoseconds:
      return "a number of nanoseconds from 0 to 4e18";
    case ArrivalNotation::kTimestamp:
      break;
  }
  return "a time such as 2023-11-16 18:17:03.9799600, years 1970 to 2261";
}

std::optional<int64_t> ParseArrival(std::string_view text, ArrivalNotation notation) {
  switch (notation) {
    case ArrivalNotation::kSeconds:
      return ParseTimeNs(text, TimeUnit::kSeconds);
    case ArrivalNotation::kNanoseconds:
      return ParseTimeNs(text, TimeUnit::kNanoseconds);
    case ArrivalNotation::kTimestamp:
      break;
  }
  return ParseTimestampNs(text);
}

}  // namespace

CsvRequestReader::CsvRequestReader(LineReader lines, const CsvLayout& layout, CsvBinding binding)
    : lines_(std::move(lines)), layout_(&layout), binding_(binding) {}

Result<CsvRequestReader> CsvRequestReader::Open(const std::filesystem::path& path,
                                                const CsvLayout& layout, bool arrival_required) {
  return OpenAs(path, &layout, arrival_required);
}

Result<CsvRequestReader> CsvRequestReader::OpenLengths(const std::filesystem::path& path) {
  return OpenAs(path, nullptr, false);
}

// Without a layout the header tells it, and ours is the one that messages speak of.
Result<CsvRequestReader> CsvRequestReader::OpenAs(const std::filesystem::path& path,
                                                  const CsvLayout* layout, bool arrival_required) {
  SIM_TRY(auto lines, LineReader::Open(path));
  std::string_view line;
  SIM_TRY(const bool more, lines.Next(line));
  if (!more)
    return Error{.message = "the file is empty; expected a header row", .where = path.string()};
  std::array<std::string_view, kMaxColumns> cells;
  const size_t count = SplitCells(line, cells);
  if (count > cells.size()) {
    return lines.LineError("header has " + std::to_string(count) + " columns; at most " +
                           std::to_string(cells.size()) + " are allowed");
  }
  const std::span<const std::string_view> header(cells.data(), count);
  if (layout == nullptr) layout = FindCsvLayout(header);
  if (layout == nullptr) layout = &CsvLayoutOf(RequestTraceFormat::kMoecastCsv);
  auto binding = BindCsvHeader(*layout, header, arrival_required);
  if (!binding.ok()) return lines.LineError(binding.errors().front().message);
  return CsvRequestReader(std::move(lines), *layout, *binding);
}

Status CsvRequestReader::Split(std::string_view line) {
  const size_t count = SplitCells(line, cells_);
  if (count == binding_.columns) return Ok();
  return lines_.LineError("row has " + std::to_string(count) + (count == 1 ? " field" : " fields") +
                          "; the header has " + std::to_string(binding_.columns));
}

std::string_view CsvRequestReader::Cell(CsvField field) const {
  return cells_[binding_[field]->column];
}

Result<int64_t> CsvRequestReader::ReadArrivalNs() const {
  if (!binding_[CsvField::kArrival]) return 0;
  const std::string_view text = Cell(CsvField::kArrival);
  if (const auto ns = ParseArrival(text, binding_.notation)) return *ns;
  return lines_.FieldError(binding_[CsvField::kArrival]->name, text,
                           AllowedArrival(binding_.notation));
}

Result<int64_t> CsvRequestReader::ReadTokens(CsvField field, int64_t least) const {
  const auto tokens = ParseCount(Cell(field));
  if (tokens && *tokens >= least && *tokens <= kMaxRequestTokens) return *tokens;
  return lines_.FieldError(binding_[field]->name, Cell(field), AllowedTokens(least));
}

Status CsvRequestReader::ReadLengths(Request& request) const {
  if (binding_[CsvField::kInputTokens] && binding_[CsvField::kOutputTokens]) {
    const int64_t least_output = layout_->zero_output_is_failure ? 0 : 1;
    SIM_TRY(request.output_tokens, ReadTokens(CsvField::kOutputTokens, least_output));
    const int64_t least_input = request.output_tokens == 0 ? 0 : 1;
    SIM_TRY(request.input_tokens, ReadTokens(CsvField::kInputTokens, least_input));
    return Ok();
  }
  SIM_TRY(const int64_t total, ReadTokens(CsvField::kTotalTokens, 2));
  const std::string_view text = Cell(CsvField::kInputPerOutput);
  double ratio = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  // input = ratio * output and input + output = total; a ratio written with enough digits gives
  // back the very counts that it was computed from.
  const double output = std::round(static_cast<double>(total) / (1 + ratio));
  if (!is_number || !(ratio > 0) || output < 1 || output >= static_cast<double>(total)) {
    return lines_.FieldError(
        binding_[CsvField::kInputPerOutput]->name, text,
        "a ratio above 0 that leaves at least one input and one output token of " +
            std::to_string(total));
  }
  request.output_tokens = static_cast<int64_t>(output);
  request.input_tokens = total - request.output_tokens;
  return Ok();
}

Result<bool> CsvRequestReader::Next(Request& request) {
  std::string_view line;
  SIM_TRY(const bool more, lines_.Next(line));
  if (!more) return false;
  SIM_RETURN_IF_ERROR(Split(line));
  SIM_TRY(const int64_t arrival_ns, ReadArrivalNs());
  SIM_RETURN_IF_ERROR(ReadLengths(request));
  request.arrival = Time{Duration{arrival_ns}};
  request.prefix_blocks.clear();
  request.prefix_block_tokens = 0;
  return true;
}

}  // namespace moecast
