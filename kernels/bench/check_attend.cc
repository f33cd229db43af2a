#include "kernels/bench/check_attend.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernels/bench/check_support.h"
#include "kernels/bench/drawn_pages.h"
#include "kernels/ops/attend/attend.h"
#include "kernels/ops/attend/naive.h"
#include "kernels/ops/attend/reference.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

// Probabilities and outputs are rounded to bf16, each worth 1.7e-3 alone; codes, scales and f16
// probabilities add less.
constexpr double kTolerance = 3e-3;
constexpr double kQueryScale = 2;

struct Case {
  std::string name;
  KvScheme scheme;
  KvShape kv;
  int32_t queries_per_head = 0;
  std::vector<int32_t> lengths;
  VisibleTokens visible = {};
  bool selects = false;  // every third page and the last
};

// Selected pages of each sequence; those in a scheme's bf16 window are not for a selection.
std::vector<std::vector<int32_t>> DrawSelection(const Case& c) {
  std::vector<std::vector<int32_t>> selected(c.lengths.size());
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    const int32_t first = c.scheme.window.sink / kPageTokens;
    const auto tokens = static_cast<int32_t>(QuantisedTokens(c.scheme.window, c.lengths[s]));
    const int32_t pages = (tokens + kPageTokens - 1) / kPageTokens;
    for (int32_t p = 0; p < pages; ++p)
      if (p % 3 == 0 || p + 1 == pages) selected[s].push_back(first + p);
  }
  return selected;
}

struct DeviceSelection {
  DeviceBuffer<int32_t> pages;
  DeviceBuffer<int32_t> counts;
  int32_t pages_per_sequence = 0;
};

DeviceSelection ToDevice(const std::vector<std::vector<int32_t>>& selected) {
  DeviceSelection device;
  std::vector<int32_t> counts;
  for (const auto& pages : selected) {
    counts.push_back(static_cast<int32_t>(pages.size()));
    device.pages_per_sequence = std::max(device.pages_per_sequence, counts.back());
  }
  std::vector<int32_t> flat;
  for (auto pages : selected) {
    pages.resize(static_cast<size_t>(device.pages_per_sequence));
    flat.insert(flat.end(), pages.begin(), pages.end());
  }
  device.pages = DeviceBuffer<int32_t>(std::span<const int32_t>(flat));
  device.counts = DeviceBuffer<int32_t>(std::span<const int32_t>(counts));
  return device;
}

Eigen::MatrixXd Expected(const Case& c, const DrawnPages& pages, const Operand& query,
                         const std::vector<std::vector<int32_t>>& selected, double scale) {
  const Eigen::Index heads = c.queries_per_head;
  Eigen::MatrixXd out(query.exact.rows(), c.kv.head_dim);
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    const std::vector<int32_t> seen = reference::SeenTokens(
        c.scheme, c.visible, c.selects ? &selected[s] : nullptr, c.lengths[s]);
    for (int32_t h = 0; h < c.kv.kv_heads; ++h) {
      const auto row =
          (static_cast<Eigen::Index>(s) * c.kv.kv_heads + h) * static_cast<Eigen::Index>(heads);
      const auto sequence = static_cast<int32_t>(s);
      out.middleRows(row, heads) = reference::Attend(
          query.exact.middleRows(row, heads), pages.Read(KvSide::kKeys, sequence, h, c.lengths[s]),
          pages.Read(KvSide::kValues, sequence, h, c.lengths[s]), seen, scale);
    }
  }
  return out;
}

// The rows of empty sequences are poison still; their places are taken from `expected`.
Eigen::MatrixXd WithoutEmpty(const Case& c, Eigen::MatrixXd out, const Eigen::MatrixXd& expected) {
  const Eigen::Index rows = static_cast<Eigen::Index>(c.kv.kv_heads) * c.queries_per_head;
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    if (c.lengths[s] > 0) continue;
    const Eigen::Index first = static_cast<Eigen::Index>(s) * rows;
    Require(out.middleRows(first, rows).array().isNaN().all(),
            c.name + ": output of an empty sequence was written");
    out.middleRows(first, rows) = expected.middleRows(first, rows);
  }
  return out;
}

// On all blocks, on few whose warps see many sequences, and again: a count that a launch left
// behind would show. RETURNS: the errors.
std::string CompareRuns(const Case& c, AttendArgs args, const Eigen::MatrixXd& expected,
                        DeviceBuffer<Bf16>& out, const Stream& stream) {
  struct Run {
    const char* name;
    int32_t most_blocks;
    void (*attend)(const AttendArgs&, cudaStream_t);
  };
  std::string line = c.name + ", head " + std::to_string(c.kv.head_dim) + ", " +
                     std::to_string(c.queries_per_head) + " queries a KV head: errors";
  for (const Run& run : {Run{"", 0, Attend}, Run{" on 3 blocks", 3, Attend},
                         Run{" on a block", 1, Attend}, Run{" naive", 0, AttendNaive}}) {
    args.most_blocks = run.most_blocks;
    out.Poison();
    CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
    run.attend(args, stream.get());
    const Eigen::MatrixXd got =
        WithoutEmpty(c, ToMatrix(out, expected.rows(), c.kv.head_dim), expected);
    std::array<char, 16> error{};
    std::snprintf(error.data(), error.size(), " %.1e",
                  RequireClose(got, expected, kTolerance, c.name + run.name));
    line += error.data();
  }
  return line;
}

AttendShape ShapeOf(const Case& c) {
  return {.sequences = static_cast<int32_t>(c.lengths.size()),
          .query_heads = c.kv.kv_heads * c.queries_per_head,
          .kv = c.kv};
}

std::string CheckCase(const Case& c, RngStream& rng, const Stream& stream) {
  const AttendShape shape = ShapeOf(c);
  const DrawnPages pages(c.scheme, c.kv, c.lengths, rng);
  const Operand query = Draw(rng, static_cast<Eigen::Index>(shape.sequences) * shape.query_heads,
                             c.kv.head_dim, kQueryScale);
  const std::vector<std::vector<int32_t>> selected = DrawSelection(c);
  const DeviceSelection device_selected = ToDevice(selected);
  const DeviceBuffer<Bf16> device_query{std::span<const Bf16>(query.row_major)};
  const DeviceBuffer<int32_t> lengths{std::span<const int32_t>(c.lengths)};
  DeviceBuffer<uint8_t> workspace(AttendWorkspaceBytes(shape));
  workspace.Zero();
  DeviceBuffer<Bf16> out(query.row_major.size());
  AttendArgs args{.shape = shape,
                  .scheme = c.scheme,
                  .cache = pages.View(),
                  .lengths = lengths.data(),
                  .query = device_query.data(),
                  .query_stride = static_cast<int64_t>(shape.query_heads) * c.kv.head_dim,
                  .softmax_scale = 1 / std::sqrt(static_cast<float>(c.kv.head_dim)),
                  .visible = c.visible,
                  .out = out.data(),
                  .workspace = workspace.data()};
  if (c.selects)
    args.selection = {.pages = device_selected.pages.data(),
                      .counts = device_selected.counts.data(),
                      .pages_per_sequence = device_selected.pages_per_sequence};
  const Eigen::MatrixXd expected =
      Expected(c, pages, query, selected, static_cast<double>(args.softmax_scale));
  return CompareRuns(c, args, expected, out, stream);
}

// Empty ones, single tokens, ends on and off pages and windows, one that many warps share.
std::vector<int32_t> Lengths(RngStream& rng) {
  std::vector<int32_t> lengths = {0, 1, 63, 64, 65, 300, 0, 1100};
  for (int i = 0; i < 2; ++i) lengths.push_back(1 + static_cast<int32_t>(rng.NextBelow(500)));
  return lengths;
}

KvScheme Pair(KvElement keys, KvElement values, int32_t head_dim) {
  const auto part = [&](KvElement element) {
    const int32_t group = element == KvElement::kBf16 ? 0 : IsFp8(element) ? head_dim : 64;
    return KvPart{.element = element, .axis = ScaleAxis::kToken, .group = group};
  };
  KvScheme scheme{.keys = part(keys), .values = part(values)};
  scheme.window.flush = 128;
  if (IsInteger(keys)) scheme.keys.axis = ScaleAxis::kChannel;
  return scheme;
}

// Each scheme with other ratios of heads, other visible tokens.
std::vector<Case> CasesOfSchemes(RngStream& rng) {
  std::vector<Case> cases;
  for (const int32_t head_dim : {64, 128}) {
    for (const CheckScheme& named : SchemesForChecks(head_dim)) {
      const KvShape kv{.kv_heads = 2, .head_dim = head_dim};
      const std::vector<int32_t> lengths = Lengths(rng);
      cases.push_back({named.name, named.scheme, kv, 8, lengths});
      cases.push_back({named.name, named.scheme, kv, 16, lengths});
      cases.push_back({named.name + ", sliding window",
                       named.scheme,
                       kv,
                       4,
                       lengths,
                       {.sink = 10, .window = 200}});
      cases.push_back({named.name + ", selected pages", named.scheme, kv, 1, lengths, {}, true});
    }
  }
  return cases;
}

std::vector<Case> CasesOfPairs() {
  std::vector<Case> cases;
  for (const KvElement keys :
       {KvElement::kBf16, KvElement::kInt8, KvElement::kInt4, KvElement::kInt2, KvElement::kInt1}) {
    for (const KvElement values : {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt4,
                                   KvElement::kInt2, KvElement::kInt1}) {
      const std::string name =
          "keys " + std::string(Name(keys)) + ", values " + std::string(Name(values));
      cases.push_back(
          {name, Pair(keys, values, 128), {.kv_heads = 1, .head_dim = 128}, 5, {700, 9, 64}});
    }
  }
  return cases;
}

// Of as many units that on three blocks each has one whole sequence: BlocksFor of split_plan.h.
std::vector<Case> CasesOfWholeSequences() {
  const KvShape kv{.kv_heads = 1, .head_dim = 64};
  const KvPart int4{.element = KvElement::kInt4, .axis = ScaleAxis::kToken, .group = 64};
  return {{"bf16, long sequences", {}, kv, 8, {1300, 1300, 1300}},
          {"int4, long sequences", {.keys = int4, .values = int4}, kv, 8, {5000, 5000, 5000}}};
}

// Those that fit.
std::vector<Case> Cases(RngStream& rng) {
  std::vector<Case> cases = CasesOfSchemes(rng);
  for (const auto& more : {CasesOfPairs(), CasesOfWholeSequences()})
    cases.insert(cases.end(), more.begin(), more.end());
  std::erase_if(cases, [](const Case& c) { return !Fits(ShapeOf(c), c.scheme); });
  return cases;
}

}  // namespace

void CheckAttend(uint64_t seed, const CaseRange& range, const Stream& stream,
                 const std::function<void(const std::string& line)>& report) {
  RngStream rng({.seed = seed}, "kernels/check_attend");
  const std::vector<Case> cases = Cases(rng);
  ForCases(range, static_cast<int>(cases.size()), "attend", report, [&](int n) {
    RngStream drawn({.seed = seed}, "kernels/check_attend/case", static_cast<uint64_t>(n));
    return CheckCase(cases[static_cast<size_t>(n - 1)], drawn, stream);
  });
}

}  // namespace moecast::kernels
