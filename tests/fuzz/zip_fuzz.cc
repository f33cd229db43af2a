// ZIP archives: members lie inside the file, and reading one ends with its stated size or an error.
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/formats/zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kMost = uint64_t{1} << 24;
  const auto file =
      moecast::ByteFile::OfBytes(std::string(reinterpret_cast<const char*>(data), size), "input");
  const auto archive = moecast::ZipArchive::Open(file);
  if (!archive.ok()) return 0;
  for (const moecast::ZipMember& member : archive->members()) {
    SIM_CHECK(member.offset + member.stored_size <= size);
    const auto content = archive->Read(member, kMost);
    SIM_CHECK(!content.ok() || content->size() == member.size);
  }
  return 0;
}
