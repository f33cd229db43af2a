# Script: writes OUTPUT, a C++ source that defines Version() and GitCommit().
#   cmake -D SOURCE_DIR=dir -D VERSION=x.y.z -D GIT=git -D OUTPUT=file -P write_version.cmake
set(commit "unknown")
# A tarball unpacked inside some other checkout must not report that checkout's commit.
if(GIT AND EXISTS "${SOURCE_DIR}/.git")
  execute_process(
    COMMAND
      ${GIT} --no-optional-locks -c safe.directory=${SOURCE_DIR} describe --always --dirty --abbrev=40 "--exclude=*"
    WORKING_DIRECTORY ${SOURCE_DIR}
    OUTPUT_VARIABLE described
    RESULT_VARIABLE failed
    ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(commit "${described}")
  endif()
endif()

set(text
    "#include \"sim/base/version.h\"

namespace moecast {

std::string_view Version() { return \"${VERSION}\"; }
std::string_view GitCommit() { return \"${commit}\"; }

}  // namespace moecast
")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT text STREQUAL old)
  file(WRITE "${OUTPUT}" "${text}")
endif()
