#include "kernels/bench/kv_tails.h"

#include <cstring>

#include "kernels/bench/check_support.h"
#include "kernels/ops/kv/host_page.h"

namespace moecast::kernels {
namespace {

// One side of one head's last page, and where its tail begins.
struct LastPage {
  std::span<const uint8_t> bytes;
  int first = 0;  // token of the page
  int head_dim = 0;
};

uint32_t NumberAt(std::span<const uint8_t> bytes, int32_t offset, size_t size) {
  uint32_t number = 0;
  std::memcpy(&number, bytes.data() + offset, size);
  return number;
}

void AddCodes(const LastPage& page, KvSide side, KvElement element, const PartLayout& layout,
              std::vector<uint32_t>& numbers) {
  const Eigen::MatrixXi codes =
      ReadCodes(side, element, page.head_dim,
                page.bytes.subspan(static_cast<size_t>(layout.codes),
                                   static_cast<size_t>(layout.code_bytes)));
  for (int token = page.first; token < kPageTokens; ++token) {
    for (int channel = 0; channel < page.head_dim; ++channel)
      numbers.push_back(static_cast<uint32_t>(codes(token, channel)));
  }
}

// A part whose page ends early has the token axis.
void AddMetadata(const LastPage& page, const KvPart& part, const PartLayout& layout,
                 std::vector<uint32_t>& numbers) {
  for (int token = page.first; token < kPageTokens; ++token) {
    for (int channel = 0; channel < page.head_dim; channel += part.group) {
      const int32_t group = GroupOf(part, page.head_dim, token, channel);
      if (IsInteger(part.element)) {
        numbers.push_back(NumberAt(page.bytes, layout.scales + 2 * group, 2));
        numbers.push_back(NumberAt(page.bytes, layout.zeros + 2 * group, 2));
      } else {
        numbers.push_back(NumberAt(page.bytes, layout.scales + 4 * group, 4));
      }
    }
  }
}

}  // namespace

KvTails::KvTails(const KvPool& pool, const KvShape& shape, const KvScheme& scheme,
                 std::span<const int32_t> lengths) {
  const bool window = HasWindow(scheme);
  const PageLayout layout = window ? WindowLayout(shape.head_dim) : pool.layout();
  for (int s = 0; s < static_cast<int>(lengths.size()); ++s) {
    const int32_t length = lengths[static_cast<size_t>(s)];
    if (length % kPageTokens == 0) continue;
    for (int head = 0; head < shape.kv_heads; ++head) {
      const std::vector<uint8_t> bytes =
          window ? pool.WindowPage(s, length - 1, head) : pool.QuantisedPage(s, length - 1, head);
      const LastPage page{
          .bytes = bytes, .first = length % kPageTokens, .head_dim = shape.head_dim};
      for (const KvSide side : {KvSide::kKeys, KvSide::kValues}) {
        const bool keys = side == KvSide::kKeys;
        const KvPart part = window ? KvPart{} : keys ? scheme.keys : scheme.values;
        const PartLayout& of_part = keys ? layout.keys : layout.values;
        Tail& tail = tails_.emplace_back();
        tail.where = "sequence " + std::to_string(s) + " head " + std::to_string(head) +
                     (keys ? " keys" : " values");
        if (!part.shares_codes) AddCodes(page, side, part.element, of_part, tail.numbers);
        if (part.element != KvElement::kBf16) AddMetadata(page, part, of_part, tail.numbers);
      }
    }
  }
}

void KvTails::RequireZeroOr(const KvTails& before, const std::string& what) const {
  for (size_t i = 0; i < tails_.size(); ++i) {
    const Tail& tail = tails_[i];
    for (size_t j = 0; j < tail.numbers.size(); ++j) {
      if (tail.numbers[j] == 0 || tail.numbers[j] == before.tails_[i].numbers[j]) continue;
      Require(false, what + ": " + tail.where + ": number " + std::to_string(j) +
                         " behind the end became " + std::to_string(tail.numbers[j]));
    }
  }
}

}  // namespace moecast::kernels
