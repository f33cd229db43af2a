#!/usr/bin/env python3
"""XShare on gpt-oss-120b, one H200: throughput gain by concurrency, published and predicted; writes README.md.

    python3 reports/studies/xshare/run.py --moecast build/dev/sim/app/moecast
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from study_table import figure, percent, run, table  # noqa: E402

HEADER = """# XShare on gpt-oss-120b, one H200

Random prompts of 128 tokens, 256 out, 200 requests, budget of 24 experts a layer, off above 48 tokens [XShare26]. Regenerate with

    python3 reports/studies/xshare/run.py --moecast BUILD/sim/app/moecast

Nothing was fitted: analytic costs of `analytic-default`, generated routing with the statistics of gpt-oss-20b on 128 experts.

"""

# github.com/vllm-project/vllm pull request 35551: output tokens per second, baseline and XShare.
PUBLISHED = {"4": (530, 559), "8": (866, 1006), "16": (1342, 1835), "32": (1996, 3054)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moecast", required=True)
    cases = run(parser.parse_args().moecast, HERE / "scenario.yaml")
    rows = []
    for load, (base, capped) in PUBLISHED.items():
        native, xshare = cases[load, "native"], cases[load, "budget 24"]
        before, after = (figure(each, "output_tokens_per_s") for each in (native, xshare))
        rows.append([load, percent(capped / base), percent(after / before),
                     f"{(after / before - capped / base) * 100:+.1f} points", base, f"{before:.0f}",
                     percent(before / base), f"{figure(native, 'mean_distinct_experts'):.1f}",
                     f"{figure(xshare, 'mean_distinct_experts'):.1f}", f"{figure(xshare, 'mean_kept_experts'):.2f}"])
    text = HEADER
    text += table(["concurrency", "gain, published", "predicted", "difference", "baseline tok/s, published", "predicted",
                   "difference", "experts a layer, native", "with XShare", "experts a token, with XShare"], rows)
    text += "\n" + (HERE / "notes.md").read_text()
    (HERE / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
