"""The prepared corpus: tokens of each kind of text and split."""

import numpy as np
import torch

KINDS = ("code", "english", "german", "data")


def load(path):
    """RETURNS: {"<kind>.<split>": uint16 array}."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


class Batches:
    """Random windows of the training text, kinds mixed by weight, on the device."""

    def __init__(self, arrays, weights, context, seed, device):
        self.tokens = {k: torch.from_numpy(arrays[f"{k}.train"].astype(np.int32)).to(device) for k in weights}
        self.weights = weights
        self.context = context
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def draw(self, sequences):
        """RETURNS: int64 [sequences, context + 1]."""
        counts = split_by_weight(sequences, self.weights)
        parts = []
        for kind, count in counts.items():
            tokens = self.tokens[kind]
            first = torch.randint(0, tokens.numel() - self.context - 1, (count, 1), device=self.device, generator=self.generator)
            parts.append(tokens[first + torch.arange(self.context + 1, device=self.device)])
        return torch.cat(parts).long()


def split_by_weight(total, weights):
    """Whole shares of `total` nearest to the weights; they sum to it."""
    scale = total / sum(weights.values())
    counts = {k: int(w * scale) for k, w in weights.items()}
    by_remainder = sorted(weights, key=lambda k: counts[k] - weights[k] * scale)
    for kind in by_remainder[:total - sum(counts.values())]:
        counts[kind] += 1
    return counts


def windows(array, context, count):
    """Evenly spaced windows without overlap. RETURNS: int64 [<= count, context + 1]."""
    available = (array.size - 1) // context
    if available < 1:
        raise ValueError(f"{array.size} tokens are too few for a window of {context} and its target")
    chosen = np.unique(np.linspace(0, available - 1, min(count, available)).astype(np.int64))
    index = chosen[:, None] * context + np.arange(context + 1)
    return torch.from_numpy(array[index].astype(np.int64))
