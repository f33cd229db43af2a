#!/usr/bin/env python3
"""How well fits of other engines' kernel tables forecast rows they did not see: every card, engine and kernel.

    python3 scripts/public_tables.py --tables DIR/kernels_aic [--moecast PROGRAM] [--only CARD/ENGINE/OPS]

Runs `moecast calibrate --aic` on the user's copy of aiconfigurator's tables, one run per line of RUNS, and writes
reports/studies/accuracy/public_tables.md, one line per variant, and their sum in docs/accuracy_serving.md; with --only it
runs the lines that begin so and keeps the others' rows. `beside` is, for products, how far a row of the table lies in the
median from the straight line in logarithms between the counts measured beside it.
"""
import argparse
import itertools
import pathlib
import statistics
import subprocess
import sys
import tempfile

import table_scatter
from accuracy_tables import table_rows

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORT = ROOT / "reports/studies/accuracy/public_tables.md"
PAGE = ROOT / "docs/accuracy_serving.md"
BEGIN, END = "<!-- public tables: begin -->\n", "<!-- public tables: end -->\n"
GOALS = {"experts": 3.5, "gemm": 3.5, "decode_attention": 6, "prefill_attention": 6}  # per cent, median of a variant
COLLECTIVE_GOAL = 5
GPUS = {"h200_sxm": "H200-SXM", "h100_sxm": "H100-SXM"}
COLLECTIVES = "all_reduce,all_gather,reduce_scatter,all_to_all"
RUNS = [  # card, engine, kernels
    ("h200_sxm", "vllm-0.24.0", "experts"),
    ("h200_sxm", "vllm-0.24.0", "decode_attention,prefill_attention"),
    ("h200_sxm", "vllm-0.24.0", "gemm"),
    ("h200_sxm", "vllm-0.24.0", COLLECTIVES),
    ("h200_sxm", "sglang-0.5.14", "experts"),
    ("h200_sxm", "sglang-0.5.14", "decode_attention,prefill_attention"),
    ("h200_sxm", "sglang-0.5.14", "gemm"),
    ("h200_sxm", "trtllm-1.3.0rc10", "experts"),
    ("h100_sxm", "vllm-0.24.0", "experts"),
    ("h100_sxm", "vllm-0.24.0", "decode_attention,prefill_attention"),
    ("h100_sxm", "vllm-0.24.0", "gemm"),
    ("h100_sxm", "vllm-0.24.0", COLLECTIVES),
    ("h100_sxm", "sglang-0.5.14", "experts"),
    ("h100_sxm", "sglang-0.5.14", "decode_attention,prefill_attention"),
    ("h100_sxm", "trtllm-1.3.0rc10", "experts"),
]
HEADER = ["card", "engine", "op", "variant", "format", "rows", "held out", "median", "p95", "beside"]


def calibrated(run, arguments, folder):
    """Rows of the report of one run."""
    card, engine, ops = run
    report = pathlib.Path(folder) / "report.md"
    done = subprocess.run([arguments.moecast, "calibrate", "--aic", str(pathlib.Path(arguments.tables) / card),
                           "--engine", engine, "--gpu", GPUS[card], "--ops", ops,
                           "--out", str(report.with_suffix(".yaml")), "--report", str(report)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    rows = []
    for op, variant, number_format, count, _, held_out, _, median, _, p95, *_ in table_rows(
            report.read_text(encoding="utf-8"), "op"):
        if op == "all":
            continue
        rows.append([card, engine, op, variant, number_format, count, held_out, median, p95, "-"])
    return rows


def add_scatter(rows, tables):
    """Writes the last column of products."""
    for table in sorted(tables.rglob("gemm_perf.csv.gz")):
        card, _, engine, version = table.relative_to(tables).parts[:4]
        for kernel, off in table_scatter.beside(table).items():
            for row in rows:
                if row[:4] == [card, f"{engine}-{version}", "gemm", kernel]:
                    row[-1] = f"{100 * statistics.median(off):.2f}"


def kernel_of(row):
    """What the page calls the row's kernel."""
    op, variant = row[2:4]
    if op == "experts":
        return "experts, one rank of several" if variant.endswith("_ep") else "experts, whole"
    return {"gemm": "dense products"}.get(op, op.replace("_", " ") if op in GOALS else "collectives")


def summary(rows):
    """Lines of the page's table: a kernel of an engine on a card each."""
    lines = ["| card | engine | kernel | variants | rows | median | within the goal | missed |",
             "| " + " | ".join(["---"] * 8) + " |"]
    keyed = sorted(((row[0], row[1], kernel_of(row)), row) for row in rows)
    for (card, engine, kernel), group in itertools.groupby(keyed, key=lambda pair: pair[0]):
        variants = [row for _, row in group]
        missed = []
        for row in variants:
            if float(row[7]) > GOALS.get(row[2], COLLECTIVE_GOAL):
                beside = f" (rows lie {row[-1]} off their neighbours)" if row[-1] != "-" else ""
                missed.append(f"{row[3]} {row[4]} {row[7]}{beside}")
        middle = statistics.median(float(row[7]) for row in variants)
        count = sum(int(row[5]) for row in variants)
        lines.append(f"| {GPUS[card]} | {engine} | {kernel} | {len(variants)} | {count:,} | {middle:.1f} | "
                     f"{len(variants) - len(missed)} | {', '.join(missed) or '-'} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, help="folder of h200_sxm and h100_sxm")
    parser.add_argument("--moecast", default=str(ROOT / "build/release/sim/app/moecast"))
    parser.add_argument("--only", default="", help="runs whose CARD/ENGINE/OPS begins so")
    arguments = parser.parse_args()
    kept = table_rows(REPORT.read_text(encoding="utf-8"), "card") if arguments.only and REPORT.exists() else []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run in RUNS:
            if "/".join(run).startswith(arguments.only):
                print("/".join(run), file=sys.stderr, flush=True)
                new = calibrated(run, arguments, folder)
                add_scatter(new, pathlib.Path(arguments.tables))
                rows += new
            else:
                rows += [row for row in kept if row[0] == run[0] and row[1] == run[1] and row[2] in run[2].split(",")]
    lines = ["# Held-out errors of other engines' kernel tables", "",
             "Written by `scripts/public_tables.py`, which says what the columns are. Errors in %.", "",
             "| " + " | ".join(HEADER) + " |", "| " + " | ".join(["---"] * len(HEADER)) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(summary(rows)) + "\n\n" + END + rest.split(END)[1],
                    encoding="utf-8")


if __name__ == "__main__":
    main()
