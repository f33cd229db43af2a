"""Times one MoE layer's experts in several implementations on the same drawn routings.

  python3 kernels/side_by_side/moe_layer.py --native build/cuda/kernels/moecast_side_by_side --out DIR

Runs the native program (our two forms, cuBLAS grouped products), then PyTorch's grouped product on
the routings the program wrote, all in bf16 under CUDA graphs, eight routings a replay over rotated
copies of the weights so that a launch finds them outside L2. Writes DIR/moe_layer.csv and
DIR/environment.yaml. A missing PyTorch or GPU is said and leaves the native rows.

Parts: gate_up and down are products (ours: gate_up with SwiGLU); layer is everything from tokens
in routing order of the router to combined tokens, without the router: permutation, products,
activation, weighted sum.
"""

import argparse
import csv
import datetime
import pathlib
import subprocess
import sys
import tempfile

ROTATION = 8
MAX_COPIES = 4
POOL_BYTES = 40e9
WEIGHT_SCALE = 0.05
REPLAYS = 20
COLUMNS = ("implementation", "part", "model", "tokens", "assignments", "samples", "median_us",
           "p25_us", "p75_us")


def read_shapes(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {r["model"]: {k: int(r[k]) for k in ("hidden", "intermediate", "experts", "top_k")}
                for r in csv.DictReader(file)}


def read_loads(path):
    """{(model, tokens): [{expert: rows}] per routing}"""
    loads = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            routings = loads.setdefault((row["model"], int(row["tokens"])),
                                        [{} for _ in range(ROTATION)])
            routings[int(row["routing"])][int(row["expert"])] = int(row["rows"])
    return loads


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class TorchLayer:
    """One model at one number of tokens, rows of an expert contiguous."""

    def __init__(self, torch, shape, tokens, routings, weights):
        self.torch, self.shape, self.weights = torch, shape, weights
        self.tokens, self.top_k = tokens, shape["top_k"]
        rows = tokens * self.top_k
        make = lambda *size: torch.empty(*size, device="cuda", dtype=torch.bfloat16).uniform_(-1, 1)
        self.x, self.permuted = make(tokens, shape["hidden"]), make(rows, shape["hidden"])
        self.act = make(rows, shape["intermediate"])
        self.gates = torch.full((tokens, self.top_k, 1), 1 / self.top_k, device="cuda",
                                dtype=torch.bfloat16)
        self.ends, self.token_of_row, self.row_of_slot = [], [], []
        for loads in routings:
            counts = torch.tensor([loads.get(e, 0) for e in range(shape["experts"])])
            self.ends.append(counts.cumsum(0).to(torch.int32).cuda())
            slots = torch.randperm(rows)
            self.token_of_row.append((slots // self.top_k).cuda())
            self.row_of_slot.append(slots.argsort().cuda())

    def gate_up(self, r, rows):
        return self.torch._grouped_mm(rows, self.weights.gate_up(r), offs=self.ends[r % ROTATION])

    def down(self, r, rows):
        return self.torch._grouped_mm(rows, self.weights.down(r), offs=self.ends[r % ROTATION])

    def layer(self, r):
        gate, up = self.gate_up(r, self.x[self.token_of_row[r % ROTATION]]).chunk(2, dim=1)
        y = self.down(r, self.torch.nn.functional.silu(gate) * up)
        slots = y[self.row_of_slot[r % ROTATION]].view(self.tokens, self.top_k, -1)
        return (slots * self.gates).sum(dim=1)


class TorchWeights:
    def __init__(self, torch, shape):
        experts, hidden, inner = shape["experts"], shape["hidden"], shape["intermediate"]
        self.copies = max(1, min(MAX_COPIES, int(POOL_BYTES / (6 * experts * hidden * inner))))
        make = lambda *size: torch.empty(*size, device="cuda", dtype=torch.bfloat16).uniform_(
            -WEIGHT_SCALE, WEIGHT_SCALE)
        self.first = [make(experts, 2 * inner, hidden) for _ in range(self.copies)]
        self.second = [make(experts, hidden, inner) for _ in range(self.copies)]

    def gate_up(self, r):
        return self.first[r % self.copies].transpose(1, 2)

    def down(self, r):
        return self.second[r % self.copies].transpose(1, 2)


def check(torch, layer):
    """One expert's rows of the first routing against float32."""
    end = layer.ends[0].tolist()
    expert = next(e for e in range(len(end)) if end[e] > (end[e - 1] if e else 0))
    rows = layer.permuted[:end[expert]].float()
    want = rows @ layer.weights.gate_up(0)[expert].float()
    out = layer.gate_up(0, layer.permuted)[:end[expert]].float()
    error = ((out - want).norm() / want.norm()).item()
    if not error < 5e-3:
        raise RuntimeError(f"torch._grouped_mm is off by {error}")


def time_graph(torch, launch):
    """Microseconds of one launch in each replay of a graph of ROTATION launches."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for r in range(2):
            launch(r)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for r in range(ROTATION):
            launch(r)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    with torch.cuda.stream(stream):
        for _ in range(2):
            graph.replay()
        events[0].record()
        for event in events[1:]:
            graph.replay()
            event.record()
    torch.cuda.synchronize()
    return [1e3 * a.elapsed_time(b) / ROTATION for a, b in zip(events, events[1:])]


def torch_rows(torch, shapes, loads):
    rows, weights, held = [], None, None
    for (model, tokens), routings in loads.items():
        if model != held:
            weights = None  # gives the memory back before the next model asks for it
            weights, held = TorchWeights(torch, shapes[model]), model
        layer = TorchLayer(torch, shapes[model], tokens, routings, weights)
        check(torch, layer)
        parts = {"gate_up": lambda r: layer.gate_up(r, layer.permuted),
                 "down": lambda r: layer.down(r, layer.act), "layer": layer.layer}
        for part, launch in parts.items():
            times = time_graph(torch, launch)
            rows.append(dict(zip(COLUMNS, (
                "torch_grouped_mm", part, model, tokens, tokens * layer.top_k, len(times),
                *(f"{quantile(times, q):.5g}" for q in (0.5, 0.25, 0.75))))))
    return rows


def measure_torch(shapes, loads):
    """RETURNS: rows and the version, or none and the reason."""
    try:
        import torch
    except ImportError as error:
        return [], f"absent ({error})"
    if not torch.cuda.is_available():
        return [], "absent (sees no GPU)"
    if not hasattr(torch, "_grouped_mm"):
        return [], f"{torch.__version__} (has no _grouped_mm)"
    torch.manual_seed(1)
    with torch.no_grad():
        return torch_rows(torch, shapes, loads), torch.__version__


def device():
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--native", required=True, help="the program moecast_side_by_side")
    parser.add_argument("--data", default="kernels/data", help="folder of models.csv")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--commit", default="unknown", help="what the native program was built from")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        native = subprocess.run([arguments.native, "--out", scratch, "--data", arguments.data],
                                check=False)
        if native.returncode != 0:
            sys.exit(f"{arguments.native} failed with {native.returncode}")
        with open(pathlib.Path(scratch) / "native.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        loads = read_loads(pathlib.Path(scratch) / "loads.csv")
    more, version = measure_torch(read_shapes(pathlib.Path(arguments.data) / "models.csv"), loads)
    if not more:
        print(f"no rows from PyTorch: {version}", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open(arguments.out / "moe_layer.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows + more)
    (arguments.out / "environment.yaml").write_text(
        f'device: "{device()}"\npytorch: "{version}"\ncommit: "{arguments.commit}"\n'
        f'date: "{datetime.date.today()}"\nformat: bf16\nl2: cold\n', encoding="utf-8")


if __name__ == "__main__":
    main()
