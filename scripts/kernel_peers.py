"""Compares the committed layer times with published MoE tables and writes docs/kernels_peers.md.

  python3 scripts/kernel_peers.py --tables DIR     DIR: kernels_aic of the shared data folder

Only ratios are written: the tables stay where they are, under their own licence. Without them the
page is left as it is and the reason is printed.
"""

import argparse
import collections
import csv
import gzip
import pathlib
import sys

from kernel_tables import newest_suites

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/kernels_peers.md"
TOKENS = (1, 4, 16, 64, 128, 256, 1024, 4096, 8192, 16384)
FRAMEWORKS = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
FORMATS = {"bfloat16": "bf16", "fp8": "fp8_tensor", "fp8_block": "fp8_block", "int4_wo": "w4a16_g32"}
BYTES = {"bf16": 2, "fp8_tensor": 1, "fp8_block": 1, "w4a16_g32": 0.5625}

HEAD = """# Expert layers beside published kernels

Time per distinct expert of a published MoE kernel over that of our layer, per shape: above 1 ours is faster. Per distinct expert because `balanced` loads of the tables touch min(E, T k) experts and our routed ones fewer; where all experts are active it is the ratio of times. Written by `python3 scripts/kernel_peers.py --tables DIR` from the committed measurements and the user's own copy of the tables; only ratios are here.

Theirs: the operator `moe` of NVIDIA AIConfigurator's tables at commit 095f58a5, measured on the same kind of card [AIC], Apache-2.0: from router scores to combined tokens under a CUDA graph, loads `balanced`; whether L2 was cold is not stated. Of each framework and version the fastest kernel that its rows name at that point is taken. Ours: router product included, weights outside L2, loads from a router on random tokens, the faster of the two forms of the layer (`layer`, `prefill_layer`). The router counts against ours alone. TensorRT-LLM is absent: the copy holds its wide expert-parallel rows only.

A published row whose active weights over its time exceed the card's datasheet bandwidth is left out: {refused}. A dash is a point that one side does not have.
"""
TAIL = """
[AIC] NVIDIA AIConfigurator, measured operator tables for h100_sxm and h200_sxm, github.com/ai-dynamo/aiconfigurator.
"""


def read_csv(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shapes():
    """{(H, I, k, E, tensor-parallel slices): model}"""
    found = {}
    for row in read_csv(ROOT / "kernels/data/models.csv"):
        _, _, slices = row["model"].partition("-TP")
        parts = int(slices) if slices else 1
        key = (int(row["hidden"]), int(row["intermediate"]) * parts, int(row["top_k"]),
               int(row["experts"]), parts)
        found.setdefault(key, row["model"])
    return found


def ours(card):
    """{(model, format, tokens): microseconds per distinct expert} of a card's newest suites."""
    best = {}
    for path in newest_suites(ROOT / "calibration/measurements" / card).values():
        for row in read_csv(path):
            native = row.get("rule") in ("native", f"uniform k={row.get('top_k')}")
            if row.get("op") in ("layer", "prefill_layer") and native and row["regime"] == "routed":
                key = (row["model"], row.get("format") or "bf16", int(float(row["tokens"])))
                time_us = float(row["median_us"]) / float(row["distinct"])
                best[key] = min(time_us, best.get(key, float("inf")))
    return best


def theirs(folder, models, peak):
    """{(model, format, tokens): {framework: microseconds per distinct expert}}, rows refused."""
    best, refused = {}, collections.Counter()
    for path in sorted(folder.glob("moe/*/*/moe_perf.csv.gz")):
        framework, version = path.parts[-3], path.parts[-2]
        name = f"{FRAMEWORKS.get(framework, framework)} {version}"
        for row in read_csv(path):
            key = tuple(int(row[k]) for k in ("hidden_size", "inter_size", "topk", "num_experts",
                                              "moe_tp_size"))
            weight_format = FORMATS.get(row["moe_dtype"])
            if (row["distribution"] != "balanced" or row["moe_ep_size"] != "1"
                    or key not in models or weight_format is None):
                continue
            hidden, inner, top_k, experts, parts = key
            tokens, time_us = int(row["num_tokens"]), 1e3 * float(row["latency"])
            distinct = min(experts, tokens * top_k)
            active = distinct * 3 * hidden * inner / parts
            if active * BYTES[weight_format] / (time_us * 1e-6) > peak:
                refused[f"of {models[key]} in `{weight_format}`"] += 1
                continue
            point = best.setdefault((models[key], weight_format, tokens), {})
            point[name] = min(time_us / distinct, point.get(name, float("inf")))
    return best, refused


def tables(card, mine, published):
    lines = []
    for weight_format in BYTES:
        rows = []
        for model in dict.fromkeys(m for m, f, _ in mine if f == weight_format):
            names = sorted({n for (m, f, _), p in published.items()
                            if (m, f) == (model, weight_format) for n in p})
            for name in names:
                cells = []
                for tokens in TOKENS:
                    key = (model, weight_format, tokens)
                    time_us = published.get(key, {}).get(name)
                    cells.append(f"{time_us / mine[key]:.2f}" if time_us and key in mine else "-")
                if any(cell != "-" for cell in cells):
                    rows.append(f"| {model} | {name} | " + " | ".join(cells) + " |")
        if rows:
            lines += ["", f"## {card}, {weight_format}", "",
                      "| shape | kernels of | " + " | ".join(f"T={t}" for t in TOKENS) + " |",
                      "|" + " --- |" * (len(TOKENS) + 2)] + rows
    return lines


def left_out_text(refused):
    return ", ".join(f"{count} rows {which}" for which, count in sorted(refused.items())) or "none"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", required=True, type=pathlib.Path, help="folder kernels_aic")
    folder = parser.parse_args().tables
    if not folder.is_dir():
        print(f"{folder} is no folder: {PAGE.relative_to(ROOT)} is left as it is", file=sys.stderr)
        return
    peaks = {row["card"]: float(row["hbm_bytes_per_s"])
             for row in read_csv(ROOT / "kernels/data/cards.csv")}
    models, lines, refused = shapes(), [], collections.Counter()
    for card, peak in sorted(peaks.items()):
        published, left_out = theirs(folder / card, models, peak)
        refused += left_out
        lines += tables(card, ours(card), published)
    PAGE.write_text(HEAD.format(refused=left_out_text(refused)) + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
