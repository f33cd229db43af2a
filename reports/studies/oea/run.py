#!/usr/bin/env python3
"""OEA on one H100: experts touched and time of an MoE layer, published and predicted; writes README.md.

    python3 reports/studies/oea/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from study_table import expert_layer_us, figure, percent, run, table  # noqa: E402

LAYERS = 48
# Tables 3 to 5 of OEA (arXiv:2511.02237): mean unique experts and mean microseconds of an MoE layer.
PUBLISHED = {"vanilla": (48.8, 175.7), "k0=7": (44.4, 163.0), "k0=6": (40.3, 151.3), "k0=5": (35.1, 136.0),
             "k0=4": (29.9, 120.9), "k0=3": (25.1, 106.8)}
LAW = (33.9, 2.908)  # microseconds: fixed, per unique expert; least squares over the six points


def line(points):
    """Least-squares intercept and slope of (x, y)."""
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x, slope


def main():
    page = Page(__file__)
    cases = run(arguments(__doc__).moecast, HERE / "scenario.yaml")
    rows, points, misses, touched = [], [], [], []
    for name, (experts, time) in PUBLISHED.items():
        summary = cases["", name]
        mine, layer = figure(summary, "mean_distinct_experts"), expert_layer_us(summary, LAYERS)
        points.append((mine, layer))
        touched.append(mine / experts - 1)
        misses.append(layer / time - 1)
        rows.append([name, experts, f"{mine:.1f}", percent(mine / experts), time, f"{layer:.1f}", percent(layer / time), f"{figure(summary, 'mean_kept_experts'):.2f}"])
    fixed, slope = line(points)
    saved = points[-1][1] / points[0][1]
    published = PUBLISHED["k0=3"][1] / PUBLISHED["vanilla"][1]
    expert = 3 * 2048 * 768 * 2  # bytes
    page.near("layer times, worst", max(map(abs, misses)), 0, 0.08)
    page.near("slope over published", slope / LAW[1], 0.9, 1.1)
    page.near("saving, points", 100 * (saved - published), -5, 5)
    page.near("experts touched, worst", max(touched), 0, 0.1)
    page.holds("the vanilla row is what was fitted", abs(touched[0]) < 0.01)
    page.write(page.fill(
        "page.md", table=table(["rule", "experts, published", "predicted", "difference", "layer us, published", "predicted", "difference", "experts a token, predicted"], rows),
        law=table(["law t = a + b U", "published", "predicted", "difference"],
                  [["a, us", LAW[0], f"{fixed:.1f}", percent(fixed / LAW[0])], ["b, us per expert", LAW[1], f"{slope:.3f}", percent(slope / LAW[1])],
                   ["layer time, vanilla to k0=3", percent(published), percent(saved), f"{100 * (saved - published):+.1f} points"]]),
        worst=f"{100 * max(map(abs, misses)):.1f}", slope=f"{100 * abs(slope / LAW[1] - 1):.0f}", rate=f"{expert / slope / 1e6:.1f}", fixed=f"{fixed - LAW[0]:+.0f}", experts=f"{100 * max(touched):.0f}",
        kept=f"{figure(cases['', 'k0=3'], 'mean_kept_experts'):.1f}", batch=f"{figure(cases['', 'vanilla'], 'mean_decode_batch'):.1f}"))


if __name__ == "__main__":
    main()
