#include "sim/cost/kernel_form.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/base/check.h"
#include "sim/cost/expert_work.h"
#include "sim/cost/kv_work.h"

namespace moecast {
namespace {

using enum Feature;

constexpr std::array kExpertShape{kHidden, kIntermediate, kExperts};
constexpr std::array kRouteShape{kHidden, kExperts, kTopK};
constexpr std::array kTokenSlots{kTokens, kAssignments};
constexpr std::array kCombineShape{kHidden};
constexpr std::array kPermuteAxes{kTokens, kAssignments, kHidden};
constexpr std::array kExpertAxes{kTokens, kAssignments, kDistinct, kPaddedRows, kMaxLoad};
constexpr std::array kTiledAxes{kTokens, kAssignments, kDistinct, kMaxLoad};
constexpr std::array kGemmShape{kN, kK};
constexpr std::array kTokensOnly{kTokens};
constexpr std::array kAttentionShape{kHeads, kKvBytesPerToken};
constexpr std::array kDecodeAxes{kBatch, kContext};
constexpr std::array kPrefillAxes{kTokens, kPairs, kContext};
constexpr std::array kCacheShape{kHeads,     kKvHeads, kHeadDim, kKeyBits,
                                 kValueBits, kGroup,   kResidual};
constexpr std::array kLatentShape{kHeads, kKeyBits, kGroup};
constexpr std::array kExpandedShape{kHeads};
constexpr std::array kAttendAxes{kBatch, kContext, kMaxContext};
constexpr std::array kChunkAxes{kTokens, kPairs, kContext, kBatch};
constexpr std::array kWriteAxes{kNewTokens, kKvHeads, kHeadDim, kKeyBits, kValueBits};
constexpr std::array kPackAxes{kNewTokens, kKvHeads, kHeadDim, kKeyBits, kValueBits, kResidual};
constexpr std::span<const Feature> kNoShape{};
constexpr std::array kDenseAxes{kTokens, kN, kK};
constexpr std::array kTokensWidth{kTokens, kWidth};
constexpr std::array kRanksOnly{kRanks};
constexpr std::array kMessageOnly{kMessageBytes};
constexpr std::array kGeneralShape{kHidden, kIntermediate, kExperts,         kTopK, kN, kK,
                                   kHeads,  kWidth,        kKvBytesPerToken, kRanks};
constexpr std::array kGeneralAxes{kTokens, kBytes, kFlops};

/// A multiply-add is two operations.
constexpr double kFlopsPerMultiplyAdd = 2;

/// Where no expert makes a chain, the chain is a floor: a least time that hides small work, besides
/// the fixed time that hides none.
constexpr double kFloor = 1;

KernelWork RouteWork(const KernelFeatures& f, double) {
  return {.memory = {f[kTokens] * f[kHidden], f[kTokens] * f[kExperts], f[kTokens] * f[kTopK]},
          .compute = kFlopsPerMultiplyAdd * f[kTokens] * f[kHidden] * f[kExperts],
          .chain = kFloor};
}

/// Of moved bytes, those beyond what the GPU's cache keeps. What it really keeps of a stream lies
/// between the powers of two around its size, which fits tell by two terms.
struct BeyondCache {
  double lower = 0;
  double upper = 0;
};
BeyondCache BeyondCacheOf(const KernelFeatures& f, double bytes) {
  const double kept = std::exp2(std::logb(f[kCacheBytes]));
  return {.lower = std::max(bytes - kept, 0.0), .upper = std::max(bytes - 2 * kept, 0.0)};
}

/// Rounds of `blocks` that run side by side, `per_pass` / 16 of them on a multiprocessor.
double Rounds(const KernelFeatures& f, double blocks, double per_pass) {
  constexpr double kOnePerMultiprocessor = 16;
  SIM_CHECK(f[kMultiprocessors] > 0);
  return std::ceil(blocks * kOnePerMultiprocessor / (per_pass * f[kMultiprocessors]));
}

/// The same, of blocks of a token and kColumns columns.
double RoundsOfColumns(const KernelFeatures& f, double per_pass) {
  constexpr double kColumns = 1024;
  return Rounds(f, f[kTokens] * std::ceil(f[kHidden] / kColumns), per_pass);
}

/// Rows of slots move, in bf16 the bytes that the cache takes or not.
KernelWork SlotsWork(const KernelFeatures& f, double chain) {
  constexpr double kBytes = 2;
  const double slots = f[kAssignments] * f[kHidden];
  const BeyondCache beyond = BeyondCacheOf(f, kBytes * slots);
  return {.memory = {slots, f[kTokens] * f[kHidden], beyond.lower, beyond.upper}, .chain = chain};
}

/// A block adds up the slots of a token one after the other.
KernelWork CombineWork(const KernelFeatures& f, double per_pass) {
  const double slots = f[kTokens] > 0 ? f[kAssignments] / f[kTokens] : 0;
  return SlotsWork(f, per_pass > 0 ? RoundsOfColumns(f, per_pass) * slots : kFloor);
}

KernelWork PermuteWork(const KernelFeatures& f, double per_pass) {
  return SlotsWork(f, per_pass > 0 ? RoundsOfColumns(f, per_pass) : kFloor);
}

KernelWork GemmWork(const KernelFeatures& f, double) {
  return {.memory = {f[kN] * f[kK], f[kTokens] * (f[kN] + f[kK])},
          .compute = kFlopsPerMultiplyAdd * f[kTokens] * f[kN] * f[kK],
          .chain = kFloor};
}

KernelWork DecodeAttentionWork(const KernelFeatures& f, double) {
  return {.memory = {f[kContext] * f[kKvBytesPerToken], f[kBatch] * f[kHeads]},
          .compute = f[kContext] * f[kHeads],
          .chain = kFloor};
}

KernelWork PrefillAttentionWork(const KernelFeatures& f, double) {
  return {.memory = {f[kContext] * f[kKvBytesPerToken], f[kTokens] * f[kHeads]},
          .compute = f[kPairs] * f[kHeads],
          .chain = kFloor};
}

/// A block takes a row, so that rows go in whole rounds.
KernelWork WidthWork(const KernelFeatures& f, double per_pass) {
  const double moved = f[kTokens] * f[kWidth];
  const BeyondCache beyond = BeyondCacheOf(f, moved);
  return {.memory = {moved, beyond.lower, beyond.upper},
          .chain = per_pass > 0 ? Rounds(f, f[kTokens], per_pass) * f[kWidth] : kFloor};
}
KernelWork MessageWork(const KernelFeatures& f, double) {
  return {.memory = {f[kMessageBytes]}, .chain = kFloor};
}
KernelWork GeneralWork(const KernelFeatures& f, double) {
  return {.memory = {f[kBytes]}, .compute = f[kFlops], .chain = kFloor};
}

double Octaves(double x) { return std::log2(std::max(x, 1.0)); }

KernelPlace LogPlace(const KernelAxes& axes) {
  KernelPlace place{};
  for (size_t i = 0; i < kCoordinates; ++i) place[i] = Octaves(axes[i]);
  return place;
}

/// Tokens and slots. One cluster selects for few tokens and all multiprocessors for many, by other
/// code, whose times stand apart.
KernelPlace RoutePlace(const KernelAxes& axes) {
  constexpr double kFew = 256;
  constexpr double kApart = 4;
  return {Octaves(axes[0]), Octaves(axes[1]), axes[0] > kFew ? kApart : 0, 0};
}

/// Tokens; counts that libraries take element by element, since rows do not start at 16 bytes,
/// stand apart.
KernelPlace GemmPlace(const KernelAxes& axes) {
  constexpr double kAligned = 8;  // elements of 2 bytes
  constexpr double kFew = 16;
  const double tokens = axes.front();
  const bool odd = tokens > kFew && std::fmod(tokens, kAligned) != 0;
  return {Octaves(tokens), odd ? kReach<double> : 0, 0, 0};
}

/// Sequences, tokens read and how much longer than the mean the longest sequence is, the last two
/// half.
KernelPlace AttendPlace(const KernelAxes& axes) {
  const double sequences = axes[0];
  const double context = axes[1];
  const double longest = axes[2];
  const double mean = std::max(context / std::max(sequences, 1.0), 1.0);
  return {Octaves(sequences), Octaves(context) / 2, Octaves(longest / mean) / 2, 0};
}

/// New tokens, keys that one sees in the mean, and chunks.
KernelPlace ChunkPlace(const KernelAxes& axes) {
  const double tokens = axes[0];
  const double pairs = axes[1];
  const double chunks = axes[3];
  return {Octaves(tokens), Octaves(pairs / std::max(tokens, 1.0)), Octaves(chunks), 0};
}

/// A chunk's tokens, heads, half, the width of one, and bits; chunks that leave tokens of a window
/// behind, which are not written as others are, stand apart.
KernelPlace PackPlace(const KernelAxes& axes) {
  constexpr double kApart = 2;
  const auto& [tokens, heads, head_dim, key_bits, value_bits, window] = axes;
  const bool leaves = window > 0 && std::fmod(tokens, window) != 0;
  return {Octaves(tokens), Octaves(heads) / 2, Octaves(head_dim) + (leaves ? kApart : 0),
          Octaves(key_bits + value_bits)};
}

/// Elements written, whoever's heads they are of; heads and bits half, the width of a head full.
KernelPlace WritePlace(const KernelAxes& axes) {
  const auto& [tokens, heads, head_dim, key_bits, value_bits, unused] = axes;
  return {Octaves(tokens * heads * head_dim), Octaves(heads) / 2, Octaves(head_dim),
          Octaves(key_bits + value_bits) / 2};
}

/// The compute-bound form of experts.
constexpr std::string_view kPrefill = "prefill";

/// Expert products of one shape go in steps that those of another do not.
constexpr double kExpertsAlike = 0.3;

constexpr auto kForms = std::to_array<KernelForm>({
    {"gate_up", "", kExpertShape, kExpertAxes, ExpertPlace, true, GateUpWork, kExpertsAlike},
    {"gate_up", kPrefill, kExpertShape, kTiledAxes, TiledPlace, false, TiledGateUpWork,
     kExpertsAlike},
    {"down", "", kExpertShape, kExpertAxes, ExpertPlace, true, DownWork, kExpertsAlike},
    {"down", kPrefill, kExpertShape, kTiledAxes, TiledPlace, false, TiledDownWork, kExpertsAlike},
    {"experts", "", kExpertShape, kExpertAxes, ExpertPlace, true, ExpertsWork, kExpertsAlike},
    {"layer", "", kExpertShape, kExpertAxes, ExpertPlace, true, LayerWork, kExpertsAlike},
    {"layer", kPrefill, kExpertShape, kTiledAxes, TiledPlace, false, TiledLayerWork, kExpertsAlike},
    {"route", "", kRouteShape, kTokenSlots, RoutePlace, false, RouteWork},
    {"combine", "", kCombineShape, kTokenSlots, LogPlace, true, CombineWork, kExpertsAlike},
    {"permute", "", kNoShape, kPermuteAxes, LogPlace, true, PermuteWork},
    {"gemm", "", kGemmShape, kTokensOnly, GemmPlace, false, GemmWork},
    {"dense", "", kNoShape, kDenseAxes, LogPlace, false, GemmWork},
    {"decode_attention", "", kAttentionShape, kDecodeAxes, LogPlace, false, DecodeAttentionWork},
    {"prefill_attention", "", kAttentionShape, kPrefillAxes, LogPlace, false, PrefillAttentionWork},
    {"attend", "", kCacheShape, kAttendAxes, AttendPlace, false, AttendWork},
    {"attend_mla", "", kLatentShape, kAttendAxes, AttendPlace, false, AttendLatentWork},
    {"attend_prefill", "", kCacheShape, kChunkAxes, ChunkPlace, false, AttendPrefillWork},
    {"mla_prefill", "", kExpandedShape, kChunkAxes, ChunkPlace, false, AttendExpandedWork},
    {"append", "", kNoShape, kWriteAxes, WritePlace, false, KvWriteWork},
    {"flush", "", kNoShape, kWriteAxes, WritePlace, false, KvWriteWork},
    {"pack", "", kNoShape, kPackAxes, PackPlace, false, PackWork},
    {"norm", "", kNoShape, kTokensWidth, LogPlace, true, WidthWork},
    {"rope", "", kNoShape, kTokensWidth, LogPlace, true, WidthWork},
    {"activation", "", kNoShape, kTokensWidth, LogPlace, true, WidthWork},
    {"embedding", "", kNoShape, kTokensWidth, LogPlace, false, WidthWork},
    {"sampling", "", kNoShape, kTokensWidth, LogPlace, true, WidthWork},
    {"absorb_query", "", kNoShape, kDenseAxes, LogPlace, false, GemmWork},
    {"absorb_value", "", kNoShape, kDenseAxes, LogPlace, false, GemmWork},
    {"mla_past", "", kNoShape, kTokensWidth, LogPlace, false, WidthWork},
    {"mla_keys", "", kNoShape, kTokensWidth, LogPlace, false, WidthWork},
    {"all_reduce", "", kRanksOnly, kMessageOnly, LogPlace, false, MessageWork},
    {"all_gather", "", kRanksOnly, kMessageOnly, LogPlace, false, MessageWork},
    {"reduce_scatter", "", kRanksOnly, kMessageOnly, LogPlace, false, MessageWork},
    {"all_to_all", "", kRanksOnly, kMessageOnly, LogPlace, false, MessageWork},
});
constexpr KernelForm kGeneral{"", "", kGeneralShape, kGeneralAxes, LogPlace, false, GeneralWork};

/// Bits of metadata per bit of codes.
double MetadataShare(const KernelFeatures& f) {
  constexpr double kScaleAndZeroBits = 2 * 16;
  return f[kGroup] > 0 && f[kKeyBits] > 0 ? kScaleAndZeroBits / f[kGroup] / f[kKeyBits] : 0;
}

/// x^p for the exponents that fits choose from, most of them whole.
double PowerOf(double x, double p) {
  const double whole = std::floor(p);
  double power = p == whole ? 1 : std::pow(x, p - whole);
  for (double i = 0; i < whole; ++i) power *= x;
  return power;
}
double RootOf(double x, double p) { return p == 2 ? std::sqrt(x) : std::pow(x, 1 / p); }

double MemoryTime(const KernelFit& fit, const KernelWork& work) {
  double time = 0;
  for (size_t i = 0; i < kMemoryTerms; ++i) time += fit.per_memory[i] * work.memory[i];
  return time;
}

}  // namespace

const KernelForm& FormOf(std::string_view op, std::string_view variant) {
  const KernelForm* of_op = &kGeneral;
  for (const KernelForm& form : kForms) {
    if (form.op != op) continue;
    if (form.variant == variant) return form;
    if (form.variant.empty()) of_op = &form;
  }
  return *of_op;
}

KernelFeatures ShapeOf(const KernelForm& form, const KernelFeatures& f) {
  KernelFeatures shape;
  for (const Feature feature : form.shape) shape[feature] = f[feature];
  return shape;
}

bool SameShape(const KernelForm& form, const KernelFeatures& a, const KernelFeatures& b) {
  return std::all_of(form.shape.begin(), form.shape.end(),
                     [&](Feature feature) { return a[feature] == b[feature]; });
}

double ShapeDistance(const KernelForm& form, const KernelFeatures& a, const KernelFeatures& b) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  constexpr double kMostMetadata = 0.1;
  constexpr double kMostOctaves = 1;
  double distance = 0;
  for (const Feature feature : form.shape) {
    if (a[feature] == b[feature]) continue;
    if (feature == kGroup) {
      const double metadata = std::abs(MetadataShare(a) - MetadataShare(b));
      if (metadata > kMostMetadata) return kNever;
      distance += metadata;
    } else if (feature == kResidual && a[feature] > 0 && b[feature] > 0) {
      const double octaves = std::abs(std::log2(a[feature] / b[feature]));
      if (octaves > kMostOctaves) return kNever;
      distance += octaves;
    } else {
      return kNever;
    }
  }
  return distance;
}

KernelAxes AxesOf(const KernelForm& form, const KernelFeatures& f) {
  KernelAxes axes{};
  for (size_t i = 0; i < form.axes.size(); ++i) axes[i] = f[form.axes[i]];
  return axes;
}

double NormOfParts(const std::array<double, kParts>& parts, double sharpness) {
  const double largest = *std::max_element(parts.begin(), parts.end());
  if (largest <= 0) return 0;
  double sum = 0;
  for (const double part : parts) {
    // Powers of 0 and 1, the usual case, are not worth a call.
    sum += part == largest ? 1 : part > 0 ? PowerOf(part / largest, sharpness) : 0;
  }
  return sum == 1 ? largest : largest * RootOf(sum, sharpness);
}

std::array<double, kParts> PartsOf(const KernelFit& fit, const KernelWork& work) {
  return {MemoryTime(fit, work), fit.per_compute * work.compute, fit.per_chain * work.chain};
}

double FitTime(const KernelFit& fit, const KernelWork& work) {
  return fit.fixed + NormOfParts(PartsOf(fit, work), fit.sharpness);
}

}  // namespace moecast
