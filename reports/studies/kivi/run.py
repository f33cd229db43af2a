#!/usr/bin/env python3
"""KIVI's gain through a larger batch, in a paged engine and in its own harness; writes README.md beside this file.

  python3 reports/studies/kivi/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from steps import Steps, table  # noqa: E402
from study_table import run_rows  # noqa: E402

PUBLISHED = (2.35, 3.47)  # throughput over fp16, KIVI (arXiv:2402.02750): Llama-2-7B, one A100 of 80 GB, mean 161 tokens in and 338 out
PUBLISHED_BATCH = 4  # times the batch, at most
PROMPT, OUTPUT = 160, 338
TOKEN = 32 * 2 * 4096 * 2  # bytes of a cached token in 16 bits: layers, keys and values, channels
NARROW = 3 / 16  # 2 bits and a scale and zero point of 16 bits for every 32, over 16 bits
COPY = 0.8 * 2039e9  # bytes/s that copies move: the elementwise share of the bandwidth of an A100-80G-SXM
BF16 = "bf16"
WINDOWS = {"kivi2, R = 128": 128, "kivi2, R = 32": 32}
SCENARIO = """
model: Llama-2-7B
cluster: {gpu: A100-80G-SXM}
engine: {max_sequences: 2048, max_batch_tokens: 8192, gpu_memory_fraction: 0.95, graph_batch_sizes: []}
"""
ROOMY = "cluster.gpu.memory_gib=1000"  # a static batch is held to the card's memory here, not by the engine


def scheme(window):
    return f"kv={{scheme: {{from: kivi2, key: {{flush_tokens: {window}}}, value: {{recent_tokens: {window}}}}}}}"


class Static:
    """A static batch that fills the card at its longest, as a loop over `generate` runs it. Sizes in bytes, times in ms of the mean step."""

    def __init__(self, steps, room, window=None):
        mean, last = PROMPT + OUTPUT // 2, PROMPT + OUTPUT
        self.window = window
        self.batch = int(room / sum(self.held(last)))
        self.narrow, self.wide = (self.batch * each for each in self.held(mean))
        step = steps.decode(self.batch, mean, [ROOMY, "kv={scheme: bf16}" if window is None else scheme(window)])
        self.fused = step.ms()
        self.prompts = self.batch * PROMPT / 8192 * steps.prefill(8192, [ROOMY]).ms()

    def held(self, tokens):
        """Bytes of a sequence: codes, 16-bit tokens. Keys wait in a window until R have come, values in one of the newest R."""
        if self.window is None:
            return 0, tokens * TOKEN
        waiting = (tokens % self.window + min(tokens, self.window)) / 2
        return (tokens - waiting) * TOKEN * NARROW, waiting * TOKEN

    def speed(self, concatenated, transposed):
        """Output tokens/s when the step also copies: every 16-bit tensor, and the codes of values (half of all), to append a token; and all codes to another layout."""
        copied = 2 * (self.wide + self.narrow / 2) * concatenated + 2 * self.narrow * transposed
        return self.batch * OUTPUT * 1e3 / (OUTPUT * (self.fused + copied / COPY * 1e3) + self.prompts)


def harness(moecast):
    steps = Steps(moecast, SCENARIO)
    text = steps.text(["--batch", 1, "--context", 512])
    room = float(re.search(r"([\d.]+) GiB for KV", text)[1]) * 2**30
    wide = Static(steps, room)
    rows, gains = [], {}
    for name, window in WINDOWS.items():
        narrow = Static(steps, room, window)
        gains[name] = [narrow.speed(*copies) / wide.speed(copies[0], False) for copies in ((False, False), (True, False), (True, True))]
        rows.append([name, wide.batch, narrow.batch, f"{narrow.batch / wide.batch:.2f}", *(f"{gain:.2f}" for gain in gains[name])])
    return rows, gains


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    rows = run_rows(moecast, HERE / "scenario.yaml")
    variants = list(dict.fromkeys(variant for _, variant in rows))
    loads = list(dict.fromkeys(load for load, _ in rows))
    speed = {key: float(row["output_tokens_per_s"]) for key, row in rows.items()}
    batch = {key: float(row["mean_running_requests"]) for key, row in rows.items()}
    best = {v: max(loads, key=lambda load, v=v: speed[load, v]) for v in variants}
    lines, paged = [], {}
    for variant in variants[1:]:
        paged[variant] = speed[best[variant], variant] / speed[best[BF16], BF16]
        alone = min(speed[load, variant] / speed[load, BF16] for load in loads)
        growth = max(batch[load, variant] for load in loads) / max(batch[load, BF16] for load in loads)
        lines.append([variant, f"{paged[variant]:.2f}", f"{growth:.2f}", f"{alone:.2f}"])
    ladder, gains = harness(moecast)
    low, high = gains["kivi2, R = 128"][1], gains["kivi2, R = 32"][1]
    page.near("lower end in the harness", low / PUBLISHED[0], 0.7, 1.1)
    page.near("upper end in the harness", high / PUBLISHED[1], 0.7, 1.1)
    page.near("growth of the static batch with R = 32", float(ladder[1][3]), 3.6, 4.6)
    page.holds("copies about double the gain", all(gain[1] - 1 > 1.7 * (gain[0] - 1) for gain in gains.values()))
    page.holds("a paged engine gains less than the harness", all(paged[v] < gains[v][1] for v in gains))
    page.write(page.fill(
        "page.md", low=f"{low:.2f}", high=f"{high:.2f}", published=f"{PUBLISHED[0]} to {PUBLISHED[1]}", batch=PUBLISHED_BATCH, miss_low=f"{100 * (low / PUBLISHED[0] - 1):+.0f} %",
        miss_high=f"{100 * (high / PUBLISHED[1] - 1):+.0f} %",
        ladder=table(["scheme", "bf16 batch", "its batch", "growth", "fused kernels", "+ concatenation on both sides", "+ transposed copies"], ladder),
        paged=table(["scheme", "gain, best load of each", "batch growth", "gain at one load, worst"], lines),
        table=table(["in flight", *variants], [[load, *(f"{speed[load, v]:.0f} ({batch[load, v]:.0f})" for v in variants)] for load in loads])))


if __name__ == "__main__":
    main()
