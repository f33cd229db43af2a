// ReadPlacement: the three formats, told by content.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "sim/base/files.h"
#include "traces/formats/byte_file.h"
#include "traces/formats/json_documents.h"
#include "traces/formats/torch_archive.h"
#include "traces/placement.h"
#include "traces/yaml_fields.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

constexpr int64_t kMaxExpert = 65535;

/// The rows of [layer][slot] numbers; none when it is not even.
std::optional<std::vector<std::vector<int32_t>>> Rows(const Tree& tree, const TreeValue& value) {
  if (value.kind != Kind::kIntegers || tree.at(value).shape.size() != 2) return std::nullopt;
  const TreeNode& node = tree.at(value);
  const auto slots = static_cast<size_t>(node.shape[1]);
  std::vector<std::vector<int32_t>> rows;
  auto at = tree.integers.begin() + static_cast<std::ptrdiff_t>(node.first);
  for (int64_t i = 0; i < node.shape[0]; ++i, at += static_cast<std::ptrdiff_t>(slots)) {
    rows.emplace_back(at, at + static_cast<std::ptrdiff_t>(slots));
  }
  return rows;
}

Result<ExpertPlacement> ReadAscendLayer(const Tree& tree, const TreeValue& layer,
                                        const ByteFile& file, ExpertPlacement placement) {
  const auto index = placement.physical_to_logical.size();
  const auto wrong = [&](const std::string& what) {
    return file.Fail("layer_list[" + std::to_string(index) + "] " + what);
  };
  if (tree.Integer(layer, "layer_id") != static_cast<int64_t>(index)) {
    return wrong("must have layer_id " + std::to_string(index) + ": layers are in order");
  }
  const auto devices = tree.Find(layer, "device_list", Kind::kList);
  if (!devices) return wrong("has no device_list");
  const std::vector<TreeValue>& list = tree.at(*devices).items;
  const auto count = std::ssize(list);
  if (tree.Integer(layer, "device_count") != count || count == 0) {
    return wrong("has a device_count that is not the length of device_list");
  }
  if (placement.ranks != 0 && placement.ranks != count) return wrong("has another device_count");
  placement.ranks = count;
  std::vector<int32_t> slots;
  for (int64_t device = 0; device < count; ++device) {
    const TreeValue& entry = list[static_cast<size_t>(device)];
    const auto found = tree.Find(entry, "device_expert");
    const auto experts = found ? tree.Integers(*found) : std::nullopt;
    if (tree.Integer(entry, "device_id") != device || !experts) {
      return wrong("must have devices in order with device_id and device_expert");
    }
    if (device > 0 && std::ssize(*experts) * device != std::ssize(slots)) {
      return wrong("has devices with unequally many experts");
    }
    for (const int64_t expert : *experts) {
      if (expert < 0 || expert > kMaxExpert) {
        return wrong("has expert " + std::to_string(expert) + ", allowed are 0 to " +
                     std::to_string(kMaxExpert));
      }
      slots.push_back(static_cast<int32_t>(expert));
    }
  }
  placement.physical_to_logical.push_back(std::move(slots));
  return placement;
}

Result<ExpertPlacement> FromJson(const Tree& tree, const ByteFile& file) {
  ExpertPlacement placement;
  if (const auto map = tree.Find(tree.root, "physical_to_logical_map")) {
    auto rows = Rows(tree, *map);
    if (!rows) return file.Fail("physical_to_logical_map must be [layer][slot] whole numbers");
    placement.physical_to_logical = std::move(*rows);
    return placement;
  }
  const auto layers = tree.Find(tree.root, "layer_list", Kind::kList);
  if (!layers) {
    return file.Fail("is no placement: neither physical_to_logical_map nor layer_list is in it");
  }
  for (const TreeValue& layer : tree.at(*layers).items) {
    SIM_TRY(placement, ReadAscendLayer(tree, layer, file, std::move(placement)));
  }
  if (tree.Integer(tree.root, "moe_layer_count") != std::ssize(placement.physical_to_logical)) {
    return file.Fail("moe_layer_count is not the length of layer_list");
  }
  return placement;
}

Result<ExpertPlacement> ReadTorch(const ByteFile& file) {
  SIM_TRY(const ZipArchive archive, ZipArchive::Open(file));
  Tree tree;
  SIM_RETURN_IF_ERROR(ReadTorchArchive(archive, tree));
  auto map = tree.Find(tree.root, "physical_to_logical_map", Kind::kTensor);
  if (!map) map = tree.Find(tree.root, "last_physical_to_logical_map", Kind::kTensor);
  if (!map) return file.Fail("is no placement: it has no tensor physical_to_logical_map");
  return PlacementOfTensor(file, tree.at(*map).array);
}

/// layer: [expert, ..] entries of a YAML mapping.
Result<ExpertPlacement> ReadTrtllm(const std::string& file, const std::string& bytes) {
  SIM_TRY(const YAML::Node root, LoadYamlMapping(file, bytes));
  Errors errors;
  YamlFields fields(root, file, "", errors);
  if (!fields.Has("initial_global_assignments")) {
    return Error{"is no placement: it has no field initial_global_assignments", file};
  }
  const int64_t slots = fields.Whole("num_slots", {1, kMaxExpert});
  YamlFields assignments = fields.Mapping("initial_global_assignments");
  if (!errors.empty()) return errors;
  ExpertPlacement placement;
  for (const auto& entry : root["initial_global_assignments"]) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const auto layer = entry.first.IsScalar() ? entry.first.as<int32_t>(-1) : -1;
    if (layer < 0 || (!placement.layers.empty() && layer <= placement.layers.back())) {
      assignments.Fail(key, "is no layer, layers are whole numbers in ascending order");
      break;
    }
    const std::vector<int64_t> experts = assignments.WholeList(key, {0, kMaxExpert});
    if (std::ssize(experts) != slots) {
      assignments.Fail(key, "has " + std::to_string(experts.size()) + " slots, num_slots is " +
                                std::to_string(slots));
    }
    placement.layers.push_back(layer);
    placement.physical_to_logical.emplace_back(experts.begin(), experts.end());
  }
  if (!errors.empty()) return errors;
  return placement;
}

Result<ExpertPlacement> ReadAny(const ByteFile& file) {
  constexpr uint64_t kMostBytes = uint64_t{256} << 20;
  std::array<char, 1> first{};
  if (file.size() == 0 || file.size() > kMostBytes) {
    return file.Fail("is no placement: it has " + std::to_string(file.size()) + " bytes");
  }
  SIM_RETURN_IF_ERROR(file.Read(0, first));
  if (first[0] == 'P') return ReadTorch(file);
  if (first[0] != '{') {
    SIM_TRY(const std::string text, file.Read(0, file.size()));
    return ReadTrtllm(file.name(), text);
  }
  JsonDocuments documents(file);
  Tree tree;
  SIM_TRY(const bool found, documents.Next(tree));
  SIM_CHECK(found);  // the first byte opens a document
  SIM_TRY(ExpertPlacement placement, FromJson(tree, file));
  SIM_TRY(const bool more, documents.Next(tree));
  if (more) return file.At(documents.begin(), "a second JSON document follows the placement");
  return placement;
}

}  // namespace

Result<ExpertPlacement> PlacementOfTensor(const ByteFile& file, const ArrayRef& array) {
  if (array.shape.size() != 2 || !IsInteger(array.type) || array.shape[1] < 1) {
    return file.At(array.offset, "physical_to_logical_map is " + std::string(Name(array.type)) +
                                     ShapeText(array.shape) +
                                     ", it must be [layer][slot] integers");
  }
  const auto count = static_cast<size_t>(*ElementCount(array.shape));
  SIM_TRY(const std::string bytes, file.Read(array.offset, count * ElementBytes(array.type)));
  std::vector<double> values(count);
  ToDoubles(bytes, array.type, values);
  ExpertPlacement placement;
  for (size_t i = 0; i < count; ++i) {
    if (i % static_cast<size_t>(array.shape[1]) == 0) placement.physical_to_logical.emplace_back();
    if (values[i] < 0 || values[i] > static_cast<double>(kMaxExpert)) {
      return file.At(array.offset + i * ElementBytes(array.type),
                     "a slot's expert is not from 0 to " + std::to_string(kMaxExpert));
    }
    placement.physical_to_logical.back().push_back(static_cast<int32_t>(values[i]));
  }
  return placement;
}

Result<ExpertPlacement> ReadPlacement(const std::filesystem::path& path) {
  SIM_TRY(const ByteFile file, ByteFile::Open(path));
  SIM_TRY(ExpertPlacement placement, ReadAny(file));
  const Status usable = CheckPlacement(placement);
  if (!usable.ok()) return file.Fail(usable.errors()[0].message);
  return placement;
}

}  // namespace moecast
