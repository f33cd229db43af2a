#include "tests/support/golden.h"

#include <algorithm>
#include <string>
#include <system_error>

#include "sim/base/files.h"

namespace moecast::test {
namespace {

std::string_view LineAt(std::string_view text, size_t offset) {
  const size_t newline_before = text.substr(0, offset).rfind('\n');
  const size_t begin = newline_before == std::string_view::npos ? 0 : newline_before + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

::testing::AssertionResult MatchesGolden(const GoldenFolders& folders,
                                         const std::filesystem::path& name,
                                         std::string_view actual) {
  const std::filesystem::path found = folders.found / name;
  std::error_code ignored;
  std::filesystem::remove(found, ignored);
  const Result<std::string> golden = ReadFile(folders.expected / name);
  if (golden.ok() && *golden == actual) return ::testing::AssertionSuccess();

  std::filesystem::create_directories(found.parent_path(), ignored);
  const Status kept = WriteFileAtomically(found, actual);
  auto failure = ::testing::AssertionFailure();
  if (!kept.ok()) failure << ToString(kept.errors());
  if (!golden.ok()) return failure << ToString(golden.errors()) << "found: " << found.string();
  const std::string_view expected = *golden;
  const auto [mine, theirs] =
      std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());
  const auto offset = static_cast<size_t>(mine - expected.begin());
  return failure << name.string() << ':' << 1 + std::count(expected.begin(), mine, '\n')
                 << ": differs from the golden file\n  expected: " << LineAt(expected, offset)
                 << "\n  found:    " << LineAt(actual, offset) << "\n  in " << found.string();
}

::testing::AssertionResult MatchesGolden(const std::filesystem::path& name,
                                         std::string_view actual) {
  return MatchesGolden({.expected = MOECAST_GOLDEN_DIR, .found = MOECAST_GOLDEN_FOUND_DIR}, name,
                       actual);
}

}  // namespace moecast::test
