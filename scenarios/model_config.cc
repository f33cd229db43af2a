#include "scenarios/model_config.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <span>

#include "sim/base/comma_list.h"

namespace moecast {
namespace {

// A number that is whole, in whatever JSON spelling, and small enough that products of two fit.
std::optional<int64_t> AsWhole(const boost::json::value& value) {
  constexpr int64_t kLargest = 1'000'000'000;
  boost::json::error_code error;
  const auto whole = value.to_number<int64_t>(error);
  if (error || whole > kLargest || whole < -kLargest) return std::nullopt;
  return whole;
}

// Values can be long lists; messages show their beginning.
std::string Show(const boost::json::value& value) {
  constexpr size_t kMost = 60;
  std::string text = boost::json::serialize(value);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

}  // namespace

ModelConfig::ModelConfig(boost::json::object root, std::string file, Problems& problems)
    : root_(std::move(root)), file_(std::move(file)), problems_(problems) {
  if (const auto* text = root_.if_contains("text_config"); text != nullptr && text->is_object()) {
    text_ = text->get_object();
  }
  model_type_ = Text("model_type").value_or("");
}

bool ModelConfig::IsOneOf(Keys model_types) const {
  return std::find(model_types.begin(), model_types.end(), model_type_) != model_types.end();
}

const boost::json::value* ModelConfig::Find(std::string_view key) const {
  for (const boost::json::object* object : {&text_, &root_}) {
    const boost::json::value* value = object->if_contains(key);
    if (value != nullptr && !value->is_null()) return value;
  }
  return nullptr;
}

void ModelConfig::Problem(std::string_view key, const std::string& what) const {
  problems_.Add(Place{.source = file_}, std::string(key), what);
}

std::optional<int64_t> ModelConfig::ReadInteger(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto whole = AsWhole(*value)) return whole;
  const boost::json::array* list = value->if_array();
  const std::optional<int64_t> first =
      list != nullptr && !list->empty() ? AsWhole(list->front()) : std::nullopt;
  if (!first) {
    Problem(key, "expected a whole number up to 1e9, got " + Show(*value));
    return std::nullopt;
  }
  const bool equal = std::all_of(list->begin(), list->end(),
                                 [&first](const auto& item) { return AsWhole(item) == first; });
  if (!equal) {
    Problem(key,
            "differs between layers; one value for all layers is supported, got " + Show(*value));
  }
  return first;
}

std::optional<int64_t> ModelConfig::Integer(Keys keys) const {
  std::optional<int64_t> found;
  std::string_view found_key;
  for (const std::string_view key : keys) {
    const std::optional<int64_t> value = ReadInteger(key);
    if (!value) continue;
    if (!found) {
      found = value;
      found_key = key;
    } else if (*found != *value) {
      Problem(key, "is " + std::to_string(*value) + ", but " + std::string(found_key) +
                       ", another name for the same thing, is " + std::to_string(*found));
    }
  }
  return found;
}

int64_t ModelConfig::RequiredInteger(Keys keys) const {
  if (const std::optional<int64_t> value = Integer(keys)) return *value;
  const bool present =
      std::any_of(keys.begin(), keys.end(), [this](std::string_view key) { return Has(key); });
  if (!present) {
    const std::string others = CommaList(std::span(keys.begin(), keys.end()).subspan(1));
    Problem(*keys.begin(), others.empty()
                               ? "is missing"
                               : "is missing, and so is every other name for it (" + others + ")");
  }
  return 0;
}

std::optional<double> ModelConfig::Number(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    Problem(key, "expected a number, got " + Show(*value));
    return std::nullopt;
  }
  return value->to_number<double>();
}

std::optional<bool> ModelConfig::Bool(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) {
    Problem(key, "expected true or false, got " + Show(*value));
    return std::nullopt;
  }
  return value->get_bool();
}

std::optional<std::string> ModelConfig::Text(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    Problem(key, "expected text, got " + Show(*value));
    return std::nullopt;
  }
  return std::string(value->get_string());
}

std::optional<std::vector<int64_t>> ModelConfig::Integers(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> numbers;
  if (const boost::json::array* list = value->if_array()) {
    for (const boost::json::value& item : *list) {
      if (const auto whole = AsWhole(item)) numbers.push_back(*whole);
    }
    if (numbers.size() == list->size()) return numbers;
  }
  Problem(key, "expected a list of whole numbers, got " + Show(*value));
  return std::nullopt;
}

std::optional<std::vector<std::string>> ModelConfig::Texts(std::string_view key) const {
  const boost::json::value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  if (const boost::json::array* list = value->if_array()) {
    for (const boost::json::value& item : *list) {
      if (item.is_string()) texts.emplace_back(item.get_string());
    }
    if (texts.size() == list->size()) return texts;
  }
  Problem(key, "expected a list of texts, got " + Show(*value));
  return std::nullopt;
}

}  // namespace moecast
