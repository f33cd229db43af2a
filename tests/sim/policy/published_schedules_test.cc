// The 4-tuple rule against every schedule published with it. [Yang25 tables of appendix]
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "sim/policy/expert_selection.h"

namespace moecast {
namespace {

using Record = std::map<std::string, std::string>;

std::vector<std::string> Split(const std::string& line, char separator) {
  std::vector<std::string> fields;
  std::istringstream stream(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
  for (std::string field; std::getline(stream, field, separator);) fields.push_back(field);
  return fields;
}

/// Rows of a CSV without quotes, by column name; empty when the file is absent.
std::vector<Record> ReadRecords(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::vector<Record> records;
  std::getline(file, line);
  const std::vector<std::string> names = Split(line, ',');
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = Split(line, ',');
    Record& record = records.emplace_back();
    for (size_t i = 0; i < names.size(); ++i) record[names[i]] = fields.at(i);
  }
  return records;
}

std::vector<Record> PublishedSchedules(const std::string& file) {
  return ReadRecords(std::filesystem::path(MOECAST_SHARED_DATA) / "papers" / file);
}

ScheduleTuple TupleOf(const Record& record) {
  return {.b = std::stoll(record.at("b")),
          .h = std::stoll(record.at("h")),
          .e = std::stoll(record.at("e")),
          .p = std::stoll(record.at("p"))};
}

std::vector<int64_t> ScheduleOf(const Record& record, int32_t first_moe, int32_t model_layers) {
  std::vector<int32_t> layers(static_cast<size_t>(model_layers - first_moe));
  std::iota(layers.begin(), layers.end(), first_moe);
  return LayerScheduleFromTuple(TupleOf(record), model_layers, layers);
}

double Mean(const std::vector<int64_t>& values) {
  return static_cast<double>(std::accumulate(values.begin(), values.end(), int64_t{0})) /
         static_cast<double>(values.size());
}

constexpr double kPrintedDigits = 5.1e-5;  // the tables print means with four decimals

TEST(PublishedSchedules, All162OfV2LiteAreReproducedLayerByLayer) {
  const std::vector<Record> records = PublishedSchedules("v2lite_layer_schedules.csv");
  if (records.empty()) GTEST_SKIP() << "no ../shared/data/papers/v2lite_layer_schedules.csv";
  EXPECT_EQ(records.size(), 162U);
  for (const Record& record : records) {
    const std::vector<int64_t> schedule = ScheduleOf(record, 1, 27);
    std::vector<int64_t> published;
    for (const std::string& k : Split(record.at("schedule_26_layers"), ' ')) {
      published.push_back(std::stoll(k));
    }
    EXPECT_EQ(schedule, published);
    EXPECT_NEAR(Mean(schedule), std::stod(record.at("mean_na_computed")), kPrintedDigits);
  }
}

TEST(PublishedSchedules, TheMeansOfAll52OfV3AreReproduced) {
  const std::vector<Record> records = PublishedSchedules("v3_layer_schedules.csv");
  if (records.empty()) GTEST_SKIP() << "no ../shared/data/papers/v3_layer_schedules.csv";
  EXPECT_EQ(records.size(), 52U);
  for (const Record& record : records) {
    EXPECT_NEAR(Mean(ScheduleOf(record, 3, 61)), std::stod(record.at("mean_na_computed_58moe")),
                kPrintedDigits)
        << record.at("b") << " " << record.at("h") << " " << record.at("e") << " "
        << record.at("p");
  }
}

}  // namespace
}  // namespace moecast
