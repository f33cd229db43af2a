// A reader of pickles that can execute nothing: a closed set of opcodes that build lists, maps,
// numbers and texts, and four names of PyTorch and collections that stand for tensors and ordered
// maps. Everything else is refused by name. Python's pickle, protocol 2, as torch.save writes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "sim/base/result.h"
#include "traces/formats/tree.h"

namespace moecast {

/// Bytes of a torch storage: where they lie in the file.
struct TorchStorage {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};
/// By the key that pickles use for it ("0").
using TorchStorages = std::map<std::string, TorchStorage, std::less<>>;

/// Where a pickle stops being one that is read.
struct PickleProblem {
  uint64_t position = 0;  // of its opcode, from the pickle's first byte
  std::string message;
};

/// Replaces `tree` by the pickle's object; its tensors point into `storages`, dense and in bounds.
/// RETURNS: the first problem, or none. COST: linear in the bytes; no recursion.
std::optional<PickleProblem> ReadPickle(std::string_view bytes, const TorchStorages& storages,
                                        Tree& tree);

}  // namespace moecast
