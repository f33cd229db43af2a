#include "tests/examples/run_moecast.h"

#include <sys/wait.h>

#include <cstdlib>

#include "sim/base/files.h"

namespace moecast::test {
namespace {

/// One word of a POSIX shell command.
std::string Quoted(std::string_view word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string TextOf(const std::filesystem::path& file) {
  const Result<std::string> text = ReadFile(file);
  return text.ok() ? *text : "";
}

}  // namespace

Outcome RunMoecast(const std::vector<std::string>& arguments, const RunSettings& settings) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "out";
  const std::filesystem::path err = folder / "err";
  std::string command = "cd " + Quoted(MOECAST_SOURCE_ROOT) + "; " + settings.before + " exec " +
                        Quoted(MOECAST_BINARY);
  for (const std::string& argument : arguments) command += " " + Quoted(argument);
  command += " > " + Quoted(settings.redirect.empty() ? out.string() : settings.redirect);
  command += " 2> " + Quoted(err.string());
  const int status = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .out = TextOf(out),
          .err = TextOf(err)};
}

std::filesystem::path SharedData() {
  const std::filesystem::path folder = MOECAST_SHARED_DATA;
  return std::filesystem::is_directory(folder) ? folder : std::filesystem::path();
}

}  // namespace moecast::test
