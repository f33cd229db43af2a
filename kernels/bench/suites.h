// The suites of moecast_kernels. Each returns its rows; none writes a file. registry.h names them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/harness/environment.h"
#include "kernels/harness/expert_load.h"
#include "kernels/harness/kv_accuracy_table.h"
#include "kernels/harness/measure.h"
#include "kernels/harness/measurement.h"
#include "kernels/ops/route/skip_rule.h"
#include "kernels/ops/weight_format.h"

namespace moecast::kernels {

struct SuiteContext {
  Bench bench;
  Environment environment;
  CardPeak peak;
  std::vector<ModelShape> models;
  std::vector<AttentionShape> attention = {};
  std::vector<Projection> projections = {};
  std::vector<NamedScheme> kv_schemes = {};
  std::vector<KvAccuracyRow> kv_accuracy = {};
};

/// The context for suites whose larger products draw the card's power cap: there the cap is the
/// steady state, see PowerCap.
SuiteContext UnderPowerCap(const SuiteContext& context);
/// The same for compute-bound rows, whose clock falls within milliseconds of such a load: every
/// block of samples follows a step's worth of it.
SuiteContext UnderLoad(const SuiteContext& context);

using Suite = std::vector<Measurement> (*)(const SuiteContext& context);

std::vector<Measurement> RunLaunchSuite(const SuiteContext& context);
std::vector<Measurement> RunStreamSuite(const SuiteContext& context);
std::vector<Measurement> RunRouteSuite(const SuiteContext& context);
std::vector<Measurement> RunExpertsSuite(const SuiteContext& context);
std::vector<Measurement> RunLayerSuite(const SuiteContext& context);
std::vector<Measurement> RunSmallSuite(const SuiteContext& context);
std::vector<Measurement> RunDenseSuite(const SuiteContext& context);
std::vector<Measurement> RunDenseBetweenSuite(const SuiteContext& context);
std::vector<Measurement> RunGlueSuite(const SuiteContext& context);

/// A skip rule with the text that stands in the `rule` column.
struct NamedRule {
  std::string text;
  SkipRule rule;
};
/// Native top-k, half of the ranks, and one setting of every threshold rule.
std::vector<NamedRule> RulesFor(const ExpertShape& shape);
NamedRule UniformRule(int32_t k);

/// One line on stderr about rows that no suite takes: a format whose groups do not divide the
/// widths of the model.
void SayUnmeasured(const ModelShape& model, WeightFormat format);

class LayerBench;
/// The text and shape columns of a row; its load and traffic are known once it is measured.
Measurement DescribeRow(const std::string& op, const std::string& model, const LayerBench& layer);

/// Fills the columns that depend on which launches were taken: row.launches of them.
using FinishRow = std::function<void(Measurement& row)>;

using TrafficOf = Traffic (*)(const ExpertShape& shape, const ExpertLoad& load);
/// Load and traffic of the launches that were measured; `cold_bytes` of weights per expert, 0 for
/// an op whose inputs are all warm.
FinishRow FinishWith(const SuiteContext& context, const LayerBench& layer, TrafficOf traffic,
                     double cold_bytes);

/// Measures, finishes and appends. ERRORS: throws when the row exceeds the card's peak.
void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue,
                    const FinishRow& finish, Measurement row, std::vector<Measurement>& rows);
/// The same with another plan than one that rotates through kRoutings.
void AppendMeasured(const SuiteContext& context, const ReplayPlan& plan,
                    const EnqueueLaunch& enqueue, const FinishRow& finish, Measurement row,
                    std::vector<Measurement>& rows);

}  // namespace moecast::kernels
