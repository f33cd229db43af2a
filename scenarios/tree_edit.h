// TreeEditor: changes a scenario tree along its schema before the tree is read: spells out names,
// merges overrides, adds defaults. Trees may hold anything; what the schema does not know is left
// in place for the reader to report.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scenarios/catalog.h"
#include "scenarios/fields.h"
#include "scenarios/problems.h"
#include "scenarios/yaml_node.h"

namespace moecast {

class TreeEditor {
 public:
  /// REQUIRES: both outlive this object.
  TreeEditor(Catalog& catalog, Problems& problems) : catalog_(catalog), problems_(problems) {}

  /// Merges a mapping of overrides into a message's mapping. Keys may be paths ("a.b.c",
  /// "list[2].d" or "list.2.d"). A mapping is merged into the field it names, except that one with
  /// `name` or `from` is a whole catalog entry; anything else replaces the field; null removes it;
  /// setting an arm of a choice removes the other arms.
  void Merge(YamlNode& into, const Descriptor& type, const YamlNode& overrides,
             const std::string& path);

  /// Spells out a message's mapping and everything below it: catalog names and `from` become the
  /// entries, bare names of choices become mappings, paths of files become absolute, absent fields
  /// get their defaults, keys take schema order.
  void Complete(YamlNode& node, const Descriptor& type, const std::string& path);

  /// Spells out names and file paths in the overrides of a variant, without adding defaults.
  void ExpandNames(YamlNode& overrides, const Descriptor& type);

 private:
  enum class Defaults { kAdd, kLeaveOut };

  void MergeField(YamlNode& parent, const FieldDescriptor& field, const YamlNode& value,
                  const std::string& path);
  void MergeItems(YamlNode& list, const FieldDescriptor& field, const YamlNode& value,
                  const std::string& path);
  void ExpandHead(YamlNode& node, const FieldDescriptor& field, const std::string& path);
  void SpellOut(YamlNode& node, const Descriptor& type, const std::string& path, Defaults defaults);
  void SpellOutField(YamlNode& value, const FieldDescriptor& field, const std::string& path,
                     Defaults defaults);
  void AddDefaults(YamlNode& node, const Descriptor& type);

  Catalog& catalog_;
  Problems& problems_;
};

/// Steps of a path: "list[2].d" and "list.2.d" are list, 2, d. A path of more than kMaxYamlDepth
/// steps is one step, which no field is called.
std::vector<std::string> SplitPath(const std::string& path);

/// The overrides a mapping stands for, with paths in keys split into nested mappings.
YamlNode NestPaths(const YamlNode& overrides);

}  // namespace moecast
