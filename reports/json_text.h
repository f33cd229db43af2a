// JSON as text that is the same bytes on every build: two-space indent, keys in insertion order,
// shortest doubles that read back equal, null for NaN and infinities.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace moecast {

/// Ends with a newline.
std::string PrettyJson(const boost::json::value& value);

}  // namespace moecast
