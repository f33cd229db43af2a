"""Writes the tables of docs/kernels_mla_prefill.md from the committed rows of the suites `mla` and
`attend_prefill` and of the side-by-side runs of attention.

  python3 scripts/attention_tables.py            rewrites the page's generated part
  python3 scripts/attention_tables.py --check    fails if the page differs from what would be written
"""

from kernel_pages import (ROOT, between_marks, cards, newest, percent, read_csv, read_rows, table,
                          write_or_check)

PAGE = ROOT / "docs/kernels_mla_prefill.md"
FEW_HEADS, MANY_HEADS = 16, 128
FEW_HEADS_GOAL, MANY_HEADS_GOAL, PREFILL_GOAL = 0.86, 600, 550
PASTS = (2048, 4096, 8192, 16384, 32768, 131072)
CHUNKS = "q32 kv8 d128"  # the shape whose chunks over pasts of all schemes have a table


def rate(row):
    """TFLOP/s."""
    return row["flops"] / row["median_us"] * 1e-6


class Suite:
    """The rows of one suite on one card."""

    def __init__(self, card, name):
        path = newest("measurements", card["card"], f"{name}.csv")
        self.card, self.peak = card["card"], float(card["hbm_bytes_per_s"])
        self.rows = read_rows(path) if path else []

    def share(self, row):
        """Of datasheet memory bandwidth."""
        return row["bytes"] / row["median_us"] * 1e6 / self.peak

    def goal(self, text, rows, value, goal, show):
        if not rows:
            return []
        best = max(rows, key=value)
        verdict = "met" if value(best) >= goal else "missed"
        where = (f"{best['model']}, {best['sequences']:.0f} sequences, {best['cached_tokens']:.0f} cached, "
                 f"{best['new_tokens']:.0f} new tokens")
        return [f"- {text} >= {show(goal)}: {verdict}, best {show(value(best))} ({where})."]


def shown(row):
    """Rows for calibration alone, between powers of two or of drawn lengths, stay in the file."""
    each = int(row["max_context"])
    return row["regime"] == "one_long" or (row["regime"] == "even" and each & (each - 1) == 0)


def narrow_goals(suite):
    """How often latents of few bits are slower than bf16 ones, by query heads."""
    lines = []
    point = lambda r: (r["regime"], r["sequences"], r["cached_tokens"])
    for heads in sorted({r["query_heads"] for r in suite.rows}):
        rows = [r for r in suite.rows if r["query_heads"] == heads]
        bf16 = {point(r): r["median_us"] for r in rows if r["format"] == "mla_bf16"}
        for name in ("mla_fp8", "mla_int4"):
            times = [r["median_us"] / bf16[point(r)] for r in rows if r["format"] == name and point(r) in bf16]
            if not times:
                continue
            slower = sum(t > 1 for t in times)
            lines.append(f"- `{name}`, {heads:.0f} heads, no slower than bf16: {'missed' if slower else 'met'}, "
                         f"{len(times) - slower} of {len(times)} rows; {min(times):.2f} to {max(times):.2f} of its time.")
    return lines


def mla_lines(suite):
    lines = []
    for heads in sorted({r["query_heads"] for r in suite.rows}):
        rows = [r for r in suite.rows if r["query_heads"] == heads and shown(r)]
        formats = list(dict.fromkeys(r["format"] for r in rows))
        points = list(dict.fromkeys((r["regime"], r["sequences"], r["cached_tokens"]) for r in rows))
        found = {(r["format"], r["regime"], r["sequences"], r["cached_tokens"]): r for r in rows}
        body = []
        for regime, sequences, tokens in points:
            cells = [found.get((f, regime, sequences, tokens)) for f in formats]
            body.append([regime, f"{sequences:.0f}", f"{tokens:.0f}"] +
                        [f"{r['median_us']:.1f} ({percent(suite.share(r))}, {rate(r):.0f})" if r else "-"
                         for r in cells])
        lines += table(f"Latent decode, {heads:.0f} query heads: {suite.card}",
                       "Microseconds (share of datasheet memory bandwidth, TFLOP/s); cached tokens of all sequences.",
                       ["lengths", "sequences", "cached tokens", *formats], body)
    return lines


def prefill_lines(suite):
    alone = [r for r in suite.rows if r["cached_tokens"] == 0 and shown(r)]
    body = [[r["op"], r["model"], f"{r['window']:.0f}" if r["window"] else "-", f"{r['sequences']:.0f}",
             f"{r['max_context']:.0f}", f"{r['median_us']:.1f}", f"{rate(r):.0f}"] for r in alone]
    lines = table(f"New tokens alone, bf16: {suite.card}", "Causal; TFLOP/s count the pairs that mask and window leave.",
                  ["op", "heads", "window", "sequences", "tokens each", "us", "TFLOP/s"], body)
    chunks = {(r["format"], r["cached_tokens"], r["new_tokens"]): r for r in suite.rows
              if r["cached_tokens"] in PASTS and r["sequences"] == 1 and r["model"] == CHUNKS}
    for tokens in sorted({key[2] for key in chunks}):
        body = []
        for scheme in dict.fromkeys(key[0] for key in chunks):
            cells = [chunks.get((scheme, past, tokens)) for past in PASTS]
            body.append([scheme] + [f"{r['median_us']:.1f} ({rate(r):.0f})" if r else "-" for r in cells])
        lines += table(f"Chunk of {tokens:.0f} tokens over a past in pages: {suite.card}",
                       "One sequence, 32 query heads, 8 KV heads of 128; microseconds (TFLOP/s).",
                       ["scheme of the past", *(f"past {p}" for p in PASTS)], body)
    return lines


def beside_lines(card):
    path = newest("side_by_side", card["card"], "attention.csv")
    if not path:
        return []
    rows = read_csv(path)
    for row in rows:
        for column in ("sequences", "cached_tokens", "new_tokens"):
            row[column] = f"{float(row[column]):.0f}"
    names = list(dict.fromkeys(r["implementation"] for r in rows))
    keys = ("op", "model", "format", "sequences", "cached_tokens", "new_tokens")
    times = {}
    for row in rows:
        times.setdefault(tuple(row[k] for k in keys), {})[row["implementation"]] = f"{float(row['median_us']):.1f}"
    body = [[*point] + [found.get(n, "-") for n in names] for point, found in times.items()]
    return table(f"Beside PyTorch: {card['card']}",
                 "Microseconds in one run on one GPU. `torch_unfused` is the research form of the scheme in `format`.",
                 ["op", "heads", "format", "sequences", "cached tokens", "new tokens", *names], body)


def card_lines(card):
    mla, prefill = Suite(card, "mla"), Suite(card, "attend_prefill")
    bf16 = [r for r in mla.rows if r["format"] == "mla_bf16"]
    tflops = lambda value: f"{value:.0f} TFLOP/s"
    goals = mla.goal("latent decode, 16 heads, bf16, share of memory bandwidth",
                     [r for r in bf16 if r["query_heads"] == FEW_HEADS], mla.share, FEW_HEADS_GOAL, percent)
    goals += mla.goal("latent decode, 128 heads, bf16", [r for r in bf16 if r["query_heads"] == MANY_HEADS], rate,
                      MANY_HEADS_GOAL, tflops)
    goals += narrow_goals(mla)
    for op in ("attend_prefill", "mla_prefill"):
        goals += prefill.goal(f"`{op}`, bf16", [r for r in prefill.rows if r["op"] == op], rate, PREFILL_GOAL, tflops)
    head = ["", f"### Goals: {card['card']}", "", *goals] if goals else []
    return head + mla_lines(mla) + prefill_lines(prefill) + beside_lines(card)


def generated():
    lines = [line for card in cards() for line in card_lines(card)]
    return "\n".join(lines or ["", "Not measured yet."]) + "\n"


def main():
    write_or_check(__doc__, PAGE, between_marks(PAGE, generated()))


if __name__ == "__main__":
    main()
