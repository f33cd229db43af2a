"""What the static checks share: which files are ours, and how a check reports."""

import pathlib
import sys

FOLDERS = ("sim", "kernels", "calibration", "traces", "scenarios", "reports", "tests", "docs",
           "scripts", "cmake", ".ci")
CPP = (".h", ".cc", ".cu", ".cuh")
TEXT = CPP + (".py", ".md", ".cmake", ".txt", ".proto", ".yaml", ".html", ".js", ".css", "")


def files(root, suffixes, folders=FOLDERS):
    """Our files with one of the suffixes, sorted, as paths relative to root."""
    root = pathlib.Path(root)
    top = [path for path in root.glob("*") if path.name != ".git"] if folders is FOLDERS else []
    found = [path for path in top if path.is_file()]
    for folder in folders:
        found += (root / folder).rglob("*")
    return sorted(path.relative_to(root) for path in found
                  if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts)


def read(root, path):
    return (pathlib.Path(root) / path).read_text(encoding="utf-8", errors="replace")


def main(check):
    """Runs check(root) on the tree named on the command line and prints its findings."""
    findings = check(pathlib.Path(sys.argv[1]))
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)
