#include "scenarios/catalog.h"

#include <algorithm>
#include <system_error>

#include "sim/base/comma_list.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

Error UnknownName(const std::string& kind, const std::string& name,
                  const std::vector<std::string>& known) {
  return {.message = "'" + name + "' is not in the catalog of " + kind +
                     "; known: " + CommaList(known) + DidYouMean(name, known),
          .where = {}};
}

}  // namespace

Result<YamlNode> Catalog::Read(const std::filesystem::path& file) {
  SIM_TRY(const std::string text, ReadFile(file));
  return ParseYaml(text, file.string());
}

Result<std::vector<std::string>> Catalog::Names(const std::string& kind) {
  std::vector<std::string> names;
  const std::filesystem::path file = folder_ / (kind + ".yaml");
  if (std::filesystem::is_regular_file(file)) {
    if (!kind_files_.contains(kind)) {
      SIM_TRY(YamlNode root, Read(file));
      kind_files_.emplace(kind, std::move(root));
    }
    for (const YamlNode& entry : kind_files_.at(kind).children) names.push_back(entry.key);
  } else {
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator(folder_ / kind, error)) {
      if (item.path().extension() == ".yaml") names.push_back(item.path().stem().string());
    }
    if (error) {
      return Error{.message = "cannot list the catalog: " + error.message(),
                   .where = (folder_ / kind).string()};
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<YamlNode> Catalog::Find(const std::string& kind, const std::string& name) {
  const auto cached = entries_.find({kind, name});
  if (cached != entries_.end()) return cached->second;
  SIM_TRY(const std::vector<std::string> names, Names(kind));
  if (!std::binary_search(names.begin(), names.end(), name)) return UnknownName(kind, name, names);
  if (const auto file = kind_files_.find(kind); file != kind_files_.end()) {
    YamlNode entry = *file->second.Find(name);
    YamlNode name_node = MakeScalar(name, entry.place);
    name_node.key = "name";
    name_node.key_place = entry.key_place;
    entry.children.insert(entry.children.begin(), std::move(name_node));
    return entries_.emplace(std::pair(kind, name), std::move(entry)).first->second;
  }
  const std::filesystem::path path = folder_ / kind / (name + ".yaml");
  SIM_TRY(YamlNode entry, Read(path));
  const YamlNode* stated = entry.Find("name");
  if (stated == nullptr || stated->text != name) {
    return Error{.message = "name: must be '" + name + "' as the file is called, got " +
                            (stated == nullptr ? "nothing" : stated->Describe()),
                 .where = (stated == nullptr ? entry.place : stated->place).Text()};
  }
  return entries_.emplace(std::pair(kind, name), std::move(entry)).first->second;
}

}  // namespace moecast
