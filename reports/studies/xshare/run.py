#!/usr/bin/env python3
"""XShare on gpt-oss-120b, one H200: throughput gain by concurrency, published and predicted; writes README.md.

    python3 reports/studies/xshare/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from study_table import figure, percent, run, table  # noqa: E402

# github.com/vllm-project/vllm pull request 35551: output tokens per second, baseline and XShare.
PUBLISHED = {"4": (530, 559), "8": (866, 1006), "16": (1342, 1835), "32": (1996, 3054)}
FITTED = "4"  # where four tokens touch at most 16 experts, so that a budget of 24 drops none
LAYERS = 36
ROUTE_US = 5  # fixed_us of route in analytic-default
NATIVE = "variants=[{name: native, set: {experts: native}}]"


def speed(case):
    return figure(case, "output_tokens_per_s")


def slower_routing(cases):
    """us a layer that native routing would have to take more for the published gain where no expert is dropped."""
    base, capped = PUBLISHED[FITTED]
    step = {name: int(FITTED) / speed(cases[FITTED, name]) * 1e6 for name in ("native", "budget 24")}
    return (step["budget 24"] * capped / base - step["native"]) / LAYERS


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    cases = run(moecast, HERE / "scenario.yaml")
    more = slower_routing(cases)
    slow = run(moecast, HERE / "scenario.yaml", NATIVE, f"cost.efficiencies.route.fixed_us={ROUTE_US + more:.2f}")
    rows, first, second = [], {}, {}
    for load, (base, capped) in PUBLISHED.items():
        native, xshare = cases[load, "native"], cases[load, "budget 24"]
        wanted = capped / base
        first[load] = speed(xshare) / speed(native) - wanted
        second[load] = speed(xshare) / speed(slow[load, "native"]) - wanted
        rows.append([load, percent(wanted), percent(wanted + first[load]), f"{100 * first[load]:+.1f}", percent(wanted + second[load]), "fitted" if load == FITTED else f"{100 * second[load]:+.1f}",
                     base, f"{speed(native):.0f}", f"{speed(slow[load, 'native']):.0f}", f"{figure(native, 'mean_distinct_experts'):.1f}", f"{figure(xshare, 'mean_distinct_experts'):.1f}",
                     f"{figure(xshare, 'mean_kept_experts'):.2f}"])
    held = [100 * abs(second[load]) for load in PUBLISHED if load != FITTED]
    few = figure(cases[FITTED, "native"], "mean_distinct_experts")
    page.holds("at 4 in flight the budget is above what is touched", few < 24)
    page.near("added routing time, us a layer", more, 8, 30)
    page.near("worst held-out miss, points", max(held), 0, 12)
    page.holds("gains rise with the load", all(a < b for a, b in zip(*(lambda g: (g, g[1:]))([first[c] + PUBLISHED[c][1] / PUBLISHED[c][0] for c in PUBLISHED]))))
    page.write(page.fill(
        "page.md", more=f"{more:.0f}", worst=f"{max(held):.0f}", few=f"{few:.0f}",
        table=table(["concurrency", "gain, published", "predicted", "points off", "with slower native routing", "points off", "baseline tok/s, published", "predicted", "with slower routing",
                     "experts a layer, native", "with XShare", "experts a token, with XShare"], rows)))


if __name__ == "__main__":
    main()
