// Writer and reader together: what goes in comes out, and what must not go in does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"

namespace moecast {
namespace {

using test::MakeChunk;
using test::MakeHeader;
using test::TemporaryFolder;
using test::WriteTrace;
using ::testing::HasSubstr;

constexpr auto kPrefill = RoutingPhase::kPrefill;
constexpr auto kDecode = RoutingPhase::kDecode;

void ExpectSameIds(const std::vector<RoutingChunk>& read, const std::vector<RoutingChunk>& wrote) {
  ASSERT_EQ(read.size(), wrote.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].sequence, wrote[i].sequence);
    EXPECT_EQ(read[i].phase, wrote[i].phase);
    EXPECT_EQ(read[i].first_position, wrote[i].first_position);
    EXPECT_EQ(read[i].tokens, wrote[i].tokens);
    EXPECT_EQ(read[i].ids, wrote[i].ids);
  }
}

TEST(RoutingTrace, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  for (const int32_t experts : {8, 256, 257, 1000}) {
    const RoutingHeader header = MakeHeader(3, experts, 4, experts == 257);
    const std::vector<RoutingChunk> chunks = {
        MakeChunk(header, 0, kPrefill, 0, 5), MakeChunk(header, 0, kDecode, 5, 7),
        MakeChunk(header, 1, kPrefill, 0, 1, 2), MakeChunk(header, 2, kDecode, 100, 9, 3)};
    const auto path = folder / "trace";
    ASSERT_TRUE(WriteTrace(path, header, chunks).ok());
    const auto read = test::ReadTrace(path);
    ASSERT_TRUE(read.ok()) << ToString(read.errors());
    ExpectSameIds(*read, chunks);
    EXPECT_EQ(RoutingReader::Open(path)->header(), header);
  }
}

TEST(RoutingTrace, TotalsCountPhasesAndUnknownRowsApart) {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(2, 16, 2);
  ASSERT_TRUE(WriteTrace(folder / "trace", header,
                         {MakeChunk(header, 0, kPrefill, 0, 5, 5),
                          MakeChunk(header, 0, kDecode, 5, 3), MakeChunk(header, 1, kDecode, 0, 4)})
                  .ok());
  const auto reader = RoutingReader::Open(folder / "trace");
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->totals().sequences, 2u);
  EXPECT_EQ(reader->totals().prefill_tokens, 5u);
  EXPECT_EQ(reader->totals().decode_tokens, 7u);
  EXPECT_EQ(reader->totals().unknown_rows, 2u);  // 10 rows, every fifth
}

TEST(RoutingTrace, LargeChunkIsCutAndNothingIsLost) {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(64, 64, 8);
  const RoutingChunk whole = MakeChunk(header, 0, kPrefill, 3, 5000, 101);
  ASSERT_TRUE(WriteTrace(folder / "trace", header, {whole}).ok());
  const auto read = test::ReadTrace(folder / "trace");
  ASSERT_TRUE(read.ok());
  EXPECT_GT(read->size(), 1u);
  std::vector<uint16_t> ids;
  int64_t position = 3;
  for (const RoutingChunk& chunk : *read) {
    EXPECT_EQ(chunk.first_position, position);
    position += chunk.tokens;
    ids.insert(ids.end(), chunk.ids.begin(), chunk.ids.end());
  }
  EXPECT_EQ(position, 5003);
  EXPECT_EQ(ids, whole.ids);
}

TEST(RoutingTrace, SequenceLabelsSurvive) {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(1, 4, 2);
  auto writer = RoutingWriter::Create(folder / "trace", header);
  ASSERT_TRUE(writer.ok());
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(writer->Add(MakeChunk(header, i, kDecode, 0, 2)).ok());
  }
  writer->Describe(SequenceId(1), {.request_id = "r-1", .category = "l\xe9gal"});
  ASSERT_TRUE(writer->Commit().ok());
  const auto reader = RoutingReader::Open(folder / "trace");
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->sequences(),
            (std::vector<RoutingSequence>{{}, {.request_id = "r-1", .category = "l\xe9gal"}, {}}));
}

TEST(RoutingTrace, EmptyTraceIsATrace) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteTrace(folder / "trace", MakeHeader(1, 4, 2), {}).ok());
  const auto read = test::ReadTrace(folder / "trace");
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->empty());
}

TEST(RoutingTrace, BytesDependOnContentOnly) {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(3, 16, 4, true);
  const std::vector<RoutingChunk> chunks = {MakeChunk(header, 0, kPrefill, 0, 50)};
  ASSERT_TRUE(WriteTrace(folder / "a", header, chunks).ok());
  ASSERT_TRUE(WriteTrace(folder / "b", header, chunks).ok());
  std::ifstream a(folder / "a", std::ios::binary);
  std::ifstream b(folder / "b", std::ios::binary);
  EXPECT_TRUE(std::equal(std::istreambuf_iterator<char>(a), {}, std::istreambuf_iterator<char>(b),
                         std::istreambuf_iterator<char>()));
}

TEST(RoutingTrace, WithoutCommitThereIsNoFile) {
  const TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(1, 4, 2);
  {
    auto writer = RoutingWriter::Create(folder / "trace", header);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Add(MakeChunk(header, 0, kDecode, 0, 2)).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// The message of the error that writing `chunks` gives, or empty.
std::string WriteError(const RoutingHeader& header, const std::vector<RoutingChunk>& chunks) {
  const TemporaryFolder folder;
  const Status status = WriteTrace(folder / "trace", header, chunks);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "something half written";
  return status.ok() ? "" : ToString(status.errors());
}

TEST(RoutingWriter, SaysWhichTokenAndLayerHoldsABadId) {
  const RoutingHeader header = MakeHeader(3, 8, 2);
  RoutingChunk chunk = MakeChunk(header, 0, kPrefill, 0, 10);
  constexpr size_t kFirstId = (size_t{4} * 3 + 1) * 2;  // of token 4 at the second layer
  chunk.ids[kFirstId] = 8;
  EXPECT_THAT(WriteError(header, {chunk}), AllOf(HasSubstr("token 4"), HasSubstr("model layer 2"),
                                                 HasSubstr("expert 8"), HasSubstr("below 8")));
  chunk.ids[kFirstId] = chunk.ids[kFirstId + 1];
  EXPECT_THAT(WriteError(header, {chunk}), HasSubstr("chosen twice"));
}

TEST(RoutingWriter, RefusesChunksOutOfOrder) {
  const RoutingHeader header = MakeHeader(1, 8, 2);
  const RoutingChunk prefill = MakeChunk(header, 0, kPrefill, 0, 4);
  const RoutingChunk decode = MakeChunk(header, 0, kDecode, 4, 4);
  EXPECT_THAT(WriteError(header, {decode, prefill}), HasSubstr("position order"));
  EXPECT_THAT(WriteError(header, {prefill, MakeChunk(header, 0, kDecode, 3, 4)}),
              HasSubstr("goes back to position 3"));
  EXPECT_THAT(WriteError(header, {MakeChunk(header, 1, kPrefill, 0, 4)}),
              HasSubstr("sequence 1 where 0 comes next"));
}

TEST(RoutingWriter, RefusesHeadersThatCannotBe) {
  EXPECT_THAT(WriteError(MakeHeader(0, 8, 2), {}), HasSubstr("moe_layers is empty"));
  EXPECT_THAT(WriteError(MakeHeader(2, 8, 9), {}), HasSubstr("top_k is 9, allowed are 1 to 8"));
  EXPECT_THAT(WriteError(MakeHeader(2, 65536, 9), {}), HasSubstr("experts is 65536"));
  RoutingHeader backwards = MakeHeader(2, 8, 2);
  std::swap(backwards.moe_layers[0], backwards.moe_layers[1]);
  EXPECT_THAT(WriteError(backwards, {}), HasSubstr("ascending"));
}

TEST(RoutingWriter, FullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  const RoutingHeader header = MakeHeader(1, 8, 2);
  const auto writer = RoutingWriter::Create("/dev/full/trace", header);
  EXPECT_FALSE(writer.ok());
}

}  // namespace
}  // namespace moecast
