// moecast_kv_accuracy: writes kernels/data/kv_accuracy.csv, the error of every scheme of the cache
// on three kinds of drawn heads, by the float64 reference. Needs no GPU.
//   moecast_kv_accuracy --out kernels/data/kv_accuracy.csv
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "kernels/harness/kv_accuracy_table.h"
#include "sim/base/files.h"

// 0 done, 1 failed, 2 called wrongly.
int main(int argc, char** argv) {
  using namespace moecast;
  std::string data = "kernels/data/kv_schemes.csv";
  std::string out;
  CLI::App app("Errors of attention over quantised caches, by the float64 reference");
  app.add_option("--schemes", data, "the schemes");
  app.add_option("--out", out, "the table to write")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto schemes = kernels::ReadKvSchemes(data);
  if (!schemes.ok()) {
    std::fprintf(stderr, "%s\n", ToString(schemes.errors()).c_str());
    return 1;
  }
  const Status written = WriteFileAtomically(out, ToCsv(kernels::AccuracyTable(*schemes)));
  if (!written.ok()) std::fprintf(stderr, "%s\n", ToString(written.errors()).c_str());
  return written.ok() ? 0 : 1;
}
