// Identities as distinct types: an index that cannot be confused with another kind of index.
#pragma once

#include <compare>
#include <cstdint>

namespace moecast {

/// A dense index of one kind. Ids are assigned from zero in order of creation.
template <class Tag, class Rep = uint32_t>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(Id, Id) = default;

 private:
  Rep value_{};
};

using RequestId = Id<struct RequestTag, uint64_t>;
using ReplicaId = Id<struct ReplicaTag>;
using SequenceId = Id<struct SequenceTag>;  // sequence of a routing trace

}  // namespace moecast
