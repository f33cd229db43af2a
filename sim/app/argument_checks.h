// Checks of command-line arguments whose messages say what is wrong and what is allowed, where
// CLI11's own would not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

inline constexpr uint64_t kMostWhole = std::numeric_limits<uint64_t>::max();

/// Accepts decimal whole numbers from `least` to `most`: no sign trick, exponent or unit.
CLI::Validator WholeNumber(int64_t least, uint64_t most);

/// Accepts finite numbers of at least 0.
CLI::Validator NonNegative();

/// Accepts the named values alone.
CLI::Validator OneOf(std::vector<std::string> names);

/// Lets every option and positional of the app and of its verbs refuse an empty value, which in a
/// script is an unset variable.
void RefuseEmptyValues(CLI::App& app);

/// ERRORS: `out` is the same file as one of `inputs`.
Status KeepInputs(const std::filesystem::path& out, std::span<const std::string> inputs,
                  const std::string& option = "--out");

/// What to say when one of the leading words is no verb of the app (or of the verb before it), or
/// when the words end where a verb is due; empty when all is well, up to the first flag.
std::string WrongVerb(const CLI::App& app, std::span<char* const> words);

/// What to say after a parse that left arguments over: each unknown option with its nearest name,
/// or else each word that no verb takes.
std::string UnknownArguments(const CLI::App& app);

/// What to say of any other mistake in the arguments: CLI11's words and the verb's own help.
std::string WrongArgument(const CLI::App& app, const CLI::Error& error);

}  // namespace moecast
