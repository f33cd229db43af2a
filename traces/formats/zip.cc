#include "traces/formats/zip.h"

#include <algorithm>
#include <set>
#include <utility>

namespace moecast {
namespace {

// Sizes and field positions of APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14-16 and 4.5.3.
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kMaxCommentBytes = 65535;
constexpr uint64_t kLocatorBytes = 20;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kEntryBytes = 46;
constexpr uint64_t kLocalBytes = 30;
constexpr uint64_t kMaxDirectoryBytes = uint64_t{64} << 20;
constexpr uint32_t kFull32 = 0xffffffff;
constexpr uint16_t kZip64Extra = 1;

uint64_t Field(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

/// Where the central directory lies.
struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
};

Result<Directory> FindDirectory64(const ByteFile& file, uint64_t end_record) {
  if (end_record < kLocatorBytes) {
    return file.At(end_record, "the ZIP directory's place is missing");
  }
  SIM_TRY(const std::string locator, file.Read(end_record - kLocatorBytes, kLocatorBytes));
  if (!locator.starts_with("PK\x06\x07")) {
    return file.At(end_record - kLocatorBytes, "the ZIP64 directory's place is missing");
  }
  const uint64_t offset = Field(locator, 8, 8);
  SIM_TRY(const std::string end, file.Read(offset, kEnd64Bytes));
  if (!end.starts_with("PK\x06\x06")) return file.At(offset, "is not a ZIP64 directory record");
  return Directory{.offset = Field(end, 48, 8), .size = Field(end, 40, 8)};
}

Result<Directory> FindDirectory(const ByteFile& file) {
  if (file.size() < kEndBytes) return file.Fail("truncated: too short for a ZIP archive");
  const uint64_t tail = std::min(file.size(), kEndBytes + kMaxCommentBytes);
  const uint64_t tail_offset = file.size() - tail;
  SIM_TRY(const std::string bytes, file.Read(tail_offset, tail));
  const size_t at = bytes.rfind("PK\x05\x06", bytes.size() - kEndBytes);
  if (at == std::string::npos) {
    return file.Fail("truncated: the " + std::to_string(file.size()) +
                     " bytes do not end with a ZIP directory");
  }
  const uint64_t end_record = tail_offset + at;
  Directory directory{.offset = Field(bytes, at + 16, 4), .size = Field(bytes, at + 12, 4)};
  if (directory.offset == kFull32 || directory.size == kFull32) {
    SIM_TRY(directory, FindDirectory64(file, end_record));
  }
  if (directory.offset > end_record || directory.size > end_record - directory.offset ||
      directory.size > kMaxDirectoryBytes) {
    return file.At(end_record, "the ZIP directory is said to have " +
                                   std::to_string(directory.size) + " bytes at byte " +
                                   std::to_string(directory.offset) +
                                   ", which is not before its end");
  }
  return directory;
}

/// Sizes and offset that did not fit 32 bits are in the extra field, in this order.
bool ApplyZip64(std::string_view extra, ZipMember& member, uint64_t& local) {
  while (extra.size() >= 4) {
    const uint64_t size = Field(extra, 2, 2);
    if (size > extra.size() - 4) return false;
    std::string_view body = extra.substr(4, size);
    const bool is_zip64 = Field(extra, 0, 2) == kZip64Extra;
    extra.remove_prefix(4 + size);
    if (!is_zip64) continue;
    for (uint64_t* field : {&member.size, &member.stored_size, &local}) {
      if (*field != kFull32) continue;
      if (body.size() < 8) return false;
      *field = Field(body, 0, 8);
      body.remove_prefix(8);
    }
  }
  return true;
}

/// The member's bytes follow its local header, whose name and extra field have their own lengths.
Status FindContent(const ByteFile& file, uint64_t local, ZipMember& member) {
  SIM_TRY(const std::string header, file.Read(local, kLocalBytes));
  if (!header.starts_with("PK\x03\x04")) {
    return file.At(local, "no ZIP member '" + member.name + "' begins here");
  }
  member.offset = local + kLocalBytes + Field(header, 26, 2) + Field(header, 28, 2);
  if (member.offset > file.size() || member.stored_size > file.size() - member.offset) {
    return file.At(member.offset, "ZIP member '" + member.name + "' is said to have " +
                                      std::to_string(member.stored_size) +
                                      " bytes here, the file has " + std::to_string(file.size()) +
                                      " in all");
  }
  if (!member.deflated && member.size != member.stored_size) {
    return file.At(member.offset, "stored ZIP member '" + member.name + "' has " +
                                      std::to_string(member.stored_size) + " bytes for " +
                                      std::to_string(member.size));
  }
  return Ok();
}

/// The entry at `at` of the directory's bytes, which `at` then passes.
Result<ZipMember> ReadEntry(const ByteFile& file, const Directory& directory,
                            std::string_view bytes, uint64_t& at) {
  const uint64_t place = directory.offset + at;
  const uint64_t room = bytes.size() - at;
  if (room < kEntryBytes || !bytes.substr(at).starts_with("PK\x01\x02")) {
    return file.At(place, "is not an entry of a ZIP directory");
  }
  const std::string_view entry = bytes.substr(at);
  const uint64_t name = Field(entry, 28, 2);
  const uint64_t extra = Field(entry, 30, 2);
  const uint64_t all = kEntryBytes + name + extra + Field(entry, 32, 2);
  if (all > room) return file.At(place, "the ZIP directory is truncated");
  const uint64_t method = Field(entry, 10, 2);
  ZipMember member{.name = std::string(entry.substr(kEntryBytes, name)),
                   .size = Field(entry, 24, 4),
                   .stored_size = Field(entry, 20, 4),
                   .offset = 0,
                   .crc = static_cast<uint32_t>(Field(entry, 16, 4)),
                   .deflated = method == 8};
  if (method != 0 && method != 8) {
    return file.At(place, "ZIP member '" + member.name + "' is compressed by method " +
                              std::to_string(method) + ", read are 0 (stored) and 8 (deflate)");
  }
  if ((Field(entry, 8, 2) & 1) != 0) {
    return file.At(place, "ZIP member '" + member.name + "' is encrypted");
  }
  uint64_t local = Field(entry, 42, 4);
  if (!ApplyZip64(entry.substr(kEntryBytes + name, extra), member, local)) {
    return file.At(place, "the ZIP64 sizes of '" + member.name + "' are cut short");
  }
  SIM_RETURN_IF_ERROR(FindContent(file, local, member));
  at += all;
  return member;
}

}  // namespace

Result<ZipArchive> ZipArchive::Open(const ByteFile& file) {
  SIM_TRY(const Directory directory, FindDirectory(file));
  SIM_TRY(const std::string bytes, file.Read(directory.offset, directory.size));
  ZipArchive archive(file);
  std::set<std::string> names;
  for (uint64_t at = 0; at < bytes.size();) {
    const uint64_t place = directory.offset + at;
    SIM_TRY(ZipMember member, ReadEntry(file, directory, bytes, at));
    if (!names.insert(member.name).second) {
      return file.At(place, "ZIP member '" + member.name + "' appears twice");
    }
    archive.members_.push_back(std::move(member));
  }
  return archive;
}

const ZipMember* ZipArchive::Find(std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &ZipMember::name);
  return found == members_.end() ? nullptr : &*found;
}

Result<std::string> ZipArchive::Read(const ZipMember& member, uint64_t most) const {
  if (member.size > most) {
    return file_->At(member.offset, "ZIP member '" + member.name + "' has " +
                                        std::to_string(member.size) + " bytes, at most " +
                                        std::to_string(most) + " are allowed");
  }
  constexpr uint64_t kStep = uint64_t{1} << 20;
  std::string bytes;
  ZipStream stream(*file_, member);
  // Takes memory as content arrives: a size that lies costs none.
  while (stream.left() > 0) {
    const size_t before = bytes.size();
    bytes.resize(before + std::min(kStep, stream.left()));
    SIM_RETURN_IF_ERROR(stream.Read(std::span(bytes).subspan(before)));
  }
  return bytes;
}

}  // namespace moecast
