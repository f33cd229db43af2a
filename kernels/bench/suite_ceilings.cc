// Suites that measure the card rather than our kernels: launch overhead and memory bandwidth.
#include <cstdint>

#include "kernels/bench/ceiling.h"
#include "kernels/bench/fill.h"
#include "kernels/bench/suites.h"
#include "kernels/harness/device_buffer.h"

namespace moecast::kernels {
namespace {

void NothingToFinish(Measurement&) {}

Measurement PlainRow(const std::string& op, const std::string& regime) {
  Measurement row;
  row.op = op;
  row.model = "-";
  row.regime = regime;
  row.rule = "-";
  return row;
}

}  // namespace

// One launch is a chain of dependent empty kernels; its time over its length is the gap of a node.
std::vector<Measurement> RunLaunchSuite(const SuiteContext& context) {
  std::vector<Measurement> rows;
  const auto stream = context.bench.stream.get();
  for (const int blocks :
       {1, context.environment.multiprocessors, 8 * context.environment.multiprocessors}) {
    for (const int length : {1, 2, 4, 8, 16, 32}) {
      const std::string regime =
          "chain " + std::to_string(length) + " blocks " + std::to_string(blocks);
      AppendMeasured(
          context,
          [&](int) {
            for (int i = 0; i < length; ++i) EmptyPlain(blocks, stream);
          },
          NothingToFinish, PlainRow("empty", regime), rows);
      AppendMeasured(
          context,
          [&](int) {
            for (int i = 0; i < length; ++i) EmptyDependent(blocks, stream);
          },
          NothingToFinish, PlainRow("empty_pdl", regime), rows);
    }
  }
  return rows;
}

// Sizes step through a pool of many L2s, so every launch finds its bytes in HBM.
std::vector<Measurement> RunStreamSuite(const SuiteContext& context) {
  std::vector<Measurement> rows;
  const auto stream = context.bench.stream.get();
  constexpr size_t kPool = size_t{8} << 30;
  DeviceBuffer<__nv_bfloat16> pool(kPool / sizeof(__nv_bfloat16));
  DeviceBuffer<unsigned> sink(1);
  FillUniform(pool.data(), pool.size(), 1.0F, 6, stream);
  context.bench.stream.Synchronize();
  auto* const bytes = reinterpret_cast<unsigned char*>(pool.data());
  const auto at = [&](int index, size_t size) {
    return bytes + static_cast<size_t>(index) * size % kPool;
  };
  for (size_t size = size_t{4} << 20; size <= size_t{2} << 30; size *= 2) {
    const std::string regime = std::to_string(size >> 20) + " MiB";
    Measurement row = PlainRow("read", regime);
    row.bytes = static_cast<double>(size);
    AppendMeasured(
        context, [&](int r) { ReadOnce(at(r, size), size, sink.data(), stream); }, NothingToFinish,
        row, rows);
    row.bytes = 2 * static_cast<double>(size);
    row.op = "copy";
    AppendMeasured(
        context, [&](int r) { CopyOnce(at(2 * r, size), at(2 * r + 1, size), size, stream); },
        NothingToFinish, row, rows);
    row.op = "copy_library";
    AppendMeasured(
        context,
        [&](int r) {
          CUDA_CHECK(cudaMemcpyAsync(at(2 * r + 1, size), at(2 * r, size), size,
                                     cudaMemcpyDeviceToDevice, stream));
        },
        NothingToFinish, row, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
