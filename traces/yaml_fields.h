// YamlFields: a mapping of a YAML file read strictly, field by field. Every problem is collected
// with file:line:column, the value and what is allowed; unknown and doubled keys are problems too.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

/// Bounds of a whole number, inclusive.
struct WholeRange {
  int64_t least = 0;
  int64_t most = 0;
};

/// Bounds of a number, inclusive.
struct RealRange {
  double least = 0;
  double most = 0;
};

class YamlFields {
 public:
  /// `errors` collects; `name` is the mapping's own name in messages ("ids"), empty at the top.
  YamlFields(const YAML::Node& node, std::string file, std::string name, Errors& errors);

  /// Reports every key that is not one of these, or that appears twice.
  void AllowOnly(std::initializer_list<std::string_view> keys);
  [[nodiscard]] bool Has(const std::string& key) const;

  /// The value, or a problem and a default. Required unless `Has` was asked first.
  std::string Text(const std::string& key);
  int64_t Whole(const std::string& key, WholeRange range);
  double Real(const std::string& key, RealRange range);
  double Positive(const std::string& key);
  /// One of `names`, as its index.
  size_t OneOf(const std::string& key, const std::vector<std::string>& names);
  std::vector<int64_t> WholeList(const std::string& key, WholeRange range);
  std::vector<double> RealList(const std::string& key, RealRange range);
  /// The mapping under `key`.
  YamlFields Mapping(const std::string& key);
  /// The mappings listed under `key`, each named key[i].
  std::vector<YamlFields> Mappings(const std::string& key);
  [[nodiscard]] bool IsList(const std::string& key) const;

  /// Reports a problem at `key`, or at the mapping when it is absent.
  void Fail(const std::string& key, std::string message);

 private:
  [[nodiscard]] std::string Path(const std::string& key) const;
  std::optional<YAML::Node> Find(const std::string& key);
  std::optional<int64_t> ParseWhole(const std::string& key, const YAML::Node& node,
                                    WholeRange range);
  std::optional<double> ParseReal(const std::string& key, const YAML::Node& node, RealRange range);
  [[nodiscard]] std::string Where(const YAML::Node& node) const;

  YAML::Node node_;
  std::string file_;
  std::string name_;
  Errors* errors_;
};

/// The file's one document. ERRORS: unreadable, not YAML (line and column), empty or not a mapping.
Result<YAML::Node> LoadYamlMapping(const std::string& file, const std::string& bytes);

}  // namespace moecast
