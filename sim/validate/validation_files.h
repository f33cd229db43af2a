// The files of a validation as text: docs/validation.md defines every column.
#pragma once

#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/validate/validation.h"

namespace moecast {

/// steps.csv: one row per executed step.
std::string StepsCsv(const Study& study, const std::vector<StepComparison>& steps);
/// ops.csv: one row per op of every step whose ops were timed apart.
std::string OpsCsv(const Study& study, const std::vector<StepComparison>& steps);
/// behind.csv, as a suite's file that `moecast calibrate` reads (docs/formats/measurements.md):
/// what a launch takes alone and behind another kernel, one row per op and step, by class of op.
std::string BehindCsv(const Study& study, const std::vector<StepComparison>& steps);
/// step_errors.csv and op_errors.csv: one row per group.
std::string ErrorLinesCsv(const Study& study, const std::vector<ErrorLine>& lines);
/// figures.csv: one row per case and figure, speed-ups last.
std::string FigureErrorsCsv(const Study& study, const Validation& validation);
/// composition.csv: one row per case.
std::string CompositionCsv(const Study& study, const Validation& validation);

/// The same as tables for a reader: cases, steps, ops, composition, and where the
/// wall time went. Markdown, as it is printed.
std::string RenderValidation(const Study& study, const Validation& validation,
                             const ExecutedStudy& executed);

}  // namespace moecast
