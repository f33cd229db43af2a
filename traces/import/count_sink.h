// CountSink: where importers of count-level captures put their counts. Chooses the MoE layers, maps
// physical experts to logical ones, checks, and leaves a complete count table on Finish or none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/count_table.h"
#include "traces/import/capture_sources.h"

namespace moecast {

/// Shape of a pass's counts in a capture.
struct CountsShape {
  int64_t layers = 0;
  int64_t experts = 0;  // or slots, with a placement
};

class CountSink {
 public:
  /// `placement` null for logical counts. ERRORS: a shape that is not the model's.
  static Result<CountSink> Create(const CaptureJob& job, const CountsShape& shape,
                                  const ExpertPlacement* placement);
  /// The same for layers that the capture names by their index in the model.
  static Result<CountSink> CreateForLayers(const CaptureJob& job,
                                           const std::vector<int32_t>& layers, int64_t experts);

  /// Adds a pass from counts [layer][expert] as captured.
  Status Add(const std::string& pass, std::optional<RoutingPhase> phase,
             std::span<const uint64_t> counts);
  /// Adds every pass of an array [pass, layer, expert], named `name` and its number when there are
  /// several. ERRORS: another shape, a value that is no count (with the byte).
  Status AddArray(const ByteFile& file, const ArrayRef& array, const std::string& name);
  /// Commits and fills the report's figures.
  Status Finish();

 private:
  CountSink(const CaptureJob& job, const CountsShape& shape, CountTableWriter writer);

  const CaptureJob* job_;
  CountsShape shape_;
  LayerSelection selection_;
  int64_t experts_ = 0;
  SlotMap to_logical_;  // empty: counts are logical
  CountTableWriter writer_;
};

/// The elements of an array from its `first`-th as counts. ERRORS: a value that is no whole number
/// from 0 to 2^53, with its byte.
Result<std::vector<uint64_t>> ReadCounts(const ByteFile& file, const ArrayRef& array, int64_t first,
                                         int64_t count);

}  // namespace moecast
