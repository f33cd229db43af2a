#include "scenarios/yaml_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scenarios/yaml_print.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  const Result<YamlNode> node = ParseYaml(text, "f.yaml");
  return node.ok() ? "" : ToString(node.errors());
}

TEST(YamlNode, RemembersWhereKeysAndValuesStand) {
  const Result<YamlNode> root = ParseYaml("a: 1\nb:\n  - x\n  - y: 2\n", "f.yaml");
  ASSERT_TRUE(root.ok());
  const YamlNode* b = root->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->key_place.Text(), "f.yaml:2:1");
  EXPECT_EQ(b->children[0].place.Text(), "f.yaml:3:5");
  EXPECT_EQ(b->children[1].Find("y")->place.Text(), "f.yaml:4:8");
}

TEST(YamlNode, KeepsDoubledKeysForTheReaderToReport) {
  const Result<YamlNode> root = ParseYaml("a: 1\na: 2\n", "f.yaml");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->children.size(), 2u);
}

TEST(YamlNode, TellsQuotedFromPlainText) {
  const Result<YamlNode> root = ParseYaml("[1, '1', \"1\"]", "f.yaml");
  ASSERT_TRUE(root.ok());
  EXPECT_FALSE(root->children[0].quoted);
  EXPECT_TRUE(root->children[1].quoted);
  EXPECT_TRUE(root->children[2].quoted);
}

TEST(YamlNode, JsonIsRead) {
  const Result<YamlNode> root = ParseYaml(R"({"a": {"b": [1, 2.5, true, "x"]}})", "f.json");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->Find("a")->Find("b")->children.size(), 4u);
}

TEST(YamlNode, EmptyDocumentIsNothing) {
  const Result<YamlNode> root = ParseYaml("# only a comment\n", "f.yaml");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->kind, YamlNode::Kind::kNull);
}

TEST(YamlNode, AliasBombIsRefused) {
  const std::string bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("f.yaml:1:"));
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("anchors and aliases are not supported"));
}

TEST(YamlNode, TagIsRefused) {
  EXPECT_THAT(ErrorOf("a: !!python/object:x {}\n"), HasSubstr("tags are not supported"));
}

TEST(YamlNode, SecondDocumentIsRefused) {
  EXPECT_THAT(ErrorOf("a: 1\n---\nb: 2\n"), HasSubstr("more than one YAML document"));
}

TEST(YamlNode, DeepNestingIsRefused) {
  EXPECT_THAT(ErrorOf(std::string(100, '[') + std::string(100, ']')), HasSubstr("nested deeper"));
  EXPECT_NE(ErrorOf(std::string(100'000, '[')), "");
  EXPECT_NE(ErrorOf(std::string(100'000, '{')), "");
}

TEST(YamlNode, HugeFileIsRefused) {
  EXPECT_THAT(ErrorOf(std::string(kMaxYamlBytes + 1, '#')), HasSubstr("bytes long"));
}

TEST(YamlNode, TooManyValuesAreRefused) {
  std::string text = "[";
  for (size_t i = 0; i <= kMaxYamlNodes; ++i) text += "1,";
  EXPECT_THAT(ErrorOf(text + "1]"), HasSubstr("more than 100000 values"));
}

TEST(YamlNode, MappingAsKeyIsRefused) {
  EXPECT_THAT(ErrorOf("? {a: 1}\n: 2\n"), HasSubstr("a key must be plain text"));
}

TEST(YamlNode, SyntaxErrorNamesLineAndColumn) {
  EXPECT_THAT(ErrorOf("a: 1\nb: [1, 2\nc: 3\n"), HasSubstr("f.yaml:3:"));
}

TEST(YamlPrint, ParsingWhatWasPrintedGivesTheSameText) {
  const std::string text =
      "a: \"1: tricky\"\nb: [1, 2]\nc: {}\nd: []\ne:\n  - f: \"null\"\n    g: 'it''s'\n"
      "h: \"line\\nbreak\"\ni: \"# no comment\"\n";
  const Result<YamlNode> first = ParseYaml(text, "f.yaml");
  ASSERT_TRUE(first.ok());
  const std::string printed = PrintYaml(*first);
  const Result<YamlNode> second = ParseYaml(printed, "f.yaml");
  ASSERT_TRUE(second.ok()) << printed;
  EXPECT_EQ(PrintYaml(*second), printed);
  EXPECT_EQ(second->Find("e")->children[0].Find("f")->text, "null");
  EXPECT_EQ(second->Find("h")->text, "line\nbreak");
}

}  // namespace
}  // namespace moecast
