// IdDecoder: expert ids of a capture, whatever their element type and layout, become rows of a
// routing trace: MoE layers only, k ids each, logical, -1 unknown, every row checked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/array_ref.h"
#include "traces/import/capture_options.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Shape of a token's ids in a capture.
struct IdShape {
  int64_t layers = 0;   // rows of a token
  int64_t columns = 0;  // ids of a row, at least k; those past k must be -1
};

/// Which id of a block is wrong, and how.
struct IdFault {
  int64_t token = 0;  // of the block
  int64_t layer = 0;  // of the capture
  int64_t column = 0;
  std::string message = {};
};

class IdDecoder {
 public:
  /// `placement` maps physical ids, one layer per capture layer or per MoE layer. ERRORS: fewer
  /// columns than k, a placement of other layers or experts.
  static Result<IdDecoder> Make(const RoutingHeader& header, const LayerSelection& selection,
                                const IdShape& shape, const ExpertPlacement* placement,
                                const std::string& where);

  /// Decodes [tokens][layers][columns] elements into ids [tokens][MoE layer][k].
  /// RETURNS: the first fault, or none. REQUIRES: the type is an integer; sizes match.
  std::optional<IdFault> Decode(std::span<const char> bytes, ElementType type, int64_t tokens,
                                std::vector<uint16_t>& ids) const;
  /// The same for one MoE layer's [tokens][columns] elements; ids keeps the size it has,
  /// [tokens][MoE layer][k]. Rows are checked by CheckRows when all layers are there.
  std::optional<IdFault> DecodeLayer(std::span<const char> bytes, ElementType type,
                                     int64_t moe_layer, std::span<uint16_t> ids) const;
  /// Finds repeated and partly unknown rows.
  [[nodiscard]] std::optional<IdFault> CheckRows(std::span<const uint16_t> ids) const;

  [[nodiscard]] const IdShape& shape() const { return shape_; }
  [[nodiscard]] const LayerSelection& selection() const { return selection_; }

 private:
  IdDecoder(const RoutingHeader& header, LayerSelection selection, const IdShape& shape);
  template <class T>
  std::optional<IdFault> DecodeAs(const char* from, int64_t tokens, uint16_t* ids) const;
  template <class T>
  std::optional<IdFault> DecodeRow(const char* from, int64_t moe_layer, uint16_t* ids) const;
  [[nodiscard]] std::string OutOfRange(int64_t value) const;

  int64_t experts_;
  int64_t top_k_;
  LayerSelection selection_;
  IdShape shape_;
  bool adjacent_ = false;  // selected layers, all their columns
  int64_t slots_ = 0;      // 0: ids are logical
  SlotMap to_logical_;
};

}  // namespace moecast
