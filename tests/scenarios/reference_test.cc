#include "scenarios/reference.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "sim/base/files.h"

namespace moecast {
namespace {

TEST(ScenarioReference, DocumentedFieldsAreTheSchemas) {
  const std::filesystem::path path = std::filesystem::path(MOECAST_SOURCE) / "docs" / "scenario.md";
  const Result<std::string> document = ReadFile(path);
  ASSERT_TRUE(document.ok()) << ToString(document.errors());
  EXPECT_EQ(*document, ScenarioReference()) << "run: ninja -C build/dev scenario_reference";
}

}  // namespace
}  // namespace moecast
