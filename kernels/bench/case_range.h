// Which cases of a check run: under a sanitizer, which slows a kernel a thousandfold, a part at a
// time.
#pragma once

#include <limits>

namespace moecast::kernels {

/// Cases first .. last, counted from 1 in the order in which they run.
struct CaseRange {
  int first = 1;
  int last = std::numeric_limits<int>::max();  // all there are

  [[nodiscard]] bool IsAll() const { return first == 1 && last == CaseRange{}.last; }
};

}  // namespace moecast::kernels
