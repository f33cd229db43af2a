// Imported: the rows of other people's tables, and for every file what became of each of its rows.
// Nothing is dropped in silence: rows read = rows kept + rows left out, each with its reason.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "calibration/kernel_row.h"
#include "calibration/measurement_table.h"
#include "sim/base/result.h"
#include "sim/model/hardware.h"

namespace moecast::calibration {

struct FileImport {
  std::string file;
  int64_t rows = 0;  // read
  int64_t kept = 0;
  std::map<std::string, int64_t> left_out{};   // by reason
  std::vector<std::string> ignored_columns{};  // say nothing that a fit uses
};

struct Imported {
  std::vector<KernelRow> rows;
  std::vector<FileImport> files;
  std::vector<RefusedRow> refused;  // faster than the datasheet; counted among the left out
};

/// Whose rows a folder holds: goes into every row, and from there into the profile's name.
struct ImportTarget {
  std::string gpu;     // card: "h200_sxm"
  std::string engine;  // "vllm-0.24.0"; "" when the table names none
  DeviceSpec device;   // datasheet rates that no row may beat
  int64_t expert_tile_rows = 0;
};

/// Format of every collective: it moves bytes, whatever they stand for.
inline constexpr const char* kCollectiveFormat = "bytes";

/// Adds a row to the table's last file, unless its compulsory traffic or arithmetic would need more
/// than the datasheet's rate; such a row is counted as refused. `compute` is the fastest unit that
/// could have run it.
void AddRow(Imported& into, KernelRow row, ComputeClass compute, const DeviceSpec& device);
/// Counts a row of the last file as left out.
void LeaveOut(Imported& into, const std::string& reason);

/// One line per file and reason, and the totals; in the order of the files.
std::string Describe(const Imported& imported);

}  // namespace moecast::calibration
