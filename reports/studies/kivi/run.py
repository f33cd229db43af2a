#!/usr/bin/env python3
"""KIVI's gain through a larger batch, forecast; writes README.md beside this file.

  python3 reports/studies/kivi/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import run_rows  # noqa: E402
from steps import table  # noqa: E402

PUBLISHED = (2.35, 3.47)  # throughput over fp16, KIVI (arXiv:2402.02750): Llama-2-7B, one A100 of 80 GB, mean 161 tokens in and 338 out
PUBLISHED_BATCH = 4  # times the batch, at most
BF16 = "bf16"
PAGE = """# KIVI on Llama-2-7B

Output tokens/s on one A100 of 80 GB, 160 tokens in and 338 out, by requests in flight; in brackets the sequences that ran at once in the mean.

{table}

{comparison}

Command: `python3 reports/studies/kivi/run.py --moecast build/dev/sim/app/moecast`

{notes}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moecast", required=True, type=pathlib.Path)
    rows = run_rows(parser.parse_args().moecast, HERE / "scenario.yaml")
    variants = list(dict.fromkeys(variant for _, variant in rows))
    loads = list(dict.fromkeys(load for load, _ in rows))
    speed = {key: float(row["output_tokens_per_s"]) for key, row in rows.items()}
    batch = {key: float(row["mean_running_requests"]) for key, row in rows.items()}
    text = table(["in flight", *variants], [[load, *(f"{speed[load, v]:.0f} ({batch[load, v]:.0f})" for v in variants)] for load in loads])
    best = {v: max(loads, key=lambda load, v=v: speed[load, v]) for v in variants}
    lines = []
    for variant in variants[1:]:
        gain = speed[best[variant], variant] / speed[best[BF16], BF16]
        alone = min(speed[load, variant] / speed[load, BF16] for load in loads)
        growth = max(batch[load, variant] for load in loads) / max(batch[load, BF16] for load in loads)
        low, high = PUBLISHED
        lines.append([variant, f"{low} to {high}", f"{gain:.2f}", f"{100 * (gain / low - 1):+.0f} % of the lower", f"up to {PUBLISHED_BATCH}", f"{growth:.2f}", f"{alone:.2f}"])
    comparison = table(["scheme", "throughput gain published", "predicted, best batch of each", "difference", "batch published", "predicted", "gain at one batch, worst"], lines)
    notes = (HERE / "notes.md").read_text().strip()
    (HERE / "README.md").write_text(PAGE.format(table=text, comparison=comparison, notes=notes))
    print(text + "\n\n" + comparison)


if __name__ == "__main__":
    main()
