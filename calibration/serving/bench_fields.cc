#include "calibration/serving/bench_fields.h"

#include <cmath>

namespace moecast::serving {
namespace {

constexpr double kMillisecond = 1e-3;
constexpr double kMostWhole = 1e15;  // exact in a double

std::string Shown(const boost::json::value* value) {
  constexpr size_t kMost = 40;
  if (value == nullptr) return "missing";
  std::string text = boost::json::serialize(*value);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

/// vLLM and SGLang: the same keys, milliseconds.
ServingPoint ReadBenchServe(BenchFields fields) {
  ServingPoint point{.where = fields.where()};
  point.concurrency = fields.Count("max_concurrency");
  point.requests = fields.Count("completed");
  const auto requests = static_cast<double>(point.requests);
  point.input_tokens = fields.Positive("total_input_tokens") / requests;
  point.output_tokens = fields.Positive("total_output_tokens") / requests;
  if (const auto ratio = fields.MaybePositive("random_range_ratio"); ratio && *ratio <= 1) {
    point.length_ratio = *ratio;
  }
  point.ttft_s = fields.Positive("mean_ttft_ms") * kMillisecond;
  if (fields.Has("mean_tpot_ms")) point.tpot_s = fields.Positive("mean_tpot_ms") * kMillisecond;
  return point;
}

/// InferenceX: seconds; nominal lengths are the longest of a uniform draw.
ServingPoint ReadInferenceX(BenchFields fields) {
  // utils/bench_serving of InferenceX: random lengths between 0.8 of the nominal length and it, and
  // ten requests for each one in flight.
  constexpr double kRangeRatio = 0.8;
  constexpr int64_t kRequestsInFlight = 10;
  ServingPoint point{.where = fields.where(), .length_ratio = kRangeRatio};
  point.concurrency = fields.Count("conc");
  point.requests = kRequestsInFlight * point.concurrency;
  point.input_tokens = fields.Positive("isl") * (1 + kRangeRatio) / 2;
  point.output_tokens = fields.Positive("osl") * (1 + kRangeRatio) / 2;
  point.ttft_s = fields.Positive("mean_ttft");
  point.tpot_s = fields.Positive("mean_tpot");
  if (fields.Has("tp")) {
    point.overrides.push_back("cluster.parallelism.tensor=" + std::to_string(fields.Count("tp")));
  }
  if (fields.Has("ep")) {
    point.overrides.push_back("cluster.parallelism.expert=" + std::to_string(fields.Count("ep")));
  }
  return point;
}

/// A latency of aiperf in seconds: {"unit": "ms", "avg": 12.3, ...}.
double ReadAiperfLatency(BenchFields& fields, std::string_view key) {
  std::optional<BenchFields> metric = fields.Inner(key);
  if (!metric) return 1;
  const double value = metric->Positive("avg");
  struct Unit {
    std::string_view name;
    double seconds;
  };
  for (const Unit& unit : {Unit{"s", 1}, Unit{"ms", 1e-3}, Unit{"us", 1e-6}, Unit{"ns", 1e-9}}) {
    if (metric->Is("unit", unit.name)) return value * unit.seconds;
  }
  metric->Fail("unit", "\"s\", \"ms\", \"us\" or \"ns\"");
  return value;
}

ServingPoint ReadAiperf(BenchFields fields) {
  ServingPoint point{.where = fields.where()};
  if (std::optional<BenchFields> config = fields.Inner("input_config")) {
    point.concurrency = config->FindCount("concurrency");
  }
  const auto average = [&fields](std::string_view key) {
    std::optional<BenchFields> metric = fields.Inner(key);
    return metric ? metric->Positive("avg") : 1.0;
  };
  point.input_tokens = average("input_sequence_length");
  point.output_tokens = average("output_sequence_length");
  point.requests = std::llround(average("request_count"));
  point.ttft_s = ReadAiperfLatency(fields, "time_to_first_token");
  point.tpot_s = ReadAiperfLatency(fields, "inter_token_latency");
  return point;
}

}  // namespace

bool BenchFields::Has(std::string_view key) const { return object_->if_contains(key) != nullptr; }

bool BenchFields::Is(std::string_view key, std::string_view text) const {
  const boost::json::value* value = object_->if_contains(key);
  return value != nullptr && value->is_string() && value->as_string() == text;
}

void BenchFields::Fail(std::string_view key, std::string_view allowed) {
  errors_->push_back({std::string(key) + " is " + Shown(object_->if_contains(key)) +
                          "; allowed: " + std::string(allowed),
                      where_});
}

double BenchFields::Positive(std::string_view key) {
  const boost::json::value* value = object_->if_contains(key);
  if (value != nullptr && value->is_number()) {
    const auto number = value->to_number<double>();
    if (std::isfinite(number) && number > 0) return number;
  }
  Fail(key, "a number > 0");
  return 1;
}

int64_t BenchFields::Count(std::string_view key) {
  const boost::json::value* value = object_->if_contains(key);
  if (value != nullptr && value->is_number()) {
    const auto number = value->to_number<double>();
    if (number >= 1 && number <= kMostWhole && number == std::floor(number)) {
      return static_cast<int64_t>(number);
    }
  }
  Fail(key, "a whole number >= 1");
  return 1;
}

std::optional<double> BenchFields::MaybePositive(std::string_view key) {
  const boost::json::value* value = object_->if_contains(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return Positive(key);
}

std::optional<BenchFields> BenchFields::Inner(std::string_view key) {
  const boost::json::value* value = object_->if_contains(key);
  if (value != nullptr && value->is_object()) {
    return BenchFields(value->as_object(), where_ + ": " + std::string(key), *errors_);
  }
  Fail(key, "an object");
  return std::nullopt;
}

int64_t BenchFields::FindCount(std::string_view key) {
  if (Has(key)) return Count(key);
  for (const auto& member : *object_) {
    if (!member.value().is_object()) continue;
    const boost::json::object& inner = member.value().as_object();
    if (inner.if_contains(key) != nullptr) {
      return BenchFields(inner, where_ + ": " + std::string(member.key()), *errors_).Count(key);
    }
  }
  Fail(key, "a whole number >= 1, here or one object below");
  return 1;
}

BenchFormat BenchFormatOf(const boost::json::object& object) {
  if (object.contains("conc") && object.contains("isl")) return BenchFormat::kInferenceX;
  if (object.contains("time_to_first_token")) return BenchFormat::kAiperf;
  if (object.contains("completed") && object.contains("total_input_tokens")) {
    return BenchFormat::kBenchServe;
  }
  return BenchFormat::kNone;
}

ServingPoint ReadBenchObject(BenchFormat format, BenchFields fields) {
  switch (format) {
    case BenchFormat::kInferenceX:
      return ReadInferenceX(std::move(fields));
    case BenchFormat::kAiperf:
      return ReadAiperf(std::move(fields));
    case BenchFormat::kBenchServe:
      return ReadBenchServe(std::move(fields));
    case BenchFormat::kNone:
      break;
  }
  SIM_CHECK(false);
}

}  // namespace moecast::serving
