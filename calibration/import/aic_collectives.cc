// The tables of exchanges between GPUs: NCCL, custom all-reduce, DeepEP.
#include <array>
#include <utility>

#include "calibration/import/aic_tables.h"

namespace moecast::calibration {
namespace {

using enum Feature;

constexpr auto kNcclOps = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"all_reduce", "all_reduce"},
    {"all_gather", "all_gather"},
    {"reduce_scatter", "reduce_scatter"},
    {"alltoall", "all_to_all"},
});

std::string_view NcclOpOf(std::string_view name) {
  for (const auto& [theirs, ours] : kNcclOps) {
    if (theirs == name) return ours;
  }
  return {};
}

/// What both DeepEP tables have.
struct DeepEpColumns {
  explicit DeepEpColumns(TableFields& fields)
      : source(fields.Need("kernel_source")),
        nodes(fields.Need("node_num")),
        hidden(fields.Need("hidden_size")),
        tokens(fields.Need("num_token")),
        top_k(fields.Need("num_topk")),
        experts(fields.Need("num_experts")) {}
  size_t source, nodes, hidden, tokens, top_k, experts;
};

/// One direction of the exchange; tokens travel in fp8 to the experts and in bf16 back.
KernelRow DeepEpRow(TableFields& fields, const DeepEpColumns& c, const ImportTarget& target,
                    bool dispatch) {
  constexpr double kGpusPerNode = 8;  // the collector's nodes
  KernelRow row = AicRow(fields, target, dispatch ? "dispatch" : "combine_exchange");
  KernelFeatures& f = row.features;
  f[kTokens] = static_cast<double>(fields.Whole(c.tokens, 1));
  f[kHidden] = static_cast<double>(fields.Whole(c.hidden, 1));
  f[kTopK] = static_cast<double>(fields.Whole(c.top_k, 1));
  f[kExperts] = static_cast<double>(fields.Whole(c.experts, 1));
  f[kRanks] = kGpusPerNode * static_cast<double>(fields.Whole(c.nodes, 1));
  f[kMessageBytes] = f[kTokens] * f[kHidden] * (dispatch ? 1 : 2);
  f[kBytes] = f[kMessageBytes];
  row.format = dispatch ? "fp8" : "bf16";
  row.label = std::string(fields.Text(c.tokens)) + " tokens";
  return row;
}

}  // namespace

void ReadAicNccl(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const size_t op = fields.Need("op_name"), source = fields.Need("kernel_source");
  const size_t dtype = fields.Need("nccl_dtype"), gpus = fields.Need("num_gpus");
  const size_t elements = fields.Need("message_size"), latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(dtype));
    const std::string_view name = NcclOpOf(fields.Text(op));
    KernelRow row = AicRow(fields, target, std::string(name));
    KernelFeatures& f = row.features;
    f[kRanks] = static_cast<double>(fields.Whole(gpus, 2));
    f[kMessageBytes] = static_cast<double>(fields.Whole(elements, 1)) * format.bytes_per_element;
    if (name == "all_gather") f[kMessageBytes] /= f[kRanks];  // the table counts the gathered whole
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (name.empty() || format.name.empty()) {
      LeaveOut(into, "collective '" + std::string(fields.Text(op)) + "' of '" +
                         std::string(fields.Text(dtype)) + "' is not known");
      return;
    }
    row.variant = fields.Text(source);
    row.format = kCollectiveFormat;
    row.label = std::string(fields.Text(elements)) + " elements of " + std::string(format.name);
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

void ReadAicCustomAllReduce(const Table& table, const ImportTarget& target, Imported& into,
                            Errors& errors) {
  TableFields fields(table, errors);
  const size_t source = fields.Need("kernel_source"), dtype = fields.Need("allreduce_dtype");
  const size_t gpus = fields.Need("num_gpus"), elements = fields.Need("message_size");
  const size_t latency = fields.Need("latency");
  into.files.back().ignored_columns = fields.Unasked();
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(dtype));
    KernelRow row = AicRow(fields, target, "all_reduce");
    row.features[kRanks] = static_cast<double>(fields.Whole(gpus, 2));
    row.features[kMessageBytes] =
        static_cast<double>(fields.Whole(elements, 1)) * format.bytes_per_element;
    row.time_ns = fields.Positive(latency) * kNsPerMs;
    if (format.name.empty()) {
      LeaveOut(into, "format '" + std::string(fields.Text(dtype)) + "' is not known");
      return;
    }
    row.variant = fields.Text(source);
    row.format = kCollectiveFormat;
    row.label = std::string(fields.Text(elements)) + " elements of " + std::string(format.name);
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

void ReadAicDeepEpLowLatency(const Table& table, const ImportTarget& target, Imported& into,
                             Errors& errors) {
  TableFields fields(table, errors);
  const DeepEpColumns columns(fields);
  const std::array<size_t, 2> times{fields.Need("dispatch_avg_t_us"),
                                    fields.Need("combine_avg_t_us")};
  into.files.back().ignored_columns = fields.Unasked();
  into.files.back().rows *= 2;  // a line holds two operations
  fields.EachRow([&] {
    for (const bool dispatch : {true, false}) {
      KernelRow row = DeepEpRow(fields, columns, target, dispatch);
      row.time_ns = fields.Positive(times[dispatch ? 0 : 1]) * kNsPerUs;
      row.variant = std::string(fields.Text(columns.source)) + "_low_latency";
      AddRow(into, std::move(row), ComputeClass::kBf16, target.device);
    }
  });
}

void ReadAicDeepEpNormal(const Table& table, const ImportTarget& target, Imported& into,
                         Errors& errors) {
  TableFields fields(table, errors);
  const DeepEpColumns columns(fields);
  struct Direction {
    size_t multiprocessors, transmit, notify;
  };
  const Direction out{.multiprocessors = fields.Need("dispatch_sms"),
                      .transmit = fields.Need("dispatch_transmit_us"),
                      .notify = fields.Need("dispatch_notify_us")};
  const Direction back{.multiprocessors = fields.Need("combine_sms"),
                       .transmit = fields.Need("combine_transmit_us"),
                       .notify = fields.Need("combine_notify_us")};
  into.files.back().ignored_columns = fields.Unasked();
  into.files.back().rows *= 2;  // a line holds two operations
  fields.EachRow([&] {
    for (const bool dispatch : {true, false}) {
      const Direction& c = dispatch ? out : back;
      KernelRow row = DeepEpRow(fields, columns, target, dispatch);
      const std::optional<double> notify = ParseCell(fields.Text(c.notify));
      if (!notify || *notify < 0) fields.Fail(c.notify, "a number >= 0");
      row.time_ns = (fields.Positive(c.transmit) + notify.value_or(0)) * kNsPerUs;
      row.variant = std::string(fields.Text(columns.source)) + "_normal_" +
                    std::to_string(fields.Whole(c.multiprocessors, 1)) + "_sms";
      AddRow(into, std::move(row), ComputeClass::kBf16, target.device);
    }
  });
}

}  // namespace moecast::calibration
