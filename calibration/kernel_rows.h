// KernelRows: clean rows sorted into kernels and shapes, and the rule that holds some of them out.
#pragma once

#include <string>
#include <vector>

#include "calibration/fit.h"
#include "calibration/kernel_row.h"

namespace moecast::calibration {

/// A row of a shape. `part` in [0, kParts) is drawn from the point itself, not from its time.
struct Point {
  const KernelRow* row = nullptr;
  FitPoint fit;
  uint64_t part = 0;
};
inline constexpr uint64_t kPartCount = 25;
/// The rule of held-out points: one part in five.
inline bool IsHeldOut(const Point& point) { return point.part % 5 == 0; }
/// Folds for cross-validation, independent of what is held out.
inline constexpr uint64_t kFolds = 5;
inline uint64_t FoldOf(const Point& point) { return point.part / 5; }

struct ShapeRows {
  KernelFeatures shape;
  std::vector<Point> points;  // ascending by axes
};

struct KernelRows {
  std::string op;
  std::string variant;
  std::string format;
  std::vector<ShapeRows> shapes;  // ascending by shape
  [[nodiscard]] const KernelForm& form() const { return FormOf(op, variant); }
};

/// Sorted by op, variant, format. REQUIRES: `rows` outlive the result.
std::vector<KernelRows> GroupRows(const std::vector<KernelRow>& rows);

}  // namespace moecast::calibration
