// The tables of multi-head latent attention. They name no widths: all are of DeepSeek-V3's, which
// its config.json gives and the collector uses. Rows of whole modules mix projections with
// attention; a step prices those one by one, so such tables are listed and left out.
#include "calibration/import/aic_tables.h"

namespace moecast::calibration {
namespace {

using enum Feature;

// config.json of deepseek-ai/DeepSeek-V3.
constexpr double kLatent = 512;  // kv_lora_rank
constexpr double kRope = 64;     // qk_rope_head_dim
constexpr double kNope = 128;    // qk_nope_head_dim
constexpr double kValue = 128;   // v_head_dim

struct MlaRow {
  double batch = 0, length = 0, past = 0, heads = 0, cache_element = 0;
};

void FillPrefill(const MlaRow& r, KernelFeatures& f) {
  constexpr double kActivationBytes = 2;
  f[kHeads] = r.heads;
  f[kKvBytesPerToken] = r.heads * (kNope + kRope + kValue) * kActivationBytes;
  f[kBatch] = r.batch;
  f[kTokens] = r.batch * r.length;
  f[kPairs] = r.batch * (r.length * r.past + r.length * (r.length + 1) / 2);
  f[kContext] = r.batch * (r.past + r.length);
  f[kBytes] = f[kContext] * f[kKvBytesPerToken];
  f[kFlops] = f[kPairs] * 2 * r.heads * (kNope + kRope + kValue);
}

void FillDecode(const MlaRow& r, KernelFeatures& f) {
  f[kHeads] = r.heads;
  f[kKvBytesPerToken] = (kLatent + kRope) * r.cache_element;
  f[kBatch] = r.batch;
  f[kTokens] = r.batch;
  f[kContext] = r.batch * (r.past + r.length);
  f[kBytes] = f[kContext] * f[kKvBytesPerToken];
  f[kFlops] = f[kContext] * 2 * r.heads * (kLatent + kRope + kLatent);
}

void ReadMla(const Table& table, const ImportTarget& target, Imported& into, Errors& errors,
             const char* op, void (*fill)(const MlaRow&, KernelFeatures&)) {
  TableFields fields(table, errors);
  const size_t name = fields.Need("op_name"), source = fields.Need("kernel_source");
  const size_t kv_dtype = fields.Need("kv_cache_dtype"), heads = fields.Need("num_heads");
  const size_t batch = fields.Need("batch_size"), length = fields.Need("isl");
  const size_t step = fields.Need("step"), latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat kv = AicFormatOf(fields.Text(kv_dtype));
    const MlaRow r{.batch = static_cast<double>(fields.Whole(batch, 1)),
                   .length = static_cast<double>(fields.Whole(length, 1)),
                   .past = static_cast<double>(fields.Whole(step, 0)),
                   .heads = static_cast<double>(fields.Whole(heads, 1)),
                   .cache_element = kv.bytes_per_element};
    KernelRow row = AicRow(fields, target, op);
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (fields.Text(name).ends_with("_module")) {
      LeaveOut(into, "a module of projections and attention, not one kernel");
      return;
    }
    if (kv.name.empty()) {
      LeaveOut(into, "format '" + std::string(fields.Text(kv_dtype)) + "' is not known");
      return;
    }
    fill(r, row.features);
    row.variant = "mla_" + std::string(fields.Text(source));
    row.format = kv.name;
    row.label = "batch " + std::string(fields.Text(batch)) + ", length " +
                std::string(fields.Text(length)) + ", past " + std::string(fields.Text(step));
    AddRow(into, std::move(row),
           kv.bytes_per_element < 2 ? ComputeClass::kFp8 : ComputeClass::kBf16, target.device);
  });
}

}  // namespace

void ReadAicContextMla(const Table& table, const ImportTarget& target, Imported& into,
                       Errors& errors) {
  ReadMla(table, target, into, errors, "prefill_attention", FillPrefill);
}

void ReadAicGenerationMla(const Table& table, const ImportTarget& target, Imported& into,
                          Errors& errors) {
  ReadMla(table, target, into, errors, "decode_attention", FillDecode);
}

void ReadAicMlaBmm(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const size_t name = fields.Need("op_name"), source = fields.Need("kernel_source");
  const size_t dtype = fields.Need("bmm_dtype"), tokens = fields.Need("num_tokens");
  const size_t heads = fields.Need("num_heads"), latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(dtype));
    KernelRow row = AicRow(fields, target, std::string(fields.Text(name)));
    KernelFeatures& f = row.features;
    f[kTokens] = static_cast<double>(fields.Whole(tokens, 1));
    f[kHeads] = static_cast<double>(fields.Whole(heads, 1));
    f[kBytes] = f[kHeads] * kLatent * kNope * format.bytes_per_element;
    f[kFlops] = 2 * f[kTokens] * f[kHeads] * kLatent * kNope;
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (format.name.empty()) {
      LeaveOut(into, "weight format '" + std::string(fields.Text(dtype)) + "' is not known");
      return;
    }
    row.variant = fields.Text(source);
    row.format = format.name;
    row.label = std::string(fields.Text(heads)) + " heads";
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

}  // namespace moecast::calibration
