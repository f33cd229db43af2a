"""Writes the tables of docs/kernels_kv.md from the committed rows of suite `append` and from
kernels/data/kv_accuracy.csv.

  python3 scripts/kv_tables.py            rewrites the page's generated part
  python3 scripts/kv_tables.py --check    fails if the page differs from what would be written
"""

from kernel_pages import ROOT, between_marks, cards, newest, percent, read_rows, table, write_or_check

PAGE = ROOT / "docs/kernels_kv.md"
BATCHES = (1, 16, 64, 256)
PACKS = (128, 1024, 8192, 32768)
DATA = ("gaussian", "outliers", "real_shaped")
APPEND_GOAL_US, PACK_GOAL = 3.0, 0.85


def kind(row):
    """A scheme's layer as a row shows it: its name, bits of keys and values, shared values."""
    bits = f"{row['key_bits']:.0f}" if row["key_bits"] == row["value_bits"] else (
        f"{row['key_bits']:.0f}/{row['value_bits']:.0f}")
    stored = 2 * row["equivalent_bits"]
    shares = not row["format"].startswith("mla") and stored < row["key_bits"] + row["value_bits"]
    return f"{row['format']} {bits}{' shared' if shares else ''}"


class Card:
    """The rows of one card."""

    def __init__(self, card, path):
        self.card, self.peak = card["card"], float(card["hbm_bytes_per_s"])
        self.rows = read_rows(path)
        default = {}  # groups as kv_schemes.csv states them come first
        for row in self.rows:
            default.setdefault((row["model"], kind(row)), row["group"])
        self.plain = [r for r in self.rows if r["group"] == default[r["model"], kind(r)]]
        self.grouped = [r for r in self.rows if r["group"] != default[r["model"], kind(r)]]
        self.shapes = list(dict.fromkeys((r["model"], kind(r)) for r in self.plain))

    def share(self, row):
        return row["bytes"] / row["median_us"] * 1e6 / self.peak

    def find(self, shape, **wanted):
        for row in self.plain:
            if (row["model"], kind(row)) == shape and all(row[k] == v for k, v in wanted.items()):
                return row
        return None

    def grid(self, title, note, header, cells):
        rows = [[*shape, *(cell or "-" for cell in cells(shape))] for shape in self.shapes if any(cells(shape))]
        return table(f"{title}: {self.card}", note, ["shape", "scheme, bits", *header], rows)

    def time(self, shape, **wanted):
        row = self.find(shape, **wanted)
        return f"{row['median_us']:.2f}" if row else None

    def rate(self, shape, **wanted):
        row = self.find(shape, **wanted)
        return f"{row['median_us']:.1f} ({percent(self.share(row))})" if row else None

    def appends(self):
        return self.grid("Append of one token per sequence", "Microseconds of a launch in which no window flushes.",
                         [f"B={b}" for b in BATCHES],
                         lambda shape: [self.time(shape, op="append", sequences=b) for b in BATCHES])

    def flushes(self):
        columns = (1, 16, 64, 256)
        return self.grid("Append with flushes", "Microseconds of the whole launch (share of memory bandwidth) in which "
                         "all sequences flush.", [f"B={b}" for b in columns],
                         lambda shape: [self.rate(shape, op="flush", sequences=b, regime="all") for b in columns])

    def packs(self):
        return self.grid("Prefill pack", "Microseconds (share of memory bandwidth) for the tokens of one sequence.",
                         [f"S={s}" for s in PACKS],
                         lambda shape: [self.rate(shape, op="pack", new_tokens=s) for s in PACKS])

    def groups(self):
        rows = []
        for row in self.grouped:
            rows.append([row["model"], kind(row), f"{row['group']:.0f}", row["op"], f"{row['median_us']:.1f}",
                         percent(self.share(row))])
        return table(f"Groups of 64 and 128: {self.card}",
                     "Flush of all of 256 sequences, pack of 8192 tokens; microseconds, share of memory bandwidth.",
                     ["shape", "scheme, bits", "group", "op", "us", "share"], rows)

    def first_rung(self):
        rows = []
        for slow in self.plain:
            op = slow["op"].removesuffix("_naive")
            fast = self.find((slow["model"], kind(slow)), op=op,
                             **{k: slow[k] for k in ("regime", "sequences", "new_tokens")})
            if op != slow["op"] and fast:
                rows.append([op, slow["model"], kind(slow), f"{slow['sequences']:.0f}", f"{slow['new_tokens']:.0f}",
                             f"{slow['median_us']:.1f}", f"{fast['median_us']:.1f}"])
        return table(f"First and last rung: {self.card}", "Microseconds; the first has a thread per group of codes and one "
                     "per value of the window.",
                     ["op", "shape", "scheme, bits", "sequences", "new tokens", "first", "last"], rows)

    def goals(self):
        appends = [r for r in self.plain if r["op"] == "append" and r["sequences"] == 256]
        packs = [r for r in self.plain if r["op"] == "pack" and r["new_tokens"] == max(PACKS)]
        met = [r for r in appends if r["median_us"] <= APPEND_GOAL_US]
        full = [r for r in packs if self.share(r) >= PACK_GOAL]
        best = max(packs, key=self.share)
        return ["", f"### Goals: {self.card}", "",
                f"- append for 256 sequences <= {APPEND_GOAL_US:g} us: {len(met)} of {len(appends)} rows, "
                f"from {min(r['median_us'] for r in appends):.2f} to {max(r['median_us'] for r in appends):.2f} us.",
                f"- pack of {max(PACKS)} tokens >= {percent(PACK_GOAL)} of memory bandwidth: {len(full)} of "
                f"{len(packs)} rows; best {percent(self.share(best))} ({best['model']}, {kind(best)})."]

    def lines(self):
        return self.goals() + self.appends() + self.flushes() + self.packs() + self.groups() + self.first_rung()


def accuracy():
    rows = {}
    for row in read_rows(ROOT / "kernels/data/kv_accuracy.csv"):
        key = (row["scheme"], row["layer"], f"{row['head_dim']:.0f}", f"{row['group']:.0f}")
        rows.setdefault(key, {"bits": f"{row['stored_bits']:.2f}"})[row["data"]] = (
            f"{row['key_error']:.3f} / {row['value_error']:.3f} / {float(row['output_error']):.3f}")
    body = [[*key, cells["bits"], *(cells[d] for d in DATA)] for key, cells in rows.items() if key[2] != "64"]
    return table("Error of each scheme", "Relative Frobenius error of cached keys / values / attention output against "
                 "bf16, by the float64 reference at 1024 tokens; heads of 64 are in the file too.",
                 ["scheme", "layer", "head", "group", "stored bits", *DATA], body)


def generated():
    lines = []
    for card in cards():
        path = newest("measurements", card["card"], "append.csv")
        lines += Card(card, path).lines() if path else []
    return "\n".join((lines or ["", "Not measured yet."]) + accuracy()) + "\n"


def main():
    write_or_check(__doc__, PAGE, between_marks(PAGE, generated()))


if __name__ == "__main__":
    main()
