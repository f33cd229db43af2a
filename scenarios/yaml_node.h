// YamlNode: a parsed YAML value that knows where it was written. Plain data, so that overrides and
// catalog entries can be spliced in and still be reported at their own place.
// Hostile input is refused while parsing: anchors and aliases, tags, several documents, more than
// kMaxYamlBytes, kMaxYamlNodes or kMaxYamlDepth.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

inline constexpr size_t kMaxYamlBytes = size_t{1} << 20;
inline constexpr size_t kMaxYamlNodes = 100'000;
inline constexpr int kMaxYamlDepth = 64;

/// Where something was written: a file with line and column from 1, or a command-line flag (line
/// 0).
struct Place {
  std::string source;
  int line = 0;
  int column = 0;

  [[nodiscard]] bool on_command_line() const { return line == 0; }
  /// "file:line:column", or the flag.
  [[nodiscard]] std::string Text() const;
  friend bool operator==(const Place&, const Place&) = default;
};

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  Kind kind = Kind::kNull;
  std::string text;       // of a scalar
  bool quoted = false;    // of a scalar
  bool reported = false;  // a problem was reported here: readers pass over it
  Place place;
  std::string key;  // when this is a value of a mapping
  Place key_place;
  std::vector<YamlNode> children;  // items of a sequence, values of a mapping in file order

  [[nodiscard]] bool is_scalar() const { return kind == Kind::kScalar; }
  [[nodiscard]] bool is_mapping() const { return kind == Kind::kMapping; }
  [[nodiscard]] bool is_sequence() const { return kind == Kind::kSequence; }
  /// First value with this key, or null.
  [[nodiscard]] const YamlNode* Find(std::string_view name) const;
  [[nodiscard]] YamlNode* Find(std::string_view name);
  /// "a mapping", "a list", "'text'" or "nothing": how messages name it.
  [[nodiscard]] std::string Describe() const;
  /// Replaces the value, keeping key and key_place.
  void Assign(YamlNode value);
};

/// Parses one YAML (or JSON) document; an empty one is a null node. ERRORS: bad syntax, hostile
/// input.
Result<YamlNode> ParseYaml(std::string_view text, const std::string& file,
                           size_t most_bytes = kMaxYamlBytes);

/// Parses the value of a command-line flag or of a stated default; every node gets `place`.
Result<YamlNode> ParseYamlValue(std::string_view text, const Place& place);

/// One scalar, sequence or mapping, for building trees.
YamlNode MakeScalar(std::string text, const Place& place);
YamlNode MakeMapping(const Place& place);

}  // namespace moecast
