// Suites of the KV path whose times follow a known law: bytes at a bandwidth, operations at a rate,
// dequantised elements at another, and a fixed time.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/base/text.h"

namespace moecast::test {

inline constexpr const char* kKvHeader =
    "op,model,regime,format,sequences,cached_tokens,max_context,new_tokens,query_heads,kv_heads,"
    "head_dim,key_bits,value_bits,group,residual,window,selected_tokens,stored_bits,read_bits,"
    "equivalent_bits,output_error,bytes,flops,launches,samples,discarded,median_us,min_us,p05_us,"
    "p25_us,p75_us,p95_us,stop,sm_mhz,power_w,reasons\n";

/// One launch over a cache of 64 query heads on 4 KV heads of 128.
struct KvCase {
  std::string op = "attend";
  std::string regime = "even";
  std::string format = "bf16";
  double sequences = 1;
  double length = 1024;  // of every sequence, before the launch
  double new_tokens = 0;
  double bits = 16;
  double group = 0;
  double residual = 0;
  double window = 0;
  double kv_heads = 4;
  double head_dim = 128;
};

/// Read bytes of the case: residual tokens in bf16, the others in codes with 32 bits a group.
inline double KvBytes(const KvCase& c) {
  const double seen = c.window > 0 ? std::min(c.window, c.length) : c.length;
  const double plain = std::min(seen, c.residual);
  const double bits = c.bits + (c.group > 0 ? 32 / c.group : 0);
  return c.sequences * c.kv_heads * c.head_dim * 2 * (plain * 2 + (seen - plain) * bits / 8);
}

/// Microseconds: 6 us and the larger of 4 bytes/ps of cache and dequantisation at 1 element/ps.
inline double KvLawUs(const KvCase& c) {
  const double seen = c.window > 0 ? std::min(c.window, c.length) : c.length;
  const double codes = c.bits < 16 ? c.sequences * (seen - std::min(seen, c.residual)) : 0;
  const double elements = codes * c.kv_heads * c.head_dim * 2;
  return 6 + KvBytes(c) / 4e6 + elements / 1e6 + 0.01 * c.sequences;
}

inline std::string KvLine(const KvCase& c, double us) {
  const auto cells = [](std::initializer_list<double> values) {
    std::string text;
    for (const double value : values) text += ShortestDouble(value) + ",";
    return text;
  };
  return c.op + ",Qwen3," + c.regime + "," + c.format + "," +
         cells({c.sequences, c.sequences * c.length, c.length, c.new_tokens, 64, c.kv_heads,
                c.head_dim, c.bits, c.bits, c.group, c.residual, c.window, 0, c.bits, c.bits,
                c.bits}) +
         "," + cells({KvBytes(c), 1e6, 10, 30, 0, us, us, 0.99 * us, us, us, 1.01 * us}) +
         "quiet,1980,400,0\n";
}

/// Decode attention of one scheme: 1 to 256 sequences of 256 to 32768 tokens.
inline std::string AttendRows(KvCase c) {
  std::string text;
  for (c.sequences = 1; c.sequences <= 256; c.sequences *= 2) {
    for (c.length = 256; c.length <= 32768; c.length *= 2) text += KvLine(c, KvLawUs(c));
  }
  return text;
}

}  // namespace moecast::test
