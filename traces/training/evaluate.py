"""Measures the reference model's held-out loss under expert-skipping rules and cache schemes.

    python3 evaluate.py --tokens tokens.npz --model model.pt --out quality.csv

Every rule sees the same test windows, so a rule's loss is compared with the native one window by
window. Batch-aware rules form decode steps from windows of all kinds of text at one position.
"""

import argparse
import csv
import pathlib
import time

import torch

import kv_schemes
import skip_rules
import text_tokens
from kv_schemes import KvScheme
from moe_model import ModelConfig, MoeModel

STEP = 16     # tokens of a decode step for `distinct_experts`
BATCH = 64    # windows of one forward pass; batch-aware groups divide it
COLUMNS = ("family", "rule", "parameters", "text", "windows", "tokens", "nll_nats", "nll_se", "perplexity",
           "perplexity_se", "delta_nll", "delta_nll_se", "mean_kept", "distinct_experts", "stored_kv_bits")


def load_model(path, device):
    saved = torch.load(path, map_location=device, weights_only=True)
    with torch.device(device):
        model = MoeModel(ModelConfig(**saved["config"]))
    model.load_state_dict(saved["weights"])
    return model.eval()


def test_windows(arrays, context, count):
    """RETURNS: int64 [windows, context + 1] with kinds alternating, and each window's kind."""
    per_kind = [text_tokens.windows(arrays[f"{kind}.test"], context, count) for kind in text_tokens.KINDS]
    n = min(w.shape[0] for w in per_kind)
    n -= n * len(per_kind) % BATCH // len(per_kind) if n * len(per_kind) > BATCH else 0
    kinds = list(text_tokens.KINDS) * n
    return torch.stack([w[:n] for w in per_kind], 1).flatten(0, 1), kinds


class Counted:
    """A rule that counts what it keeps: experts a token, and distinct experts of STEP tokens."""

    def __init__(self, rule):
        self.rule, self.kept, self.rows, self.distinct, self.steps = rule, 0.0, 0, 0.0, 0

    def __call__(self, scores):
        ids, weights = self.rule(scores)
        used = weights > 0
        self.kept += used.sum()
        self.rows += used[..., 0].numel()
        if scores.shape[0] % STEP == 0:
            mask = torch.zeros_like(scores).scatter_(-1, ids, used.to(scores.dtype))
            union = skip_rules.grouped(mask, STEP).amax(1)
            self.distinct += union.sum()
            self.steps += union[..., 0].numel()
        return ids, weights


@torch.no_grad()
def window_losses(model, windows, device, dtype, rules=None, cache=None):
    """Mean loss of each window in nats; `rules` one a layer. RETURNS: float64 [windows]."""
    parts = []
    for batch in windows.split(BATCH):
        batch = batch.to(device)
        attends = cache.hooks(model.c.layers) if cache else None
        hidden, _, _ = model(batch[:, :-1], attends, rules, dtype)
        loss = model.losses(hidden, batch[:, 1:])
        parts.append(loss.view(batch.shape[0], -1).double().mean(1).cpu())
    return torch.cat(parts)


@torch.no_grad()
def native_values(model, windows, device, dtype):
    """Ranked native scores of calibration windows. RETURNS: per layer [rows, k]."""
    values = [[] for _ in range(model.c.layers)]

    def recording(layer):
        def rule(scores):
            ids, weights = skip_rules.native(model.c.top_k)(scores)
            values[layer].append(scores.gather(-1, ids).reshape(-1, model.c.top_k))
            return ids, weights
        return rule
    for batch in windows.split(BATCH):
        model(batch[:, :-1].to(device), None, [recording(i) for i in range(model.c.layers)], dtype)
    return [torch.cat(v) for v in values]


def schedules(layers, k):
    """Layer schedules by name; the two means are 1/2 and 3/4 of the native top-k."""
    half, span = k / 2, k / 4
    ramp = [round(half - span + 2 * span * i / (layers - 1)) for i in range(layers)]
    peak = [round(half - span + 2 * span * (1 - abs(2 * i / (layers - 1) - 1))) for i in range(layers)]
    first, last = [k] * layers, [k] * layers
    first[0], last[-1] = 2, 2
    return {"ascending": ramp, "descending": ramp[::-1], "peak": peak,
            "valley": [k - x for x in peak], "first_layer_2": first, "last_layer_2": last}


def skip_cases(model, values):
    """(rule name, parameters, rules of all layers)."""
    k, n = model.c.top_k, model.c.layers
    def same(rule):
        return [rule] * n
    for kept in range(1, k + 1):
        yield "uniform_top_k", f"k={kept}", same(skip_rules.uniform(k, kept))
        if 1 < kept < k:
            yield "uniform_top_k", f"k={kept} normalise=native", same(skip_rules.uniform(k, kept, True))
    for name, ks in schedules(n, k).items():
        yield "layer_schedule", f"{name} k={','.join(map(str, ks))}", [skip_rules.uniform(k, x) for x in ks]
    for tau in (0.1, 0.2, 0.3, 0.5, 0.7):
        yield "ratio_to_best", f"ratio={tau}", same(skip_rules.ratio(k, tau))
    for p in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        yield "top_p", f"p={p}", same(skip_rules.top_p(k, p))
    for target in (2, 3, 4, 5, 6, 7):
        for penalty in (0.0, 0.3):
            betas = [skip_rules.calibrate_beta(v, penalty, target) for v in values]
            if max(betas) > 0.999:
                continue  # this many cannot be skipped under this penalty
            text = f"mean_k={target} entropy_penalty={penalty} beta={','.join(f'{b:.3f}' for b in betas)}"
            for native_mass in (False, True):
                yield ("aset_derived", text + (" normalise=native" if native_mass else ""),
                       [skip_rules.aset_derived(k, b, penalty, native_mass) for b in betas])
    for group in (16, 64):
        for base in (1, 2, 3, 4, 6):
            yield "oea", f"k0={base} batch={group}", same(skip_rules.oea(k, base, group))
        for budget in (16, 24, 32, 48):
            yield "xshare", f"budget={budget} batch={group}", same(skip_rules.xshare(k, budget, group))


def kv_cases(layers, head_dim):
    token = {"key_axis": "token", "group": head_dim, "residual": 0}
    group = min(32, head_dim)
    yield "int8", "", KvScheme(8, 8, **token)
    yield "int4", "", KvScheme(4, 4, **token)
    yield "int4", f"group={group}", KvScheme(4, 4, key_axis="token", group=group, residual=0)
    yield "saw_int4", "", KvScheme(4, 4, rotate_keys=True, **token)
    yield "int3", "", KvScheme(3, 3, **token)
    yield "int2", "", KvScheme(2, 2, **token)
    yield "int2_rotated", "", KvScheme(2, 2, rotate_keys=True, **token)
    for residual in (32, 128):
        for bits in (4, 2, 1):
            yield f"kivi_{bits}", f"residual={residual}", KvScheme(bits, bits, residual=residual, group=group)
        yield ("asymkv", f"key_layers={layers} value_layers=0 residual={residual}",
               KvScheme(2, 2, residual=residual, group=group, value_high_layers=0))
        yield ("asymkv", f"key_layers=0 value_layers={layers} residual={residual}",
               KvScheme(2, 2, residual=residual, group=group, key_high_layers=0))
        yield ("kivi_1_end_points", f"residual={residual}",
               KvScheme(1, 1, residual=residual, group=group, end_points=True))
        for first in (0, layers // 2):
            yield ("xquant", f"kq={layers} vq=0 km={layers} vm={first} residual={residual}",
                   KvScheme(2, 2, residual=residual, group=group, end_points=True, value_high_layers=0, share_values_from=first))
            yield ("xquant", f"kq={layers} vq={layers} km={layers} vm={first} residual={residual}",
                   KvScheme(2, 2, residual=residual, group=group, end_points=True, share_values_from=first))


def joint_schemes(head_dim):
    """Cache schemes that are also measured together with fewer experts."""
    yield "saw_int4", KvScheme(4, 4, key_axis="token", group=head_dim, residual=0, rotate_keys=True)
    yield "kivi_2", KvScheme(2, 2, residual=32, group=min(32, head_dim))


def rows_of(family, rule, parameters, kinds, losses, reference, context, extra):
    """One row a kind of text and one for all."""
    for text in (*text_tokens.KINDS, "all"):
        chosen = torch.tensor([text in (kind, "all") for kind in kinds])
        loss, delta = losses[chosen], (losses - reference)[chosen]
        n = loss.numel()
        mean, error = loss.mean().item(), (loss.std() / n ** 0.5).item()
        perplexity = float(torch.tensor(mean).double().exp())
        yield {"family": family, "rule": rule, "parameters": parameters, "text": text, "windows": n, "tokens": n * context,
               "nll_nats": f"{mean:.5f}", "nll_se": f"{error:.5f}", "perplexity": f"{perplexity:.4f}",
               "perplexity_se": f"{perplexity * error:.4f}", "delta_nll": f"{delta.mean().item():.5f}",
               "delta_nll_se": f"{(delta.std() / n ** 0.5).item():.5f}", **extra}


def measure(model, arrays, count, device, dtype, write):
    """Writes every row; a progress line a rule."""
    windows, kinds = test_windows(arrays, model.c.context, count)
    calibration, _ = test_windows({k.replace("calibration", "test"): a for k, a in arrays.items() if "calibration" in k},
                                  model.c.context, 16)
    values = native_values(model, calibration, device, dtype)
    def run(family, rule, parameters, reference, rules=None, cache=None, bits=16.0):
        counted = [Counted(r) for r in rules or [skip_rules.native(model.c.top_k)] * model.c.layers]
        losses = window_losses(model, windows, device, dtype, counted, cache)
        kept = float(sum(c.kept for c in counted)) / sum(c.rows for c in counted)
        steps = sum(c.steps for c in counted)
        distinct = float(sum(c.distinct for c in counted)) / steps if steps else float("nan")
        extra = {"mean_kept": f"{kept:.4f}", "distinct_experts": f"{distinct:.3f}", "stored_kv_bits": f"{bits:g}"}
        for row in rows_of(family, rule, parameters, kinds, losses, losses if reference is None else reference, model.c.context, extra):
            write(row)
        print(f"{family} {rule} {parameters[:60]}: {losses.mean().item():.4f} nats, kept {kept:.2f}", flush=True)
        return losses
    native = run("experts", "native", "", None)
    for rule, parameters, rules in skip_cases(model, values):
        run("experts", rule, parameters, native, rules)
    full = run("kv", "full_precision", "", None, cache=kv_schemes.FullAttention())
    for rule, parameters, scheme in kv_cases(model.c.layers, model.c.head_dim):
        run("kv", rule, parameters, full, cache=kv_schemes.CacheAttention(scheme), bits=scheme.stored_bits(model.c.layers))
    for kept in (2, 4, 6):
        for name, scheme in joint_schemes(model.c.head_dim):
            run("experts+kv", f"uniform_top_k+{name}", f"k={kept}", full,
                [skip_rules.uniform(model.c.top_k, kept)] * model.c.layers,
                kv_schemes.CacheAttention(scheme), scheme.stored_bits(model.c.layers))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--windows", type=int, default=80, help="of each kind of text, at most")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    started = time.monotonic()
    with open(arguments.out, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        measure(load_model(arguments.model, device), text_tokens.load(arguments.tokens), arguments.windows, device, dtype, writer.writerow)
    print(f"{time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
