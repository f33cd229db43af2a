// Base64 (RFC 4648, standard alphabet with padding), as engines put binary arrays into JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moecast {

/// Where a text stops being Base64.
struct Base64Problem {
  size_t position = 0;
  std::string message;
};

/// Replaces `bytes` by what `text` encodes; the first problem, or none.
std::optional<Base64Problem> DecodeBase64(std::string_view text, std::string& bytes);

}  // namespace moecast
