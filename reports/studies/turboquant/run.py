#!/usr/bin/env python3
"""TurboQuant in vLLM and SGLang: capacity by bits, and what its decode kernel costs; writes README.md beside this file.

  python3 reports/studies/turboquant/run.py --moecast build/dev/sim/app/moecast
"""
import csv
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from steps import Steps, table  # noqa: E402
from study_table import ROOT, run_rows  # noqa: E402

HEAD = 128  # channels of a head in every model below
# Bytes of one token and head, keys and values: codes, then 16-bit numbers (norms, scales, zero points) that stand beside them.
SLOTS = {"k8v4": HEAD + HEAD // 2 + 4, "4bit_nc": HEAD // 2 + HEAD // 2 + 8, "3bit_nc": 3 * HEAD // 8 + 3 * HEAD // 8 + 8, "SGLang 4 bits": HEAD // 2 + HEAD // 2 + 4}
WIDE = 4 * HEAD  # bytes of the same in bf16
EDGES = 4  # layers that vLLM leaves in 16 bits: the first two and the last two
# Who measured, model, layers, kind of slot, layers left wide, published ratio of cached tokens to bf16's.
CAPACITY = [
    ("vLLM 38479, comment of 2026-04-10", "Qwen3-4B", 36, "3bit_nc", EDGES, 1431184 / 417440),
    ("vLLM's study of 2026-05-11", "Llama-3.3-70B", 80, "k8v4", EDGES, 2.4),
    ("vLLM's study of 2026-05-11", "Llama-3.3-70B", 80, "4bit_nc", EDGES, 3.4),
    ("SGLang 23135", "Llama-3.1-8B", 32, "SGLang 4 bits", 0, 131072 / 33792),
]
QWEN4B = {"bf16": {"req/s": 41.75, "TPOT": 10.17, "tokens": 417440}, "before": {"req/s": 15.24, "TPOT": 34.96}, "after": {"req/s": 22.77, "TPOT": 24.10}}
THIRTY_B_TPOT = 7.0  # times fp8's: vLLM 40858, comment of 2026-05-21
SGLANG = {"32 in, 256 out": (19464, 18262), "32 in, 1024 out": (16658, 15480)}  # output tokens/s, bf16 and 4 bits: SGLang 21419, comment of 2026-04-18
SCENARIO = """
model: {model}
cluster: {{gpu: {gpu}-SXM}}
cost: {{profile: {profiles}/{profile}_sxm.yaml}}
engine: {{max_batch_tokens: 8192, max_sequences: 1024, gpu_memory_fraction: {fraction}}}
routing: uniform
"""
ATTENTION = "attention.decode"


def steps_of(moecast, model, gpu, fraction):
    return Steps(moecast, SCENARIO.format(model=model, gpu=gpu, profile=gpu.lower(), fraction=fraction, profiles=ROOT / "calibration/profiles"))


class Decode:
    """A decode step of one scheme in every layer: its attention and the rest, ms, and how many tokens the cache holds."""

    def __init__(self, steps, batch, context, scheme, *more):
        step = steps.decode(batch, context, [f"kv={{scheme: {scheme}}}", *more])
        self.layers, self.attention = step.lines[ATTENTION]
        self.rest = step.ms([ATTENTION])
        self.tokens = int(re.search(r": (\d+) cached tokens", step.text)[1])

    @property
    def ms(self):
        return self.attention + self.rest


def mixed(wide, narrow, slower=1.0):
    """ms of a step whose first and last two layers are wide and whose other kernels are `slower` than ours."""
    share = EDGES / wide.layers
    return narrow.rest + share * wide.attention + (1 - share) * narrow.attention * slower


def capacity_rows():
    rows = []
    for who, model, layers, kind, wide, published in CAPACITY:
        ratio = layers / (wide + (layers - wide) * SLOTS[kind] / WIDE)
        rows.append([who, model, kind, f"{16 * SLOTS[kind] / WIDE:.4g}", wide, f"{published:.2f}", f"{ratio:.2f}", f"{100 * (ratio / published - 1):+.1f} %"])
    return rows


def measured(card, model="q32 kv8 d128"):
    """{(sequences, context, format): us} of the newest committed decode attention of this card."""
    folder = max(path.parent for path in (ROOT / "calibration/measurements" / card).glob("*/attend.csv"))
    with open(folder / "attend.csv", newline="", encoding="utf-8") as file:
        return {(int(float(r["sequences"])), int(float(r["max_context"])), r["format"]): float(r["median_us"]) for r in csv.DictReader(file)
                if r["op"] == "attend" and r["model"] == model and r["regime"] == "even"}


def unfused(card):
    """us of 4-bit keys and values attended to by separate PyTorch operations: 16 sequences of 4,096 tokens."""
    folder = max(path.parent for path in (ROOT / "calibration/side_by_side" / card).glob("*/attention.csv"))
    with open(folder / "attention.csv", newline="", encoding="utf-8") as file:
        return next(float(r["median_us"]) for r in csv.DictReader(file)
                    if r["implementation"] == "torch_unfused" and r["format"] == "kivi4" and r["sequences"] == "16")


def kernel_rows(card, label):
    us = measured(card)
    points = [(16, 4096), (64, 512), (64, 4096), (256, 512), (256, 4096)]
    rows = []
    for batch, context in points:
        if all((batch, context, f) in us for f in ("bf16", "fp8_e4m3", "int4")):
            wide, eight, four = (us[batch, context, f] for f in ("bf16", "fp8_e4m3", "int4"))
            rows.append([label, f"{batch} x {context}", f"{wide:.0f}", f"{eight:.0f}", f"{four:.0f}", f"{four / wide:.2f}", f"{four / eight:.2f}"])
    return rows


def main():
    moecast = arguments(__doc__).moecast
    page = Page(__file__)
    small = steps_of(moecast, "Qwen3-4B-Thinking-2507", "H100", 0.85)
    wide, four = (Decode(small, 80, 512 + 64, scheme) for scheme in ("bf16", "int4"))
    narrow_layers = wide.layers - EDGES
    rows, slower = [], {}
    for name in ("before", "after"):
        attention = QWEN4B[name]["TPOT"] - QWEN4B["bf16"]["TPOT"] + wide.attention * (1 - EDGES / wide.layers)
        slower[name] = attention / (four.attention * narrow_layers / wide.layers)
        rows.append([name + " its rewrite", f"{QWEN4B[name]['TPOT']:.2f}", f"{1e3 * attention / narrow_layers:.0f}", f"{1e3 * four.attention / wide.layers:.0f}", f"{slower[name]:.1f}"])
    held_out = thirty_b(moecast, slower["after"])
    fused = mixed(wide, four)
    serving = serving_rows(moecast)
    short = [[name, f"{b / a:.2f}", *(f"{c:.2f}" for c in sglang(moecast, int(name.split()[2]), slower["after"]))] for name, (a, b) in SGLANG.items()]
    plain = unfused("h100_sxm") / measured("h100_sxm")[16, 4096, "int4"]
    tokens = wide.tokens / QWEN4B["bf16"]["tokens"] - 1
    ratio = held_out[-1]
    page.near("capacity by bits", max(abs(float(row[-1].split()[0])) for row in capacity_rows()), 0, 4)
    page.near("tokens of the bf16 cache, %", 100 * tokens, -3, 3)
    page.holds("a fused kernel makes the step faster", fused < wide.ms)
    page.near("the held-out ratio", ratio / THIRTY_B_TPOT, 0.7, 1.4)
    page.holds("the published kernel lies between fused and unfused", 2 < slower["after"] < plain)
    page.write(page.fill(
        "page.md",
        capacity=table(["measured by", "model", "scheme", "bits", "layers in 16 bits", "published", "by bits", "difference"], capacity_rows()),
        bf16_tokens=f"{wide.tokens:,}", bf16_published=f"{QWEN4B['bf16']['tokens']:,}", tokens=f"{100 * tokens:+.1f} %",
        kernels=table(["card", "sequences x tokens", "bf16, us", "fp8, us", "4 bits, us", "4 bits / bf16", "4 bits / fp8"], kernel_rows("h100_sxm", "H100") + kernel_rows("h200_sxm", "H200")),
        serving=table(["cache", "requests/s published", "predicted", "TPOT published, ms", "predicted"], serving),
        implied=table(["kernel", "TPOT published, ms", "its attention, us a layer", "ours, us a layer", "times slower"], rows),
        slower=f"{slower['after']:.0f}", plain=f"{plain:.0f}", fused=f"{wide.ms:.1f} to {fused:.1f}",
        held_out=table(["cache", "sequences at once", "tokens each", "step, ms", "over fp8"], held_out[0]), ratio=f"{ratio:.1f}", published_ratio=f"{THIRTY_B_TPOT:.0f}",
        ours_ratio=f"{held_out[1]:.2f}", sglang=table(["load", "4 bits over bf16 published", "our kernel", "vLLM's, by the factor above"], short)))


def thirty_b(moecast, slower):
    """Qwen3-30B-A3B on an H200, 8,192 in and 1,024 out, at most 256 at once: rows, ratio of TPOT to fp8 with our kernel, and with the published one."""
    steps = steps_of(moecast, "Qwen3-30B-A3B", "H200", 0.9)
    context = 8192 + 512

    def at(scheme, narrow=None):
        batch = min(256, int((narrow or Decode(steps, 1, context, scheme).tokens) / context))
        return batch, Decode(steps, batch, context, scheme)

    eight_batch, eight = at("fp8_e4m3")
    four_batch, four = at("int4")
    wide = Decode(steps, four_batch, context, "bf16", "cluster.gpu.memory_gib=1000")  # its time; it need not fit
    times = [("fp8", eight_batch, eight.ms), ("4 bits, our kernel", four_batch, mixed(wide, four)), ("4 bits, kernel slower by that factor", four_batch, mixed(wide, four, slower))]
    rows = [[name, batch, context, f"{ms:.1f}", f"{ms / eight.ms:.2f}"] for name, batch, ms in times]
    return rows, times[1][2] / eight.ms, times[2][2] / eight.ms


def sglang(moecast, out, slower):
    """Llama-3.1-8B on an H200: throughput with 4 bits over bf16, with our kernel and with one slower; 256 sequences, all layers narrow."""
    steps = steps_of(moecast, "Llama-3.1-8B", "H200", 0.9)
    wide, four = (Decode(steps, 256, 32 + out // 2, scheme) for scheme in ("bf16", "int4"))
    return wide.ms / four.ms, wide.ms / (four.rest + slower * four.attention)


def serving_rows(moecast):
    rows = run_rows(moecast, HERE / "scenario.yaml")
    published = {"bf16": QWEN4B["bf16"], "4 bits": QWEN4B["after"]}
    return [[name, f"{told['req/s']:.1f}", f"{float(rows['', name]['output_tokens_per_s']) / 128:.1f}", f"{told['TPOT']:.2f}", f"{float(rows['', name]['tpot_median_ms']):.2f}"]
            for name, told in published.items()]


if __name__ == "__main__":
    main()
