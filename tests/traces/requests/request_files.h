// Trace files that a test writes, and reading a source to its end.
#pragma once

#include <gtest/gtest.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temporary_folder.h"
#include "traces/request_source.h"

namespace moecast::test {

/// Writes `text` under `name`, as it is or as one Zstandard frame.
inline std::filesystem::path WriteText(const TemporaryFolder& folder, std::string_view name,
                                       std::string_view text) {
  const auto path = folder / name;
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  EXPECT_TRUE(file.flush().good());
  return path;
}

inline std::string ZstdFrame(std::string_view text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
  return packed;
}

inline TraceWorkload Trace(RequestTraceFormat format, const std::filesystem::path& path) {
  TraceWorkload workload;
  workload.format = format;
  workload.path = path;
  return workload;
}

/// Every request of `spec` (a trace), and why the reading ended.
struct Reading {
  std::vector<Request> requests;
  RequestSourceNotes notes;
  std::string error;  // ToString of the errors, of Open or of status()
};

inline Reading ReadAll(const WorkloadSpec& spec) {
  Reading reading;
  auto source = RequestSource::Open(spec, Seed{});
  if (!source.ok()) {
    reading.error = ToString(source.errors());
    return reading;
  }
  Request request;
  while (source->Next(request)) reading.requests.push_back(request);
  EXPECT_FALSE(source->Next(request)) << "an ended source must stay ended";
  reading.notes = source->notes();
  if (const auto status = source->status(); !status.ok()) {
    reading.error = ToString(status.errors());
  }
  return reading;
}

inline int64_t ArrivalNs(const Request& request) {
  return request.arrival.time_since_epoch().count();
}

}  // namespace moecast::test
