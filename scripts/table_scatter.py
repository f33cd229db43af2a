#!/usr/bin/env python3
"""Scatter of aiconfigurator's tables of dense products: what no fit of them can foretell.

Prints, for each kernel of each gemm_perf.csv.gz below a folder, how far a row lies from the straight line in logarithms
between the counts of rows measured beside it: of all counts, and of 2 to 15, where a product only streams its weights and
one count takes as long as the next, so that what is left is scatter.

    python3 scripts/table_scatter.py DIR/kernels_aic/h200_sxm
"""
import collections
import csv
import gzip
import math
import pathlib
import statistics
import sys

STREAMING = range(2, 16)  # rows


def apart(rows):
    """Whether libraries take this many rows element by element: such counts are a series of their own."""
    return rows > 16 and rows % 8 != 0


def series(table):
    """[(kernel, {rows: ms})], of one shape and one alignment each."""
    times = collections.defaultdict(dict)
    with gzip.open(table, "rt") as lines:
        for row in csv.DictReader(lines):
            rows = int(row["m"])
            times[row["kernel_source"], row["n"], row["k"], apart(rows)][rows] = float(row["latency"])
    return [(key[0], of_rows) for key, of_rows in times.items()]


def beside(table, only=None):
    """{kernel: relative distances from the line between neighbours}"""
    off = collections.defaultdict(list)
    for kernel, of_rows in series(table):
        counts = sorted(of_rows)
        for less, rows, more in zip(counts, counts[1:], counts[2:]):
            if only is not None and rows not in only:
                continue
            part = math.log(rows / less) / math.log(more / less)
            line = of_rows[less] ** (1 - part) * of_rows[more] ** part
            off[kernel].append(abs(line / of_rows[rows] - 1))
    return off


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("| table | kernel | rows | median, % | 90th percentile, % | median of 2 to 15 rows, % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for table in sorted(pathlib.Path(sys.argv[1]).rglob("gemm_perf.csv.gz")):
        engine = "-".join(table.parts[-3:-1])
        streaming = beside(table, STREAMING)
        for kernel, off in sorted(beside(table).items()):
            ninth = statistics.quantiles(off, n=10)[-1]
            few = f"{100 * statistics.median(streaming[kernel]):.1f}" if streaming[kernel] else "-"
            print(f"| {engine} | {kernel} | {len(off)} | {100 * statistics.median(off):.1f} | {100 * ninth:.1f} | {few} |")


if __name__ == "__main__":
    main()
