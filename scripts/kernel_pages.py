"""What the scripts share that write tables of kernels into pages of docs/: rows of suites, cards,
Markdown tables, and the page itself."""

import argparse
import csv
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- generated tables: begin -->\n", "<!-- generated tables: end -->\n"
TEXT = ("op", "model", "regime", "rule", "format", "stop", "scheme", "layer", "data", "output_error")


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_rows(path):
    """Rows of a suite: every column that is not in TEXT is a number."""
    return [{k: v if k in TEXT else float(v) for k, v in row.items()} for row in read_csv(path)]


def cards():
    return read_csv(ROOT / "kernels/data/cards.csv")


def newest(kind, card, name):
    """The newest file of a card in a folder of calibration/, or None."""
    found = sorted((ROOT / "calibration" / kind / card).glob(f"*/{name}"))
    return found[-1] if found else None


def percent(value):
    return f"{100 * value:.0f} %"


def grid(header, rows):
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def table(title, note, header, rows, level=3):
    """A titled table; nothing where there are no rows."""
    return ["", f"{'#' * level} {title}", "", note, "", *grid(header, rows)] if rows else []


def between_marks(page, generated):
    """The page's text with this in its generated part."""
    head, rest = page.read_text(encoding="utf-8").split(BEGIN)
    return head + BEGIN + generated + END + rest.split(END)[1]


def write_or_check(doc, page, text):
    """Writes the page; with --check on the command line, fails if it holds another text."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    if not parser.parse_args().check:
        page.write_text(text, encoding="utf-8")
    elif not page.exists() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"{page.relative_to(ROOT)} does not agree with the measurements: run scripts/{parser.prog}")
