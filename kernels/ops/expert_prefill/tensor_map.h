// TensorMap: how the copy engine cuts boxes from a row-major matrix. Encoded by the driver, which
// is asked for through the runtime, so that nothing links to it.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace moecast::kernels {

enum class MapElement { kByte, kBf16, kWord };  // 1, 2 and 4 bytes

struct MatrixBox {
  const void* data = nullptr;  // 16-byte aligned
  MapElement element = MapElement::kByte;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_stride = 0;  // elements, 0: columns; REQUIRES: a multiple of 16 bytes
  int box_rows = 0;        // at most 256
  int box_columns = 0;     // at most 256
  bool swizzled = true;    // 16-byte chunks of each 128-byte row exchanged as wgmma reads them
};

/// Elements of a box outside the matrix are read as zero.
/// ERRORS: CudaError, when the driver is too old or refuses the shape.
CUtensorMap EncodeTensorMap(const MatrixBox& box);

}  // namespace moecast::kernels
