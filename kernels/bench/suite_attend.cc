#include "kernels/bench/suite_attend.h"

#include <algorithm>

#include "kernels/bench/attend_bench.h"
#include "kernels/bench/drawn_lengths.h"
#include "kernels/bench/kv_rows.h"
#include "kernels/ops/kv/kv_bits.h"

namespace moecast::kernels {
namespace {

constexpr double kArenaBytes = 20e9;
// A cache that other launches have pushed out of the second-level cache since its last turn.
constexpr double kCachesBetweenUses = 2;
constexpr int kMostCopies = 256;

struct HeadShape {
  const char* name;
  int32_t query_heads;
  KvShape kv;
};
constexpr HeadShape kMain{"q32 kv8 d128", 32, {8, 128}};
constexpr HeadShape kOthers[] = {
    {"q32 kv4 d128", 32, {4, 128}}, {"q64 kv4 d128", 64, {4, 128}},
    {"q64 kv8 d128", 64, {8, 128}}, {"q16 kv16 d128", 16, {16, 128}},
    {"q64 kv8 d64", 64, {8, 64}},
};

struct FormatScheme {
  std::string format;
  KvScheme scheme;
  std::string layer = "all";  // of kernels/data/kv_schemes.csv
};

KvPart PerToken(KvElement element, int32_t group) {
  return {.element = element, .axis = ScaleAxis::kToken, .group = group};
}
KvPart PerChannel(KvElement element, int32_t group) {
  return {.element = element, .axis = ScaleAxis::kChannel, .group = group};
}
KvScheme Kivi(KvElement keys, KvElement values, int32_t group, int32_t residual) {
  return {.keys = PerChannel(keys, group),
          .values = PerToken(values, group),
          .window = {.flush = residual}};
}

constexpr int32_t kGroup = 32;
constexpr int32_t kResidual = 128;
constexpr const char* kOneBit = "keys 1 values 1";
constexpr const char* kPlain = "bf16";

// One of every width, as the schemes are published.
std::vector<FormatScheme> Widths(int32_t head_dim) {
  const auto both = [&](KvElement element) {
    return KvScheme{.keys = PerToken(element, head_dim), .values = PerToken(element, head_dim)};
  };
  return {
      {kPlain, {}},
      {"fp8_e4m3", both(KvElement::kE4m3)},
      {"int8", both(KvElement::kInt8)},
      {"int4", both(KvElement::kInt4)},
      {"kivi4", Kivi(KvElement::kInt4, KvElement::kInt4, kGroup, kResidual)},
      {"kivi2", Kivi(KvElement::kInt2, KvElement::kInt2, kGroup, kResidual)},
      {"asymkv", Kivi(KvElement::kInt1, KvElement::kInt1, kGroup, kResidual), kOneBit},
  };
}

// What the widths leave out, at one size.
std::vector<FormatScheme> Others(int32_t head_dim) {
  std::vector<FormatScheme> schemes = {
      {"fp8_e5m2",
       {.keys = PerToken(KvElement::kE5m2, head_dim),
        .values = PerToken(KvElement::kE5m2, head_dim)}},
      {"asymkv", Kivi(KvElement::kInt2, KvElement::kInt1, kGroup, kResidual), "keys 2 values 1"},
      {"oscar_int2",
       {.keys = PerToken(KvElement::kInt2, head_dim),
        .values = PerToken(KvElement::kInt2, head_dim),
        .window = {.sink = 64, .recent = 64, .flush = 64},
        .rotation = KeyRotation::kGiven}},
      {"saw_int4",
       {.keys = PerToken(KvElement::kInt4, head_dim),
        .values = PerToken(KvElement::kInt4, head_dim)}},
  };
  FormatScheme shared{"xquant", Kivi(KvElement::kInt2, KvElement::kInt1, kGroup, kResidual),
                      "keys 2 values shared"};
  shared.scheme.values.shares_codes = true;
  schemes.push_back(shared);
  for (const int32_t group : {64, 128}) {
    schemes.push_back({"kivi4", Kivi(KvElement::kInt4, KvElement::kInt4, group, kResidual)});
    schemes.push_back({"kivi2", Kivi(KvElement::kInt2, KvElement::kInt2, group, kResidual)});
    schemes.push_back(
        {"asymkv", Kivi(KvElement::kInt1, KvElement::kInt1, group, kResidual), kOneBit});
  }
  for (const int32_t residual : {64, 256})
    schemes.push_back({"kivi2", Kivi(KvElement::kInt2, KvElement::kInt2, kGroup, residual)});
  return schemes;
}

std::vector<int32_t> Even(int32_t sequences, int32_t context) {
  return std::vector<int32_t>(static_cast<size_t>(sequences), context);
}
// One sequence of half the tokens.
std::vector<int32_t> OneLong(int32_t sequences, int32_t context) {
  std::vector<int32_t> lengths = Even(sequences, context / 2);
  lengths[0] = context * sequences - (sequences - 1) * (context / 2);
  return lengths;
}
// Deviations of the logarithm of drawn lengths: prompts and answers of anything, and of one kind.
struct Spread {
  const char* regime;
  double deviation;
};
constexpr Spread kWide{"lognormal", 1};
constexpr Spread kNarrow{"lognormal 0.3", 0.3};

class Rows {
 public:
  explicit Rows(const SuiteContext& context)
      : context_(context),
        arena_(static_cast<size_t>(std::min(kArenaBytes, context.environment.memory_bytes / 4))) {}

  void Append(const HeadShape& heads, const std::string& regime, const FormatScheme& named,
              const AttendCase& attend, bool naive = false);
  [[nodiscard]] std::vector<KvMeasurement> Take() { return std::move(rows_); }

 private:
  const SuiteContext& context_;
  DeviceBuffer<uint8_t> arena_;
  std::vector<KvMeasurement> rows_;
};

KvMeasurement Describe(const SuiteContext& context, const HeadShape& heads,
                       const std::string& regime, const FormatScheme& named,
                       const AttendCase& attend) {
  const KvScheme& scheme = named.scheme;
  const AttendTraffic traffic = CachedTraffic(attend);
  KvMeasurement row;
  row.op = "attend";
  row.model = heads.name;
  row.regime = regime;
  row.format = named.format;
  row.sequences = attend.shape.sequences;
  row.cached_tokens = traffic.tokens;
  row.max_context = *std::max_element(attend.lengths.begin(), attend.lengths.end());
  row.new_tokens = attend.shape.sequences;
  row.query_heads = heads.query_heads;
  row.kv_heads = heads.kv.kv_heads;
  row.head_dim = heads.kv.head_dim;
  row.key_bits = BitsOf(scheme.keys.element);
  row.value_bits = BitsOf(scheme.values.element);
  row.group = scheme.keys.group;
  row.residual = scheme.window.recent + scheme.window.flush;
  row.window = attend.visible.window;
  row.selected_tokens = attend.selected_pages * kPageTokens;
  for (const int32_t length : attend.lengths) {
    const double part = length / traffic.tokens;
    row.stored_bits += part * StoredBits(scheme, heads.kv.head_dim, length);
    row.read_bits += part * ReadBits(scheme, heads.kv.head_dim, length);
  }
  row.equivalent_bits = EquivalentBits(scheme);
  row.output_error = OutputError(context.kv_accuracy, {.scheme = named.format,
                                                       .layer = named.layer,
                                                       .head_dim = heads.kv.head_dim,
                                                       .group = scheme.values.group});
  row.bytes = traffic.bytes;
  row.flops = traffic.flops;
  return row;
}

void Rows::Append(const HeadShape& heads, const std::string& regime, const FormatScheme& named,
                  const AttendCase& attend, bool naive) {
  const Stream& stream = context_.bench.stream;
  const AttendBench bench(attend, arena_, kCachesBetweenUses * context_.environment.l2_bytes,
                          kMostCopies, stream);
  KvMeasurement row = Describe(context_, heads, regime, named, attend);
  if (naive) row.op = "attend_naive";
  const ReplayPlan plan{.min_launches = std::max(4, bench.copies()),
                        .period = std::max(16, bench.copies())};
  AppendMeasured(
      context_, plan,
      [&](int launch) { naive ? bench.LaunchNaive(launch, stream) : bench.Launch(launch, stream); },
      row, rows_);
}

AttendCase CaseOf(const HeadShape& heads, const FormatScheme& named, std::vector<int32_t> lengths) {
  const auto sequences = static_cast<int32_t>(lengths.size());
  return {.shape = {.sequences = sequences, .query_heads = heads.query_heads, .kv = heads.kv},
          .scheme = named.scheme,
          .lengths = std::move(lengths)};
}

void AppendDrawn(const HeadShape& heads, const Spread& spread, const FormatScheme& named,
                 int32_t batch, int32_t context, Rows& rows) {
  rows.Append(heads, spread.regime, named,
              CaseOf(heads, named, LognormalLengths(batch, context, spread.deviation)));
}

// Batches and contexts of one head shape, capped by tokens.
void AppendGrid(const HeadShape& heads, const std::vector<int32_t>& batches,
                const std::vector<int32_t>& contexts, Rows& rows) {
  constexpr int64_t kMostTokens = 1 << 20;
  for (const int32_t batch : batches) {
    for (const int32_t context : contexts) {
      if (static_cast<int64_t>(batch) * context > kMostTokens) continue;
      for (const FormatScheme& named : Widths(heads.kv.head_dim))
        rows.Append(heads, "even", named, CaseOf(heads, named, Even(batch, context)));
    }
  }
}

// Lengths that differ, at the tokens of an even row.
void AppendSkewed(const HeadShape& heads, Rows& rows) {
  constexpr int32_t kContext = 4096;
  for (const int32_t batch : {16, 64}) {
    for (const FormatScheme& named : Widths(heads.kv.head_dim)) {
      rows.Append(heads, "one_long", named, CaseOf(heads, named, OneLong(batch, kContext)));
      AppendDrawn(heads, kWide, named, batch, kContext, rows);
    }
  }
}

// Short sequences of different lengths, as steps have them.
void AppendMixed(const HeadShape& heads, Rows& rows) {
  for (const int32_t batch : {2, 8, 32, 64}) {
    for (const int32_t context : {256, 1024}) {
      for (const FormatScheme& named : Widths(heads.kv.head_dim))
        AppendDrawn(heads, kWide, named, batch, context, rows);
    }
  }
}

// Steps of the models that scenarios/validation executes: in bf16 at every half octave of
// sequences, of both spreads; other widths at fewer.
void AppendSteps(const HeadShape& heads, Rows& rows) {
  for (const FormatScheme& named : Widths(heads.kv.head_dim)) {
    const bool bf16 = named.format == kPlain;
    for (const int32_t batch : {2, 4, 6, 8, 12, 16, 24, 32, 48}) {
      for (const int32_t context : {128, 256, 512, 1024, 2048}) {
        const bool few = (batch == 4 || batch == 16 || batch == 48) && context >= 512;
        if (!bf16 && !few) continue;
        AppendDrawn(heads, kNarrow, named, batch, context, rows);
        const bool in_mixed =
            (batch == 2 || batch == 8 || batch == 32) && (context == 256 || context == 1024);
        if (bf16 && !in_mixed && context < 2048)
          AppendDrawn(heads, kWide, named, batch, context, rows);
      }
    }
  }
}

void AppendSparse(const HeadShape& heads, Rows& rows) {
  constexpr int32_t kBatch = 16;
  constexpr int32_t kContext = 32768;
  for (const FormatScheme& named : Widths(heads.kv.head_dim)) {
    AttendCase attend = CaseOf(heads, named, Even(kBatch, kContext));
    for (const int32_t window : {1024, 8192}) {
      attend.visible = {.sink = 64, .window = window};
      rows.Append(heads, "sliding", named, attend);
    }
    attend.visible = {};
    for (const int32_t budget : {1024, 8192}) {
      attend.selected_pages = budget / kPageTokens;
      rows.Append(heads, "selected", named, attend);
    }
  }
}

}  // namespace

std::vector<KvMeasurement> RunAttendSuite(const SuiteContext& context) {
  Rows rows(context);
  AppendGrid(kMain, {1, 4, 16, 64, 256},
             {128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144}, rows);
  for (const HeadShape& heads : kOthers)
    AppendGrid(heads, {1, 8, 16, 64}, {256, 1024, 4096, 16384}, rows);
  for (const FormatScheme& named : Others(kMain.kv.head_dim)) {
    rows.Append(kMain, "even", named, CaseOf(kMain, named, Even(16, 1024)));
    rows.Append(kMain, "even", named, CaseOf(kMain, named, Even(16, 16384)));
  }
  AppendSkewed(kMain, rows);
  AppendMixed(kMain, rows);
  for (const HeadShape& heads : kOthers) AppendMixed(heads, rows);
  for (const HeadShape& heads : {kOthers[0], kOthers[3], kOthers[4]}) AppendSteps(heads, rows);
  AppendSparse(kMain, rows);
  const FormatScheme bf16{kPlain, {}};
  rows.Append(kMain, "even", bf16, CaseOf(kMain, bf16, Even(4, 512)), true);
  return rows.Take();
}

}  // namespace moecast::kernels
