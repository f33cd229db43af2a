"""What the documents promise: links resolve, named files exist, cited keys are listed, every
invariant has a test, and every example is both explained and run."""

import re

import source_tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
OUR_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, source_tree.FOLDERS))})/[\w./*-]*\w(?![{{\w])")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")  # models/NAME.yaml
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
CITATION = re.compile(r"//.*?\[([A-Z][A-Za-z]*\d\d)\b[^\]]*\]")
INVARIANT = re.compile(r"\bINV-(\d+)\b")


def anchors(text):
    """GitHub's anchors of the headings."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
            for title in HEADING.findall(text)}


def link_findings(root, file):
    text = FENCE.sub("", source_tree.read(root, file))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (root / file).parent / name if name else root / file
        if not path.exists():
            yield f"{file}: broken link {target}"
        elif fragment and path.suffix == ".md" and fragment not in anchors(path.read_text()):
            yield f"{file}: no heading for {target}"


def path_findings(root, file):
    """Paths of ours in inline code that name nothing; a file may be named without its ending."""
    for code in CODE.findall(FENCE.sub("", source_tree.read(root, file))):
        for path in OUR_PATH.findall(code):
            pattern = PLACEHOLDER.sub("*", path)
            if not any(root.glob(pattern)) and not any(root.glob(pattern + ".*")):
                yield f"{file}: {path} does not exist"


def table_findings(root, file):
    """Rows of tables that were wrapped like prose: they render as text."""
    for number, line in enumerate(source_tree.read(root, file).splitlines(), 1):
        if re.search(r"\| +\| :?-{3,}", line):
            yield f"{file}:{number}: rows of a table stand in one line"


def citation_findings(root):
    documents = "".join(source_tree.read(root, f) for f in source_tree.files(root, (".md",), ("docs",)))
    for file in source_tree.files(root, source_tree.CPP):
        for key in sorted(set(CITATION.findall(source_tree.read(root, file)))):
            if f"[{key}]" not in documents:
                yield f"{file}: cites [{key}], which no page of docs lists"


def invariant_findings(root):
    page = root / "docs/invariants.md"
    if not page.exists():
        yield "docs/invariants.md is missing"
        return
    tests = "".join(source_tree.read(root, f) for f in source_tree.files(root, (".cc",), ("tests",)))
    tested = set(INVARIANT.findall(tests)) | set(re.findall(r"Inv(\d+)(?!\d)", tests))
    for number in sorted(set(INVARIANT.findall(page.read_text())), key=int):
        if number not in tested:
            yield f"docs/invariants.md: INV-{number} is named by no test"


def example_findings(root):
    documents = source_tree.files(root, (".md",))
    explained = "".join(source_tree.read(root, f) for f in documents)
    run = "".join(source_tree.read(root, f)
                  for f in source_tree.files(root, (".cc", ".py", ".txt"), ("tests/examples",)))
    for file in source_tree.files(root, (".yaml",), ("scenarios/examples",)):
        if file.name not in explained:
            yield f"{file}: mentioned in no document"
        if file.name not in run:
            yield f"{file}: run by no test in tests/examples"


def check(root):
    findings = []
    for file in source_tree.files(root, (".md",)):
        findings += link_findings(root, file)
        findings += table_findings(root, file)
        if file.name != "CHANGELOG.md":  # which names what there was
            findings += path_findings(root, file)
    findings += citation_findings(root)
    findings += invariant_findings(root)
    findings += example_findings(root)
    return findings


if __name__ == "__main__":
    source_tree.main(check)
