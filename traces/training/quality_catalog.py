"""Turns measured quality into the catalog's findings.

    python3 quality_catalog.py quality.csv > scenarios/catalog/quality/moecast-reference.yaml

Takes the rows of policies that a scenario can state: rules of expert selection, cache schemes, and
both together. The CSV keeps the others (3-bit and 1-bit codes, batches whose rows differ).
"""

import csv
import sys

SOURCE = "traces/training/evaluate.py; docs/traces.md"
JOINT_RESIDUAL = "32"  # evaluate.py: window of the cache schemes measured with a rule


def token_rule(rule, values):
    """A token-level rule as a scenario states it, or None where a scenario cannot."""
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


def expert_rule(rule, values):
    """The same with rules that look at a batch, which is at most the one measured."""
    if rule == "oea":
        return f"{{oea: {{base_k: {values['k0']}, scope: {{max_tokens: {values['batch']}}}}}}}"
    if rule == "xshare":
        return f"{{xshare: {{budget: {values['budget']}, scope: {{max_tokens: {values['batch']}}}}}}}"
    return token_rule(rule, values)


def windowed(name, residual):
    """A KIVI-like scheme; the catalog's has a window of 128."""
    if residual == "128":
        return name
    return f"{{from: {name}, key: {{flush_tokens: {residual}}}, value: {{recent_tokens: {residual}}}}}"


def kv_scheme(rule, values):
    """The cache scheme as a scenario states it, or None. Groups of the token-wise ones are a head of 64."""
    group = values.get("group", "64")
    if rule in ("int8", "int4", "saw_int4"):
        return f"{{scheme: {{from: {rule}, key: {{group: {group}}}, value: {{group: {group}}}}}}}"
    residual = values.get("residual")
    if rule in ("kivi_4", "kivi_2"):
        return f"{{scheme: {windowed(rule.replace('_', ''), residual)}}}"
    if rule == "asymkv":
        return (f"{{asymkv: {{scheme: {windowed(rule, residual)}, key_layers: {values['key_layers']}, "
                f"value_layers: {values['value_layers']}}}}}")
    if rule == "xquant":
        layers = ", ".join(f"{name}: {values[name]}" for name in ("kq", "vq", "km", "vm"))
        return f"{{xquant: {{scheme: {windowed(rule, residual)}, {layers}}}}}"
    return None


def policy(row):
    """Lines that state the row's policy, or None where a scenario cannot."""
    values = dict(item.split("=", 1) for item in row["parameters"].split() if "=" in item)
    rule, _, scheme = row["rule"].partition("+")
    if row["family"] == "kv":
        rule, scheme = "native", rule
    lines = []
    if rule == "native":
        lines.append("experts: native")
    elif expert_rule(rule, values):
        lines.append(f"experts: {expert_rule(rule, values)}")
        if values.get("normalise") == "native":
            lines.append("renormalise_ranks: 8")
    else:
        return None
    if scheme:
        values.setdefault("residual", JOINT_RESIDUAL)
        kv = kv_scheme(scheme, values)
        if not kv:
            return None
        lines.append(f"kv: {kv}")
    return lines


def note(row):
    text = (f"{float(row['delta_nll']):+.4f} +- {row['delta_nll_se']} nats a token against native, window by window; "
            f"{row['mean_kept']} experts kept")
    if "batch=" in row["parameters"]:
        text += "; batches of exactly that many tokens"
    if any(name in row["rule"] for name in ("kivi", "asymkv", "xquant")):
        text += "; keys keep exactly the newest tokens of the window"
    return text


def finding(row, lines):
    text = "all four kinds" if row["text"] == "all" else row["text"]
    lines = lines + ["family: perplexity", f"task: \"held-out text, {text}\"", f"value: {row['perplexity']}",
                     "unit: perplexity", f"standard_error: {row['perplexity_se']}", f"source: \"{SOURCE}\""]
    if row["rule"] != "native":
        lines.append(f"note: \"{note(row)}\"")
    return "\n".join(("  - " if i == 0 else "    ") + line for i, line in enumerate(lines))


def main():
    with open(sys.argv[1], newline="") as file:
        rows = list(csv.DictReader(file))
    print("name: moecast-reference\nfindings:")
    for row in rows:
        lines = policy(row)
        if lines and not (row["rule"] == "uniform_top_k" and row["parameters"] == "k=8"):  # native again
            print(finding(row, lines))


if __name__ == "__main__":
    main()
