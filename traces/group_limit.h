// GroupLimit: which experts a row may still take under a router that is limited by groups: only so
// many groups, or only so many experts of each. docs/model/router_rules.md, "Groups".
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moecast {

/// Groups are equal runs of experts. group-limited routing [DeepSeekV3]: `open` groups at most.
/// Balanced groups [PanguMoGE]: `quota` experts of each group at most, quota * groups = top_k.
struct GroupLimitSpec {
  int64_t groups = 1;
  int64_t open = 0;   // 0: all
  int64_t quota = 0;  // 0: no limit
  [[nodiscard]] bool active() const { return groups > 1 && (open > 0 || quota > 0); }
  friend bool operator==(const GroupLimitSpec&, const GroupLimitSpec&) = default;
};

/// The state of one row.
class GroupLimit {
 public:
  /// REQUIRES: groups divide experts.
  GroupLimit(const GroupLimitSpec& spec, int64_t experts)
      : spec_(spec), size_(experts / spec.groups), taken_(static_cast<size_t>(spec.groups)) {}
  void StartRow() {
    if (!spec_.active()) return;
    taken_.assign(taken_.size(), 0);
    open_ = 0;
  }
  [[nodiscard]] bool Allows(int64_t expert) const {
    if (!spec_.active()) return true;
    const int64_t taken = taken_[static_cast<size_t>(expert / size_)];
    if (spec_.quota > 0 && taken >= spec_.quota) return false;
    return spec_.open == 0 || taken > 0 || open_ < spec_.open;
  }
  void Take(int64_t expert) {
    if (!spec_.active()) return;
    int64_t& taken = taken_[static_cast<size_t>(expert / size_)];
    open_ += taken == 0 ? 1 : 0;
    ++taken;
  }

 private:
  GroupLimitSpec spec_;
  int64_t size_;
  std::vector<int64_t> taken_;  // [group]
  int64_t open_ = 0;
};

}  // namespace moecast
