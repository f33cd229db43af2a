// Pruning: experts taken out of the model.
#include <algorithm>

#include "experts.pb.h"
#include "scenarios/convert.h"

namespace moecast {

PruningSpec ConvertPruning(const pb::Pruning& in, const FieldReporter& report, ModelSpec& model) {
  if (!model.moe) {
    report("pruning", "model '" + model.name + "' has no experts");
    return {};
  }
  MoeSpec& moe = *model.moe;
  PruningSpec out{.experts = in.experts(),
                  .native_experts = moe.experts,
                  .native_top_k = moe.top_k,
                  .order = static_cast<PruningOrder>(in.by()),
                  .calibration = in.calibration(),
                  .category = in.category()};
  if (out.experts >= moe.experts) {
    report("pruning.experts", "must be below the model's experts (" + std::to_string(moe.experts) +
                                  "), got " + std::to_string(out.experts));
  }
  if (in.has_category() && !in.has_calibration()) {
    report("pruning.category", "needs pruning.calibration, the trace whose categories are meant");
  }
  if (out.order == PruningOrder::kRandom && in.has_calibration()) {
    report("pruning.calibration", "has no use where experts are drawn at random");
  }
  moe.experts = out.experts;
  moe.top_k = std::min(moe.top_k, out.experts);
  moe.groups = 1;  // groups of the kept experts differ in size: nothing is limited by them
  moe.top_groups = 1;
  return out;
}

}  // namespace moecast
