// Problems: every error found while a scenario is read, in order of discovery.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "scenarios/yaml_node.h"
#include "sim/base/result.h"

namespace moecast {

class Problems {
 public:
  /// `path` is the dotted field ("cluster.gpu"), `what` the rest of the sentence. A flag that names
  /// the field ("--set cluster.gpu") is not followed by its name again.
  void Add(const Place& place, const std::string& path, const std::string& what) {
    const bool named = place.on_command_line() && place.source.ends_with(" " + path);
    Add({.message = path.empty() || named ? what : path + ": " + what, .where = place.Text()});
  }
  void Add(const Errors& errors) {
    for (const Error& error : errors) Add(error);
  }
  [[nodiscard]] bool none() const { return errors_.empty(); }
  /// The problems so far; past kMost, one line stands for the rest.
  [[nodiscard]] Errors Take() {
    if (cut_) {
      errors_.push_back({.message = "there are further problems; correct the ones above first",
                         .where = errors_.back().where});
    }
    cut_ = false;
    return std::exchange(errors_, {});
  }

 private:
  static constexpr size_t kMost = 100;

  // One mistake met on two ways is told once.
  void Add(Error error) {
    if (std::find(errors_.begin(), errors_.end(), error) != errors_.end()) return;
    cut_ = errors_.size() >= kMost;
    if (!cut_) errors_.push_back(std::move(error));
  }

  Errors errors_;
  bool cut_ = false;
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
