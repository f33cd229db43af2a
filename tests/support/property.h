// A property holds for every input; ForAll draws inputs and says which one broke it.
//   ForAll("queue/pops sorted", {.cases = 500}, [](RngStream& rng) { ... EXPECT_... });
// The failure message names the seed and the case. To debug it alone, pass
// {.cases = 1, .first_case = N}: a case's draws depend on (seed, name, N) only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "sim/base/rng.h"

namespace moecast::test {

struct PropertyRun {
  uint64_t cases = 100;
  uint64_t first_case = 0;
  uint64_t seed = 1;
};

/// Calls check(rng) with one fresh stream per case; stops after the first case that fails.
template <class Check>
void ForAll(std::string_view name, const PropertyRun& run, Check check) {
  const bool failed_before = ::testing::Test::HasFailure();
  for (uint64_t i = run.first_case; i < run.first_case + run.cases; ++i) {
    SCOPED_TRACE(::testing::Message()
                 << "property '" << name << "': seed " << run.seed << ", case " << i);
    RngStream rng(Seed{.seed = run.seed}, name, i);
    check(rng);
    if (!failed_before && ::testing::Test::HasFailure()) return;
  }
}

}  // namespace moecast::test
