"""A study's page: prose filled with the numbers of its tables, and statements checked against them."""
import argparse
import pathlib
import sys


def arguments(description, *more):
    """--moecast PROGRAM, and what else a study needs, each a folder."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--moecast", required=True, type=pathlib.Path)
    for name in more:
        parser.add_argument(name, required=True, type=pathlib.Path)
    return parser.parse_args()


class Page:
    """README.md of a study's folder.

    `holds` names what the page's words rest on; a statement that the numbers no longer bear out ends the study with exit code 1 after the page is written, so that nobody
    ships the words unread.
    """

    def __init__(self, script):
        self.folder = pathlib.Path(script).resolve().parent
        self.lost = []

    def holds(self, statement, true):
        if not true:
            self.lost.append(statement)

    def near(self, statement, value, low, high):
        """The same for a number that the words put between two."""
        if not low <= value <= high:
            self.lost.append(f"{statement}: {value:.4g} is not within {low} to {high}")

    def fill(self, template, **figures):
        """RETURNS: the file beside the script with its {figures} in place."""
        figures = {name: value.rstrip() if isinstance(value, str) else value for name, value in figures.items()}
        return (self.folder / template).read_text(encoding="utf-8").format(**figures).strip() + "\n"

    def write(self, text):
        (self.folder / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")
        print(text)
        if self.lost:
            sys.exit(f"{self.folder.name}/README.md says what its numbers do not:\n  " + "\n  ".join(self.lost))
