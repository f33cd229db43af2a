#include "calibration/suite_names.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "sim/model/selection_kind.h"

namespace moecast::calibration {
namespace {

using enum Feature;

/// Bytes that the simulator counts per row and element of `hidden` (docs/model/features.md): a norm
/// reads and writes residual and branch in bf16, rotary embedding reads and writes heads in bf16,
/// sampling reads float32 logits, the embedding reads and writes a row in bf16, SwiGLU reads two
/// elements for each that it writes, and copies count what they read and write.
struct SmallOp {
  std::string_view suite;
  std::string_view form;
  double bytes_per_element;
};
constexpr std::array<SmallOp, 7> kSmallOps{{{"norm", "norm", 4 * 2},
                                            {"rope", "rope", 2 * 2},
                                            {"sample", "sampling", sizeof(float)},
                                            {"embed", "embedding", 2 * 2},
                                            {"activation", "activation", 3 * 2},
                                            {"mla_past", "mla_past", 2},
                                            {"mla_keys", "mla_keys", 2}}};
/// Products whose weights are all read: N in `intermediate`, K in `hidden`.
constexpr std::array<std::string_view, 3> kProducts{"dense", "absorb_query", "absorb_value"};

constexpr std::string_view kPrefill = "prefill_";
/// Rows of a decode kernel's tile; on average an expert is padded by half a tile less half a row.
constexpr double kDecodeTile = 8;
constexpr double kMeanPadding = (kDecodeTile - 1) / 2;

/// Columns of the KV suites under other names than the features they hold.
constexpr std::array<std::pair<std::string_view, Feature>, 3> kColumns{
    {{"sequences", kBatch}, {"cached_tokens", kContext}, {"query_heads", kHeads}}};

/// Schemes of latent caches are told from others by their op and shape.
constexpr std::string_view kLatent = "mla_";
/// Begins the regime of rows whose sequences have drawn lengths.
constexpr std::string_view kMixed = "lognormal";
constexpr std::string_view kSliding = "window";
constexpr std::string_view kSparse = "sparse";

void TranslateAttention(KernelRow& row) {
  KernelFeatures& f = row.features;
  for (const auto& [feature, variant] :
       {std::pair(kSelectedTokens, kSparse), std::pair(kWindow, kSliding)}) {
    if (f[feature] == 0) continue;
    row.variant = variant;
    f[kContext] = std::min(f[kContext], f[kBatch] * f[feature]);
    f[kMaxContext] = std::min(f[kMaxContext], f[feature]);
    return;
  }
}

/// (query, key) pairs of one chunk: its token i sees min(past + i, window) keys; window 0 is none.
double PairsOf(double tokens, double past, double window) {
  // Of the first `growing` tokens each sees one more key than the one before.
  const double growing = window > 0 ? std::clamp(window - past, 0.0, tokens) : tokens;
  return growing * past + growing * (growing + 1) / 2 + (tokens - growing) * window;
}

/// Pairs of chunks of other lengths: what a row counts as operations, two per pair, query head and
/// element of keys and values. Of expanded latents the keys alone have the rotary channels.
double PairsOfFlops(const KernelRow& row) {
  constexpr double kRotaryChannels = 64;
  const KernelFeatures& f = row.features;
  const double values = row.op == "mla_prefill" ? f[kHeadDim] - kRotaryChannels : f[kHeadDim];
  return f[kFlops] / (2 * f[kHeads] * (f[kHeadDim] + values));
}

void TranslateChunk(KernelRow& row, bool mixed) {
  KernelFeatures& f = row.features;
  f[kTokens] = f[kNewTokens];
  const double sequences = std::max(f[kBatch], 1.0);
  f[kPairs] =
      mixed ? PairsOfFlops(row)
            : sequences * PairsOf(f[kTokens] / sequences, f[kContext] / sequences, f[kWindow]);
  if (f[kWindow] > 0) {
    row.variant = kSliding;
    f[kContext] = std::min(f[kContext], f[kBatch] * f[kWindow]);
  }
  f[kContext] += f[kNewTokens];
}

/// The selection rule that routing ran, as profiles name it: routing is timed with its rule.
std::string RuleVariant(std::string_view rule) {
  constexpr std::array<std::pair<std::string_view, SelectionKind>, 6> kRules{
      {{"ratio", SelectionKind::kRatioToBest},
       {"top-p", SelectionKind::kTopP},
       {"aset-derived", SelectionKind::kAsetDerived},
       {"oea", SelectionKind::kOea},
       {"xshare", SelectionKind::kXShare},
       {"lynx", SelectionKind::kLynx}}};
  const std::string_view word = rule.substr(0, rule.find(' '));
  for (const auto& [name, kind] : kRules) {
    if (word == name) return std::string(SelectionName(kind));
  }
  // Taking the first k' is what selection does without a rule.
  return std::string(SelectionName(SelectionKind::kNative));
}

/// Rows of the KV suites.
void TranslateKv(KernelRow& row, std::string_view regime) {
  if (row.op == "attend") TranslateAttention(row);
  if (row.op == "attend_prefill" || row.op == "mla_prefill")
    TranslateChunk(row, regime.starts_with(kMixed));
  if (!row.format.starts_with(kLatent)) return;
  row.format.erase(0, kLatent.size());
  if (row.op != "attend_mla") row.variant = "latent";  // writes by other code than heads'
}

}  // namespace

std::optional<Feature> FeatureOfColumn(std::string_view column) {
  for (const auto& [name, feature] : kColumns) {
    if (column == name) return feature;
  }
  return FeatureNamed(column);
}

void TranslateSuite(KernelRow& row, std::string_view regime, std::string_view rule) {
  KernelFeatures& f = row.features;
  if (std::ranges::find(kProducts, row.op) != kProducts.end() && f[kN] == 0) {
    f[kN] = f[kIntermediate];
    f[kK] = f[kHidden];
  }
  if (row.op.starts_with(kPrefill)) {
    row.op.erase(0, kPrefill.size());
    row.variant = "prefill";
    f[kPaddedRows] = f[kAssignments] + kMeanPadding * f[kDistinct];
  }
  TranslateKv(row, regime);
  row.rule = RuleVariant(rule);
  if (row.op == "route") row.variant = row.rule;
  for (const SmallOp& small : kSmallOps) {
    if (row.op != small.suite || f[kWidth] != 0) continue;
    row.op = small.form;
    f[kWidth] = small.bytes_per_element * f[kHidden];
    row.variant = regime;
  }
}

}  // namespace moecast::calibration
