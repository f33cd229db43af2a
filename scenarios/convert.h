// Conversion: a message that passed its field rules becomes a Scenario in strong units, after the
// rules that join several fields are checked. Formulas for units live here and nowhere else.
#pragma once

#include <string>

#include "scenarios/problems.h"
#include "scenarios/scenario.h"

namespace moecast {

namespace pb {
class Cluster;
class Efficiencies;
class Engine;
class Experts;
class Format;
class Kv;
class Model;
class ModelChange;
class Pruning;
class Routing;
class Scenario;
class Workload;
}  // namespace pb

/// Reports a problem at the place where a field was written.
struct FieldReporter {
  const FieldPlaces& places;
  Problems& problems;
  void operator()(const std::string& path, const std::string& what) const {
    problems.Add(places.At(path), path, what);
  }
};

/// REQUIRES: the message passed ReadMessage without problems. On a problem the result is unusable.
Scenario ConvertScenario(const pb::Scenario& in, const FieldReporter& report);

ModelSpec ConvertModel(const pb::Model& in, const FieldReporter& report);
TensorFormat ConvertFormat(const pb::Format& in);
WeightFormats ConvertWeightFormats(const pb::Model& model, const FieldReporter& report);
/// Applies a change of structure: layers removed, blocks cut, inputs left out, operations added.
void ConvertChange(const pb::ModelChange& in, const FieldReporter& report, ModelSpec& model);
Efficiencies ConvertEfficiencies(const pb::Efficiencies& in, const FieldReporter& report);
void ConvertCluster(const pb::Cluster& in, const FieldReporter& report, Scenario& out);
void ConvertEngine(const pb::Engine& in, const FieldReporter& report, Scenario& out);
void ConvertWorkload(const pb::Workload& in, const FieldReporter& report, Scenario& out);
RoutingSpec ConvertRouting(const pb::Routing& in);
/// A policy whose PlanKv suits `model`.
KvPolicy ConvertKv(const pb::Kv& in, const ModelSpec& model, const FieldReporter& report);
/// `model` decides how long a layer schedule must be and how large k may be.
ExpertPolicy ConvertExperts(const pb::Experts& in, const ModelSpec& model,
                            const FieldReporter& report);
/// Takes experts out of `model`. RETURNS: which, for the routing.
PruningSpec ConvertPruning(const pb::Pruning& in, const FieldReporter& report, ModelSpec& model);

}  // namespace moecast
