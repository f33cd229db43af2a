#include "traces/formats/torch_archive.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "traces/formats/pickle.h"

namespace moecast {
namespace {

constexpr std::string_view kPickleName = "/data.pkl";

const ZipMember* FindPickle(const ZipArchive& archive) {
  const auto found = std::ranges::find_if(archive.members(), [](const ZipMember& member) {
    return member.name.ends_with(kPickleName);
  });
  return found == archive.members().end() ? nullptr : &*found;
}

}  // namespace

bool IsTorchArchive(const ZipArchive& archive) { return FindPickle(archive) != nullptr; }

Status ReadTorchArchive(const ZipArchive& archive, Tree& tree) {
  const ByteFile& file = archive.file();
  const ZipMember* pickle = FindPickle(archive);
  if (pickle == nullptr) return file.Fail("is no file of torch.save: it has no data.pkl");
  const std::string stem = pickle->name.substr(0, pickle->name.size() - kPickleName.size());
  if (const ZipMember* order = archive.Find(stem + "/byteorder")) {
    constexpr uint64_t kMostBytes = 16;
    SIM_TRY(const std::string text, archive.Read(*order, kMostBytes));
    if (text != "little") return file.At(order->offset, "has byte order '" + text + "'");
  }
  TorchStorages storages;
  const std::string folder = stem + "/data/";
  for (const ZipMember& member : archive.members()) {
    if (!member.name.starts_with(folder)) continue;
    if (member.deflated) {
      return file.At(member.offset, "torch storage '" + member.name + "' is compressed");
    }
    storages.emplace(member.name.substr(folder.size()),
                     TorchStorage{.offset = member.offset, .bytes = member.size});
  }
  SIM_TRY(const std::string bytes, archive.Read(*pickle, kMaxTorchPickleBytes));
  if (const auto problem = ReadPickle(bytes, storages, tree)) {
    const uint64_t base = pickle->deflated ? 0 : pickle->offset;
    return file.At(base + problem->position, problem->message);
  }
  return Ok();
}

}  // namespace moecast
