// SIM_CHECK: an invariant of the program, always on. User input never reaches it (see result.h).
// A failed check prints file:line, the expression and the simulated time of the innermost
// ScopedSimContext on this thread, then aborts.
#pragma once

#include <cstdint>

namespace moecast {

/// Prints the failure and aborts. Called by SIM_CHECK only.
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);

/// Where the simulator is, for the message of a failed check.
struct SimContext {
  int64_t now_ns = 0;
  uint64_t event = 0;
};

/// Makes `context` the one that CheckFailed prints on this thread until destruction.
/// REQUIRES: `context` outlives this object.
class ScopedSimContext {
 public:
  explicit ScopedSimContext(const SimContext& context);
  ~ScopedSimContext();
  ScopedSimContext(const ScopedSimContext&) = delete;
  ScopedSimContext& operator=(const ScopedSimContext&) = delete;

 private:
  const SimContext* outer_;
};

}  // namespace moecast

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): needs the expression's text and place.
#define SIM_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::moecast::CheckFailed(__FILE__, __LINE__, #expression))
