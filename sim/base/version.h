// Which moecast this is, for provenance. Never part of a result.
#pragma once

#include <string_view>

namespace moecast {

/// The release, "major.minor.patch".
std::string_view Version();

/// The 40-digit commit that was built, with "-dirty" when tracked files differed from it, or
/// "unknown" when the source was not a git checkout.
std::string_view GitCommit();

}  // namespace moecast
