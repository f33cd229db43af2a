"""Fits `graph_gap_us` to executed decode steps: python3 scripts/fit_gaps.py FOLDER GAP_US

  FOLDER  holds a folder per scenario with ops.csv and steps.csv.gz, as scripts/validate_all writes them
  GAP_US  the constant those forecasts were made with: what they say of gaps is proportional to it

A step's gap is its executed time less the sum of its ops timed apart. Least squares of the difference between forecast and executed gap, relative to
the step. Prints the constant and what is left, in percent of a step, below it.
"""

import collections
import csv
import gzip
import pathlib
import sys


def steps_of(folder):
    """RETURNS: (executed step, executed gap, forecast gap) of decode steps whose ops were timed apart, in us."""
    with gzip.open(folder / "steps.csv.gz", "rt", encoding="utf-8") as file:
        whole = {(row["case"], row["step"]): row for row in csv.DictReader(file)}
    apart, forecast = collections.Counter(), collections.Counter()
    with open(folder / "ops.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["case"], row["step"]
            apart[key] += float(row["executed_us"])
            forecast[key] += float(row["predicted_us"]) if row["op"] == "kernel.gaps" else 0
    for key, ops in apart.items():
        if whole[key]["prefill_tokens"] == "0":
            step = float(whole[key]["executed_us"])
            yield step, step - ops, forecast[key]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    used = float(sys.argv[2])
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/ops.csv"))
    found = {folder.name: [(gap / step, forecast / used / step) for step, gap, forecast in steps_of(folder)] for folder in folders}
    pairs = [pair for of_scenario in found.values() for pair in of_scenario]
    gap_us = sum(gap * unit for gap, unit in pairs) / sum(unit * unit for _, unit in pairs)
    print(f"graph_gap_us {gap_us:.2f} from {len(pairs)} steps")
    for name, of_scenario in [*found.items(), ("all", pairs)]:
        left = [100 * (gap_us * unit - gap) for gap, unit in of_scenario]
        print(f"{name}: mean {sum(left) / len(left):+.2f} %, root mean square {(sum(e * e for e in left) / len(left)) ** 0.5:.2f} %")


if __name__ == "__main__":
    main()
