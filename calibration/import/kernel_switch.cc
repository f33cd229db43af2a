#include "calibration/import/kernel_switch.h"

#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <string>
#include <utility>

namespace moecast::calibration {
namespace {

using enum Feature;

constexpr int kFewestSeries = 4;
constexpr double kFall = 0.8;

using Kernel = std::pair<std::string, std::string>;  // variant, format
using Series = std::array<double, 3>;    // heads, bytes of a token's keys and values, tokens cached
using Times = std::map<double, double>;  // by number of sequences

/// At each number of sequences, how many series have a smaller one, and how many fall to it.
struct Falls {
  int series = 0;
  int falling = 0;
};

std::map<double, Falls> CountFalls(const std::map<Series, Times>& table) {
  std::map<double, Falls> at;
  for (const auto& [series, times] : table) {
    for (auto before = times.begin(), here = std::next(before); here != times.end();
         before = here++) {
      Falls& falls = at[here->first];
      ++falls.series;
      if (here->second < kFall * before->second) ++falls.falling;
    }
  }
  return at;
}

}  // namespace

void SplitAtSwitch(std::span<KernelRow> rows) {
  std::map<Kernel, std::map<Series, Times>> kernels;
  for (const KernelRow& row : rows) {
    const KernelFeatures& f = row.features;
    kernels[{row.variant, row.format}][{f[kHeads], f[kKvBytesPerToken], f[kContext] / f[kBatch]}]
           [f[kBatch]] = row.time_ns;
  }
  std::map<Kernel, double> switches;
  for (const auto& [kernel, table] : kernels) {
    for (const auto& [sequences, falls] : CountFalls(table)) {
      if (falls.series < kFewestSeries || 2 * falls.falling <= falls.series) continue;
      switches.emplace(kernel, sequences);  // the smallest counts
    }
  }
  for (KernelRow& row : rows) {
    const auto found = switches.find({row.variant, row.format});
    if (found == switches.end() || row.features[kBatch] < found->second) continue;
    row.variant += "_from" + std::to_string(std::llround(found->second));
  }
}

}  // namespace moecast::calibration
