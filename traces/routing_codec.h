// Codec between the routing trace's structs and its protobuf messages. The only file that includes
// the generated code. Every decoder checks what later code relies on; errors carry no place, the
// reader adds it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Bounds that keep every product of sizes far from overflow.
inline constexpr int32_t kMaxRoutingExperts = 65535;  // kUnknownExpert is not an expert
inline constexpr int32_t kMaxRoutingLayers = 65536;
inline constexpr int64_t kMaxTokenIds = int64_t{1} << 20;  // MoE layers * ranks of one token

/// Where a chunk is and what it holds.
struct RoutingIndexEntry {
  uint64_t offset = 0;  // of its frame, in bytes from the start of the file
  SequenceId sequence;
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t first_position = 0;
  int64_t tokens = 0;
  uint64_t unknown_rows = 0;
  friend bool operator==(const RoutingIndexEntry&, const RoutingIndexEntry&) = default;
};

struct RoutingFooter {
  std::vector<RoutingIndexEntry> chunks;   // in file order
  std::vector<RoutingSequence> sequences;  // [sequence]
};

/// Ok, or what makes the header unusable: no layers or layers out of order, no experts, k or all
/// ranks above E, more than kMaxTokenIds ids in a token.
Status CheckHeader(const RoutingHeader& header);
/// Ok, or why a chunk may not follow `last`: sequences are numbered from 0 in file order, within
/// one the chunks are in position order, prefill before decode. `last` is null for the first.
Status CheckOrder(const RoutingIndexEntry* last, const RoutingIndexEntry& next);

std::string EncodeHeader(const RoutingHeader& header);
/// ERRORS: not a header message, or one that CheckHeader refuses.
Result<RoutingHeader> DecodeHeader(std::string_view message);

std::string EncodeFooter(const RoutingFooter& footer);
/// ERRORS: not a footer message, lists of unequal length, an order that CheckOrder refuses.
Result<RoutingFooter> DecodeFooter(std::string_view message);

/// Chunks to messages and back; keeps its working memory between calls.
class RoutingChunkCodec {
 public:
  /// REQUIRES: CheckHeader(header) is ok.
  explicit RoutingChunkCodec(RoutingHeader header);
  RoutingChunkCodec(RoutingChunkCodec&&) noexcept;
  RoutingChunkCodec& operator=(RoutingChunkCodec&&) noexcept;
  ~RoutingChunkCodec();

  /// A chunk as a message, and how many of its rows are unknown.
  struct Encoded {
    std::string_view message;  // until the next call
    uint64_t unknown_rows = 0;
  };
  /// `tokens` tokens of `chunk` from its `first_token`-th. ERRORS: an id out of range or repeated
  /// in a row, a score outside 0..65535 units (with the token and layer). REQUIRES: shapes match.
  Result<Encoded> Encode(const RoutingChunk& chunk, int64_t first_token, int64_t tokens);
  /// Replaces `chunk`; says how many rows are unknown. ERRORS: not a chunk message, sizes that do
  /// not match the header, an id out of range or repeated in a row.
  Result<uint64_t> Decode(std::string_view message, RoutingChunk& chunk);

 private:
  struct Buffers;

  /// Ok, or the first row whose ids, further ones included, break the rules.
  Status CheckFurther(const RoutingChunk& chunk, size_t first_row, size_t rows);
  Status EncodeFurther(const RoutingChunk& chunk, size_t first_row, size_t rows);
  Status DecodeFurther(RoutingChunk& chunk, size_t rows);

  RoutingHeader header_;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace moecast
