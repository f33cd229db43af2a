"""Stores a capture's scores in fewer levels, so that its trace compresses better.

    python3 coarsen_scores.py DIR --levels 2047

Rewrites DIR/scores.u16 and the unit in DIR/import.yaml. A score moves by at most half a level; ids
and their order stay. Standard library only.
"""

import argparse
import array
import pathlib
import re
import sys


def coarsen(folder, levels):
    """ERRORS: ValueError where the folder is no capture with scores or has no more than `levels`."""
    path, description = folder / "scores.u16", folder / "import.yaml"
    text = description.read_text()
    found = re.search(r"^  unit: (\S+)$", text, re.MULTILINE)
    if not found:
        raise ValueError(f"{description}: has no scores")
    unit = float(found[1])
    if unit * levels > 1 - 1e-9:
        raise ValueError(f"{description}: scores have a unit of {unit}, which is {1 / unit:.0f} levels, no more than {levels}")
    values = array.array("H", path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    coarse = [min(levels, round(v * unit * levels)) for v in range(65536)]
    values = array.array("H", [coarse[v] for v in values])
    if sys.byteorder == "big":
        values.byteswap()
    path.write_bytes(values.tobytes())
    description.write_text(text[:found.start(1)] + repr(1 / levels) + text[found.end(1):])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--levels", type=int, required=True)
    arguments = parser.parse_args()
    try:
        coarsen(arguments.folder, arguments.levels)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
