#!/usr/bin/env python3
"""LYNX: median time per output token, published and predicted over batch and cut; writes README.md.

    python3 reports/studies/lynx/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from study_table import figure, run, table  # noqa: E402

# Table 2 of LYNX v3 (arXiv:2411.08982): p50 TPOT in ms, base and LYNX; the GPUs are our assumption.
PUBLISHED = {
    "Qwen3-30B-A3B": (1, {"GSM8K": (11.59, 10.15), "HumanEval": (11.57, 9.51)}),
    "Qwen2-57B-A14B": (2, {"GSM8K": (16.51, 12.7), "HumanEval": (15.83, 12.63)}),
    "Mixtral-8x7B-v0.1": (2, {"GSM8K": (14.55, 12.83)}),
}
LOADS = ["8", "16", "32"]
MASSES = ["mass 0.9", "mass 0.8", "mass 0.6"]


def at_mass(points, wanted):
    """The mass, between the scanned ones, at which the speed-up is `wanted`; the nearest end if it is outside."""
    points = sorted(points)
    if wanted <= points[0][1] or wanted >= points[-1][1]:
        return min(points, key=lambda point: abs(point[1] - wanted))[0]
    (a, x), (b, y) = next((p, q) for p, q in zip(points, points[1:]) if p[1] <= wanted <= q[1])
    return a + (wanted - x) / (y - x) * (b - a)


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    sections, reached, masses, inside, top = "", [], [], 0, {}
    for model, (gpus, tasks) in PUBLISHED.items():
        cases = run(moecast, HERE / "scenario.yaml", f"model={model}", f"cluster.parallelism.tensor={gpus}")
        rows, ratios, bases = [], {}, {}
        for load in LOADS:
            bases[load] = figure(cases[load, "native"], "tpot_median_ms")
            row = [load, f"{bases[load]:.2f}", f"{figure(cases[load, 'native'], 'mean_distinct_experts'):.1f}"]
            for mass in MASSES:
                case = cases[load, mass]
                ratios[load, mass] = bases[load] / figure(case, "tpot_median_ms")
                row.append(f"{ratios[load, mass]:.3f} ({figure(case, 'mean_distinct_experts'):.1f})")
            rows.append(row)
        top[model] = max(ratios.values())
        sections += f"## {model}, {gpus} x H100\n\n" + table(["batch", "TPOT native, ms", "experts a layer"] + [f"speed-up at {m} (experts)" for m in MASSES], rows) + "\n"
        for task, (before, after) in tasks.items():
            wanted, low, high = before / after, min(ratios.values()), max(ratios.values())
            near = min(LOADS, key=lambda load, before=before: abs(bases[load] - before))
            mass = at_mass([(-float(m.split()[1]), ratios[near, m]) for m in MASSES], wanted)
            masses.append(-mass)
            inside += low <= wanted <= high
            reached.append([model, task, f"{before} ms", near, f"{bases[near]:.1f} ms", f"{wanted:.3f}", f"{low:.3f} to {high:.3f}", "yes" if low <= wanted <= high else "no", f"{-mass:.2f}"])
    page.holds("every published speed-up is inside the range", inside == len(reached))
    page.holds("Mixtral can gain least", min(top, key=top.get) == "Mixtral-8x7B-v0.1")
    page.near("the masses wanted, width", max(masses) - min(masses), 0, 0.3)
    page.write(page.fill(
        "page.md", sections=sections, low=f"{min(masses):.2f}", high=f"{max(masses):.2f}", most_mixtral=f"{top['Mixtral-8x7B-v0.1']:.2f}",
        reached=table(["model", "task", "base TPOT, published", "batch with the nearest base", "its base", "speed-up, published", "predicted range", "inside", "mass that gives it at that batch"], reached)))


if __name__ == "__main__":
    main()
