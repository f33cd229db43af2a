// BenchFields: typed fields of one JSON object of a benchmark's output. Collects problems.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "calibration/serving/serving_point.h"
#include "sim/base/result.h"

namespace moecast::serving {

class BenchFields {
 public:
  /// `where` is the place of the object: "file" or "file:line". REQUIRES: all outlive this object.
  BenchFields(const boost::json::object& object, std::string where, Errors& errors)
      : object_(&object), where_(std::move(where)), errors_(&errors) {}

  [[nodiscard]] bool Has(std::string_view key) const;
  [[nodiscard]] bool Is(std::string_view key, std::string_view text) const;
  /// A finite number > 0, or a problem and 1.
  double Positive(std::string_view key);
  /// A whole number >= 1, or a problem and 1.
  int64_t Count(std::string_view key);
  /// The same, of the key here or in an object one level below.
  int64_t FindCount(std::string_view key);
  /// The positive number when the key is there.
  std::optional<double> MaybePositive(std::string_view key);
  /// The object under a key, or a problem.
  std::optional<BenchFields> Inner(std::string_view key);
  void Fail(std::string_view key, std::string_view allowed);
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const boost::json::object* object_;
  std::string where_;
  Errors* errors_;
};

/// Which JSON format an object is, or none.
enum class BenchFormat { kNone, kBenchServe, kInferenceX, kAiperf };
BenchFormat BenchFormatOf(const boost::json::object& object);
ServingPoint ReadBenchObject(BenchFormat format, BenchFields fields);

/// The rows of a CSV of points.
Result<std::vector<ServingPoint>> ParsePointTable(const std::string& text, const std::string& name);

}  // namespace moecast::serving
