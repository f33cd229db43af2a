#include "reports/json_text.h"

#include <boost/json.hpp>
#include <cmath>

#include "sim/base/text.h"

namespace moecast {
namespace {

void Append(const boost::json::value& value, size_t depth, std::string& out);

void NewLine(size_t depth, std::string& out) {
  out += '\n';
  out.append(2 * depth, ' ');
}

void AppendObject(const boost::json::object& object, size_t depth, std::string& out) {
  if (object.empty()) {
    out += "{}";
    return;
  }
  char separator = '{';
  for (const auto& member : object) {
    out += separator;
    separator = ',';
    NewLine(depth + 1, out);
    out += boost::json::serialize(member.key());
    out += ": ";
    Append(member.value(), depth + 1, out);
  }
  NewLine(depth, out);
  out += '}';
}

void AppendArray(const boost::json::array& array, size_t depth, std::string& out) {
  if (array.empty()) {
    out += "[]";
    return;
  }
  char separator = '[';
  for (const boost::json::value& element : array) {
    out += separator;
    separator = ',';
    NewLine(depth + 1, out);
    Append(element, depth + 1, out);
  }
  NewLine(depth, out);
  out += ']';
}

void Append(const boost::json::value& value, size_t depth, std::string& out) {
  if (value.is_object()) {
    AppendObject(value.get_object(), depth, out);
  } else if (value.is_array()) {
    AppendArray(value.get_array(), depth, out);
  } else if (value.is_double()) {
    const double number = value.get_double();
    out += std::isfinite(number) ? ShortestDouble(number) : "null";
  } else {
    out += boost::json::serialize(value);
  }
}

}  // namespace

std::string PrettyJson(const boost::json::value& value) {
  std::string out;
  Append(value, 0, out);
  return out + "\n";
}

}  // namespace moecast
