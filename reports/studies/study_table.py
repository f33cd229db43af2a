"""What the study scripts share: running a scenario, and published beside predicted."""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_into(folder, moecast, scenario, settings, threads=1):
    """Runs a scenario into folder/out. Errors of moecast end the study; a case without a forecast does not."""
    out = pathlib.Path(folder) / "out"
    command = [str(moecast), "run", str(scenario), "--out", str(out), "--threads", str(threads)]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return out


def run(moecast, scenario, *settings, threads=1):
    """RETURNS: {(load, variant): summary.json of the case}."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {}
        for path in run_into(folder, moecast, scenario, settings, threads).rglob("summary.json"):
            summary = json.loads(path.read_text())
            cases[summary["moecast"]["load"], summary["moecast"]["variant"]] = summary
        return cases


def run_rows(moecast, scenario, *settings):
    """RETURNS: {(load, variant): row of table.csv, texts}."""
    with tempfile.TemporaryDirectory() as folder:
        out = run_into(folder, moecast, scenario, settings)
        with open(out / "table.csv", newline="", encoding="utf-8") as file:
            return {(row["load"], row["variant"]): row for row in csv.DictReader(file)}


def figure(summary, name):
    return summary["moecast"]["figures"][name]["mean"]


def expert_layer_us(summary, layers):
    """Router, selection and routed experts of one layer and step, microseconds."""
    runs = summary["moecast"]["runs"]
    seconds = sum(each["step_seconds"]["experts"] for each in runs)
    return seconds / sum(each["steps"] for each in runs) / layers * 1e6


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def percent(ratio):
    return f"{(ratio - 1) * 100:+.1f} %"
