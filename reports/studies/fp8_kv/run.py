#!/usr/bin/env python3
"""What a cached token costs a decode step in fp8 and in bf16; writes README.md beside this file.

  python3 reports/studies/fp8_kv/run.py --moecast build/dev/sim/app/moecast
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from page import Page, arguments  # noqa: E402
from steps import Steps, table  # noqa: E402
from study_table import ROOT  # noqa: E402

PUBLISHED_SLOPE = 0.54  # vLLM blog, 2026-04-22: Llama-3.1-8B, one H100; slope of the inter-token latency over context, fp8 over bf16
PUBLISHED_BREAK_EVEN = 7000  # tokens of context from which fp8 is faster
SCENARIO = """
model: Llama-3.1-8B
cluster: {gpu: H100-SXM}
engine: {max_batch_tokens: 200000, max_sequences: 64}
"""
PRICES = {"measured kernels": SCENARIO + f"cost: {{profile: {ROOT}/calibration/profiles/h100_sxm.yaml}}\n", "analytic": SCENARIO}
CONTEXTS = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
BATCHES = [1, 4, 8]
FITS = 8 * 32768  # tokens that are asked for at most


def slope(contexts, times):
    """Of the least squares line through (context, time)."""
    mean_x, mean_y = sum(contexts) / len(contexts), sum(times) / len(times)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(contexts, times)) / sum((x - mean_x) ** 2 for x in contexts)


def break_even(contexts, wide, narrow):
    """The first context from which narrow stays faster, as text."""
    slower = [i for i, (a, b) in enumerate(zip(wide, narrow)) if b >= a]
    if not slower:
        return f"below {contexts[0]:,}", 0
    last = slower[-1]
    if last + 1 == len(contexts):
        return "none", contexts[-1]
    return f"{contexts[last]:,} to {contexts[last + 1]:,}", contexts[last + 1]


def added_at(moecast, context):
    """us a layer that fp8 costs one sequence of this context more than bf16, by measured kernels."""
    steps = Steps(moecast, PRICES["measured kernels"])
    wide, narrow = (steps.decode(1, context, [f"kv.scheme={scheme}"]) for scheme in ("bf16", "fp8_e4m3"))
    return 1e3 * (narrow.ms() - wide.ms()) / wide.lines["attention.decode"][0]


def main():
    page = Page(__file__)
    moecast = arguments(__doc__).moecast
    rows, judged, ratios, turns = [], [], {}, {}
    for price, scenario in PRICES.items():
        steps = Steps(moecast, scenario)
        for batch in BATCHES:
            contexts = [c for c in CONTEXTS if batch * c <= FITS]
            wide, narrow = ([steps.decode(batch, c, [f"kv.scheme={scheme}"]).ms() for c in contexts] for scheme in ("bf16", "fp8_e4m3"))
            rows += [[price, batch, c, f"{a:.3f}", f"{b:.3f}", f"{b / a:.3f}"] for c, a, b in zip(contexts, wide, narrow)]
            ratios[price, batch] = slope(contexts, narrow) / slope(contexts, wide)
            where, turns[price, batch] = break_even(contexts, wide, narrow)
            judged.append([price, batch, PUBLISHED_SLOPE, f"{ratios[price, batch]:.3f}", f"{ratios[price, batch] - PUBLISHED_SLOPE:+.3f}", f"{PUBLISHED_BREAK_EVEN:,}", where])
    cost = added_at(moecast, PUBLISHED_BREAK_EVEN)
    own = [ratios["measured kernels", b] for b in BATCHES]
    page.near("slope by measured kernels, most", max(own), 0.46, 0.62)
    page.near("slope by measured kernels, least", min(own), 0.46, 0.62)
    page.near("analytic slope", ratios["analytic", 1], 0.49, 0.51)
    page.holds("the published break-even lies between those of one sequence and of four",
               turns["measured kernels", 4] <= PUBLISHED_BREAK_EVEN <= turns["measured kernels", 1])
    page.near("what a layer costs more, us", cost, 1, 5)
    page.write(page.fill("page.md", cost=f"{cost:.1f}", low=f"{min(own):.2f}", high=f"{max(own):.2f}", published=PUBLISHED_SLOPE,
                         judged=table(["priced by", "batch", "slope published", "predicted", "difference", "break-even published", "predicted"], judged),
                         table=table(["priced by", "batch", "context", "bf16, ms", "fp8, ms", "ratio"], rows)))


if __name__ == "__main__":
    main()
