// What the four names of a torch pickle stand for: storages and tensors, checked against the bytes
// that the archive has.
#pragma once

#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/pickle.h"
#include "traces/formats/tree.h"

namespace moecast {

/// Module and name of a global, joined by a blank.
inline constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
inline constexpr std::string_view kOrderedDict = "collections OrderedDict";
/// True for these two and for the storage types of PyTorch.
bool IsTorchName(std::string_view name);

/// The storage that a persistent id names: ('storage', type, key, device, elements).
/// ERRORS, without a place: another tuple, a key or more elements than the archive has.
Result<TreeNode> MakeStorage(const Tree& tree, const TreeValue& id, const TorchStorages& storages);

/// The tensor of _rebuild_tensor_v2(storage, offset, shape, stride, ..).
/// ERRORS, without a place: other arguments, elements outside the storage, not dense in C order.
Result<TreeNode> MakeTensor(const Tree& tree, const std::vector<TreeValue>& arguments);

}  // namespace moecast
