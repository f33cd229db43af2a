// A study of two variants of a tiny MoE model at two loads, small enough to run in milliseconds.
#pragma once

#include <string>

#include "scenarios/scenario.h"
#include "tests/support/builders.h"

namespace moecast::test {

inline Scenario TinyScenario() {
  Scenario s;
  s.name = "tiny";
  s.seed = 7;
  s.model = TinyMoeModel();
  s.device = TinyDevice();
  s.fabric = TinyFabric();
  s.kv = UniformKv{PlainKv(16, "bf16")};
  s.memory = {.memory_fraction = 0.9, .reserved = Bytes(1e6)};
  s.efficiencies.name = "unit";
  s.efficiencies.expert_tile_rows = 1;
  s.engine = {.max_batch_tokens = 64, .max_sequences = 8, .kv_block_tokens = 16};
  s.workload = SyntheticWorkload{.arrivals = PoissonArrivals{.rate_per_s = 200},
                                 .input = UniformLength{.min_tokens = 4, .max_tokens = 40},
                                 .output = FixedLength{.tokens = 6}};
  s.stop.requests = 40;
  s.routing = SyntheticRouting{.popularity_spread = 0.5,
                               .topics = 2,
                               .topic_strength = 0.2,
                               .stickiness = 0.2,
                               .sequences = 4,
                               .prefill_tokens = 16,
                               .decode_tokens = 8};
  return s;
}

/// Cases native@slow, top-1@slow, native@fast, top-1@fast.
inline Study TinyStudy() {
  Study study;
  study.name = "tiny";
  study.resolved_yaml = "name: tiny\n";
  for (const auto& [load, rate] : {std::pair{"slow", 50.0}, std::pair{"fast", 500.0}}) {
    for (const bool native : {true, false}) {
      StudyCase c{.variant = native ? "native" : "top-1", .load = load, .scenario = TinyScenario()};
      std::get<SyntheticWorkload>(c.scenario.workload).arrivals =
          PoissonArrivals{.rate_per_s = rate};
      if (!native) c.scenario.experts = UniformTopK{.k = 1};
      study.cases.push_back(std::move(c));
    }
  }
  return study;
}

}  // namespace moecast::test
