#include "reports/intervals.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "reports/text_table.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

using Align = TextTable::Align;

std::string Cell(const Figure& figure, const std::optional<Range>& range) {
  if (!range) return "-";
  return Fixed(range->low, figure.digits) + ".." + Fixed(range->high, figure.digits);
}

/// Figures that a prediction's error moves in some case.
std::vector<size_t> MovedFigures(const std::vector<CaseFigures>& cases,
                                 std::span<const size_t> shown) {
  std::vector<size_t> moved;
  for (const size_t f : shown) {
    const bool any = std::any_of(cases.begin(), cases.end(), [f](const CaseFigures& c) {
      const std::optional<Range>& range = c.estimates[f].range95;
      return range && range->high > range->low;
    });
    if (any) moved.push_back(f);
  }
  return moved;
}

/// `c.load` has a column only where it has a name.
void AddRows(const StudyCase& c, const CaseFigures& figures, const std::vector<size_t>& moved,
             TextTable& table) {
  for (const auto& [level, range] :
       {std::pair("80 %", &Estimate::range80), std::pair("95 %", &Estimate::range95)}) {
    const bool first = range == &Estimate::range80;
    std::vector<std::string> cells;
    if (!c.load.empty()) cells.push_back(first ? c.load : "");
    cells.push_back(first ? c.variant : "");
    cells.emplace_back(level);
    for (const size_t f : moved) cells.push_back(Cell(Figures()[f], figures.estimates[f].*range));
    table.AddRow(std::move(cells));
  }
}

}  // namespace

std::string RenderIntervals(const Study& study, const std::vector<CaseFigures>& cases,
                            std::span<const size_t> shown) {
  const std::vector<size_t> moved = MovedFigures(cases, shown);
  if (moved.empty()) return {};
  TextTable table;
  if (!study.cases.front().load.empty()) table.AddColumn(Align::kLeft, {"load", ""});
  table.AddColumn(Align::kLeft, {"variant", ""});
  table.AddColumn(Align::kLeft, {"interval", ""});
  for (const size_t f : moved) {
    table.AddColumn(Align::kRight,
                    {std::string(Figures()[f].title), std::string(Figures()[f].unit)});
  }
  for (const CaseFigures& c : cases) AddRows(study.cases[c.case_index], c, moved, table);
  return "\nPrediction intervals: the run again with every step at the fast and at the slow end of "
         "its interval, from the errors of the profile's kernels on points they were not fitted on "
         "and the stated error of analytic times.\n\n" +
         table.Text();
}

}  // namespace moecast
