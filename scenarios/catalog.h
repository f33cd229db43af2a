// Catalog: facts about models, GPUs, fabrics, formats and efficiencies, by name. A kind is a folder
// with one file per entry (models/NAME.yaml) or one file with an entry per key (formats.yaml).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/yaml_node.h"
#include "sim/base/result.h"

namespace moecast {

class Catalog {
 public:
  explicit Catalog(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// The entry's tree as it stands in its file; files are read once. ERRORS: unknown name (with the
  /// names there are and the nearest one), unreadable or malformed file.
  Result<YamlNode> Find(const std::string& kind, const std::string& name);
  /// The tree of an entry that lies in a file of its own, outside the catalog. ERRORS: unreadable
  /// or malformed file.
  static Result<YamlNode> Read(const std::filesystem::path& file);
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// Every entry of a kind, sorted.
  Result<std::vector<std::string>> Names(const std::string& kind);

 private:
  std::filesystem::path folder_;
  std::map<std::pair<std::string, std::string>, YamlNode> entries_;  // by kind and name
  std::map<std::string, YamlNode> kind_files_;
};

}  // namespace moecast
