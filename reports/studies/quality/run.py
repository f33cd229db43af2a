#!/usr/bin/env python3
"""Lists every quality finding of the catalog by kind of task; writes reports/studies/quality/README.md.

  python3 reports/studies/quality/run.py
"""
import collections
import csv
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
QUALITY = ROOT / "scenarios" / "catalog" / "quality"
FAMILIES = {
    "multiple_choice": "Multiple choice: log-likelihoods of short prompts",
    "generation": "Generation",
    "long_context": "Long context",
    "perplexity": "Perplexity",
    "mixed": "Mixed",
}
OWN = "moecast-reference"  # five texts a policy: only their mean is listed

HEAD = """# Quality evidence

    python3 reports/studies/quality/run.py

Every finding of `scenarios/catalog/quality`: {looked_up} that `moecast run` looks up for exactly their policy, {published} about models or policies that a scenario cannot
state (marked). Values of two kinds of task are not comparable and stand in tables of their own; TruthfulQA BLEU is left out. *unchanged* is the same task
and source without the policy. A standard error is given where the source states one.
"""


def flow(value):
    """A policy as it is written in a scenario, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}" if item == {} else f"{key}: {'{' + flow(item) + '}' if isinstance(item, dict) else flow(item)}"
                         for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return str(value)


def policy(finding):
    parts = []
    experts = finding.get("experts", "native")
    if experts != "native":
        parts.append(flow(experts))
    kv = finding.get("kv", {"scheme": "bf16"})
    if kv != {"scheme": "bf16"}:
        parts.append("cache " + flow(kv))
    for name in ("weights", "change", "renormalise_ranks"):
        if name in finding:
            parts.append(f"{name} {flow(finding[name])}")
    return "; ".join(parts) or "unchanged"


def number(value, digits=2):
    return f"{float(value):.{digits}f}"


def read():
    """RETURNS: (family, model, task) -> rows [policy, value, error, source, looked up]."""
    groups = collections.defaultdict(list)
    looked_up = 0
    for path in sorted(QUALITY.glob("*.yaml")):
        entry = yaml.safe_load(path.read_text())
        for finding in entry["findings"]:
            looked_up += 1
            if entry["name"] == OWN and not finding["task"].endswith("all four kinds"):
                continue
            key = finding["family"], entry["name"], f"{finding['task']} ({finding['unit']})"
            error = number(finding["standard_error"]) if "standard_error" in finding else ""
            groups[key].append([policy(finding), number(finding["value"]), error, finding["source"], True])
    published = list(csv.DictReader((QUALITY / "published.csv").open()))
    for row in published:
        note = f" ({row['note']})" if row["note"] else ""
        groups[row["family"], row["model"], f"{row['task']} ({row['unit']})"].append(
            [row["policy"] + note, number(row["value"]), row["standard_error"], row["source"], False])
    return groups, looked_up, len(published)


def main():
    groups, looked_up, published = read()
    text = HEAD.format(looked_up=looked_up, published=published)
    for family, title in FAMILIES.items():
        text += f"\n## {title}\n\n| model | task | policy | value | ± | unchanged | looked up | source |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        for (kind, model, task), rows in sorted(groups.items()):
            if kind != family:
                continue
            for name, value, error, source, found in rows:
                native = next((row[1] for row in rows if row[0] == "unchanged" and row[3] == source), "-")
                text += f"| {model} | {task} | {name} | {value} | {error} | {native} | {'yes' if found else 'no'} | {source} |\n"
    (pathlib.Path(__file__).parent / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
