#include "sim/cost/profile_cost.h"

#include <algorithm>
#include <bit>
#include <boost/container/small_vector.hpp>
#include <functional>
#include <limits>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

using enum Feature;

/// Entries of the memo, a power of two: most loads of a case fit, in 2.4 MB.
constexpr int kMemoBits = 15;
/// Gate, up and down; a multiply-add is two operations.
constexpr double kSwigluMatrices = 3;
constexpr double kFlopsPerMultiplyAdd = 2;
/// The router's weights are not quantised.
constexpr std::string_view kRouterFormat = "bf16";
constexpr std::string_view kRoute = "route";
/// Variant of products that read their tokens in the order of experts.
constexpr std::string_view kPermuted = "prefill";
/// Variant of the code that writes latents, which writes nothing else.
constexpr std::string_view kLatent = "latent";

char Plain(char c) { return c == '-' ? '_' : c; }

/// How much the name of a kernel's format says beyond the wanted one; nothing where it does not
/// serve. A name that does not say how far a scale reaches means one per tensor, as the catalog of
/// formats has it.
std::optional<size_t> ExtraName(std::string_view kernel, std::string_view wanted) {
  constexpr std::string_view kPerTensor = "_tensor";
  if (kernel.size() < wanted.size()) return std::nullopt;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (Plain(kernel[i]) != Plain(wanted[i])) return std::nullopt;
  }
  const std::string_view extra = kernel.substr(wanted.size());
  if (extra.empty() || extra == kPerTensor) return 0;
  if (Plain(extra.front()) != '_') return std::nullopt;
  return extra.size();
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
      multiprocessors_(static_cast<double>(device.multiprocessors)),
      cache_bytes_(device.l2_capacity.count()),
      seconds_per_byte_(1 / device.hbm_bandwidth.count()),
      curves_(profile_->kernels.size()),
      experts_(std::move(experts)),
      memo_(size_t{1} << kMemoBits) {
  // A floor may not assume which unit stands in for one that the device lacks: it takes the
  // fastest.
  const FlopsPerSecond fastest = *std::max_element(device.peak.begin(), device.peak.end());
  for (size_t c = 0; c < seconds_per_flop_.size(); ++c) {
    const FlopsPerSecond peak = device.peak[c].count() > 0 ? device.peak[c] : fastest;
    seconds_per_flop_[c] = 1 / peak.count();
  }
  if (!experts_) return;
  const KernelFeatures f = ShapeFeatures(*experts_);
  layer_ = Choose("layer", experts_->format.name, f);
  gate_up_ = Choose("gate_up", experts_->format.name, f);
  down_ = Choose("down", experts_->format.name, f);
  fused_ = Choose("experts", experts_->format.name, f);
  combine_.choice = Choose("combine", kRouterFormat, f);
  permute_.choice = Choose("permute", experts_->format.name, f);
  // Narrow weights are multiplied by tokens in the router's format.
  if (permute_.choice.empty()) permute_.choice = Choose("permute", kRouterFormat, f);
  ChooseRoutes();
}

void ProfileCost::ChooseRoutes() {
  const KernelChoice all = Choose(kRoute, kRouterFormat, ShapeFeatures(*experts_));
  for (const KernelChoice::Candidate& each : all.candidates) {
    const std::string_view variant = profile_->kernels[each.kernel].variant;
    const auto* const named = std::ranges::find(kSelectionNames, variant);
    // Another engine's routing names no rule.
    const size_t rule =
        named == kSelectionNames.end() ? 0 : static_cast<size_t>(named - kSelectionNames.begin());
    routes_[rule].choice.candidates.push_back(each);
  }
  // Taking a fixed number of experts is what selection does without a rule.
  for (const SelectionKind same : {SelectionKind::kUniformTopK, SelectionKind::kLayerSchedule}) {
    routes_[static_cast<size_t>(same)] = routes_[static_cast<size_t>(SelectionKind::kNative)];
  }
}

double ProfileCost::Floor(const OpFeatures& features) const {
  return std::max(
      features.bytes.count() * seconds_per_byte_,
      features.flops.count() * seconds_per_flop_[static_cast<size_t>(features.compute)]);
}

KernelChoice ProfileCost::Choose(std::string_view op, std::string_view format,
                                 const KernelFeatures& f, bool latent) {
  KernelChoice choice;
  size_t least = std::numeric_limits<size_t>::max();  // just this beats a name that says more
  for (size_t i = 0; i < curves_.size(); ++i) {
    const KernelProfile& kernel = profile_->kernels[i];
    if (kernel.op != op) continue;
    const std::optional<size_t> extra = ExtraName(kernel.format, format);
    if (!extra || *extra > least) continue;
    if (*extra < least) choice.candidates.clear();
    least = *extra;
    if (!curves_[i]) curves_[i].emplace(kernel);
    choice.candidates.push_back({.kernel = i, .shape = curves_[i]->FindShape(f)});
  }
  const auto serves = [&](const KernelChoice::Candidate& each) {
    return (profile_->kernels[each.kernel].variant == kLatent) == latent;
  };
  if (std::ranges::any_of(choice.candidates, serves))
    std::erase_if(choice.candidates, std::not_fn(serves));
  // Where a variant has the shape, those that lack it are no choice.
  const bool any = std::any_of(choice.candidates.begin(), choice.candidates.end(),
                               [](const auto& each) { return each.shape.has_value(); });
  if (any) std::erase_if(choice.candidates, [](const auto& each) { return !each.shape; });
  return choice;
}

std::optional<ProfileCost::Covered> ProfileCost::CoveredTime(const KernelChoice& choice,
                                                             Launches& launches,
                                                             double floor) const {
  const std::vector<KernelChoice::Candidate>& candidates = choice.candidates;
  constexpr size_t kUsualVariants = 4;
  boost::container::small_vector<std::optional<KernelTime>, kUsualVariants> asked(
      candidates.size());
  std::optional<Covered> best;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const KernelCurve& curve = CurveOf(candidates[i]);
    const Launch launch = launches.Of(curve.form());
    if (!curve.InRange(launch, candidates[i].shape)) continue;
    asked[i] = curve.At(launch, candidates[i].shape, floor);
    if (asked[i]->label == Label::kExtrapolated) continue;
    if (!best || IsBetter(*asked[i], best->time))
      best = Covered{.time = *asked[i], .kernel = candidates[i].kernel};
  }
  if (!best) return best;
  // Whoever serves takes the faster form, also a little before the rows of that form begin.
  for (size_t i = 0; i < candidates.size(); ++i) {
    const KernelCurve& curve = CurveOf(candidates[i]);
    const Launch launch = launches.Of(curve.form());
    if (candidates[i].kernel == best->kernel || !curve.IsNear(launch, candidates[i].shape))
      continue;
    if (!asked[i]) asked[i] = curve.At(launch, candidates[i].shape, floor);
    if (IsSurelyFaster(*asked[i], best->time))
      best = Covered{.time = *asked[i], .kernel = candidates[i].kernel};
  }
  return best;
}

ProfileCost::Covered ProfileCost::BestTime(const KernelChoice& choice, Launches& launches,
                                           double floor) const {
  SIM_CHECK(!choice.empty());
  if (const auto covered = CoveredTime(choice, launches, floor)) return *covered;
  std::optional<Covered> best;
  for (const KernelChoice::Candidate& each : choice.candidates) {
    const KernelCurve& curve = CurveOf(each);
    const KernelTime time = curve.At(launches.Of(curve.form()), each.shape, floor);
    if (!best || IsBetter(time, best->time)) best = Covered{.time = time, .kernel = each.kernel};
  }
  return *best;
}

bool ProfileCost::has_experts() const {
  return !layer_.empty() || !fused_.empty() || (!gate_up_.empty() && !down_.empty());
}

KernelFeatures ProfileCost::ExpertFeatures(double tokens, const ExpertLoad& load) const {
  KernelFeatures f = OnDevice(ShapeFeatures(*experts_));
  f[kTokens] = tokens;
  f[kAssignments] = load.assignments;
  f[kDistinct] = load.distinct;
  f[kPaddedRows] = load.padded_rows;
  f[kMaxLoad] = load.max_expert;
  return f;
}

bool ProfileCost::FindUse(const KernelQuery& query) {
  // Steps ask in one order: the use wanted most often follows the last one.
  for (size_t i = 1; i <= uses_.size(); ++i) {
    const size_t each = (last_use_ + i) % uses_.size();
    const Use& use = uses_[each];
    if (use.slot != query.slot || use.latent != query.latent) continue;
    if (use.op != query.op || use.format != query.format) continue;
    last_use_ = each;
    return true;
  }
  last_use_ = uses_.size();
  return false;
}

std::optional<KernelTime> ProfileCost::Find(const KernelQuery& query, const KernelFeatures& f,
                                            double floor) {
  const bool known = FindUse(query);
  if (!known) {
    uses_.push_back({.op = std::string(query.op),
                     .format = std::string(query.format),
                     .slot = query.slot,
                     .latent = query.latent,
                     .choice = Choose(query.op, query.format, f, query.latent)});
  }
  Use& found = uses_[last_use_];
  if (known) {
    if (found.floor == floor && found.last == f) return found.time;
    if (!SameShape(FormOf(query.op), found.last, f)) {
      found.choice = Choose(query.op, query.format, f, query.latent);
    }
  }
  found.last = f;
  found.floor = floor;
  found.time.reset();
  if (!found.choice.empty()) found.time = Time(found.choice, OnDevice(f), floor);
  return found.time;
}

std::string ProfileCost::DescribeLast() const {
  return Describe(uses_[last_use_].choice, uses_[last_use_].last);
}

KernelFeatures ProfileCost::OnDevice(KernelFeatures f) const {
  f[kMultiprocessors] = multiprocessors_;
  f[kCacheBytes] = cache_bytes_;
  return f;
}

KernelFeatures ProfileCost::RouteFeatures(double tokens) const {
  KernelFeatures f = OnDevice(ShapeFeatures(*experts_));
  f[kTokens] = tokens;
  f[kAssignments] = tokens * f[kTopK];
  return f;
}

const KernelTime& ProfileCost::TimeOf(ByTokens& kernel, const KernelFeatures& f) {
  if (kernel.tokens != f[kTokens] || kernel.assignments != f[kAssignments]) {
    kernel.time = Time(kernel.choice, f, 0);
    kernel.tokens = f[kTokens];
    kernel.assignments = f[kAssignments];
  }
  return kernel.time;
}

KernelTime ProfileCost::RouteTime(double tokens, SelectionKind rule) {
  return TimeOf(routes_[static_cast<size_t>(rule)], RouteFeatures(tokens));
}

std::string ProfileCost::DescribeRoute(double tokens, SelectionKind rule) const {
  return Describe(route(rule), RouteFeatures(tokens));
}

KernelTime ProfileCost::ProductsTime(Launches& launches, const Covered& up, const Covered& down) {
  const KernelTime products = Sum(up.time, down.time);
  const bool permutes =
      profile_->kernels[up.kernel].variant == kPermuted && !permute_.choice.empty();
  return permutes ? Sum(products, TimeOf(permute_, launches.features())) : products;
}

bool ProfileCost::MayPermute(Launches& launches) const {
  return std::ranges::any_of(gate_up_.candidates, [&](const KernelChoice::Candidate& each) {
    const KernelCurve& curve = CurveOf(each);
    return profile_->kernels[each.kernel].variant == kPermuted &&
           curve.IsNear(launches.Of(curve.form()), each.shape);
  });
}

ProfileCost::ExpertParts ProfileCost::PartsFor(Launches& launches) {
  const auto covered = [&](const KernelChoice& choice) { return CoveredTime(choice, launches, 0); };
  if (prices_layers()) {
    if (const auto layer = covered(layer_)) return {.first = &layer_, .products = layer->time};
  }
  // Both products in one launch, unless only two launches are known or they are the faster.
  const auto one = covered(fused_);
  const bool competes = one && !down_.empty() && MayPermute(launches);
  const auto up = !one || competes ? covered(gate_up_) : std::nullopt;
  const auto down = up ? covered(down_) : std::nullopt;
  if (!one && !down) return ExtrapolatedParts(launches);
  const KernelTime two = down ? ProductsTime(launches, *up, *down) : KernelTime{};
  if (one && !(down && IsSurelyFaster(two, one->time))) return InOneLaunch(one->time);
  return InTwoLaunches(two);
}

ProfileCost::ExpertParts ProfileCost::ExtrapolatedParts(Launches& launches) {
  const auto best = [&](const KernelChoice& choice) { return BestTime(choice, launches, 0); };
  const bool layer_was_measured = prices_layers() && layer_.candidates.front().shape.has_value();
  const bool in_two = !gate_up_.empty() && !down_.empty();
  if (layer_was_measured || (fused_.empty() && !in_two)) {
    return {.first = &layer_, .products = best(layer_).time};
  }
  if (!in_two) return InOneLaunch(best(fused_).time);
  const KernelTime two = ProductsTime(launches, best(gate_up_), best(down_));
  if (fused_.empty()) return InTwoLaunches(two);
  const KernelTime one = best(fused_).time;
  return IsBetter(two, one) ? InTwoLaunches(two) : InOneLaunch(one);
}

KernelTime ProfileCost::ComputeExpertTime(double tokens, const ExpertLoad& load) {
  const KernelFeatures f = ExpertFeatures(tokens, load);
  const double matrices = kSwigluMatrices * f[kHidden] * f[kIntermediate];
  const double floor =
      Floor({.bytes = Bytes(load.distinct * matrices * experts_->format.bytes_per_element()),
             .flops = Flops(kFlopsPerMultiplyAdd * load.assignments * matrices),
             .compute = experts_->format.compute});
  Launches launches(f);
  const ExpertParts parts = PartsFor(launches);
  KernelTime time = parts.products;
  if (parts.combines) time = Sum(time, TimeOf(combine_, f));
  // A whole layer includes its routing, which another op of the step is charged for.
  if (parts.first == &layer_ && has_route()) {
    time.seconds -= RouteTime(tokens, SelectionKind::kNative).seconds;
  }
  time.seconds = std::max(time.seconds, floor);
  return time;
}

size_t ProfileCost::MemoPlace(const LoadKey& key) {
  // What tells small whole numbers apart are the upper bits of a double, and a product carries
  // upwards alone: the place is the uppermost bits of products, none of which waits for another.
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;  // 2^64 over the golden ratio
  constexpr int kBits = 64;
  uint64_t sum = 0;
  uint64_t multiplier = 1;
  for (const double each : key) {
    multiplier *= kMultiplier;  // its powers are odd
    sum += std::bit_cast<uint64_t>(each) * multiplier;
  }
  return static_cast<size_t>((sum ^ (sum >> (kBits / 2))) * kMultiplier >> (kBits - kMemoBits));
}

KernelTime ProfileCost::ExpertTime(double tokens, const ExpertLoad& load) {
  const LoadKey key{tokens, load.assignments, load.distinct, load.padded_rows, load.max_expert};
  MemoEntry& entry = memo_[MemoPlace(key)];
  if (entry.key != key) {
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
    const ShapeCurve& curve = CurveOf(each).shapes()[*each.shape];
    text += ": " + std::to_string(curve.row_count()) + " rows, " + curve.DescribeNearest(f);
  }
  return text;
}

std::string ProfileCost::DescribeExperts(double tokens, const ExpertLoad& load) {
  const KernelFeatures f = ExpertFeatures(tokens, load);
  Launches launches(f);
  const ExpertParts parts = PartsFor(launches);
  std::string text;
  const KernelChoice* combine = parts.combines ? &combine_.choice : nullptr;
  for (const KernelChoice* part : {parts.first, parts.second, combine}) {
    if (part == nullptr) continue;
    text += (text.empty() ? "" : "; ") + Describe(*part, f);
  }
  return text;
}

}  // namespace moecast
