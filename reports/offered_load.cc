#include "reports/offered_load.h"

#include <type_traits>
#include <utility>

#include "reports/provenance.h"

namespace moecast {
namespace {

/// Of the offered rate; below it a rate is not that of the load. A definition, as the verdict's is.
constexpr double kSteadyShare = 0.95;

double MeanRate(const CaseResult& result) {
  double sum = 0;
  for (const RunResult& run : result.replications) sum += run.summary.request_throughput;
  return sum / static_cast<double>(result.replications.size());
}

}  // namespace

std::optional<double> OfferedRate(const WorkloadSpec& workload) {
  const auto* synthetic = std::get_if<SyntheticWorkload>(&workload);
  if (synthetic == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& a) -> std::optional<double> {
        using Kind = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<Kind, ClosedLoop>) {
          return std::nullopt;
        } else if constexpr (std::is_same_v<Kind, OnOffArrivals>) {
          const double requests = a.on_rate_per_s * a.on_s + a.off_rate_per_s * a.off_s;
          return requests / (a.on_s + a.off_s);
        } else {
          return a.rate_per_s;
        }
      },
      synthetic->arrivals);
}

std::optional<std::string> ShortRunCaveat(const StudyCase& c, const CaseResult& result) {
  const std::optional<double> offered = OfferedRate(c.scenario.workload);
  const bool is_short = offered && WorstVerdict(result) == Verdict::kStable &&
                        MeanRate(result) < kSteadyShare * *offered;
  if (!is_short) return std::nullopt;
  return "requests finish more slowly than they arrive although no queue grows: the run is short "
         "beside the life of a request, so rates count its beginning and end; raise workload.stop "
         "for those of a steady load";
}

std::optional<std::string> ShortRunCaveat(const Study& study, const StudyResult& result) {
  size_t cases = 0;
  std::optional<std::string> sentence;
  for (size_t i = 0; i < result.cases.size(); ++i) {
    if (auto caveat = ShortRunCaveat(study.cases[i], result.cases[i])) {
      ++cases;
      sentence = std::move(caveat);
    }
  }
  if (!sentence) return std::nullopt;
  return "in " + std::to_string(cases) + " of " + std::to_string(result.cases.size()) + " cases " +
         *sentence;
}

}  // namespace moecast
