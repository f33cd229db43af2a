#include "traces/count_table.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/lines.h"
#include "traces/request_lines.h"

namespace moecast {
namespace {

constexpr std::string_view kFirstColumns = "pass,phase,layer";
constexpr size_t kColumnsBefore = 3;

std::string_view PhaseText(const std::optional<RoutingPhase>& phase) {
  if (!phase) return "mixed";
  return *phase == RoutingPhase::kPrefill ? "prefill" : "decode";
}

std::string HeaderLine(int64_t experts) {
  std::string text(kFirstColumns);
  for (int64_t expert = 0; expert < experts; ++expert) {
    text += ",expert_" + std::to_string(expert);
  }
  return text + "\n";
}

void AppendNumber(uint64_t value, std::string& text) {
  char digits[20];
  const auto [end, error] = std::to_chars(std::begin(digits), std::end(digits), value);
  text.append(std::begin(digits), end);
}

template <class Number>
std::optional<Number> ParseWhole(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Puts rows together to passes; the first pass sets the layers.
class TableBuilder {
 public:
  /// RETURNS: what is wrong with the row, empty when nothing is.
  std::string Add(const std::vector<std::string_view>& cells) {
    const auto layer = ParseWhole<int32_t>(cells[2]);
    if (!layer || *layer < 0) return "layer '" + std::string(cells[2]) + "' is no whole number";
    const bool is_new = table_.passes.empty() || table_.passes.back().pass != cells[0];
    if (is_new) {
      if (std::string wrong = FinishPass(); !wrong.empty()) return wrong;
      table_.passes.push_back({.pass = std::string(cells[0])});
      if (!SetPhase(cells[1])) {
        return "phase '" + std::string(cells[1]) + "', allowed are prefill, decode, mixed";
      }
      row_ = 0;
    }
    std::vector<int32_t>& layers = table_.shape.moe_layers;
    if (table_.passes.size() == 1) {
      if (!layers.empty() && *layer <= layers.back()) return "layers are not ascending";
      layers.push_back(*layer);
    } else if (row_ >= layers.size() || layers[row_] != *layer) {
      return "pass '" + std::string(cells[0]) + "' has other layers than the first one";
    }
    ++row_;
    return AddCounts(cells);
  }

  std::string FinishPass() {
    if (table_.passes.empty() || row_ == table_.shape.moe_layers.size()) return {};
    return "pass '" + table_.passes.back().pass + "' has " + std::to_string(row_) +
           " layers, the first one has " + std::to_string(table_.shape.moe_layers.size());
  }

  CountTable table_;

 private:
  bool SetPhase(std::string_view text) {
    ExpertCounts& pass = table_.passes.back();
    if (text == PhaseText(RoutingPhase::kPrefill)) pass.phase = RoutingPhase::kPrefill;
    if (text == PhaseText(RoutingPhase::kDecode)) pass.phase = RoutingPhase::kDecode;
    return pass.phase || text == PhaseText(std::nullopt);
  }
  std::string AddCounts(const std::vector<std::string_view>& cells) {
    for (size_t i = kColumnsBefore; i < cells.size(); ++i) {
      const auto count = ParseWhole<uint64_t>(cells[i]);
      if (!count) return "'" + std::string(cells[i]) + "' is no count";
      table_.passes.back().counts.push_back(*count);
    }
    cells_ += std::ssize(cells);
    return cells_ > kMaxCountTableCells
               ? "the table has more than " + std::to_string(kMaxCountTableCells) + " cells"
               : "";
  }

  size_t row_ = 0;
  int64_t cells_ = 0;
};

}  // namespace

CountTableWriter::CountTableWriter(AtomicFile file, CountShape shape)
    : file_(std::move(file)), shape_(std::move(shape)) {}

Result<CountTableWriter> CountTableWriter::Create(const std::filesystem::path& path,
                                                  CountShape shape) {
  SIM_TRY(AtomicFile file, AtomicFile::Create(path));
  SIM_RETURN_IF_ERROR(file.Write(HeaderLine(shape.experts)));
  return CountTableWriter(std::move(file), std::move(shape));
}

Status CountTableWriter::Add(const ExpertCounts& counts) {
  const auto experts = static_cast<size_t>(shape_.experts);
  SIM_CHECK(counts.counts.size() == shape_.moe_layers.size() * experts);
  std::string name = counts.pass;
  std::ranges::replace_if(
      name, [](char c) { return c == ',' || c == '\n' || c == '\r' || c == '"'; }, '_');
  text_.clear();
  for (size_t layer = 0; layer < shape_.moe_layers.size(); ++layer) {
    text_ += name + "," + std::string(PhaseText(counts.phase)) + "," +
             std::to_string(shape_.moe_layers[layer]);
    for (size_t expert = 0; expert < experts; ++expert) {
      text_ += ',';
      AppendNumber(counts.counts[layer * experts + expert], text_);
    }
    text_ += '\n';
  }
  ++passes_;
  return file_.Write(text_);
}

Status CountTableWriter::Commit() {
  if (passes_ == 0) return Error{"the capture has no counts", ""};
  return file_.Commit();
}

Result<CountTable> ReadCountTable(const std::filesystem::path& path) {
  SIM_TRY(LineReader lines, LineReader::Open(path));
  std::string_view line;
  SIM_TRY(bool more, lines.Next(line));
  const std::string wanted = std::string(kFirstColumns) + ",expert_0";
  if (!more || !line.starts_with(wanted)) {
    return lines.LineError("is no count table: its first line does not begin with " + wanted);
  }
  const size_t columns = SplitCells(line).size();
  TableBuilder builder;
  builder.table_.shape.experts = static_cast<int64_t>(columns - kColumnsBefore);
  while (true) {
    SIM_TRY(more, lines.Next(line));
    if (!more) break;
    const std::vector<std::string_view> cells = SplitCells(line);
    if (cells.size() != columns) {
      return lines.LineError("has " + std::to_string(cells.size()) + " columns of " +
                             std::to_string(columns));
    }
    if (std::string wrong = builder.Add(cells); !wrong.empty()) return lines.LineError(wrong);
  }
  if (std::string wrong = builder.FinishPass(); !wrong.empty()) return lines.LineError(wrong);
  if (builder.table_.passes.empty()) return lines.LineError("the table has no rows");
  return std::move(builder.table_);
}

}  // namespace moecast
