"""Compares the committed attention times with published tables and writes
docs/kernels_peers_attention.md.

  python3 scripts/attention_peers.py --tables DIR     DIR: kernels_aic of the shared data folder

Only ratios are written: the tables stay where they are, under their own licence. Without them the
page is left as it is and the reason is printed.
"""

import argparse
import collections
import pathlib
import sys

from kernel_peers import ROOT, read_csv

PAGE = ROOT / "docs/kernels_peers_attention.md"
SUITES = ("attend", "mla", "attend_prefill")
TOKENS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
FORMATS = {"bf16": "bf16", "mla_bf16": "bf16", "fp8_e4m3": "fp8", "mla_fp8": "fp8"}
THEIR_FORMATS = {"bfloat16": "bf16", "fp8": "fp8"}
TITLES = {"attend": "Decode attention", "attend_mla": "Latent decode", "attend_prefill": "Prefill attention",
          "mla_prefill": "Latent prefill, keys and values expanded"}
LATENT = {"mla_generation": "attend_mla", "mla_context": "mla_prefill"}
PLAIN = {"generation_attention": "attend", "context_attention": "attend_prefill"}

HEAD = """# Attention beside published kernels

Time of a published attention kernel over that of ours at the same shape: above 1 ours is faster. Written by `python3 scripts/attention_peers.py --tables DIR` from the committed measurements and the user's own copy of the tables; only ratios are here.

Theirs: attention operators of NVIDIA AIConfigurator's tables at commit 095f58a5, measured on the same kind of card [AIC], Apache-2.0: FlashAttention-3 and Triton as vLLM and SGLang call them, FlashAttention-3 for latents; whether L2 was cold is not stated. A table's entry at step t is a decode over t + 1 tokens. Of each framework and version the fastest kernel at a point is taken. Ours: even lengths, caches outside L2 in decode, keys and values of the same width (fp8 with a scale per token and head; latents in groups of 128).

A published row whose bytes or operations over its time exceed the card's datasheet rates is left out: {refused} rows. A dash is a point that one side does not have.
"""
TAIL = """
[AIC] NVIDIA AIConfigurator, measured operator tables for h100_sxm and h200_sxm, github.com/ai-dynamo/aiconfigurator.
"""


def heads_of(row):
    """(query heads, KV heads, head_dim); latents are told by their op and query heads alone."""
    if row["op"] in ("attend_mla", "mla_prefill"):
        return (int(float(row["query_heads"])), 0, 0)
    return tuple(int(float(row[k])) for k in ("query_heads", "kv_heads", "head_dim"))


def ours(card):
    """{(op, heads, window, format, sequences, tokens each): row}"""
    rows = {}
    for suite in SUITES:
        found = sorted((ROOT / "calibration/measurements" / card).glob(f"*/{suite}.csv"))
        for row in read_csv(found[-1]) if found else []:
            prefill = row["op"] in ("attend_prefill", "mla_prefill")
            cached, sequences = float(row["cached_tokens"]), float(row["sequences"])
            plain = row["regime"] == "even" and float(row["selected_tokens"]) == 0 and not (prefill and cached)
            if row["op"] not in TITLES or row["format"] not in FORMATS or not plain:
                continue
            tokens = (float(row["new_tokens"]) if prefill else cached) / sequences
            key = (row["op"], heads_of(row), int(float(row["window"])), FORMATS[row["format"]], int(sequences),
                   int(tokens))
            rows[key] = {k: float(row[k]) for k in ("median_us", "bytes", "flops")}
    return rows


def their_key(row):
    latent = row["op_name"] in LATENT
    op = (LATENT if latent else PLAIN)[row["op_name"]]
    heads = (int(row["num_heads"]), 0, 0) if latent else tuple(
        int(row[k]) for k in ("num_heads", "num_key_value_heads", "head_dim"))
    decode = op in ("attend", "attend_mla")
    tokens = int(row["isl"]) + int(row["step"]) if decode else int(row["isl"])
    # What precedes the new tokens is another operator; the cache's width says nothing then.
    return (op, heads, int(row.get("window_size", 0)), THEIR_FORMATS[row["kv_cache_dtype"]], int(row["batch_size"]),
            tokens)


def theirs(folder, mine, card):
    """{key: {framework: microseconds}} where we have a row, and how many were refused."""
    best, refused = collections.defaultdict(dict), 0
    for path in sorted(folder.glob("*/*/*/*_perf.csv.gz")):
        if path.parts[-4] not in ("attention", "mla") or "module" in path.name:
            continue
        name = f"{path.parts[-3]} {path.parts[-2]}"
        for row in read_csv(path):
            if row["op_name"] not in LATENT and row["op_name"] not in PLAIN:
                continue
            key, time_us = their_key(row), 1e3 * float(row["latency"])
            if key not in mine:
                continue
            own = mine[key]
            if (own["bytes"] / time_us * 1e6 > float(card["hbm_bytes_per_s"])
                    or own["flops"] / time_us * 1e6 > float(card["bf16_flop_per_s"])):
                refused += 1
                continue
            best[key][name] = min(time_us, best[key].get(name, float("inf")))
    return best, refused


def describe(op, heads):
    return f"{heads[0]} heads" if op in ("attend_mla", "mla_prefill") else f"{heads[0]}/{heads[1]} heads of {heads[2]}"


def tables(card, mine, published):
    lines = []
    for op, title in TITLES.items():
        groups = collections.defaultdict(dict)
        for (found_op, heads, window, kind, sequences, tokens), times in published.items():
            if found_op == op:
                for name, time_us in times.items():
                    ratio = time_us / mine[(op, heads, window, kind, sequences, tokens)]["median_us"]
                    groups[(heads, window, kind, sequences, name)][tokens] = f"{ratio:.2f}"
        if not groups:
            continue
        columns = [t for t in TOKENS if any(t in cells for cells in groups.values())]
        lines += ["", f"## {title}: {card}", "", "| heads | window | cache | sequences | kernels of | "
                  + " | ".join(f"{t} tokens" for t in columns) + " |", "|" + " --- |" * (len(columns) + 5)]
        for (heads, window, kind, sequences, name), cells in sorted(groups.items()):
            lines.append(f"| {describe(op, heads)} | {window or '-'} | {kind} | {sequences} | {name} | "
                         + " | ".join(cells.get(t, "-") for t in columns) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", required=True, type=pathlib.Path, help="folder kernels_aic")
    folder = parser.parse_args().tables
    if not folder.is_dir():
        print(f"{folder} is no folder: {PAGE.relative_to(ROOT)} is left as it is", file=sys.stderr)
        return
    lines, refused = [], 0
    for card in read_csv(ROOT / "kernels/data/cards.csv"):
        mine = ours(card["card"])
        published, left_out = theirs(folder / card["card"], mine, card)
        refused += left_out
        lines += tables(card["card"], mine, published)
    PAGE.write_text(HEAD.format(refused=refused or "no") + "\n".join(lines or ["", "Not measured yet."]) + "\n" + TAIL,
                    encoding="utf-8")


if __name__ == "__main__":
    main()
