#include "traces/yaml_fields.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

std::string PlaceOf(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file;
  return file + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

/// True when a document marker follows text. yaml-cpp's own way of counting documents never ends on
/// some malformed input, and reading only the first would drop the rest in silence.
bool HasSecondDocument(std::string_view text) {
  bool has_content = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool marker = line.starts_with("---") || line.starts_with("...");
    if (marker && has_content) return true;
    has_content |= !line.empty() && line.front() != '#';
  }
  return false;
}

template <class Number>
std::optional<Number> ParseNumber(const std::string& text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

YamlFields::YamlFields(const YAML::Node& node, std::string file, std::string name, Errors& errors)
    : node_(node), file_(std::move(file)), name_(std::move(name)), errors_(&errors) {}

std::string YamlFields::Where(const YAML::Node& node) const { return PlaceOf(file_, node.Mark()); }

std::string YamlFields::Path(const std::string& key) const {
  if (name_.empty() || key.empty()) return name_ + key;
  return name_ + "." + key;
}

void YamlFields::AllowOnly(std::initializer_list<std::string_view> keys) {
  const std::vector<std::string> allowed(keys.begin(), keys.end());
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      errors_->push_back({"unknown field '" + Path(key) + "'" + DidYouMean(key, allowed) +
                              " (fields here: " + CommaList(allowed) + ")",
                          Where(entry.first)});
    } else if (!seen.insert(key).second) {
      errors_->push_back({"field '" + Path(key) + "' is given twice", Where(entry.first)});
    }
  }
}

bool YamlFields::Has(const std::string& key) const {
  return node_.IsMap() && static_cast<const YAML::Node&>(node_)[key].IsDefined();
}

bool YamlFields::IsList(const std::string& key) const {
  return Has(key) && static_cast<const YAML::Node&>(node_)[key].IsSequence();
}

std::optional<YAML::Node> YamlFields::Find(const std::string& key) {
  if (Has(key)) return static_cast<const YAML::Node&>(node_)[key];
  Fail(key, "is missing");
  return std::nullopt;
}

void YamlFields::Fail(const std::string& key, std::string message) {
  const YAML::Node place = Has(key) ? static_cast<const YAML::Node&>(node_)[key] : node_;
  errors_->push_back({Path(key) + " " + std::move(message), Where(place)});
}

std::string YamlFields::Text(const std::string& key) {
  const auto node = Find(key);
  if (!node) return {};
  if (node->IsScalar() && !node->Scalar().empty()) return node->Scalar();
  Fail(key, "must be a text");
  return {};
}

std::optional<int64_t> YamlFields::ParseWhole(const std::string& key, const YAML::Node& node,
                                              WholeRange range) {
  const auto value = node.IsScalar() ? ParseNumber<int64_t>(node.Scalar()) : std::nullopt;
  if (value && *value >= range.least && *value <= range.most) return value;
  errors_->push_back({Path(key) + " is '" + (node.IsScalar() ? node.Scalar() : "a collection") +
                          "', allowed are whole numbers from " + std::to_string(range.least) +
                          " to " + std::to_string(range.most),
                      Where(node)});
  return std::nullopt;
}

int64_t YamlFields::Whole(const std::string& key, WholeRange range) {
  const auto node = Find(key);
  return node ? ParseWhole(key, *node, range).value_or(range.least) : range.least;
}

std::optional<double> YamlFields::ParseReal(const std::string& key, const YAML::Node& node,
                                            RealRange range) {
  const auto value = node.IsScalar() ? ParseNumber<double>(node.Scalar()) : std::nullopt;
  if (value && *value >= range.least && *value <= range.most) return value;
  errors_->push_back({Path(key) + " is '" + (node.IsScalar() ? node.Scalar() : "a collection") +
                          "', allowed are numbers from " + ShortestDouble(range.least) + " to " +
                          ShortestDouble(range.most),
                      Where(node)});
  return std::nullopt;
}

double YamlFields::Real(const std::string& key, RealRange range) {
  const auto node = Find(key);
  return node ? ParseReal(key, *node, range).value_or(range.least) : range.least;
}

double YamlFields::Positive(const std::string& key) {
  return Real(key, {std::numeric_limits<float>::min(), std::numeric_limits<float>::max()});
}

size_t YamlFields::OneOf(const std::string& key, const std::vector<std::string>& names) {
  const auto node = Find(key);
  if (!node) return 0;
  const std::string text = node->IsScalar() ? node->Scalar() : "";
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  Fail(key, "is '" + text + "', allowed are " + CommaList(names) + DidYouMean(text, names));
  return 0;
}

std::vector<int64_t> YamlFields::WholeList(const std::string& key, WholeRange range) {
  const auto node = Find(key);
  if (!node) return {};
  if (!node->IsSequence()) {
    Fail(key, "must be a list of whole numbers");
    return {};
  }
  std::vector<int64_t> values;
  for (const auto& item : *node) {
    if (const auto value = ParseWhole(key, item, range)) values.push_back(*value);
  }
  return values;
}

std::vector<double> YamlFields::RealList(const std::string& key, RealRange range) {
  const auto node = Find(key);
  if (!node) return {};
  if (!node->IsSequence()) {
    Fail(key, "must be a list of numbers");
    return {};
  }
  std::vector<double> values;
  for (const auto& item : *node) {
    if (const auto value = ParseReal(key, item, range)) values.push_back(*value);
  }
  return values;
}

std::vector<YamlFields> YamlFields::Mappings(const std::string& key) {
  const auto node = Find(key);
  if (!node) return {};
  std::vector<YamlFields> mappings;
  if (!node->IsSequence()) Fail(key, "must be a list of mappings");
  for (size_t i = 0; node->IsSequence() && i < node->size(); ++i) {
    const YAML::Node item = (*node)[i];
    const std::string name = Path(key) + "[" + std::to_string(i) + "]";
    if (item.IsMap()) {
      mappings.emplace_back(item, file_, name, *errors_);
    } else {
      errors_->push_back({name + " must be a mapping", Where(item)});
    }
  }
  return mappings;
}

YamlFields YamlFields::Mapping(const std::string& key) {
  const auto node = Find(key);
  if (node && node->IsMap()) return {*node, file_, Path(key), *errors_};
  if (node) Fail(key, "must be a mapping");
  return {YAML::Node(YAML::NodeType::Map), file_, Path(key), *errors_};
}

Result<YAML::Node> LoadYamlMapping(const std::string& file, const std::string& bytes) {
  const Error not_one_mapping = {"must hold one mapping of fields to values", file};
  if (HasSecondDocument(bytes)) return not_one_mapping;
  try {
    const YAML::Node root = YAML::Load(bytes);
    if (root.IsMap()) return root;
    return not_one_mapping;
  } catch (const YAML::Exception& error) {
    return Error{"is not YAML: " + error.msg, PlaceOf(file, error.mark)};
  }
}

}  // namespace moecast
