#include "traces/import/count_sink.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/base/check.h"
#include "traces/routing_codec.h"

namespace moecast {
namespace {

constexpr double kMostCount = 9007199254740992.0;  // 2^53: doubles are exact up to here
/// A pass has at most this many counts.
constexpr int64_t kMaxPassCounts = int64_t{1} << 26;

/// Experts of the model behind `slots` physical ones.
int64_t LogicalExperts(const ExpertPlacement& placement) {
  int32_t largest = 0;
  for (const auto& layer : placement.physical_to_logical) {
    largest = std::max(largest, *std::ranges::max_element(layer));
  }
  return int64_t{largest} + 1;
}

Status CheckExperts(const CaptureModel& model, int64_t experts, int64_t layers,
                    const std::string& where) {
  if (model.experts > 0 && model.experts != experts) {
    return Error{"the capture has " + std::to_string(experts) + " experts, the model has " +
                     std::to_string(model.experts),
                 where};
  }
  if (experts < 1 || experts > kMaxRoutingExperts || layers < 1 ||
      layers > kMaxPassCounts / experts) {
    return Error{"the capture has " + std::to_string(layers) + " layers of " +
                     std::to_string(experts) + " experts, which no model has",
                 where};
  }
  return Ok();
}

}  // namespace

CountSink::CountSink(const CaptureJob& job, const CountsShape& shape, CountTableWriter writer)
    : job_(&job), shape_(shape), writer_(std::move(writer)) {}

Result<CountSink> CountSink::Create(const CaptureJob& job, const CountsShape& shape,
                                    const ExpertPlacement* placement) {
  const std::string& where = job.files[0].name();
  const int64_t experts = placement == nullptr ? shape.experts : LogicalExperts(*placement);
  SIM_RETURN_IF_ERROR(CheckExperts(job.options.model, experts, shape.layers, where));
  SIM_TRY(LayerSelection selection, SelectLayers(shape.layers, job.options.model, where));
  SIM_TRY(CountTableWriter writer,
          CountTableWriter::Create(job.out, {selection.moe_layers, experts}));
  CountSink sink(job, shape, std::move(writer));
  sink.experts_ = experts;
  if (placement != nullptr) {
    SIM_TRY(sink.to_logical_,
            MapSlots(*placement, selection,
                     {.layers = shape.layers, .experts = experts, .slots = shape.experts}, where));
    job.report.Note("physical experts are mapped to logical ones by the placement");
  }
  if (job.options.model.moe_layers.empty()) {
    job.report.Note("no model named: every captured layer is taken for an MoE layer");
  }
  sink.selection_ = std::move(selection);
  return sink;
}

Result<CountSink> CountSink::CreateForLayers(const CaptureJob& job,
                                             const std::vector<int32_t>& layers, int64_t experts) {
  const std::string& where = job.files[0].name();
  SIM_RETURN_IF_ERROR(CheckExperts(job.options.model, experts, std::ssize(layers), where));
  const std::vector<int32_t>& moe_layers = job.options.model.moe_layers;
  if (!moe_layers.empty() && moe_layers != layers) {
    return Error{
        "the capture's " + std::to_string(layers.size()) + " layers are not the model's MoE layers",
        where};
  }
  SIM_TRY(CountTableWriter writer, CountTableWriter::Create(job.out, {layers, experts}));
  CountSink sink(job, {std::ssize(layers), experts}, std::move(writer));
  sink.experts_ = experts;
  for (int64_t i = 0; i < std::ssize(layers); ++i) sink.selection_.rows.push_back(i);
  sink.selection_.moe_layers = layers;
  return sink;
}

Status CountSink::Add(const std::string& pass, std::optional<RoutingPhase> phase,
                      std::span<const uint64_t> counts) {
  SIM_CHECK(std::ssize(counts) == shape_.layers * shape_.experts);
  ExpertCounts logical{.pass = pass, .phase = phase};
  logical.counts.assign(selection_.rows.size() * static_cast<size_t>(experts_), 0);
  for (size_t i = 0; i < selection_.rows.size(); ++i) {
    const auto from = counts.subspan(static_cast<size_t>(selection_.rows[i] * shape_.experts),
                                     static_cast<size_t>(shape_.experts));
    uint64_t* const to = logical.counts.data() + i * static_cast<size_t>(experts_);
    for (size_t slot = 0; slot < from.size(); ++slot) {
      const size_t expert = to_logical_.empty() ? slot : static_cast<size_t>(to_logical_[i][slot]);
      to[expert] += from[slot];
    }
  }
  return writer_.Add(logical);
}

Status CountSink::AddArray(const ByteFile& file, const ArrayRef& array, const std::string& name) {
  if (array.shape.size() != 3 || array.shape[1] != shape_.layers ||
      array.shape[2] != shape_.experts) {
    return file.At(array.offset, "is " + ShapeText(array.shape) + ", expected are " +
                                     std::to_string(shape_.layers) + " layers of " +
                                     std::to_string(shape_.experts));
  }
  const int64_t pass_counts = shape_.layers * shape_.experts;
  for (int64_t pass = 0; pass < array.shape[0]; ++pass) {
    SIM_TRY(const std::vector<uint64_t> counts,
            ReadCounts(file, array, pass * pass_counts, pass_counts));
    const std::string number = array.shape[0] > 1 ? std::to_string(pass) : "";
    SIM_RETURN_IF_ERROR(Add(name + number, std::nullopt, counts));
  }
  return Ok();
}

Status CountSink::Finish() {
  if (writer_.passes() == 0) return job_->files[0].Fail("the capture has no counts");
  SIM_RETURN_IF_ERROR(writer_.Commit());
  job_->report.passes = writer_.passes();
  return Ok();
}

Result<std::vector<uint64_t>> ReadCounts(const ByteFile& file, const ArrayRef& array, int64_t first,
                                         int64_t count) {
  const uint64_t element = ElementBytes(array.type);
  const uint64_t offset = array.offset + static_cast<uint64_t>(first) * element;
  SIM_TRY(const std::string bytes, file.Read(offset, static_cast<uint64_t>(count) * element));
  std::vector<double> values(static_cast<size_t>(count));
  ToDoubles(bytes, array.type, values);
  std::vector<uint64_t> counts(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= 0) || values[i] > kMostCount || values[i] != std::floor(values[i])) {
      return file.At(offset + i * element, "a count is not a whole number from 0 to 2^53");
    }
    counts[i] = static_cast<uint64_t>(values[i]);
  }
  return counts;
}

}  // namespace moecast
