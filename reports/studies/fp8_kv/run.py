#!/usr/bin/env python3
"""What a cached token costs a decode step in fp8 and in bf16; writes README.md beside this file.

  python3 reports/studies/fp8_kv/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from steps import Steps, table  # noqa: E402

PUBLISHED_SLOPE = 0.54  # vLLM blog, 2026-04-22: Llama-3.1-8B, one H100; slope of the inter-token latency over context, fp8 over bf16
PUBLISHED_BREAK_EVEN = 7000  # tokens of context from which fp8 is faster
SCENARIO = """
model: Llama-3.1-8B
cluster: {gpu: H100-SXM}
engine: {max_batch_tokens: 200000, max_sequences: 64}
"""
CONTEXTS = [1024, 2048, 4096, 8192, 16384, 32768, 65536]
BATCHES = [1, 4]
PAGE = """# fp8 cache on Llama-3.1-8B

Time of a decode step on one H100 by context, as `moecast explain` prices it with the stated analytic constants.

{table}

{comparison}

Command: `python3 reports/studies/fp8_kv/run.py --moecast build/dev/sim/app/moecast`

{notes}
"""


def slope(times):
    """Of the least squares line through (context, time)."""
    mean_x, mean_y = sum(CONTEXTS) / len(CONTEXTS), sum(times) / len(times)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(CONTEXTS, times)) / sum((x - mean_x) ** 2 for x in CONTEXTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moecast", required=True, type=pathlib.Path)
    steps = Steps(parser.parse_args().moecast, SCENARIO)
    rows, comparison = [], []
    for batch in BATCHES:
        bf16 = [steps.decode(batch, context).ms() for context in CONTEXTS]
        fp8 = [steps.decode(batch, context, ["kv.scheme=fp8_e4m3"]).ms() for context in CONTEXTS]
        rows += [[batch, c, f"{a:.3f}", f"{b:.3f}", f"{b / a:.3f}"] for c, a, b in zip(CONTEXTS, bf16, fp8)]
        faster = [c for c, a, b in zip(CONTEXTS, bf16, fp8) if b < a]
        ratio = slope(fp8) / slope(bf16)
        comparison.append([batch, PUBLISHED_SLOPE, f"{ratio:.3f}", f"{ratio - PUBLISHED_SLOPE:+.3f}", PUBLISHED_BREAK_EVEN, f"below {min(faster)}" if faster else "none"])
    text = table(["batch", "context", "bf16 ms", "fp8 ms", "ratio"], rows)
    judged = table(["batch", "slope published", "predicted", "difference", "break-even published", "predicted"], comparison)
    notes = (HERE / "notes.md").read_text().strip()
    (HERE / "README.md").write_text(PAGE.format(table=text, comparison=judged, notes=notes))
    print(text + "\n\n" + judged)


if __name__ == "__main__":
    main()
