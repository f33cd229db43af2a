#include "reports/routing_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <sstream>
#include <string>

#include "reports/line_plot.h"
#include "sim/replay/gate_measures.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Throws when the text is not well-formed.
boost::property_tree::ptree ParseXml(const std::string& text) {
  boost::property_tree::ptree tree;
  std::istringstream stream(text);
  boost::property_tree::read_xml(stream, tree);
  return tree;
}

/// Two layers of four experts, top-2, 64 decode tokens.
RoutingStats SmallStats(bool has_scores) {
  RoutingStats stats;
  stats.header = {.source = "made \"up\"",
                  .model = "<b>&\x01",
                  .moe_layers = {1, 2},
                  .experts = 4,
                  .top_k = 2,
                  .has_scores = has_scores};
  stats.options = {.batches = {4, 1}, .ranks = {2}, .draws = 10, .window_tokens = 16};
  PhaseRows rows;
  for (uint16_t row = 0; row < 128; ++row) {
    rows.ids.insert(rows.ids.end(), {static_cast<uint16_t>(row % 3), 3});
  }
  rows.sequence_first = {0, 64};
  stats.phases.push_back(Measure(stats.header, rows, RoutingPhase::kDecode, stats.options));
  if (has_scores) {
    stats.phases[0].gates =
        MeasureGates({.top_k = 2, .moe_layer = {0, 1}, .scores = {2, 1, 4, 3}}, {1, 2});
  }
  return stats;
}

TEST(RoutingPage, IsWellFormedAndNeedsNothingElse) {
  const std::string page = RenderRoutingPage(SmallStats(true));
  const auto body = ParseXml(page).get_child("html.body");
  EXPECT_EQ(body.count("svg"), 5u);
  EXPECT_EQ(body.get<std::string>("h1"), "Routing of <b>&?");
  EXPECT_THAT(page, HasSubstr("made by moecast "));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("href")));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
}

TEST(RoutingPage, SaysWhatATraceCannotShow) {
  RoutingStats stats = SmallStats(false);
  stats.phases[0].persistence = {{}};
  const std::string page = RenderRoutingPage(stats);
  EXPECT_EQ(ParseXml(page).get_child("html.body").count("svg"), 3u);
  EXPECT_THAT(page, HasSubstr("No gate scores"));
  EXPECT_THAT(page, HasSubstr("Too few tokens for two windows"));
}

TEST(LinePlot, PointsLieWhereTheirValuesSay) {
  const std::string svg =
      RenderSvg({.title = "t",
                 .x_label = "batch (tokens)",
                 .y_label = "y <1>",
                 .log_x = true,
                 .lines = {{.name = "a & b", .points = {{1, 0}, {4, 5}, {16, 10}}}}});
  ParseXml(svg);
  // Left end, middle and right end; bottom, middle and top.
  EXPECT_THAT(svg, HasSubstr("d=\"M64.0 290.0L302.0 161.0L540.0 32.0\""));
  EXPECT_THAT(svg, HasSubstr(">16</text>"));
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  EXPECT_THAT(svg, HasSubstr("y &lt;1&gt;"));
}

TEST(LinePlot, OnePointAndNoPoint) {
  EXPECT_THAT(RenderSvg({.title = "t", .x_label = "", .y_label = "", .lines = {}}), IsEmpty());
  const std::string svg = RenderSvg(
      {.title = "t", .x_label = "x", .y_label = "y", .lines = {{.name = "a", .points = {{3, 3}}}}});
  ParseXml(svg);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace moecast
