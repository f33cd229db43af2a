#include "kernels/bench/append_schemes.h"

namespace moecast::kernels {
namespace {

constexpr int kGroups[] = {32, 64, 128};
constexpr auto kChannel = ScaleAxis::kChannel;
constexpr auto kToken = ScaleAxis::kToken;

void AddIfFits(const KvScheme& scheme, int head_dim, std::vector<KvScheme>& schemes) {
  if (Fits(scheme, head_dim)) schemes.push_back(scheme);
}

// One scale or more per token and head, no window: fp8, int8, int4 and SAW-INT4.
void AddPerToken(int head_dim, std::vector<KvScheme>& schemes) {
  for (const KvElement e :
       {KvElement::kE4m3, KvElement::kE5m2, KvElement::kInt8, KvElement::kInt4}) {
    for (const int group : kGroups) {
      const KvPart part{.element = e, .group = group};
      AddIfFits({.keys = part, .values = part}, head_dim, schemes);
    }
  }
}

// Keys by channel, values by token: KIVI, AsymKV, XQuant and its sharing layers.
void AddPerChannel(int head_dim, std::vector<KvScheme>& schemes) {
  struct Pair {
    KvElement keys{};
    KvElement values{};
    float key_eta = 0;
    float value_eta = 0;
    bool shares_values = false;
  };
  for (const Pair& pair :
       {Pair{KvElement::kInt8, KvElement::kInt8}, Pair{KvElement::kInt4, KvElement::kInt4},
        Pair{KvElement::kInt2, KvElement::kInt2}, Pair{KvElement::kInt2, KvElement::kInt1},
        Pair{KvElement::kInt1, KvElement::kInt1},
        Pair{KvElement::kInt2, KvElement::kInt1, 0.045F, 1.0F / 6},
        Pair{KvElement::kInt2, KvElement::kInt1, 0.045F, 1.0F / 6, true}}) {
    for (const int group : kGroups) {
      const int of_values = group < head_dim ? group : head_dim;
      AddIfFits(
          {.keys = {.element = pair.keys, .axis = kChannel, .group = group, .eta = pair.key_eta},
           .values = {.element = pair.values,
                      .axis = kToken,
                      .group = of_values,
                      .eta = pair.value_eta,
                      .shares_codes = pair.shares_values},
           .window = {.flush = 128}},
          head_dim, schemes);
    }
  }
}

// Both by token, with sinks and a recent window: OSCAR.
void AddWithSinks(int head_dim, std::vector<KvScheme>& schemes) {
  for (const int group : kGroups) {
    const KvPart part{.element = KvElement::kInt2, .axis = kToken, .group = group};
    AddIfFits({.keys = part, .values = part, .window = {.sink = 64, .recent = 64, .flush = 64}},
              head_dim, schemes);
  }
}

// Sides that differ in width, group or axis; shared keys; a ring beside sinks of another size.
void AddUnpublished(int head_dim, std::vector<KvScheme>& schemes) {
  AddIfFits({.keys = {.element = KvElement::kInt4, .axis = kToken, .group = 32},
             .values = {.element = KvElement::kE4m3, .group = head_dim}},
            head_dim, schemes);
  AddIfFits({.keys = {.element = KvElement::kInt8, .axis = kToken, .group = 32},
             .values = {.element = KvElement::kInt4, .axis = kToken, .group = 64}},
            head_dim, schemes);
  AddIfFits({.keys = {}, .values = {.element = KvElement::kInt8, .axis = kToken, .group = 64}},
            head_dim, schemes);
  AddIfFits({.keys = {.element = KvElement::kInt4,
                      .axis = kToken,
                      .group = head_dim,
                      .shares_codes = true},
             .values = {.element = KvElement::kInt4, .axis = kToken, .group = 32}},
            head_dim, schemes);
  AddIfFits({.keys = {.element = KvElement::kInt1, .axis = kChannel, .group = 128},
             .values = {.element = KvElement::kInt4, .axis = kToken, .group = 32},
             .window = {.sink = 128, .recent = 64, .flush = 128}},
            head_dim, schemes);
}

}  // namespace

std::vector<KvScheme> SchemesToCheck(int head_dim) {
  std::vector<KvScheme> schemes{{}};
  AddPerToken(head_dim, schemes);
  AddPerChannel(head_dim, schemes);
  AddWithSinks(head_dim, schemes);
  AddUnpublished(head_dim, schemes);
  return schemes;
}

}  // namespace moecast::kernels
