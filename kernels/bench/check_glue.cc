#include "kernels/bench/check_glue.h"

#include <cmath>
#include <vector>

#include "kernels/bench/check_support.h"
#include "kernels/execute/glue.h"
#include "kernels/execute/latent_glue.h"
#include "kernels/ops/kv/latent_layout.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Eigen::MatrixXd;
using Report = std::function<void(const std::string& line)>;

constexpr double kTolerance = 3e-3;  // bf16 outputs of fp32 arithmetic
constexpr HeadWidths kHeads{.heads = 3, .plain = 16, .rotary = 8};

DeviceBuffer<Bf16> ToDevice(const Operand& operand) {
  return DeviceBuffer<Bf16>(std::span<const Bf16>(operand.row_major));
}

DeviceBuffer<Bf16> Poisoned(Eigen::Index rows, Eigen::Index columns) {
  DeviceBuffer<Bf16> buffer(static_cast<size_t>(rows * columns));
  buffer.Poison();
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  return buffer;
}

void CheckGate(RngStream& rng, const Stream& stream, const Report& report) {
  constexpr int32_t kTokens = 5;
  constexpr int64_t kWidth = 24;
  const Operand gate_up = Draw(rng, kTokens, 2 * kWidth, 4);
  const DeviceBuffer<Bf16> in = ToDevice(gate_up);
  const DeviceBuffer<Bf16> act = Poisoned(kTokens, kWidth);
  SwiGlu(kTokens, kWidth, in.data(), act.data(), stream.get());
  const Eigen::ArrayXXd gate = gate_up.exact.leftCols(kWidth).array();
  const MatrixXd expected = gate / (1 + (-gate).exp()) * gate_up.exact.rightCols(kWidth).array();
  const double error = RequireClose(ToMatrix(act, kTokens, kWidth), expected, kTolerance, "SwiGLU");
  report("SwiGLU: error " + std::to_string(error));
}

void CheckKeys(RngStream& rng, const Stream& stream, const Report& report) {
  constexpr int32_t kRows = 7;
  constexpr int64_t kKey = kHeads.plain + kHeads.rotary;
  const Operand plain =
      Draw(rng, kRows, int64_t{2 * kHeads.heads} * kHeads.plain, 1);  // values behind
  const Operand latents = Draw(rng, kRows, kLatentChannels + kHeads.rotary, 1);
  const DeviceBuffer<Bf16> from = ToDevice(plain);
  const DeviceBuffer<Bf16> context = ToDevice(latents);
  const DeviceBuffer<Bf16> keys = Poisoned(kRows, kHeads.heads * kKey);
  AssembleKeys(kRows, kHeads, from.data(), plain.exact.cols(),
               {context.data(), latents.exact.cols()}, keys.data(), stream.get());
  MatrixXd expected(kRows, kHeads.heads * kKey);
  for (int64_t head = 0; head < kHeads.heads; ++head) {
    expected.middleCols(head * kKey, kHeads.plain) =
        plain.exact.middleCols(head * kHeads.plain, kHeads.plain);
    expected.middleCols(head * kKey + kHeads.plain, kHeads.rotary) =
        latents.exact.rightCols(kHeads.rotary);
  }
  Require(ToMatrix(keys, kRows, expected.cols()) == expected, "keys: parts differ");
  report("keys with rotary parts: equal");
}

void CheckRotary(RngStream& rng, const Stream& stream, const Report& report) {
  constexpr int32_t kRows = 4;
  constexpr int32_t kLatent = 32;
  constexpr int64_t kKey = kHeads.plain + kHeads.rotary;
  constexpr int64_t kOut = kLatent + kHeads.rotary;
  const Operand query = Draw(rng, kRows, kHeads.heads * kKey, 1);
  const Operand before = Draw(rng, kRows, kHeads.heads * kOut, 1);
  const DeviceBuffer<Bf16> from = ToDevice(query);
  const DeviceBuffer<Bf16> absorbed = ToDevice(before);
  CUDA_CHECK(cudaDeviceSynchronize());
  PlaceRotary(kRows, kHeads, kLatent, from.data(), absorbed.data(), stream.get());
  MatrixXd expected = before.exact;
  for (int64_t head = 0; head < kHeads.heads; ++head) {
    expected.middleCols(head * kOut + kLatent, kHeads.rotary) =
        query.exact.middleCols(head * kKey + kHeads.plain, kHeads.rotary);
  }
  Require(ToMatrix(absorbed, kRows, expected.cols()) == expected, "rotary parts differ");
  report("rotary parts behind absorbed queries: equal");
}

/// Two chunks of a bf16 cache, one over a past that ends inside its second page.
void CheckPast(RngStream& rng, const Stream& stream, const Report& report) {
  constexpr int64_t kWidth = kLatentChannels + kRotaryChannels;
  constexpr int32_t kPast = kPageTokens + 6;
  constexpr int64_t kChunk = 3;  // of each sequence
  constexpr LatentLayout kLayout = LatentLayoutOf(KvElement::kBf16);
  const Operand cached = Draw(rng, kPast, kWidth, 1);
  std::vector<uint8_t> pool(size_t{2} * kLayout.page_bytes);
  for (int64_t t = 0; t < kPast; ++t) {
    uint8_t* const page = pool.data() + t / kPageTokens * kLayout.page_bytes;
    const Bf16* const row = cached.row_major.data() + t * kWidth;
    const int64_t at = t % kPageTokens;
    std::copy_n(row, kLatentChannels, reinterpret_cast<Bf16*>(page + at * kLayout.row_bytes));
    std::copy_n(row + kLatentChannels, kRotaryChannels,
                reinterpret_cast<Bf16*>(page + kLayout.rotary) + at * kRotaryChannels);
  }
  const Operand chunks = Draw(rng, 2 * kChunk, kWidth, 1);
  const DeviceBuffer<uint8_t> pages{std::span<const uint8_t>(pool)};
  const DeviceBuffer<Bf16> rows = ToDevice(chunks);
  const std::vector<int32_t> words{0,
                                   kPast + kChunk,
                                   kPast + 2 * kChunk,  // rows of sequences
                                   kPast,
                                   0,  // pasts
                                   0,
                                   kChunk,
                                   2 * kChunk,  // chunks' rows
                                   0,
                                   1,
                                   0,
                                   0};  // block table
  const DeviceBuffer<int32_t> device{std::span<const int32_t>(words)};
  const DeviceBuffer<Bf16> to = Poisoned(words[2], kWidth);
  GatherContext({.sequences = 2,
                 .rows = words[2],
                 .key_starts = device.data(),
                 .past = device.data() + 3,
                 .chunk_starts = device.data() + 5},
                {.pages = pages.data(), .block_table = device.data() + 8, .pages_per_sequence = 2},
                {rows.data(), kWidth}, to.data(), stream.get());
  MatrixXd expected(words[2], kWidth);
  expected << cached.exact, chunks.exact;
  Require(ToMatrix(to, words[2], kWidth) == expected, "past and chunks: rows differ");
  report("past and chunks as rows: equal");
}

}  // namespace

void CheckGlue(uint64_t seed, const Stream& stream, const Report& report) {
  RngStream rng({.seed = seed}, "kernels/check_glue");
  CheckGate(rng, stream, report);
  CheckKeys(rng, stream, report);
  CheckRotary(rng, stream, report);
  CheckPast(rng, stream, report);
}

}  // namespace moecast::kernels
