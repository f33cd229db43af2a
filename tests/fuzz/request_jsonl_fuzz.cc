// The Mooncake JSONL reader; the input is the file.
#include "tests/fuzz/request_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moecast::fuzz::MemoryFile file(data, size);
  moecast::TraceWorkload workload;
  workload.format = moecast::RequestTraceFormat::kMooncakeJsonl;
  workload.path = file.path();
  moecast::fuzz::ReadToTheEnd(workload);
  return 0;
}
