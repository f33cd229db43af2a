#include <string>

#include "kernels/harness/cuda_check.h"
#include "kernels/ops/expert_prefill/tensor_map.h"

namespace moecast::kernels {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver that first had tensor maps.
constexpr unsigned kTensorMapVersion = 12000;

Encode FindEncode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                              kTensorMapVersion, cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    throw CudaError("the driver has no cuTensorMapEncodeTiled");
  return reinterpret_cast<Encode>(function);
}

CUtensorMapDataType TypeOf(MapElement element) {
  switch (element) {
    case MapElement::kByte:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case MapElement::kBf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case MapElement::kWord:
      return CU_TENSOR_MAP_DATA_TYPE_UINT32;
  }
  return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

uint64_t BytesOf(MapElement element) {
  switch (element) {
    case MapElement::kByte:
      return 1;
    case MapElement::kBf16:
      return 2;
    case MapElement::kWord:
      return 4;
  }
  return 1;
}

}  // namespace

CUtensorMap EncodeTensorMap(const MatrixBox& box) {
  static const Encode encode = FindEncode();
  CUtensorMap map{};
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(box.columns),
                                static_cast<cuuint64_t>(box.rows)};
  const int64_t stride = box.row_stride > 0 ? box.row_stride : box.columns;
  const cuuint64_t row_bytes[] = {static_cast<cuuint64_t>(stride) * BytesOf(box.element)};
  const cuuint32_t box_extents[] = {static_cast<cuuint32_t>(box.box_columns),
                                    static_cast<cuuint32_t>(box.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult status =
      encode(&map, TypeOf(box.element), 2, const_cast<void*>(box.data), extents, row_bytes,
             box_extents, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             box.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw CudaError("cuTensorMapEncodeTiled refuses " + std::to_string(box.rows) + " x " +
                    std::to_string(box.columns) + ": error " + std::to_string(status));
  return map;
}

}  // namespace moecast::kernels
