// Rows of expert ids, [row][k]: checks that every importer and reader runs, and the compact forms a
// trace file keeps. A row is one token at one MoE layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace moecast {

/// How a row breaks the rules: each id below `experts`, no id twice, and all k unknown or none.
struct RowProblem {
  enum class Kind { kOutOfRange, kRepeated, kPartlyUnknown };
  size_t row = 0;
  Kind kind = Kind::kOutOfRange;
  uint16_t id = 0;  // the offending one
};

/// The first row that breaks the rules. REQUIRES: ids.size() is a multiple of top_k >= 1.
/// COST: about 1 ns per id for top_k up to 16 when nothing is wrong or unknown, else about 5 ns.
std::optional<RowProblem> FindProblem(std::span<const uint16_t> ids, int32_t experts,
                                      int32_t top_k);
/// "expert 64 is out of range, ids are below 64" and the like.
std::string Describe(const RowProblem& problem, int32_t experts);

/// Rows of one-byte ids that are all in range and without repeats (so none is unknown).
bool AllClean(std::span<const uint8_t> ids, int32_t experts, int32_t top_k);

/// Bytes per id in a file: one up to 256 experts, else two.
constexpr size_t IdBytes(int32_t experts) { return experts <= 256 ? 1 : 2; }

/// Rows as a file keeps them.
struct PackedRows {
  std::string ids;           // IdBytes each, little-endian; 0 where unknown
  std::string unknown_rows;  // bit per row, least significant first; empty when all are known
  uint64_t unknown_count = 0;
};
/// Replaces `packed` by the packed form. REQUIRES: FindProblem(ids) found none.
void Pack(std::span<const uint16_t> ids, int32_t experts, int32_t top_k, PackedRows& packed);
/// The ids of packed bytes, without regard to unknown rows. REQUIRES: sizes match.
void WidenIds(std::string_view packed_ids, size_t id_bytes, std::span<uint16_t> ids);
/// Sets the rows whose bit is set to unknown; their number. REQUIRES: a bit for each row.
uint64_t MarkUnknown(std::string_view unknown_rows, int32_t top_k, std::span<uint16_t> ids);

/// Scores as whole multiples of `unit`, u16 little-endian, rounded to nearest. The first score that
/// is negative, not finite or above 65535 units stops it and is returned.
std::optional<float> PackScores(std::span<const float> scores, double unit, std::string& packed);
/// REQUIRES: two bytes per score.
void UnpackScores(std::string_view packed, double unit, std::span<float> scores);

}  // namespace moecast
