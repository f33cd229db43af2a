#include "reports/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "sim/base/text.h"

namespace moecast {
namespace {

// In pixels of the view box.
constexpr double kWidth = 760;
constexpr double kHeight = 340;
constexpr double kLeft = 64;
constexpr double kRight = 540;  // the legend follows
constexpr double kTop = 32;
constexpr double kBottom = 290;
constexpr double kLegendStep = 18;
constexpr int kMostTicks = 8;
constexpr size_t kMostMarkers = 32;  // on a line

// Colours that colour-blind readers tell apart, after Okabe and Ito.
constexpr std::array<std::string_view, 8> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#e69f00", "#56b4e9", "#000000", "#999933"};

/// One axis: values to pixels, and where its ticks are.
struct Axis {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  bool log = false;
  double step = 1;  // between ticks, in scaled units

  [[nodiscard]] double Scaled(double value) const { return log ? std::log2(value) : value; }
  void Cover(double value) {
    low = std::min(low, Scaled(value));
    high = std::max(high, Scaled(value));
  }
  /// Widens the range to whole steps of 1, 2 or 5 times a power of ten; whole powers of two if log.
  void ChooseTicks() {
    const double range = high > low ? high - low : 1;
    const double power = std::pow(10.0, std::floor(std::log10(range / kMostTicks)));
    step = power;
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
      step = factor * power;
      if (range / step <= kMostTicks) break;
    }
    if (log) step = std::max(1.0, std::round(step));
    low = std::floor(low / step) * step;
    high = std::max(std::ceil(high / step) * step, low + step);
  }
  [[nodiscard]] int ticks() const { return static_cast<int>(std::round((high - low) / step)); }
  [[nodiscard]] std::string Label(int tick) const {
    const double at = low + tick * step;
    if (log) return ShortestDouble(std::exp2(at));
    return Fixed(at, std::max(0, static_cast<int>(-std::floor(std::log10(step)))));
  }
  [[nodiscard]] double Fraction(double value) const { return (Scaled(value) - low) / (high - low); }
};

std::string Px(double pixel) { return Fixed(pixel, 1); }
double PixelX(double fraction) { return kLeft + fraction * (kRight - kLeft); }
double PixelY(double fraction) { return kBottom - fraction * (kBottom - kTop); }

/// `attributes` as they stand in the tag.
std::string Text(double x, double y, std::string_view attributes, std::string_view text) {
  return "<text x=\"" + Px(x) + "\" y=\"" + Px(y) + "\" " + std::string(attributes) + ">" +
         EscapeXml(text) + "</text>\n";
}

std::string Rule(double x1, double y1, double x2, double y2) {
  return "<path d=\"M" + Px(x1) + " " + Px(y1) + "L" + Px(x2) + " " + Px(y2) +
         "\" stroke=\"#ddd\"/>\n";
}

std::string Grid(const Axis& x, const Axis& y) {
  std::string svg;
  for (int tick = 0; tick <= x.ticks(); ++tick) {
    const double at = PixelX(static_cast<double>(tick) / x.ticks());
    svg += Rule(at, kTop, at, kBottom);
    svg += Text(at, kBottom + 16, "text-anchor=\"middle\"", x.Label(tick));
  }
  for (int tick = 0; tick <= y.ticks(); ++tick) {
    const double at = PixelY(static_cast<double>(tick) / y.ticks());
    svg += Rule(kLeft, at, kRight, at);
    svg += Text(kLeft - 6, at + 4, "text-anchor=\"end\"", y.Label(tick));
  }
  return svg;
}

std::string Curve(const PlotLine& line, const Axis& x, const Axis& y, std::string_view colour) {
  std::string path;
  std::string markers;
  for (const auto& [at_x, at_y] : line.points) {
    const std::string px = Px(PixelX(x.Fraction(at_x)));
    const std::string py = Px(PixelY(y.Fraction(at_y)));
    path += (path.empty() ? "M" : "L") + px + " " + py;
    if (line.dashed || line.points.size() > kMostMarkers) continue;
    markers += "<circle cx=\"" + px + "\" cy=\"" + py + "\" r=\"2.5\" fill=\"";
    markers += std::string(colour) + "\"/>\n";
  }
  return "<path d=\"" + path + "\" fill=\"none\" stroke-width=\"1.5\" stroke=\"" +
         std::string(colour) + (line.dashed ? "\" stroke-dasharray=\"5 4" : "") + "\"/>\n" +
         markers;
}

}  // namespace

std::string EscapeXml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < ' ' ? '?' : c;
    }
  }
  return escaped;
}

std::string RenderSvg(const LinePlot& plot) {
  Axis x = {.log = plot.log_x};
  Axis y;
  for (const PlotLine& line : plot.lines) {
    for (const auto& [at_x, at_y] : line.points) {
      x.Cover(at_x);
      y.Cover(at_y);
    }
  }
  if (x.low > x.high) return "";
  x.ChooseTicks();
  y.ChooseTicks();
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + Fixed(kWidth, 0) +
                    " " + Fixed(kHeight, 0) +
                    "\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n";
  svg += Text(kLeft, kTop - 12, "font-weight=\"bold\"", plot.title) + Grid(x, y);
  svg += Text((kLeft + kRight) / 2, kBottom + 36, "text-anchor=\"middle\"", plot.x_label);
  const double middle = (kTop + kBottom) / 2;
  svg += Text(
      kLeft / 4, middle,
      "text-anchor=\"middle\" transform=\"rotate(-90 " + Px(kLeft / 4) + " " + Px(middle) + ")\"",
      plot.y_label);
  double legend = kTop + kLegendStep / 2;
  for (size_t i = 0; i < plot.lines.size(); ++i) {
    const std::string_view colour = kColours[i % kColours.size()];
    svg += Curve(plot.lines[i], x, y, colour);
    svg += Text(kRight + kLegendStep, legend, "fill=\"" + std::string(colour) + "\"",
                (plot.lines[i].dashed ? "- - " : "") + plot.lines[i].name);
    legend += kLegendStep;
  }
  return svg + "</svg>\n";
}

}  // namespace moecast
