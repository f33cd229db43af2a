#!/usr/bin/env python3
"""Scatter of aiconfigurator's tables of dense products: what no fit of them can foretell.

From 2 to 15 rows a product streams its weights, so one count takes as long as its neighbours. Prints, for each
kernel of each gemm_perf.csv.gz below a folder, how far a row lies from the mean of the counts beside it.

    python3 scripts/table_scatter.py DIR/kernels_aic/h200_sxm
"""
import collections
import csv
import gzip
import pathlib
import statistics
import sys

COUNTS = range(2, 16)  # rows


def scatter(table):
    times = collections.defaultdict(dict)  # (kernel, n, k) -> rows -> ms
    with gzip.open(table, "rt") as lines:
        for row in csv.DictReader(lines):
            times[row["kernel_source"], row["n"], row["k"]][int(row["m"])] = float(row["latency"])
    off = collections.defaultdict(list)
    for (kernel, _, _), of_rows in times.items():
        for rows in COUNTS:
            if all(near in of_rows for near in (rows - 1, rows, rows + 1)):
                mean = (of_rows[rows - 1] + of_rows[rows + 1]) / 2
                off[kernel].append(abs(of_rows[rows] / mean - 1))
    return off


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("| table | kernel | rows | median, % | 90th percentile, % |\n| --- | --- | --- | --- | --- |")
    for table in sorted(pathlib.Path(sys.argv[1]).rglob("gemm_perf.csv.gz")):
        engine = "-".join(table.parts[-3:-1])
        for kernel, off in sorted(scatter(table).items()):
            ninth = statistics.quantiles(off, n=10)[-1]
            print(f"| {engine} | {kernel} | {len(off)} | {100 * statistics.median(off):.1f} | {100 * ninth:.1f} |")


if __name__ == "__main__":
    main()
