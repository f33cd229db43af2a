#!/usr/bin/env python3
"""SAW-INT4's output throughput on one H100 beside the forecast; writes README.md beside this file.

  python3 reports/studies/saw_int4/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from study_table import ROOT, run_rows  # noqa: E402
from steps import table  # noqa: E402

# README of SAW-INT4 (Together AI, SGLang): Qwen3-8B on one H100, output tokens/s with a bf16 cache and with 4 bits and rotated keys.
PUBLISHED = {
    "256/1024, 32": (3795, 3689),
    "256/1024, 64": (5950, 6235),
    "256/1024, 128": (8410, 9350),
    "256/1024, 256": (11195, 11732),
    "16384/1024, 8": (414, 457),
    "16384/1024, 16": (481, 568),
    "16384/1024, 32": (570, 616),
    "16384/1024, 64": (471, 663),
    "16384/1024, 128": (559, 701),
}
SCENARIOS = ["short.yaml", "long.yaml"]
FITTED = "16384/1024, 8"  # the one load whose gain decides the fitted share of bandwidth
SHARES = [0.85, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2]
MEASURED = "measured"  # steps priced by this project's kernels, the H100 profile


def percent(ratio):
    return f"{100 * (ratio - 1):+.0f} %"


class Forecasts:
    """Gains of 4 bits by load, at a share of bandwidth or by measured kernels."""

    def __init__(self, moecast):
        self.moecast = moecast
        self.known = {}

    def rows(self, share):
        if share not in self.known:
            override = f"cost.profile={ROOT}/calibration/profiles/h100_sxm.yaml" if share == MEASURED else f"cost.efficiencies.kv_reads.bits_4={share}"
            self.known[share] = {key: row for name in SCENARIOS for key, row in run_rows(self.moecast, HERE / name, override).items()}
        return self.known[share]

    def speed(self, share, variant, load):
        return float(self.rows(share)[load, variant]["output_tokens_per_s"])

    def gain(self, share, load):
        return self.speed(share, "saw_int4", load) / self.speed(share, "bf16", load)


def main():
    page = Page(__file__)
    forecasts = Forecasts(arguments(__doc__).moecast)
    wanted = PUBLISHED[FITTED][1] / PUBLISHED[FITTED][0]
    stated = SHARES[0]
    fitted = min(SHARES, key=lambda share: abs(forecasts.gain(share, FITTED) - wanted))
    prices = {"analytic": stated, "4 bits fitted": fitted, "measured kernels": MEASURED}
    lines, errors, signs = [], {name: [] for name in prices}, dict.fromkeys(prices, 0)
    for load, (bf16, int4) in PUBLISHED.items():
        cells = [load, bf16, *(f"{forecasts.speed(price, 'bf16', load):.0f} ({percent(forecasts.speed(price, 'bf16', load) / bf16)})" for price in (stated, MEASURED)), percent(int4 / bf16)]
        for name, price in prices.items():
            gain = forecasts.gain(price, load)
            errors[name].append(100 * (gain - int4 / bf16))
            signs[name] += (int4 > bf16) == (gain > 1)
            cells.append(f"{percent(gain)} ({errors[name][-1]:+.0f})")
        lines.append(cells)
    summary = [[name, f"{sum(map(abs, e)) / len(e):.0f}", f"{max(map(abs, e)):.0f}", f"{signs[name]} of {len(e)}"] for name, e in errors.items()]
    loads = list(PUBLISHED)
    fit_errors = {load: abs(error) for load, error in zip(loads, errors["4 bits fitted"]) if load != FITTED}
    near = sum(error <= 10 for error in fit_errors.values())
    bf16_near = sum(abs(forecasts.speed(stated, "bf16", load) / PUBLISHED[load][0] - 1) <= 0.15 for load in loads)
    flat = [forecasts.speed(stated, "bf16", load) for load in loads[-3:]]
    page.holds("fitted, most gains within 10 points", near >= 5)
    page.holds("measured kernels gain more than published at every load", all(e > 0 for e in errors["measured kernels"]))
    page.holds("bf16 is flat from 32 long requests on", max(flat) / min(flat) < 1.02)
    page.holds("a fitted share of under half", fitted < 0.5)
    page.write(page.fill(
        "page.md", share=fitted, stated=stated, fitted=FITTED, near=near, others=len(fit_errors), bf16_near=bf16_near, loads=len(loads),
        table=table(["tokens in/out, in flight", "bf16 published", "analytic", "measured kernels", "gain of 4 bits published", *prices], lines),
        summary=table(["4 bits priced", "points off, mean", "most", "sign right"], summary)))


if __name__ == "__main__":
    main()
