"""Rules of style that neither the compiler nor clang-tidy knows.

Lengths, banned constructs of the simulator, iteration in hash order, left-over notes, paths of one
machine, banners, a comment at the head of every header, and tests that no target builds.
"""

import re

import source_tree

FILE_LINES = 400
FUNCTION_LINES = 50

# Pattern, why, and the files that may use it.
BANNED_IN_SIM = (
    (r"\bvirtual\b", "closed sets are variants, open sets concepts", r".*_codec\.cc"),
    (r"#\s*include\s*<random>", "its distributions differ between libraries", r"(?!)"),
    (r"\b(secure_)?getenv\b", "a run depends on its scenario and on nothing else", r"(?!)"),
    (r"\bstd::function\b", "only at the edge of the application",
     r"sim/(app|run)/.*|sim/metrics/recorder\.h"),
    (r"\b(system|steady|high_resolution)_clock::now\b", "no wall clock reaches a result",
     r"sim/(app|run)/.*"),
)
LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~}/])/(home|root|tmp|work)/")
BANNER = re.compile(r"^\s*(//|#)\s*[-=*#~]{5,}")
COMMENT = re.compile(r"//.*|/\*.*?\*/", re.DOTALL)
UNORDERED = re.compile(r"\bunordered_(?:map|set|multimap|multiset)\s*<[^;{}()]*>&?\s+(\w+)\s*[;={,)]")


def sim_findings(path, text):
    code = COMMENT.sub("", text)
    for pattern, why, allowed in BANNED_IN_SIM:
        match = re.search(pattern, code)
        if match and not re.fullmatch(allowed, path):
            yield f"{path}: uses {match[0]}: {why}"


def unordered_findings(path, text, declarations):
    """Loops over a container whose order depends on the hash; `declarations` has its header too."""
    for name in sorted(set(UNORDERED.findall(declarations))):
        loop = rf"for \([^;()]*:\s*(?:\w+(?:\.|->))*{name}\)|\b{name}(?:\.|->)c?begin\("
        for match in re.finditer(loop, text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: iterates over unordered {name}: order would reach a result"


def length_findings(path, text):
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield f"{path}: {len(lines)} lines, at most {FILE_LINES}"
    for indent in ("", "  "):
        opened = None
        head = re.compile(rf"^{indent}[\w~:\[]")
        for number, line in enumerate(lines, 1):
            if line == indent + "}" and opened:
                length = number - opened + 1
                if length > FUNCTION_LINES:
                    yield f"{path}:{opened}: function of {length} lines, at most {FUNCTION_LINES}"
                opened = None
            elif head.match(line) and not re.match(r"\s*(namespace|public|private|protected)\b", line):
                opened = number


def header_findings(path, text):
    if not text.startswith("//"):
        yield f"{path}:1: a header starts with a comment that says what it is"
    if "\n#pragma once\n" not in text:
        yield f"{path}: no #pragma once"


def text_findings(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in ((LEFT_OVER, "left-over note"), (MACHINE_PATH, "path of one machine"),
                              (BANNER, "banner")):
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: {what} {match[0].strip()}"


def cpp_findings(root, file):
    path, text = file.as_posix(), source_tree.read(root, file)
    yield from length_findings(path, text)
    if file.suffix in (".h", ".cuh"):
        yield from header_findings(path, text)
    if path.startswith("sim/"):
        yield from sim_findings(path, text)
        header = root / file.with_suffix(".h")
        declarations = text + (header.read_text() if header.exists() else "")
        yield from unordered_findings(path, text, declarations)


def unbuilt_findings(root):
    """Tests that no CMakeLists.txt names; of a fuzz target the name before _fuzz is enough."""
    lists = source_tree.files(root, (".txt",))
    named = " ".join(source_tree.read(root, file) for file in lists if file.name == "CMakeLists.txt")
    if not named:
        return
    words = set(re.split(r"[\s()/]+", named))
    for file in source_tree.files(root, (".cc",), ("tests",)):
        if not file.stem.endswith(("_test", "_fuzz")):
            continue
        if file.name not in words and file.stem.removesuffix("_fuzz") not in words:
            yield f"{file.as_posix()}: no CMakeLists.txt names it, so nothing builds it"


def check(root):
    findings = list(unbuilt_findings(root))
    for file in source_tree.files(root, source_tree.CPP):
        findings += cpp_findings(root, file)
    for file in source_tree.files(root, source_tree.TEXT):
        if not file.as_posix().startswith("tests/static/") and file.name != "LICENSE":
            findings += text_findings(file.as_posix(), source_tree.read(root, file))
    return findings


if __name__ == "__main__":
    source_tree.main(check)
