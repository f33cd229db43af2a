#include "kernels/bench/check_attend_prefill.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "kernels/bench/check_support.h"
#include "kernels/bench/drawn_pages.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/attend_prefill/reference.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Eigen::MatrixXd;

constexpr double kTolerance = 3e-3;       // bf16 outputs of bf16 weights and fp32 sums
constexpr double kCodesTolerance = 4e-3;  // what codes stand for is rounded to bf16 besides
constexpr int32_t kUnusedRows = 5;        // behind the last sequence, not-a-number

struct AttendCase {
  AttendPrefillShape shape;            // sequences, rows and scale are filled in
  std::vector<int32_t> new_tokens;     // of each sequence
  std::vector<int32_t> expanded = {};  // keys in front of the chunk's, of each sequence
  std::vector<int32_t> cached = {};    // tokens in pages; empty: no past
  KvScheme scheme = {};
  std::string scheme_name = "none";
};

std::vector<int32_t> Offsets(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> offsets{0};
  for (const int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

// Rows of all heads side by side, as slices of one matrix, followed by rows that nobody may use.
struct DrawnRows {
  Operand operand;
  DeviceBuffer<Bf16> device;
  int32_t dim;
  Eigen::Index first_column;

  [[nodiscard]] HeadRows View() const {
    return {.data = device.data() + first_column,
            .stride = static_cast<int64_t>(operand.exact.cols())};
  }
  [[nodiscard]] MatrixXd Head(int32_t head, int32_t row, int32_t rows) const {
    return operand.exact.block(row, first_column + int64_t{head} * dim, rows, dim);
  }
};

DrawnRows DrawRows(RngStream& rng, int32_t rows, int32_t heads, int32_t dim, double scale) {
  constexpr Eigen::Index kOtherColumns = 24;  // of the matrix the rows are a slice of
  Operand operand = Draw(rng, rows + kUnusedRows, int64_t{heads} * dim + 2 * kOtherColumns, scale);
  const auto columns = static_cast<size_t>(operand.exact.cols());
  for (size_t i = static_cast<size_t>(rows) * columns; i < operand.row_major.size(); ++i)
    operand.row_major[i] = __float2bfloat16(std::numeric_limits<float>::quiet_NaN());
  DeviceBuffer<Bf16> device{std::span<const Bf16>(operand.row_major)};
  return {std::move(operand), std::move(device), dim, kOtherColumns};
}

struct CaseData {
  std::vector<int32_t> offsets;
  std::vector<int32_t> key_offsets;
  DrawnRows query;
  DrawnRows key;
  DrawnRows value;
};

CaseData DrawCase(const AttendCase& check, RngStream& rng) {
  const AttendPrefillShape& s = check.shape;
  std::vector<int32_t> keys = check.new_tokens;
  for (size_t i = 0; i < check.expanded.size(); ++i) keys[i] += check.expanded[i];
  CaseData data{
      .offsets = Offsets(check.new_tokens),
      .key_offsets = Offsets(keys),
      .query = DrawRows(rng, Offsets(check.new_tokens).back(), s.query_heads, s.key_dim, 2),
      .key = DrawRows(rng, Offsets(keys).back(), s.kv_heads, s.key_dim, 2),
      .value = DrawRows(rng, Offsets(keys).back(), s.kv_heads, s.value_dim, 1)};
  return data;
}

MatrixXd Stacked(const MatrixXd& top, const MatrixXd& bottom) {
  MatrixXd both(top.rows() + bottom.rows(), bottom.cols());
  if (top.rows() > 0) both.topRows(top.rows()) = top;
  both.bottomRows(bottom.rows()) = bottom;
  return both;
}

MatrixXd Expected(const AttendCase& check, const CaseData& data, const DrawnPages* pages) {
  const AttendPrefillShape& s = check.shape;
  MatrixXd expected(data.offsets.back(), s.query_heads * s.value_dim);
  for (int32_t sequence = 0; sequence < static_cast<int32_t>(check.new_tokens.size()); ++sequence) {
    const auto i = static_cast<size_t>(sequence);
    const int32_t keys = data.key_offsets[i + 1] - data.key_offsets[i];
    const int32_t past = check.cached.empty() ? 0 : check.cached[i];
    for (int32_t head = 0; head < s.query_heads; ++head) {
      const int32_t kv_head = head / (s.query_heads / s.kv_heads);
      MatrixXd past_keys;
      MatrixXd past_values;
      if (past > 0) {
        past_keys = pages->Read(KvSide::kKeys, sequence, kv_head, past);
        past_values = pages->Read(KvSide::kValues, sequence, kv_head, past);
      }
      expected.block(data.offsets[i], int64_t{head} * s.value_dim, check.new_tokens[i],
                     s.value_dim) =
          reference::CausalAttention(
              data.query.Head(head, data.offsets[i], check.new_tokens[i]),
              Stacked(past_keys, data.key.Head(kv_head, data.key_offsets[i], keys)),
              Stacked(past_values, data.value.Head(kv_head, data.key_offsets[i], keys)),
              static_cast<double>(s.scale), past + keys - check.new_tokens[i], s.window);
    }
  }
  return expected;
}

std::string Describe(const AttendCase& check) {
  const AttendPrefillShape& s = check.shape;
  std::string text = "heads " + std::to_string(s.query_heads) + "/" + std::to_string(s.kv_heads) +
                     " of " + std::to_string(s.key_dim) + "/" + std::to_string(s.value_dim) +
                     (s.window > 0 ? ", window " + std::to_string(s.window) : "") + ", tokens";
  for (const int32_t tokens : check.new_tokens) text += " " + std::to_string(tokens);
  if (!check.cached.empty()) {
    text += ", " + check.scheme_name + " past";
    for (const int32_t tokens : check.cached) text += " " + std::to_string(tokens);
  }
  return text;
}

std::string CheckCase(AttendCase check, RngStream& rng, const Stream& stream) {
  AttendPrefillShape& s = check.shape;
  s.sequences = static_cast<int32_t>(check.new_tokens.size());
  s.scale = 1.0F / std::sqrt(static_cast<float>(s.key_dim));
  const CaseData data = DrawCase(check, rng);
  s.query_rows = data.offsets.back() + kUnusedRows;
  s.key_rows = data.key_offsets.back() + kUnusedRows;
  const DeviceBuffer<int32_t> offsets{std::span<const int32_t>(data.offsets)};
  const DeviceBuffer<int32_t> key_offsets{std::span<const int32_t>(data.key_offsets)};
  const DeviceBuffer<int32_t> cached{std::span<const int32_t>(check.cached)};
  std::optional<DrawnPages> pages;
  AttendPast past;
  DeviceBuffer<uint8_t> expanded;
  if (!check.cached.empty()) {
    int64_t tiles = 0;
    for (const int32_t tokens : check.cached)
      tiles += (tokens + kPastTileTokens - 1) / kPastTileTokens;
    expanded = DeviceBuffer<uint8_t>(AttendPrefillPastBytes(s, tiles));
    expanded.Poison();
    pages.emplace(check.scheme, KvShape{.kv_heads = s.kv_heads, .head_dim = s.key_dim},
                  check.cached, rng);
    past = {.scheme = check.scheme,
            .cache = pages->View(),
            .tokens = cached.data(),
            .expanded = expanded.data()};
  }
  DeviceBuffer<Bf16> out(static_cast<size_t>(s.query_rows) *
                         static_cast<size_t>(s.query_heads * s.value_dim));
  DeviceBuffer<uint32_t> counters(kAttendPrefillCounters);
  counters.Zero();
  double error = 0;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the counters are left as they were found
    out.Poison();
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
    AttendPrefill(s,
                  {.query = data.query.View(),
                   .key = data.key.View(),
                   .value = data.value.View(),
                   .offsets = offsets.data(),
                   .key_offsets = check.expanded.empty() ? nullptr : key_offsets.data()},
                  past, out.data(), counters.data(), stream.get());
    const MatrixXd rows = ToMatrix(out, s.query_rows, int64_t{s.query_heads} * s.value_dim);
    Require(rows.bottomRows(kUnusedRows).array().isNaN().all(),
            Describe(check) + ": wrote behind the last sequence");
    error = RequireClose(
        rows.topRows(data.offsets.back()), Expected(check, data, pages ? &*pages : nullptr),
        check.scheme == KvScheme{} ? kTolerance : kCodesTolerance, Describe(check));
  }
  return Describe(check) + ": error " + std::to_string(error);
}

std::vector<AttendCase> Cases() {
  const AttendPrefillShape wide{.query_heads = 8, .kv_heads = 2, .key_dim = 128, .value_dim = 128};
  const AttendPrefillShape narrow{.query_heads = 4, .kv_heads = 4, .key_dim = 64, .value_dim = 64};
  const AttendPrefillShape latent{
      .query_heads = 2, .kv_heads = 2, .key_dim = 192, .value_dim = 128};
  std::vector<AttendCase> cases{
      {wide, {1}},
      {wide, {128, 0, 129, 300}},
      {narrow, {257, 64, 1, 0}},
      {latent, {383, 5, 128}},
      {wide, {130, 70}, {300, 1}},
      {latent, {130, 1, 64}, {127, 0, 500}},
  };
  AttendPrefillShape sliding = narrow;
  sliding.window = 128;
  cases.push_back({sliding, {1, 500, 129}});
  cases.push_back({sliding, {300, 3, 64}, {}, {333, 128, 1000}, {}, "bf16"});
  for (const CheckScheme& scheme : SchemesForChecks(wide.key_dim))
    cases.push_back({wide, {65, 1, 0, 140}, {}, {200, 64, 10, 333}, scheme.scheme, scheme.name});
  for (const CheckScheme& scheme : SchemesForChecks(narrow.key_dim))
    cases.push_back({narrow, {1, 200}, {}, {449, 128}, scheme.scheme, scheme.name});
  return cases;
}

}  // namespace

void CheckAttendPrefill(uint64_t seed, const Stream& stream,
                        const std::function<void(const std::string& line)>& report) {
  uint64_t index = 0;
  for (const AttendCase& check : Cases()) {
    RngStream rng({.seed = seed}, "kernels/check_attend_prefill", index++);
    report(CheckCase(check, rng, stream));
  }
}

}  // namespace moecast::kernels
