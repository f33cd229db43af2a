#include "calibration/suite_names.h"

#include <array>
#include <string>

namespace moecast::calibration {
namespace {

using enum Feature;

/// Bytes that the simulator counts per row and element of `hidden` (docs/model/features.md): a norm
/// reads and writes residual and branch in bf16, rotary embedding reads and writes heads in bf16,
/// and sampling reads float32 logits.
struct SmallOp {
  std::string_view suite;
  std::string_view form;
  double bytes_per_element;
};
constexpr std::array<SmallOp, 3> kSmallOps{
    {{"norm", "norm", 4 * 2}, {"rope", "rope", 2 * 2}, {"sample", "sampling", sizeof(float)}}};

constexpr std::string_view kPrefill = "prefill_";
/// Rows of a decode kernel's tile; on average an expert is padded by half a tile less half a row.
constexpr double kDecodeTile = 8;
constexpr double kMeanPadding = (kDecodeTile - 1) / 2;

}  // namespace

void TranslateSuite(KernelRow& row, std::string_view regime) {
  KernelFeatures& f = row.features;
  if (row.op == "dense" && f[kN] == 0) {
    f[kN] = f[kIntermediate];
    f[kK] = f[kHidden];
  }
  if (row.op.starts_with(kPrefill)) {
    row.op.erase(0, kPrefill.size());
    row.variant = "prefill";
    f[kPaddedRows] = f[kAssignments] + kMeanPadding * f[kDistinct];
  }
  for (const SmallOp& small : kSmallOps) {
    if (row.op != small.suite || f[kWidth] != 0) continue;
    row.op = small.form;
    f[kWidth] = small.bytes_per_element * f[kHidden];
    row.variant = regime;
  }
}

}  // namespace moecast::calibration
