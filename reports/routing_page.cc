#include "reports/routing_page.h"

#include <algorithm>
#include <string_view>

#include "reports/line_plot.h"
#include "sim/base/version.h"
#include "traces/routing_stats_report.h"

namespace moecast {
namespace {

constexpr size_t kMostLayers = 8;     // lines of the popularity plot
constexpr size_t kMostWindows = 512;  // points of a line

/// Every n-th of `count`, so that at most `most` are left.
size_t Stride(size_t count, size_t most) { return std::max<size_t>(1, (count + most - 1) / most); }

LinePlot DistinctPlot(const RoutingStats& stats, const PhaseRouting& phase) {
  LinePlot plot = {.title = "Distinct experts of a batch, mean over batches and layers",
                   .x_label = "batch (tokens)",
                   .y_label = "distinct experts per layer",
                   .log_x = true,
                   .lines = {}};
  for (const BatchForming forming : kBatchFormings) {
    PlotLine line = {.name = std::string(Name(forming)), .points = {}};
    for (const BatchRouting& of : phase.batches) {
      if (of.forming == forming) line.points.emplace_back(of.batch, of.distinct_experts);
    }
    std::sort(line.points.begin(), line.points.end());
    plot.lines.push_back(std::move(line));
  }
  PlotLine uniform = {.name = "independent uniform", .points = {}, .dashed = true};
  for (const int64_t batch : stats.options.batches) {
    uniform.points.emplace_back(batch, IndependentDistinct(stats.header, batch));
  }
  std::sort(uniform.points.begin(), uniform.points.end());
  plot.lines.push_back(std::move(uniform));
  return plot;
}

LinePlot RankPlot(const RoutingStats& stats, const PhaseRouting& phase) {
  LinePlot plot = {.title = "Fullest rank over the average, contiguous experts",
                   .x_label = "batch (tokens)",
                   .y_label = "max/mean of rank loads",
                   .log_x = true,
                   .lines = {}};
  for (size_t r = 0; r < stats.options.ranks.size(); ++r) {
    for (const BatchForming forming : {BatchForming::kConsecutive, BatchForming::kOnePerSequence}) {
      PlotLine line = {
          .name = std::to_string(stats.options.ranks[r]) + " ranks, " + std::string(Name(forming)),
          .points = {}};
      for (const BatchRouting& of : phase.batches) {
        if (of.forming == forming) line.points.emplace_back(of.batch, of.ranks[r].max_over_mean);
      }
      std::sort(line.points.begin(), line.points.end());
      plot.lines.push_back(std::move(line));
    }
  }
  return plot;
}

LinePlot PopularityPlot(const PhaseRouting& phase) {
  LinePlot plot = {.title = "Popularity of experts, most popular first",
                   .x_label = "expert (rank in its layer)",
                   .y_label = "assignments over the average",
                   .log_x = true,
                   .lines = {}};
  for (size_t i = 0; i < phase.layers.size(); i += Stride(phase.layers.size(), kMostLayers)) {
    PlotLine line = {.name = "model layer " + std::to_string(phase.layers[i].layer), .points = {}};
    for (const double times : phase.layers[i].popularity) {
      line.points.emplace_back(line.points.size() + 1, times);
    }
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

LinePlot KeptPlot(const RoutingStats& stats, const GateRouting& gates) {
  LinePlot plot = {.title = "Gate mass that a rule keeps",
                   .x_label = "kept experts per token and layer (mean)",
                   .y_label = "kept gate mass (ratio)",
                   .lines = {}};
  for (const KeptCurve& curve : gates.curves) {
    PlotLine line = {.name = RuleLabel(curve), .points = {}};
    for (const RuleSetting& of : curve.settings) {
      line.points.emplace_back(of.mean_kept, of.kept_mass);
    }
    line.points.emplace_back(stats.header.top_k, 1);
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

LinePlot WindowPlot(const RoutingStats& stats, const PhaseRouting& phase) {
  LinePlot plot = {
      .title = "Fullest rank over the average, window by window",
      .x_label = "window of " + std::to_string(stats.options.window_tokens) + " tokens (number)",
      .y_label = "max/mean of rank loads",
      .lines = {}};
  for (size_t r = 0; r < phase.persistence.size(); ++r) {
    const std::vector<double>& windows = phase.persistence[r].by_window;
    PlotLine line = {.name = std::to_string(stats.options.ranks[r]) + " ranks", .points = {}};
    for (size_t w = 0; w < windows.size(); w += Stride(windows.size(), kMostWindows)) {
      line.points.emplace_back(w + 1, windows[w]);
    }
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

std::string Paragraph(std::string_view text) { return "<p>" + EscapeXml(text) + "</p>\n"; }

std::string PhaseSection(const RoutingStats& stats, const PhaseRouting& phase) {
  std::string html = "<h2>" + std::string(Name(phase.phase)) + "</h2>\n";
  html += Paragraph(std::to_string(phase.sequences) + " sequences, " +
                    std::to_string(phase.tokens) + " tokens, " +
                    std::to_string(phase.unknown_rows) + " unknown (token, layer) rows left out");
  html += RenderSvg(DistinctPlot(stats, phase)) + RenderSvg(RankPlot(stats, phase)) +
          RenderSvg(PopularityPlot(phase));
  html += phase.gates ? RenderSvg(KeptPlot(stats, *phase.gates))
                      : Paragraph("No gate scores: kept mass cannot be shown.");
  const std::string windows = RenderSvg(WindowPlot(stats, phase));
  return html + (windows.empty() ? Paragraph("Too few tokens for two windows.") : windows);
}

}  // namespace

std::string RenderRoutingPage(const RoutingStats& stats) {
  const RoutingHeader& header = stats.header;
  const std::string title = "Routing of " + EscapeXml(header.model);
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"/><title>" +
                     title +
                     "</title>\n<style>body { font-family: sans-serif; max-width: 50em; "
                     "margin: 2em auto; }</style></head>\n<body>\n<h1>" +
                     title + "</h1>\n";
  html +=
      Paragraph(std::to_string(header.moe_layers.size()) + " MoE layers, " +
                std::to_string(header.experts) + " experts, top-" + std::to_string(header.top_k) +
                "; source: " + header.source + "; seed " + std::to_string(stats.options.seed.seed));
  for (const BatchForming forming : kBatchFormings) {
    html += Paragraph(std::string(Name(forming)) + ": " + Sampling(forming, stats.options));
  }
  for (const PhaseRouting& phase : stats.phases) html += PhaseSection(stats, phase);
  html += Paragraph("made by moecast " + std::string(Version()) + " at commit " +
                    std::string(GitCommit()));
  return html + "</body>\n</html>\n";
}

}  // namespace moecast
