"""Writes the tables of docs/kernels.md from the committed measurements.

  python3 scripts/kernel_tables.py            rewrites the page's generated part
  python3 scripts/kernel_tables.py --check    fails if the page differs from what would be written
"""

import kernel_goals
from kernel_pages import ROOT, between_marks, grid, percent, read_rows, write_or_check

PAGE = ROOT / "docs/kernels.md"
SUITES = ("launch", "stream", "small", "dense", "route", "layer", "experts", "prefill", "formats")
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROUTE_TOKENS = (1, 8, 16, 32, 64, 128, 256, 1024)
ROUTE_MODELS = ("OLMoE-1B-7B", "Qwen3-30B-A3B", "Qwen3-235B-A22B", "DeepSeek-V3")


def read_environment(folder):
    lines = (folder / "environment.yaml").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def newest_suites(folder):
    """{suite: file}: a suite measured again, in a folder later by name, counts."""
    folders = sorted(p.parent for p in folder.glob("*/environment.yaml"))
    return {p.stem: p for each in folders for p in sorted(each.glob("*.csv"))}


class Card:
    """The newest measurements of one card, suite by suite."""

    def __init__(self, folder):
        suites = {k: v for k, v in newest_suites(folder).items() if k in SUITES}
        self.name = folder.name
        self.folders = sorted({p.parent for p in suites.values()})
        self.environment = read_environment(self.folders[-1])
        self.peak = float(self.environment["datasheet_hbm_bytes_per_s"])
        self.bf16_rate = float(self.environment["datasheet_bf16_flop_per_s"])
        self.fp8_rate = float(self.environment.get("datasheet_fp8_flop_per_s", 2 * self.bf16_rate))
        self.rows = {name: read_rows(path) for name, path in suites.items()}

    def find(self, suite, **want):
        return [r for r in self.rows.get(suite, []) if all(r[k] == v for k, v in want.items())]

    def share(self, row):
        """Fraction of datasheet HBM bandwidth."""
        return row["bytes"] / (row["median_us"] * 1e-6) / self.peak


def table(header, rows):
    return [*grid(header, rows), ""]


def layer_table(card):
    lines = [f"### Layer, router to combine, native top-k, bf16: {card.name}", "",
             "Microseconds and share of datasheet HBM bandwidth.", ""]
    models = list(dict.fromkeys(r["model"] for r in card.rows["layer"]))
    rows = []
    for model in models:
        found = {r["tokens"]: r for r in card.find("layer", model=model, rule="native")}
        rows.append([model] + [f"{found[t]['median_us']:.1f} ({percent(card.share(found[t]))})"
                               if t in found else "-" for t in TOKENS])
    return lines + table(["shape"] + [f"T={t}" for t in TOKENS], rows)


def product_table(card):
    lines = [f"### Products alone: {card.name}", "",
             "Share of datasheet HBM bandwidth, gate-up / down, native top-k.", ""]
    rows = []
    for model in dict.fromkeys(r["model"] for r in card.rows["experts"]):
        cells = []
        for tokens in TOKENS:
            pair = []
            for op in ("gate_up", "down"):
                found = [r for r in card.find("experts", model=model, op=op, regime="routed",
                                              tokens=float(tokens))
                         if r["rule"] == f"uniform k={r['top_k']:.0f}"]
                pair.append(f"{100 * card.share(found[0]):.0f}" if found else "-")
            cells.append(" / ".join(pair))
        rows.append([model] + cells)
    return lines + table(["shape"] + [f"T={t}" for t in TOKENS], rows)


def format_table(card):
    lines = [f"### Both products in one launch, by format: {card.name}", "",
             "Share of datasheet HBM bandwidth of `experts`, native top-k.", ""]
    found = {}
    for r in card.find("formats", op="experts", regime="routed"):
        if r["rule"] == f"uniform k={r['top_k']:.0f}":
            found.setdefault((r["model"], r["format"]), {})[r["tokens"]] = percent(card.share(r))
    rows = [[*key] + [cells.get(t, "-") for t in TOKENS] for key, cells in found.items()]
    return lines + table(["shape", "format"] + [f"T={t}" for t in TOKENS], rows)


def route_table(card):
    lines = [f"### Routing and combine: {card.name}", "", "Microseconds.", ""]
    rows = []
    for model in ROUTE_MODELS:
        found = {}
        for r in card.find("route", model=model):
            label = r["op"] if r["rule"] in ("-", "native") else f"{r['op']}, {r['rule']}"
            found.setdefault(label, {})[r["tokens"]] = r["median_us"]
        for label, times in found.items():
            rows.append([model, label] + [f"{times[t]:.1f}" if t in times else "-" for t in ROUTE_TOKENS])
    return lines + table(["shape", "launches"] + [f"T={t}" for t in ROUTE_TOKENS], rows)


def linear_table(card):
    """Time against the weights of distinct experts, at one token per expert."""
    lines = [f"### Time against distinct experts: {card.name}", "",
             "Both products in bf16, t = t0 + D W / BW fitted to D >= 4: `experts` on routed batches of at most 64 "
             "tokens at the native top-k and at half of it, or, where the suite `formats` was not measured, the two "
             "launches one after the other on even loads of one row per expert.", ""]
    rows = []
    for model, points in kernel_goals.distinct_points(card).items():
        start, slope, worst = kernel_goals.line_fit(points)
        rows.append([model, f"{start:.1f}", f"{1e-6 / slope:.2f}",
                     percent(1e6 / slope / card.peak), percent(worst)])
    return lines + table(["shape", "t0, us", "BW, TB/s", "of datasheet", "largest residual"], rows)


def goal_table(cards):
    header = ["goal"] + [card.name for card in cards] + ["limiter"]
    return ["### Goals met and missed", "",
            "Shares of datasheet HBM bandwidth. `experts`: both products in one launch; `layer`: router to combine.",
            ""] + table(header, kernel_goals.goal_rows(cards))


def glance_table(cards):
    lines = ["### Kernels at a glance", "",
             "Bound over time, the median row and the best; the bound is the larger of bytes over HBM bandwidth and "
             "operations over the tensor cores' rate, both of the datasheet. Rows whose inputs are warm may pass "
             "100 %.", ""]
    header = ["kernel"] + [card.name for card in cards] + ["peer", "limiter"]
    return lines + table(header, kernel_goals.glance_rows(cards))


def small_table(card):
    lines = [f"### Norm, rotary embedding, sampling: {card.name}", "",
             "Microseconds; rows of norm and rope are tokens, of sample batches.", ""]
    columns = (1, 16, 128, 512, 1024, 8192)
    found = {}
    for r in card.rows["small"]:
        label = r["op"] if r["op"] != "sample" else f"sample, {r['regime']}"
        found.setdefault((label, r["model"]), {})[r["tokens"]] = r["median_us"]
    rows = [[label, model] + [f"{times[t]:.1f}" if t in times else "-" for t in columns]
            for (label, model), times in sorted(found.items())]
    return lines + table(["op", "shape"] + [str(c) for c in columns], rows)


def dense_table(card):
    lines = [f"### Dense products through cuBLASLt: {card.name}", "",
             "Microseconds and share of the bound: the larger of bytes over HBM bandwidth and operations over "
             "the tensor cores' rate.", ""]
    columns = (1, 16, 128, 512, 8192)
    found = {}
    for r in card.rows["dense"]:
        cell = f"{r['median_us']:.1f} ({percent(kernel_goals.bound_us(card, r) / r['median_us'])})"
        found.setdefault((r["model"], r["regime"], r["format"]), {})[r["tokens"]] = cell
    rows = [[*key] + [cells.get(t, "-") for t in columns] for key, cells in found.items()]
    return lines + table(["shape", "projection", "format"] + [f"T={c}" for c in columns], rows)


def ceiling_table(cards):
    lines = ["### Ceilings", "", "Share of datasheet HBM bandwidth; copies count both directions.", ""]
    sizes = ("16 MiB", "64 MiB", "256 MiB", "1024 MiB", "2048 MiB")
    rows = []
    for card in cards:
        for op in ("read", "copy", "copy_library"):
            found = {r["regime"]: r for r in card.find("stream", op=op)}
            rows.append([card.name, op] + [percent(card.share(found[s])) for s in sizes])
    lines += table(["card", "kernel"] + list(sizes), rows)
    lines += ["Gap of one dependent node of a graph, microseconds, from chains of 32 empty kernels.", ""]
    rows = []
    for card in cards:
        for blocks in (1, 132, 1056):
            cells = [card.name, str(blocks)]
            for op in ("empty", "empty_pdl"):
                found = card.find("launch", op=op, regime=f"chain 32 blocks {blocks}")
                cells.append(f"{found[0]['median_us'] / 32:.2f}")
            rows.append(cells)
    return lines + table(["card", "blocks", "plain", "programmatic dependency"], rows)


def skip_table(card):
    """What skipping buys: the layer at half the ranks against the native top-k."""
    lines = [f"### Half of the experts per token: {card.name}", "",
             "Layer time over native, and bytes over native.", ""]
    rows = []
    for model in dict.fromkeys(r["model"] for r in card.rows["layer"]):
        native = {r["tokens"]: r for r in card.find("layer", model=model, rule="native")}
        half = {r["tokens"]: r for r in card.rows["layer"]
                if r["model"] == model and r["rule"].startswith("uniform")}
        rows.append([model] + [f"{half[t]['median_us'] / native[t]['median_us']:.2f} / "
                               f"{half[t]['bytes'] / native[t]['bytes']:.2f}" for t in TOKENS])
    return lines + table(["shape"] + [f"T={t}" for t in TOKENS], rows)


def composition_table(card):
    """The captured layer against the sum of its launches timed alone."""
    lines = [f"### Layer over the sum of its launches: {card.name}", "",
             "Of launches timed alone; a dash where one was not.", ""]
    rows = []
    for layer_model in dict.fromkeys(r["model"] for r in card.rows["layer"]):
        cells = [layer_model]
        for tokens in TOKENS:
            want = {"model": layer_model, "tokens": float(tokens)}
            layer = card.find("layer", rule="native", **want)[0]
            native = f"uniform k={layer['top_k']:.0f}"
            products = (card.find("formats", op="experts", regime="routed", rule=native, format="bf16", **want)
                        or card.find("experts", regime="routed", rule=native, **want))
            parts = (card.find("route", op="route", rule="native", **want)
                     + card.find("route", op="combine", **want) + products)
            whole = products and len(parts) == 2 + len(products)
            cells.append(f"{layer['median_us'] / sum(r['median_us'] for r in parts):.2f}" if whole else "-")
        rows.append(cells)
    return lines + table(["shape"] + [f"T={t}" for t in TOKENS], rows)


def quality_table(cards):
    lines = ["### Samples", ""]
    rows = []
    for card in cards:
        for suite, found in card.rows.items():
            worst = sorted((r["p75_us"] - r["p25_us"]) / r["median_us"] for r in found)
            rows.append([card.name, suite, str(len(found)),
                         f"{sum(r['samples'] for r in found):.0f}",
                         f"{sum(r['discarded'] for r in found):.0f}",
                         str(sum(r["stop"] != "quiet" for r in found)),
                         f"{100 * worst[len(worst) // 2]:.2f} %",
                         f"{100 * worst[int(0.95 * (len(worst) - 1))]:.1f} %"])
    return lines + table(["card", "suite", "rows", "samples", "discarded", "noisy rows",
                          "median IQR", "95 % IQR"], rows)


def generated(cards):
    lines = []
    for card in cards:
        for folder in card.folders:
            environment = {k: v.strip('"') for k, v in read_environment(folder).items()}
            lines += [f"{card.name}: {environment['device_name']}, driver {environment['driver']}, "
                      f"CUDA {environment['compiler_cuda']}, measured {folder.name}, commit "
                      f"{environment['commit'][:12]}.", ""]
    lines += goal_table(cards) + glance_table(cards) + ceiling_table(cards)
    for card in cards:
        lines += layer_table(card)
        lines += format_table(card) if "formats" in card.rows else []
        lines += product_table(card) if "experts" in card.rows else []
        lines += linear_table(card)
        lines += composition_table(card) + route_table(card) + skip_table(card)
        lines += small_table(card) if "small" in card.rows else []
        lines += dense_table(card) if "dense" in card.rows else []
    return "\n".join(lines + quality_table(cards))


def main():
    folders = sorted(p for p in (ROOT / "calibration/measurements").iterdir() if p.is_dir())
    tables = "\n" + generated([Card(folder) for folder in folders])
    write_or_check(__doc__, PAGE, between_marks(PAGE, tables))


if __name__ == "__main__":
    main()
