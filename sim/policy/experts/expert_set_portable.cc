#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

struct Portable {};
using Code = ExpertSetCode<Portable>;
constexpr ExpertSetLoops kLoops = {Code::Take,
                                   Code::Above,
                                   Code::ThresholdByCount,
                                   Code::ThresholdBySum,
                                   Code::ThresholdByCount16,
                                   Code::CountAbove16};

}  // namespace

const ExpertSetLoops& PortableExpertSetLoops() { return kLoops; }

}  // namespace moecast
