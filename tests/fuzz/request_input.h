// Feeds bytes to a request reader as a file, and holds what it yields to the readers' contract.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/request.h"
#include "traces/request_source.h"

namespace moecast::fuzz {

/// A file in memory, gone with this object.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("fuzz", 0)) {
    SIM_CHECK(descriptor_ >= 0);
    SIM_CHECK(write(descriptor_, data, size) == static_cast<ssize_t>(size));
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Reads `spec` to its end: requests are in order and in range, and an error says where it is.
inline void ReadToTheEnd(const WorkloadSpec& spec) {
  auto source = RequestSource::Open(spec, Seed{});
  if (!source.ok()) {
    for (const Error& error : source.errors()) SIM_CHECK(!error.where.empty());
    return;
  }
  Request request;
  uint64_t count = 0;
  Time before{};
  while (source->Next(request)) {
    SIM_CHECK(request.id == RequestId(count++));
    SIM_CHECK(request.arrival >= before && request.arrival <= kMaxArrival);
    SIM_CHECK(request.input_tokens >= 1 && request.input_tokens <= kMaxRequestTokens);
    SIM_CHECK(request.output_tokens >= 1 && request.output_tokens <= kMaxRequestTokens);
    SIM_CHECK(request.prefix_blocks.empty() == (request.prefix_block_tokens == 0));
    before = request.arrival;
  }
  SIM_CHECK(count > 0);
  const auto status = source->status();
  SIM_CHECK(status.ok() || status.errors().size() == 1);
}

}  // namespace moecast::fuzz
