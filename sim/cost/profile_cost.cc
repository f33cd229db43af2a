#include "sim/cost/profile_cost.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

using enum Feature;

/// Entries of the memo, a power of two: most loads of a batch size fit, in 2.4 MB.
constexpr size_t kMemoEntries = size_t{1} << 15;
/// Gate, up and down; a multiply-add is two operations.
constexpr double kSwigluMatrices = 3;
constexpr double kFlopsPerMultiplyAdd = 2;
/// The router's weights are not quantised.
constexpr std::string_view kRouterFormat = "bf16";
constexpr std::string_view kRoute = "route";

char Plain(char c) { return c == '-' ? '_' : c; }

bool FormatServes(std::string_view kernel, std::string_view wanted) {
  if (kernel.size() < wanted.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (Plain(kernel[i]) != Plain(wanted[i])) return false;
  }
  return kernel.size() == wanted.size() || Plain(kernel[wanted.size()]) == '_';
}

size_t HashOf(const std::array<double, kMostAxes>& key) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;  // 2^64 over the golden ratio
  constexpr int kTopBits = 32;
  uint64_t hash = 0;
  for (const double each : key) {
    hash = (hash ^ std::bit_cast<uint64_t>(each)) * kMultiplier;
    hash ^= hash >> kTopBits;
  }
  return static_cast<size_t>(hash);
}

KernelTime Sum(const KernelTime& a, const KernelTime& b) {
  // Errors of launches of one layer are taken as fully correlated: half widths add.
  const double sum = a.seconds + b.seconds;
  const auto half = [&](double ErrorBand::*level) {
    return (a.seconds * (a.band.*level) + b.seconds * (b.band.*level)) / sum;
  };
  return {.seconds = sum,
          .label = std::max(a.label, b.label),
          .band = {.half80 = half(&ErrorBand::half80), .half95 = half(&ErrorBand::half95)}};
}

KernelFeatures ShapeFeatures(const ExpertLayerShape& shape) {
  KernelFeatures f;
  f[kHidden] = static_cast<double>(shape.hidden);
  f[kIntermediate] = static_cast<double>(shape.intermediate);
  f[kExperts] = static_cast<double>(shape.experts);
  f[kTopK] = static_cast<double>(shape.top_k);
  return f;
}

}  // namespace

ProfileCost::ProfileCost(std::shared_ptr<const Profile> profile, const DeviceSpec& device,
                         std::optional<ExpertLayerShape> experts)
    : profile_(std::move(profile)),
      seconds_per_byte_(1 / device.hbm_bandwidth.count()),
      experts_(std::move(experts)),
      memo_(kMemoEntries) {
  for (size_t c = 0; c < seconds_per_flop_.size(); ++c) {
    const FlopsPerSecond own = device.peak[c];
    const FlopsPerSecond peak = own.count() > 0 ? own : device.peak_of(ComputeClass::kBf16);
    seconds_per_flop_[c] = 1 / peak.count();
  }
  for (const KernelProfile& kernel : profile_->kernels) curves_.emplace_back(kernel);
  if (!experts_) return;
  const KernelFeatures f = ShapeFeatures(*experts_);
  layer_ = Choose("layer", experts_->format.name, f);
  gate_up_ = Choose("gate_up", experts_->format.name, f);
  down_ = Choose("down", experts_->format.name, f);
  fused_ = Choose("experts", experts_->format.name, f);
  combine_ = Choose("combine", kRouterFormat, f);
  route_ = Choose(kRoute, kRouterFormat, f);
}

double ProfileCost::Floor(const OpFeatures& features) const {
  return std::max(
      features.bytes.count() * seconds_per_byte_,
      features.flops.count() * seconds_per_flop_[static_cast<size_t>(features.compute)]);
}

KernelChoice ProfileCost::Choose(std::string_view op, std::string_view format,
                                 const KernelFeatures& f) const {
  KernelChoice choice;
  size_t shortest = std::numeric_limits<size_t>::max();  // an exact name beats a longer one
  for (size_t i = 0; i < curves_.size(); ++i) {
    const KernelProfile& kernel = profile_->kernels[i];
    if (kernel.op != op || !FormatServes(kernel.format, format)) continue;
    if (kernel.format.size() > shortest) continue;
    if (kernel.format.size() < shortest) choice.candidates.clear();
    shortest = kernel.format.size();
    choice.candidates.push_back({.kernel = i, .shape = curves_[i].FindShape(f)});
  }
  // Where a variant has the shape, those that lack it are no choice.
  const bool any = std::any_of(choice.candidates.begin(), choice.candidates.end(),
                               [](const auto& each) { return each.shape.has_value(); });
  if (any) std::erase_if(choice.candidates, [](const auto& each) { return !each.shape; });
  return choice;
}

KernelTime ProfileCost::Time(const KernelChoice& choice, const KernelFeatures& f,
                             double floor) const {
  SIM_CHECK(!choice.empty());
  std::optional<KernelTime> best;
  for (const KernelChoice::Candidate& each : choice.candidates) {
    const KernelTime time = curves_[each.kernel].At(f, each.shape, floor);
    const bool better = !best || time.label < best->label ||
                        (time.label == best->label && time.seconds < best->seconds);
    if (better) best = time;
  }
  return *best;
}

bool ProfileCost::has_experts() const {
  return !layer_.empty() || !fused_.empty() || (!gate_up_.empty() && !down_.empty());
}

KernelFeatures ProfileCost::ExpertFeatures(double tokens, const ExpertLoad& load) const {
  KernelFeatures f = ShapeFeatures(*experts_);
  f[kTokens] = tokens;
  f[kAssignments] = load.assignments;
  f[kDistinct] = load.distinct;
  f[kPaddedRows] = load.padded_rows;
  f[kMaxLoad] = load.max_expert;
  return f;
}

std::optional<KernelTime> ProfileCost::Find(const KernelQuery& query, const KernelFeatures& f,
                                            double floor) {
  const auto use = std::find_if(uses_.begin(), uses_.end(), [&query](const Use& each) {
    return each.slot == query.slot && each.op == query.op && each.format == query.format;
  });
  last_use_ = static_cast<size_t>(use - uses_.begin());
  const KernelForm& form = FormOf(query.op);
  if (use == uses_.end()) {
    uses_.push_back({.op = std::string(query.op),
                     .format = std::string(query.format),
                     .slot = query.slot,
                     .choice = Choose(query.op, query.format, f)});
  } else if (ShapeOf(form, use->last) != ShapeOf(form, f)) {
    use->choice = Choose(query.op, query.format, f);
  }
  Use& found = uses_[last_use_];
  if (found.choice.empty()) {
    found.last = f;
    return std::nullopt;
  }
  if (found.floor != floor || found.last != f) {
    found.time = Time(found.choice, f, floor);
    found.last = f;
    found.floor = floor;
  }
  return found.time;
}

std::string ProfileCost::DescribeLast() const {
  return Describe(uses_[last_use_].choice, uses_[last_use_].last);
}

KernelFeatures ProfileCost::RouteFeatures(double tokens) const {
  KernelFeatures f = ShapeFeatures(*experts_);
  f[kTokens] = tokens;
  f[kAssignments] = tokens * f[kTopK];
  return f;
}

KernelTime ProfileCost::RouteTime(double tokens) const {
  for (const Use& use : uses_) {
    if (use.op == kRoute && use.last[kTokens] == tokens) return use.time;
  }
  return Time(route_, RouteFeatures(tokens), 0);
}

std::string ProfileCost::DescribeRoute(double tokens) const {
  return Describe(route_, RouteFeatures(tokens));
}

std::vector<const KernelChoice*> ProfileCost::PartsFor(const KernelFeatures& f) const {
  const bool two = !gate_up_.empty() && !down_.empty();
  if (!layer_.empty() && has_route()) {
    const bool only = !two && fused_.empty();
    if (only || Time(layer_, f, 0).label <= Label::kInterpolated) return {&layer_};
  }
  // Both products in one launch, unless two launches are known better.
  const bool one = !fused_.empty() &&
                   (!two || Time(fused_, f, 0).label <=
                                std::max(Time(gate_up_, f, 0).label, Time(down_, f, 0).label));
  std::vector<const KernelChoice*> parts;
  if (one) {
    parts = {&fused_};
  } else if (two) {
    parts = {&gate_up_, &down_};
  } else {
    return {&layer_};
  }
  if (!combine_.empty()) parts.push_back(&combine_);
  return parts;
}

KernelTime ProfileCost::ComputeExpertTime(double tokens, const ExpertLoad& load) const {
  const KernelFeatures f = ExpertFeatures(tokens, load);
  const double matrices = kSwigluMatrices * f[kHidden] * f[kIntermediate];
  const double floor =
      Floor({.bytes = Bytes(load.distinct * matrices * experts_->format.bytes_per_element()),
             .flops = Flops(kFlopsPerMultiplyAdd * load.assignments * matrices),
             .compute = experts_->format.compute});
  const bool two = !gate_up_.empty() && !down_.empty();
  if (!layer_.empty() && has_route()) {
    KernelTime layer = Time(layer_, f, 0);
    if (layer.label <= Label::kInterpolated || (!two && fused_.empty())) {
      // A whole layer includes its routing, which another op of the step is charged for.
      layer.seconds = std::max(layer.seconds - RouteTime(tokens).seconds, floor);
      return layer;
    }
  }
  // As PartsFor, each kernel asked once.
  std::optional<KernelTime> time;
  if (!fused_.empty()) time = Time(fused_, f, 0);
  if (two && (!time || time->label > Label::kInterpolated)) {
    const KernelTime products = Sum(Time(gate_up_, f, 0), Time(down_, f, 0));
    if (!time || products.label < time->label) time = products;
  }
  if (!time) time = Time(layer_, f, 0);
  if ((two || !fused_.empty()) && !combine_.empty()) time = Sum(*time, Time(combine_, f, 0));
  time->seconds = std::max(time->seconds, floor);
  return *time;
}

KernelTime ProfileCost::ExpertTime(double tokens, const ExpertLoad& load) {
  const KernelAxes key{tokens, load.assignments, load.distinct, load.padded_rows, load.max_expert};
  MemoEntry& entry = memo_[HashOf(key) & (kMemoEntries - 1)];
  if (entry.key != key) {
    // Keeps the step's routing time for the layers to come.
    if (has_route()) Find({.op = kRoute, .format = kRouterFormat}, RouteFeatures(tokens), 0);
    entry = {.key = key, .time = ComputeExpertTime(tokens, load)};
  }
  return entry.time;
}

std::string ProfileCost::Describe(const KernelChoice& choice, const KernelFeatures& f) const {
  std::string text;
  for (const KernelChoice::Candidate& each : choice.candidates) {
    const KernelProfile& kernel = profile_->kernels[each.kernel];
    text += (text.empty() ? "" : "; ") + kernel.op + " " + kernel.format +
            (kernel.variant.empty() ? "" : " " + kernel.variant);
    if (!each.shape) {
      text += ": shape not measured, fit over all shapes";
      continue;
    }
    const ShapeCurve& curve = curves_[each.kernel].shapes()[*each.shape];
    text += ": " + std::to_string(curve.row_count()) + " rows, " + curve.DescribeNearest(f);
  }
  return text;
}

std::string ProfileCost::DescribeExperts(double tokens, const ExpertLoad& load) const {
  const KernelFeatures f = ExpertFeatures(tokens, load);
  std::string text;
  for (const KernelChoice* part : PartsFor(f)) {
    text += (text.empty() ? "" : "; ") + Describe(*part, f);
  }
  return text;
}

}  // namespace moecast
