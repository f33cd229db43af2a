#include "traces/twin/fit_input.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "traces/routing_reader.h"
#include "traces/twin/score_shape.h"

namespace moecast {
namespace {

constexpr size_t kLengthQuantiles = 17;

/// Evenly spaced quantiles of lengths, ends included; one value when all are alike.
std::vector<double> Quantiles(std::vector<double> lengths) {
  std::sort(lengths.begin(), lengths.end());
  if (lengths.front() == lengths.back()) return {lengths.front()};
  std::vector<double> quantiles;
  for (size_t i = 0; i < kLengthQuantiles; ++i) {
    const double place = static_cast<double>(i) * static_cast<double>(lengths.size() - 1) /
                         static_cast<double>(kLengthQuantiles - 1);
    const double length = lengths[static_cast<size_t>(std::llround(place))];
    quantiles.push_back(std::max(length, 1.0));
  }
  return quantiles;
}

/// Sequences by category; categories too small or too many are one domain, "other".
class DomainNames {
 public:
  explicit DomainNames(const FitReadOptions& options) : options_(options) {}

  void Count(const std::string& category) { ++sequences_[Name(category)]; }

  void Settle() {
    std::vector<std::pair<int64_t, std::string>> by_size;
    for (const auto& [name, count] : sequences_) by_size.emplace_back(-count, name);
    std::sort(by_size.begin(), by_size.end());
    for (const auto& [count, name] : by_size) {
      if (-count < options_.least_sequences || names_.size() >= options_.most_domains) break;
      number_[name] = static_cast<uint32_t>(names_.size());
      names_.push_back(name);
    }
    if (number_.size() < sequences_.size()) names_.push_back(names_.empty() ? "all" : "other");
  }

  [[nodiscard]] uint32_t NumberOf(const std::string& category) const {
    const auto found = number_.find(Name(category));
    return found == number_.end() ? static_cast<uint32_t>(names_.size() - 1) : found->second;
  }
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

 private:
  [[nodiscard]] std::string Name(const std::string& category) const {
    return options_.one_domain || category.empty() ? "all" : category;
  }

  FitReadOptions options_;
  std::map<std::string, int64_t> sequences_;
  std::map<std::string, uint32_t> number_;
  std::vector<std::string> names_;
};

std::string CategoryOf(const RoutingReader& reader, size_t sequence) {
  return sequence < reader.sequences().size() ? reader.sequences()[sequence].category : "";
}

/// Reads chunk by chunk into the input.
class Gatherer {
 public:
  Gatherer(FitInput& input, const DomainNames& domains, uint64_t stride)
      : input_(input), domains_(domains), stride_(stride), shape_(input.header) {}

  Status Read(RoutingReader& reader) {
    std::optional<SequenceId> last;
    RoutingChunk chunk;
    while (true) {
      SIM_TRY(const bool more, reader.Next(chunk));
      if (!more) return Ok();
      if (last != chunk.sequence) {
        last = chunk.sequence;
        taken_ = sequence_++ % stride_ == 0;
        if (taken_) Begin(CategoryOf(reader, chunk.sequence.value()));
        if (!taken_) ++input_.left_out;
      }
      if (taken_) Add(chunk);
    }
  }

  void Finish() {
    input_.prefill_tokens = Quantiles(prefill_);
    input_.decode_tokens = Quantiles(decode_);
    if (input_.header.has_scores) input_.scores = shape_.Shape();
  }

 private:
  void Begin(const std::string& category) {
    input_.sample.AddSequence(domains_.NumberOf(category));
    prefill_.push_back(0);
    decode_.push_back(0);
  }
  void Add(const RoutingChunk& chunk) {
    input_.sample.Add(chunk);
    (chunk.phase == RoutingPhase::kPrefill ? prefill_ : decode_).back() +=
        static_cast<double>(chunk.tokens);
    if (input_.header.has_scores) shape_.Add(chunk);
  }

  FitInput& input_;
  const DomainNames& domains_;
  uint64_t stride_;
  ScoreShape shape_;
  uint64_t sequence_ = 0;
  bool taken_ = false;
  std::vector<double> prefill_;
  std::vector<double> decode_;
};

bool SameShape(const RoutingHeader& a, const RoutingHeader& b) {
  return a.experts == b.experts && a.top_k == b.top_k && a.moe_layers == b.moe_layers;
}

}  // namespace

Result<FitInput> ReadFitInput(const std::vector<std::filesystem::path>& traces,
                              const FitReadOptions& options) {
  std::vector<RoutingReader> readers;
  DomainNames domains(options);
  FitInput input = {.header = {},
                    .sample = TwinSample({}),
                    .domains = {},
                    .scores = {},
                    .prefill_tokens = {},
                    .decode_tokens = {}};
  uint64_t tokens = 0;
  uint64_t sequences = 0;
  for (const std::filesystem::path& trace : traces) {
    SIM_TRY(RoutingReader reader, RoutingReader::Open(trace));
    if (readers.empty()) input.header = reader.header();
    if (!SameShape(input.header, reader.header())) {
      return Error{"has another number of experts, top-k or MoE layers than " +
                       traces.front().string() + "; one twin has one shape",
                   trace.string()};
    }
    input.header.has_scores = input.header.has_scores && reader.header().has_scores;
    tokens += reader.totals().prefill_tokens + reader.totals().decode_tokens;
    sequences += reader.totals().sequences;
    input.unknown_rows += reader.totals().unknown_rows;
    for (size_t s = 0; s < reader.totals().sequences; ++s) domains.Count(CategoryOf(reader, s));
    readers.push_back(std::move(reader));
  }
  if (sequences < 2) {
    return Error{"has " + std::to_string(sequences) +
                     " sequences; a fit needs at least 2, to tell what sequences have in common",
                 traces.front().string()};
  }
  domains.Settle();
  input.domains = domains.names();
  input.sample = TwinSample(input.header);
  const uint64_t words = tokens * input.header.moe_layers.size() * input.sample.words();
  Gatherer gatherer(input, domains, (words + kMaxFitWords - 1) / kMaxFitWords);
  for (RoutingReader& reader : readers) SIM_RETURN_IF_ERROR(gatherer.Read(reader));
  gatherer.Finish();
  return input;
}

}  // namespace moecast
