#include "sim/model/tensor_format.h"

#include "sim/base/check.h"

namespace moecast {

std::string_view ComputeClassName(ComputeClass compute) {
  switch (compute) {
    case ComputeClass::kBf16:
      return "bf16";
    case ComputeClass::kFp8:
      return "fp8";
    case ComputeClass::kInt8:
      return "int8";
    case ComputeClass::kFp4:
      return "fp4";
    case ComputeClass::kInt4:
      return "int4";
    case ComputeClass::kHif8:
      return "hif8";
    case ComputeClass::kHif4:
      return "hif4";
  }
  SIM_CHECK(false);
}

}  // namespace moecast
