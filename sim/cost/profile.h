// Profile: what calibration knows about the kernels of one GPU and engine, and how wrong it is.
// Fitted by `moecast calibrate`, read from YAML (docs/formats/profile.md), asked by StepCost.
// Immutable. docs/model/calibration.md has the equations.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/cost/error_band.h"
#include "sim/cost/kernel_features.h"

namespace moecast {

inline constexpr size_t kMemoryTerms = 4;
inline constexpr size_t kMostAxes = 6;

/// t = fixed + (M^p + C^p + L^p)^(1/p), seconds: memory, compute and the longest chain of one
/// expert, each a sum of coefficients times the terms of the kernel's form (kernel_form.h).
/// Coefficients >= 0.
struct KernelFit {
  double fixed = 0;
  std::array<double, kMemoryTerms> per_memory{};
  double per_compute = 0;
  double per_chain = 0;
  double sharpness = 1;      // p: 1 is a sum, large is a maximum
  double rows_per_pass = 0;  // an expert's weights are read once per so many rows; 0: once
};

/// Errors of predicted over measured time on points held out of the fit, as ratios.
struct HeldOutError {
  int64_t points = 0;
  double mean = 0;  // of the absolute error, as are median, p90 and p95
  double median = 0;
  double p90 = 0;
  double p95 = 0;
  double bias = 0;  // mean of the signed error: above 0 predicts too slow
};

/// A measured point: its place on the form's axes, its time, and its weight in the interpolation of
/// ln(time / fit).
struct ProfileRow {
  std::array<double, kMostAxes> axes{};
  double seconds = 0;
  double weight = 0;
};

/// One shape of a kernel, fitted on its own rows.
struct ShapeProfile {
  KernelFeatures shape;  // only the form's shape features are set
  KernelFit fit;
  std::vector<ProfileRow> rows;  // ascending by axes
};

/// One kernel: (op, variant, format).
struct KernelProfile {
  std::string op;
  std::string variant;
  std::string format;
  KernelFit any_shape;               // over all shapes, for one that was not measured
  std::vector<ShapeProfile> shapes;  // ascending by shape
  // By how the point relates to the rows; from points held out of fits.
  ErrorBand measured;      // spread of repeated samples
  ErrorBand interpolated;  // inside the rows' range on every axis
  ErrorBand extrapolated;  // outside it
  ErrorBand unseen_shape;  // no row has the shape
  HeldOutError held_out;
};

/// A file the profile was fitted from.
struct ProfileSource {
  std::string file;
  std::string sha256;
  int64_t rows = 0;     // used
  int64_t refused = 0;  // listed in the calibration report
};

struct Profile {
  std::string name;
  std::string gpu;               // catalog name of the GPU that was measured
  std::string engine;            // "" for this project's kernels
  int64_t expert_tile_rows = 0;  // rows that P counts an expert's tile with; 0: no expert kernel
  std::vector<ProfileSource> sources;
  std::vector<KernelProfile> kernels;
};

}  // namespace moecast
