// The tables of dense products and of quantising activations.
#include "calibration/import/aic_tables.h"

namespace moecast::calibration {

using enum Feature;

void ReadAicGemm(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const size_t source = fields.Need("kernel_source"), dtype = fields.Need("gemm_dtype");
  const size_t m = fields.Need("m"), n = fields.Need("n"), k = fields.Need("k");
  const size_t latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(dtype));
    KernelRow row = AicRow(fields, target, "gemm");
    KernelFeatures& f = row.features;
    f[kTokens] = static_cast<double>(fields.Whole(m, 1));
    f[kN] = static_cast<double>(fields.Whole(n, 1));
    f[kK] = static_cast<double>(fields.Whole(k, 1));
    // Weights only: the collector replays one input, which the last-level cache may hold.
    f[kBytes] = f[kN] * f[kK] * format.bytes_per_element;
    f[kFlops] = 2 * f[kTokens] * f[kN] * f[kK];
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (format.name.empty()) {
      LeaveOut(into, "weight format '" + std::string(fields.Text(dtype)) + "' is not known");
      return;
    }
    row.variant = fields.Text(source);
    row.format = format.name;
    row.label = "m " + std::string(fields.Text(m));
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

void ReadAicQuantize(const Table& table, const ImportTarget& target, Imported& into,
                     Errors& errors) {
  TableFields fields(table, errors);
  const size_t op = fields.Need("op_name"), m = fields.Need("m"), k = fields.Need("k");
  const size_t dtype = fields.Need("quant_dtype"), latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(dtype));
    KernelRow row = AicRow(fields, target, "quantize");
    KernelFeatures& f = row.features;
    f[kTokens] = static_cast<double>(fields.Whole(m, 1));
    f[kWidth] = static_cast<double>(fields.Whole(k, 1)) * (2 + format.bytes_per_element);
    f[kBytes] = 0;  // computescale is a difference of two kernels: no bound holds for it
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (format.name.empty()) {
      LeaveOut(into, "format '" + std::string(fields.Text(dtype)) + "' is not known");
      return;
    }
    row.variant = fields.Text(op);
    row.format = format.name;
    row.label = "m " + std::string(fields.Text(m)) + ", k " + std::string(fields.Text(k));
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

}  // namespace moecast::calibration
