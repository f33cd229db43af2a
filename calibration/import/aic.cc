#include "calibration/import/aic.h"

#include <algorithm>
#include <map>
#include <set>

#include "calibration/import/aic_tables.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = "_perf";
constexpr std::string_view kNccl = "nccl";

/// The name without ".csv", ".txt" and the ending of a packed file.
std::string StemOf(const fs::path& path) {
  fs::path name = path.filename();
  while (name.has_extension()) {
    const std::string ending = name.extension().string();
    if (ending != ".gz" && ending != ".zst" && ending != ".csv" && ending != ".txt") break;
    name = name.stem();
  }
  return name.string();
}

/// "vllm-0.24.0" of ".../vllm/0.24.0/moe_perf.csv".
std::string EngineOf(const fs::path& path) {
  const fs::path version = path.parent_path();
  return version.parent_path().filename().string() + "-" + version.filename().string();
}

Result<std::vector<fs::path>> FindTables(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (auto entry = fs::recursive_directory_iterator(folder, failure);
       !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure)) {
    const bool table = entry->is_regular_file(failure) && StemOf(entry->path()).ends_with(kSuffix);
    if (table) found.push_back(entry->path());
  }
  if (failure) return Error{"cannot list the folder: " + failure.message(), folder.string()};
  if (found.empty()) {
    return Error{"no table '<name>" + std::string(kSuffix) + ".csv' in the folder or below it",
                 folder.string()};
  }
  std::sort(found.begin(), found.end());
  return found;
}

void ReadTable(const Table& table, AicReader reader, const ImportTarget& target, Imported& into,
               Errors& errors) {
  into.files.push_back({.file = table.name(), .rows = static_cast<int64_t>(table.rows())});
  if (reader == nullptr) {
    if (table.rows() > 0) {
      into.files.back().left_out["no reader for this table"] = into.files.back().rows;
    }
    return;
  }
  Errors found;
  reader(table, target, into, found);
  errors.insert(errors.end(), found.begin(), found.end());
}

}  // namespace

Result<Imported> ImportAicTable(std::string text, const std::string& name,
                                const ImportTarget& target) {
  SIM_TRY(std::string bytes, Unpack(std::move(text), name));
  SIM_TRY(const Table table, Table::Parse(std::move(bytes), name));
  Imported into;
  Errors errors;
  ReadTable(table, AicReaderOf(StemOf(name)), target, into, errors);
  if (!errors.empty()) return errors;
  return into;
}

Result<Imported> ImportAic(const fs::path& folder, const ImportTarget& target) {
  SIM_TRY(const std::vector<fs::path> paths, FindTables(folder));
  std::set<std::string> engines;
  std::map<std::string, fs::path> seen;  // by engine and table
  Imported into;
  Errors errors;
  for (const fs::path& path : paths) {
    const std::string engine = EngineOf(path);
    const bool nccl = engine.starts_with(kNccl);
    if (!nccl) engines.insert(engine);
    if (!nccl && engine != target.engine) continue;
    const auto [first, is_new] = seen.emplace(engine + " " + StemOf(path), path);
    if (!is_new) {
      return Error{"is a second " + StemOf(path) + " of " + engine + " beside " +
                       first->second.string() + "; a folder holds the tables of one GPU",
                   path.string()};
    }
    const Result<Table> table = Table::Open(path);
    if (!table.ok()) {
      errors.insert(errors.end(), table.errors().begin(), table.errors().end());
      continue;
    }
    ReadTable(*table, AicReaderOf(StemOf(path)), target, into, errors);
  }
  if (!engines.contains(target.engine)) {
    const std::vector<std::string> names(engines.begin(), engines.end());
    const std::string wanted = target.engine.empty()
                                   ? "--engine says whose tables to read"
                                   : "no tables of engine '" + target.engine + "'";
    return Error{wanted + "; there are " + CommaList(names) + DidYouMean(target.engine, names),
                 folder.string()};
  }
  if (!errors.empty()) return errors;
  return into;
}

}  // namespace moecast::calibration
