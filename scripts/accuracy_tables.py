"""Writes the tables of docs/accuracy.md and docs/accuracy_serving.md from the studies' reports.

  python3 scripts/accuracy_tables.py            rewrites the generated parts of the pages
  python3 scripts/accuracy_tables.py --check    fails if a page differs from what would be written

The reports are those of scripts/calibrate and of serving_accuracy.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STUDY = ROOT / "reports/studies/accuracy"
BEGIN, END = "<!-- generated tables: begin -->\n", "<!-- generated tables: end -->\n"
CARDS = {"h200_sxm": "H200 SXM", "h100_sxm": "H100 SXM"}
MEDIAN_GOAL, P95_GOAL = 3.0, 10.0  # per cent
COVER_GOALS = {"80 %": (75, 85), "95 %": (92, 98)}
FEWEST_JUDGED = 5  # held-out points of a kernel


def table_rows(text, first_header):
    """Cells of the Markdown table whose first column has this header."""
    rows = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith(f"| {first_header} |"):
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and not line.startswith("| ---"):
            rows.append(cells)
    return rows


class Report:
    """One card's calibration report."""

    def __init__(self, card):
        text = (STUDY / f"{card}.md").read_text(encoding="utf-8")
        self.rows_read = re.search(r"^(\d+) rows read", text, re.MULTILINE).group(1)
        *kernels, self.total = table_rows(text, "op")
        self.kernels = [k for k in kernels if int(k[5]) >= FEWEST_JUDGED]
        self.unjudged = len(kernels) - len(self.kernels)
        self.ranges = table_rows(text, "held-out points")
        composition = text.split("## Composition", 1)
        self.composition = table_rows(composition[1], "format") if len(composition) > 1 else []


def name_of(kernel):
    op, variant, kernel_format = kernel[:3]
    return " ".join([op] + ([variant] if variant != "-" else []) + [kernel_format])


def card_table(reports):
    lines = ["| card | rows | kernels | held out | MAPE, % | median | p90 | p95 | bias | "
             "inside 80 % | inside 95 % |", "| " + " | ".join(["---"] * 11) + " |"]
    for card, report in reports.items():
        cells = [CARDS[card], report.rows_read, str(len(report.kernels) + report.unjudged)]
        lines.append("| " + " | ".join(cells + report.total[5:]) + " |")
    return lines


def range_table(reports):
    lines = ["| card | held-out points | count | MAPE, % | median | p90 | p95 | bias |",
             "| " + " | ".join(["---"] * 8) + " |"]
    for card, report in reports.items():
        for row in report.ranges:
            lines.append("| " + " | ".join([CARDS[card]] + row) + " |")
    return lines


def goal_line(report, column, goal):
    missed = [f"{name_of(k)} {k[column]}" for k in report.kernels if float(k[column]) > goal]
    met = len(report.kernels) - len(missed)
    text = f"met by {met} of {len(report.kernels)}"
    return text + (f"; above: {', '.join(missed)}" if missed else "")


def goal_table(reports):
    lines = ["| goal | card | state |", "| --- | --- | --- |"]
    for card, report in reports.items():
        lines.append(f"| median at most {MEDIAN_GOAL:g} % per kernel | {CARDS[card]} | "
                     f"{goal_line(report, 7, MEDIAN_GOAL)} |")
        lines.append(f"| 95th percentile at most {P95_GOAL:g} % per kernel | {CARDS[card]} | "
                     f"{goal_line(report, 9, P95_GOAL)} |")
        for column, (level, (least, most)) in zip((11, 12), COVER_GOALS.items()):
            inside = float(report.total[column])
            state = "met" if least <= inside <= most else "**missed**"
            lines.append(f"| {level} intervals hold {least}-{most} % | {CARDS[card]} | "
                         f"{state}, {inside:g} % over all kernels |")
    return lines


def composition_table(reports):
    lines = ["| card | format | layers | MAPE, % | median | p90 | p95 | bias |",
             "| " + " | ".join(["---"] * 8) + " |"]
    for card, report in reports.items():
        for row in report.composition:
            lines.append("| " + " | ".join([CARDS[card]] + row) + " |")
    return lines


def serving_page():
    """Engines with enough rows to fit and judge, all their GPUs together."""
    text = (STUDY / "serving.md").read_text(encoding="utf-8")
    lines = ["| model | engine | unseen points | TPOT before | TTFT before | TPOT | TTFT | "
             "goal TPOT 10 | goal TTFT 25 |", "| " + " | ".join(["---"] * 9) + " |"]
    seen = set()
    for model, engine, gpu, rows, *errors in table_rows(text, "model"):
        tpot_before, ttft_before, tpot, _, ttft, _, goals = errors
        if tpot == "-" or (model, engine) in seen:
            continue
        seen.add((model, engine))
        marks = ["met" if f"{name} met" in goals else "**missed**" for name in ("TPOT", "TTFT")]
        cells = [model.split("/")[-1], engine, rows, tpot_before, ttft_before, tpot, ttft]
        lines.append("| " + " | ".join(cells + marks) + " |")
    return "\n" + "\n".join(lines) + "\n\n"


def kernel_page():
    reports = {card: Report(card) for card in CARDS}
    unjudged = ", ".join(f"{r.unjudged} ({CARDS[c]})" for c, r in reports.items())
    parts = [
        card_table(reports),
        ["A point is *interpolated* where the range of the rows that were kept holds it, else "
         "*extrapolated*: an end of a grid, or a shape of which few rows are left."],
        range_table(reports),
        [f"Per kernel (op, variant, format). Kernels with fewer than {FEWEST_JUDGED} held-out "
         f"points are counted above and not judged: {unjudged}."],
        goal_table(reports),
        ["**Composition.** A MoE layer measured as one graph, router to combine, against the sum "
         "of what the profile says of its launches:"],
        composition_table(reports),
    ]
    return "\n" + "\n\n".join("\n".join(part) for part in parts) + "\n\n"


def rewritten(page, text):
    before, rest = page.split(BEGIN)
    return before + BEGIN + text + END + rest.split(END)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for name, text in (("accuracy", kernel_page()), ("accuracy_serving", serving_page())):
        path = ROOT / f"docs/{name}.md"
        page = path.read_text(encoding="utf-8")
        new = rewritten(page, text)
        if arguments.check and new != page:
            sys.exit(f"{path}: not what scripts/accuracy_tables.py writes")
        if not arguments.check:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
