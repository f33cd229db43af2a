// Every CSV request format, and lengths from a CSV. The first byte picks the format, the rest is
// the file: 'a' Azure, 'b' BurstGPT, 'v' vidur, 'l' lengths, 'c' ours in a closed loop, any other
// ours.
#include "tests/fuzz/request_input.h"
#include "traces/lengths.h"

namespace {

using moecast::RequestTraceFormat;

RequestTraceFormat FormatOf(uint8_t selector) {
  if (selector == 'a') return RequestTraceFormat::kAzureCsv;
  if (selector == 'b') return RequestTraceFormat::kBurstGptCsv;
  return selector == 'v' ? RequestTraceFormat::kVidurCsv : RequestTraceFormat::kMoecastCsv;
}

void DrawLengths(const std::string& path) {
  const moecast::EmpiricalLength file{path};
  const auto sampler = moecast::LengthSampler::Make(
      {.arrivals = moecast::PoissonArrivals{1}, .input = file, .output = file}, moecast::Seed{});
  if (!sampler.ok()) return;
  SIM_CHECK(sampler->Sample(0).input_tokens >= 1 && sampler->Sample(0).output_tokens >= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const moecast::fuzz::MemoryFile file(data + 1, size - 1);
  if (data[0] == 'l') {
    DrawLengths(file.path());
    return 0;
  }
  moecast::TraceWorkload workload;
  workload.format = FormatOf(data[0]);
  workload.path = file.path();
  if (data[0] == 'c') workload.closed_concurrency = 1;
  moecast::fuzz::ReadToTheEnd(workload);
  return 0;
}
