#include "traces/twin/fit_report.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "sim/base/text.h"

namespace moecast {
namespace {

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::string Row(std::string name, double trace, double drawn) {
  constexpr size_t kName = 58;
  constexpr size_t kNumber = 10;
  name.resize(kName, ' ');
  std::string text = "  " + name;
  for (const double value : {trace, drawn}) {
    const std::string number = Fixed(value, 3);
    text += std::string(kNumber - std::min(kNumber, number.size()), ' ') + number;
  }
  return text + "\n";
}

}  // namespace

std::string RenderFit(const FitInput& input, const TwinFit& fit) {
  const TwinMoments& trace = fit.trace;
  const TwinMoments& drawn = fit.drawn;
  std::string text = "  fitted to " + std::to_string(input.sample.sequences()) + " sequences, " +
                     std::to_string(input.sample.tokens()) + " tokens, " +
                     std::to_string(input.domains.size()) + " domains";
  if (input.left_out > 0) {
    text += "; left out for memory: " + std::to_string(input.left_out) + " sequences";
  }
  if (input.unknown_rows > 0) {
    text += "; unknown (token, layer) rows: " + std::to_string(input.unknown_rows);
  }
  text += "\n\n  mean over MoE layers                                           trace      twin\n";
  text += Row("experts shared by adjacent tokens", Mean(trace.adjacent), Mean(drawn.adjacent));
  text += Row("experts shared by distant tokens of a sequence", Mean(trace.far), Mean(drawn.far));
  text += Row("experts shared by tokens of two sequences", Mean(trace.across), Mean(drawn.across));
  for (size_t i = 0; i < trace.windows.size(); ++i) {
    text += Row("distinct experts of " + std::to_string(int64_t{2} << i) + " consecutive tokens",
                trace.windows[i], drawn.windows[i]);
  }
  if (fit.twin.groups.size > 0) {
    text +=
        Row("pairs of a row in one block of " + std::to_string(fit.twin.groups.size) + " experts",
            Mean(trace.group_pairs), Mean(drawn.group_pairs));
  }
  return text + Row("covariance of two layers' overlaps, tokens of two sequences",
                    trace.across_covariance, drawn.across_covariance);
}

}  // namespace moecast
