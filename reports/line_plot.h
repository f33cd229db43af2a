// Line plots as SVG text: no scripts, no fonts of their own, nothing fetched.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moecast {

struct PlotLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), finite, in drawing order
  bool dashed = false;                            // for what is not measured
};

struct LinePlot {
  std::string title;
  std::string x_label;  // with its unit
  std::string y_label;  // likewise
  bool log_x = false;   // to base 2; all x > 0
  std::vector<PlotLine> lines;
};

/// An <svg> element, well-formed XML. RETURNS: empty when no line has a point.
std::string RenderSvg(const LinePlot& plot);

/// Text as XML may hold it: markup escaped, control characters as '?'.
std::string EscapeXml(std::string_view text);

}  // namespace moecast
