// SelectionKind: the rules of expert selection as kernels know them, for what each adds to routing.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace moecast {

/// Named as scenario files name the rules; `native` adds nothing.
enum class SelectionKind {
  kNative,
  kUniformTopK,
  kLayerSchedule,
  kRatioToBest,
  kTopP,
  kAsetDerived,
  kOea,
  kXShare,
  kLynx,
  kSere,
  kAllocTokens,
  kEacPrefill,
};
inline constexpr std::array<std::string_view, 12> kSelectionNames = {
    "native", "uniform_top_k", "layer_schedule", "ratio_to_best", "top_p",        "aset_derived",
    "oea",    "xshare",        "lynx",           "sere",          "alloc_tokens", "eac_prefill"};

constexpr std::string_view SelectionName(SelectionKind kind) {
  return kSelectionNames[static_cast<size_t>(kind)];
}

}  // namespace moecast
