"""Trains the reference model for a given number of seconds of one GPU.

    python3 train.py --tokens tokens.npz --out DIR --seconds 330

Writes DIR/model.pt (bf16 weights) and DIR/training_log.csv. The learning rate falls with the share
of the time used, so the run ends at the end of its schedule on any machine.
"""

import argparse
import csv
import dataclasses
import json
import math
import pathlib
import time

import torch

import text_tokens
from moe_model import ModelConfig, MoeModel, parameter_counts

KIND_WEIGHTS = {"code": 0.36, "english": 0.28, "german": 0.13, "data": 0.23}


@dataclasses.dataclass
class Recipe:
    seconds: float = 330.0
    sequences: int = 64          # of `context` tokens, a step
    peak_rate: float = 1.5e-3
    warmup_steps: int = 100
    final_share: float = 0.05    # of the peak rate, at the end
    balance_weight: float = 0.01
    z_weight: float = 1e-3
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 1
    log_every: int = 50
    compile: bool = True


def learning_rate(recipe, step, used):
    """`used`: share of the time budget, 0 to 1. Linear warm-up, then a cosine."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, used)))
    return recipe.peak_rate * warm * (recipe.final_share + (1 - recipe.final_share) * cosine)


def optimiser(model, recipe):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95), eps=1e-8,
                             fused=model.embed_tokens.is_cuda)


def training_step(model, tokens, recipe, dtype):
    hidden, balance, z = model(tokens[:, :-1], dtype=dtype)
    loss = model.losses(hidden, tokens[:, 1:]).mean()
    (loss + recipe.balance_weight * balance + recipe.z_weight * z).backward()
    return loss.detach(), balance.detach()


def train(model, batches, recipe, dtype, log):
    """Trains in place. `log(row)` receives a dict every log_every steps. RETURNS: the last row."""
    optimizer = optimiser(model, recipe)
    if recipe.compile:
        for layer in model.layers:
            layer.compile()
        model.losses = torch.compile(model.losses)
    tokens_a_step = recipe.sequences * batches.context
    start, step, row = None, 0, None
    while True:
        used = 0.0 if start is None else (time.monotonic() - start) / recipe.seconds
        rate = learning_rate(recipe, step, used)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, balance = training_step(model, batches.draw(recipe.sequences), recipe, dtype)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if start is None:  # the clock starts after the first step, which compiles
            loss.item()
            start = time.monotonic()
        if step % recipe.log_every == 0 or used >= 1.0:
            row = {"step": step, "loss_nats": round(loss.item(), 4), "balance": round(balance.item(), 4),
                   "gradient_norm": round(float(norm), 3), "learning_rate": round(rate, 7)}
            seconds = time.monotonic() - start
            row |= {"seconds": round(seconds, 2), "tokens": (step + 1) * tokens_a_step,
                    "tokens_per_second": round(step * tokens_a_step / seconds) if step else 0}
            log(row)
            if not math.isfinite(row["loss_nats"]):
                raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
            if used >= 1.0:
                return row
        step += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=Recipe.seconds)
    parser.add_argument("--sequences", type=int, default=Recipe.sequences)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--model", type=json.loads, default={}, help='e.g. {"layers": 2}')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = ModelConfig(**arguments.model)
    recipe = Recipe(seconds=arguments.seconds, sequences=arguments.sequences, compile=not arguments.no_compile)
    with torch.device(device):
        model = MoeModel(config).initialise(recipe.seed)
    batches = text_tokens.Batches(text_tokens.load(arguments.tokens), KIND_WEIGHTS, config.context, recipe.seed, device)
    print("parameters, of which used by a token:", parameter_counts(config), flush=True)
    with open(arguments.out / "training_log.csv", "w", newline="") as file:
        writer = None

        def log(row):
            nonlocal writer
            if writer is None:
                writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            print(row, flush=True)

        train(model, batches, recipe, dtype, log)
    weights = {name: p.detach().bfloat16().cpu() for name, p in model.state_dict().items()}
    torch.save({"config": dataclasses.asdict(config), "weights": weights}, arguments.out / "model.pt")


if __name__ == "__main__":
    main()
