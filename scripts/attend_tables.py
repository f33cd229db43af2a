"""Writes the tables of docs/kernels_attention.md from the committed rows of suite `attend`.

  python3 scripts/attend_tables.py            rewrites the page's generated part
  python3 scripts/attend_tables.py --check    fails if the page differs from what would be written
"""

from kernel_pages import ROOT, between_marks, cards, newest, percent, read_rows, table, write_or_check
from kv_tables import kind

PAGE = ROOT / "docs/kernels_attention.md"
MAIN = "q32 kv8 d128"
LONG, MEDIUM = 262144, 16384
# Width: shares of datasheet memory bandwidth wanted at LONG tokens or more, and at MEDIUM.
GOALS = {16: (0.90, 0.60), 8: (0.82, 0.50), 4: (0.76, 0.45), 2: (0.66, 0.40), 1: (0.50, 0.35)}
FLOOR_US, LINEAR = 8.0, 0.03
ROUNDED = 0.999  # rows hold five significant digits


def line_fit(points):
    """Least squares t = a + b x with relative weights. RETURNS: a, b, largest relative residual."""
    weights = [1 / t ** 2 for _, t in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points)) / total
    mean_t = sum(w * t for w, (_, t) in zip(weights, points)) / total
    slope = (sum(w * (x - mean_x) * (t - mean_t) for w, (x, t) in zip(weights, points))
             / sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points)))
    start = mean_t - slope * mean_x
    return start, slope, max(abs(t - start - slope * x) / t for x, t in points)


class Card:
    """The rows of one card."""

    def __init__(self, card, path):
        self.card, self.peak = card["card"], float(card["hbm_bytes_per_s"])
        self.rows = [r for r in read_rows(path) if r["op"] == "attend"]
        even = [r for r in self.rows if r["regime"] == "even"]
        grouped = {}  # the group and residual that a scheme comes with stand first
        for row in even:
            grouped.setdefault((row["model"], kind(row)), (row["group"], row["residual"]))
        self.plain = [r for r in even if (r["group"], r["residual"]) == grouped[r["model"], kind(r)]]
        self.varied = [r for r in even if r not in self.plain]
        self.kinds = list(dict.fromkeys(kind(r) for r in self.plain if r["cached_tokens"] >= ROUNDED * LONG))

    def share(self, row):
        return row["bytes"] / row["median_us"] * 1e6 / self.peak

    def cell(self, row):
        return f"{row['median_us']:.1f} ({percent(self.share(row))})" if row else "-"

    def goals(self):
        lines = ["", f"### Goals: {self.card}", ""]
        for bits, (at_long, at_medium) in GOALS.items():
            rows = [r for r in self.plain if r["key_bits"] == r["value_bits"] == bits]
            for text, wanted, found in ((f">= {LONG} cached tokens", at_long,
                                         [r for r in rows if r["cached_tokens"] >= ROUNDED * LONG]),
                                        (f"{MEDIUM} cached tokens", at_medium,
                                         [r for r in rows if r["cached_tokens"] == MEDIUM])):
                if not found:
                    continue
                met = sum(self.share(r) >= wanted for r in found)
                best = max(found, key=self.share)
                word = "met" if met == len(found) else f"met by {met} of {len(found)} rows" if met else "missed"
                lines.append(f"- {bits} bits, {text}, {percent(wanted)} of memory bandwidth: {word}; best "
                             f"{percent(self.share(best))} ({best['format']}, {best['model']}, "
                             f"{best['sequences']:.0f} x {best['max_context']:.0f}).")
        least = min(self.rows, key=lambda r: r["median_us"])
        word = "met" if least["median_us"] <= FLOOR_US else "missed"
        lines.append(f"- Shortest launch <= {FLOOR_US:.0f} us: {word}; {least['median_us']:.1f} us ({least['format']}, "
                     f"{least['cached_tokens']:.0f} cached tokens).")
        return lines + self.linear() + self.never_slower()

    def linear(self):
        worst = {}
        for name in self.kinds:
            points = [(r["bytes"], r["median_us"]) for r in self.plain
                      if r["model"] == MAIN and kind(r) == name and r["cached_tokens"] >= MEDIUM]
            if len(points) > 2:
                worst[name] = line_fit(points)[2]
        if not worst:
            return []
        text = ", ".join(f"{name} {percent(value)}" for name, value in worst.items())
        word = "met" if max(worst.values()) <= LINEAR else "missed"
        return [f"- Time linear in bytes within {percent(LINEAR)} from {MEDIUM} cached tokens, all batches ({MAIN}): "
                f"{word}; largest distance from a line: {text}."]

    def never_slower(self):
        plain = {(r["model"], r["sequences"], r["max_context"]): r for r in self.plain if r["format"] == "bf16"}
        pairs = [(r, plain[r["model"], r["sequences"], r["max_context"]]) for r in self.plain
                 if r["cached_tokens"] >= MEDIUM and r["key_bits"] < 16
                 and (r["model"], r["sequences"], r["max_context"]) in plain]
        slower = [r for r, p in pairs if r["median_us"] > p["median_us"]]
        word = "met" if not slower else f"missed by {len(slower)} of {len(pairs)} rows"
        return [f"- No scheme below 16 bits slower than bf16 from {MEDIUM} cached tokens on: {word}."] if pairs else []

    def grid(self):
        points = sorted({(r["max_context"], r["sequences"]) for r in self.plain if r["model"] == MAIN})
        rows = []
        for context, batch in points:
            found = {kind(r): r for r in self.plain
                     if r["model"] == MAIN and (r["max_context"], r["sequences"]) == (context, batch)}
            rows.append([f"{batch:.0f} x {context:.0f}"] + [self.cell(found.get(name)) for name in self.kinds])
        return table(f"{MAIN}: {self.card}", "Microseconds (share of memory bandwidth), sequences x context.",
                     ["cached", *self.kinds], rows)

    def shapes(self):
        names = list(dict.fromkeys(r["model"] for r in self.plain))
        rows = []
        for name in names:
            found = {kind(r): r for r in self.plain if r["model"] == name
                     and (r["max_context"], r["sequences"]) == (MEDIUM, 16)}
            rows.append([name] + [self.cell(found.get(each)) for each in self.kinds])
        return table(f"Head shapes: {self.card}", f"16 sequences of {MEDIUM} tokens.", ["shape", *self.kinds], rows)

    def groups(self):
        rows = [[f"{r['format']} {r['key_bits']:.0f}/{r['value_bits']:.0f}", f"{r['group']:.0f}", f"{r['residual']:.0f}",
                 f"{r['stored_bits']:.2f}", f"{r['read_bits']:.2f}", f"{r['equivalent_bits']:.2f}", self.cell(r)]
                for r in self.plain + self.varied
                if r["model"] == MAIN and (r["max_context"], r["sequences"]) == (MEDIUM, 16)]
        return table(f"Groups, windows and sharing: {self.card}", f"{MAIN}, 16 sequences of {MEDIUM} tokens; bits of an "
                     "element, window and metadata included where stored or read.",
                     ["scheme", "group", "window", "stored", "read", "equivalent", "us (share)"], rows)

    def others(self):
        rows = [[r["regime"], f"{r['sequences']:.0f}", f"{r['cached_tokens']:.0f}", f"{r['max_context']:.0f}",
                 f"{max(r['window'], r['selected_tokens']):.0f}" if r["window"] or r["selected_tokens"] else "all",
                 f"{r['format']} {r['key_bits']:.0f}", self.cell(r)]
                for r in self.rows if r["regime"] != "even"]
        return table(f"Uneven lengths, windows, selected pages: {self.card}",
                     f"{MAIN}. `one_long`: one sequence has half of all tokens and its own share; `lognormal`: deviation "
                     "1; `seen`: tokens of each sequence.",
                     ["regime", "sequences", "cached", "longest", "seen", "scheme", "us (share)"], rows)

    def page(self):
        return self.goals() + self.grid() + self.shapes() + self.groups() + self.others()


def render():
    lines = []
    for card in cards():
        path = newest("measurements", card["card"], "attend.csv")
        if path:
            lines += Card(card, path).page()
    return "\n".join(lines + [""]) if lines else "\nNo rows are committed yet.\n"


def main():
    write_or_check(__doc__, PAGE, between_marks(PAGE, render()))


if __name__ == "__main__":
    main()
