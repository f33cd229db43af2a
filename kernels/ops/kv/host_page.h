// Pages on the host: codes and metadata into and out of their bytes, for checks, tests and whoever
// prepares or inspects a cache without a GPU.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops/kv/page_layout.h"
#include "kernels/ops/kv/reference.h"

namespace moecast::kernels {

/// Codes of 64 tokens from `codes`, CodeBytes of them; bf16 codes are the numbers' bits.
/// RETURNS: [64, head_dim].
Eigen::MatrixXi ReadCodes(KvSide side, KvElement element, int head_dim,
                          std::span<const uint8_t> codes);
/// REQUIRES: codes [64, head_dim] within the element's range; bytes.size() == CodeBytes.
void WriteCodes(KvSide side, KvElement element, const Eigen::MatrixXi& codes,
                std::span<uint8_t> bytes);

/// Scales and zeros of a page's part; `codes` is left empty. Of a channel group of 128 tokens one
/// row is returned, the page's copy.
reference::QuantisedPart ReadMetadata(const KvPart& part, const PartLayout& layout, int head_dim,
                                      std::span<const uint8_t> page);
/// Puts them back. REQUIRES: as ReadMetadata returned them; representable in their types.
void WriteMetadata(const reference::QuantisedPart& metadata, const PartLayout& layout,
                   std::span<uint8_t> page);

/// A page's part, codes and metadata. REQUIRES: !part.shares_codes, not bf16.
reference::QuantisedPart ReadPart(KvSide side, const KvPart& part, const PartLayout& layout,
                                  int head_dim, std::span<const uint8_t> page);
/// The numbers that a bf16 page's part holds: [64, head_dim].
Eigen::MatrixXd ReadBf16Part(KvSide side, const PartLayout& layout, int head_dim,
                             std::span<const uint8_t> page);

}  // namespace moecast::kernels
