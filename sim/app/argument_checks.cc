#include "sim/app/argument_checks.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

template <class Number>
bool Parse(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  return code == std::errc() && rest == end;
}

bool IsWholeFrom(std::string_view text, int64_t least, uint64_t most) {
  if (text.starts_with('-')) {
    int64_t number = 0;
    return Parse(text, number) && number >= least;
  }
  uint64_t number = 0;
  if (!Parse(text, number) || number > most) return false;
  return least <= 0 || number >= static_cast<uint64_t>(least);
}

std::vector<std::string> VerbNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// The verb whose arguments were being read, and how to call it.
const CLI::App& LastVerb(const CLI::App& app, std::string& call) {
  call += (call.empty() ? "" : " ") + app.get_name();
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : LastVerb(*parsed.back(), call);
}

}  // namespace

CLI::Validator WholeNumber(int64_t least, uint64_t most) {
  const std::string range = "from " + std::to_string(least) + " to " + std::to_string(most);
  return {[=](const std::string& text) {
            if (IsWholeFrom(text, least, most)) return std::string();
            return "expected a whole number " + range + ", got '" + text + "'";
          },
          most == kMostWhole ? "" : range};
}

CLI::Validator NonNegative() {
  return {[](const std::string& text) {
            double number = -1;
            if (Parse(text, number) && number >= 0 && std::isfinite(number)) return std::string();
            return "expected a number of at least 0, got '" + text + "'";
          },
          ""};
}

CLI::Validator OneOf(std::vector<std::string> names) {
  const std::string allowed = CommaList(names);
  return {[allowed, names = std::move(names)](const std::string& text) {
            if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
            return "expected one of " + allowed + ", got '" + text + "'" + DidYouMean(text, names);
          },
          "one of " + allowed};
}

void RefuseEmptyValues(CLI::App& app) {
  const CLI::Validator not_empty(
      [](const std::string& text) { return text.empty() ? "is empty" : std::string(); }, "");
  for (CLI::Option* option :
       app.get_options([](const CLI::Option* o) { return o->get_items_expected_max() > 0; })) {
    option->check(not_empty);
  }
  for (CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    RefuseEmptyValues(*verb);
  }
}

Status KeepInputs(const std::filesystem::path& out, std::span<const std::string> inputs,
                  const std::string& option) {
  for (const std::string& input : inputs) {
    std::error_code missing;
    if (!std::filesystem::equivalent(out, input, missing)) continue;
    return Error{"names the input '" + input + "' itself, which it would overwrite", option};
  }
  return Ok();
}

std::string WrongVerb(const CLI::App& app, std::span<char* const> words) {
  const std::vector<std::string> names = VerbNames(app);
  if (names.empty() || (!words.empty() && words.front()[0] == '-')) return {};
  const std::string call = (app.get_parent() != nullptr ? "moecast " : "") + app.get_name();
  if (words.empty()) {
    return call + " needs a verb: " + CommaList(names) + " (" + call +
           " --help says what they do)\n";
  }
  const std::string word = words.front();
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name() == word) return WrongVerb(*verb, words.subspan(1));
  }
  return "unknown verb '" + word + "'" + DidYouMean(word, names) + " (" + call +
         " --help lists the verbs)\n";
}

std::string UnknownArguments(const CLI::App& app) {
  std::string call;
  const CLI::App& verb = LastVerb(app, call);
  std::string options;
  std::string others;
  for (const std::string& word : app.remaining(true)) {
    const std::string name = word.substr(0, word.find('='));
    if (word.starts_with('-')) {
      options += "unknown option '" + name + "'" + DidYouMean(name, OptionNames(verb)) + "\n";
    } else {
      others += "unexpected argument '" + word + "'\n";
    }
  }
  return (options.empty() ? others : options) + "(" + call + " --help lists what it takes)\n";
}

std::string WrongArgument(const CLI::App& app, const CLI::Error& error) {
  std::string call;
  LastVerb(app, call);
  return std::string(error.what()) + "\n(" + call + " --help lists what it takes)\n";
}

}  // namespace moecast
