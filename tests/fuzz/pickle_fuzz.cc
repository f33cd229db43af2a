// Restricted pickles: whatever the bytes are, tensors lie inside their storages and values inside
// their tree.
#include <cstdint>
#include <string_view>

#include "sim/base/check.h"
#include "traces/formats/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Kind = moecast::TreeValue::Kind;
  constexpr uint64_t kOffset = 64;
  constexpr uint64_t kBytes = 4096;
  const moecast::TorchStorages storages = {{"0", {.offset = kOffset, .bytes = kBytes}},
                                           {"1", {.offset = kOffset, .bytes = 0}}};
  moecast::Tree tree;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto problem = moecast::ReadPickle(bytes, storages, tree)) {
    SIM_CHECK(problem->position <= size && !problem->message.empty());
    return 0;
  }
  for (const moecast::TreeNode& node : tree.nodes) {
    for (const moecast::TreeValue& item : node.items) {
      if (item.kind != Kind::kTensor) continue;
      const moecast::ArrayRef& array = tree.at(item).array;
      const auto count = static_cast<uint64_t>(moecast::ElementCount(array.shape).value());
      SIM_CHECK(array.offset >= kOffset);
      SIM_CHECK(array.offset + count * moecast::ElementBytes(array.type) <= kOffset + kBytes);
    }
  }
  return 0;
}
