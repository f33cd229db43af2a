#include "kernels/bench/check_append.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/bench/append_schemes.h"
#include "kernels/bench/cache_writers.h"
#include "kernels/bench/check_latent.h"
#include "kernels/bench/check_support.h"
#include "kernels/bench/kv_pool.h"
#include "kernels/bench/kv_tails.h"
#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/kv/host_page.h"
#include "kernels/ops/kv/small_float.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;
using Eigen::Index;
using Eigen::MatrixXd;
using Report = std::function<void(const std::string& line)>;

constexpr double kCodeMargin = 1e-3;  // of rounding to the nearest code
// Elements between rows, so that strides are seen: the least, and another.
constexpr int kKeyPad = 8;
constexpr int kValuePad = 24;
// Tokens at the end; the last kAppended are appended one by one, the others in two chunks.
constexpr int kLengths[] = {0, 4, 63, 66, 130, 195, 259, 300, 449};
constexpr int kSequences = static_cast<int>(std::size(kLengths));
constexpr int kAppended = 4;

struct Case {
  KvShape shape;
  KvScheme scheme;
  CacheWriters writers{};
};

std::string Describe(const Case& c) {
  const auto part = [](const KvPart& p) {
    return std::string(Name(p.element)) + (p.axis == ScaleAxis::kChannel ? "/channel" : "/token") +
           std::to_string(p.group) + (p.shares_codes ? " shared" : "");
  };
  const KvWindow& w = c.scheme.window;
  return std::to_string(c.shape.kv_heads) + "x" + std::to_string(c.shape.head_dim) + " keys " +
         part(c.scheme.keys) + " values " + part(c.scheme.values) + " window " +
         std::to_string(w.sink) + "+" + std::to_string(w.recent) + "+" + std::to_string(w.flush) +
         c.writers.suffix;
}

// Rows of all tokens of all sequences, one sequence after the other.
struct Inputs {
  Operand keys;
  Operand values;
  std::vector<Index> first;  // row of each sequence's token 0
  int64_t key_stride = 0;
  int64_t value_stride = 0;
};

// Rows [from, to) of x behind those of `rows`.
void AddRows(const Operand& x, int64_t stride, Index from, Index to, std::vector<Bf16>& rows) {
  const auto begin = x.row_major.begin() + static_cast<std::ptrdiff_t>(from * stride);
  const auto end = x.row_major.begin() + static_cast<std::ptrdiff_t>(to * stride);
  rows.insert(rows.end(), begin, end);
}

Inputs DrawInputs(const KvShape& shape, RngStream& rng) {
  Inputs in;
  Index rows = 0;
  for (const int length : kLengths) {
    in.first.push_back(rows);
    rows += length;
  }
  in.key_stride = shape.kv_heads * shape.head_dim + kKeyPad;
  in.value_stride = shape.kv_heads * shape.head_dim + kValuePad;
  in.keys = Draw(rng, rows, in.key_stride, 3);
  in.values = Draw(rng, rows, in.value_stride, 1);
  in.keys.exact.col(5).array() += 40;  // a channel with an offset
  for (Index row = 0; row < rows; ++row) {
    Bf16& key = in.keys.row_major[static_cast<size_t>(row * in.key_stride + 5)];
    key = __float2bfloat16(static_cast<float>(in.keys.exact(row, 5)));
    in.keys.exact(row, 5) = static_cast<double>(__bfloat162float(key));
  }
  return in;
}

// Rows of the tokens `from` to `to` of every sequence, as a launch takes them.
struct Rows {
  DeviceBuffer<Bf16> keys;
  DeviceBuffer<Bf16> values;
  DeviceBuffer<int32_t> starts;
  std::vector<int32_t> lengths;
  int most = 0;
};

template <class From, class To>
Rows RowsOf(const Inputs& in, From from, To to) {
  std::vector<Bf16> keys;
  std::vector<Bf16> values;
  std::vector<int32_t> starts{0};
  std::vector<int32_t> lengths;
  int most = 1;
  for (size_t s = 0; s < std::size(kLengths); ++s) {
    const int first = from(kLengths[s]);
    const int end = std::max(first, to(kLengths[s]));
    AddRows(in.keys, in.key_stride, in.first[s] + first, in.first[s] + end, keys);
    AddRows(in.values, in.value_stride, in.first[s] + first, in.first[s] + end, values);
    starts.push_back(starts.back() + end - first);
    lengths.push_back(end);
    most = std::max(most, end - first);
  }
  return {.keys = DeviceBuffer<Bf16>(std::span<const Bf16>(keys)),
          .values = DeviceBuffer<Bf16>(std::span<const Bf16>(values)),
          .starts = DeviceBuffer<int32_t>(std::span<const int32_t>(starts)),
          .lengths = std::move(lengths),
          .most = most};
}

// Launches what leaves `lengths` tokens in the cache, and compares what is behind them.
template <class LaunchWriter>
void LaunchOnCache(const Case& c, const KvPool& pool, const std::vector<int32_t>& lengths,
                   const Stream& stream, LaunchWriter launch) {
  const KvTails before(pool, c.shape, c.scheme, lengths);
  launch();
  stream.Synchronize();
  KvTails(pool, c.shape, c.scheme, lengths).RequireZeroOr(before, Describe(c));
}

void Pack(const Case& c, const KvPool& pool, const Inputs& in, const Rows& rows,
          const Stream& stream) {
  const DeviceBuffer<int32_t> lengths{std::span<const int32_t>(rows.lengths)};
  LaunchOnCache(c, pool, rows.lengths, stream, [&] {
    c.writers.pack({.shape = c.shape,
                    .scheme = c.scheme,
                    .cache = pool.view(),
                    .sequences = kSequences,
                    .most_new_tokens = rows.most,
                    .row_starts = rows.starts.data(),
                    .lengths = lengths.data(),
                    .keys = rows.keys.data(),
                    .values = rows.values.data(),
                    .key_stride = in.key_stride,
                    .value_stride = in.value_stride},
                   stream.get());
  });
}

// Token `back` before the last of every sequence; a sequence without it is a padding row.
void Append(const Case& c, const KvPool& pool, const Inputs& in, int back, const Stream& stream) {
  std::vector<Bf16> keys;
  std::vector<Bf16> values;
  std::vector<int32_t> lengths;
  for (size_t s = 0; s < std::size(kLengths); ++s) {
    const Index row = in.first[s] + std::max(kLengths[s] - 1 - back, 0);
    AddRows(in.keys, in.key_stride, row, row + 1, keys);
    AddRows(in.values, in.value_stride, row, row + 1, values);
    lengths.push_back(std::max(kLengths[s] - back, 0));
  }
  const DeviceBuffer<Bf16> device_keys{std::span<const Bf16>(keys)};
  const DeviceBuffer<Bf16> device_values{std::span<const Bf16>(values)};
  const DeviceBuffer<int32_t> device_lengths{std::span<const int32_t>(lengths)};
  LaunchOnCache(c, pool, lengths, stream, [&] {
    c.writers.append({.shape = c.shape,
                      .scheme = c.scheme,
                      .cache = pool.view(),
                      .sequences = kSequences,
                      .lengths = device_lengths.data(),
                      .keys = device_keys.data(),
                      .values = device_values.data(),
                      .key_stride = in.key_stride,
                      .value_stride = in.value_stride},
                     stream.get());
  });
}

// A page's part against what the reference makes of all quantised tokens.
struct PartCheck {
  const Case& c;
  KvSide side;
  const KvPart& part;
  const MatrixXd& x;                     // [quantised tokens, head_dim]
  const reference::QuantisedPart& want;  // of x
  const reference::QuantisedPart& unpulled;
  std::string where;

  // Scales differ by a unit in the last place where the kernel's float32 rounds the other way.
  void RequireMetadata(const reference::QuantisedPart& got, Index row, Index first) const {
    for (Index r = 0; r < got.scales.rows(); ++r) {
      if (part.axis == ScaleAxis::kToken && first + r >= x.rows()) continue;
      for (Index column = 0; column < got.scales.cols(); ++column) {
        const double scale = want.scales(row + r, column);
        const double zero = want.zeros(row + r, column);
        if (std::abs(got.scales(r, column) - scale) <= 0x1p-10 * scale &&
            std::abs(got.zeros(r, column) - zero) <= 0x1p-10 * std::abs(zero))
          continue;
        Require(false, where + ": group " + std::to_string(row + r) + " " + std::to_string(column) +
                           " has scale " + std::to_string(got.scales(r, column)) + " zero " +
                           std::to_string(got.zeros(r, column)) + ", reference " +
                           std::to_string(scale) + " " + std::to_string(zero));
      }
    }
  }

  [[nodiscard]] bool CodeIsNearest(double value, int code, double scale, double zero) const {
    if (part.element == KvElement::kE4m3 || part.element == KvElement::kE5m2) {
      const bool e4m3 = part.element == KvElement::kE4m3;
      const auto of = [e4m3](int bits) {
        const auto byte = static_cast<uint8_t>(bits);
        return e4m3 ? ValueOfE4m3(byte) : ValueOfE5m2(byte);
      };
      const double scaled = value / scale;
      const int best = e4m3 ? E4m3Of(scaled) : E5m2Of(scaled);
      return std::abs(of(code) - scaled) <= std::abs(of(best) - scaled) * (1 + 1e-4) + 1e-7;
    }
    const double largest = (1 << BitsOf(part.element)) - 1;
    const double exact = std::clamp(reference::ExactCode(value, scale, zero), 0.0, largest);
    return std::abs(code - exact) <= 0.5 + kCodeMargin;
  }

  // Codes of tokens first .. of x that a page holds, under the scales that gave them: the page's
  // own, or where eta has moved those, the reference's.
  void RequireCodes(const reference::QuantisedPart& got, Index first) const {
    const bool own = part.eta == 0;
    for (Index t = 0; t < kPageTokens && first + t < x.rows(); ++t) {
      for (Index channel = 0; channel < x.cols(); ++channel) {
        const bool tokens = part.axis == ScaleAxis::kToken;
        const Index row = tokens ? t : t / part.group;
        const Index column = tokens ? channel / part.group : channel;
        const Index whole = tokens ? first + t : (first + t) / part.group;
        const double scale = own ? got.scales(row, column) : unpulled.scales(whole, column);
        const double zero = own ? got.zeros(row, column) : unpulled.zeros(whole, column);
        if (CodeIsNearest(x(first + t, channel), got.codes(t, channel), scale, zero)) continue;
        Require(false, where + ": token " + std::to_string(first + t) + " channel " +
                           std::to_string(channel) + " has code " +
                           std::to_string(got.codes(t, channel)) + " of " +
                           std::to_string(x(first + t, channel)) + " under scale " +
                           std::to_string(scale) + " zero " + std::to_string(zero));
      }
    }
  }
};

// All quantised pages of one side of one head of a sequence.
void RequireQuantised(const Case& c, const KvPool& pool, KvSide side, int sequence, int head,
                      const MatrixXd& all) {
  const bool keys = side == KvSide::kKeys;
  const KvPart& part = keys ? c.scheme.keys : c.scheme.values;
  const PartLayout& layout = keys ? pool.layout().keys : pool.layout().values;
  const Index sink = std::min<Index>(c.scheme.window.sink, all.rows());
  const MatrixXd x = all.middleRows(sink, QuantisedTokens(c.scheme.window, all.rows()));
  const std::string where = Describe(c) + ": sequence " + std::to_string(sequence) + " head " +
                            std::to_string(head) + (keys ? " keys" : " values");
  if (part.element == KvElement::kBf16) {
    for (Index first = 0; first < x.rows(); first += kPageTokens) {
      const MatrixXd got = ReadBf16Part(side, layout, c.shape.head_dim,
                                        pool.QuantisedPage(sequence, sink + first, head));
      const Index count = std::min<Index>(kPageTokens, x.rows() - first);
      Require(got.topRows(count) == x.middleRows(first, count), where + ": bf16 page differs");
    }
    return;
  }
  if (x.rows() == 0) return;
  KvPart plain = part;
  plain.eta = 0;
  const reference::QuantisedPart want = reference::Quantise(part, x);
  const reference::QuantisedPart unpulled = reference::Quantise(plain, x);
  const PartCheck check{c, side, part, x, want, unpulled, where};
  for (Index first = 0; first < x.rows(); first += kPageTokens) {
    const std::vector<uint8_t> page = pool.QuantisedPage(sequence, sink + first, head);
    const Index row = part.axis == ScaleAxis::kToken ? first : first / part.group;
    reference::QuantisedPart got = ReadMetadata(part, layout, c.shape.head_dim, page);
    check.RequireMetadata(got, row, first);
    if (part.shares_codes) continue;
    got = reference::QuantisedPart(ReadPart(side, part, layout, c.shape.head_dim, page));
    check.RequireCodes(got, first);
  }
}

// The bf16 tokens of a window: sinks, and those newer than the quantised.
void RequireWindow(const Case& c, const KvPool& pool, KvSide side, int sequence, int head,
                   const MatrixXd& all) {
  const KvWindow& w = c.scheme.window;
  const PageLayout layout = WindowLayout(c.shape.head_dim);
  const Index quantised = QuantisedTokens(w, all.rows());
  for (Index token = 0; token < all.rows(); ++token) {
    if (token >= w.sink && token < w.sink + quantised) continue;
    const MatrixXd got = ReadBf16Part(side, side == KvSide::kKeys ? layout.keys : layout.values,
                                      c.shape.head_dim, pool.WindowPage(sequence, token, head));
    const Index end = std::min({(token / kPageTokens + 1) * Index{kPageTokens}, all.rows(),
                                token < w.sink ? Index{w.sink} : all.rows()});
    Require(got.middleRows(token % kPageTokens, end - token) == all.middleRows(token, end - token),
            Describe(c) + ": sequence " + std::to_string(sequence) + " head " +
                std::to_string(head) + ": window differs from token " + std::to_string(token));
    token = end - 1;
  }
}

void RequireCache(const Case& c, const KvPool& pool, const Inputs& in) {
  for (int s = 0; s < kSequences; ++s) {
    for (int head = 0; head < c.shape.kv_heads; ++head) {
      for (const KvSide side : {KvSide::kKeys, KvSide::kValues}) {
        const MatrixXd& rows = side == KvSide::kKeys ? in.keys.exact : in.values.exact;
        const MatrixXd all =
            rows.block(in.first[static_cast<size_t>(s)], int64_t{head} * c.shape.head_dim,
                       kLengths[s], c.shape.head_dim);
        RequireQuantised(c, pool, side, s, head, all);
        if (HasWindow(c.scheme)) RequireWindow(c, pool, side, s, head, all);
      }
    }
  }
}

void CheckCase(const Case& c, const Inputs& in, RngStream& rng, const Stream& stream,
               const Report& report) {
  Require(Fits(c.scheme, c.shape.head_dim), Describe(c) + ": the case is none");
  const int longest = *std::max_element(std::begin(kLengths), std::end(kLengths));
  const KvPool pool(c.shape, c.scheme, kSequences, longest, rng.NextU64());
  const auto split = [](int length) { return std::max(length - kAppended, 0) * 3 / 5; };
  const auto packed = [](int length) { return std::max(length - kAppended, 0); };
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  Pack(c, pool, in,
       RowsOf(
           in, [](int) { return 0; }, split),
       stream);
  Pack(c, pool, in, RowsOf(in, split, packed), stream);
  for (int back = kAppended - 1; back >= 0; --back) Append(c, pool, in, back, stream);
  RequireCache(c, pool, in);
  report(Describe(c) + ": codes exact");
}

}  // namespace

void CheckAppend(uint64_t seed, const Stream& stream, const Report& report) {
  RngStream rng({.seed = seed}, "kernels/check_append");
  for (const KvShape& shape : {KvShape{3, 64}, KvShape{2, 128}}) {
    const Inputs in = DrawInputs(shape, rng);
    for (const KvScheme& scheme : SchemesToCheck(shape.head_dim)) {
      for (const CacheWriters& writers : {kWriters, kNaiveWriters})
        CheckCase({shape, scheme, writers}, in, rng, stream, report);
    }
  }
  CheckLatents(rng, stream, report);
  CheckRotation(rng, stream, report);
}

}  // namespace moecast::kernels
