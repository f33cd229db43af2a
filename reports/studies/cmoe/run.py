#!/usr/bin/env python3
"""CMoE: dense blocks and experts cut into slices; writes reports/studies/cmoe/README.md.

  python3 reports/studies/cmoe/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from page import Page, arguments  # noqa: E402
from steps import Steps, miss, table  # noqa: E402

TOKENS = 128  # of the published multiply-add counts
# Published tokens/s at batch 1: system, change, figure. The machine is not in the text read; Hugging Face Transformers.
LLAMA = [("dense", [], 45.9), ("CMoE S3A3E8", ["change=CMoE-S3A3E8"], 52.7), ("WINA, a quarter left out", ["change=WINA-25"], 51.76),
         ("both", ["change={name: both, dense_to_moe: {slices: 8, shared: 3, active: 3}, "
                   "left_out_inputs: {attention: 0.25, dense_ffn: 0.25, experts: 0.25}}"], 56.0)]
# Qwen2.5-72B, a quarter left out: shared, active, slices; memory-bound at 4k and 32k, compute-bound at 4k and 32k.
LARGE = [(1, 5, 8, 1.08, 1.15, 1.12, 1.17), (3, 3, 8, 1.06, 1.13, 1.11, 1.15), (2, 4, 8, 1.05, 1.12, 1.10, 1.12),
         (4, 8, 16, 1.02, 1.10, 1.08, 1.11), (6, 6, 16, 1.03, 1.08, 1.07, 1.10), (3, 9, 16, 1.02, 1.05, 1.05, 1.09)]
ONE_GPU = """
model: {model}
cluster: {{gpu: {gpu}}}
engine: {{max_batch_tokens: 32768, graph_batch_sizes: []}}
routing: uniform
cost: {{efficiencies: {{from: analytic-default, eager_launch_us: 0, host_per_sequence_us: 0}}}}
"""
TWO_GPUS = """
model: Qwen2.5-72B
cluster: {gpu: H200-SXM, fabric: NVLink4, parallelism: {tensor: 2}}
engine: {max_batch_tokens: 32768, max_sequences: 512, graph_batch_sizes: [1]}
routing: uniform
"""
MACHINES = [("A100-80G-SXM", True), ("A40", False)]  # whether the host's time of a token is fitted to the dense row
CONTEXT = 512
# Slices are as wide as dense blocks: the second prediction lets their grouped products run as dense ones do.
AS_DENSE = ["cost.efficiencies.experts={memory: 0.84, compute: 0.80, fixed_us: 8}"]


def counts(moecast):
    """Multiply-adds of a forward pass over TOKENS tokens."""
    rows = []
    for model, change, published in (("Llama-2-7B", None, 845.7), ("Llama-2-7B", "CMoE-S3A3E8", 707.4)):
        steps = Steps(moecast, ONE_GPU.format(model=model, gpu="H200-SXM"))
        macs = steps.decode(1, 2, [f"change={change}"] if change else []).multiply_adds * TOKENS / 1e9
        rows.append([model, change or "whole", published, f"{macs:.1f}", miss(macs, published)])
    steps = Steps(moecast, ONE_GPU.format(model="Qwen3-30B-A3B", gpu="H200-SXM"))
    whole, cut = (steps.decode(1, 2, o).multiply_adds for o in ([], ["change=CMoE-inner-S3A3E8"]))
    moe = 48 * 8 * 3 * 2048 * 768 / whole
    rows.append(["Qwen3-30B-A3B", "CMoE-inner-S3A3E8, change", "-14.9 %", f"{100 * (cut / whole - 1):.2f} %",
                 f"{100 * (cut / whole - 1) + 14.9:+.2f} points"])
    rows.append(["Qwen3-30B-A3B", "the same without inner routers", "-14.9 %", f"{-25 * moe:.2f} %", f"{14.9 - 25 * moe:+.2f} points"])
    return rows


def llama(moecast):
    """Two machines: one whose host time is fitted to the dense row, one that needs none. Rows, and {(GPU, system): gain as dense products}."""
    rows, gains, hosts = [], {}, {}
    base = LLAMA[0][2]
    for gpu, fitted in MACHINES:
        steps = Steps(moecast, ONE_GPU.format(model="Llama-2-7B", gpu=gpu))
        bare = steps.decode(1, CONTEXT, ["cost.efficiencies.host_per_step_us=0"]).ms()
        hosts[gpu] = 1e3 / base - bare if fitted else 0.0
        own = [f"cost.efficiencies.host_per_step_us={hosts[gpu] * 1e3:.1f}"]
        whole = 1e3 / (bare + hosts[gpu])
        for name, changes, published in LLAMA:
            speed, dense = (1e3 / steps.decode(1, CONTEXT, changes + own + more).ms() for more in ([], AS_DENSE))
            gains[gpu, name] = dense / whole
            note = "fitted" if fitted and name == "dense" else f"{miss(speed, published)} / {miss(dense, published)}"
            rows.append([gpu, name, published, f"{speed:.1f}", f"{dense:.1f}", f"{published / base:.3f}", f"{speed / whole:.3f}", f"{dense / whole:.3f}", note])
    return rows, gains, hosts


def large(moecast):
    steps = Steps(moecast, TWO_GPUS)
    ffn = 80 * 3 * 8192 * 29568
    asks = [lambda o: steps.decode(1, 4096, o), lambda o: steps.decode(1, 32768, o), lambda o: steps.prefill(4096, o),
            lambda o: steps.prefill(32768, o)]
    whole = [ask([]) for ask in asks]
    share = ffn / whole[0].multiply_adds
    rows, found = [], {}
    for shared, active, slices, *published in LARGE:
        change = [f"change={{name: cut, dense_to_moe: {{slices: {slices}, shared: {shared}, active: {active}}}}}"]
        predicted = [[base.ms() / ask(change + more).ms() for base, ask in zip(whole, asks)] for more in ([], AS_DENSE)]
        found[f"S{shared}A{active}E{slices}"] = list(zip(published, *predicted))
        cells = [f"{want:.2f} / {first:.2f} / {second:.2f}" for want, first, second in zip(published, *predicted)]
        rows.append([f"S{shared}A{active}E{slices}"] + cells)
    return rows, 1 / (1 - 0.25 * share), found


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    small, gains, hosts = llama(moecast)
    big, bound, found = large(moecast)
    published = LLAMA[1][2] / LLAMA[0][2]
    slow, fast = (gains[gpu, "CMoE S3A3E8"] for gpu, _ in MACHINES)
    wina = [gains[gpu, LLAMA[2][0]] for gpu, _ in MACHINES]
    page.holds("WINA's published gain lies between the machines' or below both", LLAMA[2][2] / LLAMA[0][2] < wina[1])
    page.holds("on the fitted machine CMoE gains less than half of the published", slow - 1 < (published - 1) / 2)
    page.near("on a machine without host time, gain over published", (fast - 1) / (published - 1), 0.7, 1.3)
    page.holds("composition below the product", all(gains[g, "both"] < gains[g, "CMoE S3A3E8"] * gains[g, "WINA, a quarter left out"] for g, _ in MACHINES))
    page.holds("as experts slower than dense in prefill", all(pairs[3][1] < 1 for pairs in found.values()))
    page.near("as dense, 8 slices at 32k compute-bound, worst", max(abs(p[3][2] - p[3][0]) for name, p in found.items() if name.endswith("E8")), 0, 0.06)
    page.holds("no gain above the bound", all(want <= bound for pairs in found.values() for want, *_ in pairs))
    page.write(page.fill(
        "page.md", tokens=TOKENS, counts=table(["model", "change", "published", "predicted", "miss"], counts(moecast)), host=f"{hosts[MACHINES[0][0]]:.1f}", bound=f"{bound:.2f}",
        slow=f"{100 * (slow - 1):.1f}", fast=f"{100 * (fast - 1):.1f}", published=f"{100 * (published - 1):.1f}",
        wina=f"{100 * (LLAMA[2][2] / LLAMA[0][2] - 1):.0f}", wina_slow=f"{100 * (wina[0] - 1):.0f}", wina_fast=f"{100 * (wina[1] - 1):.0f}",
        small=table(["machine", "system", "published", "as experts", "as dense", "published gain", "as experts", "as dense", "misses"], small),
        big=table(["form", "memory-bound, 4k", "memory-bound, 32k", "compute-bound, 4k", "compute-bound, 32k"], big)))


if __name__ == "__main__":
    main()
