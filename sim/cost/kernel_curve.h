// KernelCurve: a kernel's profile made ready to be asked. The time of a launch is the shape's fit
// times a bounded correction interpolated from its rows. docs/model/calibration.md, "Prediction".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/cost/kernel_form.h"
#include "sim/cost/kernel_time.h"
#include "sim/cost/profile.h"

namespace moecast {

/// The correction's bound: ln(time / fit) is cut to +- this.
inline constexpr double kMostCorrection = 0.5;
/// Whether the rows of a kernel's shapes correct each other. Of more rows each shape is corrected
/// by its own alone: they are solved for together, at a cost of their cube.
inline bool CorrectTogether(size_t rows) {
  constexpr size_t kMostTogether = 512;
  return rows <= kMostTogether;
}

/// One shape: the places of rows stand in blocks, coordinate by coordinate and in single precision,
/// so that a prediction is one pass over them, several at a time, in an order that no compiler
/// changes. Its own rows come first, then places that only other shapes were measured at.
class ShapeCurve {
 public:
  /// Of the kernel's shape number `shape`. REQUIRES: `form` outlives this object (forms are
  /// constants).
  ShapeCurve(const KernelForm& form, const KernelProfile& kernel, size_t shape);

  /// RETURNS: seconds and label; the band is the kernel's to fill in.
  /// COST: linear in the places of the kernel's rows; no allocation.
  [[nodiscard]] KernelTime At(const Launch& launch) const;
  /// Whether the launch is in the range of the rows: false where At cannot but extrapolate.
  [[nodiscard]] bool InRange(const Launch& launch) const;
  /// Whether it is in the range or at most an octave outside it.
  [[nodiscard]] bool IsNear(const Launch& launch) const;
  [[nodiscard]] const KernelFeatures& shape() const { return shape_; }
  [[nodiscard]] size_t row_count() const { return rows_.size(); }
  /// The row nearest to the point, its time and its distance: "nearest tokens 8, ... 22.8 us, 0.3
  /// octaves away". REQUIRES: the shape has rows.
  [[nodiscard]] std::string DescribeNearest(const KernelFeatures& f) const;

 private:
  static constexpr size_t kBlockRows = 8;
  struct RowBlock {
    std::array<std::array<float, kBlockRows>, kCoordinates> place;  // octaves
    std::array<float, kBlockRows> weight;                           // 0 behind the last row
  };
  struct WeighedPlace {
    KernelPlace place{};
    double weight = 0;
  };
  struct Interpolation {
    double correction = 0;  // of ln(time / fit)
    double nearest = 0;     // squared octaves to the nearest row of the shape
  };
  void AppendBlocks(const std::vector<WeighedPlace>& places);
  [[nodiscard]] Interpolation Interpolate(const KernelPlace& place) const;
  /// The same, for CPUs that have AVX2: eight rows at a time instead of four.
  [[nodiscard]] Interpolation InterpolateWide(const KernelPlace& place) const;
  [[nodiscard]] Interpolation SumRows(const KernelPlace& place) const;
  /// Whether the place is in the rows' range, or at most `slack` octaves outside it.
  [[nodiscard]] bool InRange(const KernelPlace& place, double slack) const;
  [[nodiscard]] const ProfileRow* RowAt(const KernelAxes& axes) const;

  const KernelForm* form_;
  KernelFeatures shape_;
  KernelFit fit_;
  std::vector<ProfileRow> rows_;
  std::vector<RowBlock> blocks_;
  size_t own_blocks_ = 0;  // of the shape's own rows
  KernelPlace least_{};    // of them, per coordinate
  KernelPlace most_{};
};

class KernelCurve {
 public:
  explicit KernelCurve(const KernelProfile& profile);

  /// Position of the shape nearest to these shape features; nothing when no row says anything of
  /// it (ShapeDistance).
  [[nodiscard]] std::optional<size_t> FindShape(const KernelFeatures& f) const;
  /// The time of one launch with its band. `shape` is FindShape(f); without one the fit over all
  /// shapes answers. RETURNS: at least `floor` seconds, the roofline at datasheet rates (INV-6).
  [[nodiscard]] KernelTime At(const KernelFeatures& f, std::optional<size_t> shape,
                              double floor) const {
    return At(Launch(*form_, f), shape, floor);
  }
  /// The same. REQUIRES: here and below, LieAlike(*launch.form, form()).
  [[nodiscard]] KernelTime At(const Launch& launch, std::optional<size_t> shape,
                              double floor) const;
  /// Whether the launch is in the range of the shape's rows.
  [[nodiscard]] bool InRange(const Launch& launch, std::optional<size_t> shape) const {
    return shape && shapes_[*shape].InRange(launch);
  }
  [[nodiscard]] bool IsNear(const Launch& launch, std::optional<size_t> shape) const {
    return shape && shapes_[*shape].IsNear(launch);
  }

  [[nodiscard]] const KernelForm& form() const { return *form_; }
  [[nodiscard]] const std::vector<ShapeCurve>& shapes() const { return shapes_; }

 private:
  const KernelForm* form_;
  KernelFit any_shape_;
  std::array<ErrorBand, 3> bands_;  // by Label, measured to extrapolated
  ErrorBand unseen_shape_;
  std::vector<ShapeCurve> shapes_;
};

}  // namespace moecast
