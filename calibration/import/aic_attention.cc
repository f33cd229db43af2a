// The tables of attention over a paged cache: context (prefill) and generation (decode).
#include <algorithm>
#include <span>

#include "calibration/import/aic_tables.h"
#include "calibration/import/kernel_switch.h"
#include "sim/cost/features.h"

namespace moecast::calibration {
namespace {

using enum Feature;

struct AttentionColumns {
  explicit AttentionColumns(TableFields& fields)
      : source(fields.Need("kernel_source")),
        batch(fields.Need("batch_size")),
        length(fields.Need("isl")),
        heads(fields.Need("num_heads")),
        kv_heads(fields.Need("num_key_value_heads")),
        head_dim(fields.Need("head_dim")),
        dtype(fields.Need("attn_dtype")),
        kv_dtype(fields.Need("kv_cache_dtype")),
        step(fields.Need("step")),
        latency(fields.Need("latency")),
        window(fields.Find("window_size")) {}
  size_t source, batch, length, heads, kv_heads, head_dim, dtype, kv_dtype, step, latency;
  std::optional<size_t> window;
};

struct AttentionRow {
  int64_t batch = 0, length = 0, past = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t window = 0;  // 0: none
  AicFormat compute, kv;
};

AttentionRow ReadRow(TableFields& fields, const AttentionColumns& c) {
  return {.batch = fields.Whole(c.batch, 1),
          .length = fields.Whole(c.length, 1),
          .past = fields.Whole(c.step, 0),
          .heads = fields.Whole(c.heads, 1),
          .kv_heads = fields.Whole(c.kv_heads, 1),
          .head_dim = fields.Whole(c.head_dim, 1),
          .window = c.window ? fields.Whole(*c.window, 0) : 0,
          .compute = AicFormatOf(fields.Text(c.dtype)),
          .kv = AicFormatOf(fields.Text(c.kv_dtype))};
}

/// Positions that `length` queries after `past` tokens attend to, summed.
double CausalPairs(const AttentionRow& r) {
  const auto length = static_cast<double>(r.length);
  const auto past = static_cast<double>(r.past);
  const double all = length * past + length * (length + 1) / 2;
  if (r.window == 0 || r.past + r.length <= r.window) return all;
  const auto window = static_cast<double>(r.window);
  if (r.past >= r.window) return length * window;
  const double growing = window - past;  // queries whose span is not cut
  return growing * past + growing * (growing + 1) / 2 + (length - growing) * window;
}

void FillCommon(const AttentionRow& r, KernelRow& row) {
  constexpr double kKeyAndValue = 2;
  row.features[kHeads] = static_cast<double>(r.heads);
  row.features[kKvBytesPerToken] = kKeyAndValue * static_cast<double>(r.kv_heads) *
                                   static_cast<double>(r.head_dim) * r.kv.bytes_per_element;
}

void FillPrefill(const AttentionRow& r, KernelRow& row) {
  FillCommon(r, row);
  KernelFeatures& f = row.features;
  const auto batch = static_cast<double>(r.batch);
  const auto dim = static_cast<double>(r.head_dim);
  const int64_t span = r.past + r.length;
  f[kBatch] = batch;
  f[kTokens] = batch * static_cast<double>(r.length);
  f[kPairs] = batch * CausalPairs(r);
  f[kContext] =
      batch * static_cast<double>(r.window == 0 ? span : std::min(span, r.window + r.length));
  f[kBytes] = f[kContext] * f[kKvBytesPerToken];
  f[kFlops] = f[kPairs] * 2 * 2 * f[kHeads] * dim;
}

void FillDecode(const AttentionRow& r, KernelRow& row) {
  FillCommon(r, row);
  KernelFeatures& f = row.features;
  const auto batch = static_cast<double>(r.batch);
  const int64_t span = r.past + r.length;
  f[kBatch] = batch;
  f[kTokens] = batch;
  f[kContext] = batch * static_cast<double>(r.window == 0 ? span : std::min(span, r.window));
  f[kBytes] = f[kContext] * f[kKvBytesPerToken];
  f[kFlops] = f[kContext] * 2 * 2 * f[kHeads] * static_cast<double>(r.head_dim);
}

void ReadAttention(const Table& table, const ImportTarget& target, Imported& into, Errors& errors,
                   const char* op, void (*fill)(const AttentionRow&, KernelRow&)) {
  TableFields fields(table, errors);
  const AttentionColumns columns(fields);
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AttentionRow r = ReadRow(fields, columns);
    KernelRow row = AicRow(fields, target, op);
    row.time_ns = fields.Positive(columns.latency) * kNsPerMs;
    if (r.compute.name.empty() || r.kv.name.empty()) {
      LeaveOut(into, "format '" + std::string(fields.Text(columns.kv_dtype)) + "' or '" +
                         std::string(fields.Text(columns.dtype)) + "' is not known");
      return;
    }
    fill(r, row);
    // Heads of one width run one kernel; a window and products in 8 bits are kernels of their own.
    row.variant = std::string(fields.Text(columns.source)) + "_d" + std::to_string(r.head_dim) +
                  (r.window > 0 ? "_w" + std::to_string(r.window) : "") +
                  (r.compute.bytes_per_element < 2 ? "_" + std::string(r.compute.name) : "");
    row.format = r.kv.name;
    row.label = "batch " + std::to_string(r.batch) + ", length " + std::to_string(r.length) +
                ", past " + std::to_string(r.past);
    const bool eight_bit = r.kv.bytes_per_element < 2 || r.compute.bytes_per_element < 2;
    AddRow(into, std::move(row), eight_bit ? ComputeClass::kFp8 : ComputeClass::kBf16,
           target.device);
  });
}

}  // namespace

void ReadAicContextAttention(const Table& table, const ImportTarget& target, Imported& into,
                             Errors& errors) {
  ReadAttention(table, target, into, errors, "prefill_attention", FillPrefill);
}

void ReadAicGenerationAttention(const Table& table, const ImportTarget& target, Imported& into,
                                Errors& errors) {
  const size_t first = into.rows.size();
  ReadAttention(table, target, into, errors, "decode_attention", FillDecode);
  SplitAtSwitch(std::span(into.rows).subspan(first));
}

}  // namespace moecast::calibration
