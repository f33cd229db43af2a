// What is wrong with a capture is named with its byte, and nothing is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/temporary_folder.h"
#include "tests/traces/import/captures.h"

namespace moecast {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class BadCaptures : public ::testing::Test {
 protected:
  BadCaptures() { options_.model = set_.model; }

  std::string Good(const std::string& name) { return ReadFile(set_.folder / name).value(); }
  /// The errors of importing `bytes`, as a file of that name.
  std::string ErrorOf(const std::string& bytes, const std::string& name = "capture") {
    EXPECT_TRUE(WriteFileAtomically(scratch_ / name, bytes).ok());
    const auto report = ImportCapture({scratch_ / name}, options_, scratch_ / "out");
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "out")) << "something half written";
    return report.ok() ? "imported" : ToString(report.errors());
  }
  /// A response with these rows as the answer of a one-token prompt.
  static std::string Response(const std::string& rows, int tokens = 1) {
    return R"({"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": )" +
           std::to_string(tokens) + R"(}, "choices": [{"routed_experts": )" + rows + "}]}";
  }
  static std::string Replaced(std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  test::CaptureSet set_ = test::SmallCaptures();
  CaptureOptions options_;
  test::TemporaryFolder scratch_;
};

TEST_F(BadCaptures, IdOutOfRange) {
  const std::string text = Response("[[[0, 1], [2, 8], [4, 5]]]");
  const std::string error = ErrorOf(text);
  EXPECT_THAT(error, HasSubstr("token 0, layer 1: expert 8 is out of range, ids are below 8"));
  const size_t digit = text.find('8');
  EXPECT_TRUE(error.find("byte " + std::to_string(digit)) != std::string::npos ||
              error.find("byte " + std::to_string(digit + 1)) != std::string::npos)
      << error;
}

TEST_F(BadCaptures, ExpertTwiceInARow) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2, 3], [4, 4]]]")),
              AllOf(HasSubstr("expert 4 is chosen twice"), HasSubstr("byte ")));
}

TEST_F(BadCaptures, PartlyUnknownRow) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2, -1], [4, 5]]]")), HasSubstr("unknown as a whole"));
}

TEST_F(BadCaptures, WrongK) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1, 2], [2, 3, 4], [4, 5, 6]]]")),
              HasSubstr("more than the model's 2 ids"));
  EXPECT_THAT(ErrorOf(Response("[[[0], [2], [4]]]")),
              HasSubstr("keeps 1 ids a row, the model chooses 2"));
}

TEST_F(BadCaptures, WrongLayers) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2, 3]]]")),
              HasSubstr("the capture has 2 layers; the model has 4, 3 of them MoE layers"));
}

TEST_F(BadCaptures, LengthsThatDisagree) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2, 3], [4, 5]]]", 3)),
              HasSubstr("has 1 tokens; 1 prompt and 3 completion tokens"));
}

TEST_F(BadCaptures, RaggedRows) {
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2], [4, 5]]]")), HasSubstr("evenly nested lists"));
}

TEST_F(BadCaptures, ModelThatIsNotNamed) {
  options_.model = {};
  EXPECT_THAT(ErrorOf(Response("[[[0, 1], [2, 3], [4, 5]]]")),
              HasSubstr("does not say the number of experts; name the model"));
  EXPECT_THAT(ErrorOf(Good("sglang_generate_0.json")),
              HasSubstr("without a shape: the token counts and the model's k are needed"));
}

TEST_F(BadCaptures, Base64ThatIsNone) {
  EXPECT_THAT(ErrorOf(Response("\"AAA\"")), HasSubstr("truncated Base64"));
  EXPECT_THAT(ErrorOf(Response("\"AA*A\"")), HasSubstr("not Base64 at character 2"));
}

TEST_F(BadCaptures, RawBytesThatAreNoRows) {
  EXPECT_THAT(ErrorOf(Replaced(Good("sglang_generate_0.json"), "\"completion_tokens\": 2",
                               "\"completion_tokens\": 5")),
              HasSubstr("are not whole rows of 8 tokens"));
}

TEST_F(BadCaptures, FaultInsideDecodedTextNamesItsByte) {
  options_.model.experts = 3;
  EXPECT_THAT(
      ErrorOf(Good("vllm_completion_0.json")),
      AllOf(HasSubstr("is out of range, ids are below 3"), HasSubstr("of the decoded text")));
}

TEST_F(BadCaptures, TruncatedFilesOfEveryKind) {
  for (const char* name : {"vllm_completion_0.json", "sglang_stat.pt", "sglang_per_token_0.pt",
                           "hf_router_logits.npz", "moe_infinity_trace.npy", "megatron_rank0.jsonl",
                           "trtllm/rank0.safetensors", "moe_cap_steps.jsonl", "hits.json"}) {
    const std::string bytes = Good(name);
    for (const size_t keep : {bytes.size() - 3, bytes.size() / 2 + 5, size_t{9}, size_t{1}}) {
      const std::string error = ErrorOf(bytes.substr(0, keep), "cut");
      EXPECT_THAT(error, HasSubstr("cut")) << name << " cut to " << keep;
      EXPECT_THAT(error, Not(HasSubstr("imported"))) << name << " cut to " << keep;
    }
  }
}

TEST_F(BadCaptures, NpyFaultNamesItsByte) {
  std::string bytes = Good("canonical_ids.npy");
  bytes[bytes.size() - 1] = 9;
  const std::string error = ErrorOf(bytes);
  EXPECT_THAT(error, HasSubstr("byte " + std::to_string(bytes.size() - 1) +
                               ": token 9, layer 2: expert 9 is out of range"));
}

TEST_F(BadCaptures, SafetensorsFaultNamesItsByte) {
  std::string bytes = Good("trtllm/rank0_raw.safetensors");
  const int32_t id = 77;
  std::memcpy(bytes.data() + bytes.size() - sizeof(id), &id, sizeof(id));
  EXPECT_THAT(ErrorOf(bytes, "rank0_raw.safetensors"),
              AllOf(HasSubstr("byte " + std::to_string(bytes.size() - sizeof(id))),
                    HasSubstr("expert 77 is out of range")));
}

TEST_F(BadCaptures, CountThatIsNone) {
  std::string bytes = Good("moe_infinity_trace.npy");
  const double half = 0.5;
  std::memcpy(bytes.data() + bytes.size() - sizeof(half), &half, sizeof(half));
  EXPECT_THAT(ErrorOf(bytes), AllOf(HasSubstr("a count is not a whole number"),
                                    HasSubstr("byte " + std::to_string(bytes.size() - 8))));
}

TEST_F(BadCaptures, SlotsBeyondThePlacement) {
  std::string bytes = Good("sglang_per_token_0.pt");
  // A storage's ids are in the archive as they are: the first id of the first MoE layer is 10.
  options_.model.experts = 3;
  EXPECT_THAT(ErrorOf(bytes),
              HasSubstr("the placement's layer 0 has 10 slots for experts up to 7"));
}

TEST_F(BadCaptures, PhysicalIdsWithoutAMap) {
  EXPECT_THAT(ErrorOf(Good("bad_no_map.pt")),
              HasSubstr("has physical ids and no last_physical_to_logical_map"));
  // The user's placement stands in for it.
  options_.placement = ExpertPlacement{
      .physical_to_logical = {4, std::vector<int32_t>{3, 1, 0, 2, 7, 6, 5, 4, 3, 0}}};
  EXPECT_TRUE(ImportCapture({set_.folder / "bad_no_map.pt"}, options_, scratch_ / "mapped").ok());
}

TEST_F(BadCaptures, HostilePicklesAreRefusedByName) {
  EXPECT_THAT(
      ErrorOf(Good("bad_hostile.pt")),
      AllOf(HasSubstr("the pickle asks for 'os system', which is refused"), HasSubstr(": byte ")));
}

TEST_F(BadCaptures, DamagedArchives) {
  EXPECT_THAT(ErrorOf(Replaced(Good("sglang_per_pass_0.pt"), "last_physical", "mast_physical")),
              HasSubstr("does not match its CRC-32"));
}

TEST_F(BadCaptures, MegatronLinesThatContradict) {
  const std::string good = Good("megatron_rank0.jsonl");
  EXPECT_THAT(ErrorOf(Replaced(good, "\"num_tokens\": 10", "\"num_tokens\": 11")),
              HasSubstr("top_indices is [10, 2], num_tokens and topk say [11, 2]"));
  EXPECT_THAT(ErrorOf(Replaced(good, "\"layer\": 3", "\"layer\": 2")),
              HasSubstr("layer 2 appears twice in its step"));
  EXPECT_THAT(ErrorOf(Replaced(good, "\"layer\": 4", "\"layer\": 7")),
              HasSubstr("not the model's MoE layers"));
}

TEST_F(BadCaptures, LogitsWithoutTheBiasTheModelNeeds) {
  options_.model.scoring = GateScoring::kSigmoidBias;
  EXPECT_THAT(ErrorOf(Good("hf_router_logits.npz")),
              HasSubstr("ids cannot be told without bias_1.npy"));
  options_.model = {};
  EXPECT_THAT(ErrorOf(Good("hf_router_logits.npz")), HasSubstr("name the model"));
}

TEST_F(BadCaptures, PlacementsAndTracesAreNotCaptures) {
  EXPECT_THAT(ErrorOf(Good("vllm_ascend_expert_map.json")), HasSubstr("is a placement"));
  EXPECT_THAT(ErrorOf("MOETRACE" + std::string(50, '\0')), HasSubstr("routing trace already"));
  EXPECT_THAT(ErrorOf(Good("trtllm/meta_info.json")), HasSubstr("give the folder"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("is empty"));
  EXPECT_THAT(ErrorOf("hello"), HasSubstr("of no known layout"));
}

TEST_F(BadCaptures, MixedLayouts) {
  const auto report =
      ImportCapture({set_.folder / "hits.json", set_.folder / "moe_infinity_trace.npy"}, options_,
                    scratch_ / "out");
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(ToString(report.errors()), HasSubstr("is of another layout than"));
}

TEST_F(BadCaptures, CountTablesThatDisagree) {
  EXPECT_THAT(ErrorOf("1,2,3\n4,5\n"), HasSubstr("has 2 counts, the first line has 3"));
  EXPECT_THAT(ErrorOf("1,2,x\n"), HasSubstr("'x' is no count"));
  EXPECT_THAT(ErrorOf("layer,expert,count\n0,1,5\n"), HasSubstr("in order, none missing"));
}

TEST(BadCaptureModels, LayersThatLackAFieldAreRefusedOrDense) {
  const auto error_of = [](const std::string& layers) {
    const auto model = ReadCaptureModel(
        "m.yaml", "name: m\nmoe: {experts: 8, top_k: 2, scoring: softmax}\nlayers: " + layers);
    return model.ok() ? "read" : ToString(model.errors());
  };
  EXPECT_EQ(error_of("[{repeat: 1, pattern: [{feed_forward: moe}, {attention: full}]}]"), "read");
  EXPECT_THAT(error_of("[{pattern: [{feed_forward: moe}]}]"), HasSubstr("{repeat, pattern}"));
  EXPECT_THAT(error_of("[{repeat: 1}]"), HasSubstr("{repeat, pattern}"));
  EXPECT_THAT(error_of("[{repeat: 2, pattern: [{}]}]"), HasSubstr("hold no MoE layer"));
}

}  // namespace
}  // namespace moecast
