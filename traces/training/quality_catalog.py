"""Turns measured quality into the catalog's findings.

    python3 quality_catalog.py quality.csv > scenarios/catalog/quality/moecast-reference.yaml

Takes the rows of policies that a scenario can state: token-level rules with the kept experts'
weights summing to one, in full precision. The CSV keeps the others.
"""

import csv
import sys

SOURCE = "traces/training/evaluate.py; docs/traces.md"


def experts(rule, parameters):
    """The policy as a scenario states it, or None where a scenario cannot."""
    values = dict(item.split("=", 1) for item in parameters.split() if "=" in item)
    if values.get("normalise"):
        return None
    if rule == "native":
        return "native"
    if rule == "uniform_top_k":
        return f"{{uniform_top_k: {{k: {values['k']}}}}}"
    if rule == "layer_schedule":
        return f"{{layer_schedule: {{list: {{k_per_moe_layer: [{values['k'].replace(',', ', ')}]}}}}}}"
    if rule == "ratio_to_best":
        return f"{{ratio_to_best: {{threshold: [{values['ratio']}]}}}}"
    if rule == "top_p":
        return f"{{top_p: {{mass: [{values['p']}]}}}}"
    if rule == "aset_derived":
        thresholds = values["beta"].replace(",", ", ")
        return f"{{aset_derived: {{threshold: [{thresholds}], penalty: {values['entropy_penalty']}}}}}"
    return None


def finding(row, policy):
    text = "all four kinds" if row["text"] == "all" else row["text"]
    lines = [f"  - experts: {policy}", "    family: perplexity", f"    task: \"held-out text, {text}\"",
             f"    value: {row['perplexity']}", "    unit: perplexity", f"    standard_error: {row['perplexity_se']}",
             f"    source: \"{SOURCE}\""]
    if row["rule"] != "native":
        lines.append(f"    note: \"{float(row['delta_nll']):+.4f} +- {row['delta_nll_se']} nats a token against native, "
                     f"window by window; {row['mean_kept']} experts kept\"")
    return "\n".join(lines)


def main():
    with open(sys.argv[1], newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["family"] == "experts"]
    print("name: moecast-reference\nfindings:")
    for row in rows:
        policy = experts(row["rule"], row["parameters"])
        if policy and not (row["rule"] == "uniform_top_k" and row["parameters"] == "k=8"):  # native again
            print(finding(row, policy))


if __name__ == "__main__":
    main()
