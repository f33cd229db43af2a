"""Captures the reference model's routing with the transformers capture, and checks the two against
each other.

    python3 capture_reference.py --tokens tokens.npz --model model.pt --out DIR

Prompts are random windows of held-out text of each kind; decode samples at temperature 1. DIR is
what traces/capture/capture_files.py describes, plus check.json: how far the trained network and its
transformers form agree.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import torch

import evaluate
import skip_rules
import text_tokens
from moe_model import to_transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "capture"))
import capture_files  # noqa: E402
import transformers_capture  # noqa: E402

RECORD = 16  # ranks of each row
GROUPS = ((48, 160), (96, 112), (128, 80), (64, 128))  # prompt and new tokens of a batch
PER_KIND = 16  # sequences of each kind in a batch


def prompts(arrays, length, seed):
    """RETURNS: int64 [kinds x PER_KIND, length] and their kinds."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows, kinds = [], []
    for kind in text_tokens.KINDS:
        text = arrays[f"{kind}.test"]
        for first in draw.integers(0, text.size - length, PER_KIND):
            rows.append(text[first:first + length].astype(np.int64))
            kinds.append(kind)
    return torch.from_numpy(np.stack(rows)), kinds


@torch.no_grad()
def agreement(model, network, windows, dtype):
    """Loss and expert choices of the two forms on the same text."""
    chosen = [[] for _ in range(model.c.layers)]

    def keeping(layer):
        def rule(scores):
            ids, weights = skip_rules.native(model.c.top_k)(scores)
            chosen[layer].append(ids)
            return ids, weights
        return rule
    hidden, _, _ = model(windows[:, :-1], None, [keeping(i) for i in range(model.c.layers)], dtype)
    own = model.losses(hidden, windows[:, 1:]).mean().item()
    recorder = transformers_capture.RoutingRecorder(network)
    logits = network(input_ids=windows[:, :-1]).logits
    other = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()).item()
    ids, _ = recorder.take(windows.shape[0])
    recorder.close()
    own_ids = torch.stack([c[0] for c in chosen], 2).cpu().numpy()
    same = (own_ids[..., :, None] == ids[..., None, :]).any(-1).mean()
    return {"loss_trained_form": own, "loss_transformers_form": other, "same_experts": float(same)}


def capture_all(network, arrays, device):
    recorder = transformers_capture.RoutingRecorder(network, RECORD)
    sequences, started = [], time.monotonic()
    for number, (length, new) in enumerate(GROUPS):
        tokens, kinds = prompts(arrays, length, number + 1)
        labels = [{"category": kind, "request_id": f"{kind}-{number}-{i % PER_KIND}"} for i, kind in enumerate(kinds)]
        sequences += transformers_capture.capture(network, recorder, tokens.to(device), new, 1.0, number + 1, labels)
        print(f"{len(sequences)} sequences, {time.monotonic() - started:.1f} s", flush=True)
    order = np.random.Generator(np.random.Philox(0)).permutation(len(sequences))  # kinds mixed in file order
    header = capture_files.Header(source="transformers capture of moecast-reference", model="moecast-reference",
                                  experts=recorder.experts, top_k=recorder.top_k, layers=recorder.layers)
    recorder.close()
    return header, [sequences[i] for i in order]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    arrays = text_tokens.load(arguments.tokens)
    model = evaluate.load_model(arguments.model, device)
    network = to_transformers(model, dtype)
    windows = torch.cat([text_tokens.windows(arrays[f"{kind}.test"], model.c.context, 4) for kind in text_tokens.KINDS])
    checked = agreement(model, network, windows.to(device), dtype)
    print(checked, flush=True)
    header, sequences = capture_all(network, arrays, device)
    capture_files.write(arguments.out, header, sequences)
    (arguments.out / "check.json").write_text(json.dumps(checked, indent=1) + "\n")


if __name__ == "__main__":
    main()
