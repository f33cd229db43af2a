#include "traces/routing_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <functional>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kDescription = R"(source: toy engine
model: toy
experts: 4
top_k: 2
moe_layers: {first: 3, count: 2}
phase: decode
ids: {path: ids.u8, type: u8, layout: token_layer_k}
sequences: {lengths: [2, 1]}
)";
// [token][layer][k] of three tokens.
const std::string kIds = {0, 1, 2, 3, /**/ 1, 0, 3, 2, /**/ 2, 0, 1, 3};

class RoutingImportTest : public ::testing::Test {
 protected:
  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, bytes).ok());
  }

  /// Imports with the given description; the chunks, or the errors.
  Result<std::vector<RoutingChunk>> Import(const std::string& description,
                                           const RoutingImportOptions& options = {}) {
    Put("d.yaml", description);
    SIM_TRY(const RoutingImport import, LoadRoutingImport(folder_ / "d.yaml", options));
    SIM_TRY(notes_, ImportRouting(import, folder_ / "out", {}));
    return test::ReadTrace(folder_ / "out");
  }

  std::string ErrorOf(const std::string& description, const RoutingImportOptions& options = {}) {
    const auto imported = Import(description, options);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out")) << "something half written";
    return imported.ok() ? "" : ToString(imported.errors());
  }

  TemporaryFolder folder_;
  RoutingImportNotes notes_;
};

std::string With(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST_F(RoutingImportTest, ArraysBecomeSequences) {
  Put("ids.u8", kIds);
  const auto chunks = Import(kDescription);
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  ASSERT_EQ(chunks->size(), 2u);
  EXPECT_THAT((*chunks)[0].ids, ElementsAre(0, 1, 2, 3, 1, 0, 3, 2));
  EXPECT_THAT((*chunks)[1].ids, ElementsAre(2, 0, 1, 3));
  EXPECT_EQ((*chunks)[1].phase, RoutingPhase::kDecode);
  EXPECT_THAT(RoutingReader::Open(folder_ / "out")->header().moe_layers, ElementsAre(3, 4));
}

TEST_F(RoutingImportTest, CompressedAndWideAndLayerMajorArraysGiveTheSameTrace) {
  Put("ids.u8", kIds);
  const auto plain = Import(kDescription);
  std::string packed(ZSTD_compressBound(kIds.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), kIds.data(), kIds.size(), 3));
  Put("ids.u8.zst", packed);
  std::string wide;
  for (const char id : kIds) wide += {id, '\0'};
  Put("ids.u16", wide);
  Put("layers.u8", {0, 1, 1, 0, /**/ 2, 3, 3, 2, /**/ 2, 0, 1, 3});
  const std::string d = kDescription;
  for (const std::string& variant :
       {With(d, "ids.u8", "ids.u8.zst"), With(d, "ids.u8, type: u8", "ids.u16, type: u16"),
        With(d, "ids.u8, type: u8, layout: token_layer_k",
             "layers.u8, type: u8, layout: layer_token_k")}) {
    const auto chunks = Import(variant);
    ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ((*chunks)[i].ids, (*plain)[i].ids);
  }
}

TEST_F(RoutingImportTest, RowsInAnyOrderAreRankedByScore) {
  Put("ids.u8", kIds);
  Put("w.u8", {10, 90, 70, 20, /**/ 5, 5, 1, 2, /**/ 9, 8, 0, 3});
  const auto chunks = Import(With(kDescription, "token_layer_k}",
                                  "token_layer_k, order: any}\n"
                                  "scores: {path: w.u8, type: u8, unit: 0.01}"));
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  EXPECT_THAT((*chunks)[0].ids, ElementsAre(1, 0, 2, 3, 1, 0, 2, 3));
  EXPECT_THAT((*chunks)[0].scores, ElementsAre(0.9F, 0.1F, 0.7F, 0.2F, 0.05F, 0.05F, 0.02F, 0.01F));
  EXPECT_THAT((*chunks)[1].ids, ElementsAre(2, 0, 3, 1));
}

TEST_F(RoutingImportTest, UnknownRowsAreKeptAndCounted) {
  std::string ids = kIds;
  ids[4] = ids[5] = static_cast<char>(255);
  Put("ids.u8", ids);
  const auto chunks = Import(With(kDescription, "token_layer_k}", "token_layer_k, unknown: 255}"));
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  EXPECT_EQ(notes_.unknown_rows, 1u);
  EXPECT_EQ((*chunks)[0].ids[4], kUnknownExpert);
  EXPECT_EQ(RoutingReader::Open(folder_ / "out")->totals().unknown_rows, 1u);
}

TEST_F(RoutingImportTest, IndexCsvGivesLabelsAndFilters) {
  Put("ids.u8", kIds);
  Put("index.csv", "seq,kind,n,from,loops\na,law,1,7,0\nb,code,1,9,1\nc,law,1,0,0\n");
  const std::string description =
      With(kDescription, "{lengths: [2, 1]}",
           "{csv: {path: index.csv, length: n, first_position: from, request_id: seq, "
           "category: kind}}");
  RoutingImportOptions options;
  options.drop = {{"loops", "1"}};
  const auto chunks = Import(description, options);
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  ASSERT_EQ(chunks->size(), 2u);
  EXPECT_EQ((*chunks)[0].first_position, 7);
  EXPECT_THAT((*chunks)[1].ids, ElementsAre(2, 0, 1, 3));
  EXPECT_EQ(notes_.dropped_tokens, 1);
  EXPECT_THAT(RoutingReader::Open(folder_ / "out")->sequences(),
              ElementsAre(RoutingSequence{"a", "law"}, RoutingSequence{"c", "law"}));
}

TEST_F(RoutingImportTest, LengthsComeFromJson) {
  Put("ids.u8", kIds);
  Put("meta.json", R"({"tasks": {"law": {"seq_lens": [1, 2]}}})");
  const auto chunks =
      Import(With(kDescription, "{lengths: [2, 1]}",
                  "{json: {path: meta.json, pointer: /tasks/law/seq_lens}, category: law}"));
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  EXPECT_EQ((*chunks)[1].tokens, 2);
}

TEST_F(RoutingImportTest, WrongSizesSayHowManyBytesWereExpected) {
  Put("ids.u8", kIds.substr(0, 11));
  EXPECT_THAT(ErrorOf(kDescription),
              AllOf(HasSubstr("ids.u8: ends after 11 bytes"), HasSubstr("12 values of 1 bytes")));
  Put("ids.u8", kIds + kIds);
  EXPECT_THAT(ErrorOf(kDescription), HasSubstr("is longer than the expected 12 bytes"));
}

TEST_F(RoutingImportTest, BadIdsSayWhichSequenceTokenAndLayer) {
  std::string ids = kIds;
  ids[9] = 2;
  Put("ids.u8", ids);
  EXPECT_THAT(ErrorOf(kDescription),
              AllOf(HasSubstr("ids.u8: sequence 1"), HasSubstr("token 0 of the chunk"),
                    HasSubstr("model layer 3"), HasSubstr("expert 2 is chosen twice")));
  ids[9] = 4;
  Put("ids.u8", ids);
  EXPECT_THAT(ErrorOf(kDescription), HasSubstr("expert 4 is out of range, ids are below 4"));
}

TEST_F(RoutingImportTest, MissingArrayIsNamed) {
  EXPECT_THAT(ErrorOf(kDescription), AllOf(HasSubstr("ids.u8"), HasSubstr("No such file")));
}

TEST_F(RoutingImportTest, EveryMistakeOfADescriptionIsReportedWithItsPlace) {
  const std::string errors = ErrorOf(
      "source: s\nmodel: m\nexperts: 4\ntopk: 2\ntop_k: 5\nmoe_layers: {first: 0, count: 0}\n"
      "phase: decoding\nids: {path: p, type: u9, layout: token_layer_k}\n"
      "sequences: {lengths: [2, zero]}\n");
  EXPECT_THAT(errors,
              AllOf(HasSubstr("d.yaml:4:1: unknown field 'topk'; did you mean 'top_k'?"),
                    HasSubstr("d.yaml:5:8: top_k is '5', allowed are whole numbers from 1 to 4"),
                    HasSubstr("d.yaml:6:31: moe_layers.count is '0'"),
                    HasSubstr("d.yaml:7:8: phase is 'decoding', allowed are prefill, decode"),
                    HasSubstr("ids.type is 'u9'"), HasSubstr("sequences.lengths is 'zero'")));
}

TEST_F(RoutingImportTest, MistakesInTheSequencesAreReported) {
  Put("index.csv", "seq,n\n0,3\n1,-2\n");
  const std::string d = kDescription;
  const auto with = [&d](const std::string& sequences) {
    return With(d, "{lengths: [2, 1]}", sequences);
  };
  EXPECT_THAT(ErrorOf(with("{}")), HasSubstr("exactly one of lengths, json and csv"));
  EXPECT_THAT(ErrorOf(with("{csv: {path: index.csv, length: n}}")),
              HasSubstr("index.csv:3: n is '-2'"));
  EXPECT_THAT(ErrorOf(with("{csv: {path: index.csv, length: m}}")),
              HasSubstr("index.csv:1: has no column 'm'"));
  EXPECT_THAT(ErrorOf(with("{json: {path: index.csv, pointer: /a}}")), HasSubstr("not valid JSON"));
  RoutingImportOptions options;
  options.drop = {{"loops", "1"}};
  EXPECT_THAT(ErrorOf(kDescription, options), HasSubstr("no column to drop"));
}

TEST_F(RoutingImportTest, DoubledKeyAndBrokenYamlAreErrors) {
  EXPECT_THAT(ErrorOf(std::string(kDescription) + "model: again\n"),
              HasSubstr("field 'model' is given twice"));
  EXPECT_THAT(ErrorOf("a: [1,"), HasSubstr("is not YAML"));
  EXPECT_THAT(ErrorOf("just text"), HasSubstr("must hold one mapping"));
  EXPECT_THAT(ErrorOf(std::string(kDescription) + "---\nmodel: again\n"),
              HasSubstr("must hold one mapping"));
  EXPECT_THAT(ErrorOf(",stray: comma\n"), HasSubstr("d.yaml"));
}

}  // namespace
}  // namespace moecast
