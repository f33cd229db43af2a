#include "kernels/ops/kv/kv_bits.h"

#include "kernels/ops/kv/page_layout.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

enum class SharedCodes { kLeftOut, kCounted };

// Bits per element of a part in quantised pages.
double PartBits(const KvPart& part, int head_dim, SharedCodes shared) {
  const bool codes = !part.shares_codes || shared == SharedCodes::kCounted;
  const PartLayout layout = LayoutOf(part, head_dim, 0);
  return (codes ? BitsOf(part.element) : 0) +
         8.0 * layout.metadata_bytes / (kPageTokens * head_dim);
}

double MeanBits(const KvScheme& scheme, int head_dim, int64_t tokens, SharedCodes shared) {
  SIM_CHECK(tokens > 0);
  const double quantised = static_cast<double>(QuantisedTokens(scheme.window, tokens));
  const double bits =
      (PartBits(scheme.keys, head_dim, shared) + PartBits(scheme.values, head_dim, shared)) / 2;
  const double plain = BitsOf(KvElement::kBf16);
  return plain + (bits - plain) * quantised / static_cast<double>(tokens);
}

KvPart PartOfLayer(const LayerPlan& plan, bool two_bits, ScaleAxis axis, bool shared) {
  return {.element = two_bits ? KvElement::kInt2 : KvElement::kInt1,
          .axis = axis,
          .group = plan.group,
          .eta = two_bits ? plan.two_bit_eta : plan.one_bit_eta,
          .shares_codes = shared};
}

}  // namespace

double EquivalentBits(const KvScheme& scheme) {
  const auto bits = [](const KvPart& part) {
    return part.shares_codes ? 0.0 : static_cast<double>(BitsOf(part.element));
  };
  return (bits(scheme.keys) + bits(scheme.values)) / 2;
}

double QuantisedBits(const KvScheme& scheme, int head_dim) {
  return (PartBits(scheme.keys, head_dim, SharedCodes::kLeftOut) +
          PartBits(scheme.values, head_dim, SharedCodes::kLeftOut)) /
         2;
}

double StoredBits(const KvScheme& scheme, int head_dim, int64_t tokens) {
  return MeanBits(scheme, head_dim, tokens, SharedCodes::kLeftOut);
}

double ReadBits(const KvScheme& scheme, int head_dim, int64_t tokens) {
  return MeanBits(scheme, head_dim, tokens, SharedCodes::kCounted);
}

KvScheme SchemeOfLayer(const LayerPlan& plan, int layer) {
  SIM_CHECK(layer >= 0 && layer < plan.layers);
  const bool odd = layer % 2 == 1;
  return {.keys = PartOfLayer(plan, layer < plan.two_bit_keys, ScaleAxis::kChannel,
                              odd && layer >= plan.first_shared_keys),
          .values = PartOfLayer(plan, layer < plan.two_bit_values, ScaleAxis::kToken,
                                odd && layer >= plan.first_shared_values),
          .window = {.flush = plan.residual}};
}

}  // namespace moecast::kernels
