// `moecast explain`: the arithmetic of one step.
#include <memory>
#include <string>
#include <vector>

#include "reports/explain_text.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"
#include "sim/run/explain_step.h"

namespace moecast {
namespace {

constexpr const char* kFooter =
    "Prints every op of one step: how often it runs, the bytes it moves, its FLOPs, the time\n"
    "either bound allows, the predicted time, which bound decides and where the prediction\n"
    "comes from.\n"
    "\n"
    "Examples:\n"
    "  moecast explain my.yaml                                32 sequences decode at 1024 tokens\n"
    "  moecast explain my.yaml --batch 128 --context 4096\n"
    "  moecast explain my.yaml --prefill 2048                 a prompt alone\n"
    "  moecast explain my.yaml --case top4@heavy --batch 64\n"
    "\n"
    "Exit codes: 0 ok; 2 bad input.\n";

constexpr uint64_t kMostTokens = uint64_t{1} << 40;  // of a step; sequences alike

struct ExplainArguments {
  ScenarioArguments scenario;
  std::string case_name;
  StepQuestion question{.decode_sequences = 32, .context = 1024, .prefill_tokens = 0};
};

std::string CaseName(const StudyCase& c) {
  return c.load.empty() ? c.variant : c.variant + "@" + c.load;
}

/// The case called `name` ("variant@load", "variant/load" or a variant alone); the first when
/// empty.
Result<const StudyCase*> FindCase(const Study& study, const std::string& name) {
  std::vector<std::string> names;
  for (const StudyCase& c : study.cases) {
    if (name.empty() || name == CaseName(c) || name == c.variant + "/" + c.load ||
        name == c.variant) {
      return &c;
    }
    names.push_back(CaseName(c));
  }
  return Error{
      "unknown case '" + name + "'; the scenario has " + CommaList(names) + DidYouMean(name, names),
      "--case"};
}

Status Explain(const ExplainArguments& arguments) {
  SIM_TRY(const Study study, LoadStudy(arguments.scenario));
  SIM_TRY(const StudyCase* chosen, FindCase(study, arguments.case_name));
  SIM_TRY(const StepAnswer answer, ExplainStep(chosen->scenario, arguments.question));
  return PrintToStdout("Case " + CaseName(*chosen) + ". " +
                       RenderExplanation(study.name, chosen->scenario, answer));
}

}  // namespace

void AddExplainCommand(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("explain", "Print the arithmetic of one step of a scenario");
  const auto arguments = std::make_shared<ExplainArguments>();
  AddScenarioArguments(*command, arguments->scenario);
  StepQuestion& question = arguments->question;
  command
      ->add_option("--case", arguments->case_name,
                   "Which case of the scenario (default: the first)")
      ->type_name("VARIANT@LOAD");
  CLI::Option* batch =
      command->add_option("--batch", question.decode_sequences, "Sequences that decode one token")
          ->check(WholeNumber(1, kMostTokens))
          ->capture_default_str();
  command->add_option("--context", question.context, "Tokens each of them attends to")
      ->check(WholeNumber(1, kMostTokens))
      ->capture_default_str();
  CLI::Option* prefill =
      command
          ->add_option("--prefill", question.prefill_tokens,
                       "Tokens of a prompt that starts in this step; without --batch it runs alone")
          ->check(WholeNumber(1, kMostTokens));
  command->footer(kFooter);
  command->callback([arguments, batch, prefill, &exit_code] {
    if (prefill->count() > 0 && batch->count() == 0) arguments->question.decode_sequences = 0;
    const Status status = Explain(*arguments);
    exit_code = status.ok() ? kExitOk : FailWith(status.errors());
  });
}

}  // namespace moecast
