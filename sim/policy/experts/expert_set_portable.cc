#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

struct Portable {};
using Code = ExpertSetCode<Portable>;
constexpr ExpertSetLoops kLoops = {Code::Take, Code::ThresholdByCount, Code::ThresholdBySum,
                                   Code::ThresholdByCount16};

}  // namespace

const ExpertSetLoops& PortableExpertSetLoops() { return kLoops; }

}  // namespace moecast
