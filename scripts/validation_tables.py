"""Writes the results of docs/validation.md from reports/studies/validation/*/summary.md.

  python3 scripts/validation_tables.py            rewrites the page's generated part
  python3 scripts/validation_tables.py --check    fails if the page differs from what would be written
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/validation.md"
BEGIN, END = "<!-- generated tables: begin -->\n", "<!-- generated tables: end -->\n"
COLUMNS = ["step error mean %", "bias %", "throughput %", "TTFT p50 %", "TTFT p99 %", "TPOT p50 %", "TPOT p99 %", "speed-up points"]
COMPOSITION = ["ops %", "layers %"]
GOALS = [("mean error of a step", "step error mean %", 3), ("throughput", "throughput %", 3), ("median TTFT", "TTFT p50 %", 3),
         ("median TPOT", "TPOT p50 %", 3), ("99th percentile of TTFT", "TTFT p99 %", 10), ("99th percentile of TPOT", "TPOT p99 %", 10),
         ("speed-up over the first variant, points", "speed-up points", 2)]


def read(path):
    """RETURNS: rows {scenario, case, column: text}, those of the composition merged in, and the scenarios that did not finish."""
    rows, failed, scenario, header = [], [], "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("## "):
            scenario = line[3:]
        elif line.startswith("failed"):
            failed.append(scenario)
        elif line.startswith("| case"):
            header = cells
        elif line.startswith("| ") and not line.startswith("| ---") and "step error mean %" in header:
            rows.append({"scenario": scenario, **dict(zip(header, cells))})
        elif line.startswith("| ") and not line.startswith("| ---") and "layers %" in header:
            added = dict(zip(header, cells))
            for row in rows:
                if row["scenario"] == scenario and row["case"] == added["case"]:
                    row.update({column: added[column] for column in COMPOSITION})
    return rows, failed


def table(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)] + ["| " + " | ".join(r) + " |" for r in rows] + [""]


def missed(row, column):
    """Whether the case has a figure with a goal and misses it."""
    bounds = [bound for _, judged, bound in GOALS if judged == column]
    return bool(bounds) and row[column] != "-" and abs(float(row[column])) > bounds[0]


def scenario_row(name, rows):
    judged = [(r, column) for r in rows for _, column, _ in GOALS if r[column] != "-"]
    return [name, str(len(rows)), f"{sum(not missed(r, c) for r, c in judged)} of {len(judged)}"]


def cell(row, column):
    text = row.get(column, "-")
    return f"**{text}**" if missed(row, column) else text


def generated():
    lines = []
    for path in sorted((ROOT / "reports/studies/validation").glob("*/summary.md")):
        rows, failed = read(path)
        lines += [f"### {path.parent.name}", ""]
        lines += table(["goal", "cases within", "mean size", "worst"],
                       [[f"{name} <= {bound}{'' if 'points' in name else ' %'}", f"{sum(abs(v) <= bound for v in values)} of {len(values)}",
                         f"{sum(map(abs, values)) / len(values):.1f}", f"{max(values, key=abs):+.1f}"]
                        for name, column, bound in GOALS
                        for values in [[float(r[column]) for r in rows if r[column] != "-"]]])
        scenarios = list(dict.fromkeys(r["scenario"] for r in rows))
        lines += table(["scenario", "cases", "goals met"],
                       [scenario_row(s, [r for r in rows if r["scenario"] == s]) for s in scenarios])
        columns = COLUMNS + COMPOSITION
        lines += table(["scenario", "case"] + columns, [[r["scenario"], r["case"]] + [cell(r, c) for c in columns] for r in rows])
        if failed:
            lines += [f"Failed or given up: {', '.join(failed)}.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    wanted = head + BEGIN + "\n" + generated() + END + rest.split(END)[1]
    if not arguments.check:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        sys.exit("docs/validation.md does not agree with its results: run scripts/validation_tables.py")


if __name__ == "__main__":
    main()
