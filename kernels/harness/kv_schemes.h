// The named points of scheme space that are measured, read from kernels/data/kv_schemes.csv: one
// row per kind of layer of a scheme.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops/kv/kv_scheme.h"
#include "sim/base/result.h"

namespace moecast::kernels {

struct NamedScheme {
  std::string name;   // the `format` of a row
  std::string layer;  // which of its layers this is; "all"
  /// Group 0 of a quantised part stands for one per token and head: see ForHeads.
  KvScheme scheme = {};
};

/// The scheme for heads of one width: group 0, and a group wider than a head on the token axis,
/// become the head's width.
KvScheme ForHeads(const KvScheme& scheme, int head_dim);
/// The scheme with groups of another size, where it has groups of its own.
KvScheme WithGroup(const KvScheme& scheme, int group);

/// ERRORS: as ParseCsv, a cell that is not one of its values, or a scheme the kernels do not take
/// at either head width, with file and line.
Result<std::vector<NamedScheme>> ParseKvSchemes(std::string_view text, const std::string& name);
/// ERRORS: unreadable, or as ParseKvSchemes.
Result<std::vector<NamedScheme>> ReadKvSchemes(const std::filesystem::path& path);

}  // namespace moecast::kernels
