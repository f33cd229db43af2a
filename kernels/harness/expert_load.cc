#include "kernels/harness/expert_load.h"

#include <algorithm>
#include <map>

namespace moecast::kernels {
namespace {

constexpr double kBf16Bytes = 2;
constexpr double kSlotBytes = 8;  // a 32-bit id and a 32-bit weight

}  // namespace

ExpertLoad LoadOf(std::span<const int32_t> offsets) {
  ExpertLoad load;
  for (size_t i = 1; i < offsets.size(); ++i) {
    const int32_t rows = offsets[i] - offsets[i - 1];
    const int32_t tiles = (rows + kExpertTileRows - 1) / kExpertTileRows;
    load.assignments += rows;
    load.distinct += 1;
    load.padded_rows += tiles * kExpertTileRows;
    load.max_load = std::max(load.max_load, static_cast<double>(rows));
  }
  return load;
}

ExpertLoad MeanLoad(std::span<const ExpertLoad> loads) {
  ExpertLoad mean;
  const auto count = static_cast<double>(loads.size());
  for (const ExpertLoad& load : loads) {
    mean.assignments += load.assignments / count;
    mean.distinct += load.distinct / count;
    mean.padded_rows += load.padded_rows / count;
    mean.max_load += load.max_load / count;
  }
  return mean;
}

Traffic operator+(Traffic a, Traffic b) {
  return {.bytes = a.bytes + b.bytes, .flops = a.flops + b.flops};
}

Traffic GateUpTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  const double h = shape.hidden;
  const double i = shape.intermediate;
  const double rows_in = std::min<double>(shape.tokens, load.assignments);
  return {.bytes = kBf16Bytes * (load.distinct * 2 * h * i + rows_in * h + load.assignments * i),
          .flops = 2 * load.assignments * 2 * h * i};
}

Traffic DownTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  const double h = shape.hidden;
  const double i = shape.intermediate;
  return {.bytes = kBf16Bytes * (load.distinct * h * i + load.assignments * (i + h)),
          .flops = 2 * load.assignments * h * i};
}

Traffic CombineTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  const double slots = static_cast<double>(shape.tokens) * shape.top_k;
  return {
      .bytes = kBf16Bytes * (load.assignments + shape.tokens) * shape.hidden + kSlotBytes * slots,
      .flops = 2 * load.assignments * shape.hidden};
}

Traffic RouteTraffic(const ExpertShape& shape) {
  const double h = shape.hidden;
  const double slots = static_cast<double>(shape.tokens) * shape.top_k;
  return {.bytes = kBf16Bytes * h * (shape.experts + shape.tokens) + kSlotBytes * slots,
          .flops = 2 * h * shape.experts * shape.tokens};
}

Traffic LayerTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  return RouteTraffic(shape) + GateUpTraffic(shape, load) + DownTraffic(shape, load) +
         CombineTraffic(shape, load);
}

double WarmRatio(std::span<const TouchedWeights> launches, double bytes_per_weight,
                 double window_bytes) {
  std::vector<int64_t> reads;
  for (const TouchedWeights& launch : launches)
    reads.insert(reads.end(), launch.begin(), launch.end());
  if (reads.empty()) return 0;
  // In a ring the second turn sees the steady state; in it, the last use of a weight and the reads
  // since are known. Reads since bound the distinct bytes since from above only when none repeats,
  // so distinct ids are counted.
  std::map<int64_t, size_t> last;
  size_t warm = 0;
  const size_t count = reads.size();
  for (size_t t = 0; t < 2 * count; ++t) {
    const int64_t id = reads[t % count];
    const auto found = last.find(id);
    if (t >= count && found != last.end()) {
      double between = 0;
      for (const auto& [other, when] : last)
        between += other != id && when > found->second ? bytes_per_weight : 0;
      if (between < window_bytes) ++warm;
    }
    last[id] = t;
  }
  return static_cast<double>(warm) / static_cast<double>(count);
}

}  // namespace moecast::kernels
