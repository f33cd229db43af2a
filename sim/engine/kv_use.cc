#include "sim/engine/kv_use.h"

#include <cmath>

#include "sim/base/check.h"

namespace moecast {

KvUse PlainKvUse(int64_t block_tokens) { return {.stores = {{.block_tokens = block_tokens}}}; }

KvUse MakeKvUse(const KvPlan& plan, const KvElements& elements, int64_t block_tokens) {
  SIM_CHECK(block_tokens >= 1 && !plan.stores.empty());
  KvUse use{.stores = {},
            .pressure = plan.pressure,
            .keep_tokens = plan.keep_tokens,
            .budget_tokens = plan.budget ? plan.budget->tokens : 0,
            .recalibrate = plan.budget ? plan.budget->recalibrate : 0,
            .plain = plan.plain()};
  const double block_bytes =
      static_cast<double>(block_tokens) * ChargeOf(plan.stores.front(), elements).per_token;
  for (const KvStore& store : plan.stores) {
    const KvCharge charge = ChargeOf(store, elements);
    if (charge.per_token <= 0) {  // no layer caches anything
      use.stores.push_back({.block_tokens = block_tokens});
      continue;
    }
    const bool first = use.stores.empty();
    const auto held = static_cast<int64_t>(std::floor(block_bytes / charge.per_token));
    use.stores.push_back(
        {.block_tokens = first ? block_tokens : std::max<int64_t>(1, held),
         .extra_tokens = static_cast<int64_t>(std::ceil(charge.per_sequence / charge.per_token)),
         .boundaries = store.boundaries});
  }
  return use;
}

}  // namespace moecast
