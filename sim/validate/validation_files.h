// The files of a validation as text: docs/validation.md defines every column.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/validate/validation.h"

namespace moecast {

/// The first lines of what RecordedExecution reads again.
inline constexpr std::string_view kCasesHeader =
    "case,device,opening_s,preparing_s,gpu_s,timing_ops_s,all_s";
inline constexpr std::string_view kStepsHeader =
    "case,step,decode_sequences,decode_context,prefill_tokens,prefill_context,rows,graph,work,"
    "predicted_us,executed_us,error_percent,sm_mhz,host_us,predicted_attention_us,"
    "predicted_experts_us,predicted_dense_us,ops_timed_apart_us,layers_timed_apart_us";
inline constexpr std::string_view kOpsHeader = "case,step,op,predicted_us,executed_us";

/// cases.csv: one row per case, the device and where the wall time of executing went.
std::string CasesCsv(const Study& study, const ExecutedStudy& executed);
/// steps.csv: one row per executed step.
std::string StepsCsv(const Study& study, const std::vector<StepComparison>& steps);
/// ops.csv: one row per op of every step whose ops were timed apart.
std::string OpsCsv(const Study& study, const std::vector<StepComparison>& steps);
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
