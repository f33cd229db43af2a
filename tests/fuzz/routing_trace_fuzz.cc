// The canonical routing trace from its bytes: whatever they are, reading ends with chunks of the
// stated shape or with an error that has a place. The frame's CRC would stop nearly every mutation,
// so inputs that begin with 'm' skip it: their second byte says which message the rest is.
#include <cstdint>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include "sim/base/check.h"
#include "traces/routing_codec.h"
#include "traces/routing_reader.h"
#include "traces/routing_rows.h"

namespace {

using moecast::RoutingChunk;
using moecast::RoutingHeader;

RoutingHeader SmallHeader(bool has_scores) {
  RoutingHeader header;
  header.moe_layers = {1, 2, 3};
  header.experts = 8;
  header.top_k = 2;
  header.has_scores = has_scores;
  return header;
}

void CheckShape(const RoutingHeader& header, const RoutingChunk& chunk) {
  const size_t row_ids = header.moe_layers.size() * static_cast<size_t>(header.top_k);
  SIM_CHECK(chunk.ids.size() == static_cast<size_t>(chunk.tokens) * row_ids);
  SIM_CHECK(chunk.scores.size() == (header.has_scores ? chunk.ids.size() : 0));
  SIM_CHECK(!moecast::FindProblem(chunk.ids, header.experts, header.top_k));
}

void ReadMessage(uint8_t kind, std::string_view bytes) {
  if (kind == 'h') {
    const auto header = moecast::DecodeHeader(bytes);
    if (header.ok()) SIM_CHECK(moecast::CheckHeader(*header).ok());
  } else if (kind == 'f') {
    const auto footer = moecast::DecodeFooter(bytes);
    if (footer.ok()) SIM_CHECK(footer->sequences.size() <= footer->chunks.size());
  } else {
    const RoutingHeader header = SmallHeader(kind == 's');
    RoutingChunk chunk;
    if (moecast::RoutingChunkCodec(header).Decode(bytes, chunk).ok()) CheckShape(header, chunk);
  }
}

void ReadFileBytes(std::string_view bytes) {
  auto stream = std::make_unique<std::istringstream>(std::string(bytes));
  auto reader = moecast::RoutingReader::Open(std::move(stream), "input");
  if (!reader.ok()) {
    SIM_CHECK(!reader.errors().front().where.empty());
    return;
  }
  RoutingChunk chunk;
  while (true) {
    const auto more = reader->Next(chunk);
    if (!more.ok() || !*more) return;
    CheckShape(reader->header(), chunk);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size >= 2 && data[0] == 'm') {
    ReadMessage(data[1], bytes.substr(2));
  } else {
    ReadFileBytes(bytes);
  }
  return 0;
}
