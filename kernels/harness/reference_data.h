// The shapes that are measured and the cards' datasheet peaks, read from kernels/data/*.csv, where
// every number stands with its source.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/ops/expert_shape.h"
#include "kernels/ops/rope/rope_table.h"
#include "kernels/ops/route/routing_rule.h"
#include "sim/base/result.h"

namespace moecast::kernels {

/// Routed experts of one model, or of one tensor-parallel slice of it.
struct ModelShape {
  std::string name;
  ExpertShape shape;  // tokens is 0
  ScoreRule router = {};
  bool biased = false;  // the router has a bias for the choice
};

/// What surrounds one model's attention, and its vocabulary.
struct AttentionShape {
  std::string model;
  int32_t hidden = 0;
  RopeShape rope = {};  // tokens is 0
  int32_t vocabulary = 0;
};

/// A dense product of one model: [tokens, inputs] times [outputs, inputs] transposed.
struct Projection {
  std::string model;
  std::string name;
  int32_t outputs = 0;
  int32_t inputs = 0;
  bool fp8 = false;         // measured in fp8 too
  int32_t most_tokens = 0;  // that a step sends through it
};

/// Datasheet rates of one card.
struct CardPeak {
  std::string name;  // folder name of its measurements
  double hbm_bytes_per_s = 0;
  double bf16_flop_per_s = 0;
  double fp8_flop_per_s = 0;
};

/// ERRORS: unreadable, or a cell that is no positive whole number.
Result<std::vector<ModelShape>> ReadModelShapes(const std::filesystem::path& path);
Result<std::vector<AttentionShape>> ReadAttentionShapes(const std::filesystem::path& path);
Result<std::vector<Projection>> ReadProjections(const std::filesystem::path& path);
/// The first row whose `device_name_contains` is part of `device_name`.
/// ERRORS: unreadable, or no row matches.
Result<CardPeak> ReadCardPeak(const std::filesystem::path& path, const std::string& device_name);

}  // namespace moecast::kernels
