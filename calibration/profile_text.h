// The profile's file and the report's page, as text. Equal inputs give equal bytes.
#pragma once

#include <string>

#include "calibration/calibrate.h"

namespace moecast::calibration {

/// docs/formats/profile.md. Numbers have six significant digits.
std::string ProfileYaml(const Profile& profile);

/// Markdown: errors per kernel, coverage, composition, worst points, suspects, refusals.
std::string ReportMarkdown(const Calibration& calibration);

}  // namespace moecast::calibration
