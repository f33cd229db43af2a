// WorkloadSpec: where requests come from. Arrivals and lengths are separate choices for synthetic
// traffic; a trace file brings both.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <variant>

namespace moecast {

struct PoissonArrivals {
  double rate_per_s = 0;
};
/// Gamma-distributed gaps: cv 1 is Poisson, above 1 bursty.
struct GammaArrivals {
  double rate_per_s = 0;
  double cv = 1;
};
struct FixedRateArrivals {
  double rate_per_s = 0;
};
/// Poisson at on_rate during `on_s`, at off_rate (may be 0) during `off_s`, repeating; on at time
/// 0.
struct OnOffArrivals {
  double on_rate_per_s = 0;
  double off_rate_per_s = 0;
  double on_s = 0;
  double off_s = 0;
};
/// `concurrency` requests in flight: a finished one is replaced at the same instant.
struct ClosedLoop {
  int64_t concurrency = 0;
};
using Arrivals =
    std::variant<PoissonArrivals, GammaArrivals, FixedRateArrivals, OnOffArrivals, ClosedLoop>;

struct FixedLength {
  int64_t tokens = 0;
};
/// Rounded to a token and cut to [min_tokens, max_tokens].
struct LognormalLength {
  double mean_tokens = 0;
  double cv = 0;
  int64_t min_tokens = 1;
  int64_t max_tokens = 0;
};
struct UniformLength {
  int64_t min_tokens = 0;
  int64_t max_tokens = 0;
};
/// Rows of a CSV with columns input_tokens,output_tokens, or of any CSV trace below, drawn with
/// replacement. Both length fields of a SyntheticWorkload that name one file draw the same row.
struct EmpiricalLength {
  std::filesystem::path csv;
};
using Length = std::variant<FixedLength, LognormalLength, UniformLength, EmpiricalLength>;

struct SyntheticWorkload {
  Arrivals arrivals;
  Length input;
  Length output;
};

enum class RequestTraceFormat { kAzureCsv, kMooncakeJsonl, kBurstGptCsv, kVidurCsv, kMoecastCsv };

/// A captured trace, streamed. Zstandard files are decompressed on the way. Formats, columns and
/// what each counts as time 0: docs/formats/requests.md.
struct TraceWorkload {
  RequestTraceFormat format = RequestTraceFormat::kMoecastCsv;
  std::filesystem::path path;
  double speedup = 1;                         // > 1: gaps shrink, load grows
  std::optional<int64_t> closed_concurrency;  // ignore arrival times, keep this many in flight
  int64_t prefix_block_tokens = 512;  // Mooncake: tokens that one of the hash_ids stands for
};

using WorkloadSpec = std::variant<SyntheticWorkload, TraceWorkload>;

}  // namespace moecast
