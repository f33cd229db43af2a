#!/usr/bin/env python3
"""Repeats the serving experiments of "Faster MoE LLM Inference for Extremely Large Models" [Yang25] and writes README.md beside this file.

  python3 reports/studies/skipping/run.py --moecast build/dev/sim/app/moecast --papers DIR

DIR holds the published tables as CSV (v2lite_throughput_topk.csv, v2lite_throughput_prune_ne.csv, v3_throughput_topk.csv); without them the page is left as it is.

Three numbers are fitted per machine, on the column of the native model alone, by least squares of the logarithm of total tokens/s: host time per step, host time per running
sequence, and a third (THIRD). Everything in the other columns is predicted.
"""
import csv
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
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

    def predict(self, overheads, *more):
        """{(load, variant): total tokens/s}; as many tokens go in as come out."""
        settings = [f"cost.efficiencies.{name}={value:.6g}" for name, value in self.settings(overheads).items()]
        rows = run_rows(self.moecast, self.scenario, *settings, *more)
        return {(int(load), variant): 2 * float(row["output_tokens_per_s"]) for (load, variant), row in rows.items()}

    def settings(self, overheads):
        return {"host_per_step_us": overheads[0], "host_per_sequence_us": overheads[1], **THIRD[self.third][1](overheads[2])}

    def said(self, overheads):
        return f"{overheads[0] / 1000:.2f} ms per step, {overheads[1]:.0f} us per running sequence and step, {THIRD[self.third][0].format(overheads[2])}"

    def misfit(self, overheads):
        found = self.predict(overheads, f"variants=[{{name: '{self.native}', set: {{experts: native}}}}]")
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


class Result:
    """What an experiment predicts beside what was published."""

    def __init__(self, experiment, overheads):
        self.experiment, told = experiment, experiment.published
        found, native = experiment.predict(overheads), experiment.native
        self.loads, self.others = experiment.loads, [v for v in experiment.variants if v != native]
        self.native = {c: (told[c, native], found[c, native]) for c in self.loads}
        self.errors = {c: found[c, native] / told[c, native] - 1 for c in self.loads}
        self.ratios = {v: {c: (told[c, v] / told[c, native], found[c, v] / found[c, native]) for c in self.loads} for v in self.others}

    def within(self, variant, points):
        return sum(abs(a - b) <= points for a, b in self.ratios[variant].values())

    def gains(self, variant, leave_out=()):
        """Mean gain over the loads: published, predicted, per cent."""
        pairs = [pair for c, pair in self.ratios[variant].items() if c not in leave_out]
        return tuple(100 * (mean([pair[i] for pair in pairs]) - 1) for i in (0, 1))

    def section(self, title, note):
        rows = []
        for c in self.loads:
            rows.append([str(c), f"{self.native[c][0]:.0f}", f"{self.native[c][1]:.0f} ({100 * self.errors[c]:+.1f} %)"] +
                        [f"{a:.3f} / {b:.3f}" for a, b in (self.ratios[v][c] for v in self.others)])
        lines = [f"## {title}", "", note, ""]
        lines += [table(["in flight", f"{self.experiment.native}: published, tokens/s", "predicted"] + [f"{v}: ratio published / predicted" for v in self.others], rows)]
        worst = max(map(abs, self.errors.values()))
        lines += [f"Native totals within 15 % at {sum(abs(e) <= 0.15 for e in self.errors.values())} of {len(self.errors)} loads, worst {100 * worst:.1f} %.", ""]
        summary = []
        for variant, pairs in self.ratios.items():
            misses = [abs(a - b) for a, b in pairs.values()]
            published, predicted = self.gains(variant)
            summary.append([variant, f"{self.within(variant, 0.04)} of {len(misses)}", f"{100 * max(misses):.1f}", f"{published:.1f} / {predicted:.1f}"])
        return lines + [table(["variant", "ratios within 4 points", "worst, points", "mean gain published / predicted, %"], summary)]


def both(pair):
    return f"{pair[0]:.2f} against {pair[1]:.2f}"


def said(page, lite, pruned, large):
    """The words under the tables, and what they rest on."""
    two = {c: pair for c, pair in lite.ratios["2"].items()}
    best = max(two, key=lambda c: two[c][1])
    trough = min(two, key=lambda c: two[c][1])
    step = {v: 2 * 512 / (lite.native[512][0] * (1 if v == "6" else lite.ratios[v][512][0])) * 1e3 for v in ("6", "4", "2")}
    without = large.gains("6", leave_out=(32,))
    page.holds("native totals of V2-Lite within 15 % at every load", max(map(abs, lite.errors.values())) <= 0.15)
    page.holds("ratios of top-4 within 4 points at 12 of 14 loads", lite.within("4", 0.04) >= 12)
    page.holds("top-2 gains most at 4 to 16 in flight", 4 <= best <= 16)
    page.holds("the trough of top-2 lies at 96 to 256", 96 <= trough <= 256)
    page.holds("top-2 is forecast low at saturation", all(two[c][1] < two[c][0] for c in (512, 768)))
    page.holds("deeper cuts gain more than predicted at few requests", all(pruned.ratios["32"][c][0] > pruned.ratios["32"][c][1] for c in (3, 6, 12)))
    page.near("V3, top-6, mean without 32 in flight, points", without[1] - without[0], -0.5, 0.5)
    return page.fill(
        "page.md", within_two=f"{lite.within('2', 0.04)} of {len(two)}", saturated=" and ".join(both(two[c]) for c in (512, 768)), best=best, trough=trough, ratio_best=both(two[best]), ratio_trough=both(two[trough]),
        step_6=f"{step['6']:.0f}", saved_4=f"{step['6'] - step['4']:.1f}", saved_2=f"{step['4'] - step['2']:.1f}", dent=f"{lite.native[192][0]:,.0f}", before=f"{lite.native[128][0]:,.0f}",
        after=f"{lite.native[256][0]:,.0f}", cut=both(pruned.ratios["32"][6]), end=f"{100 * (max(pruned.ratios['6'][c][1] for c in (512, 784)) - 1):.0f}",
        end_published=f"{100 * (max(pair[0] for r in pruned.ratios.values() for c, pair in r.items() if c > 192) - 1):.0f}", all_published=f"{large.gains('6')[0]:.1f}", all_predicted=f"{large.gains('6')[1]:.1f}",
        peak=f"{100 * (large.ratios['6'][32][0] - 1):.1f}", peak_predicted=f"{100 * (large.ratios['6'][32][1] - 1):.1f}", without=f"{without[0]:.1f}", without_predicted=f"{without[1]:.1f}",
        three=" and ".join(f"{large.ratios['3'][c][0]:.2f}" for c in (16, 32)), four=" and ".join(f"{large.ratios['4'][c][0]:.2f}" for c in (16, 32)))


HEAD = """# Fewer experts under load, published and predicted

[Yang25] serves DeepSeek-V2-Lite on two A800 (PCIe) and DeepSeek-V3 on eight H200 with SGLang 0.4.4, 1024 tokens in and out, and counts input and output tokens per second. Here the same loads are simulated with uniform routing and the analytic cost model. Three overheads are fitted per machine on the native column alone; every other column is predicted. Written by `python3 reports/studies/skipping/run.py --moecast PROGRAM --papers DIR`.

"""


def main():
    page = Page(__file__)
    given = arguments(__doc__, "--papers")
    if not (given.papers / "v2lite_throughput_topk.csv").exists():
        sys.exit(f"{given.papers} has no v2lite_throughput_topk.csv: nothing to compare with")
    lite = Experiment("v2lite.yaml", given.papers / "v2lite_throughput_topk.csv", "na", "experts", given.moecast)
    pruned = Experiment("v2lite_pruned.yaml", given.papers / "v2lite_throughput_prune_ne.csv", "ne", "experts", given.moecast)
    large = Experiment("v3.yaml", given.papers / "v3_throughput_topk.csv", "na", "prefill", given.moecast)
    a800 = fit(lite, [1400, 90, 0.5])
    h200 = fit(large, [16500, 340, 57])
    results = [Result(lite, a800), Result(pruned, a800), Result(large, h200)]
    lines = results[0].section("DeepSeek-V2-Lite, top-k 6 to 2", f"Fitted: {lite.said(a800)}.")
    lines += results[1].section("DeepSeek-V2-Lite, 64 experts cut to 6", "Nothing fitted: overheads of the table above.")
    lines += results[2].section("DeepSeek-V3, top-k 8 to 3", f"Fitted: {large.said(h200)}.")
    page.write(HEAD + "\n".join(lines) + "\n" + said(page, *results))


if __name__ == "__main__":
    main()
