// Files of torch.save since PyTorch 1.6: a ZIP archive, all stored, with a pickle and the raw
// storages of its tensors.
#pragma once

#include "sim/base/result.h"
#include "traces/formats/byte_file.h"
#include "traces/formats/tree.h"
#include "traces/formats/zip.h"

namespace moecast {

/// The pickle may have at most this many bytes; tensors are not in it.
inline constexpr uint64_t kMaxTorchPickleBytes = uint64_t{64} << 20;

/// True when the archive has a torch pickle.
bool IsTorchArchive(const ZipArchive& archive);

/// Replaces `tree` by the archive's object; tensors are arrays of the archive's file.
/// ERRORS: no pickle or a refused one (with the byte), big-endian data, compressed storages.
Status ReadTorchArchive(const ZipArchive& archive, Tree& tree);

}  // namespace moecast
