#include "kernels/bench/drawn_pages.h"

#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/bench/drawn_codes.h"
#include "kernels/ops/kv/page_layout.h"

namespace moecast::kernels {
namespace {

constexpr uint16_t kBf16NotANumber = 0x7fc0;

KvScheme Unwindowed(KvPart keys, KvPart values) { return {.keys = keys, .values = values}; }

void DrawMetadata(const KvPart& part, const PartLayout& place, int64_t page, RngStream& rng,
                  std::vector<uint8_t>& bytes) {
  for (int32_t group = 0; group < place.groups; ++group) {
    const double scale = DrawScale(part.element, rng);
    if (IsFp8(part.element)) {
      Put(bytes, page + place.scales + 4 * group, static_cast<float>(scale));
    } else {
      Put(bytes, page + place.scales + 2 * group, __double2half(scale));
      Put(bytes, page + place.zeros + 2 * group,
          __double2half(DrawBetween(rng, -kDrawnMagnitude, 0)));
    }
  }
}

double Decode(KvElement element, const std::vector<uint8_t>& bytes, int64_t codes,
              const CodePlace& place) {
  return CodeValue(element, At<uint32_t>(bytes, codes + 4 * place.word) >> place.shift);
}

}  // namespace

std::vector<CheckScheme> SchemesForChecks(int32_t head_dim) {
  const auto token = [&](KvElement element, int32_t group) {
    return KvPart{.element = element, .axis = ScaleAxis::kToken, .group = group};
  };
  const auto channel = [&](KvElement element, int32_t group) {
    return KvPart{.element = element, .axis = ScaleAxis::kChannel, .group = group};
  };
  const KvWindow residual{.sink = 0, .recent = 0, .flush = 128};
  const KvWindow sinks{.sink = 128, .recent = 64, .flush = 128};
  KvScheme shared{channel(KvElement::kInt2, 32), token(KvElement::kInt2, 32), residual};
  shared.keys.shares_codes = true;
  shared.values.shares_codes = true;
  return {
      {"bf16", {}},
      {"fp8_e4m3",
       Unwindowed(token(KvElement::kE4m3, head_dim), token(KvElement::kE4m3, head_dim))},
      {"fp8_e5m2",
       Unwindowed(token(KvElement::kE5m2, head_dim), token(KvElement::kE5m2, head_dim))},
      {"int8", Unwindowed(token(KvElement::kInt8, head_dim), token(KvElement::kInt8, head_dim))},
      {"int4", Unwindowed(token(KvElement::kInt4, 64), token(KvElement::kInt4, 32))},
      {"int8 keys, int2 values",
       Unwindowed(token(KvElement::kInt8, 32), token(KvElement::kInt2, 64))},
      {"int4 by channel", {channel(KvElement::kInt4, 32), token(KvElement::kInt4, 64), residual}},
      {"int8 by channel", {channel(KvElement::kInt8, 128), token(KvElement::kInt4, 64), sinks}},
      {"int2 by channel", {channel(KvElement::kInt2, 64), token(KvElement::kInt2, 32), sinks}},
      {"int1 by channel", {channel(KvElement::kInt1, 128), token(KvElement::kInt1, 32), residual}},
      {"shared int2", shared},
  };
}

DrawnPages::DrawnPages(const KvScheme& scheme, const KvShape& shape,
                       const std::vector<int32_t>& tokens, RngStream& rng)
    : scheme_(scheme), shape_(shape), tokens_(tokens) {
  const int32_t longest = *std::max_element(tokens.begin(), tokens.end());
  pages_per_sequence_ = (longest + kPageTokens - 1) / kPageTokens;
  const size_t pages = tokens.size() * static_cast<size_t>(pages_per_sequence_);
  table_ = Shuffled(pages, rng);
  device_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(table_));
  pages_ = DrawPool(scheme, pages, rng);
  if (scheme.keys.shares_codes || scheme.values.shares_codes) {
    KvScheme other = scheme;
    other.keys.shares_codes = false;
    other.values.shares_codes = false;
    code_pages_ = DrawPool(other, pages, rng);
  }
  if (HasWindow(scheme)) {
    window_table_ = Shuffled(tokens.size() * static_cast<size_t>(WindowPages(scheme.window)), rng);
    device_window_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(window_table_));
    window_ = DrawPool(KvScheme{}, window_table_.size(), rng);
  } else {
    PoisonTails(tokens);
  }
}

DrawnPages::Pool DrawnPages::DrawPool(const KvScheme& stored, size_t pages, RngStream& rng) const {
  Pool pool;
  pool.layout = LayoutOf(stored, shape_.head_dim);
  const size_t count = pages * static_cast<size_t>(shape_.kv_heads);
  pool.bytes.resize(count * static_cast<size_t>(pool.layout.page_bytes));
  for (size_t i = 0; i < count; ++i) {
    const auto start = static_cast<int64_t>(i) * pool.layout.page_bytes;
    DrawCodes(stored.keys.element, start + pool.layout.keys.codes, pool.layout.keys.code_bytes, rng,
              pool.bytes);
    DrawCodes(stored.values.element, start + pool.layout.values.codes,
              pool.layout.values.code_bytes, rng, pool.bytes);
    DrawMetadata(stored.keys, pool.layout.keys, start, rng, pool.bytes);
    DrawMetadata(stored.values, pool.layout.values, start, rng, pool.bytes);
  }
  pool.device = DeviceBuffer<uint8_t>(std::span<const uint8_t>(pool.bytes));
  return pool;
}

void DrawnPages::PoisonTails(const std::vector<int32_t>& tokens) {
  if (scheme_.keys.element != KvElement::kBf16) return;
  for (size_t s = 0; s < tokens.size(); ++s) {
    for (int32_t token = tokens[s]; token % kPageTokens != 0; ++token) {
      const int32_t page = table_[s * static_cast<size_t>(pages_per_sequence_) +
                                  static_cast<size_t>(token / kPageTokens)];
      for (int32_t i = 0; i < shape_.kv_heads * shape_.head_dim; ++i) {
        const int64_t start = PageStart(pages_.layout, shape_.kv_heads, page, i / shape_.head_dim);
        for (const KvSide side : {KvSide::kKeys, KvSide::kValues}) {
          const PartLayout& part =
              side == KvSide::kKeys ? pages_.layout.keys : pages_.layout.values;
          const CodePlace place =
              PlaceOf(side, 16, shape_.head_dim, token % kPageTokens, i % shape_.head_dim);
          Put(pages_.bytes, start + part.codes + 4 * place.word + place.shift / 8, kBf16NotANumber);
        }
      }
    }
  }
  pages_.device.CopyFrom(pages_.bytes);
}

KvCache DrawnPages::View() const {
  return {.pages = pages_.device.data(),
          .code_pages = code_pages_.device.data(),
          .code_layout = code_pages_.layout,
          .block_table = device_table_.data(),
          .pages_per_sequence = pages_per_sequence_,
          .window = window_.device.data(),
          .window_table = device_window_table_.data()};
}

double DrawnPages::Element(KvSide side, int32_t sequence, int32_t head, int32_t token,
                           int32_t channel) const {
  const bool keys = side == KvSide::kKeys;
  const KvWindow& window = scheme_.window;
  const auto s = static_cast<size_t>(sequence);
  const int32_t in_page = token % kPageTokens;
  const bool quantised =
      !HasWindow(scheme_) ||
      (token >= window.sink && token < window.sink + QuantisedTokens(window, tokens_[s]));
  if (!quantised) {
    const int32_t page = window_table_[s * static_cast<size_t>(WindowPages(window)) +
                                       static_cast<size_t>(WindowPageOf(window, token))];
    const PartLayout& place = keys ? window_.layout.keys : window_.layout.values;
    const int64_t start = PageStart(window_.layout, shape_.kv_heads, page, head);
    return Decode(KvElement::kBf16, window_.bytes, start + place.codes,
                  PlaceOf(side, 16, shape_.head_dim, in_page, channel));
  }
  const int32_t page = table_[s * static_cast<size_t>(pages_per_sequence_) +
                              static_cast<size_t>(token / kPageTokens)];
  const KvPart& part = keys ? scheme_.keys : scheme_.values;
  const Pool& codes = part.shares_codes ? code_pages_ : pages_;
  const PartLayout& code_place = keys ? codes.layout.keys : codes.layout.values;
  const double code =
      Decode(part.element, codes.bytes,
             PageStart(codes.layout, shape_.kv_heads, page, head) + code_place.codes,
             PlaceOf(side, BitsOf(part.element), shape_.head_dim, in_page, channel));
  if (part.element == KvElement::kBf16) return code;
  const PartLayout& place = keys ? pages_.layout.keys : pages_.layout.values;
  const int64_t start = PageStart(pages_.layout, shape_.kv_heads, page, head);
  const int32_t group = GroupOf(part, shape_.head_dim, in_page, channel);
  if (IsFp8(part.element))
    return code * static_cast<double>(At<float>(pages_.bytes, start + place.scales + 4 * group));
  const auto half = [&](int64_t at) {
    return static_cast<double>(__half2float(At<__half>(pages_.bytes, at)));
  };
  return half(start + place.scales + 2 * group) * code + half(start + place.zeros + 2 * group);
}

Eigen::MatrixXd DrawnPages::Read(KvSide side, int32_t sequence, int32_t head, int32_t count) const {
  Eigen::MatrixXd rows(count, shape_.head_dim);
  for (int32_t token = 0; token < count; ++token) {
    for (int32_t channel = 0; channel < shape_.head_dim; ++channel)
      rows(token, channel) = Element(side, sequence, head, token, channel);
  }
  return rows;
}

}  // namespace moecast::kernels
