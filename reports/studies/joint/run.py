#!/usr/bin/env python3
"""Expert rules x cache bits x load on one H200; writes README.md, results.csv and a plot per model beside this file.

  python3 reports/studies/joint/run.py --moecast build/dev/sim/app/moecast
  python3 reports/studies/joint/run.py --again          the page once more from results.csv, without running anything
"""
import argparse
import csv
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from findings import Model, say  # noqa: E402
from page import Page  # noqa: E402
from plot import lines_svg  # noqa: E402
from study_table import ROOT, run, table  # noqa: E402
from tables import section  # noqa: E402

STUDIES = {"Qwen3-30B-A3B": "qwen3_30b", "DeepSeek-V2-Lite": "v2lite"}
FIGURES = {"tpot_ms": "tpot_median_ms", "decode_batch": "mean_decode_batch", "experts": "mean_distinct_experts", "kept_experts": "mean_kept_experts", "kept_mass": "kept_gate_mass",
           "changed_experts": "changed_experts", "kv_error": "kv_output_error"}
RESULTS = HERE / "results.csv"
GROUPS = {"kivi2": "32"}  # of kv_accuracy.csv, where a scheme was measured with several


def number(value):
    return "" if value is None else f"{value:.6g}"


def mean_of(figures, name):
    found = figures.get(name)
    return found.get("mean") if found else None


def change_of(finding):
    before = finding.get("unchanged_value")
    return f"{finding['task']} {finding['value']:g}" + (f" (of {before:g})" if before is not None else "")


def simulate(moecast):
    """RETURNS: rows of results.csv."""
    rows = []
    for model, scenario in STUDIES.items():
        for (load, variant), case in run(moecast, HERE / f"{scenario}.yaml", threads=2).items():
            rule, cache = variant.split(", ")
            figures = case["moecast"]["figures"]
            speed = figures["output_tokens_per_s"]
            quality = [f for f in case["moecast"]["quality"] if f["family"] == "generation"] or case["moecast"]["quality"]
            rows.append({"model": model, "load": load, "rule": rule, "cache": cache, "tokens_per_s": number(speed["mean"]), "low_95": number(speed["interval_95"][0]),
                         "high_95": number(speed["interval_95"][1]), **{name: number(mean_of(figures, figure)) for name, figure in FIGURES.items()},
                         "quality": "; ".join(change_of(finding) for finding in quality)})
    order = {name: i for i, name in enumerate(STUDIES)}
    return sorted(rows, key=lambda r: (order[r["model"]], int(r["load"]), r["rule"] != "native", r["rule"], not r["cache"].endswith("bf16"), r["cache"]))


def write_rows(rows):
    with open(RESULTS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows():
    with open(RESULTS, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plot_of(model):
    panels = {cache: {rule: [100 * model.gain(load, rule, cache) for load in model.loads] for rule in model.rules[1:]} for cache in model.caches}
    return lines_svg(f"{model.name}: gain of a rule beside the same cache, %", "sequences in flight", "gain, %", model.loads, panels)


def cache_errors(caches):
    """Relative error of the attention output, heads of 128, data shaped as papers report it; rotated schemes as their codes without rotation are not the same and are left out."""
    with open(ROOT / "kernels/data/kv_accuracy.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["data"] == "real_shaped" and r["head_dim"] in ("128", "512", "576")]
    known = {r["scheme"]: r for r in rows if r["group"] == GROUPS.get(r["scheme"], r["group"])}
    return [[cache, known[cache]["stored_bits"], f"{float(known[cache]['output_error']):.3f}"] if cache in known else [cache, "", "missing"] for cache in caches]


def executed():
    """Speed-ups of executed runs on the H200: ([points off of rules], [points off of caches])."""
    rules, caches = [], []
    for path in sorted((ROOT / "reports/studies/validation/h200_sxm").glob("*/figures.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            found = [float(r["error_percent"]) for r in csv.DictReader(file) if r["figure"] == "speedup_points"]
        (caches if "_kv_" in path.parent.name else rules).extend(found)
    return rules, caches


def page_of(page, rows):
    """RETURNS: (text of README.md, {file name: plot}); statements go to `page`."""
    models = [Model(name, [r for r in rows if r["model"] == name]) for name in STUDIES]
    caches = list(dict.fromkeys(cache for model in models for cache in model.caches))
    text = page.fill("page.md", tables="\n".join(section(model, f"{STUDIES[model.name]}.svg") for model in models),
                     errors=table(["cache", "stored bits", "relative error of the output"], cache_errors(caches)), **say(page, *models, *executed()))
    return text, {f"{STUDIES[model.name]}.svg": plot_of(model) for model in models}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moecast", type=pathlib.Path)
    parser.add_argument("--again", action="store_true", help="write the page from results.csv")
    given = parser.parse_args()
    if bool(given.moecast) == given.again:
        parser.error("give --moecast PROGRAM or --again")
    if given.moecast:
        write_rows(simulate(given.moecast))
    page = Page(__file__)
    text, plots = page_of(page, read_rows())
    for name, plot in plots.items():
        (HERE / name).write_text(plot, encoding="utf-8")
    page.write(text)


if __name__ == "__main__":
    main()
