// Profiles from files: strict, every problem at its place. docs/formats/profile.md.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "sim/base/result.h"
#include "sim/cost/profile.h"

namespace moecast {

/// ERRORS: bad syntax, unknown or missing fields, values out of range, a row that is no row.
Result<Profile> ParseProfile(std::string_view text, const std::string& file);
Result<Profile> LoadProfile(const std::filesystem::path& file);

struct FieldReporter;

/// Profiles that cases of a study name; a file is read once.
class ProfileLibrary {
 public:
  /// RETURNS: null after reporting at cost.profile: the file's problems, or a profile of another
  /// GPU than `device`.
  std::shared_ptr<const Profile> Find(const std::filesystem::path& file, const std::string& device,
                                      const FieldReporter& report);

 private:
  std::map<std::filesystem::path, std::shared_ptr<const Profile>> profiles_;
};

/// Whether a profile measured on `profile_gpu` is of the catalog's GPU `device`: letter case and
/// the choice between "-" and "_" do not matter.
bool SameGpu(std::string_view profile_gpu, std::string_view device);

}  // namespace moecast
