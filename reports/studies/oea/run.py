#!/usr/bin/env python3
"""OEA on one H100: experts touched and time of an MoE layer, published and predicted; writes README.md.

    python3 reports/studies/oea/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import expert_layer_us, figure, percent, run, table  # noqa: E402

HEADER = """# OEA: experts touched and layer time on one H100

Qwen3-30B-A3B, bf16, decode batches of at most 16 [OEA25]. Regenerate with

    python3 reports/studies/oea/run.py --moecast BUILD/sim/app/moecast

One number was fitted, on the vanilla row alone: the popularity spread of the generated routing, so that 16 sequences touch the published 48.8 experts a layer (independent uniform routing would touch 82). Experts under k0 = 7 to 3 and every time are forecasts; times are those of this project's H100 profile (router, rule, products, combine), averaged over all steps.

"""
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moecast", required=True)
    cases = run(parser.parse_args().moecast, HERE / "scenario.yaml")
    rows, points = [], []
    for name, (experts, time) in PUBLISHED.items():
        summary = cases["", name]
        mine, layer = figure(summary, "mean_distinct_experts"), expert_layer_us(summary, LAYERS)
        points.append((mine, layer))
        rows.append([name, experts, f"{mine:.1f}", percent(mine / experts), time, f"{layer:.1f}", percent(layer / time),
                     f"{figure(summary, 'mean_kept_experts'):.2f}"])
    fixed, slope = line(points)
    first, last = points[0][1], points[-1][1]
    text = HEADER
    text += table(["rule", "experts, published", "predicted", "difference", "layer us, published", "predicted", "difference",
                   "experts a token, predicted"], rows)
    text += "\n" + table(["law t = a + b U", "published", "predicted", "difference"],
                         [["a, us", LAW[0], f"{fixed:.1f}", percent(fixed / LAW[0])],
                          ["b, us per expert", LAW[1], f"{slope:.3f}", percent(slope / LAW[1])],
                          ["layer time, vanilla to k0=3", "-39.2 %", percent(last / first),
                           f"{(last / first - 106.8 / 175.7) * 100:+.1f} points"]])
    text += "\n" + (HERE / "notes.md").read_text()
    (HERE / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
