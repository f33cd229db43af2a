#include "sim/base/check.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace moecast {
namespace {

// Per thread, so that simulators on different threads do not see each other.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): read only by a failing check.
thread_local const SimContext* innermost_context = nullptr;

}  // namespace

void CheckFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
  if (innermost_context != nullptr) {
    std::fprintf(stderr, "  at simulated time %" PRId64 " ns, event %" PRIu64 "\n",
                 innermost_context->now_ns, innermost_context->event);
  }
  std::abort();
}

ScopedSimContext::ScopedSimContext(const SimContext& context) : outer_(innermost_context) {
  innermost_context = &context;
}

ScopedSimContext::~ScopedSimContext() { innermost_context = outer_; }

}  // namespace moecast
