// The quality section of a report: findings that were looked up for each variant's policy, next to
// its speed. A policy nobody measured prints as missing; nothing is interpolated or combined.
#pragma once

#include <boost/json/array.hpp>
#include <string>

#include "scenarios/scenario.h"

namespace moecast {

/// One row per variant and finding. RETURNS: empty when every variant runs the unchanged model and
/// nothing was measured of it.
std::string RenderQuality(const Study& study);

/// The case's findings as objects; empty when nothing was measured.
boost::json::array QualityJson(const StudyCase& c);

}  // namespace moecast
