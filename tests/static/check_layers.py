"""Which of our headers, and which libraries, a file may include.

A layer may include itself and the layers before it in the add_subdirectory order of the top
CMakeLists.txt. Kernels and calibration stand beside that order and see only what RESTRICTED lists.
Libraries stay in the layers that own them, so that dependencies do not become a web.
"""

import re

import source_tree

RESTRICTED = {
    "kernels": ("sim/base", "sim/model/computed_rows.h", "sim/model/op.h", "sim/model/model_spec.h",
                "sim/model/step_executor.h"),
    "calibration": ("sim/base", "sim/model", "sim/cost"),
}

# Who else, besides tests, may include such a layer.
INCLUDED_BY = {"calibration": ("calibration/serving", "sim/app")}

# Header prefix -> folders whose files may include it.
LIBRARIES = {
    "CLI/": ("sim/app", "kernels/bench", "kernels/side_by_side"),
    "Eigen/": ("calibration", "kernels", "tests"),
    "Random123/": ("sim/base",),
    "benchmark/": ("tests/bench", "kernels"),
    "boost/heap/": ("sim/engine",),
    "boost/json": ("traces", "scenarios", "reports", "tests", "kernels", "calibration"),
    "boost/math/": ("sim/base", "calibration", "tests"),
    "google/protobuf/": ("traces", "scenarios", "reports", "kernels", "calibration", "tests"),
    "gmock/": ("tests",),
    "gtest/": ("tests",),
    "openssl/": ("sim/base",),
    "yaml-cpp/": ("scenarios", "traces", "calibration", "tests"),
    "zstd": ("traces", "calibration", "tests"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
SUBDIRECTORY = re.compile(r"^\s*add_subdirectory\(\s*([^\s)]+)", re.MULTILINE)


def layer_order(root):
    named = SUBDIRECTORY.findall(source_tree.read(root, "CMakeLists.txt"))
    return [layer for layer in dict.fromkeys(named) if not layer.startswith("tests")]


def layer_of(path, layers):
    """The most specific layer that holds the path, or its top folder."""
    holding = [layer for layer in layers if path.startswith(layer + "/")]
    return max(holding, key=len) if holding else path.split("/")[0]


def refuse_own_header(path, header, layers):
    """Why the file may not include our header, or None."""
    here, there = layer_of(path, layers), layer_of(header, layers)
    if here == there or here == "tests":
        return None
    if there == "tests":
        return "only tests include tests"
    if here in RESTRICTED:
        allowed = RESTRICTED[here]
        inside = any(header == item or header.startswith(item + "/") for item in allowed)
        return None if inside else f"{here} sees only {', '.join(allowed)}"
    if there in RESTRICTED:
        if here in INCLUDED_BY.get(there, ()):
            return None
        return f"nothing but tests includes {there}"
    if here not in layers or there not in layers:
        return f"layer {here if here not in layers else there} is not in the top CMakeLists.txt"
    if layers.index(there) > layers.index(here):
        return f"layer {there} comes after {here}"
    return None


def refuse_library(path, header):
    for prefix, folders in LIBRARIES.items():
        if header.startswith(prefix) and not any(path.startswith(f + "/") for f in folders):
            return f"{prefix} belongs to {', '.join(folders)}"
    if header.endswith(".pb.h") and not path.endswith(".cc"):
        return "generated code never reaches a header of ours"
    return None


def schema_owner(root, header):
    """The folder whose .proto generates the header, or None."""
    name = header.rsplit("/", 1)[-1].replace(".pb.h", ".proto")
    owners = [p for p in source_tree.files(root, (".proto",)) if p.name == name]
    return owners[0].parent.as_posix() if owners else None


def check(root):
    layers = layer_order(root)
    findings = []
    for file in source_tree.files(root, source_tree.CPP):
        path = file.as_posix()
        for number, line in enumerate(source_tree.read(root, file).splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match[2]
            reason = refuse_library(path, header)
            if header.endswith(".pb.h"):
                owner = schema_owner(root, header)
                outside = owner and not path.startswith((owner + "/", f"tests/{owner}/"))
                reason = reason or (f"generated code stays in {owner}" if outside else None)
            elif match[1] == '"' and "/" in header:
                reason = reason or refuse_own_header(path, header, layers)
            if reason:
                findings.append(f"{path}:{number}: includes {header}: {reason}")
    return findings


if __name__ == "__main__":
    source_tree.main(check)
