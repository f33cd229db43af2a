#include "sim/base/temporaries.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <set>
#include <system_error>
#include <thread>

namespace moecast {
namespace {

struct Registry {
  std::mutex mutex;
  std::set<std::filesystem::path> paths;
  bool removes_on_interrupt = false;
  bool waits = false;
};

// Never destroyed: the waiting thread may outlive main.
Registry& Registered() {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): changed under its mutex.
  static Registry& registry = *new Registry;
  return registry;
}

/// The signals that end the process as they are set now; a shell's background job ignores SIGINT.
sigset_t EndingSignals() {
  sigset_t ending;
  sigemptyset(&ending);
  for (const int number : std::array{SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler == SIG_DFL) sigaddset(&ending, number);
  }
  return ending;
}

void WaitAndRemove(sigset_t ending) {
  int number = 0;
  if (sigwait(&ending, &number) != 0) return;
  Registry& registry = Registered();
  registry.mutex.lock();                  // for good: nothing new may come
  for (int pass = 0; pass < 2; ++pass) {  // another thread may just have put a file into a folder
    for (const std::filesystem::path& path : registry.paths) {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  }
  pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
  kill(getpid(), number);
  while (true) pause();
}

}  // namespace

void RemoveTemporariesOnInterrupt() {
  Registry& registry = Registered();
  const std::lock_guard lock(registry.mutex);
  registry.removes_on_interrupt = true;
}

void RememberTemporary(const std::filesystem::path& path) {
  Registry& registry = Registered();
  const std::lock_guard lock(registry.mutex);
  if (!registry.removes_on_interrupt) return;
  registry.paths.insert(path);
  if (registry.waits) return;
  registry.waits = true;
  const sigset_t ending = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // threads that start later inherit it
  std::thread(WaitAndRemove, ending).detach();
}

void ForgetTemporary(const std::filesystem::path& path) {
  Registry& registry = Registered();
  const std::lock_guard lock(registry.mutex);
  registry.paths.erase(path);
}

std::unique_lock<std::mutex> HoldInterrupts() { return std::unique_lock(Registered().mutex); }

}  // namespace moecast
