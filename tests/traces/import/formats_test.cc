// The readers of foreign formats: what they accept, and that sizes which lie are found out before
// memory is taken for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "sim/base/result.h"
#include "traces/formats/base64.h"
#include "traces/formats/json_documents.h"
#include "traces/formats/json_text.h"
#include "traces/formats/npy.h"
#include "traces/formats/safetensors.h"
#include "traces/formats/zip.h"

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = TreeValue::Kind;

template <class T>
std::string ErrorOf(const Result<T>& result) {
  return result.ok() ? "ok" : ToString(result.errors());
}

std::string Npy(const std::string& dict, const std::string& data) {
  std::string header = dict;
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

Result<ArrayRef> ReadNpy(const std::string& bytes) {
  const ByteFile file = ByteFile::OfBytes(bytes, "a.npy");
  return ReadNpyHeader(file, 0, file.size());
}

TEST(NpyHeader, ReadsTypeShapeAndPlace) {
  const auto array = ReadNpy(
      Npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }", std::string(12, '\0')));
  ASSERT_TRUE(array.ok()) << ErrorOf(array);
  EXPECT_EQ(array->type, ElementType::kI16);
  EXPECT_THAT(array->shape, ElementsAre(2, 3));
  EXPECT_EQ(array->offset, 128u);
  EXPECT_TRUE(
      ReadNpy(Npy("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", "12345")).ok());
  EXPECT_TRUE(ReadNpy(Npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "1")).ok());
}

TEST(NpyHeader, RefusesWhatItDoesNotRead) {
  const auto error = [](const std::string& dict, const std::string& data) {
    return ErrorOf(ReadNpy(Npy(dict, data)));
  };
  EXPECT_THAT(error("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "12345678"),
              HasSubstr("element type is '|O'"));
  EXPECT_THAT(error("{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }", "1234"),
              HasSubstr("element type is '>i4'"));
  EXPECT_THAT(error("{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }", "1"),
              HasSubstr("Fortran order"));
  EXPECT_THAT(error("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", "1"),
              HasSubstr("the array is [2] of uint8, but 1 bytes follow"));
  EXPECT_THAT(error("{'descr': '<u8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
                    "12345678"),
              HasSubstr("but 8 bytes follow"));
  EXPECT_THAT(error("{'descr': __import__('os'), }", ""), HasSubstr("byte 20: the .npy header"));
  EXPECT_THAT(ErrorOf(ReadNpy(std::string("\x93NUMPY\x01\x00\xff\xff", 10) + "{}")),
              HasSubstr("says it has 65535 bytes"));
}

/// A ZIP of one member, by APPNOTE's field positions; `edit` changes bytes before use.
std::string Zip(const std::string& name, const std::string& content, uint16_t method,
                const std::string& stored) {
  const auto number = [](uint64_t value, size_t bytes) {
    std::string text;
    for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return text;
  };
  const uint64_t crc =
      crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
  const std::string sizes = number(crc, 4) + number(stored.size(), 4) + number(content.size(), 4);
  std::string file = "PK\x03\x04" + number(20, 2) + number(0, 2) + number(method, 2) +
                     number(0, 4) + sizes + number(name.size(), 2) + number(0, 2) + name + stored;
  const size_t directory = file.size();
  file += "PK\x01\x02" + number(20, 2) + number(20, 2) + number(0, 2) + number(method, 2) +
          number(0, 4) + sizes + number(name.size(), 2) + std::string(16, '\0') + name;
  const size_t size = file.size() - directory;
  return file + "PK\x05\x06" + number(0, 4) + number(1, 2) + number(1, 2) + number(size, 4) +
         number(directory, 4) + number(0, 2);
}

std::string Deflate(const std::string& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string packed(content.size() + 100, '\0');
  std::string input = content;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

Result<std::string> ReadFirstMember(const std::string& bytes, uint64_t most = 1 << 20) {
  const ByteFile file = ByteFile::OfBytes(bytes, "a.zip");
  SIM_TRY(const ZipArchive archive, ZipArchive::Open(file));
  return archive.Read(archive.members().at(0), most);
}

TEST(ZipArchive, ReadsStoredAndDeflatedMembers) {
  const std::string content = "abcabcabcabc" + std::string(100000, 'x');
  EXPECT_EQ(ReadFirstMember(Zip("m", content, 0, content)).value(), content);
  EXPECT_EQ(ReadFirstMember(Zip("m", content, 8, Deflate(content))).value(), content);
}

TEST(ZipArchive, FindsSizesThatLie) {
  const std::string content = "abcabcabcabc";
  const std::string packed = Deflate(content);
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content + "more", 8, packed))),
              HasSubstr("ends before its stated size"));
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content.substr(1), 8, packed))),
              HasSubstr("CRC-32"));
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content, 8, packed.substr(0, 3)))),
              HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content, 0, "abc"))), HasSubstr("3 bytes for 12"));
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content, 0, content), 5)), HasSubstr("at most 5"));
  EXPECT_THAT(ErrorOf(ReadFirstMember(Zip("m", content, 12, content))), HasSubstr("method 12"));
  std::string far = Zip("m", content, 0, content);
  far[far.size() - 4] = 'z';  // the directory's offset
  EXPECT_THAT(ErrorOf(ReadFirstMember(far)), HasSubstr("which is not before its end"));
  EXPECT_THAT(ErrorOf(ReadFirstMember("PK")), HasSubstr("too short"));
}

std::string Safetensors(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  std::string bytes(sizeof(size), '\0');
  std::memcpy(bytes.data(), &size, sizeof(size));
  return bytes + header + data;
}

Result<std::map<std::string, ArrayRef>> ReadTensors(const std::string& bytes) {
  const ByteFile file = ByteFile::OfBytes(bytes, "a.safetensors");
  return ReadSafetensors(file);
}

TEST(Safetensors, ReadsArraysAndPassesOverMetadata) {
  const std::string header =
      R"({"__metadata__":{"a":"b"},"x":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]}}   )";
  const auto arrays = ReadTensors(Safetensors(header, "12345678"));
  ASSERT_TRUE(arrays.ok()) << ErrorOf(arrays);
  ASSERT_EQ(arrays->size(), 1u);
  EXPECT_EQ(arrays->at("x").offset, 8 + header.size());
}

TEST(Safetensors, FindsSizesThatLie) {
  const auto error = [](const std::string& entry) {
    return ErrorOf(ReadTensors(Safetensors("{\"x\":" + entry + "}", "12345678")));
  };
  EXPECT_THAT(error(R"({"dtype":"I32","shape":[2],"data_offsets":[0,9]})"),
              HasSubstr("not within the 8 bytes"));
  EXPECT_THAT(error(R"({"dtype":"I32","shape":[2],"data_offsets":[8,0]})"),
              HasSubstr("not within"));
  EXPECT_THAT(error(R"({"dtype":"I32","shape":[3],"data_offsets":[0,8]})"),
              HasSubstr("does not fill its 8 bytes"));
  EXPECT_THAT(error(R"({"dtype":"I3","shape":[2],"data_offsets":[0,8]})"), HasSubstr("dtype"));
  EXPECT_THAT(error(R"({"dtype":"I32","shape":[-2],"data_offsets":[0,8]})"),
              HasSubstr("whole numbers"));
  EXPECT_THAT(error(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                    R"("y":{"dtype":"U8","shape":[1],"data_offsets":[7,8]})"),
              HasSubstr("overlap"));
  EXPECT_THAT(ErrorOf(ReadTensors(std::string(8, '\xff') + "{}")), HasSubstr("header says it has"));
  EXPECT_THAT(ErrorOf(ReadTensors(Safetensors("{\"x\"", ""))), HasSubstr("is not JSON"));
}

TEST(JsonDocuments, EvenListsOfNumbersBecomeOneArray) {
  const std::string text =
      R"({"a": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "b": [[1], [2, 3]], "c": []}
    [7, -1, 2.5])";
  const ByteFile file = ByteFile::OfBytes(text, "a.json");
  JsonDocuments documents(file);
  Tree tree;
  ASSERT_TRUE(documents.Next(tree).value());
  const TreeValue a = *tree.Find(tree.root, "a");
  ASSERT_EQ(a.kind, Kind::kIntegers);
  EXPECT_THAT(tree.at(a).shape, ElementsAre(2, 2, 2));
  EXPECT_EQ(tree.integers[tree.at(a).first + 4], 5);
  const size_t five = text.find('5');
  const uint64_t found = documents.ByteOfNumber(tree.at(a).first_number + 4);
  EXPECT_TRUE(found == five || found == five + 1) << found;
  const TreeValue b = *tree.Find(tree.root, "b");
  ASSERT_EQ(b.kind, Kind::kList);
  EXPECT_THAT(*tree.Integers(tree.at(b).items[0]), ElementsAre(1));
  EXPECT_THAT(*tree.Integers(tree.at(b).items[1]), ElementsAre(2, 3));
  EXPECT_TRUE(tree.Integers(*tree.Find(tree.root, "c"))->empty());
  ASSERT_TRUE(documents.Next(tree).value());
  EXPECT_EQ(tree.root.kind, Kind::kList);
  EXPECT_EQ(tree.at(tree.root).items[2].real, 2.5);
  EXPECT_FALSE(documents.Next(tree).value());
}

TEST(JsonDocuments, NumbersBesideListsStayApart) {
  const ByteFile file = ByteFile::OfBytes("[2, [71, 72], [3], 4]", "a.json");
  JsonDocuments documents(file);
  Tree tree;
  ASSERT_TRUE(documents.Next(tree).value());
  const std::vector<TreeValue>& items = tree.at(tree.root).items;
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[0].integer, 2);
  EXPECT_THAT(*tree.Integers(items[1]), ElementsAre(71, 72));
  EXPECT_THAT(*tree.Integers(items[2]), ElementsAre(3));
  EXPECT_EQ(items[3].integer, 4);
}

TEST(JsonDocuments, RefusesWithTheByte) {
  const auto error = [](const std::string& text) {
    const ByteFile file = ByteFile::OfBytes(text, "a.json");
    JsonDocuments documents(file);
    Tree tree;
    return ErrorOf(documents.Next(tree));
  };
  EXPECT_THAT(error("{\"a\": nope}"), HasSubstr("a.json: byte 6: is not JSON"));
  EXPECT_THAT(error("[1, 2"), HasSubstr("is not JSON"));
  EXPECT_THAT(error(std::string(100, '[')), HasSubstr("is not JSON"));
}

TEST(JsonText, SaysLineAndColumnOfWhatIsNoJson) {
  const auto error_of = [](const char* text) {
    const auto parsed = ParseJsonText(text, "f.json");
    return parsed.ok() ? "" : ToString(parsed.errors());
  };
  EXPECT_EQ(error_of("{\"a\": [1, 2]}\n "), "");
  EXPECT_THAT(error_of("{\"a\": 1,\n \"b\": [1,,2]}"), HasSubstr("f.json:2:10: not valid JSON"));
  EXPECT_THAT(error_of("{\"a\":"), HasSubstr("f.json:1:6: not valid JSON: incomplete"));
  EXPECT_THAT(error_of("{}\nx"), HasSubstr("f.json:2:1: not valid JSON: extra data"));
  EXPECT_THAT(error_of(""), HasSubstr("f.json:1:1: not valid JSON"));
}

TEST(Base64, RoundTripsAndNamesTheBadCharacter) {
  std::string bytes;
  EXPECT_FALSE(DecodeBase64("AAEC/w==", bytes));
  EXPECT_EQ(bytes, std::string("\0\1\2\xff", 4));
  EXPECT_FALSE(DecodeBase64("", bytes));
  EXPECT_EQ(DecodeBase64("AAEC/w==AAAA", bytes)->position, 6u);
  EXPECT_EQ(DecodeBase64("====", bytes)->position, 0u);
}

}  // namespace
}  // namespace moecast
