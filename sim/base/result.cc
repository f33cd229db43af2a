#include "sim/base/result.h"

namespace moecast {

std::string ToString(const Errors& errors) {
  std::string text;
  for (const Error& error : errors) {
    if (!error.where.empty()) text += error.where + ": ";
    text += error.message + '\n';
  }
  return text;
}

}  // namespace moecast
