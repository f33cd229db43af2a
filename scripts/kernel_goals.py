"""The goals of the kernels against the committed measurements of one card.

Every figure is a share of the datasheet rate, or microseconds, of rows that scripts/kernel_tables.py
reads; nothing is rounded in a goal's favour. Used by kernel_tables.py, which writes the page.
"""

DECODE = {"bf16": 0.90, "fp8_tensor": 0.87, "fp8_block": 0.87, "w4a16_g32": 0.82, "w4a16_g128": 0.82}
SMALL = {"bf16": 0.75, "fp8_tensor": 0.65}
PREFILL = (("bf16", "Mixtral-8x7B", 700), ("bf16", "Qwen3-30B-A3B", 550), ("fp8_block", "Mixtral-8x7B", 900),
           ("fp8_tensor", "Mixtral-8x7B", 1200))
DECODE_TOKENS = 128
LARGE_BYTES = 0.5e9
FIXED_MODELS = ("OLMoE-1B-7B", "DeepSeek-V2-Lite", "Qwen3-30B-A3B")
NOT_MEASURED = "not measured"


def word(met, of):
    """Met by all rows, by some, or by none."""
    return "met" if met == of else f"met by {met} of {of} rows" if met else "not met"


def line_fit(points):
    """Least squares t = a + b * x. RETURNS: a, b, largest relative residual."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    slope = (sum((x - mean_x) * (y - mean_y) for x, y in points)
             / sum((x - mean_x) ** 2 for x, _ in points))
    start = mean_y - slope * mean_x
    return start, slope, max(abs(y - start - slope * x) / y for x, y in points)


def native_rows(card, op, weight_format):
    """Rows of routed decode batches at their native top-k."""
    rows = card.rows.get("layer", []) + card.rows.get("formats", [])
    return [r for r in rows if r["op"] == op and r.get("format", "bf16") == weight_format
            and r["regime"] == "routed" and r["tokens"] <= DECODE_TOKENS
            and r["rule"] in ("native", f"uniform k={r['top_k']:.0f}")]


def per_op(cell):
    """The cell of `experts`, then that of `layer`, as far as they are measured."""
    cells = {op: cell(op) for op in ("experts", "layer")}
    return "; ".join(f"{op} {c}" for op, c in cells.items() if c) or NOT_MEASURED


def decode(card, weight_format):
    def cell(op):
        shares = sorted(card.share(r) for r in native_rows(card, op, weight_format)
                        if r["bytes"] >= LARGE_BYTES)
        if not shares:
            return None
        met = sum(s >= DECODE[weight_format] for s in shares)
        return f"{word(met, len(shares))}, {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} %"
    return per_op(cell)


def small_batch(card, weight_format):
    def cell(op):
        shares = {r["tokens"]: card.share(r) for r in native_rows(card, op, weight_format)
                  if r["model"] == "Qwen3-30B-A3B" and r["tokens"] <= 2}
        if not shares:
            return None
        met = sum(s >= SMALL[weight_format] for s in shares.values())
        return f"{word(met, len(shares))}, " + " / ".join(f"{100 * shares[t]:.0f}" for t in sorted(shares)) + " %"
    return per_op(cell)


def fixed_time(card):
    cells = []
    for model in FIXED_MODELS:
        points = [(r["bytes"], r["median_us"]) for r in native_rows(card, "layer", "bf16")
                  if r["model"] == model and r["tokens"] <= 16]
        if len(points) >= 3:
            cells.append(line_fit(points)[0])
    if not cells:
        return NOT_MEASURED
    return f"{word(sum(c <= 10 for c in cells), len(cells))}; " + ", ".join(f"{c:.1f}" for c in cells) + " us"


def routing(card):
    rows = [r for r in card.rows.get("route", []) if r["op"] == "route" and r["rule"] == "native"
            and r["tokens"] <= 128 and r["experts"] <= 256]
    if not rows:
        return NOT_MEASURED
    times = sorted(r["median_us"] for r in rows)
    return f"{word(sum(t <= 5 for t in times), len(times))}; {times[0]:.1f} to {times[-1]:.1f} us"


def rule_cost(card, rules):
    """What the token's own rules add to native routing, at most 128 tokens."""
    rows = {(r["model"], r["tokens"], r["rule"]): r["median_us"] for r in card.rows.get("route", [])
            if r["op"] == "route" and r["tokens"] <= 128}
    added = [time - rows[model, tokens, "native"] for (model, tokens, rule), time in rows.items()
             if rule.split()[0] in rules]
    if not added:
        return NOT_MEASURED
    return f"{word(sum(a <= 0.5 for a in added), len(added))}; at most {max(added):.2f} us"


def prefill(card, weight_format, model, goal):
    rows = [r for r in card.rows.get("prefill", []) if r["model"] == model and r["tokens"] == 8192
            and r.get("format", "bf16") == weight_format and r["regime"] == "routed"
            and r["rule"] in ("native", f"uniform k={r['top_k']:.0f}")
            and r["op"] in ("prefill_gate_up", "prefill_down")]
    if len(rows) != 2:
        return NOT_MEASURED
    rate = sum(r["flops"] for r in rows) / sum(r["median_us"] for r in rows) / 1e6
    return f"{word(int(rate >= goal), 1)}; {rate:.0f} TFLOP/s"


def distinct_points(card):
    """Per model, (bytes of D experts' weights, time of both products), D >= 4.

    Both products in one launch on routed batches of at most 64 tokens at the native top-k and at half
    of it, if that was measured; else the two launches on even loads of one row per expert.
    """
    found = {}
    for r in card.rows.get("formats", []):
        if (r["op"] == "experts" and r["regime"] == "routed" and r.get("format") == "bf16"
                and r["tokens"] <= 64 and r["distinct"] >= 4):
            weight = 6 * r["hidden"] * r["intermediate"]
            found[r["model"], r["distinct"] * weight] = r["median_us"]
    for r in card.rows.get("experts", []) if not found else []:
        if r["regime"] == "even" and r["assignments"] == r["distinct"] and r["distinct"] >= 4:
            weight = 6 * r["hidden"] * r["intermediate"]
            key = (r["model"], r["distinct"] * weight)
            found[key] = found.get(key, 0.0) + r["median_us"]
    models = dict.fromkeys(model for model, _ in found)
    points = {m: sorted((x, t) for (model, x), t in found.items() if model == m) for m in models}
    return {model: p for model, p in points.items() if len(p) >= 3}


def linear(card):
    fits = {model: line_fit(points)[2] for model, points in distinct_points(card).items()}
    if not fits:
        return NOT_MEASURED
    return f"{word(sum(w <= 0.03 for w in fits.values()), len(fits))} (shapes); worst {100 * max(fits.values()):.0f} %"


def goal_rows(cards):
    """One row per goal: its text, one cell per card, what limits it."""
    rows = []

    def add(text, cell, limiter):
        rows.append([text] + [cell(card) for card in cards] + [limiter])

    for name, goal in DECODE.items():
        add(f"decode, {name}, bytes >= 0.5 GB: >= {100 * goal:.0f} %",
            lambda card, name=name: decode(card, name),
            "HBM itself, see Ceilings; above 64 rows per expert weights are read again; 4 bits: conversion")
    for name, goal in SMALL.items():
        add(f"Qwen3-30B at 1 and 2 tokens, {name}: >= {100 * goal:.0f} %",
            lambda card, name=name: small_batch(card, name), "fixed time of the launches")
    add("fixed time router to combine, T <= 16: <= 10 us (OLMoE, DeepSeek-V2-Lite, Qwen3-30B)", fixed_time,
        "dependent launches, of which routing is a third")
    add("router + rule + alignment, T <= 128, E <= 256: <= 5 us", routing,
        "two launches, L2 latency of the logits and k dependent warp-wide maxima; for 128 tokens the gate "
        "product's operands through L2")
    add("a token's own skip rule adds <= 0.5 us", lambda card: rule_cost(card, ("uniform", "ratio", "top-p",
                                                                              "aset-derived")),
        "aset-derived: two sums over the warp, one after the other, and logarithms; the other rules hold it")
    add("a batch rule (OEA, XShare) adds <= 0.5 us", lambda card: rule_cost(card, ("oea", "xshare")),
        "a second pass over the logits and two more meetings of the cluster; XShare also sums every score")
    for name, model, goal in PREFILL:
        add(f"grouped product, 8192 tokens, {name}, {model}: >= {goal} TFLOP/s",
            lambda card, name=name, model=model, goal=goal: prefill(card, name, model, goal),
            "[Compute-bound form](#compute-bound-form-prefill)")
    add("time linear in D within 3 % of t0 + D W / BW", linear, "whole waves of blocks at small D")
    return rows


GLANCE = (
    ("read, 2 GiB", lambda r: r["op"] == "read" and r["regime"] == "2048 MiB", "cudaMemcpy, see Ceilings", "HBM"),
    ("route", lambda r: r["op"] == "route" and r["rule"] == "native", "cuBLASLt's gate product alone, see Dense",
     "latency: two launches, k dependent maxima"),
    ("combine", lambda r: r["op"] == "combine", "-", "latency; rows are warm"),
    ("experts, bf16", lambda r: r["op"] == "experts" and r.get("format") == "bf16", "[peers](kernels_peers.md)",
     "HBM; at 75 MB the start and end of a launch"),
    ("experts, fp8_tensor", lambda r: r["op"] == "experts" and r.get("format") == "fp8_tensor",
     "[peers](kernels_peers.md)", "HBM; conversions at small K"),
    ("experts, fp8_block", lambda r: r["op"] == "experts" and r.get("format") == "fp8_block",
     "[peers](kernels_peers.md)", "scales and conversions"),
    ("experts, w4a16_g128", lambda r: r["op"] == "experts" and r.get("format") == "w4a16_g128",
     "[peers](kernels_peers.md)", "logic operations of the conversion"),
    ("layer, bf16", lambda r: r["op"] == "layer" and r.get("format", "bf16") == "bf16", "[peers](kernels_peers.md)",
     "as experts, and routing's latency"),
    ("prefill products, bf16", lambda r: r["op"] in ("prefill_gate_up", "prefill_down") and r.get("format") == "bf16",
     "[side by side](kernels_prefill.md)", "power"),
    ("prefill products, fp8_tensor",
     lambda r: r["op"] in ("prefill_gate_up", "prefill_down") and r.get("format") == "fp8_tensor",
     "[side by side](kernels_prefill.md)", "power"),
    ("norm", lambda r: r["op"] == "norm", "-", "latency below 1024 tokens, then L2 and HBM"),
    ("rope", lambda r: r["op"] == "rope", "-", "latency below 1024 tokens, then L2 and HBM"),
    ("sample", lambda r: r["op"] == "sample" and r["regime"] != "greedy", "-",
     "one multiprocessor per row: counting in shared memory"),
    ("dense, bf16", lambda r: r["op"] == "dense" and r.get("format") == "bf16", "is cuBLASLt", "vendor's"),
    ("dense, fp8_tensor", lambda r: r["op"] == "dense" and r.get("format") == "fp8_tensor", "is cuBLASLt", "vendor's"),
)


def bound_us(card, row):
    """The larger of bytes over HBM bandwidth and operations over the tensor cores' rate."""
    rate = card.fp8_rate if row.get("format", "bf16").startswith("fp8") else card.bf16_rate
    return max(row["bytes"] / card.peak, row["flops"] / rate) * 1e6


def glance_rows(cards):
    """One row per kernel: per card the range of bound over time, peer, limiter."""
    rows = []
    for name, wanted, peer, limiter in GLANCE:
        cells = []
        for card in cards:
            shares = sorted(bound_us(card, r) / r["median_us"]
                            for found in card.rows.values() for r in found if wanted(r))
            middle = shares[len(shares) // 2] if shares else 0
            cells.append(f"{100 * middle:.0f} / {100 * shares[-1]:.0f} %" if shares else NOT_MEASURED)
        rows.append([name] + cells + [peer, limiter])
    return rows
