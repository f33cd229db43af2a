#!/usr/bin/env python3
"""Repeats the serving experiments of "Faster MoE LLM Inference for Extremely Large Models" [Yang25] and writes README.md beside this file.

  python3 reports/studies/skipping/run.py --moecast build/dev/sim/app/moecast --papers DIR

DIR holds the published tables as CSV (v2lite_throughput_topk.csv, v2lite_throughput_prune_ne.csv, v3_throughput_topk.csv); without them the page is left as it is.

Three numbers are fitted per machine, on the column of the native model alone, by least squares of the logarithm of total tokens/s: host time per step, host time per running
sequence, and a third (THIRD). Everything in the other columns is predicted.
"""
import argparse
import csv
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import run_rows, table  # noqa: E402

EXPERTS = {"memory": 0.88, "compute": 0.45}  # of efficiencies analytic-default
FACTORS = (2, 1.5, 1.2, 1.1, 1.05, 1.02)
# The third number of a machine: what it is called, and the settings it stands for.
THIRD = {
    "experts": ("expert products at {:.2f} of their usual efficiency", lambda x: {f"experts.{k}": min(1, v * x) for k, v in EXPERTS.items()}),
    "prefill": ("{:.0f} us per prompt token", lambda x: {"host_per_prefill_token_us": x}),
}


class Experiment:
    """One scenario beside its published table: {(load, variant): total tokens/s}."""

    def __init__(self, scenario, published, prefix, third, moecast):
        self.scenario, self.third, self.moecast = HERE / scenario, third, moecast
        self.published, self.native = {}, None
        with open(published, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(line for line in file if not line.startswith("#")):
                for column, cell in row.items():
                    if column.startswith(prefix):
                        self.native = self.native or column.removeprefix(prefix)
                        self.published[int(row["concurrency"]), column.removeprefix(prefix)] = float(cell)
        self.loads = sorted({load for load, _ in self.published})
        self.variants = list(dict.fromkeys(variant for _, variant in self.published))

    def predict(self, overheads):
        """{(load, variant): total tokens/s}; as many tokens go in as come out."""
        settings = [f"cost.efficiencies.{name}={value:.6g}" for name, value in self.settings(overheads).items()]
        rows = run_rows(self.moecast, self.scenario, *settings)
        return {(int(load), variant): 2 * float(row["output_tokens_per_s"]) for (load, variant), row in rows.items()}

    def settings(self, overheads):
        return {"host_per_step_us": overheads[0], "host_per_sequence_us": overheads[1], **THIRD[self.third][1](overheads[2])}

    def said(self, overheads):
        return f"{overheads[0] / 1000:.2f} ms per step, {overheads[1]:.0f} us per running sequence and step, {THIRD[self.third][0].format(overheads[2])}"

    def misfit(self, overheads):
        found = self.predict(overheads)
        return sum(math.log(found[c, self.native] / self.published[c, self.native]) ** 2 for c in self.loads)


def fit(experiment, start):
    """Coordinate descent with shrinking factors: deterministic, and fine enough at 2 %."""
    best, least = list(start), experiment.misfit(start)
    for factor in FACTORS:
        moved = True
        while moved:
            moved = False
            for i in range(len(best)):
                for by in (factor, 1 / factor):
                    tried = best[:i] + [best[i] * by] + best[i + 1:]
                    misfit = experiment.misfit(tried)
                    if misfit < least * (1 - 1e-6):
                        best, least, moved = tried, misfit, True
    return best


def mean(values):
    return sum(values) / len(values)


def section(title, note, experiment, overheads):
    found, told, native = experiment.predict(overheads), experiment.published, experiment.native
    others = [v for v in experiment.variants if v != native]
    errors = [found[c, native] / told[c, native] - 1 for c in experiment.loads]
    ratios = {v: [(told[c, v] / told[c, native], found[c, v] / found[c, native]) for c in experiment.loads] for v in others}
    rows = []
    for i, load in enumerate(experiment.loads):
        rows.append([str(load), f"{told[load, native]:.0f}", f"{found[load, native]:.0f} ({100 * errors[i]:+.1f} %)"] +
                    [f"{ratios[v][i][0]:.3f} / {ratios[v][i][1]:.3f}" for v in others])
    lines = [f"## {title}", "", note, ""]
    lines += [table(["in flight", f"{native}: published, tokens/s", "predicted"] + [f"{v}: ratio published / predicted" for v in others], rows)]
    lines += [f"Native totals within 15 % at {sum(abs(e) <= 0.15 for e in errors)} of {len(errors)} loads, worst {100 * max(map(abs, errors)):.1f} %.", ""]
    summary = []
    for variant, pairs in ratios.items():
        misses = [abs(a - b) for a, b in pairs]
        summary.append([variant, f"{sum(m <= 0.04 for m in misses)} of {len(misses)}", f"{100 * max(misses):.1f}",
                        f"{100 * (mean([a for a, _ in pairs]) - 1):.1f} / {100 * (mean([b for _, b in pairs]) - 1):.1f}"])
    return lines + [table(["variant", "ratios within 4 points", "worst, points", "mean gain published / predicted, %"], summary)]


HEAD = """# Fewer experts under load, published and predicted

[Yang25] serves DeepSeek-V2-Lite on two A800 (PCIe) and DeepSeek-V3 on eight H200 with SGLang 0.4.4, 1024 tokens in and out, and counts input and output tokens per second. Here the same loads are simulated with uniform routing and the analytic cost model. Three overheads are fitted per machine on the native column alone; every other column is predicted. Written by `python3 reports/studies/skipping/run.py --moecast PROGRAM --papers DIR`.

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moecast", required=True, type=pathlib.Path)
    parser.add_argument("--papers", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    if not (arguments.papers / "v2lite_throughput_topk.csv").exists():
        sys.exit(f"{arguments.papers} has no v2lite_throughput_topk.csv: nothing to compare with")
    moecast = arguments.moecast
    lite = Experiment("v2lite.yaml", arguments.papers / "v2lite_throughput_topk.csv", "na", "experts", moecast)
    pruned = Experiment("v2lite_pruned.yaml", arguments.papers / "v2lite_throughput_prune_ne.csv", "ne", "experts", moecast)
    large = Experiment("v3.yaml", arguments.papers / "v3_throughput_topk.csv", "na", "prefill", moecast)
    a800 = fit(lite, [1400, 90, 0.5])
    h200 = fit(large, [14000, 200, 20])
    lines = section("DeepSeek-V2-Lite, top-k 6 to 2", f"Fitted: {lite.said(a800)}.", lite, a800)
    lines += section("DeepSeek-V2-Lite, 64 experts cut to 6", "Nothing fitted: overheads of the table above.", pruned, a800)
    lines += section("DeepSeek-V3, top-k 8 to 3", f"Fitted: {large.said(h200)}.", large, h200)
    notes = (HERE / "notes.md").read_text(encoding="utf-8")
    (HERE / "README.md").write_text(HEAD + "\n".join(lines) + "\n" + notes, encoding="utf-8")


if __name__ == "__main__":
    main()
