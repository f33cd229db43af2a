// Provenance: what a result rests on, as facts that the console and summary.json both print.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/run/run_study.h"

namespace moecast {

/// Sums over runs: what was replayed and read, and what was left out on the way.
struct RunTotals {
  std::array<double, kLabelCount>
      label_share{};  // of step time, by where the prediction comes from
  RoutingNotes routing;
  RequestSourceNotes requests;
  uint64_t arrived = 0;
  uint64_t rejected = 0;          // of them: no KV cache could ever hold them
  uint64_t beyond_positions = 0;  // of the others: longer than the model's longest sequence
  uint64_t events = 0;
};
RunTotals TotalsOf(const CaseResult& result);
RunTotals TotalsOf(const StudyResult& result);

/// One hash over every run of the study in case and replication order.
uint64_t StudyFingerprint(const StudyResult& result);

/// The worst verdict over replications.
Verdict WorstVerdict(const CaseResult& result);
std::string_view VerdictName(Verdict verdict);
std::string_view EndReasonName(EndReason reason);

/// One sentence each: "2 replicas x 4 GPUs (TP 4, DP 1, EP 4)"; where routing comes from; ...
std::string DescribeDeployment(const Scenario& scenario);
std::string DescribeRouting(const Scenario& scenario);
/// "profile 'h200_sxm', efficiencies 'analytic-default'": what prices a step.
std::string DescribePrices(const Scenario& scenario);
/// "moecast 0.5.0 at commit ... from scenario 'NAME'".
std::string MadeBy(const std::string& study_name);
/// "100 % analytic"; every label with a share above zero, best first.
std::string DescribeLabels(const RunTotals& totals);
/// What a reader must know before trusting the figures; one sentence per entry.
std::vector<std::string> Caveats(const RunTotals& totals);
/// The same about the scenario: formats that its GPU does not multiply as they are stored.
std::vector<std::string> Caveats(const Scenario& scenario);

}  // namespace moecast
