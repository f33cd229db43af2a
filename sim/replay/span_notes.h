// SpanNotes: counts how a span departs from the recorded sequence, for the report.
#pragma once

#include "sim/base/rng.h"
#include "sim/replay/replay_table.h"
#include "sim/replay/routed_span.h"

namespace moecast {

/// The trace sequence that a request replays: uniform over sequences, from the request's own
/// stream, so every policy binds the same (INV-8).
SequenceId BoundSequence(const ReplayTable& table, Seed seed, RequestId request);

/// Adds a span's rows to `notes`: prefill, decode, substituted, wrapped and unknown ones.
void NoteSpan(const ReplayTable& table, const RoutedSpan& span, RoutingNotes& notes);

}  // namespace moecast
