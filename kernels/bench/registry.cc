#include "kernels/bench/registry.h"

#include "kernels/bench/check.h"
#include "kernels/bench/check_append.h"
#include "kernels/bench/check_attend.h"
#include "kernels/bench/check_attend_prefill.h"
#include "kernels/bench/check_dense.h"
#include "kernels/bench/check_formats.h"
#include "kernels/bench/check_glue.h"
#include "kernels/bench/check_mla.h"
#include "kernels/bench/check_prefill.h"
#include "kernels/bench/check_route.h"
#include "kernels/bench/check_small.h"
#include "kernels/bench/suite_append.h"
#include "kernels/bench/suite_attend.h"
#include "kernels/bench/suite_attend_prefill.h"
#include "kernels/bench/suite_formats.h"
#include "kernels/bench/suite_loads.h"
#include "kernels/bench/suite_mla.h"
#include "kernels/bench/suite_prefill.h"

namespace moecast::kernels {

const std::vector<NamedSuite>& AllSuites() {
  static const std::vector<NamedSuite> suites{
      {"launch", RunLaunchSuite, {}},
      {"stream", RunStreamSuite, {}},
      {"small", RunSmallSuite, CheckSmall},
      {"glue", RunGlueSuite, CheckGlue},
      {"dense", RunDenseSuite, CheckDense},
      {"dense_between", RunDenseBetweenSuite, CheckDense},
      {"route", RunRouteSuite, CheckRoute},
      {"layer", RunLayerSuite, CheckExpertPath},
      {"experts", RunExpertsSuite, CheckExpertPath},
      {"prefill", RunPrefillSuite, CheckPrefill},
      {"prefill_between", RunPrefillBetweenSuite, CheckPrefill},
      {"formats", RunFormatsSuite, CheckFormats},
      {"formats_between", RunFormatsBetweenSuite, CheckFormats},
      {"loads", RunLoadsSuite, CheckFormats},
      {"prefill_loads", RunPrefillLoadsSuite, CheckPrefill},
      {"append", RunAppendSuite, CheckAppend},
      {"attend", RunAttendSuite, CheckAttend},
      {"mla", RunMlaSuite, CheckMla},
      {"attend_prefill", RunAttendPrefillSuite, CheckAttendPrefill},
  };
  return suites;
}

}  // namespace moecast::kernels
