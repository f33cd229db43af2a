#include "scenarios/profile_codec.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "profile.pb.h"
#include "scenarios/convert.h"
#include "scenarios/problems.h"
#include "scenarios/yaml_node.h"
#include "scenarios/yaml_walk.h"
#include "sim/base/files.h"
#include "sim/cost/kernel_form.h"

namespace moecast {
namespace {

constexpr double kSecondsPerUs = 1e-6;
/// Profiles hold thousands of rows.
constexpr size_t kMaxProfileBytes = size_t{64} << 20;
/// Columns after the axes: us and weight.
constexpr size_t kRowTail = 2;

ErrorBand ConvertBand(const google::protobuf::RepeatedField<double>& in, const std::string& path,
                      const FieldReporter& report) {
  if (in.size() != 2 || in[0] > in[1]) {
    report(path, "expected two half widths, of 80 % and of 95 %, ascending");
    return {};
  }
  return {.half80 = in[0], .half95 = in[1]};
}

KernelFit ConvertFit(const pb::ProfileFit& in, const std::string& path,
                     const FieldReporter& report) {
  KernelFit fit{.fixed = in.fixed_us() * kSecondsPerUs,
                .per_memory = {},
                .per_compute = in.compute_us() * kSecondsPerUs,
                .per_chain = in.chain_us() * kSecondsPerUs,
                .sharpness = in.sharpness(),
                .rows_per_pass = in.rows_per_pass()};
  if (in.memory_us_size() != static_cast<int>(kMemoryTerms)) {
    report(path + ".memory_us", "expected " + std::to_string(kMemoryTerms) + " numbers, got " +
                                    std::to_string(in.memory_us_size()));
    return fit;
  }
  for (size_t i = 0; i < kMemoryTerms; ++i) {
    fit.per_memory[i] = in.memory_us(static_cast<int>(i)) * kSecondsPerUs;
  }
  return fit;
}

KernelFeatures ConvertShape(const pb::ProfileFeatures& in, const KernelForm& form,
                            const std::string& path, const FieldReporter& report) {
  KernelFeatures shape;
  const google::protobuf::Reflection& reflection = *in.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(in, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const auto feature = FeatureNamed(field->name());
    if (feature && std::find(form.shape.begin(), form.shape.end(), *feature) != form.shape.end()) {
      shape[*feature] = reflection.GetDouble(in, field);
      continue;
    }
    report(path + "." + field->name(), "is no part of the shape of this op");
  }
  return shape;
}

/// The rows of one shape, out of their CSV text.
class RowReader {
 public:
  RowReader(const KernelForm& form, std::string path, const FieldReporter& report)
      : form_(form), path_(std::move(path)), report_(report) {}

  std::vector<ProfileRow> Read(std::string_view text) {
    std::vector<ProfileRow> rows;
    int line = 0;
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const std::string_view row = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (++line == 1) {
        if (row != Header()) {
          Fail(line, "expected the columns '" + Header() + "', got '" + std::string(row) +
                         "'; a profile of another version is fitted again with moecast calibrate");
          has_other_columns_ = true;
          return rows;
        }
        continue;
      }
      if (const auto parsed = ReadRow(row)) {
        rows.push_back(*parsed);
      } else {
        Fail(line, "expected " + std::to_string(form_.axes.size() + kRowTail) +
                       " numbers, the time above 0; got '" + std::string(row) + "'");
        return rows;
      }
    }
    if (rows.empty()) Fail(line, "holds no row");
    return rows;
  }
  /// Whether the text read is of another version: then so are those of all shapes.
  [[nodiscard]] bool has_other_columns() const { return has_other_columns_; }

 private:
  [[nodiscard]] std::string Header() const {
    std::string header;
    for (const Feature axis : form_.axes) header += std::string(FeatureName(axis)) + ",";
    return header + "us,weight";
  }
  [[nodiscard]] std::optional<ProfileRow> ReadRow(std::string_view text) const {
    std::vector<double> cells;
    while (true) {
      const size_t comma = text.find(',');
      const std::string_view cell = text.substr(0, comma);
      double value = 0;
      const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      if (failure != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) {
        return std::nullopt;
      }
      cells.push_back(value);
      if (comma == std::string_view::npos) break;
      text.remove_prefix(comma + 1);
    }
    if (cells.size() != form_.axes.size() + kRowTail) return std::nullopt;
    ProfileRow row;
    for (size_t i = 0; i < form_.axes.size(); ++i) {
      if (cells[i] < 0) return std::nullopt;
      row.axes[i] = cells[i];
    }
    row.seconds = cells[form_.axes.size()] * kSecondsPerUs;
    row.weight = cells.back();
    if (row.seconds <= 0) return std::nullopt;
    return row;
  }
  void Fail(int line, const std::string& what) const {
    report_(path_, "line " + std::to_string(line) + " of the text: " + what);
  }

  const KernelForm& form_;
  std::string path_;
  const FieldReporter& report_;
  bool has_other_columns_ = false;
};

/// RETURNS: nothing where rows have other columns, which is said once.
std::optional<KernelProfile> ConvertKernel(const pb::ProfileKernel& in, const std::string& path,
                                           const FieldReporter& report) {
  const KernelForm& form = FormOf(in.op(), in.variant());
  const auto band = [&](const google::protobuf::RepeatedField<double>& values, const char* name) {
    return ConvertBand(values, path + ".bands." + name, report);
  };
  KernelProfile kernel{.op = in.op(),
                       .variant = in.variant(),
                       .format = in.format(),
                       .any_shape = ConvertFit(in.any_shape(), path + ".any_shape", report),
                       .shapes = {},
                       .measured = band(in.bands().measured(), "measured"),
                       .interpolated = band(in.bands().interpolated(), "interpolated"),
                       .extrapolated = band(in.bands().extrapolated(), "extrapolated"),
                       .unseen_shape = band(in.bands().unseen_shape(), "unseen_shape"),
                       .held_out = {.points = in.held_out().points(),
                                    .mean = in.held_out().mean(),
                                    .median = in.held_out().median(),
                                    .p90 = in.held_out().p90(),
                                    .p95 = in.held_out().p95(),
                                    .bias = in.held_out().bias()}};
  for (int i = 0; i < in.shapes_size(); ++i) {
    const std::string each = path + ".shapes." + std::to_string(i);
    const pb::ProfileShape& shape = in.shapes(i);
    RowReader rows(form, each + ".rows", report);
    kernel.shapes.push_back({.shape = ConvertShape(shape.shape(), form, each + ".shape", report),
                             .fit = ConvertFit(shape.fit(), each + ".fit", report),
                             .rows = rows.Read(shape.rows())});
    if (rows.has_other_columns()) return std::nullopt;
  }
  return kernel;
}

Profile ConvertProfile(const pb::Profile& in, const FieldReporter& report) {
  Profile profile{.name = in.profile(),
                  .gpu = in.gpu(),
                  .engine = in.engine(),
                  .expert_tile_rows = in.expert_tile_rows(),
                  .sources = {},
                  .kernels = {}};
  if (in.expert_tile_rows() > 0 &&
      !std::has_single_bit(static_cast<uint64_t>(in.expert_tile_rows()))) {
    report("expert_tile_rows",
           "must be 0 or a power of two, got " + std::to_string(in.expert_tile_rows()));
  }
  for (const pb::ProfileSource& source : in.sources()) {
    profile.sources.push_back({.file = source.file(),
                               .sha256 = source.sha256(),
                               .rows = source.rows(),
                               .refused = source.refused()});
  }
  for (int i = 0; i < in.kernels_size(); ++i) {
    auto kernel = ConvertKernel(in.kernels(i), "kernels." + std::to_string(i), report);
    if (!kernel) break;
    profile.kernels.push_back(std::move(*kernel));
  }
  return profile;
}

char Plain(char c) {
  if (c == '_') return '-';
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

Result<Profile> ParseProfile(std::string_view text, const std::string& file) {
  SIM_TRY(const YamlNode root, ParseYaml(text, file, kMaxProfileBytes));
  Problems problems;
  ReadNotes notes;
  pb::Profile message;
  ReadMessage(root, message, notes, problems);
  if (!problems.none()) return problems.Take();
  Profile profile = ConvertProfile(message, {.places = notes.places, .problems = problems});
  if (!problems.none()) return problems.Take();
  return profile;
}

Result<Profile> LoadProfile(const std::filesystem::path& file) {
  SIM_TRY(const std::string text, ReadFile(file));
  return ParseProfile(text, file.string());
}

std::shared_ptr<const Profile> ProfileLibrary::Find(const std::filesystem::path& file,
                                                    const std::string& device,
                                                    const FieldReporter& report) {
  std::shared_ptr<const Profile>& known = profiles_[file];
  if (known == nullptr) {
    Result<Profile> read = LoadProfile(file);
    if (!read.ok()) {
      report.problems.Add(read.errors());
      return nullptr;
    }
    known = std::make_shared<const Profile>(std::move(read).value());
  }
  if (!SameGpu(known->gpu, device)) {
    report("cost.profile", "was measured on " + known->gpu + ", but cluster.gpu is " + device +
                               "; kernels of one GPU say nothing of another's");
    return nullptr;
  }
  return known;
}

bool SameGpu(std::string_view profile_gpu, std::string_view device) {
  return std::equal(profile_gpu.begin(), profile_gpu.end(), device.begin(), device.end(),
                    [](char a, char b) { return Plain(a) == Plain(b); });
}

}  // namespace moecast
