#include "sim/base/temporaries.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;

void WaitForSignals() {
  while (true) pause();
}

// Death tests run the body in a process of its own.
TEST(TemporariesDeathTest, AnInterruptRemovesWhatIsHalfWrittenAndKeepsWhatIsDone) {
  const TemporaryFolder folder;
  for (const int number : {SIGINT, SIGTERM}) {
    const auto interrupted = [&] {
      RemoveTemporariesOnInterrupt();
      if (!WriteFileAtomically(folder / "done", "whole").ok()) _exit(1);
      const auto half = AtomicFile::Create(folder / "half");
      RememberTemporary(folder / "staging");
      std::filesystem::create_directories(folder / "staging/case");
      std::ofstream(folder / "staging/case/rows.csv") << "rows";
      kill(getpid(), number);
      WaitForSignals();
    };
    EXPECT_EXIT(interrupted(), ::testing::KilledBySignal(number), "");
    EXPECT_EQ(*ReadFile(folder / "done"), "whole");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  }
}

TEST(TemporariesDeathTest, WhatIsForgottenStays) {
  const TemporaryFolder folder;
  const auto interrupted = [&] {
    RemoveTemporariesOnInterrupt();
    RememberTemporary(folder / "mine");
    std::ofstream(folder / "mine") << "kept";
    ForgetTemporary(folder / "mine");
    kill(getpid(), SIGINT);
    WaitForSignals();
  };
  EXPECT_EXIT(interrupted(), ::testing::KilledBySignal(SIGINT), "");
  EXPECT_EQ(*ReadFile(folder / "mine"), "kept");
}

TEST(TemporariesDeathTest, AnIgnoredSignalStaysIgnored) {
  const TemporaryFolder folder;
  const auto interrupted = [&] {
    RemoveTemporariesOnInterrupt();
    signal(SIGINT, SIG_IGN);
    RememberTemporary(folder / "half");
    kill(getpid(), SIGINT);
    _exit(0);
  };
  EXPECT_EXIT(interrupted(), ::testing::ExitedWithCode(0), "");
}

TEST(Temporaries, CostNothingWhereInterruptsAreNotHandled) {
  RememberTemporary("never/created");
  ForgetTemporary("never/created");
  EXPECT_TRUE(HoldInterrupts().owns_lock());
}

}  // namespace
}  // namespace moecast
