#include "calibration/card_facts.h"

#include <map>
#include <utility>

#include "calibration/csv_reader.h"
#include "sim/base/lines.h"

namespace moecast::calibration {
namespace {

/// The "key: value" lines of a flat file, empty ones and comments apart; values may hold colons,
/// quotes around one are dropped.
class KeyLines {
 public:
  /// ERRORS: a line of another form, a doubled key.
  static Result<KeyLines> Read(std::string_view text, const std::string& file) {
    KeyLines lines;
    for (int number = 1; !text.empty(); ++number) {
      const std::string_view line = TakeLine(text);
      if (line.empty() || line.front() == '#') continue;
      const std::string where = file + ":" + std::to_string(number);
      const size_t colon = line.find(": ");
      if (colon == std::string_view::npos) {
        return Error{"expected 'key: value', got '" + std::string(line) + "'", where};
      }
      std::string_view value = line.substr(colon + 2);
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
      }
      const std::string key(line.substr(0, colon));
      if (!lines.values_.try_emplace(key, std::string(value), where).second) {
        return Error{key + ": appears twice", where};
      }
    }
    return lines;
  }

  /// Empty when there is no such line.
  [[nodiscard]] std::string Text(std::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? std::string() : found->second.first;
  }
  /// 0 when there is no such line. ERRORS: a value that is no number above 0.
  [[nodiscard]] Result<double> Positive(std::string_view key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) return 0.0;
    const auto& [text, where] = found->second;
    const auto rate = ParseCell(text);
    if (rate && *rate > 0) return *rate;
    return Error{std::string(key) + ": expected a number above 0, got '" + text + "'", where};
  }

 private:
  std::map<std::string, std::pair<std::string, std::string>, std::less<>> values_;  // text, place
};

}  // namespace

Result<CardFacts> ParseEnvironment(std::string_view text, const std::string& file) {
  SIM_TRY(const KeyLines lines, KeyLines::Read(text, file));
  CardFacts card;
  card.gpu = lines.Text("card");
  if (card.gpu.empty()) return Error{"card: is missing; name the GPU, as in h200_sxm", file};
  SIM_TRY(card.hbm_bytes_per_s, lines.Positive("datasheet_hbm_bytes_per_s"));
  SIM_TRY(card.bf16_flop_per_s, lines.Positive("datasheet_bf16_flop_per_s"));
  SIM_TRY(card.fp8_flop_per_s, lines.Positive("datasheet_fp8_flop_per_s"));
  if (card.hbm_bytes_per_s == 0 || card.bf16_flop_per_s == 0) {
    return Error{
        "datasheet_hbm_bytes_per_s and datasheet_bf16_flop_per_s are needed: no row may "
        "be faster than them",
        file};
  }
  SIM_TRY(card.multiprocessors, lines.Positive("multiprocessors"));
  SIM_TRY(card.cache_bytes, lines.Positive("l2_bytes"));
  if (card.multiprocessors == 0 || card.cache_bytes == 0) {
    return Error{"multiprocessors and l2_bytes are needed: what a launch does depends on them",
                 file};
  }
  return card;
}

}  // namespace moecast::calibration
