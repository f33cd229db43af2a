#include "kernels/bench/registry.h"

#include "kernels/bench/check.h"
#include "kernels/bench/check_route.h"

namespace moecast::kernels {

const std::vector<NamedSuite>& AllSuites() {
  static const std::vector<NamedSuite> suites{
      {"launch", RunLaunchSuite, nullptr},           {"stream", RunStreamSuite, nullptr},
      {"route", RunRouteSuite, CheckRoute},          {"layer", RunLayerSuite, CheckExpertPath},
      {"experts", RunExpertsSuite, CheckExpertPath},
  };
  return suites;
}

}  // namespace moecast::kernels
