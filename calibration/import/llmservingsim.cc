#include "calibration/import/llmservingsim.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "calibration/import/table.h"

namespace moecast::calibration {
namespace {

namespace fs = std::filesystem;
using enum Feature;

constexpr double kNsPerUs = 1e3;
constexpr double kActivationBytes = 2;  // the profiler runs bf16 activations

/// Widths of one tensor-parallel rank of the profiled model.
struct Widths {
  double hidden = 0, queries = 0, keys = 0, head_dim = 0, heads = 0, vocabulary = 0;
  double expert = 0, top_k = 0, weight_bytes = 0;
};

struct Reader {
  const Table& table;
  const ImportTarget& target;
  Widths widths;
  const ModelSpec& model;
  Imported& into;
  Errors& errors;

  KernelRow Row(const TableFields& fields, std::string op) const {
    KernelRow row;
    row.op = std::move(op);
    row.format = model.formats.attention.name;
    row.gpu = target.gpu;
    row.engine = target.engine;
    row.source = fields.source();
    return row;
  }
  void Add(KernelRow row) const {
    AddRow(into, std::move(row), model.formats.experts.compute, target.device);
  }
};

void FillGemm(KernelFeatures& f, double rows, double n, double k, double weight_bytes) {
  f[kTokens] = rows;
  f[kN] = n;
  f[kK] = k;
  f[kBytes] = n * k * weight_bytes;
  f[kFlops] = 2 * rows * n * k;
}

void FillWidth(KernelFeatures& f, double rows, double elements) {
  f[kTokens] = rows;
  f[kWidth] = elements * kActivationBytes;
}

/// The op of a profiled layer; false: no kernel of a step that is priced.
bool FillLayer(std::string_view layer, double rows, const Widths& w, KernelRow& row) {
  KernelFeatures& f = row.features;
  if (layer == "qkv_proj") {
    row.op = "gemm";
    FillGemm(f, rows, w.queries + 2 * w.keys, w.hidden, w.weight_bytes);
  } else if (layer == "o_proj") {
    row.op = "gemm";
    FillGemm(f, rows, w.hidden, w.queries, w.weight_bytes);
  } else if (layer == "lm_head") {
    row.op = "gemm";
    FillGemm(f, rows, w.vocabulary, w.hidden, w.weight_bytes);
  } else if (layer == "layernorm" || layer == "final_layernorm") {
    row.op = "norm";
    FillWidth(f, rows, 4 * w.hidden);
  } else if (layer == "rotary_emb") {
    row.op = "rope";
    FillWidth(f, rows, 2 * (w.queries + w.keys));
  } else if (layer == "embedding") {
    row.op = "embedding";
    FillWidth(f, rows, 2 * w.hidden);
  } else if (layer == "sampler") {
    row.op = "sampling";
    FillWidth(f, rows, 2 * w.vocabulary);
  } else {
    return false;
  }
  return true;
}

void ReadLayers(const Reader& r, std::string_view rows_column) {
  TableFields fields(r.table, r.errors);
  const size_t layer = fields.Need("layer"), count = fields.Need(rows_column);
  const size_t time = fields.Need("time_us");
  r.into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    KernelRow row = r.Row(fields, "");
    const auto rows = static_cast<double>(fields.Whole(count, 1));
    row.time_ns = fields.Positive(time) * kNsPerUs;
    row.label = std::string(fields.Text(layer)) + ", " + std::string(fields.Text(count)) + " rows";
    if (FillLayer(fields.Text(layer), rows, r.widths, row)) {
      r.Add(std::move(row));
    } else {
      LeaveOut(r.into, "layer '" + std::string(fields.Text(layer)) + "' is part of another here");
    }
  });
}

void ReadMoe(const Reader& r) {
  TableFields fields(r.table, r.errors);
  const size_t tokens = fields.Need("tokens"), active = fields.Need("activated_experts");
  const size_t time = fields.Need("time_us");
  r.into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    KernelRow row = r.Row(fields, "experts");
    KernelFeatures& f = row.features;
    f[kTokens] = static_cast<double>(fields.Whole(tokens, 1));
    f[kAssignments] = f[kTokens] * r.widths.top_k;
    f[kDistinct] = static_cast<double>(fields.Whole(active, 1));
    row.time_ns = fields.Positive(time) * kNsPerUs;
    if (f[kDistinct] > f[kAssignments] ||
        f[kDistinct] > static_cast<double>(r.model.moe->experts)) {
      fields.Fail(active, "at most tokens x top_k and the model's experts");
      return;
    }
    // Slots go round the active experts, so loads differ by one row at most.
    const auto tile = static_cast<double>(r.target.expert_tile_rows);
    const double low = std::floor(f[kAssignments] / f[kDistinct]);
    const double above = f[kAssignments] - low * f[kDistinct];  // experts with one row more
    f[kMaxLoad] = low + (above > 0 ? 1 : 0);
    f[kPaddedRows] = tile * (above * std::ceil((low + 1) / tile) +
                             (f[kDistinct] - above) * std::ceil(low / tile));
    f[kHidden] = r.widths.hidden;
    f[kIntermediate] = r.widths.expert;
    constexpr double kMatrices = 3;
    const double matrix = kMatrices * f[kHidden] * f[kIntermediate];
    f[kBytes] = f[kDistinct] * matrix * r.model.formats.experts.bytes_per_element();
    f[kFlops] = 2 * f[kAssignments] * matrix;
    row.format = r.model.formats.experts.name;
    row.label = std::string(fields.Text(tokens)) + " tokens, " + std::string(fields.Text(active)) +
                " experts";
    if (Bytes(f[kBytes]) < r.target.device.l2_capacity) {
      LeaveOut(r.into, "weights fit the last-level cache: measured warm");
    } else {
      r.Add(std::move(row));
    }
  });
}

void ReadAttention(const Reader& r) {
  TableFields fields(r.table, r.errors);
  const size_t chunk = fields.Need("prefill_chunk"), past = fields.Need("kv_prefill");
  const size_t batch = fields.Need("n_decode"), cached = fields.Need("kv_decode");
  const size_t time = fields.Need("time_us");
  r.into.files.back().ignored_columns = fields.Unasked();
  const Widths& w = r.widths;
  fields.EachRow([&] {
    const auto tokens = static_cast<double>(fields.Whole(chunk, 0));
    const auto before = static_cast<double>(fields.Whole(past, 0));
    const auto sequences = static_cast<double>(fields.Whole(batch, 0));
    const auto each = static_cast<double>(fields.Whole(cached, 0));
    KernelRow row = r.Row(fields, tokens > 0 ? "prefill_attention" : "decode_attention");
    row.time_ns = fields.Positive(time) * kNsPerUs;
    if ((tokens > 0) == (sequences > 0)) {
      LeaveOut(r.into, tokens > 0 ? "mixes prefill with decode in one kernel" : "an empty step");
      return;
    }
    KernelFeatures& f = row.features;
    f[kHeads] = w.heads;
    f[kKvBytesPerToken] = 2 * w.keys * kActivationBytes;
    f[kBatch] = tokens > 0 ? 1 : sequences;
    f[kTokens] = tokens > 0 ? tokens : sequences;
    f[kContext] = tokens > 0 ? before + tokens : sequences * each;
    f[kPairs] = tokens > 0 ? tokens * before + tokens * (tokens + 1) / 2 : 0;
    f[kFlops] = (tokens > 0 ? f[kPairs] : f[kContext]) * 2 * 2 * w.heads * w.head_dim;
    row.label = "chunk " + std::string(fields.Text(chunk)) + " after " +
                std::string(fields.Text(past)) + ", " + std::string(fields.Text(batch)) +
                " decodes of " + std::string(fields.Text(cached));
    r.Add(std::move(row));
  });
}

Result<Widths> WidthsOf(const ModelSpec& model, int64_t tensor, const std::string& where) {
  const auto* gqa = std::get_if<GqaAttention>(&model.attention);
  if (gqa == nullptr || !model.moe) {
    return Error{"model " + model.name +
                     " has no experts or latent attention; these profiles are "
                     "of grouped-query attention with experts",
                 where};
  }
  if (tensor < 1 || gqa->heads % tensor != 0 || model.moe->expert_intermediate % tensor != 0) {
    return Error{"tensor-parallel size " + std::to_string(tensor) +
                     " does not divide the heads "
                     "and experts of model " +
                     model.name,
                 where};
  }
  const double share = 1 / static_cast<double>(tensor);
  const double heads = static_cast<double>(gqa->heads) * share;
  const double kv_heads = std::max(1.0, static_cast<double>(gqa->kv_heads) * share);
  return Widths{.hidden = static_cast<double>(model.hidden),
                .queries = heads * static_cast<double>(gqa->head_dim),
                .keys = kv_heads * static_cast<double>(gqa->head_dim),
                .head_dim = static_cast<double>(gqa->head_dim),
                .heads = heads,
                .vocabulary = static_cast<double>(model.vocabulary) * share,
                .expert = static_cast<double>(model.moe->expert_intermediate) * share,
                .top_k = static_cast<double>(model.moe->top_k),
                .weight_bytes = model.formats.attention.bytes_per_element()};
}

/// N of a folder named "tpN", or 0.
int64_t TensorOf(const fs::path& folder) {
  const std::string name = folder.filename().string();
  int64_t tensor = 0;
  if (!name.starts_with("tp")) return 0;
  const char* end = name.data() + name.size();
  return std::from_chars(name.data() + 2, end, tensor).ptr == end ? tensor : 0;
}

std::string StemOf(fs::path path) {
  while (path.has_extension()) path = path.stem();
  return path.filename().string();
}

}  // namespace

Result<Imported> ImportLlmServingSimTable(std::string text, const std::string& name,
                                          const std::string& stem, int64_t tensor,
                                          const ModelSpec& model, const ImportTarget& target) {
  SIM_TRY(const Widths widths, WidthsOf(model, tensor, name));
  SIM_TRY(std::string bytes, Unpack(std::move(text), name));
  SIM_TRY(const Table table, Table::Parse(std::move(bytes), name));
  Imported into;
  Errors errors;
  into.files.push_back({.file = name, .rows = static_cast<int64_t>(table.rows())});
  const Reader reader{table, target, widths, model, into, errors};
  if (stem == "moe") {
    ReadMoe(reader);
  } else if (stem == "attention") {
    ReadAttention(reader);
  } else if (stem == "dense") {
    ReadLayers(reader, "tokens");
  } else if (stem == "per_sequence") {
    ReadLayers(reader, "sequences");
  } else if (table.rows() > 0) {
    into.files.back().left_out["no reader for this table"] = into.files.back().rows;
  }
  if (!errors.empty()) return errors;
  return into;
}

Result<Imported> ImportLlmServingSim(const fs::path& folder, const ModelSpec& model,
                                     const ImportTarget& target) {
  std::vector<fs::path> paths;
  std::error_code failure;
  for (const auto& entry : fs::recursive_directory_iterator(folder, failure)) {
    const bool table = entry.is_regular_file() && TensorOf(entry.path().parent_path()) > 0 &&
                       entry.path().filename().string().find(".csv") != std::string::npos;
    if (table) paths.push_back(entry.path());
  }
  if (paths.empty()) return Error{"no table 'tpN/<name>.csv' below the folder", folder.string()};
  std::sort(paths.begin(), paths.end());
  Imported all;
  Errors errors;
  for (const fs::path& path : paths) {
    Result<std::string> bytes = ReadPacked(path);
    Result<Imported> one =
        bytes.ok() ? ImportLlmServingSimTable(std::move(*bytes), path.string(), StemOf(path),
                                              TensorOf(path.parent_path()), model, target)
                   : Result<Imported>(bytes.errors());
    if (!one.ok()) {
      errors.insert(errors.end(), one.errors().begin(), one.errors().end());
      continue;
    }
    std::move(one->rows.begin(), one->rows.end(), std::back_inserter(all.rows));
    std::move(one->files.begin(), one->files.end(), std::back_inserter(all.files));
    std::move(one->refused.begin(), one->refused.end(), std::back_inserter(all.refused));
  }
  if (!errors.empty()) return errors;
  return all;
}

}  // namespace moecast::calibration
