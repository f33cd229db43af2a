#include "reports/result_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void Write(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
}

std::vector<std::string> Files(const std::filesystem::path& root) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_directory()) files.push_back(entry.path().lexically_relative(root).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void PublishInto(const std::filesystem::path& target, const std::vector<std::string>& names) {
  Result<ResultFolder> folder = ResultFolder::Open(target);
  ASSERT_TRUE(folder.ok());
  Write(folder->staging() / "scenario.yaml", std::string(ResultFolder::kMarker) + "\n");
  for (const std::string& name : names) Write(folder->staging() / name, "new");
  ASSERT_TRUE(folder->Publish().ok());
}

TEST(ResultFolder, NothingAppearsWithoutPublish) {
  const TemporaryFolder root;
  {
    const Result<ResultFolder> folder = ResultFolder::Open(root / "a/b");
    ASSERT_TRUE(folder.ok());
    Write(folder->staging() / "summary.json", "half");
  }
  EXPECT_THAT(Files(root.path()), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(root / "a"));
}

TEST(ResultFolder, RemovesWhatAKilledRunLeftAndKeepsALiveOnes) {
  const TemporaryFolder root;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);  // from here on no process has this number
  const auto partial = [&](pid_t owner) {
    return root / "out" / (".moecast-partial-" + std::to_string(owner));
  };
  Write(partial(child) / "requests.csv", "half");
  Write(partial(getppid()) / "requests.csv", "half");
  PublishInto(root / "out", {"table.csv"});
  EXPECT_FALSE(std::filesystem::exists(partial(child)));
  EXPECT_TRUE(std::filesystem::exists(partial(getppid())));
}

TEST(ResultFolder, PublishMovesEveryFileIntoPlace) {
  const TemporaryFolder root;
  PublishInto(root / "out", {"table.csv", "v@l/summary.json"});
  EXPECT_THAT(Files(root / "out"), ElementsAre("scenario.yaml", "table.csv", "v@l/summary.json"));
}

TEST(ResultFolder, ReplacesAnEarlierResultAndKeepsForeignFiles) {
  const TemporaryFolder root;
  PublishInto(root / "out", {"table.csv", "old@l/summary.json", "old@l/requests.r0.csv"});
  Write(root / "out/notes.txt", "mine");
  PublishInto(root / "out", {"table.csv", "new@l/summary.json"});
  EXPECT_THAT(Files(root / "out"),
              ElementsAre("new@l/summary.json", "notes.txt", "scenario.yaml", "table.csv"));
}

TEST(ResultFolder, RefusesAFolderWithOtherFiles) {
  const TemporaryFolder root;
  Write(root / "scenario.yaml", "name: mine\n");
  const Result<ResultFolder> folder = ResultFolder::Open(root.path());
  ASSERT_FALSE(folder.ok());
  EXPECT_THAT(folder.errors().front().message, HasSubstr("not empty"));
  EXPECT_EQ(ReadFile(root / "scenario.yaml").value(), "name: mine\n");
}

TEST(ResultFolder, SaysWhyAFolderCannotBeMade) {
  const TemporaryFolder root;
  Write(root / "file", "x");
  const Result<ResultFolder> folder = ResultFolder::Open(root / "file/out");
  ASSERT_FALSE(folder.ok());
  EXPECT_THAT(folder.errors().front().where, HasSubstr("file/out"));
}

}  // namespace
}  // namespace moecast
