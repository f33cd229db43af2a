// KvMeasurement: one row of a suite of the KV path (append, attend, mla, attend_prefill), and its
// CSV form. Columns, units and meaning are stated in docs/kernels_kv.md; VisitKvFields below is
// the only list of them in the code, VisitTiming (timed_row.h) of those that every suite has.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/harness/reference_data.h"
#include "kernels/harness/timed_row.h"
#include "sim/base/result.h"

namespace moecast::kernels {

/// op is append, flush, pack, attend, attend_combine, attend_mla, ...
struct KvMeasurement : TimedRow {
  std::string model;   // head shape's name, or "-"
  std::string regime;  // how the lengths came about: even, one_long, lognormal, ...
  std::string format;  // scheme of kernels/data/kv_schemes.csv
  double sequences = 0;
  double cached_tokens = 0;  // summed over sequences, before the launch
  double max_context = 0;    // of one sequence
  double new_tokens = 0;     // summed over sequences
  double query_heads = 0;
  double kv_heads = 0;
  double head_dim = 0;
  double key_bits = 0;
  double value_bits = 0;
  double group = 0;
  double residual = 0;         // tokens the ring of bf16 pages holds before it flushes
  double window = 0;           // of sliding-window attention, 0: none
  double selected_tokens = 0;  // of block-sparse attention, 0: all
  // Bits per element, averaged over keys and values.
  double stored_bits = 0;      // metadata and bf16 tokens included
  double read_bits = 0;        // the same where shared codes count as read
  double equivalent_bits = 0;  // of the papers: codes that this layer stores, nothing else
  std::optional<double>
      output_error;  // of attention against bf16 on the same inputs; an empty cell
  double bytes = 0;  // compulsory traffic of one launch
  double flops = 0;
};

/// Calls visit(column, member) for every column in file order. Row is KvMeasurement or const of it.
template <class Row, class Visit>
void VisitKvFields(Row& row, Visit visit) {
  visit("op", row.op);
  visit("model", row.model);
  visit("regime", row.regime);
  visit("format", row.format);
  visit("sequences", row.sequences);
  visit("cached_tokens", row.cached_tokens);
  visit("max_context", row.max_context);
  visit("new_tokens", row.new_tokens);
  visit("query_heads", row.query_heads);
  visit("kv_heads", row.kv_heads);
  visit("head_dim", row.head_dim);
  visit("key_bits", row.key_bits);
  visit("value_bits", row.value_bits);
  visit("group", row.group);
  visit("residual", row.residual);
  visit("window", row.window);
  visit("selected_tokens", row.selected_tokens);
  visit("stored_bits", row.stored_bits);
  visit("read_bits", row.read_bits);
  visit("equivalent_bits", row.equivalent_bits);
  visit("output_error", row.output_error);
  visit("bytes", row.bytes);
  visit("flops", row.flops);
  VisitTiming(row, visit);
}

/// Header and one line per row. Numbers have five significant digits.
/// REQUIRES: text fields hold neither comma, quote nor line break.
std::string ToCsv(const std::vector<KvMeasurement>& rows);
/// ERRORS: as ParseCsv, a missing or an unknown column, a cell that is no number.
Result<std::vector<KvMeasurement>> ParseKvMeasurements(std::string_view text,
                                                       const std::string& name);

/// One line per row: its number, then its samples in microseconds.
std::string SamplesToCsv(const std::vector<KvMeasurement>& rows);

/// What a row says against the datasheet rates of the card that produced it.
/// ERRORS: bytes or bf16 operations over the median exceed the peak: they are miscounted, or the
/// caches were warm.
Status CheckAgainstPeak(const KvMeasurement& row, const CardPeak& peak);

}  // namespace moecast::kernels
