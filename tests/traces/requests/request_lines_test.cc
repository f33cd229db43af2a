#include "traces/request_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/property.h"
#include "tests/traces/requests/request_files.h"

namespace moecast {
namespace {

using test::WriteText;
using test::ZstdFrame;

struct Lines {
  std::vector<std::string> lines;
  std::string error;
};

Lines ReadLines(const std::filesystem::path& path) {
  Lines result;
  auto reader = LineReader::Open(path);
  if (!reader.ok()) return {.lines = {}, .error = ToString(reader.errors())};
  std::string_view line;
  while (true) {
    const auto more = reader->Next(line);
    if (!more.ok()) result.error = ToString(more.errors());
    if (!more.ok() || !*more) return result;
    result.lines.emplace_back(line);
  }
}

TEST(LineReader, TakesOffLineEndsAndByteOrderMark) {
  const test::TemporaryFolder folder;
  const auto path = WriteText(folder, "a",
                              "\xef\xbb\xbf"
                              "a,b\r\nc\nlast");
  EXPECT_EQ(ReadLines(path).lines, (std::vector<std::string>{"a,b", "c", "last"}));
  EXPECT_EQ(ReadLines(path).error, "");
}

TEST(LineReader, PassesOverBlankLinesAtTheEndOnly) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(ReadLines(WriteText(folder, "end", "a\n\n\r\n\n")).lines,
            std::vector<std::string>{"a"});
  EXPECT_EQ(ReadLines(WriteText(folder, "end", "a\n\n\r\n\n")).error, "");
  const auto path = WriteText(folder, "middle", "a\n\n\nb\n");
  EXPECT_EQ(ReadLines(path).lines, std::vector<std::string>{"a"});
  EXPECT_EQ(ReadLines(path).error, path.string() + ":2: blank line between rows\n");
}

TEST(LineReader, EmptyFileHasNoLines) {
  const test::TemporaryFolder folder;
  EXPECT_TRUE(ReadLines(WriteText(folder, "a", "")).lines.empty());
  EXPECT_TRUE(ReadLines(WriteText(folder, "b", ZstdFrame(""))).lines.empty());
}

TEST(LineReader, KnowsZstandardByContentOrName) {
  const test::TemporaryFolder folder;
  const std::vector<std::string> lines = {"one", "two"};
  EXPECT_EQ(ReadLines(WriteText(folder, "a.zst", ZstdFrame("one\ntwo\n"))).lines, lines);
  EXPECT_EQ(ReadLines(WriteText(folder, "a.csv", ZstdFrame("one\ntwo\n"))).lines, lines);
  const auto named = WriteText(folder, "plain.zst", "one\ntwo\n");
  EXPECT_EQ(ReadLines(named).error,
            named.string() + ":1: Zstandard data is damaged: Unknown frame descriptor\n");
}

TEST(LineReader, ReadsSeveralFramesAsOneFile) {
  const test::TemporaryFolder folder;
  const auto path =
      WriteText(folder, "a.zst", ZstdFrame("one\ntw") + ZstdFrame("") + ZstdFrame("o"));
  EXPECT_EQ(ReadLines(path).lines, (std::vector<std::string>{"one", "two"}));
}

TEST(LineReader, TruncatedZstandardIsAnErrorAtEveryLength) {
  const test::TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 100; ++i) text += std::to_string(i * i * i) + "\n";
  const std::string frame = ZstdFrame(text);
  for (size_t kept = 1; kept < frame.size(); ++kept) {
    const auto path = WriteText(folder, "cut.zst", frame.substr(0, kept));
    EXPECT_NE(
        ReadLines(path).error.find("Zstandard data is truncated: the file ends inside a frame"),
        std::string::npos)
        << kept << " of " << frame.size();
  }
}

TEST(LineReader, LinesMayBeAsLongAsTheLimitAndNoLonger) {
  const test::TemporaryFolder folder;
  const std::string longest(kMaxLineBytes, 'x');
  EXPECT_EQ(ReadLines(WriteText(folder, "a", "first\n" + longest + "\nlast")).lines,
            (std::vector<std::string>{"first", longest, "last"}));
  const std::string too_long(kMaxLineBytes + (size_t{1} << 18), 'x');
  const auto path = WriteText(folder, "b", "first\n" + too_long + "\n");
  EXPECT_EQ(ReadLines(path).error, path.string() + ":2: line is longer than 1048576 bytes\n");
}

TEST(LineReader, AcceptsUtf8AndNothingElse) {
  const test::TemporaryFolder folder;
  for (const char* good :
       {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(ReadLines(WriteText(folder, "good", good)).error, "") << good;
  }
  for (const char* bad : {"\xff", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\x80", "\xe2\x82", "\xf0\x9f\x98"}) {
    const auto path = WriteText(folder, "bad", "12345678901" + std::string(bad));
    EXPECT_NE(ReadLines(path).error.find(":1: byte 12 of the line, '\\x"), std::string::npos)
        << bad;
  }
}

TEST(LineReader, MissingFileAndFolderSayTheSystemsReason) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(ReadLines(folder / "none").error,
            (folder / "none").string() + ": cannot be opened: No such file or directory\n");
  EXPECT_EQ(ReadLines(folder.path()).error,
            folder.path().string() + ": cannot be read: Is a directory\n");
}

TEST(LineReader, SplitsAsANaiveSplitterDoesAcrossReadBoundaries) {
  const test::TemporaryFolder folder;
  test::ForAll("lines/split", {.cases = 20}, [&](RngStream& rng) {
    std::vector<std::string> lines;
    std::string text;
    const uint64_t longest = uint64_t{1} << (4 + rng.NextBelow(15));
    while (text.size() < 600'000) {
      lines.emplace_back(1 + rng.NextBelow(longest), static_cast<char>('a' + rng.NextBelow(26)));
      text += lines.back() + (rng.NextBelow(2) == 0 ? "\n" : "\r\n");
    }
    const bool packed = rng.NextBelow(2) == 0;
    EXPECT_TRUE(ReadLines(WriteText(folder, "a", packed ? ZstdFrame(text) : text)).lines == lines);
  });
}

TEST(Quoted, ShowsUnprintableBytesAndCutsLongValues) {
  EXPECT_EQ(Quoted("12"), "'12'");
  EXPECT_EQ(Quoted(std::string_view("a\0\xff\n", 4)), "'a\\x00\\xff\\x0a'");
  EXPECT_EQ(Quoted(std::string(50, 'x')), "'" + std::string(40, 'x') + "...'");
}

}  // namespace
}  // namespace moecast
