#!/usr/bin/env python3
"""LYNX: median time per output token, published and predicted over batch and cut; writes README.md.

    python3 reports/studies/lynx/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import figure, run, table  # noqa: E402

HEADER = """# LYNX: time per output token

[Lynx24], Table 2 (v3): p50 TPOT under vLLM, 1.13 to 1.30 times faster. The table does not say GPUs, batch or where the score distribution is cut, so this is a range, not a point: batches of 8 to 32 and three cuts, analytic costs, H100s, generated routing. Regenerate with

    python3 reports/studies/lynx/run.py --moecast BUILD/sim/app/moecast

"""

# Table 2 of LYNX v3 (arXiv:2411.08982): p50 TPOT in ms, base and LYNX; the GPUs are our assumption.
PUBLISHED = {
    "Qwen3-30B-A3B": (1, {"GSM8K": (11.59, 10.15), "HumanEval": (11.57, 9.51)}),
    "Qwen2-57B-A14B": (2, {"GSM8K": (16.51, 12.7), "HumanEval": (15.83, 12.63)}),
    "Mixtral-8x7B-v0.1": (2, {"GSM8K": (14.55, 12.83)}),
}
LOADS = ["8", "16", "32"]
MASSES = ["mass 0.9", "mass 0.8", "mass 0.6"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moecast", required=True)
    moecast = parser.parse_args().moecast
    text = HEADER
    reached = []
    for model, (gpus, tasks) in PUBLISHED.items():
        cases = run(moecast, HERE / "scenario.yaml", f"model={model}", f"cluster.parallelism.tensor={gpus}")
        rows, ratios = [], []
        for load in LOADS:
            base = figure(cases[load, "native"], "tpot_median_ms")
            row = [load, f"{base:.2f}", f"{figure(cases[load, 'native'], 'mean_distinct_experts'):.1f}"]
            for mass in MASSES:
                case = cases[load, mass]
                ratio = base / figure(case, "tpot_median_ms")
                ratios.append(ratio)
                row.append(f"{ratio:.3f} ({figure(case, 'mean_distinct_experts'):.1f})")
            rows.append(row)
        text += f"## {model}, {gpus} x H100\n\n"
        text += table(["batch", "TPOT native, ms", "experts a layer"] + [f"speed-up at {m} (experts)" for m in MASSES], rows) + "\n"
        for task, (before, after) in tasks.items():
            wanted = before / after
            inside = min(ratios) <= wanted <= max(ratios)
            nearest = min(ratios, key=lambda each: abs(each - wanted))
            reached.append([model, task, f"{before} ms", f"{wanted:.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{nearest:.3f}",
                            f"{(nearest - wanted) * 100:+.1f} points", "yes" if inside else "no"])
    text += "## Published beside the range\n\n"
    text += table(["model", "task", "base TPOT, published", "speed-up, published", "predicted range", "nearest", "difference", "inside"], reached)
    text += "\n" + (HERE / "notes.md").read_text()
    (HERE / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
