#include <boost/json.hpp>
#include <string>
#include <utility>

#include "traces/routing_stats_report.h"

namespace moecast {
namespace {

namespace json = boost::json;

json::object BatchJson(const BatchRouting& of) {
  json::array ranks;
  for (const RankImbalance& rank : of.ranks) {
    ranks.push_back({{"ranks", rank.ranks}, {"max_over_mean", rank.max_over_mean}});
  }
  return {{"forming", Name(of.forming)},
          {"batch_tokens", of.batch},
          {"batches_sampled", of.batches_sampled},
          {"distinct_experts", of.distinct_experts},
          {"independent_distinct_experts", of.independent},
          {"rank_imbalance", std::move(ranks)}};
}

json::array PersistenceJson(const RoutingStats& stats, const PhaseRouting& phase) {
  json::array all;
  for (size_t r = 0; r < phase.persistence.size(); ++r) {
    const RankPersistence& of = phase.persistence[r];
    json::array plans;
    for (const ReplicaForecast& plan : of.forecasts) {
      plans.push_back({{"replicas", plan.replicas},
                       {"planned_max_over_mean", plan.planned},
                       {"oracle_max_over_mean", plan.oracle}});
    }
    all.push_back({{"ranks", stats.options.ranks[r]},
                   {"window_tokens", stats.options.window_tokens},
                   {"windows", of.windows},
                   {"max_over_mean", of.max_over_mean},
                   {"max_over_mean_by_window", json::value_from(of.by_window)},
                   {"lasting_max_over_mean", of.of_totals},
                   {"next_window_correlation", of.next_correlation},
                   {"still_fullest", of.still_fullest},
                   {"replicas", std::move(plans)}});
  }
  return all;
}

json::value SimilarityJson(const SequenceSimilarity& of) {
  const auto part = [](const PairSimilarity& pairs) -> json::value {
    if (pairs.pairs == 0) return nullptr;
    return {{"pairs", pairs.pairs}, {"mean_cosine", pairs.mean}};
  };
  return {{"sequences", of.sequences},
          {"all", part(of.all)},
          {"within_category", part(of.within)},
          {"between_categories", part(of.between)}};
}

json::object CurveJson(const KeptCurve& curve) {
  json::array settings;
  for (const RuleSetting& of : curve.settings) {
    settings.push_back({{"wanted_experts", of.wanted},
                        {"value", of.parameter},
                        {"mean_kept_experts", of.mean_kept},
                        {"kept_gate_mass", of.kept_mass}});
  }
  json::value penalty;
  if (curve.penalty) penalty = *curve.penalty;
  return {{"rule", curve.rule},
          {"parameter", curve.parameter},
          {"penalty", std::move(penalty)},
          {"fewest_mean_kept_experts", curve.fewest},
          {"settings", std::move(settings)}};
}

json::value GatesJson(const PhaseRouting& phase) {
  if (!phase.gates) return nullptr;
  json::array entropy;
  for (const ScoreEntropy& of : phase.gates->entropy) {
    entropy.push_back({{"model_layer", of.layer},
                       {"rows", of.rows},
                       {"mean", of.mean},
                       {"p10", of.p10},
                       {"p50", of.p50},
                       {"p90", of.p90}});
  }
  json::array curves;
  for (const KeptCurve& curve : phase.gates->curves) curves.push_back(CurveJson(curve));
  return {{"rows_sampled", phase.gates->rows},
          {"normalised_entropy", std::move(entropy)},
          {"kept", std::move(curves)}};
}

json::object PhaseJson(const RoutingStats& stats, const PhaseRouting& phase) {
  json::array layers;
  for (const LayerRouting& layer : phase.layers) {
    layers.push_back({{"model_layer", layer.layer},
                      {"max_over_mean", layer.max_over_mean},
                      {"entropy_bits", layer.entropy_bits},
                      {"popularity_over_mean", json::value_from(layer.popularity)}});
  }
  json::array batches;
  for (const BatchRouting& of : phase.batches) batches.push_back(BatchJson(of));
  json::value overlap;
  if (phase.adjacent_overlap) overlap = *phase.adjacent_overlap;
  return {{"phase", Name(phase.phase)},
          {"sequences", phase.sequences},
          {"tokens", phase.tokens},
          {"unknown_rows", phase.unknown_rows},
          {"layers", std::move(layers)},
          {"adjacent_overlap_experts", std::move(overlap)},
          {"independent_overlap_experts", phase.independent_overlap},
          {"persistence", PersistenceJson(stats, phase)},
          {"batches", std::move(batches)},
          {"sequence_similarity", SimilarityJson(phase.similarity)},
          {"gate_scores", GatesJson(phase)}};
}

}  // namespace

std::string RenderJson(const RoutingStats& stats) {
  const RoutingHeader& header = stats.header;
  json::object sampling;
  for (const BatchForming forming : kBatchFormings) {
    sampling[Name(forming)] = Sampling(forming, stats.options);
  }
  json::array phases;
  for (const PhaseRouting& phase : stats.phases) phases.push_back(PhaseJson(stats, phase));
  const json::object root = {{"model", header.model},
                             {"source", header.source},
                             {"moe_layers", header.moe_layers.size()},
                             {"experts", header.experts},
                             {"top_k", header.top_k},
                             {"seed", stats.options.seed.seed},
                             {"sampling", std::move(sampling)},
                             {"phases", std::move(phases)}};
  return json::serialize(root) + "\n";
}

}  // namespace moecast
