// Damaged files: every truncation and every flipped bit is refused with a message that says where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/routing_file.h"
#include "traces/routing_frame.h"

namespace moecast {
namespace {

using test::MakeChunk;
using test::MakeHeader;
using test::TemporaryFolder;
using test::WriteTrace;
using ::testing::HasSubstr;

std::string TraceBytes() {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(2, 16, 2, true);
  const Status written = WriteTrace(folder / "trace", header,
                                    {MakeChunk(header, 0, RoutingPhase::kPrefill, 0, 6),
                                     MakeChunk(header, 0, RoutingPhase::kDecode, 6, 3, 4),
                                     MakeChunk(header, 1, RoutingPhase::kDecode, 0, 5)});
  EXPECT_TRUE(written.ok());
  return ReadFile(folder / "trace").value();
}

/// Reads all of it; the errors, or none.
Errors ReadAll(std::string bytes) {
  auto reader =
      RoutingReader::Open(std::make_unique<std::istringstream>(std::move(bytes)), "trace");
  if (!reader.ok()) return reader.errors();
  RoutingChunk chunk;
  while (true) {
    const Result<bool> more = reader->Next(chunk);
    if (!more.ok()) return more.errors();
    if (!*more) return {};
  }
}

TEST(DamagedRoutingTrace, WholeTraceIsFine) { EXPECT_TRUE(ReadAll(TraceBytes()).empty()); }

TEST(DamagedRoutingTrace, EveryTruncationIsRefused) {
  const std::string bytes = TraceBytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Errors errors = ReadAll(bytes.substr(0, size));
    ASSERT_FALSE(errors.empty()) << "cut to " << size << " of " << bytes.size();
    EXPECT_THAT(errors[0].where, HasSubstr("trace"));
  }
}

TEST(DamagedRoutingTrace, EveryFlippedBitIsRefused) {
  const std::string bytes = TraceBytes();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    ASSERT_FALSE(ReadAll(damaged).empty()) << "bit " << bit;
  }
}

TEST(DamagedRoutingTrace, MessageNamesTheChunkAndItsByte) {
  const std::string bytes = TraceBytes();
  FrameCodec frames;
  size_t offset = kRoutingPrologueBytes;
  for (int frame = 0; frame < 2; ++frame) {  // past the header and chunk 0
    const auto head = frames.DecodeHead(bytes.substr(offset, kFrameHeadBytes), bytes.size());
    offset += kFrameHeadBytes + head->payload_bytes;
  }
  std::string damaged = bytes;
  damaged[offset + kFrameHeadBytes + 5] ^= 1;
  const Errors errors = ReadAll(damaged);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].where, "trace: chunk 1 at byte " + std::to_string(offset));
  EXPECT_THAT(errors[0].message, HasSubstr("CRC-32"));
}

TEST(DamagedRoutingTrace, HugeSizesAreRefusedBeforeAllocation) {
  std::string head;
  AppendLittleEndian(10, 4, head);
  AppendLittleEndian(0xffffffff, 4, head);
  AppendLittleEndian(0, 4, head);
  const auto parsed = FrameCodec().DecodeHead(head, 100);
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.errors()[0].message, HasSubstr("at most 67108864"));
}

TEST(DamagedRoutingTrace, OtherFilesAreRecognised) {
  EXPECT_THAT(ToString(ReadAll("TIMESTAMP,ContextTokens,GeneratedTokens\n")),
              HasSubstr("is not a moecast routing trace"));
  std::string newer = TraceBytes();
  newer[kRoutingMagic.size()] = 2;
  EXPECT_THAT(ToString(ReadAll(newer)), HasSubstr("format version 2"));
}

TEST(DamagedRoutingTrace, MissingFileAndFolderAreErrors) {
  const TemporaryFolder folder;
  const auto missing = RoutingReader::Open(folder / "absent");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(ToString(missing.errors()), HasSubstr("No such file"));
  const auto directory = RoutingReader::Open(folder.path());
  ASSERT_FALSE(directory.ok());
  EXPECT_THAT(ToString(directory.errors()), HasSubstr("is a folder"));
}

}  // namespace
}  // namespace moecast
