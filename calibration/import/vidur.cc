#include "calibration/import/vidur.h"

#include "calibration/import/table.h"

namespace moecast::calibration {
namespace {

using enum Feature;

constexpr double kNsPerMs = 1e6;
constexpr double kElementBytes = 2;  // fp16

std::string Median(const std::string& op) { return "time_stats." + op + ".median"; }

KernelRow RowOf(const TableFields& fields, const ImportTarget& target, std::string op) {
  KernelRow row;
  row.op = std::move(op);
  row.format = "fp16";
  row.gpu = target.gpu;
  row.engine = target.engine;
  row.source = fields.source();
  return row;
}

/// True when the cell holds a time; vidur leaves an operation's cells empty where it did not run,
/// and its tracer's clock rounds the shortest ones to 0.
bool ReadTime(TableFields& fields, size_t column, Imported& into, KernelRow& row) {
  const std::string_view cell = fields.Text(column);
  const std::optional<double> time = ParseCell(cell);
  if (cell.empty() || (time && *time == 0)) {
    LeaveOut(into, cell.empty() ? "the operation did not run" : "shorter than the tracer resolves");
    return false;
  }
  row.time_ns = fields.Positive(column) * kNsPerMs;
  return true;
}

void ReadProjections(const Table& table, const ImportTarget& target, Imported& into,
                     Errors& errors) {
  TableFields fields(table, errors);
  const size_t heads = fields.Need("n_head"), kv_heads = fields.Need("n_kv_head");
  const size_t hidden = fields.Need("n_embd"), expanded = fields.Need("n_expanded_embd");
  const size_t gated = fields.Need("use_gated_mlp"), tokens = fields.Need("num_tokens");
  const size_t tensor = fields.Need("num_tensor_parallel_workers");
  const size_t qkv = fields.Need(Median("attn_pre_proj")),
               out = fields.Need(Median("attn_post_proj"));
  const size_t up = fields.Need(Median("mlp_up_proj")), down = fields.Need(Median("mlp_down_proj"));
  into.files.back().ignored_columns = fields.Unasked();
  into.files.back().rows *= 4;  // a line holds four products
  fields.EachRow([&] {
    const auto width = static_cast<double>(fields.Whole(hidden, 1));
    const auto ranks = static_cast<double>(fields.Whole(tensor, 1));
    const double head = width / static_cast<double>(fields.Whole(heads, 1));
    const double mlp = static_cast<double>(fields.Whole(expanded, 1)) / ranks;
    const double keys = 2 * head * static_cast<double>(fields.Whole(kv_heads, 1));
    const double gates = fields.Text(gated) == "True" ? 2 : 1;
    struct Product {
      size_t time;
      double n, k;
    };
    for (const Product& p :
         {Product{qkv, (width + keys) / ranks, width}, Product{out, width, width / ranks},
          Product{up, gates * mlp, width}, Product{down, width, mlp}}) {
      KernelRow row = RowOf(fields, target, "gemm");
      KernelFeatures& f = row.features;
      f[kTokens] = static_cast<double>(fields.Whole(tokens, 1));
      f[kN] = p.n;
      f[kK] = p.k;
      f[kBytes] = p.n * p.k * kElementBytes;
      f[kFlops] = 2 * f[kTokens] * p.n * p.k;
      row.label = table.header()[p.time] + ", " + std::string(fields.Text(tokens)) + " tokens";
      if (ReadTime(fields, p.time, into, row)) {
        AddRow(into, std::move(row), ComputeClass::kBf16, target.device);
      }
    }
  });
}

void ReadAttention(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const size_t hidden = fields.Need("n_embd"), heads = fields.Need("n_q_head");
  const size_t kv_heads = fields.Need("n_kv_head"), batch = fields.Need("batch_size");
  const size_t chunk = fields.Need("prefill_chunk_size"), cached = fields.Need("kv_cache_size");
  const size_t tensor = fields.Need("num_tensor_parallel_workers");
  const size_t backend = fields.Need("attention_backend");
  const size_t prefill = fields.Need(Median("attn_prefill"));
  const size_t decode = fields.Need(Median("attn_decode"));
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const auto ranks = static_cast<double>(fields.Whole(tensor, 1));
    const auto all_heads = static_cast<double>(fields.Whole(heads, 1));
    const double head = static_cast<double>(fields.Whole(hidden, 1)) / all_heads;
    const auto sequences = static_cast<double>(fields.Whole(batch, 1));
    const auto tokens = static_cast<double>(fields.Whole(chunk, 0));
    const auto past = static_cast<double>(fields.Whole(cached, 0));
    KernelRow row = RowOf(fields, target, tokens > 0 ? "prefill_attention" : "decode_attention");
    KernelFeatures& f = row.features;
    f[kHeads] = all_heads / ranks;
    f[kKvBytesPerToken] =
        2 * head * static_cast<double>(fields.Whole(kv_heads, 1)) / ranks * kElementBytes;
    f[kBatch] = sequences;
    f[kTokens] = tokens > 0 ? sequences * tokens : sequences;
    f[kContext] = sequences * (past + tokens);
    f[kPairs] = sequences * (tokens * past + tokens * (tokens + 1) / 2);
    f[kBytes] = f[kContext] * f[kKvBytesPerToken];
    f[kFlops] = (tokens > 0 ? f[kPairs] : f[kContext]) * 2 * 2 * f[kHeads] * head;
    row.variant = fields.Text(backend);
    row.label = "batch " + std::string(fields.Text(batch)) + ", chunk " +
                std::string(fields.Text(chunk)) + ", past " + std::string(fields.Text(cached));
    if (ReadTime(fields, tokens > 0 ? prefill : decode, into, row)) {
      AddRow(into, std::move(row), ComputeClass::kBf16, target.device);
    }
  });
}

void ReadAllReduce(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const size_t workers = fields.Need("num_workers"), size = fields.Need("size");
  const size_t collective = fields.Need("collective");
  const size_t time = fields.Need(Median("all_reduce"));
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    KernelRow row = RowOf(fields, target, "all_reduce");
    row.format = kCollectiveFormat;
    const int64_t ranks = fields.Whole(workers, 1);
    row.features[kRanks] = static_cast<double>(ranks);
    row.features[kMessageBytes] = static_cast<double>(fields.Whole(size, 1));
    row.label = std::string(fields.Text(size)) + " bytes";
    if (fields.Text(collective) != "all_reduce") {
      fields.Fail(collective, "'all_reduce'");
    } else if (ranks == 1) {
      LeaveOut(into, "one GPU exchanges nothing");
    } else if (ReadTime(fields, time, into, row)) {
      AddRow(into, std::move(row), ComputeClass::kBf16, target.device);
    }
  });
}

}  // namespace

Result<Imported> ImportVidur(std::string text, const std::string& name,
                             const ImportTarget& target) {
  SIM_TRY(std::string bytes, Unpack(std::move(text), name));
  SIM_TRY(const Table table, Table::Parse(std::move(bytes), name));
  Imported into;
  Errors errors;
  into.files.push_back({.file = name, .rows = static_cast<int64_t>(table.rows())});
  if (table.Column(Median("mlp_up_proj"))) {
    ReadProjections(table, target, into, errors);
  } else if (table.Column(Median("attn_decode")) || table.Column(Median("attn_prefill"))) {
    ReadAttention(table, target, into, errors);
  } else if (table.Column(Median("all_reduce"))) {
    ReadAllReduce(table, target, into, errors);
  } else {
    return Error{"none of vidur's tables: no column " + Median("mlp_up_proj") + ", " +
                     Median("attn_decode") + " or " + Median("all_reduce"),
                 name + ":1"};
  }
  if (!errors.empty()) return errors;
  return into;
}

}  // namespace moecast::calibration
