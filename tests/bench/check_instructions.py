#!/usr/bin/env python3
"""Counts a program's instructions with callgrind and compares them with the accepted count.

Usage: check_instructions.py PROGRAM BASELINE.json TOOLCHAIN [--update]

TOOLCHAIN names compiler, version and build type; a count holds for one of them only. Instruction
counts do not depend on how busy the machine is, so one per cent is a real change. Exit codes: 0 within
the tolerance (or updated), 1 outside it, 77 skipped with a reason.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOLERANCE = 0.01
SKIPPED = 77


def count_instructions(valgrind, program):
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/out", program],
            capture_output=True, text=True, check=False)
    counted = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not counted:
        sys.exit(f"{program} failed under callgrind:\n{run.stderr[-2000:]}")
    events = int(re.search(r"events (\d+)", run.stdout)[1])
    return int(counted[1]), events


def main(program, baseline_path, toolchain, update):
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("skipped: valgrind is not installed")
        return SKIPPED
    path = pathlib.Path(baseline_path)
    baseline = json.loads(path.read_text()) if path.exists() else {}
    if toolchain not in baseline and not update:
        print(f"skipped: {path.name} has no count for {toolchain}; --update adds it")
        return SKIPPED
    instructions, events = count_instructions(valgrind, program)
    print(f"{instructions} instructions, {events} events, {instructions / events:.1f} per event")
    if update:
        baseline[toolchain] = {"instructions": instructions, "events": events}
        path.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")
        return 0
    accepted = baseline[toolchain]["instructions"]
    change = instructions / accepted - 1
    print(f"accepted {accepted}: {change:+.2%}, tolerance {TOLERANCE:.0%}")
    return 0 if abs(change) <= TOLERANCE else 1


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    sys.exit(main(*arguments, update="--update" in sys.argv))
