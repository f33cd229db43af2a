#include "kernels/bench/drawn_latents.h"

#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/bench/drawn_codes.h"

namespace moecast::kernels {

DrawnLatents::DrawnLatents(KvElement element, const std::vector<int32_t>& tokens, RngStream& rng)
    : element_(element), layout_(LatentLayoutOf(element)) {
  const int32_t longest = *std::max_element(tokens.begin(), tokens.end());
  pages_per_sequence_ = (longest + kPageTokens - 1) / kPageTokens;
  table_ = Shuffled(tokens.size() * static_cast<size_t>(pages_per_sequence_), rng);
  bytes_.resize(table_.size() * static_cast<size_t>(layout_.page_bytes));
  for (size_t page = 0; page < table_.size(); ++page)
    DrawPage(static_cast<int64_t>(page) * layout_.page_bytes, rng);
  device_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(table_));
  device_ = DeviceBuffer<uint8_t>(std::span<const uint8_t>(bytes_));
}

void DrawnLatents::DrawPage(int64_t start, RngStream& rng) {
  DrawCodes(element_, start, layout_.rotary, rng, bytes_);
  DrawCodes(KvElement::kBf16, start + layout_.rotary, layout_.scales - layout_.rotary, rng, bytes_);
  const bool integer = IsInteger(element_);
  const int32_t end_of_scales = integer ? layout_.zeros : layout_.page_bytes;
  for (int32_t at = layout_.scales; at < end_of_scales; at += integer ? 2 : 4) {
    if (integer) {
      Put(bytes_, start + at, __double2half(DrawScale(element_, rng)));
      Put(bytes_, start + at + layout_.zeros - layout_.scales,
          __double2half(DrawBetween(rng, -kDrawnMagnitude, 0)));
    } else {
      Put(bytes_, start + at, static_cast<float>(DrawScale(element_, rng)));
    }
  }
}

LatentCache DrawnLatents::View() const {
  return {.pages = device_.data(),
          .page_count = static_cast<int64_t>(table_.size()),
          .block_table = device_table_.data(),
          .pages_per_sequence = pages_per_sequence_};
}

double DrawnLatents::Latent(int64_t page, int token, int channel) const {
  const int32_t bit = LatentBit(element_, channel);
  const int64_t word = page + token * layout_.row_bytes + bit / 32 * 4;
  const double code = CodeValue(element_, At<uint32_t>(bytes_, word) >> (bit % 32));
  if (element_ == KvElement::kBf16) return code;
  const int32_t group = channel / kLatentGroup * kPageTokens + token;
  if (IsFp8(element_))
    return code * static_cast<double>(At<float>(bytes_, page + layout_.scales + 4 * group));
  const auto half = [&](int64_t at) {
    return static_cast<double>(__half2float(At<__half>(bytes_, at)));
  };
  return half(page + layout_.scales + 2 * group) * code + half(page + layout_.zeros + 2 * group);
}

Eigen::MatrixXd DrawnLatents::Read(int32_t sequence, int32_t count) const {
  Eigen::MatrixXd rows(count, kLatentChannels + kRotaryChannels);
  for (int32_t t = 0; t < count; ++t) {
    const auto entry = static_cast<size_t>(sequence * pages_per_sequence_ + t / kPageTokens);
    const int64_t page = static_cast<int64_t>(table_[entry]) * layout_.page_bytes;
    const int token = t % kPageTokens;
    for (int c = 0; c < kLatentChannels; ++c) rows(t, c) = Latent(page, token, c);
    for (int c = 0; c < kRotaryChannels; ++c) {
      const int64_t at = page + layout_.rotary + (token * kRotaryChannels + c) * 2;
      rows(t, kLatentChannels + c) = CodeValue(KvElement::kBf16, At<uint16_t>(bytes_, at));
    }
  }
  return rows;
}

}  // namespace moecast::kernels
