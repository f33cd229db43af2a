#include "sim/cost/expert_work.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sim/base/check.h"

namespace moecast {
namespace {

using enum Feature;

/// A multiply-add is two operations.
constexpr double kFlopsPerMultiplyAdd = 2;
/// Gate and up, and down with them.
constexpr double kGateUpMatrices = 2;
constexpr double kAllMatrices = 3;
/// Fullest expert over the mean, of experts that have as many rows.
constexpr double kEven = 1.01;

/// Rows of a tile of the compute-bound form, and what else of an output tile a block computes at a
/// time: columns of the intermediate state, in gate and in up, or of the hidden state.
constexpr double kTileRows = 128;
constexpr double kTileIntermediate = 128;
constexpr double kTileHidden = 256;

double Matrix(const KernelFeatures& f) { return f[kHidden] * f[kIntermediate]; }
double RowElements(const KernelFeatures& f) {
  return f[kAssignments] * (f[kHidden] + f[kIntermediate]);
}

/// How often weights of experts are read, in all: an expert's once per `rows_per_pass` of its rows
/// begun. The fullest has m rows. What the others have is told by their padded rows, and their last
/// passes are half full in the mean; where all have as many rows, by the fullest.
double Passes(const KernelFeatures& f, double rows_per_pass) {
  constexpr double kPaddedTo = 8;  // rows that padded rows are counted in
  if (rows_per_pass <= 0) return f[kDistinct];
  const double of_fullest = std::ceil(f[kMaxLoad] / rows_per_pass);
  if (f[kMaxLoad] * f[kDistinct] <= kEven * f[kAssignments]) return f[kDistinct] * of_fullest;
  const double others = std::max(f[kDistinct] - 1, 0.0);
  const double padded = f[kPaddedRows] - std::ceil(f[kMaxLoad] / kPaddedTo) * kPaddedTo;
  const double begun = padded + others * (rows_per_pass - kPaddedTo) / 2;
  return of_fullest + std::max(others, begun / rows_per_pass);
}

/// `matrices` of H x I per distinct expert.
KernelWork PassesWork(const KernelFeatures& f, double rows_per_pass, double matrices) {
  return {.memory = {Passes(f, rows_per_pass) * matrices * Matrix(f), RowElements(f)},
          .compute = kFlopsPerMultiplyAdd * matrices * f[kPaddedRows] * Matrix(f),
          .chain = f[kMaxLoad] * (f[kHidden] + f[kIntermediate])};
}

/// How many standard deviations the largest of `count` normal deviates lies above their mean, in
/// the mean: the location and the mean of the Gumbel law that it tends to.
double DeviationsOfLargest(double count) {
  const double scale = std::sqrt(2 * std::log(std::max(count, 2.0)));
  const double logs = std::log(scale * scale / 2) + std::log(4 * std::numbers::pi);
  return scale + (std::numbers::egamma - logs / 2) / scale;
}

/// Tiles of one multiprocessor's share, in whole rounds: a block computes tile after tile, and the
/// others wait for the last.
double Rounds(const KernelFeatures& f, double tiles, double columns, double tile_columns) {
  SIM_CHECK(f[kMultiprocessors] > 0);
  return std::ceil(tiles * std::ceil(columns / tile_columns) / f[kMultiprocessors]);
}
double GateUpChain(const KernelFeatures& f, double tiles) {
  return Rounds(f, tiles, f[kIntermediate], kTileIntermediate) * f[kHidden];
}
double DownChain(const KernelFeatures& f, double tiles) {
  return Rounds(f, tiles, f[kHidden], kTileHidden) * f[kIntermediate];
}

double TilesOf(const KernelFeatures& f) {
  return TilesOfLoads(f[kAssignments], f[kDistinct], f[kMaxLoad]);
}

KernelWork TiledWork(const KernelFeatures& f, double tiles, double matrices, double chain) {
  return {.memory = {f[kDistinct] * matrices * Matrix(f), RowElements(f)},
          .compute = kFlopsPerMultiplyAdd * matrices * tiles * kTileRows * Matrix(f),
          .chain = chain};
}

double Octaves(double x) { return std::log2(std::max(x, 1.0)); }

/// Distinct experts, rows per expert as the form pads them, skew and tokens: rows below a tile cost
/// the same, so padded rows keep apart what differs and together what does not. Skew and tokens
/// count half.
KernelPlace PlaceOf(double tokens, double assignments, double distinct, double rows, double most) {
  const double experts = std::max(distinct, 1.0);
  const double mean = std::max(assignments / experts, 1.0);
  return {Octaves(experts), Octaves(rows / experts), Octaves(most / mean) / 2, Octaves(tokens) / 2};
}

}  // namespace

double TilesOfLoads(double assignments, double distinct, double max_load) {
  const double fullest = std::ceil(max_load / kTileRows);
  if (max_load * distinct <= kEven * assignments) return distinct * fullest;
  const double others = distinct - 1;
  if (others <= 0) return fullest;
  const double mean = (assignments - max_load) / others;
  // Where loads spread over tiles, the last tiles are half full.
  const double half_full = std::max(mean / kTileRows + 0.5, 1.0);
  const double deviation = (max_load - assignments / distinct) / DeviationsOfLargest(distinct);
  if (deviation > kTileRows / 2) return fullest + others * half_full;
  // Where they do not, how many begin a tile is told by their spread: a normal law's, of which the
  // fullest is the largest. Steep loads have a longer tail than that, and fewer rows elsewhere.
  constexpr double kFar = 4;  // deviations
  double tiles = std::max(std::floor((mean - kFar * deviation) / kTileRows), 1.0);
  const double end = std::min(max_load, mean + kFar * deviation);
  for (double rows = tiles * kTileRows; rows < end; rows += kTileRows) {
    tiles += std::erfc((rows + 0.5 - mean) / (deviation * std::numbers::sqrt2)) / 2;
  }
  return fullest + others * std::min(tiles, half_full);
}

KernelPlace ExpertPlace(const KernelAxes& axes) {
  const auto& [tokens, assignments, distinct, padded_rows, max_load, unused] = axes;
  return PlaceOf(tokens, assignments, distinct, padded_rows, max_load);
}
KernelWork GateUpWork(const KernelFeatures& f, double rows_per_pass) {
  return PassesWork(f, rows_per_pass, kGateUpMatrices);
}
KernelWork DownWork(const KernelFeatures& f, double rows_per_pass) {
  return PassesWork(f, rows_per_pass, 1);
}
KernelWork ExpertsWork(const KernelFeatures& f, double rows_per_pass) {
  return PassesWork(f, rows_per_pass, kAllMatrices);
}
KernelWork LayerWork(const KernelFeatures& f, double rows_per_pass) {
  KernelWork work = ExpertsWork(f, rows_per_pass);
  work.memory[2] = f[kTokens] * f[kHidden];
  return work;
}

KernelPlace TiledPlace(const KernelAxes& axes) {
  const auto& [tokens, assignments, distinct, max_load, unused, unused_too] = axes;
  const double tiles = TilesOfLoads(assignments, distinct, max_load);
  return PlaceOf(tokens, assignments, distinct, tiles * kTileRows, max_load);
}
KernelWork TiledGateUpWork(const KernelFeatures& f, double) {
  const double tiles = TilesOf(f);
  return TiledWork(f, tiles, kGateUpMatrices, GateUpChain(f, tiles));
}
KernelWork TiledDownWork(const KernelFeatures& f, double) {
  const double tiles = TilesOf(f);
  return TiledWork(f, tiles, 1, DownChain(f, tiles));
}
KernelWork TiledLayerWork(const KernelFeatures& f, double) {
  const double tiles = TilesOf(f);
  KernelWork work = TiledWork(f, tiles, kAllMatrices, GateUpChain(f, tiles) + DownChain(f, tiles));
  work.memory[2] = f[kTokens] * f[kHidden];
  return work;
}

}  // namespace moecast
