#include "traces/routing_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "sim/base/check.h"
#include "traces/routing_chunk.h"

namespace moecast {
namespace {

constexpr int32_t kMaxTopKByLags = 16;  // above it, comparing all pairs loses to marking
constexpr size_t kRowsPerBlock = 64;

/// Or of mask[i] over the i with left[i] == right[i], [n] each; written so that compilers
/// vectorise.
template <class IdType>
IdType OrWhereEqual(const IdType* left, const IdType* right, const IdType* mask, size_t n) {
  IdType any = 0;
  for (size_t i = 0; i < n; ++i) {
    const auto same = static_cast<IdType>(-static_cast<int>(left[i] == right[i]));
    any = static_cast<IdType>(any | (same & mask[i]));
  }
  return any;
}

/// [lag - 1][kRowsPerBlock * k] all ones where an id and the one `lag` later are of one row.
template <class IdType>
std::vector<IdType> SameRowMasks(size_t top_k) {
  std::vector<IdType> masks;
  for (size_t lag = 1; lag < top_k; ++lag) {
    for (size_t row = 0; row < kRowsPerBlock; ++row) {
      masks.insert(masks.end(), top_k - lag, static_cast<IdType>(~0u));
      masks.insert(masks.end(), lag, IdType{0});
    }
  }
  return masks;
}

/// True when no row of [row][k] ids holds an id twice: the whole array is compared with itself
/// shifted by 1 to k-1, pairs that straddle rows masked.
template <class IdType>
bool NoRepeats(std::span<const IdType> ids, size_t top_k) {
  const size_t block = top_k * kRowsPerBlock;
  const std::vector<IdType> masks = SameRowMasks<IdType>(top_k);
  size_t begin = 0;
  for (; begin + block + top_k <= ids.size(); begin += block) {
    const IdType* left = ids.data() + begin;
    for (size_t lag = 1; lag < top_k; ++lag) {
      if (OrWhereEqual(left, left + lag, masks.data() + (lag - 1) * block, block) != 0)
        return false;
    }
  }
  for (; begin < ids.size(); begin += top_k) {
    for (size_t i = 1; i < top_k; ++i) {
      const auto row = ids.subspan(begin, i);
      if (std::find(row.begin(), row.end(), ids[begin + i]) != row.end()) return false;
    }
  }
  return true;
}

template <class IdType>
bool AllBelow(std::span<const IdType> ids, int32_t experts) {
  IdType largest = 0;
  for (const IdType id : ids) largest = id > largest ? id : largest;
  return largest < experts;
}

/// The rules, one row at a time. `marks` has one entry per expert, the last row that used it.
std::optional<RowProblem> CheckRow(std::span<const uint16_t> row, size_t index,
                                   std::span<size_t> marks) {
  using Kind = RowProblem::Kind;
  const bool unknown = row[0] == kUnknownExpert;
  for (const uint16_t id : row) {
    if ((id == kUnknownExpert) != unknown) return RowProblem{index, Kind::kPartlyUnknown, id};
    if (unknown) continue;
    if (id >= marks.size()) return RowProblem{index, Kind::kOutOfRange, id};
    if (marks[id] == index + 1) return RowProblem{index, Kind::kRepeated, id};
    marks[id] = index + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<RowProblem> FindProblem(std::span<const uint16_t> ids, int32_t experts,
                                      int32_t top_k) {
  const auto k = static_cast<size_t>(top_k);
  SIM_CHECK(top_k >= 1 && ids.size() % k == 0);
  if (top_k <= kMaxTopKByLags && AllBelow(ids, experts) && NoRepeats(ids, k)) return std::nullopt;
  std::vector<size_t> marks(static_cast<size_t>(experts));
  for (size_t row = 0; row < ids.size() / k; ++row) {
    if (auto problem = CheckRow(ids.subspan(row * k, k), row, marks)) return problem;
  }
  return std::nullopt;
}

std::string Describe(const RowProblem& problem, int32_t experts) {
  const std::string expert = "expert " + std::to_string(problem.id);
  switch (problem.kind) {
    case RowProblem::Kind::kOutOfRange:
      return expert + " is out of range, ids are below " + std::to_string(experts);
    case RowProblem::Kind::kRepeated:
      return expert + " is chosen twice, a token's experts at a layer are distinct";
    case RowProblem::Kind::kPartlyUnknown:
      return "some ids are unknown and some are not, a row is unknown as a whole";
  }
  SIM_CHECK(false);
  return {};
}

bool AllClean(std::span<const uint8_t> ids, int32_t experts, int32_t top_k) {
  return top_k <= kMaxTopKByLags && AllBelow(ids, experts) &&
         NoRepeats(ids, static_cast<size_t>(top_k));
}

void Pack(std::span<const uint16_t> ids, int32_t experts, int32_t top_k, PackedRows& packed) {
  const size_t id_bytes = IdBytes(experts);
  packed.ids.resize(ids.size() * id_bytes);
  if (id_bytes == 1) {
    for (size_t i = 0; i < ids.size(); ++i) packed.ids[i] = static_cast<char>(ids[i]);
  } else {
    for (size_t i = 0; i < ids.size(); ++i) {
      packed.ids[2 * i] = static_cast<char>(ids[i] & 0xff);
      packed.ids[2 * i + 1] = static_cast<char>(ids[i] >> 8);
    }
  }
  packed.unknown_rows.clear();
  packed.unknown_count = 0;
  if (std::find(ids.begin(), ids.end(), kUnknownExpert) == ids.end()) return;
  const auto k = static_cast<size_t>(top_k);
  packed.unknown_rows.resize((ids.size() / k + 7) / 8);
  for (size_t row = 0; row < ids.size() / k; ++row) {
    if (ids[row * k] != kUnknownExpert) continue;
    char& byte = packed.unknown_rows[row / 8];
    byte = static_cast<char>(byte | 1 << row % 8);
    std::fill_n(packed.ids.begin() + static_cast<std::ptrdiff_t>(row * k * id_bytes), k * id_bytes,
                '\0');
    ++packed.unknown_count;
  }
}

void WidenIds(std::string_view packed_ids, size_t id_bytes, std::span<uint16_t> ids) {
  SIM_CHECK(packed_ids.size() == ids.size() * id_bytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(packed_ids.data());
  if (id_bytes == 1) {
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = bytes[i];
  } else {
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    }
  }
}

uint64_t MarkUnknown(std::string_view unknown_rows, int32_t top_k, std::span<uint16_t> ids) {
  const auto k = static_cast<size_t>(top_k);
  SIM_CHECK(unknown_rows.size() == (ids.size() / k + 7) / 8);
  uint64_t count = 0;
  for (size_t row = 0; row < ids.size() / k; ++row) {
    if ((static_cast<uint8_t>(unknown_rows[row / 8]) >> row % 8 & 1) == 0) continue;
    std::fill_n(ids.begin() + static_cast<std::ptrdiff_t>(row * k), k, kUnknownExpert);
    ++count;
  }
  return count;
}

std::optional<float> PackScores(std::span<const float> scores, double unit, std::string& packed) {
  constexpr double kMaxUnits = std::numeric_limits<uint16_t>::max();
  constexpr double kHalf = 1.0 / 2.0;
  packed.resize(2 * scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const double units = static_cast<double>(scores[i]) / unit + kHalf;
    if (!(scores[i] >= 0) || !(units < kMaxUnits + 1)) return scores[i];
    const auto whole = static_cast<uint32_t>(units);
    packed[2 * i] = static_cast<char>(whole & 0xff);
    packed[2 * i + 1] = static_cast<char>(whole >> 8);
  }
  return std::nullopt;
}

void UnpackScores(std::string_view packed, double unit, std::span<float> scores) {
  SIM_CHECK(packed.size() == 2 * scores.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(packed.data());
  for (size_t i = 0; i < scores.size(); ++i) {
    const int whole = bytes[2 * i] | bytes[2 * i + 1] << 8;
    scores[i] = static_cast<float>(whole * unit);
  }
}

}  // namespace moecast
