#include "sim/replay/replay_table.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Differences of running counts are exact below 2^16 rows; longer spans are cut.
constexpr int64_t kMaxSpanRows = int64_t{1} << 15;
constexpr int64_t kParts = 9;

}  // namespace

// Half of the memory is for what does not leave it, half for the window over what is on disk. Eight
// parts of nine are rows: running counts take 16 bits a position every kCheckpointRows rows.
ReplayTable::ReplayTable(const RoutingHeader& header, int64_t resident_bytes)
    : header_(header),
      layout_{.moe_layers = std::ssize(header.moe_layers), .experts = header.experts},
      store_(layout_.lines(), resident_bytes / 2 / kParts * (kParts - 1)),
      checkpoints_(layout_.lines() * kBitsPerLane, resident_bytes / 2 / kParts),
      window_bytes_(resident_bytes / 2) {}

void ReplayTable::Count(SequenceId sequence, RoutingPhase phase, Rows rows,
                        ExpertCounter& counter) const {
  const Part& of = part(sequence, phase);
  SIM_CHECK(rows.first >= 0 && rows.count >= 0 && rows.first + rows.count <= of.count);
  while (rows.count > 0) {
    const Rows piece{rows.first, std::min(rows.count, kMaxSpanRows)};
    CountShort(of, piece, counter);
    rows = {piece.first + piece.count, rows.count - piece.count};
  }
}

void ReplayTable::CountShort(const Part& of, Rows rows, ExpertCounter& counter) const {
  const int64_t end = rows.first + rows.count;
  const int64_t from = (rows.first + kCheckpointRows - 1) / kCheckpointRows;
  const bool to_part_end = end == of.count;
  const int64_t to =
      to_part_end ? (end + kCheckpointRows - 1) / kCheckpointRows : end / kCheckpointRows;
  int64_t head_end = end;
  int64_t tail = end;
  if (to > from) {
    head_end = from * kCheckpointRows;
    tail = std::min(end, to * kCheckpointRows);
    counter.AddDifference(checkpoint(of.checkpoint + to), checkpoint(of.checkpoint + from));
  }
  for (int64_t row = rows.first; row < head_end; ++row) counter.AddRow(store_.row(of.first + row));
  for (int64_t row = tail; row < end; ++row) counter.AddRow(store_.row(of.first + row));
}

int64_t ReplayTable::UnknownRows(SequenceId sequence, RoutingPhase phase, Rows rows) const {
  if (unknown_before_.empty()) return 0;
  const auto first = static_cast<size_t>(part(sequence, phase).first + rows.first);
  return unknown_before_[first + static_cast<size_t>(rows.count)] - unknown_before_[first];
}

}  // namespace moecast
