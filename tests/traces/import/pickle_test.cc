// The restricted pickle reader: what torch.save writes is read, everything else is refused and
// nothing is executed.
#include "traces/formats/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = TreeValue::Kind;

std::string Bytes(std::initializer_list<std::string> parts) {
  std::string all("\x80\x02", 2);
  for (const std::string& part : parts) all += part;
  return all;
}
std::string Text(const std::string& text) {
  return std::string("X") + static_cast<char>(text.size()) + std::string(3, '\0') + text;
}
std::string Small(int value) { return std::string("K") + static_cast<char>(value); }

std::string ProblemOf(const std::string& bytes, const TorchStorages& storages = {}) {
  Tree tree;
  const auto problem = ReadPickle(bytes, storages, tree);
  return problem ? "at " + std::to_string(problem->position) + ": " + problem->message : "read";
}

/// A tensor of LongStorage "0" with `count` elements.
std::string Tensor(const std::string& shape, const std::string& stride, int count = 6) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "ctorch\nLongStorage\n" +
         Text("0") + Text("cpu") + Small(count) + "tQ" + Small(0) + shape + stride +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

TEST(ReadPickle, BuildsListsMapsAndNumbers) {
  Tree tree;
  const std::string bytes =
      Bytes({"}(", Text("a"), "](", Small(1), std::string("J\xff\xff\xff\xff"), "e", Text("b"),
             std::string("G\x40\x04\0\0\0\0\0\0", 9), Text("c"), std::string("\x8a\x02\x00\x80", 4),
             "u."});
  ASSERT_EQ(ProblemOf(bytes), "read");
  ASSERT_FALSE(ReadPickle(bytes, {}, tree));
  EXPECT_THAT(*tree.Integers(*tree.Find(tree.root, "a")), ElementsAre(1, -1));
  EXPECT_EQ(tree.Find(tree.root, "b")->real, 2.5);
  EXPECT_EQ(tree.Integer(tree.root, "c"), -32768);
}

TEST(ReadPickle, TensorsPointIntoTheirStorages) {
  Tree tree;
  const std::string bytes =
      Bytes({Tensor(Small(2) + Small(3) + "\x86", Small(3) + Small(1) + "\x86"), "."});
  ASSERT_FALSE(ReadPickle(bytes, {{"0", {.offset = 1000, .bytes = 48}}}, tree));
  ASSERT_EQ(tree.root.kind, Kind::kTensor);
  EXPECT_EQ(tree.at(tree.root).array.offset, 1000u);
  EXPECT_EQ(tree.at(tree.root).array.type, ElementType::kI64);
  EXPECT_THAT(tree.at(tree.root).array.shape, ElementsAre(2, 3));
}

TEST(ReadPickle, TensorsThatDoNotFitAreRefused) {
  const TorchStorages storages = {{"0", {.offset = 1000, .bytes = 48}}};
  const auto tensor = [&](const std::string& shape, const std::string& stride, int count = 6) {
    return ProblemOf(Bytes({Tensor(shape, stride, count), "."}), storages);
  };
  EXPECT_THAT(tensor(Small(2) + Small(4) + "\x86", Small(4) + Small(1) + "\x86"),
              HasSubstr("does not fit storage '0' of 6 elements"));
  EXPECT_THAT(tensor(Small(2) + Small(3) + "\x86", Small(1) + Small(2) + "\x86"),
              HasSubstr("is not contiguous"));
  EXPECT_THAT(tensor(Small(6) + "\x85", Small(1) + "\x85", 7),
              HasSubstr("said to have 7 elements of int64, it has 6"));
  EXPECT_THAT(tensor(Small(6) + "\x85", Small(1) + Small(1) + "\x86"), HasSubstr("as many"));
  EXPECT_THAT(ProblemOf(Bytes({Tensor(Small(6) + "\x85", Small(1) + "\x85"), "."})),
              HasSubstr("has no storage '0'"));
}

TEST(ReadPickle, NamesOutsideTheClosedWorldAreRefused) {
  EXPECT_THAT(ProblemOf(Bytes({"cos\nsystem\n", Text("true"), "\x85R."})),
              HasSubstr("at 2: the pickle asks for 'os system', which is refused"));
  EXPECT_THAT(ProblemOf(Bytes({"cbuiltins\neval\n."})), HasSubstr("'builtins eval'"));
  EXPECT_THAT(ProblemOf(Bytes({"ctorch._utils\n_rebuild_parameter\n."})), HasSubstr("refused"));
}

TEST(ReadPickle, OpcodesOutsideTheClosedWorldAreRefused) {
  // i INST, o OBJ, b BUILD, 0x81 NEWOBJ, 0x93 STACK_GLOBAL, P PERSID, \x82 EXT1
  for (const char opcode : {'i', 'o', 'b', '\x81', '\x93', 'P', '\x82', 'I', 'S', '\0'}) {
    EXPECT_THAT(ProblemOf(Bytes({std::string(1, opcode), "."})), HasSubstr("is refused"));
  }
  EXPECT_THAT(ProblemOf("\x80\x04."), HasSubstr("protocol 4"));
}

TEST(ReadPickle, SizesThatLieCostNothing) {
  EXPECT_THAT(ProblemOf(Bytes({std::string("X\xff\xff\xff\xff"), "abc"})), HasSubstr("truncated"));
  EXPECT_THAT(ProblemOf(Bytes({"]", std::string("r\xff\xff\xff\x7f"), "."})),
              HasSubstr("out of order"));
  EXPECT_THAT(ProblemOf(Bytes({"(", std::string(Tree::kMaxNodes + 10, ']')})),
              HasSubstr("more than"));
}

TEST(ReadPickle, StacksThatUnderflowAreRefused) {
  for (const std::string opcodes : {"e.", "t.", "a.", "]a.", "s.", "u.", "R.", "Q.", "\x87.", ".",
                                    "(.", "](a.", "}(K\x01u.", "q\x01."}) {
    EXPECT_NE(ProblemOf(Bytes({opcodes})), "read") << opcodes;
  }
}

TEST(ReadPickle, AListInItselfIsHarmless) {
  Tree tree;
  EXPECT_FALSE(
      ReadPickle(Bytes({"]", std::string("q\0", 2), std::string("h\0", 2), "a."}), {}, tree));
  EXPECT_EQ(tree.at(tree.root).items.size(), 1u);
}

}  // namespace
}  // namespace moecast
