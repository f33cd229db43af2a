#!/usr/bin/env python3
"""Memory of XQuant and AsymKV by true bits beside the bits they publish; writes README.md beside this file.

  python3 reports/studies/kv_bits/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from steps import Steps, table  # noqa: E402

SCENARIO = """
model: {model}
cluster: {{gpu: A800-80G-SXM}}
engine: {{max_batch_tokens: 200000, max_sequences: 64}}
"""
KIVI = "kv={scheme: kivi2}"
# Equivalent bits as published: XQuant's tables (1.38 on Mistral-7B, 1.40 on Llama-2-7B, 1.156 in Table 6), AsymKV's and KIVI's own names.
POLICIES = [
    ("KIVI-2", "Llama-3.1-8B", KIVI, 2.0),
    ("AsymKV-32/0", "Llama-3.1-8B", "kv={asymkv: {key_layers: 32, value_layers: 0}}", 1.5),
    ("AsymKV-16/0", "Llama-3.1-8B", "kv={asymkv: {key_layers: 16, value_layers: 0}}", 1.25),
    ("XQuant 32_0_32_16", "Llama-3.1-8B", "kv={xquant: {kq: 32, vq: 0, km: 32, vm: 16}}", 1.375),
    ("XQuant 30_2_32_16", "Llama-3.1-8B", "kv={xquant: {kq: 30, vq: 2, km: 32, vm: 16}}", 1.375),
    ("XQuant 28_0_32_28", "Llama-2-7B", "kv={xquant: {kq: 28, vq: 0, km: 32, vm: 28}}", 1.40625),
    ("XQuant 32_0_32_20", "Llama-2-7B", "kv={xquant: {kq: 32, vq: 0, km: 32, vm: 20}}", 1.40625),
    ("XQuant 26_0_32_0", "Llama-3.1-8B", "kv={xquant: {kq: 26, vq: 0, km: 32, vm: 0}}", 1.15625),
]
# AsymKV (arXiv:2410.13212): memory below KIVI-2's on one A800, Llama-2-7B, batch 48, 4096 tokens generated.
SAVED = [("AsymKV-16/0", "kv={asymkv: {key_layers: 16, value_layers: 0}}", 9.0), ("AsymKV-32/0", "kv={asymkv: {key_layers: 32, value_layers: 0}}", 6.0)]
BATCH, GENERATED = 48, 4096
UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Cache:
    """What explain says of the cache of a policy."""

    def __init__(self, moecast, model, policy):
        text = Steps(moecast, SCENARIO.format(model=model)).text(["--batch", 1, "--context", 512], [policy])
        self.stored, self.read, self.equivalent = map(float, re.search(r"Cache: ([\d.]+) bits stored per element, ([\d.]+) read, ([\d.]+) equivalent", text).groups())
        window = re.search(r"([\d.]+) (\w+) of windows per sequence", text)
        self.window = float(window[1]) * UNITS[window[2]] if window else 0


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    rows, misses = [], []
    for name, model, policy, published in POLICIES:
        cache = Cache(moecast, model, policy)
        misses.append(abs(cache.equivalent - published))
        rows.append([name, model, f"{published:.5g}", f"{cache.equivalent:.5g}", f"{cache.equivalent - published:+.3f}", f"{cache.stored:.5g}", f"{cache.read:.5g}",
                     f"{16 / cache.equivalent:.1f}", f"{16 / cache.stored:.1f}", f"{cache.window / 2**20:.1f}"])
    elements = 32 * 2 * 4096  # layers, keys and values, channels of Llama-2-7B
    kivi = Cache(moecast, "Llama-2-7B", KIVI)
    lines, factors = [], []
    for name, policy, published in SAVED:
        cache = Cache(moecast, "Llama-2-7B", policy)
        gib = (kivi.stored - cache.stored) * elements / 8 * GENERATED * BATCH / 2**30
        factors.append(published / gib)
        lines.append([name, published, f"{gib:.2f}", f"{factors[-1]:.2f}"])
    page.near("equivalent bits, worst", max(misses), 0, 0.001)
    page.near("AsymKV's factor, both", max(factors), 1.95, 2.05)
    page.near("AsymKV's factor, both", min(factors), 1.95, 2.05)
    page.write(page.fill(
        "page.md", batch=BATCH, generated=GENERATED, twice=2 * GENERATED,
        bits=table(["policy", "model", "equivalent bits published", "computed", "difference", "stored bits", "read bits", "compression by equivalent bits", "by stored bits", "windows, MiB per sequence"], rows),
        saved=table(["policy", "GB saved published", "GiB by bits", "published over it"], lines)))


if __name__ == "__main__":
    main()
