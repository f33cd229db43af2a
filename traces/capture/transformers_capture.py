"""Captures the routing of a Hugging Face mixture-of-experts model: prefill, then real decode.

    python3 transformers_capture.py --model PATH_OR_NAME --prompts prompts.jsonl --out DIR

prompts.jsonl has one object a line: {"prompt": str} or {"tokens": [int]}, optionally "category" and
"request_id". DIR receives what capture_files.py describes; `moecast trace import DIR/import.yaml`
reads it. With --logits it also receives router_logits.npz: `layer_<i>` [tokens, experts], every
token's whole row, in the layout of a transformers `output_router_logits` dump, and `bias_<i>`.

Routers are hooked, not asked: output_router_logits lacks the bias that sigmoid routers
(DeepSeek-V3, GLM, Kimi) add before choosing, so ids computed from it can be wrong. transformers 5
routers return (logits, weights, ids) and are taken at their word; in transformers 4, where a gate
is a plain linear layer, ids are computed by softmax and top-k, and refused for sigmoid routers.
"""

import argparse
import json
import pathlib

import numpy as np
import torch

import capture_files


def find_routers(model):
    """[(model layer, module)] of modules named `gate` or `router` beside `experts`."""
    found = []
    for name, module in model.named_modules():
        head, _, leaf = name.rpartition(".")
        if leaf in ("gate", "router") and hasattr(model.get_submodule(head), "experts"):
            found.append((int(next(p for p in reversed(head.split(".")) if p.isdigit())), module))
    if not found:
        raise ValueError(f"{type(model).__name__} has no module named gate or router beside experts")
    return sorted(found, key=lambda pair: pair[0])


def is_sigmoid(module, config):
    return hasattr(module, "e_score_correction_bias") or getattr(config, "scoring_func", "") == "sigmoid"


def choice_scores(module, logits, sigmoid):
    """What a router ranks experts by, and the score a trace records: [rows, experts] each."""
    scores = logits.float().sigmoid() if sigmoid else logits.float().softmax(-1)
    bias = getattr(module, "e_score_correction_bias", None)
    return (scores if bias is None else scores + bias), scores


def rank(module, config, output, record):
    """Ids [rows, record] best first and scores of a router's output, first k as the router chose."""
    sigmoid = is_sigmoid(module, config)
    if not isinstance(output, tuple):
        if sigmoid:
            raise ValueError("this gate returns logits only and its router adds a bias: upgrade transformers to 5")
        top_k = config.num_experts_per_tok
        choice, scores = choice_scores(module, output, False)
        chosen = choice.topk(top_k, dim=-1).indices
    else:
        logits, _, chosen = output[0].reshape(-1, output[0].shape[-1]), output[1], output[2]
        chosen = chosen.reshape(logits.shape[0], -1)
        choice, scores = choice_scores(module, logits, sigmoid)
    k = chosen.shape[-1]
    if record > k and getattr(module, "num_group", 1) not in (None, 1):
        raise ValueError(f"a group-limited router leaves no ranks after its top {k}: record {k}, not {record}")
    first = chosen.gather(-1, choice.gather(-1, chosen).argsort(dim=-1, descending=True, stable=True))
    rest = choice.scatter(-1, first, float("-inf")).topk(record - k, dim=-1).indices
    ids = torch.cat([first, rest], dim=-1)
    return ids, scores.gather(-1, ids)


class RoutingRecorder:
    """Hooks every router of a model; `take` returns and forgets what the last forward passes chose."""

    def __init__(self, model, record=0, keep_logits=False):
        self.config = model.config.get_text_config()
        self.layers = [layer for layer, _ in find_routers(model)]
        self.experts = next(getattr(self.config, f) for f in ("n_routed_experts", "num_experts", "num_local_experts")
                            if getattr(self.config, f, None))
        self.top_k = self.config.num_experts_per_tok
        self.record = record or self.top_k
        if not self.top_k <= self.record <= self.experts:
            raise ValueError(f"record is {self.record}; a token's experts are {self.top_k} of {self.experts}")
        self.keep_logits = keep_logits
        self.rows = {layer: [] for layer in self.layers}
        self.logits = {layer: [] for layer in self.layers}
        self.biases = {f"bias_{layer}": module.e_score_correction_bias.float().cpu().numpy()
                       for layer, module in find_routers(model) if hasattr(module, "e_score_correction_bias")}
        self.handles = [module.register_forward_hook(self._hook(layer)) for layer, module in find_routers(model)]

    def _hook(self, layer):
        def hook(module, _, output):
            ids, scores = rank(module, self.config, output, self.record)
            self.rows[layer].append((ids.to(torch.int32), scores))
            if self.keep_logits:
                logits = output[0] if isinstance(output, tuple) else output
                self.logits[layer].append(logits.reshape(-1, logits.shape[-1]).float().cpu().numpy())
        return hook

    def take(self, batch):
        """RETURNS: ids int32 and scores fp32 [batch, tokens, layers, record] of the passes since the
        last call, each of which had `batch` sequences without padding."""
        def stacked(which):
            per_layer = [torch.cat([row[which].view(batch, -1, self.record) for row in self.rows[layer]], 1)
                         for layer in self.layers]
            return torch.stack(per_layer, 2).cpu().numpy()
        ids, scores = stacked(0), stacked(1)
        self.rows = {layer: [] for layer in self.layers}
        return ids, scores

    def take_logits(self):
        """RETURNS: {"layer_<i>": [rows, experts]} in the order of the forward passes, and
        {"bias_<i>": [experts]} of routers that choose by score plus bias."""
        taken = {f"layer_{layer}": np.concatenate(parts) for layer, parts in self.logits.items() if parts}
        self.logits = {layer: [] for layer in self.layers}
        return taken | self.biases

    def close(self):
        for handle in self.handles:
            handle.remove()


@torch.no_grad()
def generate(model, prompts, new_tokens, temperature, generator):
    """Sampled continuation of prompts [batch, n] of one length. Runs the model over every token but
    the last sampled one. RETURNS: int64 [batch, n + new_tokens]."""
    tokens, step, cache = prompts, prompts, None
    for _ in range(new_tokens):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache, logits = out.past_key_values, out.logits[:, -1].float()
        if temperature > 0:
            step = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        else:
            step = logits.argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, step], dim=1)
    return tokens


def capture(model, recorder, prompts, new_tokens, temperature=1.0, seed=1, labels=None):
    """Routing of one batch of prompts of one length (int64 [batch, n] on the model's device).
    RETURNS: list of capture_files.Sequence, n + new_tokens - 1 tokens each."""
    generator = torch.Generator(prompts.device).manual_seed(seed)
    generate(model, prompts, new_tokens, temperature, generator)
    ids, scores = recorder.take(prompts.shape[0])
    labels = labels or [{}] * prompts.shape[0]
    return [capture_files.Sequence(ids=i, scores=s, prompt_tokens=prompts.shape[1], **label)
            for i, s, label in zip(ids, scores, labels)]


def read_prompts(path, tokenizer):
    """[(tokens, labels)] of a JSONL file. ERRORS: the line that is neither a prompt nor tokens."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        row = json.loads(line)
        tokens = row.get("tokens") or (tokenizer()(row["prompt"])["input_ids"] if "prompt" in row else None)
        if not tokens:
            raise ValueError(f'{path}:{number}: has neither "prompt" nor "tokens"')
        rows.append((tokens, {"category": str(row.get("category", "")), "request_id": str(row.get("request_id", number - 1))}))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a folder or a name that transformers can load")
    parser.add_argument("--prompts", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--record", type=int, default=0, help="ranks to record of each row; default the model's top-k")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logits", action="store_true", help="also write every row's logits")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype="auto").to(arguments.device).eval()
    recorder = RoutingRecorder(model, arguments.record, arguments.logits)
    sequences = []
    for tokens, labels in read_prompts(arguments.prompts, lambda: transformers.AutoTokenizer.from_pretrained(arguments.model)):
        prompt = torch.tensor([tokens], device=arguments.device)
        sequences += capture(model, recorder, prompt, arguments.new_tokens, arguments.temperature, arguments.seed, [labels])
        print(f"{len(sequences)} sequences, {sum(s.ids.shape[0] for s in sequences)} tokens", flush=True)
    header = capture_files.Header(source=f"transformers {transformers.__version__}", model=pathlib.Path(arguments.model).name,
                                  experts=recorder.experts, top_k=recorder.top_k, layers=recorder.layers)
    capture_files.write(arguments.out, header, sequences)
    if arguments.logits:
        np.savez(arguments.out / "router_logits.npz", **recorder.take_logits())


if __name__ == "__main__":
    main()
