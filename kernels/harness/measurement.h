// Measurement: one row of a suite, and its CSV form. The columns, their units and their meaning are
// stated in docs/measurement.md; VisitFields below is the only list of them in the code,
// VisitTiming (timed_row.h) of those that every suite has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/harness/reference_data.h"
#include "kernels/harness/timed_row.h"
#include "sim/base/result.h"

namespace moecast::kernels {

/// op is gate_up, down, layer, route, combine, copy, read, empty, ...
struct Measurement : TimedRow {
  std::string model;   // shape name, or "-"
  std::string regime;  // how the load came about: routed, even, hot, chain, ...
  std::string rule;    // skip rule with its parameters, or "-"
  double tokens = 0;
  double top_k = 0;
  double experts = 0;
  double hidden = 0;
  double intermediate = 0;
  double assignments = 0;  // A, mean over the launches of a sample; so are D, P and m
  double distinct = 0;     // D
  double padded_rows = 0;  // P
  double max_load = 0;     // m
  double bytes = 0;        // compulsory traffic of one launch
  double flops = 0;        // of the assignments, without padding
  double warm_ratio = 0;   // part of the weight bytes that L2 may still hold from a former launch
  std::string format = "bf16";  // of the weights: bf16, fp8_tensor, w4a16_g128, ...
};

/// Calls visit(column, member) for every column in file order. Row is Measurement or const of it.
template <class Row, class Visit>
void VisitFields(Row& row, Visit visit) {
  visit("op", row.op);
  visit("model", row.model);
  visit("regime", row.regime);
  visit("rule", row.rule);
  visit("tokens", row.tokens);
  visit("top_k", row.top_k);
  visit("experts", row.experts);
  visit("hidden", row.hidden);
  visit("intermediate", row.intermediate);
  visit("assignments", row.assignments);
  visit("distinct", row.distinct);
  visit("padded_rows", row.padded_rows);
  visit("max_load", row.max_load);
  visit("bytes", row.bytes);
  visit("flops", row.flops);
  visit("warm_ratio", row.warm_ratio);
  VisitTiming(row, visit);
  visit("format", row.format);
}

/// Header and one line per row. Numbers have five significant digits.
/// REQUIRES: text fields hold neither comma, quote nor line break.
std::string ToCsv(const std::vector<Measurement>& rows);
/// A file without the column `format` is read as bf16 throughout.
/// ERRORS: as ParseCsv, another missing or an unknown column, a cell that is no number.
Result<std::vector<Measurement>> ParseMeasurements(std::string_view text, const std::string& name);

/// One line per row: its number, then its samples in microseconds.
std::string SamplesToCsv(const std::vector<Measurement>& rows);

/// What a row says against the datasheet rates of the card that produced it. The part of the bytes
/// that L2 may hold is not counted; a row whose format begins with "fp8" may use the fp8 rate.
/// ERRORS: cold bytes or operations over the median exceed the peak: they are miscounted, or the
/// caches were warm.
Status CheckAgainstPeak(const Measurement& row, const CardPeak& peak);

/// Launches of a product in a ring: each has other weights and the same activations.
struct ProductRing {
  double weight_bytes = 0;      // of one launch
  double activation_bytes = 0;  // read and written
  int copies = 1;               // of the weights
};
/// Part of a launch's bytes that a cache of `l2_bytes` may serve: the activations, which every
/// launch moves; all where it holds the whole ring.
double WarmRatio(const ProductRing& ring, double l2_bytes);

}  // namespace moecast::kernels
