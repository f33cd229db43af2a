"""Fits gaps between kernels to executed steps: python3 scripts/fit_gaps.py GRAPH_GAP_US PROMPT_GAP_US FOLDER...

  GRAPH_GAP_US, PROMPT_GAP_US  the constants those forecasts were made with: what they say of gaps is proportional to them
  FOLDER                       holds a folder per scenario with ops.csv and steps.csv.gz, as scripts/validate_all writes them

A step's gap is its executed time less the sum of its ops timed apart. Least squares of the difference between forecast and executed gap, relative to
the step: over steps that only decode, and over steps with prompts and at most MOST_ROWS rows, since in larger ones an op alone runs at another clock than
the step. Prints both constants, `prompt_gap_us` being what the second adds, and what is left, in percent of a step.
"""

import collections
import csv
import gzip
import pathlib
import sys

MOST_ROWS = 512


def steps_of(folder, gap_us, prompt_gap_us):
    """RETURNS: (whether it has prompts, executed step, executed gap, launches with a gap) of the steps whose ops were timed apart, in us."""
    with gzip.open(folder / "steps.csv.gz", "rt", encoding="utf-8") as file:
        whole = {(row["case"], row["step"]): row for row in csv.DictReader(file)}
    apart, forecast = collections.Counter(), collections.Counter()
    with open(folder / "ops.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["case"], row["step"]
            apart[key] += float(row["executed_us"])
            forecast[key] += float(row["predicted_us"]) if row["op"] == "kernel.gaps" else 0
    for key, ops in apart.items():
        prompts = whole[key]["prefill_tokens"] != "0"
        if prompts and int(whole[key]["rows"]) > MOST_ROWS:
            continue
        step = float(whole[key]["executed_us"])
        yield prompts, step, step - ops, forecast[key] / (gap_us + (prompt_gap_us if prompts else 0))


def fit(steps):
    """RETURNS: us per launch."""
    return sum(gap * launches / step**2 for step, gap, launches in steps) / sum((launches / step) ** 2 for step, _, launches in steps)


def left(gap_us, steps):
    errors = [100 * (gap_us * launches - gap) / step for step, gap, launches in steps]
    return f"mean {sum(errors) / len(errors):+.2f} %, root mean square {(sum(e * e for e in errors) / len(errors)) ** 0.5:.2f} % of {len(errors)} steps"


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__.splitlines()[0])
    gap_us, prompt_gap_us = map(float, sys.argv[1:3])
    found = collections.defaultdict(dict)
    for folder in sorted(path.parent for root in sys.argv[3:] for path in pathlib.Path(root).glob("*/ops.csv")):
        for prompts, *step in steps_of(folder, gap_us, prompt_gap_us):
            found[prompts].setdefault(str(folder), []).append(step)
    fitted = {prompts: fit([step for steps in folders.values() for step in steps]) for prompts, folders in sorted(found.items())}
    print(f"graph_gap_us {fitted[False]:.2f}, prompt_gap_us {fitted[True] - fitted[False]:.2f}")
    for prompts, folders in sorted(found.items()):
        every = [step for steps in folders.values() for step in steps]
        for name, steps in [*folders.items(), ("all", every)]:
            print(f"{'prompts' if prompts else 'decodes'}, {name}: {left(fitted[prompts], steps)}")


if __name__ == "__main__":
    main()
