// safetensors headers: accepted arrays lie inside the file.
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file =
      moecast::ByteFile::OfBytes(std::string(reinterpret_cast<const char*>(data), size), "input");
  const auto arrays = moecast::ReadSafetensors(file);
  if (!arrays.ok()) return 0;
  for (const auto& [name, array] : *arrays) {
    const auto count = static_cast<uint64_t>(moecast::ElementCount(array.shape).value());
    SIM_CHECK(array.offset + count * moecast::ElementBytes(array.type) <= size);
  }
  return 0;
}
