// Readers of aiconfigurator's operator tables, one per kind of table [AIC]. Times are milliseconds
// per operation and layer, DeepEP's microseconds. docs/formats/calibration_sources.md has every
// column, its unit and what it means.
#pragma once

#include <string>
#include <string_view>

#include "calibration/import/imported.h"
#include "calibration/import/table.h"

namespace moecast::calibration {

/// Reads every row of `table` into `into`, whose last file it is; problems go to `errors`.
using AicReader = void (*)(const Table& table, const ImportTarget& target, Imported& into,
                           Errors& errors);

void ReadAicMoe(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicGemm(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicQuantize(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicContextAttention(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicGenerationAttention(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicContextMla(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicGenerationMla(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicMlaBmm(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicNccl(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicCustomAllReduce(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicDeepEpLowLatency(const Table&, const ImportTarget&, Imported&, Errors&);
void ReadAicDeepEpNormal(const Table&, const ImportTarget&, Imported&, Errors&);

/// The reader of a table by its file name without endings ("moe_perf"), or null.
AicReader AicReaderOf(std::string_view stem);

/// What a format of the tables is here. `name` is empty for one that is not known.
struct AicFormat {
  std::string_view name;  // catalog: "fp8-block"
  double bytes_per_element = 0;
  ComputeClass compute = ComputeClass::kBf16;
};
AicFormat AicFormatOf(std::string_view text);

/// A row of `table` with what every kind of row has.
KernelRow AicRow(const TableFields& fields, const ImportTarget& target, std::string op);

inline constexpr double kNsPerMs = 1e6;
inline constexpr double kNsPerUs = 1e3;

}  // namespace moecast::calibration
