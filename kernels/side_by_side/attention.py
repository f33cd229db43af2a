"""Times attention in PyTorch on shapes of our suites, in the same GPU run as they were measured.

  build/cuda/kernels/moecast_kernels --suite attend --suite attend_prefill --out MEASURED
  python3 kernels/side_by_side/attention.py --measured MEASURED --out DIR

All under CUDA graphs, eight launches a replay over rotated copies of keys and values so that a
decode launch finds them outside L2. Implementations:

  moecast            rows of MEASURED
  torch_sdpa_flash   scaled_dot_product_attention, bf16, its flash kernels; torch_sdpa_cudnn: cuDNN's
  torch_unfused      KIVI's decode path re-stated [KIVI24]: keys packed along tokens with a scale per
                     channel and group, values along channels with a scale per token and group, codes
                     and scales repeated for every query head, unpacked, two products around a
                     softmax over scores in memory. Its own code fuses unpacking into the products.

Writes DIR/attention.csv. What is missing (PyTorch, a GPU, a backend) is said and leaves the rest.
"""

import argparse
import csv
import math
import pathlib
import sys

import moe_layer

POOL_BYTES = 400e6  # of keys and values that launches rotate over, several times L2
GROUP = 32
HEADS = {"q32 kv8 d128": (32, 8, 128), "q64 kv8 d64": (64, 8, 64)}
DECODE = (("q32 kv8 d128", 1, 16384), ("q32 kv8 d128", 16, 4096), ("q32 kv8 d128", 64, 4096),
          ("q32 kv8 d128", 16, 16384), ("q32 kv8 d128", 1, 131072))
UNFUSED = (("q32 kv8 d128", 16, 4096), ("q32 kv8 d128", 1, 16384))
UNFUSED_BITS = {"kivi4": 4, "kivi2": 2}
PREFILL = (("q32 kv8 d128", 1, 2048), ("q32 kv8 d128", 1, 8192), ("q32 kv8 d128", 1, 16384),
           ("q64 kv8 d64", 1, 8192))
COLUMNS = ("implementation", "op", "model", "format", "sequences", "cached_tokens", "new_tokens",
           "samples", "median_us", "p25_us", "p75_us")


def ours(folder):
    """Rows of our suites at the shapes that are compared."""
    wanted = {("attend", m, s, s * t) for m, s, t in DECODE}
    wanted |= {("attend_prefill", m, s, 0) for m, s, _ in PREFILL}
    lengths = {(m, s * t) for m, s, t in PREFILL}
    rows = []
    for name in ("attend", "attend_prefill"):
        path = folder / f"{name}.csv"
        if not path.exists():
            print(f"no {path}: no rows of ours from it", file=sys.stderr)
            continue
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = (row["op"], row["model"], int(float(row["sequences"])),
                       int(float(row["cached_tokens"])))
                plain = float(row["window"]) == 0 and float(row["selected_tokens"]) == 0
                new = (row["model"], int(float(row["new_tokens"])))
                if key not in wanted or not plain or row["regime"] != "even":
                    continue
                if name == "attend_prefill" and new not in lengths:
                    continue
                rows.append({"implementation": "moecast", **{c: row[c] for c in COLUMNS[1:]}})
    return rows


def timed(torch, implementation, shape, launch):
    """shape: op, model, format, sequences, cached_tokens, new_tokens."""
    times = moe_layer.time_graph(torch, launch)
    quantiles = (f"{moe_layer.quantile(times, q):.5g}" for q in (0.5, 0.25, 0.75))
    return dict(zip(COLUMNS, (implementation, *shape, len(times), *quantiles)))


def draw(torch, *size):
    return torch.empty(*size, device="cuda", dtype=torch.bfloat16).uniform_(-1, 1)


def copies_for(bytes_each):
    return max(1, min(moe_layer.ROTATION, math.ceil(POOL_BYTES / bytes_each)))


class Sdpa:
    """scaled_dot_product_attention with one backend."""

    def __init__(self, torch, backend):
        self.torch, self.backend = torch, getattr(torch.nn.attention.SDPBackend, backend)

    def __call__(self, query, keys, values, causal):
        with self.torch.nn.attention.sdpa_kernel(self.backend):
            return self.torch.nn.functional.scaled_dot_product_attention(
                query, keys, values, is_causal=causal, enable_gqa=True)


BACKENDS = {"torch_sdpa_flash": "FLASH_ATTENTION", "torch_sdpa_cudnn": "CUDNN_ATTENTION"}


def sdpa_rows(torch, op, model, sequences, tokens):
    heads, kv_heads, dim = HEADS[model]
    decode = op == "attend"
    new = 1 if decode else tokens
    query = draw(torch, sequences, heads, new, dim)
    copies = copies_for(4 * sequences * kv_heads * tokens * dim) if decode else 1
    cache = [[draw(torch, sequences, kv_heads, tokens, dim) for _ in range(2)]
             for _ in range(copies)]
    shape = (op, model, "bf16", sequences, sequences * tokens if decode else 0, sequences * new)
    rows = []
    for name, backend in BACKENDS.items():
        attend = Sdpa(torch, backend)
        try:
            rows.append(timed(torch, name, shape,
                              lambda r: attend(query, *cache[r % copies], not decode)))
        except (RuntimeError, TypeError) as error:
            print(f"{name} {op} {model}: {str(error).splitlines()[0]}", file=sys.stderr)
    return rows


class UnfusedCache:
    """Random codes, scales and zeros of one layer as KIVI keeps them."""

    def __init__(self, torch, bits, sequences, kv_heads, tokens, dim):
        self.torch, self.bits, self.per_word = torch, bits, 32 // bits
        word = lambda *size: torch.randint(-2**31, 2**31 - 1, size, device="cuda",
                                           dtype=torch.int32)
        half = lambda *size: torch.empty(*size, device="cuda", dtype=torch.float16).uniform_(-1, 1)
        self.keys = word(sequences, kv_heads, dim, tokens // self.per_word)
        self.key_scale, self.key_zero = (half(sequences, kv_heads, dim, tokens // GROUP)
                                         for _ in range(2))
        self.values = word(sequences, kv_heads, tokens, dim // self.per_word)
        self.value_scale, self.value_zero = (half(sequences, kv_heads, tokens, dim // GROUP)
                                             for _ in range(2))

    def unpack(self, codes, scale, zero, repeats):
        """[sequences, heads, rows, columns] in float16."""
        codes, scale, zero = (x.repeat_interleave(repeats, dim=1) for x in (codes, scale, zero))
        shifts = self.torch.arange(0, 32, self.bits, device="cuda", dtype=self.torch.int32)
        numbers = (codes.unsqueeze(-1) >> shifts) & (2**self.bits - 1)
        numbers = numbers.to(self.torch.float16).view(*scale.shape, GROUP)
        return (numbers * scale.unsqueeze(-1) + zero.unsqueeze(-1)).flatten(-2)

    def attend(self, query, dtype=None):
        repeats = query.shape[1] // self.keys.shape[1]
        keys = self.unpack(self.keys, self.key_scale, self.key_zero, repeats)
        values = self.unpack(self.values, self.value_scale, self.value_zero, repeats)
        if dtype is not None:
            query, keys, values = query.to(dtype), keys.to(dtype), values.to(dtype)
        scores = query @ keys / math.sqrt(query.shape[-1])
        return self.torch.softmax(scores, dim=-1, dtype=self.torch.float32).to(values.dtype) @ values


def unfused_rows(torch, model, sequences, tokens):
    heads, kv_heads, dim = HEADS[model]
    query = draw(torch, sequences, heads, 1, dim).half()
    rows = []
    for name, bits in UNFUSED_BITS.items():
        cache = UnfusedCache(torch, bits, sequences, kv_heads, tokens, dim)
        out, want = cache.attend(query).float(), cache.attend(query, torch.float32)
        error = ((out - want).norm() / want.norm()).item()
        if not error < 2e-2:
            raise RuntimeError(f"the unfused path is off by {error}")
        shape = ("attend", model, name, sequences, sequences * tokens, sequences)
        rows.append(timed(torch, "torch_unfused", shape, lambda _: cache.attend(query)))
    return rows


def measure_torch():
    """RETURNS: rows, and the version or the reason why there are none."""
    try:
        import torch
    except ImportError as error:
        return [], f"absent ({error})"
    if not torch.cuda.is_available():
        return [], "absent (sees no GPU)"
    torch.manual_seed(1)
    rows = []
    with torch.no_grad():
        for shape in DECODE:
            rows += sdpa_rows(torch, "attend", *shape)
        for shape in PREFILL:
            rows += sdpa_rows(torch, "attend_prefill", *shape)
        for shape in UNFUSED:
            try:
                rows += unfused_rows(torch, *shape)
            except RuntimeError as error:
                print(f"torch_unfused {shape}: {str(error).splitlines()[0]}", file=sys.stderr)
    return rows, torch.__version__


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measured", required=True, type=pathlib.Path,
                        help="folder of attend.csv and attend_prefill.csv")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    rows = ours(arguments.measured)
    more, version = measure_torch()
    if not more:
        print(f"no rows from PyTorch: {version}", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open(arguments.out / "attention.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows + more)


if __name__ == "__main__":
    main()
