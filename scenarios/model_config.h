// ModelConfig: typed look-ups in a config.json under any of several key names.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenarios/problems.h"

namespace moecast {

/// Look-ups never fail: a wrong value is reported and reads as absent. A key whose value is null
/// counts as absent.
class ModelConfig {
 public:
  using Keys = std::initializer_list<std::string_view>;

  /// `root` is the file's object; a nested text_config is looked into first.
  ModelConfig(boost::json::object root, std::string file, Problems& problems);

  [[nodiscard]] const std::string& model_type() const { return model_type_; }
  [[nodiscard]] bool IsOneOf(Keys model_types) const;
  [[nodiscard]] bool Has(std::string_view key) const { return Find(key) != nullptr; }
  [[nodiscard]] const boost::json::value* Find(std::string_view key) const;

  /// A whole number under the first present key; all present keys must agree. A list holding one
  /// number per layer counts as that number when all are equal.
  [[nodiscard]] std::optional<int64_t> Integer(Keys keys) const;
  /// Integer, reported as missing when absent (then 0).
  [[nodiscard]] int64_t RequiredInteger(Keys keys) const;
  [[nodiscard]] std::optional<double> Number(std::string_view key) const;
  [[nodiscard]] std::optional<bool> Bool(std::string_view key) const;
  [[nodiscard]] std::optional<std::string> Text(std::string_view key) const;
  /// Whole numbers of a list; absent when the key is.
  [[nodiscard]] std::optional<std::vector<int64_t>> Integers(std::string_view key) const;
  [[nodiscard]] std::optional<std::vector<std::string>> Texts(std::string_view key) const;

  void Problem(std::string_view key, const std::string& what) const;
  /// Remembers that a value was not read but inferred.
  void Infer(std::string note) { inferred_.push_back(std::move(note)); }
  [[nodiscard]] const std::vector<std::string>& inferred() const { return inferred_; }

 private:
  [[nodiscard]] std::optional<int64_t> ReadInteger(std::string_view key) const;

  boost::json::object root_;
  boost::json::object text_;  // text_config, or empty
  std::string file_;
  std::string model_type_;
  Problems& problems_;
  std::vector<std::string> inferred_;
};

}  // namespace moecast
