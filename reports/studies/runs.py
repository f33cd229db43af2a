"""Runs of a scenario file, for studies: rows of table.csv by (variant, load)."""
import csv
import pathlib
import subprocess
import sys
import tempfile


def run(moecast, scenario, overrides=()):
    """{(variant, load): row of table.csv}. Errors of moecast end the study."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(moecast), "run", str(scenario), "--out", folder + "/out"]
        for override in overrides:
            words += ["--set", override]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            sys.exit(" ".join(words) + "\n" + done.stderr)
        with open(pathlib.Path(folder) / "out" / "table.csv", newline="", encoding="utf-8") as file:
            return {(row["variant"], row["load"]): row for row in csv.DictReader(file)}
