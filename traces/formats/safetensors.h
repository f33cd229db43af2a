// The header of the safetensors format: named arrays one after another in one file.
#pragma once

#include <map>
#include <string>

#include "sim/base/result.h"
#include "traces/formats/array_ref.h"
#include "traces/formats/byte_file.h"

namespace moecast {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{100} << 20;

/// The file's arrays by name; each lies inside the file, none overlaps another, and each has the
/// bytes of its shape. ERRORS: a header size that lies, JSON that is none, an element type that is
/// not read, offsets that do not fit.
Result<std::map<std::string, ArrayRef>> ReadSafetensors(const ByteFile& file);

}  // namespace moecast
