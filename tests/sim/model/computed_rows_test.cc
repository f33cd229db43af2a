#include "sim/model/computed_rows.h"

#include <gtest/gtest.h>

namespace moecast {
namespace {

TEST(ComputedRows, AreEnoughAndLessThanOneStepMore) {
  int64_t before = 0;
  for (int64_t rows = 0; rows <= 5000; ++rows) {
    const int64_t computed = ComputedRows(rows);
    EXPECT_GE(computed, rows);
    EXPECT_LE(computed - rows, rows <= 16 ? 0 : rows <= 256 ? 7 : 63) << rows;
    EXPECT_GE(computed, before);
    EXPECT_EQ(ComputedRows(computed), computed) << "padded rows are not padded again";
    before = computed;
  }
}

}  // namespace
}  // namespace moecast
