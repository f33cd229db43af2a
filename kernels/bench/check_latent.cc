#include "kernels/bench/check_latent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "kernels/bench/check_support.h"
#include "kernels/bench/kv_rotation.h"
#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/kv/latent.h"
#include "kernels/ops/kv/reference.h"
#include "kernels/ops/kv/rotate.h"
#include "kernels/ops/kv/small_float.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Eigen::Index;
using Eigen::MatrixXd;
using Report = std::function<void(const std::string& line)>;

constexpr int kRow = kLatentChannels + kRotaryChannels + 8;  // as a product of wider rows gives it
constexpr int kPagesPerSequence = 4;

template <class T>
T ReadAt(const std::vector<uint8_t>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// Bits of channel `channel` of the row at `start`.
uint32_t CodeAt(const std::vector<uint8_t>& pages, size_t start, KvElement element, int channel) {
  const auto bit = static_cast<size_t>(LatentBit(element, channel));
  const auto word = ReadAt<uint32_t>(pages, start + bit / 32 * 4);
  return word >> bit % 32 & ((1U << BitsOf(element)) - 1);
}

// Number of a token's group of channels in its page.
size_t GroupAt(int group, int token) {
  return static_cast<size_t>(group) * kPageTokens + static_cast<size_t>(token);
}

// One token's bytes against its row.
void RequireLatent(KvElement element, const std::vector<uint8_t>& pages, size_t page, int token,
                   const MatrixXd& row) {
  const LatentLayout layout = LatentLayoutOf(element);
  const size_t start = page + static_cast<size_t>(token * layout.row_bytes);
  for (int c = 0; c < kRotaryChannels; ++c) {
    const size_t at = page + static_cast<size_t>(layout.rotary + (token * kRotaryChannels + c) * 2);
    if (ValueOfBf16(ReadAt<uint16_t>(pages, at)) != row(0, kLatentChannels + c))
      Require(false, "latent " + std::string(Name(element)) + ": rotary part differs");
  }
  for (int c = 0; c < kLatentChannels; ++c) {
    const uint32_t code = CodeAt(pages, start, element, c);
    const size_t group = GroupAt(c / kLatentGroup, token);
    const auto scales = page + static_cast<size_t>(layout.scales);
    const auto zeros = page + static_cast<size_t>(layout.zeros);
    double error = 0;
    if (element == KvElement::kBf16) {
      error = std::abs(ValueOfBf16(static_cast<uint16_t>(code)) - row(0, c));
    } else if (element == KvElement::kE4m3) {
      const auto scale = static_cast<double>(ReadAt<float>(pages, scales + 4 * group));
      const double best = ValueOfE4m3(E4m3Of(row(0, c) / scale));
      const double got = ValueOfE4m3(static_cast<uint8_t>(code));
      error = std::abs(got - row(0, c) / scale) - std::abs(best - row(0, c) / scale) * (1 + 1e-4) -
              1e-7;
    } else {
      const size_t at = 2 * group;
      const double scale = ValueOfHalf(ReadAt<uint16_t>(pages, scales + at));
      const double zero = ValueOfHalf(ReadAt<uint16_t>(pages, zeros + at));
      const double exact = std::clamp(reference::ExactCode(row(0, c), scale, zero), 0.0, 15.0);
      error = std::abs(code - exact) - 0.501;
    }
    if (error <= 0) continue;
    Require(false, "latent " + std::string(Name(element)) + ": token " + std::to_string(token) +
                       " channel " + std::to_string(c) + " differs");
  }
}

// Scales against the reference, which the codes alone do not bind.
void RequireScales(KvElement element, const std::vector<uint8_t>& pages, size_t page, int token,
                   const MatrixXd& latent) {
  if (element == KvElement::kBf16) return;
  const LatentLayout layout = LatentLayoutOf(element);
  const reference::QuantisedPart want =
      reference::Quantise({.element = element, .group = kLatentGroup}, latent);
  for (int g = 0; g < kLatentChannels / kLatentGroup; ++g) {
    const size_t group = GroupAt(g, token);
    const size_t at = page + static_cast<size_t>(layout.scales);
    const double scale = element == KvElement::kE4m3
                             ? static_cast<double>(ReadAt<float>(pages, at + 4 * group))
                             : ValueOfHalf(ReadAt<uint16_t>(pages, at + 2 * group));
    Require(std::abs(scale - want.scales(0, g)) <= 0x1p-10 * want.scales(0, g),
            "latent " + std::string(Name(element)) + ": scale differs");
  }
}

// Tokens of a page that are still to come, `first` and on, are as they were: 0xff.
void RequireUntouched(KvElement element, const std::vector<uint8_t>& pages, size_t page,
                      int first) {
  const LatentLayout layout = LatentLayoutOf(element);
  const auto require = [&](int token, int offset, int count) {
    const auto start = pages.begin() + static_cast<std::ptrdiff_t>(page) + offset;
    Require(std::all_of(start, start + count, [](uint8_t byte) { return byte == 0xff; }),
            "latent " + std::string(Name(element)) + ": wrote token " + std::to_string(token) +
                " behind the end");
  };
  const int groups = element == KvElement::kBf16 ? 0 : kLatentChannels / kLatentGroup;
  const int size = element == KvElement::kE4m3 ? 4 : 2;
  for (int token = first; token < kPageTokens; ++token) {
    require(token, token * layout.row_bytes, layout.row_bytes);
    require(token, layout.rotary + token * kRotaryChannels * 2, kRotaryChannels * 2);
    for (int g = 0; g < groups; ++g) {
      require(token, layout.scales + (g * kPageTokens + token) * size, size);
      if (IsInteger(element)) require(token, layout.zeros + (g * kPageTokens + token) * size, size);
    }
  }
}

constexpr std::array<int32_t, 3> kPacked = {70, 0, 5};  // tokens of each sequence, then one more

// Pages of 0xff, the last of them first.
struct LatentPages {
  DeviceBuffer<uint8_t> bytes;
  std::vector<int32_t> table;
  LatentLayout layout;

  explicit LatentPages(KvElement element)
      : bytes(kPacked.size() * kPagesPerSequence *
              static_cast<size_t>(LatentLayoutOf(element).page_bytes)),
        layout(LatentLayoutOf(element)) {
    bytes.Poison();
    for (int i = static_cast<int>(kPacked.size()) * kPagesPerSequence; i > 0; --i)
      table.push_back(i - 1);
  }
  // Byte of the page of a token.
  [[nodiscard]] size_t Page(int sequence, int token) const {
    const size_t entry = static_cast<size_t>(sequence) * kPagesPerSequence +
                         static_cast<size_t>(token / kPageTokens);
    return static_cast<size_t>(table[entry]) * static_cast<size_t>(layout.page_bytes);
  }
};

void CheckLatent(KvElement element, RngStream& rng, const Stream& stream, const Report& report) {
  const LatentPages pages(element);
  const DeviceBuffer<int32_t> device_table{std::span<const int32_t>(pages.table)};
  const auto append = [&](const Operand& rows, std::vector<int32_t> starts,
                          std::vector<int32_t> lengths) {
    const DeviceBuffer<Bf16> x{std::span<const Bf16>(rows.row_major)};
    const DeviceBuffer<int32_t> device_starts{std::span<const int32_t>(starts)};
    const DeviceBuffer<int32_t> device_lengths{std::span<const int32_t>(lengths)};
    CUDA_CHECK(cudaDeviceSynchronize());
    AppendLatents({.element = element,
                   .pages = pages.bytes.data(),
                   .block_table = device_table.data(),
                   .pages_per_sequence = kPagesPerSequence,
                   .sequences = 3,
                   .most_new_tokens = starts.empty() ? 1 : 70,
                   .row_starts = starts.empty() ? nullptr : device_starts.data(),
                   .lengths = device_lengths.data(),
                   .latents = x.data(),
                   .rotary = x.data() + kLatentChannels,
                   .latent_stride = kRow,
                   .rotary_stride = kRow},
                  stream.get());
    stream.Synchronize();
  };
  const Operand packed = Draw(rng, 75, kRow, 2);
  const Operand appended = Draw(rng, 3, kRow, 2);
  append(packed, {0, 70, 70, 75}, {kPacked.begin(), kPacked.end()});
  append(appended, {}, {71, 0, 6});
  const std::vector<uint8_t> host = pages.bytes.ToHost();
  const auto require = [&](int sequence, int token, const MatrixXd& row) {
    const size_t page = pages.Page(sequence, token);
    RequireLatent(element, host, page, token % kPageTokens, row);
    RequireScales(element, host, page, token % kPageTokens, row.leftCols(kLatentChannels));
  };
  for (int t = 0; t < 70; ++t) require(0, t, packed.exact.row(t));
  for (int t = 0; t < 5; ++t) require(2, t, packed.exact.row(70 + t));
  require(0, 70, appended.exact.row(0));
  require(2, 5, appended.exact.row(2));
  RequireUntouched(element, host, pages.Page(0, 71), 71 % kPageTokens);
  RequireUntouched(element, host, pages.Page(2, 6), 6);
  report("latent " + std::string(Name(element)) + ": codes exact");
}

}  // namespace

void CheckLatents(RngStream& rng, const Stream& stream, const Report& report) {
  for (const KvElement element : {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt4})
    CheckLatent(element, rng, stream, report);
}

void CheckRotation(RngStream& rng, const Stream& stream, const Report& report) {
  constexpr double kTolerance = 3e-3;  // bf16 outputs of fp32 sums
  constexpr int kRows = 37;
  constexpr int kHeads = 5;
  for (const int head_dim : {64, 128}) {
    const int64_t stride = kHeads * head_dim + 16;
    const Operand x = Draw(rng, kRows, stride, 2);
    const DeviceBuffer<Bf16> device_x{std::span<const Bf16>(x.row_major)};
    const Operand given = Draw(rng, head_dim, head_dim, 1);  // row c is column c of R
    for (const bool hadamard : {true, false}) {
      const DeviceBuffer<Bf16> columns =
          hadamard ? HadamardColumns(head_dim)
                   : DeviceBuffer<Bf16>(std::span<const Bf16>(given.row_major));
      const float factor = hadamard ? HadamardFactor(head_dim) : 0.25F;
      const DeviceBuffer<Bf16> rotated{std::span<const Bf16>(x.row_major)};
      CUDA_CHECK(cudaDeviceSynchronize());
      RotateHeads({.rows = kRows,
                   .heads = kHeads,
                   .head_dim = head_dim,
                   .stride = stride,
                   .heads_data = rotated.data(),
                   .columns = columns.data(),
                   .factor = factor},
                  stream.get());
      stream.Synchronize();
      const MatrixXd r =
          hadamard ? reference::Hadamard(head_dim) : MatrixXd(0.25 * given.exact.transpose());
      MatrixXd want = x.exact;
      for (Index c = 0; c < Index{kHeads} * head_dim; c += head_dim)
        want.middleCols(c, head_dim) = x.exact.middleCols(c, head_dim) * r;
      const double error =
          RequireClose(ToMatrix(rotated, kRows, stride), want, kTolerance, "rotate");
      report("rotate heads of " + std::to_string(head_dim) + (hadamard ? " hadamard" : " given") +
             ": error " + std::to_string(error));
    }
  }
}

}  // namespace moecast::kernels
