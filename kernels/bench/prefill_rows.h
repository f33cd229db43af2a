// Rows of the compute-bound expert path: what the suites `prefill` and `loads` have in common.
#pragma once

#include <string>
#include <vector>

#include "kernels/bench/prefill_bench.h"
#include "kernels/bench/suites.h"

namespace moecast::kernels {

/// The context with a stopping rule for launches of milliseconds, under the power cap.
SuiteContext ForLongLaunches(const SuiteContext& context);

/// A row's text columns.
Measurement DescribePrefill(const std::string& op, const ModelShape& model,
                            const std::string& regime, const std::string& rule);

class PrefillRowList {
 public:
  /// `context` of ForLongLaunches; it outlives the list.
  explicit PrefillRowList(const SuiteContext& context) : context_(context) {}

  /// Measures `enqueue` on the bench's present load. ERRORS: throws above the card's peak.
  void Append(const PrefillBench& bench, Measurement row, const Traffic& traffic,
              const EnqueueLaunch& enqueue);
  /// Both products.
  void AppendProducts(const PrefillBench& bench, Measurement row);
  [[nodiscard]] std::vector<Measurement> Take() { return std::move(measured_); }

 private:
  const SuiteContext& context_;
  std::vector<Measurement> measured_;
};

}  // namespace moecast::kernels
