#!/usr/bin/env python3
"""Expert rules x cache bits x load on one H200; writes README.md beside this file.

  python3 reports/studies/joint/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import csv
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import ROOT, figure, run, table  # noqa: E402

STUDIES = [("Qwen3-30B-A3B", "qwen3_30b.yaml"), ("DeepSeek-V2-Lite", "v2lite.yaml")]
GROUPS = {"kivi4": "32", "kivi2": "32"}


def speed(case):
    """Mean and 95 % interval of output tokens/s: what the step times' errors make of it."""
    found = case["moecast"]["figures"]["output_tokens_per_s"]
    low, high = found["interval_95"]
    return found["mean"], f"{found['mean']:.0f} [{low:.0f}, {high:.0f}]"


def section(model, cases):
    loads = sorted({load for load, _ in cases}, key=int)
    names = list(dict.fromkeys(variant for _, variant in cases))
    rules, caches = (sorted({name.split(", ")[i] for name in names}) for i in (0, 1))
    rules.sort(key=lambda rule: rule != "native")
    caches.sort(key=lambda cache: not cache.endswith("bf16"))
    lines = [f"## {model}", ""]
    for load in loads:
        base = speed(cases[load, f"native, {caches[0]}"])[0]
        rows = []
        for rule in rules:
            row = [rule]
            for cache in caches:
                case = cases[load, f"{rule}, {cache}"]
                mean, text = speed(case)
                gain = mean / speed(cases[load, f"native, {cache}"])[0] - 1
                row.append(f"{text}; x{mean / base:.2f}; {100 * gain:+.0f} %; {figure(case, 'tpot_median_ms'):.1f} ms; "
                           f"{figure(case, 'mean_decode_batch'):.0f}; {figure(case, 'mean_distinct_experts'):.0f}")
            rows.append(row)
        lines += [f"{load} in flight:", "", table(["rule, cache"] + caches, rows)]
    kept = [[rule, mass(cases[loads[0], f"{rule}, {caches[0]}"])] for rule in rules]
    return lines + ["Kept gate mass, a proxy:", "", table(["rule", "share"], kept)]


def mass(case):
    found = case["moecast"]["figures"].get("kept_gate_mass")
    return f"{found['mean']:.3f}" if found and found.get("mean") is not None else "missing: chosen in the step"


def cache_errors():
    """Relative error of the attention output, 128-wide heads, data shaped as papers report it."""
    with open(ROOT / "kernels/data/kv_accuracy.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["data"] == "real_shaped" and r["head_dim"] == "128"]
    return [[r["scheme"], r["stored_bits"], r["output_error"]] for r in rows
            if r["scheme"] in ("bf16", "fp8_e4m3", "kivi4", "kivi2") and r["group"] == GROUPS.get(r["scheme"], r["group"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moecast", required=True, type=pathlib.Path)
    moecast = parser.parse_args().moecast
    lines = []
    for model, scenario in STUDIES:
        lines += section(model, run(moecast, HERE / scenario))
    lines += ["Error of the attention output, a proxy (`moecast_kv_accuracy`, keys and values drawn, not of these models):", "",
              table(["scheme", "stored bits", "relative error"], cache_errors())]
    (HERE / "README.md").write_text((HERE / "header.md").read_text(encoding="utf-8") + "\n".join(lines) + "\n" +
                                    (HERE / "notes.md").read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
