#!/usr/bin/env python3
"""Layer removal: Qwen3-32B with 16 of 64 layers taken out; writes reports/studies/e3_pruner/README.md.

  python3 reports/studies/e3_pruner/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from page import Page, arguments  # noqa: E402
from steps import Steps, miss, table  # noqa: E402

PUBLISHED = 1.33
SCENARIO = """
model: Qwen3-32B
cluster: {gpu: H200-SXM}
engine: {max_batch_tokens: 32768}
"""
CHANGE = "change=E3-Pruner-Qwen3-32B-16"
POINTS = [("decode", 1, 1024), ("decode", 1, 32768), ("decode", 16, 1024), ("decode", 16, 8192), ("decode", 128, 1024),
          ("prefill", 512, 0), ("prefill", 4096, 0), ("prefill", 32768, 0)]

HEAD = """# E3-Pruner: a quarter of the layers of Qwen3-32B removed

    python3 reports/studies/e3_pruner/run.py --moecast BUILD/sim/app/moecast

Published: {published:.2f} times as fast, GPU, batch and context not stated; a quarter of the layers out of a model that does nothing else is 4 / 3; MATH-500 96.0 against 96.8 (read second hand).
Predicted: one step of the whole and of the cut model, one H200, bf16, analytic; nothing is fitted.

{table}

{verdict}

Where it falls short, time does not scale with layers: the LM head, sampling and the host's part of a step are the same for 48 layers as for 64. {host}
A model with fewer layers also caches fewer keys and values: {kv}.
"""


def main():
    page = Page(__file__)
    steps = Steps(arguments(__doc__).moecast, SCENARIO)
    rows, ratios = [], []
    for phase, size, context in POINTS:
        ask = (lambda o: steps.decode(size, context, o)) if phase == "decode" else (lambda o: steps.prefill(size, o))
        whole, cut = ask([]), ask([CHANGE])
        ratio = whole.ms() / cut.ms()
        gpu = whole.ms(["host"]) / cut.ms(["host"])
        ratios.append(ratio)
        where = f"{size} x {context} tokens" if phase == "decode" else f"prompt of {size} tokens"
        rows.append([phase, where, f"{whole.ms():.2f}", f"{cut.ms():.2f}", f"{PUBLISHED:.2f}", f"{ratio:.3f}",
                     miss(ratio, PUBLISHED), f"{gpu:.3f}"])
    near = sum(ratio >= 1.30 for ratio in ratios)
    memory = [next(line for line in steps.decode(1, 1024, o).text.split("\n") if line.startswith("Memory")) for o in
              ([], [CHANGE])]
    kv = " and ".join(line.split("for KV at ")[1].split(" per token")[0] for line in memory)
    text = HEAD.format(
        published=PUBLISHED,
        table=table(["phase", "step", "64 layers, ms", "48 layers, ms", "published", "predicted", "miss", "GPU alone"], rows),
        verdict=f"Within 1.30 to 1.34 at {near} of {len(rows)} points; lowest {min(ratios):.3f}, highest {max(ratios):.3f}.",
        host="The last column leaves the host out.", kv=f"{kv} per token")
    page.near("lowest ratio", min(ratios), 1.30, PUBLISHED + 0.005)
    page.near("highest ratio", max(ratios), 1.30, PUBLISHED + 0.005)
    page.write(text)


if __name__ == "__main__":
    main()
