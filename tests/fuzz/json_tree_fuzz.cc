// JSON documents become trees: whatever the bytes are, every value refers into its tree.
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/formats/json_documents.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Kind = moecast::TreeValue::Kind;
  const auto file =
      moecast::ByteFile::OfBytes(std::string(reinterpret_cast<const char*>(data), size), "input");
  moecast::JsonDocuments documents(file);
  moecast::Tree tree;
  while (true) {
    const auto more = documents.Next(tree);
    if (!more.ok() || !*more) return 0;
    for (const moecast::TreeNode& node : tree.nodes) {
      for (const moecast::TreeValue& item : node.items) SIM_CHECK(item.node < tree.nodes.size());
      if (node.shape.empty()) continue;
      const auto count = static_cast<size_t>(moecast::ElementCount(node.shape).value());
      SIM_CHECK(node.first + count <= tree.integers.size());
      SIM_CHECK(documents.ByteOfNumber(node.first_number) <= size);
    }
    SIM_CHECK(tree.root.kind != Kind::kTensor);
  }
}
