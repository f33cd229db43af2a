#include "calibration/profile_text.h"

#include <charconv>
#include <string_view>

#include "sim/cost/kernel_form.h"

namespace moecast::calibration {
namespace {

constexpr int kSignificantDigits = 6;
constexpr double kUsPerSecond = 1e6;

std::string Number(double value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                    std::chars_format::general, kSignificantDigits);
  return {buffer.data(), result.ptr};
}

std::string Quoted(const std::string& text) { return '"' + text + '"'; }

std::string BandText(const ErrorBand& band) {
  return "[" + Number(band.half80) + ", " + Number(band.half95) + "]";
}

std::string FitText(const KernelFit& fit) {
  std::string text = "{fixed_us: " + Number(fit.fixed * kUsPerSecond) + ", memory_us: [";
  for (size_t i = 0; i < kMemoryTerms; ++i) {
    text += (i == 0 ? "" : ", ") + Number(fit.per_memory[i] * kUsPerSecond);
  }
  return text + "], compute_us: " + Number(fit.per_compute * kUsPerSecond) +
         ", chain_us: " + Number(fit.per_chain * kUsPerSecond) +
         ", sharpness: " + Number(fit.sharpness) + ", rows_per_pass: " + Number(fit.rows_per_pass) +
         "}";
}

std::string ShapeText(const KernelForm& form, const KernelFeatures& shape) {
  std::string text;
  for (const Feature feature : form.shape) {
    if (shape[feature] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(FeatureName(feature)) + ": " +
            Number(shape[feature]);
  }
  return "{" + text + "}";
}

std::string HeldOutText(const HeldOutError& error) {
  return "{points: " + std::to_string(error.points) + ", mean: " + Number(error.mean) +
         ", median: " + Number(error.median) + ", p90: " + Number(error.p90) +
         ", p95: " + Number(error.p95) + ", bias: " + Number(error.bias) + "}";
}

std::string RowsText(const KernelForm& form, const std::vector<ProfileRow>& rows) {
  std::string text = "          ";
  for (const Feature axis : form.axes) text += std::string(FeatureName(axis)) + ",";
  text += "us,weight\n";
  for (const ProfileRow& row : rows) {
    text += "          ";
    for (size_t i = 0; i < form.axes.size(); ++i) text += Number(row.axes[i]) + ",";
    text += Number(row.seconds * kUsPerSecond) + "," + Number(row.weight) + "\n";
  }
  return text;
}

std::string KernelText(const KernelProfile& kernel) {
  const KernelForm& form = FormOf(kernel.op, kernel.variant);
  std::string text = "  - op: " + kernel.op + "\n";
  if (!kernel.variant.empty()) text += "    variant: " + Quoted(kernel.variant) + "\n";
  text += "    format: " + kernel.format + "\n";
  text += "    held_out: " + HeldOutText(kernel.held_out) + "\n";
  text += "    bands: {measured: " + BandText(kernel.measured) +
          ", interpolated: " + BandText(kernel.interpolated) +
          ", extrapolated: " + BandText(kernel.extrapolated) +
          ", unseen_shape: " + BandText(kernel.unseen_shape) + "}\n";
  text += "    any_shape: " + FitText(kernel.any_shape) + "\n";
  text += "    shapes:\n";
  for (const ShapeProfile& shape : kernel.shapes) {
    text += "      - shape: " + ShapeText(form, shape.shape) + "\n";
    text += "        fit: " + FitText(shape.fit) + "\n";
    text += "        rows: |\n" + RowsText(form, shape.rows);
  }
  return text;
}

}  // namespace

std::string ProfileYaml(const Profile& profile) {
  std::string text =
      "# Written by `moecast calibrate`; docs/formats/profile.md says what each field means.\n";
  text += "profile: " + profile.name + "\n";
  text += "gpu: " + profile.gpu + "\n";
  if (!profile.engine.empty()) text += "engine: " + Quoted(profile.engine) + "\n";
  text += "expert_tile_rows: " + std::to_string(profile.expert_tile_rows) + "\n";
  text += "sources:\n";
  for (const ProfileSource& source : profile.sources) {
    text += "  - {file: " + source.file + ", sha256: " + Quoted(source.sha256) +
            ", rows: " + std::to_string(source.rows) +
            ", refused: " + std::to_string(source.refused) + "}\n";
  }
  text += "kernels:\n";
  for (const KernelProfile& kernel : profile.kernels) text += KernelText(kernel);
  return text;
}

}  // namespace moecast::calibration
