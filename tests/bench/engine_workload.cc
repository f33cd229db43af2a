// A fixed run whose instructions are counted: the dense shape of engine_bench, made small.
// Dense, because valgrind does not know every instruction set that replay may choose.
#include <cstdio>
#include <utility>

#include "sim/engine/simulator.h"
#include "tests/bench/bench_models.h"

// NOLINTNEXTLINE(bugprone-exception-escape): a fixed input; an exception may end the program.
int main() {
  using namespace moecast;
  const ModelSpec model = bench::DenseModel();
  SimulatorInputs inputs = bench::DenseInputs(model);
  inputs.stop.requests = 4096;
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  std::printf("events %llu\n", static_cast<unsigned long long>(result.events));
  return 0;
}
