// The header of NumPy's .npy format, versions 1 to 3.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "traces/formats/array_ref.h"
#include "traces/formats/byte_file.h"

namespace moecast {

/// At most this much of a .npy is header; a longer one is refused.
inline constexpr uint64_t kMaxNpyHeaderBytes = uint64_t{64} << 10;

/// The array of the .npy that begins at `begin` and must end at `end`.
/// ERRORS: no .npy there, an element type or order that is not read (objects, big-endian, Fortran
/// order), a shape that does not fill the bytes exactly.
Result<ArrayRef> ReadNpyHeader(const ByteFile& file, uint64_t begin, uint64_t end);

}  // namespace moecast
