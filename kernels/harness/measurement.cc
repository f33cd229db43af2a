#include "kernels/harness/measurement.h"

#include <span>

#include "kernels/harness/row_csv.h"

namespace moecast::kernels {
namespace {

constexpr auto kVisit = [](auto& row, auto visit) { VisitFields(row, visit); };

}  // namespace

std::string ToCsv(const std::vector<Measurement>& rows) { return RowsToCsv(rows, kVisit); }

Result<std::vector<Measurement>> ParseMeasurements(std::string_view text, const std::string& name) {
  return RowsFromCsv<Measurement>(text, name, kVisit, "format");
}

std::string SamplesToCsv(const std::vector<Measurement>& rows) {
  std::vector<std::span<const double>> samples;
  samples.reserve(rows.size());
  for (const Measurement& row : rows) samples.emplace_back(row.samples_us);
  return SampleLines(samples);
}

Status CheckAgainstPeak(const Measurement& row, const CardPeak& peak) {
  const std::string where = row.op + " " + row.model + " " + row.format +
                            " T=" + FiveDigits(row.tokens) + " D=" + FiveDigits(row.distinct) +
                            " " + row.regime;
  const double seconds = row.time_us.median * 1e-6;
  const double byte_rate = row.bytes * (1 - row.warm_ratio) / seconds;
  if (byte_rate > peak.hbm_bytes_per_s)
    return Error{"implies " + FiveDigits(byte_rate) + " bytes/s, above the card's " +
                     FiveDigits(peak.hbm_bytes_per_s) +
                     ": bytes are miscounted or the weights were in L2",
                 where};
  const bool is_fp8 = row.format.starts_with("fp8");
  const double flop_peak = is_fp8 ? peak.fp8_flop_per_s : peak.bf16_flop_per_s;
  if (row.flops / seconds > flop_peak)
    return Error{"implies " + FiveDigits(row.flops / seconds) + " flop/s, above the card's " +
                     FiveDigits(flop_peak) + ": operations are miscounted",
                 where};
  return Ok();
}

double WarmRatio(const ProductRing& ring, double l2_bytes) {
  const double distinct = ring.copies * ring.weight_bytes + ring.activation_bytes;
  if (distinct <= l2_bytes) return 1;
  return ring.activation_bytes / (ring.weight_bytes + ring.activation_bytes);
}

}  // namespace moecast::kernels
