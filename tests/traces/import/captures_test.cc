// Every engine's layout gives the same routing: the canonical ids, or its counts. The layouts come
// from the engines' sources; none of these files was captured from a running engine.
#include "tests/traces/import/captures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/support/temporary_folder.h"
#include "traces/count_table.h"

namespace moecast {
namespace {

using test::CaptureRequest;
using test::CaptureSet;
using ::testing::Contains;
using ::testing::HasSubstr;

using Ids = std::vector<uint16_t>;

/// What a trace holds of each sequence.
struct Sequence {
  std::string label;
  Ids prefill;
  Ids decode;
};

class Captures : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    set_ = GetParam() == 0 ? test::SmallCaptures() : test::SharedCaptures();
    if (!std::filesystem::exists(set_.folder)) GTEST_SKIP() << "needs " << set_.folder;
    ids_ = test::CanonicalIds(set_);
    options_.model = set_.model;
  }

  [[nodiscard]] size_t TokenIds() const {
    return set_.model.moe_layers.size() * static_cast<size_t>(set_.model.top_k);
  }
  [[nodiscard]] Ids Tokens(size_t first, size_t count) const {
    const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(first * TokenIds());
    return {begin, begin + static_cast<std::ptrdiff_t>(count * TokenIds())};
  }

  std::vector<Sequence> Import(const std::vector<std::string>& names) {
    std::vector<std::filesystem::path> inputs;
    for (const std::string& name : names) inputs.push_back(set_.folder / name);
    const auto report = ImportCapture(inputs, options_, scratch_ / "out");
    EXPECT_TRUE(report.ok()) << ToString(report.errors());
    if (!report.ok()) return {};
    report_ = *report;
    return report_.level == RoutingLevel::kPerToken ? ReadSequences() : std::vector<Sequence>();
  }

  std::vector<Sequence> ReadSequences() {
    auto reader = RoutingReader::Open(scratch_ / "out");
    EXPECT_TRUE(reader.ok()) << ToString(reader.errors());
    EXPECT_EQ(reader->header().experts, set_.model.experts);
    EXPECT_EQ(reader->header().top_k, set_.model.top_k);
    EXPECT_EQ(reader->header().moe_layers, set_.model.moe_layers);
    std::vector<Sequence> sequences(reader->sequences().size());
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].label = reader->sequences()[i].request_id;
    }
    RoutingChunk chunk;
    while (reader->Next(chunk).value()) {
      Sequence& sequence = sequences[chunk.sequence.value()];
      Ids& ids = chunk.phase == RoutingPhase::kPrefill ? sequence.prefill : sequence.decode;
      ids.insert(ids.end(), chunk.ids.begin(), chunk.ids.end());
    }
    return sequences;
  }

  /// Every request with all but its last token, which is never routed.
  void ExpectRequests(const std::vector<Sequence>& sequences) {
    ASSERT_EQ(sequences.size(), set_.requests.size());
    for (size_t i = 0; i < sequences.size(); ++i) {
      const CaptureRequest& request = set_.requests[i];
      EXPECT_EQ(sequences[i].prefill, Tokens(request.first, request.prompt));
      EXPECT_EQ(sequences[i].decode,
                Tokens(request.first + request.prompt, request.tokens - request.prompt - 1));
    }
  }

  /// All tokens, request after request.
  void ExpectAllTokens(const std::vector<Sequence>& sequences) {
    Ids all;
    for (const Sequence& sequence : sequences) {
      all.insert(all.end(), sequence.prefill.begin(), sequence.prefill.end());
      all.insert(all.end(), sequence.decode.begin(), sequence.decode.end());
    }
    EXPECT_EQ(all, ids_);
  }

  /// The table's passes add up to the routing's counts.
  void ExpectCounts(size_t passes) {
    const auto table = ReadCountTable(scratch_ / "out");
    ASSERT_TRUE(table.ok()) << ToString(table.errors());
    EXPECT_EQ(table->shape.moe_layers, set_.model.moe_layers);
    ASSERT_EQ(table->passes.size(), passes);
    const auto experts = static_cast<size_t>(set_.model.experts);
    const auto top_k = static_cast<size_t>(set_.model.top_k);
    std::vector<uint64_t> expected(set_.model.moe_layers.size() * experts);
    for (size_t i = 0; i < ids_.size(); ++i) {
      ++expected[i / top_k % set_.model.moe_layers.size() * experts + ids_[i]];
    }
    std::vector<uint64_t> sum(expected.size());
    for (const ExpertCounts& pass : table->passes) {
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += pass.counts[i];
    }
    EXPECT_EQ(sum, expected);
  }

  bool Has(const std::string& name) const { return std::filesystem::exists(set_.folder / name); }
  std::vector<std::string> Both(const std::string& stem) const {
    std::vector<std::string> names = {stem + "_0.json"};
    if (Has(stem + "_1.json")) names.push_back(stem + "_1.json");
    return names;
  }

  CaptureSet set_;
  Ids ids_;
  CaptureOptions options_;
  CaptureReport report_;
  test::TemporaryFolder scratch_;
};

TEST_P(Captures, VllmBase64Npy) {
  ExpectRequests(Import(Both("vllm_completion")));
  EXPECT_THAT(report_.layout, HasSubstr("vLLM response, base64 uint8"));
  EXPECT_THAT(report_.facts, Contains(HasSubstr("1 dense ones left out")));
}

TEST_P(Captures, VllmNestedLists) {
  const auto names = Both("vllm021_completion");
  set_.requests.resize(names.size());  // the shared fixtures have one
  ExpectRequests(Import(names));
  EXPECT_THAT(report_.layout, HasSubstr("nested lists"));
}

TEST_P(Captures, SglangRawResponses) {
  ExpectRequests(Import(Both("sglang_generate")));
  EXPECT_THAT(report_.layout, HasSubstr("SGLang response, base64 int32"));
}

TEST_P(Captures, SglangOpenAiRoute) {
  if (!Has("sglang_openai_0.json")) GTEST_SKIP() << "not among the shared fixtures";
  ExpectRequests(Import(Both("sglang_openai")));
}

TEST_P(Captures, DynamoWithoutPromptLengthIsOnePhaseAndSaysSo) {
  const auto sequences = Import({"dynamo_0.json"});
  ASSERT_EQ(sequences.size(), 1u);
  EXPECT_EQ(sequences[0].prefill, Tokens(0, set_.requests[0].tokens - 1));
  EXPECT_THAT(report_.facts, Contains(HasSubstr("taken as prefill")));
}

TEST_P(Captures, ResponsesAsJsonLinesAreTheSame) {
  std::string lines;
  for (const std::string& name : Both("vllm_completion")) {
    lines += ReadFile(set_.folder / name).value() + "\n";
  }
  ASSERT_TRUE(WriteFileAtomically(scratch_ / "all.jsonl", lines).ok());
  set_.folder = scratch_.path();
  ExpectRequests(Import({"all.jsonl"}));
}

TEST_P(Captures, SglangStat) {
  // The shared file was recorded with a buffer of two steps, the small one without.
  const bool buffered = GetParam() == 1;
  Import({"sglang_stat.pt"});
  EXPECT_EQ(report_.level, buffered ? RoutingLevel::kPassCounts : RoutingLevel::kTotalCounts);
  ExpectCounts(buffered ? 2 : 1);
}

TEST_P(Captures, SglangPerPass) {
  std::vector<std::string> names = {"sglang_per_pass_0.pt"};
  if (Has("sglang_per_pass_1.pt")) names.push_back("sglang_per_pass_1.pt");
  Import(names);
  EXPECT_EQ(report_.level, RoutingLevel::kPassCounts);
  ExpectCounts(2);
}

TEST_P(Captures, SglangPerToken) {
  ExpectAllTokens(Import({"sglang_per_token_0.pt"}));
  EXPECT_EQ(report_.unknown_rows, 0u);
}

TEST_P(Captures, TrtllmCounts) {
  Import({"trtllm/rank0.safetensors", "trtllm/rank1.safetensors"});
  EXPECT_EQ(report_.level, RoutingLevel::kPassCounts);
  ExpectCounts(2);
}

TEST_P(Captures, TrtllmFolderPrefersTokens) {
  const auto sequences = Import({"trtllm"});
  ASSERT_EQ(sequences.size(), 4u);
  // Each rank holds every second token of an iteration.
  Ids first;
  const size_t tokens = (sequences[0].prefill.size() + sequences[2].prefill.size()) / TokenIds();
  for (size_t token = 0; token < tokens; token += 2) {
    const Ids row = Tokens(token, 1);
    first.insert(first.end(), row.begin(), row.end());
  }
  EXPECT_EQ(sequences[0].label, "iteration 100 rank 0");
  EXPECT_EQ(sequences[0].prefill, first);
}

TEST_P(Captures, Megatron) { ExpectAllTokens(Import({"megatron_rank0.jsonl"})); }

TEST_P(Captures, MoeInfinity) {
  Import({"moe_infinity_trace.npy"});
  EXPECT_EQ(report_.level, RoutingLevel::kPassCounts);
  ExpectCounts(2);
}

TEST_P(Captures, RouterLogitsAreRankedByTheModelsRule) {
  ExpectAllTokens(Import({"hf_router_logits.npz"}));
  EXPECT_TRUE(RoutingReader::Open(scratch_ / "out")->header().has_scores);
}

TEST_P(Captures, PlainIdArray) { ExpectAllTokens(Import({"canonical_ids.npy"})); }

TEST_P(Captures, CountMatrix) {
  options_.model.moe_layers.clear();  // the matrix numbers its lines from 0
  options_.model.layers = 0;
  Import({"canonical_counts.csv"});
  EXPECT_EQ(report_.level, RoutingLevel::kTotalCounts);
  for (size_t i = 0; i < set_.model.moe_layers.size(); ++i) {
    set_.model.moe_layers[i] = static_cast<int32_t>(i);
  }
  ExpectCounts(1);
}

TEST_P(Captures, CatalogModelsDescribeTheCapture) {
  if (GetParam() == 0) GTEST_SKIP() << "the toy model is in no catalog";
  const std::string file = std::string(MOECAST_MODELS) + "/DeepSeek-V2-Lite.yaml";
  const auto model = ReadCaptureModel(file, ReadFile(file).value());
  ASSERT_TRUE(model.ok()) << ToString(model.errors());
  EXPECT_EQ(model->layers, set_.model.layers);
  EXPECT_EQ(model->moe_layers, set_.model.moe_layers);
  EXPECT_EQ(model->experts, set_.model.experts);
  EXPECT_EQ(model->top_k, set_.model.top_k);
}

INSTANTIATE_TEST_SUITE_P(Sets, Captures, ::testing::Values(0, 1),
                         [](const auto& set) { return set.param == 0 ? "Small" : "Shared"; });

class SmallCapturesTest : public Captures {};
INSTANTIATE_TEST_SUITE_P(Sets, SmallCapturesTest, ::testing::Values(0),
                         [](const auto&) { return "Small"; });

TEST_P(SmallCapturesTest, RecorderPassesArePutTogetherToRequests) {
  const auto sequences = Import({"sglang_per_token_0.pt"});
  ASSERT_EQ(sequences.size(), 2u);
  EXPECT_EQ(sequences[0].prefill, Tokens(0, 4));
  EXPECT_EQ(sequences[0].decode, Tokens(4, 2));
  EXPECT_EQ(sequences[1].prefill, Tokens(6, 3));
  EXPECT_EQ(sequences[1].decode, Tokens(9, 1));
}

TEST_P(SmallCapturesTest, MoeCapTokens) { ExpectAllTokens(Import({"moe_cap_tokens.pt"})); }

TEST_P(SmallCapturesTest, MoeCapStepsBecomeATableOfSteps) {
  Import({"moe_cap_steps.jsonl"});
  EXPECT_EQ(report_.level, RoutingLevel::kPassActivation);
  EXPECT_EQ(ReadFile(scratch_ / "out").value(),
            "forward_pass,phase,sequences,context_tokens,latency_s,expert_activation,"
            "expert_utilization\n0,prefill,2,10,0.0125,5.5,0.6875\n"
            "1,decode,2,12,0.0125,5.5,0.6875\n");
}

TEST_P(SmallCapturesTest, HitsByLayer) {
  Import({"hits.json"});
  EXPECT_EQ(report_.level, RoutingLevel::kTotalCounts);
  ExpectCounts(1);
}

TEST_P(SmallCapturesTest, LongTablesAreCutIntoPasses) {
  std::string csv = "model,layer,expert,count\n";
  for (const std::string pass : {"a", "b"}) {
    for (int layer = 1; layer < 4; ++layer) {
      for (int expert = 0; expert < 8; ++expert) {
        csv += pass + "," + std::to_string(layer) + "," + std::to_string(expert) + ",3\n";
      }
    }
  }
  ASSERT_TRUE(WriteFileAtomically(scratch_ / "long.csv", csv).ok());
  set_.folder = scratch_.path();
  Import({"long.csv"});
  const auto table = ReadCountTable(scratch_ / "out");
  ASSERT_TRUE(table.ok());
  ASSERT_EQ(table->passes.size(), 2u);
  EXPECT_EQ(table->passes[1].pass, "b");
  EXPECT_EQ(table->passes[1].counts, std::vector<uint64_t>(24, 3));
}

TEST_P(SmallCapturesTest, TrimmedPromptRowsAreKeptAsUnknown) {
  // The response has rows from token 2 on; without being told so its length is wrong.
  const std::string response = R"({"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    "choices": [{"routed_experts": [[[0, 1], [2, 3], [4, 5]], [[1, 2], [3, 4], [5, 6]]]}]})";
  ASSERT_TRUE(WriteFileAtomically(scratch_ / "trimmed.json", response).ok());
  set_.folder = scratch_.path();
  options_.first_token = 2;
  const auto sequences = Import({"trimmed.json"});
  ASSERT_EQ(sequences.size(), 1u);
  const Ids unknown(2 * TokenIds(), kUnknownExpert);
  EXPECT_TRUE(std::equal(unknown.begin(), unknown.end(), sequences[0].prefill.begin()));
  EXPECT_EQ(sequences[0].prefill.size(), 3 * TokenIds());
  EXPECT_EQ(report_.unknown_rows, 6u);
}

TEST_P(SmallCapturesTest, MinusOneIsUnknownAndCounted) {
  const std::string response = R"({"id": "r", "prompt_routed_experts":
    [[[-1, -1], [-1, -1], [-1, -1]], [[0, 1], [2, 3], [4, 5]]],
    "choices": [{"routed_experts": [[[1, 2], [3, 4], [5, 6]]]}]})";
  ASSERT_TRUE(WriteFileAtomically(scratch_ / "cached.json", response).ok());
  set_.folder = scratch_.path();
  const auto sequences = Import({"cached.json"});
  ASSERT_EQ(sequences.size(), 1u);
  EXPECT_EQ(sequences[0].prefill[0], kUnknownExpert);
  EXPECT_EQ(report_.unknown_rows, 3u);
}

TEST_P(SmallCapturesTest, ReportsSayWhatWasSeen) {
  Import({"sglang_per_pass_0.pt", "sglang_per_pass_1.pt"});
  EXPECT_THAT(RenderText(report_), HasSubstr("level: counts per pass, 2 passes; it cannot be "
                                             "replayed\n"));
  EXPECT_THAT(RenderText(report_), HasSubstr("mapped to logical ones by the placement"));
}

}  // namespace
}  // namespace moecast
