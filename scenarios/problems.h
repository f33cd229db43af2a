// Problems: every error found while a scenario is read, in order of discovery.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "scenarios/yaml_node.h"
#include "sim/base/result.h"

namespace moecast {

class Problems {
 public:
  /// `path` is the dotted field ("cluster.gpu"), `what` the rest of the sentence.
  void Add(const Place& place, const std::string& path, const std::string& what) {
    errors_.push_back({.message = path.empty() ? what : path + ": " + what, .where = place.Text()});
  }
  void Add(const Errors& errors) { errors_.insert(errors_.end(), errors.begin(), errors.end()); }
  [[nodiscard]] bool none() const { return errors_.empty(); }
  [[nodiscard]] size_t count() const { return errors_.size(); }
  [[nodiscard]] Errors Take() { return std::exchange(errors_, {}); }

 private:
  Errors errors_;
};

/// Where each field of a message was written, by dotted path.
class FieldPlaces {
 public:
  void Record(const std::string& path, const Place& place) { places_[path] = place; }
  /// Place of the field, or of the nearest enclosing one that was written.
  [[nodiscard]] Place At(std::string path) const {
    for (;;) {
      if (const auto found = places_.find(path); found != places_.end()) return found->second;
      if (path.empty()) return {};
      const size_t dot = path.rfind('.');
      path.resize(dot == std::string::npos ? 0 : dot);
    }
  }

 private:
  std::map<std::string, Place> places_;
};

}  // namespace moecast
