#include "traces/request_csv_layout.h"

#include <algorithm>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"
#include "traces/request_lines.h"

namespace moecast {
namespace {

constexpr CsvColumn kAzureColumns[] = {
    {"TIMESTAMP", CsvField::kArrival, ArrivalNotation::kTimestamp},
    {"ContextTokens", CsvField::kInputTokens},
    {"GeneratedTokens", CsvField::kOutputTokens},
};
constexpr CsvColumn kBurstGptColumns[] = {
    {"Timestamp", CsvField::kArrival, ArrivalNotation::kSeconds},
    {"Session ID", CsvField::kIgnored},
    {"Elapsed time", CsvField::kIgnored},
    {"Model", CsvField::kIgnored},
    {"Request tokens", CsvField::kInputTokens},
    {"Response tokens", CsvField::kOutputTokens},
    {"Total tokens", CsvField::kIgnored},
    {"Log Type", CsvField::kIgnored},
};
constexpr CsvColumn kVidurColumns[] = {
    {"arrived_at", CsvField::kArrival, ArrivalNotation::kSeconds},
    {"num_prefill_tokens", CsvField::kInputTokens},
    {"num_decode_tokens", CsvField::kOutputTokens},
    {"num_total_tokens", CsvField::kTotalTokens},
    {"pd_ratio", CsvField::kInputPerOutput},
};
constexpr CsvColumn kMoecastColumns[] = {
    {"arrival_s", CsvField::kArrival, ArrivalNotation::kSeconds},
    {"arrival_ns", CsvField::kArrival, ArrivalNotation::kNanoseconds},
    {"arrival_time_ns", CsvField::kArrival, ArrivalNotation::kNanoseconds},
    {"input_tokens", CsvField::kInputTokens},
    {"input_toks", CsvField::kInputTokens},
    {"output_tokens", CsvField::kOutputTokens},
    {"output_toks", CsvField::kOutputTokens},
};

constexpr CsvLayout kAzure{
    .title = "an Azure LLM trace", .columns = kAzureColumns, .starts_at_first_row = true};
constexpr CsvLayout kBurstGpt{.title = "a BurstGPT trace",
                              .columns = kBurstGptColumns,
                              .starts_at_first_row = true,
                              .zero_output_is_failure = true};
constexpr CsvLayout kVidur{.title = "a vidur trace", .columns = kVidurColumns};
constexpr CsvLayout kMoecast{.title = "a moecast trace", .columns = kMoecastColumns};
constexpr const CsvLayout* kLayouts[] = {&kMoecast, &kAzure, &kBurstGpt, &kVidur};

const CsvColumn* FindColumn(const CsvLayout& layout, std::string_view name) {
  const auto found = std::find_if(layout.columns.begin(), layout.columns.end(),
                                  [&](const CsvColumn& column) { return column.name == name; });
  return found == layout.columns.end() ? nullptr : &*found;
}

// "'a' or 'b'": the columns that may carry `field`.
std::string NamesOf(const CsvLayout& layout, CsvField field) {
  std::string names;
  for (const CsvColumn& column : layout.columns) {
    if (column.field != field) continue;
    names.append(names.empty() ? "" : " or ").append(Quoted(column.name));
  }
  return names;
}

std::string AllowedColumns(const CsvLayout& layout) {
  return std::string(layout.title) + " may have " + CommaList(layout.columns, &CsvColumn::name);
}

Error UnknownColumn(const CsvLayout& layout, std::string_view name) {
  std::vector<std::string> names;
  for (const CsvColumn& column : layout.columns) names.emplace_back(column.name);
  return {.message = "unknown column " + Quoted(name) + DidYouMean(name, names) + "; " +
                     AllowedColumns(layout),
          .where = {}};
}

Status CheckComplete(const CsvLayout& layout, const CsvBinding& binding, bool arrival_required) {
  std::vector<CsvField> required;
  if (arrival_required) required.push_back(CsvField::kArrival);
  if (!(binding[CsvField::kTotalTokens] && binding[CsvField::kInputPerOutput])) {
    required.push_back(CsvField::kInputTokens);
    required.push_back(CsvField::kOutputTokens);
  }
  for (const CsvField field : required) {
    if (binding[field]) continue;
    return Error{.message = "no column " + NamesOf(layout, field) + "; " + AllowedColumns(layout),
                 .where = {}};
  }
  return Ok();
}

}  // namespace

const CsvLayout& CsvLayoutOf(RequestTraceFormat format) {
  switch (format) {
    case RequestTraceFormat::kAzureCsv:
      return kAzure;
    case RequestTraceFormat::kBurstGptCsv:
      return kBurstGpt;
    case RequestTraceFormat::kVidurCsv:
      return kVidur;
    case RequestTraceFormat::kMoecastCsv:
    case RequestTraceFormat::kMooncakeJsonl:
      break;
  }
  SIM_CHECK(format == RequestTraceFormat::kMoecastCsv);
  return kMoecast;
}

const CsvLayout* FindCsvLayout(std::span<const std::string_view> header) {
  for (const CsvLayout* layout : kLayouts) {
    const bool knows_all = std::all_of(header.begin(), header.end(), [&](std::string_view name) {
      return FindColumn(*layout, name) != nullptr;
    });
    if (knows_all) return layout;
  }
  return nullptr;
}

Result<CsvBinding> BindCsvHeader(const CsvLayout& layout, std::span<const std::string_view> header,
                                 bool arrival_required) {
  CsvBinding binding;
  binding.columns = header.size();
  for (size_t i = 0; i < header.size(); ++i) {
    if (std::find(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(i), header[i]) !=
        header.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Error{.message = "column " + Quoted(header[i]) + " appears twice", .where = {}};
    }
    const CsvColumn* const column = FindColumn(layout, header[i]);
    if (column == nullptr) return UnknownColumn(layout, header[i]);
    if (column->field == CsvField::kIgnored) continue;
    auto& place = binding.places[static_cast<size_t>(column->field)];
    if (place) {
      return Error{.message = "columns " + Quoted(place->name) + " and " + Quoted(column->name) +
                              " tell the same; keep one",
                   .where = {}};
    }
    place = CsvBinding::Place{.column = i, .name = column->name};
    if (column->field == CsvField::kArrival) binding.notation = column->notation;
  }
  SIM_RETURN_IF_ERROR(CheckComplete(layout, binding, arrival_required));
  return binding;
}

}  // namespace moecast
