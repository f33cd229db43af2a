#include "traces/formats/torch_values.h"

#include <algorithm>
#include <array>
#include <string>

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

struct StorageName {
  std::string_view name;
  ElementType type;
};
constexpr std::array<StorageName, 10> kStorageNames = {
    {{"torch BoolStorage", ElementType::kBool},
     {"torch ByteStorage", ElementType::kU8},
     {"torch CharStorage", ElementType::kI8},
     {"torch ShortStorage", ElementType::kI16},
     {"torch IntStorage", ElementType::kI32},
     {"torch LongStorage", ElementType::kI64},
     {"torch HalfStorage", ElementType::kF16},
     {"torch BFloat16Storage", ElementType::kBF16},
     {"torch FloatStorage", ElementType::kF32},
     {"torch DoubleStorage", ElementType::kF64}}};

Error Wrong(std::string message) { return Error{std::move(message), ""}; }

/// True when `stride` is that of a dense array of `shape` in C order.
bool IsDense(const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] > 1 && stride[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

}  // namespace

bool IsTorchName(std::string_view name) {
  return name == kRebuildTensor || name == kOrderedDict ||
         std::ranges::find(kStorageNames, name, &StorageName::name) != kStorageNames.end();
}

Result<TreeNode> MakeStorage(const Tree& tree, const TreeValue& id, const TorchStorages& storages) {
  constexpr size_t kParts = 5;
  const bool is_list = id.kind == Kind::kList && tree.at(id).items.size() == kParts;
  if (!is_list) return Wrong("a persistent id is no torch storage");
  const std::vector<TreeValue>& parts = tree.at(id).items;
  if (parts[0].kind != Kind::kText || tree.at(parts[0]).text != "storage" ||
      parts[1].kind != Kind::kGlobal || parts[2].kind != Kind::kText ||
      parts[4].kind != Kind::kInteger) {
    return Wrong("a persistent id is no torch storage");
  }
  const auto* name = std::ranges::find(kStorageNames, std::string_view(tree.at(parts[1]).text),
                                       &StorageName::name);
  if (name == kStorageNames.end()) return Wrong("a torch storage has no element type");
  const std::string& key = tree.at(parts[2]).text;
  const auto storage = storages.find(key);
  if (storage == storages.end()) return Wrong("the archive has no storage '" + key + "'");
  const int64_t count = parts[4].integer;
  const uint64_t room = storage->second.bytes / ElementBytes(name->type);
  if (count < 0 || static_cast<uint64_t>(count) > room) {
    return Wrong("storage '" + key + "' is said to have " + std::to_string(count) +
                 " elements of " + std::string(Name(name->type)) + ", it has " +
                 std::to_string(room));
  }
  TreeNode node;
  node.text = key;
  node.array = {.type = name->type, .shape = {count}, .offset = storage->second.offset};
  return node;
}

Result<TreeNode> MakeTensor(const Tree& tree, const std::vector<TreeValue>& arguments) {
  constexpr size_t kLeast = 4;
  if (arguments.size() < kLeast || arguments[0].kind != Kind::kStorage ||
      arguments[1].kind != Kind::kInteger) {
    return Wrong("a tensor is built in a way that is not read");
  }
  const auto shape = tree.Integers(arguments[2]);
  const auto stride = tree.Integers(arguments[3]);
  if (!shape || !stride || shape->size() != stride->size()) {
    return Wrong(
        "a tensor's shape and strides must be whole numbers, as many of one as of the other");
  }
  const TreeNode& storage = tree.at(arguments[0]);
  const int64_t room = storage.array.shape[0];
  const int64_t first = arguments[1].integer;
  const auto count = ElementCount(*shape);
  if (!count || first < 0 || first > room || *count > room - first) {
    return Wrong("a tensor of shape " + ShapeText(*shape) + " from element " +
                 std::to_string(first) + " does not fit storage '" + storage.text + "' of " +
                 std::to_string(room) + " elements");
  }
  if (!IsDense(*shape, *stride)) {
    return Wrong("a tensor of shape " + ShapeText(*shape) +
                 " is not contiguous; save tensor.contiguous()");
  }
  TreeNode node;
  node.text = storage.text;
  node.array = storage.array;
  node.array.shape = *shape;
  node.array.offset += static_cast<uint64_t>(first) * ElementBytes(node.array.type);
  return node;
}

}  // namespace moecast
