// Proxies: what a variant does to the model's computation, taken from the trace it replays and from
// this project's own reference of caches. Printed beside speed; no quality, and never combined.
#pragma once

#include <string>

#include "scenarios/scenario.h"
#include "sim/run/run_study.h"

namespace moecast {

/// A table with one row per case; empty when no case changes the experts or the cache.
std::string RenderProxies(const Study& study, const StudyResult& result);

}  // namespace moecast
