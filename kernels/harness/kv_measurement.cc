#include "kernels/harness/kv_measurement.h"

#include <span>

#include "kernels/harness/row_csv.h"

namespace moecast::kernels {
namespace {

constexpr auto kVisit = [](auto& row, auto visit) { VisitKvFields(row, visit); };

}  // namespace

std::string ToCsv(const std::vector<KvMeasurement>& rows) { return RowsToCsv(rows, kVisit); }

Result<std::vector<KvMeasurement>> ParseKvMeasurements(std::string_view text,
                                                       const std::string& name) {
  return RowsFromCsv<KvMeasurement>(text, name, kVisit, "");
}

std::string SamplesToCsv(const std::vector<KvMeasurement>& rows) {
  std::vector<std::span<const double>> samples;
  samples.reserve(rows.size());
  for (const KvMeasurement& row : rows) samples.emplace_back(row.samples_us);
  return SampleLines(samples);
}

Status CheckAgainstPeak(const KvMeasurement& row, const CardPeak& peak) {
  const std::string where = row.op + " " + row.model + " " + row.format +
                            " tokens=" + FiveDigits(row.cached_tokens) + "+" +
                            FiveDigits(row.new_tokens) + " " + row.regime;
  const double seconds = row.time_us.median * 1e-6;
  if (row.bytes / seconds > peak.hbm_bytes_per_s)
    return Error{"implies " + FiveDigits(row.bytes / seconds) + " bytes/s, above the card's " +
                     FiveDigits(peak.hbm_bytes_per_s) +
                     ": bytes are miscounted or the cache was in L2",
                 where};
  if (row.flops / seconds > peak.bf16_flop_per_s)
    return Error{"implies " + FiveDigits(row.flops / seconds) + " flop/s, above the card's " +
                     FiveDigits(peak.bf16_flop_per_s) + ": operations are miscounted",
                 where};
  return Ok();
}

}  // namespace moecast::kernels
