"""Writes docs/kernels_prefill.md from the committed measurements of the compute-bound form and of
the side-by-side runs.

  python3 scripts/prefill_tables.py            rewrites the page
  python3 scripts/prefill_tables.py --check    fails if the page differs from what would be written
"""

import kernel_pages
from kernel_pages import ROOT, cards, newest, percent, read_csv, read_rows, write_or_check

PAGE = ROOT / "docs/kernels_prefill.md"
TOKENS = (256, 1024, 4096, 8192, 16384)
SKEW = "zipf 0.5"  # of drawn loads
AT = 8192
FORMATS = ("bf16", "fp8_tensor", "fp8_block", "w4a16_g32", "w4a16_g128")
OURS = ("moecast_streamed", "moecast_prefill")

HEAD = """# Compute-bound expert kernels: tables

Written by `python3 scripts/prefill_tables.py` from `calibration/measurements/*/*/prefill.csv` and `calibration/side_by_side/`. What the kernels are and what limits them: [kernels.md](kernels.md#compute-bound-form-prefill). Operations are those of kept slots, without padding; the peak is the datasheet's dense rate of the arithmetic, fp8 or bf16 [Datasheet]. Clocks are not set: products that fill the card run at its power cap, and the MHz are what it then settled at.
"""
TAIL = """
[Datasheet] NVIDIA H100 and H200 Tensor Core GPU datasheets.
"""


def table(title, note, header, rows):
    return kernel_pages.table(title, note, header, rows, level=2)


class Prefill:
    """The rows of one card."""

    def __init__(self, card, path):
        self.card, self.rows = card["card"], read_rows(path)
        self.peaks = {"bf16": float(card["bf16_flop_per_s"]), "fp8": float(card["fp8_flop_per_s"])}
        self.models = list(dict.fromkeys(r["model"] for r in self.rows))

    def find(self, op, model, weight_format, tokens, rule="native", regime="routed"):
        """One row or None; rule is native, half or -."""
        for row in self.rows:
            top_k = int(row["top_k"])
            wanted = {"native": f"uniform k={top_k}", "half": f"uniform k={top_k // 2}"}.get(rule, rule)
            if (row["op"], row["model"], row["format"], row["tokens"], row["rule"], row["regime"]) == (
                    op, model, weight_format, tokens, wanted, regime):
                return row
        return None

    def tera(self, row):
        return row["flops"] / row["median_us"] * 1e-6

    def share(self, row):
        peak = self.peaks["fp8" if row["format"].startswith("fp8") else "bf16"]
        return percent(1e12 * self.tera(row) / peak)

    def products(self):
        rows = []
        for model in self.models:
            cells = []
            for weight_format in FORMATS:
                pair = [self.find(op, model, weight_format, AT)
                        for op in ("prefill_gate_up", "prefill_down")]
                cells.append("-" if None in pair else " / ".join(
                    f"{self.tera(r):.0f} ({self.share(r)}, {r['sm_mhz']:.0f} MHz)" for r in pair))
            rows.append([model] + cells)
        return table(f"Products at {AT} tokens: {self.card}",
                     "TFLOP/s of gate-up with SwiGLU / down, share of dense peak, clock.",
                     ["shape", *FORMATS], rows)

    def over_tokens(self, title, note, cell):
        rows = []
        for model in self.models:
            for weight_format in FORMATS:
                cells = [cell(model, weight_format, tokens) for tokens in TOKENS]
                if any(c != "-" for c in cells):
                    rows.append([model, weight_format] + cells)
        return table(f"{title}: {self.card}", note,
                     ["shape", "format"] + [f"T={t}" for t in TOKENS], rows)

    def layer(self, model, weight_format, tokens):
        row = self.find("prefill_layer", model, weight_format, tokens)
        return f"{row['median_us']:.0f} ({self.tera(row):.0f})" if row else "-"

    def half(self, model, weight_format, tokens):
        pair = [self.find("prefill_layer", model, weight_format, tokens, rule)
                for rule in ("half", "native")]
        if None in pair:
            return "-"
        return " / ".join(f"{pair[0][k] / pair[1][k]:.2f}" for k in ("median_us", "flops"))

    def permute(self, model, weight_format, tokens):
        row = self.find("permute", model, weight_format, tokens)
        return f"{row['bytes'] / row['median_us'] * 1e-6:.2f}" if row else "-"

    def skew(self):
        rows = []
        for model in self.models:
            for weight_format in FORMATS:
                pairs = [(self.find(op, model, weight_format, AT, "-", SKEW),
                          self.find(op, model, weight_format, AT))
                         for op in ("prefill_gate_up", "prefill_down")]
                if any(None in pair for pair in pairs):
                    continue
                time = sum(a["median_us"] for a, _ in pairs) / sum(b["median_us"] for _, b in pairs)
                first = pairs[0][0]
                mean = first["assignments"] / first["distinct"]
                rows.append([model, weight_format, f"{time:.2f} ({first['max_load'] / mean:.1f})"])
        return table(f"Skew at {AT} tokens: {self.card}",
                     "Both products over those of routed loads, and the fullest expert over the mean.",
                     ["shape", "format", SKEW], rows)

    def naive(self):
        rows = []
        for model in self.models:
            cells = []
            for op in ("prefill_gate_up", "prefill_down"):
                slow = self.find(f"{op}_naive", model, "bf16", TOKENS[0])
                best = self.find(op, model, "bf16", TOKENS[0])
                if slow and best:
                    cells.append(f"{slow['median_us']:.0f} / {best['median_us']:.0f}")
            if cells:
                rows.append([model] + cells)
        return table(f"First and last rung at {TOKENS[0]} tokens: {self.card}",
                     "Microseconds in bf16.", ["shape", "gate-up", "down"], rows)

    def lines(self):
        return (self.products()
                + self.over_tokens("Layer, router to combine", "Microseconds (TFLOP/s), native top-k.",
                                   self.layer)
                + self.over_tokens("Half of the experts per token",
                                   "Layer time over native, and operations over native.", self.half)
                + self.skew()
                + self.over_tokens("Permutation", "TB/s read and written.", self.permute)
                + self.naive())


def side_by_side(card, path):
    rows = read_csv(path)
    times = {(r["model"], r["part"], int(r["tokens"]), r["implementation"]): float(r["median_us"])
             for r in rows}
    tokens = sorted({key[2] for key in times})
    out = []
    for model, part in dict.fromkeys((r["model"], r["part"]) for r in rows):
        best = {t: min(times[model, part, t, name] for name in OURS) for t in tokens}
        out.append([model, part, "ours, us"] + [f"{best[t]:.1f}" for t in tokens])
        for name in dict.fromkeys(r["implementation"] for r in rows):
            cells = [times.get((model, part, t, name)) for t in tokens]
            if any(cells):
                out.append([model, part, name]
                           + [f"{c / best[t]:.2f}" if c else "-" for c, t in zip(cells, tokens)])
    return table(f"Side by side in one run, bf16: {card}",
                 "The faster of our two forms, then every implementation over it.",
                 ["shape", "part", "implementation"] + [f"T={t}" for t in tokens], out)


def page():
    lines = []
    for card in cards():
        prefill = newest("measurements", card["card"], "prefill.csv")
        beside = newest("side_by_side", card["card"], "moe_layer.csv")
        lines += Prefill(card, prefill).lines() if prefill else []
        lines += side_by_side(card["card"], beside) if beside else []
    return HEAD + "\n".join(lines or ["", "Not measured yet."]) + "\n" + TAIL


def main():
    write_or_check(__doc__, PAGE, page())


if __name__ == "__main__":
    main()
