// .npy headers: an accepted array lies inside the bytes and fills them.
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file =
      moecast::ByteFile::OfBytes(std::string(reinterpret_cast<const char*>(data), size), "input");
  const auto array = moecast::ReadNpyHeader(file, 0, size);
  if (!array.ok()) return 0;
  const auto count = static_cast<uint64_t>(moecast::ElementCount(array->shape).value());
  SIM_CHECK(array->offset + count * moecast::ElementBytes(array->type) == size);
  return 0;
}
