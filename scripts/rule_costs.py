#!/usr/bin/env python3
"""What a rule of expert selection adds to the routing kernel of one layer, from measured route rows.

    python3 scripts/rule_costs.py calibration/measurements/h200_sxm/*/route.csv

Prints the `rule_costs` of scenarios/catalog/efficiencies: per rule and number of tokens, the median
over model shapes (and settings of the rule) of the row's time less that of the native row of the
same file, model, regime and tokens. A median below 0 is printed as 0.
"""
import csv
import statistics
import sys
from collections import defaultdict

NAMES = {"uniform": "uniform_top_k", "ratio": "ratio_to_best", "top-p": "top_p", "aset-derived": "aset_derived",
         "oea": "oea", "xshare": "xshare"}


def differences(paths):
    """(rule, tokens) -> list of microseconds over native."""
    found = defaultdict(list)
    for path in paths:
        with open(path, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["op"] == "route"]
        key = lambda row: (row["model"], row["regime"], row["tokens"])
        native = {key(row): float(row["median_us"]) for row in rows if row["rule"] == "native"}
        for row in rows:
            name = NAMES.get(row["rule"].split()[0])
            if name and key(row) in native:
                found[name, int(row["tokens"])].append(float(row["median_us"]) - native[key(row)])
    return found


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found = differences(sys.argv[1:])
    for name in NAMES.values():
        points = sorted((tokens, values) for (rule, tokens), values in found.items() if rule == name)
        if not points:
            continue
        print(f"  - name: {name}")
        print("    tokens: [" + ", ".join(str(tokens) for tokens, _ in points) + "]")
        print("    extra_us: [" + ", ".join(f"{max(0.0, statistics.median(values)):.2f}" for _, values in points) + "]")


if __name__ == "__main__":
    main()
