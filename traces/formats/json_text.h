// ParseJsonText: a whole JSON document that is already in memory, or where it stops being one.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "sim/base/result.h"

namespace moecast {

/// ERRORS: no JSON, or more behind the document; the place is `file` with line and column.
Result<boost::json::value> ParseJsonText(std::string_view text, const std::string& file);

}  // namespace moecast
