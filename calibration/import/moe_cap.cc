#include "calibration/import/moe_cap.h"

#include <boost/json.hpp>
#include <cmath>

#include "calibration/import/table.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

namespace json = boost::json;
using enum Feature;

/// The fields of one line; the first problem is kept.
class Line {
 public:
  Line(const json::object& object, std::string where) : object_(object), where_(std::move(where)) {}

  double Number(std::string_view key, double least) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr || !value->is_number()) return Fail(key, "a number"), least;
    const auto number = value->to_number<double>();
    if (!std::isfinite(number) || number < least) {
      return Fail(key, "a number >= " + std::to_string(least)), least;
    }
    return number;
  }
  std::string Text(std::string_view key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr || !value->is_string()) return Fail(key, "a text"), std::string();
    return std::string(value->as_string());
  }
  void Fail(std::string_view key, const std::string& allowed) {
    if (problem_) return;
    const json::value* value = object_.if_contains(key);
    problem_ =
        Error{std::string(key) + " is " + (value == nullptr ? "missing" : json::serialize(*value)) +
                  "; allowed: " + allowed,
              where_};
  }
  [[nodiscard]] const std::optional<Error>& problem() const { return problem_; }

 private:
  const json::object& object_;
  std::string where_;
  std::optional<Error> problem_;
};

Result<KernelRow> ParseLine(std::string_view text, const RowSource& source,
                            const ImportTarget& target) {
  boost::system::error_code failure;
  const json::value value = json::parse(text, failure);
  if (failure || !value.is_object()) {
    return Error{"no JSON object" + (failure ? ": " + failure.message() : std::string()),
                 source.Text()};
  }
  Line line(value.as_object(), source.Text());
  KernelRow row;
  row.op = "step";
  row.variant = line.Text("forward_mode");
  KernelFeatures& f = row.features;
  f[kBatch] = line.Number("batch_size", 1);
  f[kContext] = line.Number("seq_lens_sum", 1);
  f[kDistinct] = line.Number("expert_activation", 0);
  f[kTokens] = row.variant == "prefill" ? f[kContext] : f[kBatch];
  row.time_ns = line.Number("latency", 1 / kNsPerSecond) * kNsPerSecond;
  row.label = "step " + ShortestDouble(line.Number("forward_pass_id", 0));
  if (row.variant != "prefill" && row.variant != "decode") {
    line.Fail("forward_mode", "\"prefill\" or \"decode\"");
  }
  if (line.problem()) return *line.problem();
  row.gpu = target.gpu;
  row.engine = target.engine;
  row.source = source;
  return row;
}

}  // namespace

Result<Imported> ImportMoeCap(std::string text, const std::string& name,
                              const ImportTarget& target) {
  SIM_TRY(const std::string bytes, Unpack(std::move(text), name));
  Imported into;
  Errors errors;
  into.files.push_back({.file = name});
  std::string_view rest = bytes;
  for (int number = 1; !rest.empty() && errors.size() < kMostProblems; ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++into.files.back().rows;
    Result<KernelRow> row = ParseLine(line, {.file = name, .line = number}, target);
    if (row.ok()) {
      AddRow(into, std::move(*row), ComputeClass::kBf16, target.device);
    } else {
      errors.push_back(row.errors().front());
    }
  }
  if (!errors.empty()) return errors;
  if (into.rows.empty()) return Error{"holds no step", name};
  return into;
}

}  // namespace moecast::calibration
