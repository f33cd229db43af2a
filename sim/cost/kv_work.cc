#include "sim/cost/kv_work.h"

#include <algorithm>

namespace moecast {
namespace {

using enum Feature;

constexpr double kBitsPerByte = 8;
constexpr double kPlainBits = 16;
/// A group's scale and its zero, in 16 bits each.
constexpr double kMetadataBits = 2 * 16;
/// A multiply-add is two operations; a query meets a key once and a value once.
constexpr double kFlopsPerPairElement = 2 * 2;
constexpr double kKeysAndValues = 2;
/// A floor under small work, as in the other forms without experts.
constexpr double kFloor = 1;

/// Bytes of one element of keys or of values with its share of metadata.
double BytesOf(const KernelFeatures& f, double bits) {
  if (bits <= 0) return 0;
  const double metadata = f[kGroup] > 0 && bits < kPlainBits ? kMetadataBits / f[kGroup] : 0;
  return (bits + metadata) / kBitsPerByte;
}

/// Bytes of one token in one layer's pages, and in its bf16 residual.
double CodeBytes(const KernelFeatures& f) {
  return f[kKvHeads] * f[kHeadDim] * (BytesOf(f, f[kKeyBits]) + BytesOf(f, f[kValueBits]));
}
double PlainBytes(const KernelFeatures& f) {
  const double sides = f[kValueBits] > 0 ? kKeysAndValues : 1;
  return f[kKvHeads] * f[kHeadDim] * sides * kPlainBits / kBitsPerByte;
}

/// Elements whose codes become numbers before they are multiplied.
double Dequantised(const KernelFeatures& f, double tokens) {
  double sides = 0;
  for (const double bits : {f[kKeyBits], f[kValueBits]}) sides += bits > 0 && bits < kPlainBits;
  return tokens * f[kKvHeads] * f[kHeadDim] * sides;
}

/// Pages and residual; what moves with queries and outputs; dequantisation.
std::array<double, kMemoryTerms> ReadTerms(const KernelFeatures& f, double queries) {
  const double plain = std::min(f[kContext], f[kBatch] * f[kResidual]);
  const double coded = f[kContext] - plain;
  return {coded * CodeBytes(f) + plain * PlainBytes(f), queries * f[kHeads] * f[kHeadDim],
          Dequantised(f, coded)};
}

}  // namespace

KernelWork AttendWork(const KernelFeatures& f, double) {
  return {.memory = ReadTerms(f, f[kBatch]),
          .compute = kFlopsPerPairElement * f[kContext] * f[kHeads] * f[kHeadDim],
          .chain = kFloor};
}

KernelWork AttendLatentWork(const KernelFeatures& f, double) {
  return {.memory = {f[kContext] * BytesOf(f, f[kKeyBits]), f[kBatch] * f[kHeads],
                     f[kKeyBits] < kPlainBits ? f[kContext] : 0},
          .compute = f[kContext] * f[kHeads],
          .chain = kFloor};
}

KernelWork AttendPrefillWork(const KernelFeatures& f, double) {
  return {.memory = ReadTerms(f, f[kTokens]), .compute = f[kFlops], .chain = kFloor};
}

KernelWork AttendExpandedWork(const KernelFeatures& f, double) {
  return {.memory = {f[kContext] * f[kHeads], f[kTokens] * f[kHeads]},
          .compute = f[kFlops],
          .chain = kFloor};
}

KernelWork KvWriteWork(const KernelFeatures& f, double) {
  return {.memory = {f[kNewTokens] * CodeBytes(f), f[kNewTokens] * PlainBytes(f)}, .chain = kFloor};
}

}  // namespace moecast
