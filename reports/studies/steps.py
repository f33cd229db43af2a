"""One step of a scenario, as `moecast explain` prices it, for studies that compare single steps."""
import pathlib
import re
import subprocess
import sys
import tempfile

WORKLOAD = """
workload:
  synthetic:
    arrivals: {closed_loop: {concurrency: 1}}
    input: {fixed: {tokens: 1}}
    output: {fixed: {tokens: 1}}
  stop: {requests: 1}
"""


class Steps:
    """Prices steps of one scenario text. Errors of moecast end the study."""

    def __init__(self, moecast, scenario):
        self._moecast = moecast
        self._folder = tempfile.TemporaryDirectory()
        self._path = pathlib.Path(self._folder.name) / "scenario.yaml"
        self._path.write_text("name: steps\n" + scenario + WORKLOAD)

    def text(self, question, overrides=()):
        words = [str(self._moecast), "explain", str(self._path), *map(str, question)]
        for override in overrides:
            words += ["--set", override]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(" ".join(words) + "\n" + done.stderr)
        return done.stdout

    def step(self, question, overrides=()):
        return Step(self.text(question, overrides))

    def decode(self, batch, context, overrides=()):
        return self.step(["--batch", batch, "--context", context], overrides)

    def prefill(self, tokens, overrides=()):
        return self.step(["--prefill", tokens], overrides)


class Step:
    """What explain printed: milliseconds of each line, and the model's counts."""

    def __init__(self, text):
        self.text = text
        self.lines = {}  # op -> (count, ms of all executions)
        table = text[text.index("\nop "):].split("\n\n")[0].strip("\n").split("\n")
        for row in table[2:]:
            cells = re.split(r"\s{2,}", row.strip())
            if len(cells) < 8 or not re.fullmatch(r"\d+", cells[1]):
                continue
            count, ms = self.lines.get(cells[0], (0, 0.0))
            self.lines[cells[0]] = (count + int(cells[1]), ms + float(cells[7]) / 1e3)
        model = re.search(r"^Model.*?: ([\d.]+) billion parameters, ([\d.]+) active; ([\d.]+) billion", text, re.M)
        self.parameters, self.active, self.multiply_adds = (float(x) * 1e9 for x in model.groups())

    def ms(self, leave_out=()):
        """Milliseconds of the step without the ops whose names start so."""
        return sum(ms for op, (_, ms) in self.lines.items() if not op.startswith(tuple(leave_out) or ("\0",)))

    def launches(self, leave_out=()):
        return sum(n for op, (n, _) in self.lines.items() if not op.startswith(tuple(leave_out) or ("\0",)))


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def miss(predicted, published):
    return f"{100 * (predicted / published - 1):+.1f} %"
