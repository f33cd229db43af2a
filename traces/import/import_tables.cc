// Count tables in JSON and CSV, and MoE-CAP's record of steps.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "sim/base/files.h"
#include "sim/base/lines.h"
#include "sim/base/text.h"
#include "traces/formats/json_documents.h"
#include "traces/import/capture_sources.h"
#include "traces/import/count_sink.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

template <class Number>
std::optional<Number> ParseWhole(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// [layer] counts, one pass.
using LayerCounts = std::map<int32_t, std::vector<uint64_t>>;

/// What is wrong with a document, or its layers.
Result<LayerCounts> ReadHits(const Tree& tree) {
  LayerCounts layers;
  const std::vector<TreeValue>& items = tree.at(tree.root).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const std::string& key = tree.at(items[i]).text;
    const auto layer = ParseWhole<int32_t>(key);
    const auto found = tree.Find(items[i + 1], "hits");
    const auto hits = found ? tree.Integers(*found) : std::nullopt;
    if (!layer || *layer < 0 || !hits || hits->empty()) {
      return Error{"'" + key + "' must be a layer's number with a list of hits", ""};
    }
    std::vector<uint64_t>& counts = layers[*layer];
    for (const int64_t hit : *hits) {
      if (hit < 0) return Error{"layer " + key + " has a negative count", ""};
      counts.push_back(static_cast<uint64_t>(hit));
    }
    if (counts.size() != layers.begin()->second.size()) {
      return Error{"layer " + key + " has " + std::to_string(counts.size()) +
                       " experts, others have " + std::to_string(layers.begin()->second.size()),
                   ""};
    }
  }
  return layers;
}

/// Adds passes of equal shape; the first creates the sink.
class LayerTable {
 public:
  explicit LayerTable(const CaptureJob& job) : job_(job) {}

  Status Add(const std::string& pass, const LayerCounts& layers, const std::string& where) {
    std::vector<int32_t> numbers;
    std::vector<uint64_t> counts;
    const size_t experts = layers.begin()->second.size();
    for (const auto& [layer, of_layer] : layers) {
      if (of_layer.size() != experts) {
        return Error{"layer " + std::to_string(layer) + " of pass '" + pass + "' has " +
                         std::to_string(of_layer.size()) + " experts, others have " +
                         std::to_string(experts),
                     where};
      }
      numbers.push_back(layer);
      counts.insert(counts.end(), of_layer.begin(), of_layer.end());
    }
    if (!sink_) {
      SIM_TRY(CountSink created,
              CountSink::CreateForLayers(job_, numbers, static_cast<int64_t>(experts)));
      sink_.emplace(std::move(created));
      shape_ = {numbers, experts};
    }
    if (shape_ != std::pair(numbers, experts)) {
      return Error{"pass '" + pass + "' has " + std::to_string(numbers.size()) + " layers of " +
                       std::to_string(experts) + " experts, the first one has " +
                       std::to_string(shape_.first.size()) + " of " + std::to_string(shape_.second),
                   where};
    }
    ++passes_;
    return sink_->Add(pass, std::nullopt, counts);
  }

  Status Finish() {
    if (!sink_) return job_.files[0].Fail("has no counts");
    job_.report.level = passes_ > 1 ? RoutingLevel::kPassCounts : RoutingLevel::kTotalCounts;
    return sink_->Finish();
  }

 private:
  const CaptureJob& job_;
  std::optional<CountSink> sink_;
  std::pair<std::vector<int32_t>, size_t> shape_;
  int64_t passes_ = 0;
};

/// A text file's lines with their first bytes.
struct TextLine {
  std::string_view text;
  uint64_t offset = 0;
};
std::vector<TextLine> Lines(std::string_view text) {
  std::vector<TextLine> lines;
  uint64_t offset = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back({line, offset});
    const size_t step = std::min(end + 1, text.size());
    text.remove_prefix(step);
    offset += step;
  }
  return lines;
}

/// Rows are layers, columns experts, no names.
Status ImportMatrix(const ByteFile& file, const std::vector<TextLine>& lines, LayerTable& table) {
  LayerCounts layers;
  for (const TextLine& line : lines) {
    std::vector<uint64_t>& counts = layers[static_cast<int32_t>(layers.size())];
    for (const std::string_view cell : SplitCells(line.text)) {
      const auto count = ParseWhole<uint64_t>(cell);
      if (!count) {
        return file.At(line.offset, "'" + std::string(cell) +
                                        "' is no count; text without a known header is read as "
                                        "a row of counts per layer, a column per expert");
      }
      counts.push_back(*count);
    }
    if (counts.size() != layers[0].size()) {
      return file.At(line.offset, "has " + std::to_string(counts.size()) + " counts, the first " +
                                      "line has " + std::to_string(layers[0].size()));
    }
  }
  return table.Add(std::filesystem::path(file.name()).stem().string(), layers, file.name());
}

/// Columns of a long table.
struct LongColumns {
  size_t layer = 0;
  size_t expert = 0;
  size_t count = 0;
  size_t all = 0;
};

/// Columns layer, expert and count; rows that agree in all other columns make a pass.
Status ImportLong(const ByteFile& file, const std::vector<TextLine>& lines,
                  const LongColumns& columns, LayerTable& table) {
  std::vector<std::string> order;
  std::map<std::string, LayerCounts> passes;
  for (const TextLine& line : std::span(lines).subspan(1)) {
    const std::vector<std::string_view> cells = SplitCells(line.text);
    if (cells.size() != columns.all) {
      return file.At(line.offset, "has " + std::to_string(cells.size()) + " columns of " +
                                      std::to_string(columns.all));
    }
    const auto layer = ParseWhole<int32_t>(cells[columns.layer]);
    const auto expert = ParseWhole<uint16_t>(cells[columns.expert]);
    const auto count = ParseWhole<uint64_t>(cells[columns.count]);
    if (!layer || *layer < 0 || !expert || !count) {
      return file.At(line.offset, "layer, expert and count must be whole numbers");
    }
    std::string pass;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i == columns.layer || i == columns.expert || i == columns.count) continue;
      pass += (pass.empty() ? "" : "/") + std::string(cells[i]);
    }
    if (!passes.contains(pass)) order.push_back(pass);
    std::vector<uint64_t>& counts = passes[pass][*layer];
    if (counts.size() != *expert) {
      return file.At(line.offset, "expert " + std::to_string(*expert) + " comes after " +
                                      std::to_string(counts.size()) +
                                      " experts of its layer; they are in order, none missing");
    }
    counts.push_back(*count);
  }
  for (const std::string& pass : order) {
    SIM_RETURN_IF_ERROR(table.Add(pass, passes[pass], file.name()));
  }
  return Ok();
}

std::optional<LongColumns> FindColumns(std::string_view header) {
  const std::vector<std::string_view> names = SplitCells(header);
  const auto find = [&](std::string_view name) {
    return static_cast<size_t>(std::ranges::find(names, name) - names.begin());
  };
  const LongColumns columns{find("layer"), find("expert"), find("count"), names.size()};
  const bool all = std::max({columns.layer, columns.expert, columns.count}) < names.size();
  return all ? std::optional(columns) : std::nullopt;
}

/// A cell of MoE-CAP's record as text; empty when the document lacks it.
std::string StepCell(const Tree& tree, std::string_view key) {
  const auto value = tree.Find(tree.root, key);
  if (!value) return {};
  if (value->kind == Kind::kInteger) return std::to_string(value->integer);
  if (value->kind == Kind::kReal) return ShortestDouble(value->real);
  const bool is_phase = value->kind == Kind::kText &&
                        (tree.at(*value).text == "prefill" || tree.at(*value).text == "decode");
  return is_phase ? tree.at(*value).text : "";
}

constexpr std::string_view kStepHeader =
    "forward_pass,phase,sequences,context_tokens,latency_s,expert_activation,expert_utilization\n";
constexpr std::array<std::string_view, 7> kStepKeys = {
    "forward_pass_id", "forward_mode",      "batch_size",        "seq_lens_sum",
    "latency",         "expert_activation", "expert_utilization"};

}  // namespace

Status ImportHitsJson(const CaptureJob& job) {
  job.report.layout = "count table, JSON {layer: {hits: [..]}}";
  LayerTable table(job);
  for (const ByteFile& file : job.files) {
    JsonDocuments documents(file);
    Tree tree;
    for (int64_t number = 0;; ++number) {
      SIM_TRY(const bool more, documents.Next(tree));
      if (!more) break;
      if (tree.root.kind != Kind::kMap || tree.at(tree.root).items.empty()) {
        return file.At(documents.begin(), "is no object of layers");
      }
      const Result<LayerCounts> layers = ReadHits(tree);
      if (!layers.ok()) return file.At(documents.begin(), layers.errors()[0].message);
      const std::string stem = std::filesystem::path(file.name()).stem().string();
      SIM_RETURN_IF_ERROR(table.Add(number == 0 ? stem : stem + " " + std::to_string(number),
                                    *layers, file.name()));
    }
  }
  return table.Finish();
}

Status ImportCountCsv(const CaptureJob& job) {
  constexpr uint64_t kMostBytes = uint64_t{256} << 20;
  LayerTable table(job);
  for (const ByteFile& file : job.files) {
    if (file.size() > kMostBytes) {
      return file.Fail("has " + std::to_string(file.size()) + " bytes, count tables of at most " +
                       std::to_string(kMostBytes) + " are read");
    }
    SIM_TRY(const std::string text, file.Read(0, file.size()));
    const std::vector<TextLine> lines = Lines(text);
    if (lines.empty()) return file.Fail("has no lines");
    if (lines[0].text.starts_with("pass,phase,layer,expert_0")) {
      return file.Fail("is a count table of moecast already");
    }
    if (const auto columns = FindColumns(lines[0].text)) {
      job.report.layout = "count table, CSV with columns layer, expert, count";
      SIM_RETURN_IF_ERROR(ImportLong(file, lines, *columns, table));
    } else {
      job.report.layout = "count table, CSV with a line per layer and a column per expert";
      SIM_RETURN_IF_ERROR(ImportMatrix(file, lines, table));
    }
  }
  return table.Finish();
}

Status ImportMoeCapSteps(const CaptureJob& job) {
  job.report.layout = "MoE-CAP record of steps, JSON lines";
  job.report.level = RoutingLevel::kPassActivation;
  job.report.Note("written as a table of steps: measured latency beside the experts used");
  SIM_TRY(AtomicFile out, AtomicFile::Create(job.out));
  SIM_RETURN_IF_ERROR(out.Write(kStepHeader));
  for (const ByteFile& file : job.files) {
    JsonDocuments documents(file);
    Tree tree;
    while (true) {
      SIM_TRY(const bool more, documents.Next(tree));
      if (!more) break;
      std::string row;
      for (const std::string_view key : kStepKeys) {
        const std::string cell = StepCell(tree, key);
        if (cell.empty()) {
          return file.At(documents.begin(), "the step that begins here has no usable " +
                                                std::string(key) +
                                                " (numbers; forward_mode prefill or decode)");
        }
        row += (row.empty() ? "" : ",") + cell;
      }
      SIM_RETURN_IF_ERROR(out.Write(row + "\n"));
      ++job.report.passes;
    }
  }
  return out.Commit();
}

}  // namespace moecast
