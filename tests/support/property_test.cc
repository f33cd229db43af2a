#include "tests/support/property.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace moecast::test {
namespace {

std::vector<uint64_t> FirstDraws(const PropertyRun& run) {
  std::vector<uint64_t> draws;
  ForAll("draws", run, [&](RngStream& rng) { draws.push_back(rng.NextU64()); });
  return draws;
}

TEST(Property, EveryCaseDrawsDifferently) {
  const std::vector<uint64_t> draws = FirstDraws({.cases = 1000});
  EXPECT_EQ(std::set<uint64_t>(draws.begin(), draws.end()).size(), 1000U);
}

TEST(Property, OneCaseReplaysAlone) {
  EXPECT_EQ(FirstDraws({.cases = 1, .first_case = 7}).front(), FirstDraws({.cases = 8}).back());
}

TEST(Property, FailureNamesSeedAndCase) {
  EXPECT_NONFATAL_FAILURE(ForAll("odd", {.cases = 1, .first_case = 3, .seed = 42},
                                 [](RngStream&) { ADD_FAILURE() << "broken"; }),
                          "property 'odd': seed 42, case 3");
}

}  // namespace
}  // namespace moecast::test
