// Scenario: everything a run depends on, validated, in strong units. Nothing after it can fail on
// user input, except files it names that change under the run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/quality.h"
#include "sim/base/rng.h"
#include "sim/cost/efficiency.h"
#include "sim/cost/profile.h"
#include "sim/engine/engine_config.h"
#include "sim/metrics/summary.h"
#include "sim/model/hardware.h"
#include "sim/model/memory.h"
#include "sim/model/model_spec.h"
#include "sim/model/parallelism.h"
#include "sim/policy/expert_policy.h"
#include "sim/policy/kv_policy.h"
#include "sim/policy/router.h"
#include "traces/pruning_spec.h"
#include "traces/routing_source_spec.h"
#include "traces/workload.h"

namespace moecast {

struct Scenario {
  std::string name;
  uint64_t seed = 0;
  int64_t replications = 1;
  ModelSpec model;
  std::string change = {};  // what was done to the model's structure; empty: nothing
  DeviceSpec device;
  FabricSpec fabric;
  Parallelism parallelism;
  int64_t replicas = 1;
  Router router;
  KvPolicy kv;
  MemoryLimits memory;
  Efficiencies efficiencies;
  std::shared_ptr<const Profile> profile;  // null: every time is analytic
  EngineConfig engine;
  WorkloadSpec workload;
  StopRule stop;
  uint64_t warmup_requests = 0;
  RoutingSpec routing;
  std::optional<PruningSpec> pruning = {};  // already out of `model`
  ExpertPolicy experts;
  Slo slo;
};

/// A file the scenario depends on, for provenance.
struct InputFile {
  std::filesystem::path path;
  std::string sha256;
};

/// One cell of a study: a variant at a load.
struct StudyCase {
  std::string variant;  // "base" when the scenario lists none
  std::string load;     // empty when the scenario lists none
  Scenario scenario;
  std::vector<QualityFinding> quality = {};    // what was measured about its model under its policy
  std::optional<double> kv_output_error = {};  // of its cache: kv_errors.h
};

/// A scenario file with its variants and loads expanded: cases are load-major, the first variant of
/// each load is the one ratios refer to.
struct Study {
  std::string name;
  std::vector<StudyCase> cases;
  std::string resolved_yaml;  // every field, defaults and catalog entries included
  std::vector<InputFile> inputs;
};

}  // namespace moecast
