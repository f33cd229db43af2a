// A Hugging Face config.json. What imports must be a catalog entry that loads.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scenarios/import_model.h"
#include "scenarios/yaml_node.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto model =
      moecast::ParseModelConfig(text, "config.json", "fuzzed", MOECAST_SOURCE "/scenarios/catalog");
  if (!model.ok()) {
    for (const moecast::Error& error : model.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  SIM_CHECK(moecast::ParseYaml(model->yaml, "fuzzed.yaml").ok());
  return 0;
}
