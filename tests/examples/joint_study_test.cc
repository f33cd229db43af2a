// The findings of reports/studies/joint on a smaller run of its scenario: three rules, two caches,
// two loads, fewer requests. What the committed page says is held by tests/studies.
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "sim/base/files.h"
#include "tests/examples/run_moecast.h"

namespace moecast {
namespace {

using test::Outcome;
using test::RunMoecast;

constexpr const char* kVariants =
    "variants=[{name: native bf16, set: {experts: native, kv.scheme: bf16}},"
    " {name: native fp8, set: {experts: native, kv.scheme: fp8_e4m3}},"
    " {name: top-4 bf16, set: {experts: {uniform_top_k: {k: 4}}, kv.scheme: bf16}},"
    " {name: top-4 fp8, set: {experts: {uniform_top_k: {k: 4}}, kv.scheme: fp8_e4m3}},"
    " {name: xshare bf16, set: {experts: {xshare: {budget: 48}}, kv.scheme: bf16}},"
    " {name: xshare fp8, set: {experts: {xshare: {budget: 48}}, kv.scheme: fp8_e4m3}}]";
constexpr const char* kLoads =
    "loads=[{name: few, set: {workload.synthetic.arrivals.closed_loop.concurrency: 32,"
    " workload.stop.requests: 96}}, {name: many, set:"
    " {workload.synthetic.arrivals.closed_loop.concurrency: 448, workload.stop.requests: 512,"
    " workload.synthetic.output.lognormal.mean_tokens: 512}}]";

struct Cell {
  double tokens_per_s = 0;
  double decode_batch = 0;
};

/// Cells of table.csv by "load variant"; no cell of it has a comma.
std::map<std::string, Cell> Cells(const std::string& csv) {
  std::istringstream lines(csv);
  std::map<std::string, size_t> column;
  std::map<std::string, Cell> cells;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> row;
    for (std::string word; std::getline(words, word, ',');) row.push_back(word);
    if (column.empty()) {
      for (size_t i = 0; i < row.size(); ++i) column[row[i]] = i;
      continue;
    }
    cells[row[column["load"]] + " " + row[column["variant"]]] = {
        .tokens_per_s = std::stod(row[column["output_tokens_per_s"]]),
        .decode_batch = std::stod(row[column["mean_decode_batch"]])};
  }
  return cells;
}

class Study {
 public:
  explicit Study(const std::string& csv) : cells_(Cells(csv)) {}
  double Speed(const std::string& name) const { return cells_.at(name).tokens_per_s; }
  double Batch(const std::string& name) const { return cells_.at(name).decode_batch; }
  /// Gain of a rule beside the same cache.
  double Gain(const std::string& load, const std::string& rule, const std::string& cache) const {
    return Speed(load + " " + rule + " " + cache) / Speed(load + " native " + cache) - 1;
  }

 private:
  std::map<std::string, Cell> cells_;
};

// One test, because every test is a process of its own and all statements are about the same run.
TEST(JointStudy, NarrowCacheLiftsTheBatchInWhichRulesOfTheBatchLoseTheirGain) {
  const test::TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  const Outcome run = RunMoecast({"run", "reports/studies/joint/qwen3_30b.yaml", "--set", kVariants,
                                  "--set", kLoads, "--out", out});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Study study(ReadFile(out + "/table.csv").value());

  // Memory limits the batch of many and not of few.
  EXPECT_NEAR(study.Batch("few native fp8") / study.Batch("few native bf16"), 1, 0.05);
  EXPECT_GT(study.Batch("many native fp8"), 1.1 * study.Batch("many native bf16"));
  EXPECT_GT(study.Speed("many native fp8"), 1.1 * study.Speed("many native bf16"));

  EXPECT_GT(study.Gain("few", "xshare", "bf16"), 0.1);
  EXPECT_LT(study.Gain("many", "xshare", "bf16"), 0.75 * study.Gain("few", "xshare", "bf16"));
  EXPECT_LT(study.Gain("many", "xshare", "fp8"), 0.75 * study.Gain("few", "xshare", "fp8"));

  // A rule of the token keeps what it has, whatever the cache.
  EXPECT_GT(study.Gain("many", "top-4", "fp8"), 0.04);
  EXPECT_NEAR(study.Gain("many", "top-4", "fp8"), study.Gain("many", "top-4", "bf16"), 0.06);
}

}  // namespace
}  // namespace moecast
