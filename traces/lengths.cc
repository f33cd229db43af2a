#include "traces/lengths.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sim/base/distributions.h"
#include "sim/base/text.h"
#include "traces/request.h"
#include "traces/request_csv.h"

namespace moecast {
namespace {

constexpr double kMaxCv = 100;

void CheckTokens(const std::string& field, int64_t value, int64_t least, Errors& errors) {
  if (value >= least && value <= kMaxRequestTokens) return;
  errors.push_back({.message = "is " + std::to_string(value) + "; expected a whole number from " +
                               std::to_string(least) + " to " + std::to_string(kMaxRequestTokens),
                    .where = field});
}

// The maximum is judged against a minimum that is itself allowed.
void CheckTokenRange(const std::string& side, int64_t least, int64_t most, Errors& errors) {
  CheckTokens(side + ".min_tokens", least, 1, errors);
  CheckTokens(side + ".max_tokens", most, std::clamp<int64_t>(least, 1, kMaxRequestTokens), errors);
}

void Check(const std::string& side, const FixedLength& fixed, Errors& errors) {
  CheckTokens(side + ".tokens", fixed.tokens, 1, errors);
}
void Check(const std::string& side, const UniformLength& uniform, Errors& errors) {
  CheckTokenRange(side, uniform.min_tokens, uniform.max_tokens, errors);
}
void Check(const std::string& side, const LognormalLength& lognormal, Errors& errors) {
  CheckTokenRange(side, lognormal.min_tokens, lognormal.max_tokens, errors);
  const double mean = lognormal.mean_tokens;
  if (!(mean > 0 && mean <= static_cast<double>(kMaxRequestTokens))) {
    errors.push_back({.message = "is " + ShortestDouble(mean) +
                                 "; expected a number above 0 up to " +
                                 std::to_string(kMaxRequestTokens),
                      .where = side + ".mean_tokens"});
  }
  if (!(lognormal.cv >= 0 && lognormal.cv <= kMaxCv)) {
    errors.push_back({.message = "is " + ShortestDouble(lognormal.cv) +
                                 "; expected a number from 0 to " + ShortestDouble(kMaxCv),
                      .where = side + ".cv"});
  }
}
void Check(const std::string& /*side*/, const EmpiricalLength& /*empirical*/, Errors& /*errors*/) {}

Result<std::vector<RequestLengths>> ReadRows(const std::filesystem::path& path) {
  SIM_TRY(auto reader, CsvRequestReader::OpenLengths(path));
  std::vector<RequestLengths> rows;
  Request request;
  while (true) {
    SIM_TRY(const bool more, reader.Next(request));
    if (!more) break;
    if (request.output_tokens == 0) continue;  // a failed request has no length
    rows.push_back({.input_tokens = static_cast<int32_t>(request.input_tokens),
                    .output_tokens = static_cast<int32_t>(request.output_tokens)});
  }
  if (rows.empty()) {
    return Error{.message = "has no rows; expected at least one request", .where = path.string()};
  }
  return rows;
}

// Draws one of the two lengths of a request. A fixed length costs no stream.
struct Draw {
  Seed seed;
  std::string_view stream;
  uint64_t request;
  const std::vector<RequestLengths>& rows;  // of an empirical law
  int32_t RequestLengths::*side;

  int32_t operator()(const FixedLength& fixed) const { return static_cast<int32_t>(fixed.tokens); }
  int32_t operator()(const UniformLength& uniform) const {
    RngStream rng(seed, stream, request);
    return static_cast<int32_t>(SampleUniformInt(rng, uniform.min_tokens, uniform.max_tokens));
  }
  int32_t operator()(const LognormalLength& lognormal) const {
    RngStream rng(seed, stream, request);
    const double tokens = SampleLognormal(rng, lognormal.mean_tokens, lognormal.cv);
    return static_cast<int32_t>(std::clamp(std::round(tokens),
                                           static_cast<double>(lognormal.min_tokens),
                                           static_cast<double>(lognormal.max_tokens)));
  }
  int32_t operator()(const EmpiricalLength& /*empirical*/) const { return Row().*side; }
  [[nodiscard]] RequestLengths Row() const {
    RngStream rng(seed, stream, request);
    return rows[rng.NextBelow(rows.size())];
  }
};

}  // namespace

LengthSampler::LengthSampler(const SyntheticWorkload& workload, Seed seed)
    : input_(workload.input), output_(workload.output), seed_(seed) {}

Result<LengthSampler> LengthSampler::Make(const SyntheticWorkload& workload, Seed seed) {
  Errors errors;
  std::visit([&](const auto& length) { Check("input", length, errors); }, workload.input);
  std::visit([&](const auto& length) { Check("output", length, errors); }, workload.output);
  if (!errors.empty()) return errors;

  LengthSampler sampler(workload, seed);
  const auto* const input = std::get_if<EmpiricalLength>(&workload.input);
  const auto* const output = std::get_if<EmpiricalLength>(&workload.output);
  sampler.one_row_ = input != nullptr && output != nullptr &&
                     input->csv.lexically_normal() == output->csv.lexically_normal();
  if (input != nullptr) {
    SIM_TRY(sampler.input_rows_, ReadRows(input->csv));
  }
  if (output != nullptr && !sampler.one_row_) {
    SIM_TRY(sampler.output_rows_, ReadRows(output->csv));
  }
  return sampler;
}

RequestLengths LengthSampler::Sample(uint64_t request) const {
  const Draw input{.seed = seed_,
                   .stream = "workload/input_tokens",
                   .request = request,
                   .rows = input_rows_,
                   .side = &RequestLengths::input_tokens};
  if (one_row_) return input.Row();
  const Draw output{.seed = seed_,
                    .stream = "workload/output_tokens",
                    .request = request,
                    .rows = output_rows_,
                    .side = &RequestLengths::output_tokens};
  return {.input_tokens = std::visit(input, input_), .output_tokens = std::visit(output, output_)};
}

}  // namespace moecast
