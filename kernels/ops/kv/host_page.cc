#include "kernels/ops/kv/host_page.h"

#include <cstring>
#include <vector>

#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/kv/small_float.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

using Eigen::Index;

template <class T>
T ReadAt(std::span<const uint8_t> bytes, Index offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <class T>
void WriteAt(std::span<uint8_t> bytes, Index offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

// Calls visit(row, column, group) for every group of a page's part.
template <class Visit>
void VisitGroups(const KvPart& part, int head_dim, Visit visit) {
  const bool tokens = part.axis == ScaleAxis::kToken;
  const int token_step = tokens ? 1 : part.group;
  const int channel_step = tokens ? part.group : 1;
  for (int token = 0; token < kPageTokens; token += token_step) {
    for (int channel = 0; channel < head_dim; channel += channel_step)
      visit(token / token_step, channel / channel_step, GroupOf(part, head_dim, token, channel));
  }
}

struct Extent {
  Index rows;
  Index columns;
};
Extent GroupsOf(const KvPart& part, int head_dim) {
  if (part.axis == ScaleAxis::kToken) return {kPageTokens, head_dim / part.group};
  return {(kPageTokens + part.group - 1) / part.group, head_dim};
}

}  // namespace

Eigen::MatrixXi ReadCodes(KvSide side, KvElement element, int head_dim,
                          std::span<const uint8_t> codes) {
  SIM_CHECK(codes.size() == static_cast<size_t>(CodeBytes(element, head_dim)));
  const int bits = BitsOf(element);
  return Eigen::MatrixXi::NullaryExpr(kPageTokens, head_dim, [&](Index token, Index channel) {
    const CodePlace at =
        PlaceOf(side, bits, head_dim, static_cast<int>(token), static_cast<int>(channel));
    const auto word = ReadAt<uint32_t>(codes, Index{4} * at.word);
    return static_cast<int>(word >> at.shift & ((1U << bits) - 1));
  });
}

void WriteCodes(KvSide side, KvElement element, const Eigen::MatrixXi& codes,
                std::span<uint8_t> bytes) {
  const auto head_dim = static_cast<int>(codes.cols());
  SIM_CHECK(codes.rows() == kPageTokens &&
            bytes.size() == static_cast<size_t>(CodeBytes(element, head_dim)));
  const int bits = BitsOf(element);
  std::vector<uint32_t> words(bytes.size() / 4);
  for (int token = 0; token < kPageTokens; ++token) {
    for (int channel = 0; channel < head_dim; ++channel) {
      const CodePlace at = PlaceOf(side, bits, head_dim, token, channel);
      words[static_cast<size_t>(at.word)] |= static_cast<uint32_t>(codes(token, channel))
                                             << at.shift;
    }
  }
  std::memcpy(bytes.data(), words.data(), bytes.size());
}

reference::QuantisedPart ReadMetadata(const KvPart& part, const PartLayout& layout, int head_dim,
                                      std::span<const uint8_t> page) {
  const Extent extent = GroupsOf(part, head_dim);
  reference::QuantisedPart q{.part = part,
                             .codes = {},
                             .scales = Eigen::MatrixXd(extent.rows, extent.columns),
                             .zeros = Eigen::MatrixXd::Zero(extent.rows, extent.columns)};
  VisitGroups(part, head_dim, [&](Index row, Index column, Index group) {
    if (!IsInteger(part.element)) {
      q.scales(row, column) = static_cast<double>(ReadAt<float>(page, layout.scales + 4 * group));
      return;
    }
    q.scales(row, column) = ValueOfHalf(ReadAt<uint16_t>(page, layout.scales + 2 * group));
    q.zeros(row, column) = ValueOfHalf(ReadAt<uint16_t>(page, layout.zeros + 2 * group));
  });
  return q;
}

void WriteMetadata(const reference::QuantisedPart& metadata, const PartLayout& layout,
                   std::span<uint8_t> page) {
  const KvPart& part = metadata.part;
  const auto head_dim =
      static_cast<int>(part.axis == ScaleAxis::kToken ? metadata.scales.cols() * part.group
                                                      : metadata.scales.cols());
  VisitGroups(part, head_dim, [&](Index row, Index column, Index group) {
    if (!IsInteger(part.element))
      return WriteAt(page, layout.scales + 4 * group,
                     static_cast<float>(metadata.scales(row, column)));
    WriteAt(page, layout.scales + 2 * group, HalfOf(metadata.scales(row, column)));
    WriteAt(page, layout.zeros + 2 * group, HalfOf(metadata.zeros(row, column)));
  });
}

reference::QuantisedPart ReadPart(KvSide side, const KvPart& part, const PartLayout& layout,
                                  int head_dim, std::span<const uint8_t> page) {
  SIM_CHECK(!part.shares_codes && part.element != KvElement::kBf16);
  reference::QuantisedPart q = ReadMetadata(part, layout, head_dim, page);
  q.codes = ReadCodes(
      side, part.element, head_dim,
      page.subspan(static_cast<size_t>(layout.codes), static_cast<size_t>(layout.code_bytes)));
  return q;
}

Eigen::MatrixXd ReadBf16Part(KvSide side, const PartLayout& layout, int head_dim,
                             std::span<const uint8_t> page) {
  const Eigen::MatrixXi bits = ReadCodes(
      side, KvElement::kBf16, head_dim,
      page.subspan(static_cast<size_t>(layout.codes), static_cast<size_t>(layout.code_bytes)));
  return bits.unaryExpr([](int code) { return ValueOfBf16(static_cast<uint16_t>(code)); });
}

}  // namespace moecast::kernels
