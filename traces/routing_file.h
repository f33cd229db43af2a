// The fixed bytes around a routing trace's frames. docs/formats/routing.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moecast {

inline constexpr std::string_view kRoutingMagic = "MOETRACE";  // first bytes of the file
inline constexpr std::string_view kRoutingEnd = "ECARTEOM";    // last bytes of a complete file
inline constexpr uint32_t kRoutingVersion = 1;
/// Magic and u32 version.
inline constexpr size_t kRoutingPrologueBytes = 12;
/// u64 offset of the footer's frame, u32 CRC-32 of those eight bytes, end mark.
inline constexpr size_t kRoutingTrailerBytes = 20;

}  // namespace moecast
