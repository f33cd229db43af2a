"""Fits gaps between kernels to executed steps: python3 scripts/fit_gaps.py GRAPH PROMPT NARROW FOLDER...

  GRAPH, PROMPT, NARROW  the constants those forecasts were made with (graph_gap_us, prompt_gap_us, narrow_gap_us; above 0): what they say of
                         gaps is proportional to them
  FOLDER                 holds a folder per scenario with ops.csv and steps.csv.gz, as scripts/validate_all writes them

A step's gap is its executed time less the sum of its ops timed apart. Least squares of the difference between forecast and executed gap, relative to
the step, one constant after the other: over steps that only decode; over steps with prompts and at most MOST_ROWS rows, since in larger ones an op alone
runs at another clock than the step; and over both where the cache is in codes. Prints the constants, and what each leaves in percent of a step.
"""

import collections
import csv
import gzip
import pathlib
import sys

MOST_ROWS = 512
Step = collections.namedtuple("Step", "scenario prompts us gap kernels narrow")  # gap in us, kernels with a gap, those on a cache in codes


def steps_of(folder, graph, prompt, narrow):
    """RETURNS: the steps whose ops were timed apart."""
    with gzip.open(folder / "steps.csv.gz", "rt", encoding="utf-8") as file:
        whole = {(row["case"], row["step"]): row for row in csv.DictReader(file)}
    apart, forecast = collections.Counter(), collections.Counter()
    with open(folder / "ops.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["case"], row["step"]
            apart[key] += float(row["executed_us"])
            forecast[key, row["op"]] += float(row["predicted_us"])
    for key, ops in apart.items():
        prompts, us = whole[key]["prefill_tokens"] != "0", float(whole[key]["executed_us"])
        if prompts and int(whole[key]["rows"]) > MOST_ROWS:
            continue
        kernels = forecast[key, "kernel.gaps"] / (graph + (prompt if prompts else 0))
        yield Step(folder.name, prompts, us, us - ops, kernels, forecast[key, "kernel.narrow_gaps"] / narrow)


def fit(pairs):
    """RETURNS: us per launch, from (step, gap, launches)."""
    return sum(gap * n / us**2 for us, gap, n in pairs) / sum((n / us) ** 2 for us, _, n in pairs)


def report(name, steps, forecast):
    errors = [100 * (forecast(step) - step.gap) / step.us for step in steps]
    print(f"{name}: mean {sum(errors) / len(errors):+.2f} %, root mean square {(sum(e * e for e in errors) / len(errors)) ** 0.5:.2f} %, {len(errors)} steps")


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__.splitlines()[0])
    used = [float(text) for text in sys.argv[1:4]]
    folders = sorted(path.parent for root in sys.argv[4:] for path in pathlib.Path(root).glob("*/ops.csv"))
    steps = [step for folder in folders for step in steps_of(folder, *used)]
    each = {prompts: fit([(s.us, s.gap, s.kernels) for s in steps if s.prompts == prompts and s.narrow == 0]) for prompts in (False, True)}
    narrow = fit([(s.us, s.gap - each[s.prompts] * s.kernels, s.narrow) for s in steps if s.narrow > 0])
    print(f"graph_gap_us {each[False]:.2f}, prompt_gap_us {each[True] - each[False]:.2f}, narrow_gap_us {narrow:.2f}")
    kinds = {"decodes": lambda s: not s.prompts and s.narrow == 0, "prompts": lambda s: s.prompts and s.narrow == 0, "caches in codes": lambda s: s.narrow > 0}
    for name, is_kind in kinds.items():
        of_kind = [s for s in steps if is_kind(s)]
        for scenario in [*dict.fromkeys(s.scenario for s in of_kind), None]:
            chosen = [s for s in of_kind if scenario in (None, s.scenario)]
            report(f"{name}, {scenario or 'all'}", chosen, lambda s: each[s.prompts] * s.kernels + narrow * s.narrow)


if __name__ == "__main__":
    main()
