#include "sim/base/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;

std::vector<std::string> NamesIn(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// Lets no file of this process grow beyond `bytes`, which a writer sees as a full disk does: a
// failed write with a reason.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    const rlimit limit = {.rlim_cur = bytes, .rlim_max = old_limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*old_handler_)(int);
  rlimit old_limit_{};
};

TEST(ReadFile, ReturnsEveryByte) {
  const TemporaryFolder folder;
  std::string bytes(300'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  ASSERT_TRUE(WriteFileAtomically(folder / "f", bytes).ok());
  EXPECT_EQ(*ReadFile(folder / "f"), bytes);
}

TEST(ReadFile, ErrorsNameTheFileAndTheReason) {
  const TemporaryFolder folder;
  const auto missing = ReadFile(folder / "absent.yaml");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.errors()[0].where, (folder / "absent.yaml").string());
  EXPECT_EQ(missing.errors()[0].message, "cannot open for reading: No such file or directory");
  const auto directory = ReadFile(folder.path());
  ASSERT_FALSE(directory.ok());
  EXPECT_EQ(directory.errors()[0].message, "cannot read: Is a directory");
}

TEST(ReadFile, ReadsFilesOfUnknownSize) { EXPECT_FALSE(ReadFile("/proc/self/status")->empty()); }

// The vectors of FIPS 180-4 and of NIST's example for a million letters.
TEST(Sha256, EqualsThePublishedVectors) {
  EXPECT_EQ(Sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileEqualsThatOfItsBytes) {
  const TemporaryFolder folder;
  const std::string bytes(200'001, 'x');
  ASSERT_TRUE(WriteFileAtomically(folder / "f", bytes).ok());
  EXPECT_EQ(*Sha256OfFile(folder / "f"), Sha256(bytes));
  EXPECT_FALSE(Sha256OfFile(folder / "absent").ok());
}

TEST(AtomicFile, TargetAppearsOnCommitOnly) {
  const TemporaryFolder folder;
  auto file = AtomicFile::Create(folder / "out.csv");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Write("a,b\n").ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "out.csv"));
  ASSERT_TRUE(file->Write("1,2\n").ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(*ReadFile(folder / "out.csv"), "a,b\n1,2\n");
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out.csv"});
}

TEST(AtomicFile, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "out", "old").ok());
  {
    auto file = AtomicFile::Create(folder / "out");
    ASSERT_TRUE(file->Write(std::string(1 << 20, 'n')).ok());
  }
  EXPECT_EQ(*ReadFile(folder / "out"), "old");
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out"});
}

TEST(AtomicFile, AFullDiskIsAnErrorAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "out", "old").ok());
  Status written = Ok();
  {
    const FileSizeLimit limit(100'000);
    written = WriteFileAtomically(folder / "out", std::string(1 << 20, 'n'));
  }
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.errors()[0].where, (folder / "out").string());
  EXPECT_EQ(written.errors()[0].message, "cannot write: File too large");
  EXPECT_EQ(*ReadFile(folder / "out"), "old");
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out"});
}

TEST(AtomicFile, AFailureWhileBufferingSurfacesAtCommit) {
  const TemporaryFolder folder;
  Status committed = Ok();
  {
    const FileSizeLimit limit(0);
    auto file = AtomicFile::Create(folder / "out");
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Write("small enough to sit in the buffer").ok());
    committed = file->Commit();
  }
  EXPECT_FALSE(committed.ok());
  EXPECT_TRUE(NamesIn(folder.path()).empty());
}

TEST(AtomicFile, TheFirstFailureIsRemembered) {
  const TemporaryFolder folder;
  auto file = AtomicFile::Create(folder / "out");
  {
    const FileSizeLimit limit(0);
    EXPECT_FALSE(file->Write(std::string(1 << 20, 'n')).ok());
  }
  EXPECT_FALSE(file->Write("room again, but bytes are missing").ok());
  EXPECT_FALSE(file->Commit().ok());
  EXPECT_TRUE(NamesIn(folder.path()).empty());
}

TEST(AtomicFile, UnwritablePlacesAreErrors) {
  const TemporaryFolder folder;
  const auto in_missing_folder = AtomicFile::Create(folder / "absent/out");
  ASSERT_FALSE(in_missing_folder.ok());
  EXPECT_EQ(in_missing_folder.errors()[0].message, "cannot create: No such file or directory");
  const auto over_folder = AtomicFile::Create(folder.path());
  ASSERT_FALSE(over_folder.ok());
  EXPECT_EQ(over_folder.errors()[0].message, "cannot write: Is a directory");
}

// Renaming over a device would put a file in its place.
TEST(AtomicFile, DevicesAndPipesAreRefusedAndStay) {
  const TemporaryFolder folder;
  const auto pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto file = AtomicFile::Create(pipe);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.errors()[0].message, "cannot write: is no ordinary file");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(AtomicFile, MovesKeepTheFile) {
  const TemporaryFolder folder;
  AtomicFile file = std::move(AtomicFile::Create(folder / "a")).value();
  AtomicFile moved = std::move(file);
  ASSERT_TRUE(moved.Write("a").ok());
  AtomicFile other = std::move(AtomicFile::Create(folder / "b")).value();
  other = std::move(moved);
  ASSERT_TRUE(other.Commit().ok());
  EXPECT_EQ(*ReadFile(folder / "a"), "a");
}

// A reader at any instant sees one whole version.
TEST(AtomicFile, ConcurrentWritersLeaveOneWholeVersion) {
  const TemporaryFolder folder;
  const auto target = folder / "out";
  ASSERT_TRUE(WriteFileAtomically(target, std::string(100'000, 'a')).ok());
  std::vector<std::thread> writers;
  for (const char letter : {'b', 'c', 'd'}) {
    writers.emplace_back([&target, letter] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(WriteFileAtomically(target, std::string(100'000, letter)).ok());
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    const std::string seen = *ReadFile(target);
    EXPECT_EQ(seen, std::string(100'000, seen[0]));
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out"});
}

}  // namespace
}  // namespace moecast
