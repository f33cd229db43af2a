"""Low-bit key-value caches, measured as decode would read them.

A scheme replaces causal attention. The query at position t reads what its cache would hold at that
step: keys and values quantised, except the newest ones that the scheme keeps in full precision.
Equations and sources: docs/traces.md, "Quality".
"""

import dataclasses

import torch

CALIBRATION = {1: 1 / 6, 2: 0.045}  # XQuant's pull of the end points, by bits


@dataclasses.dataclass(frozen=True)
class KvScheme:
    """Bits of layer l: key_bits below layer key_high_layers and 1 from there on; values likewise."""
    key_bits: int
    value_bits: int
    key_axis: str = "channel"      # one scale for `group` tokens of a channel, or "token"
    group: int = 32
    residual: int = 128            # newest tokens in full precision; 0: none
    rotate_keys: bool = False      # Hadamard along the head before quantising
    end_points: bool = False       # XQuant's calibration of 1 and 2 bits
    key_high_layers: int = 1 << 30
    value_high_layers: int = 1 << 30
    share_values_from: int = 1 << 30  # odd layers from here on reuse the value codes of the layer below

    def bits(self, layer):
        return (self.key_bits if layer < self.key_high_layers else 1,
                self.value_bits if layer < self.value_high_layers else 1)

    def stored_bits(self, layers):
        """Bits a cached element takes, mean over keys, values and layers, scale and zero (16 bits
        each per group) included, the full-precision window not."""
        total = 0.0
        for layer in range(layers):
            key, value = self.bits(layer)
            shared = layer % 2 == 1 and layer >= self.share_values_from
            total += key + (0 if shared else value) + 2 * 32 / self.group
        return total / (2 * layers)


def grid(x, bits, end_points):
    """Scale, zero and codes of groups along the last axis, stored as 16-bit floats are."""
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    levels = 2 ** bits - 1
    scale = ((high - low) / levels).clamp_min(1e-6)
    codes = ((x - low) / scale).round().clamp(0, levels)
    eta = CALIBRATION.get(bits, 0.0) if end_points else 0.0
    return codes, (scale * (1 - 2 * eta)).half().float(), (low + eta * scale * levels).half().float()


def key_groups(k, axis, group):
    """[batch, heads, tokens, dim] -> groups along the last axis, and the way back."""
    b, h, t, d = k.shape
    if axis == "token":
        return k.reshape(b, h, t, d // group, group), lambda g: g.reshape(b, h, t, d)
    padded = -(-t // group) * group
    full = torch.cat([k, k[:, :, -1:].expand(b, h, padded - t, d)], 2)  # a started group: full precision below
    grouped = full.view(b, h, padded // group, group, d).transpose(-1, -2)
    return grouped, lambda g: g.transpose(-1, -2).reshape(b, h, padded, d)[:, :, :t]


def hadamard(n, device):
    matrix = torch.ones(1, 1, device=device)
    while matrix.shape[0] < n:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return matrix / n ** 0.5


class CacheAttention:
    """Attention hooks of all layers under one scheme; `hooks(n)` for MoeModel.forward."""

    def __init__(self, scheme):
        self.scheme = scheme
        self.value_codes = None  # of the layer below

    def hooks(self, layers):
        return [lambda q, k, v, layer=i: self.attend(layer, q, k, v) for i in range(layers)]

    def quantised_keys(self, k, bits):
        s = self.scheme
        rotation = hadamard(k.shape[-1], k.device) if s.rotate_keys else None
        x = k.float() @ rotation if s.rotate_keys else k.float()
        groups, back = key_groups(x, s.key_axis, s.group)
        codes, scale, zero = grid(groups, bits, s.end_points)
        x = back(codes * scale + zero)
        return x @ rotation.t() if s.rotate_keys else x

    def quantised_values(self, v, bits, layer):
        s = self.scheme
        groups = v.float().reshape(*v.shape[:-1], v.shape[-1] // s.group, s.group)
        codes, scale, zero = grid(groups, bits, s.end_points)
        if layer % 2 == 1 and layer >= s.share_values_from:
            codes = self.value_codes
        self.value_codes = codes
        return (codes * scale + zero).reshape(v.shape)

    def attend(self, layer, q, k, v):
        s, tokens = self.scheme, q.shape[2]
        repeats = q.shape[1] // k.shape[1]
        def wide(x):
            return x.to(q.dtype).repeat_interleave(repeats, 1)
        key_bits, value_bits = s.bits(layer)
        old_k, old_v = self.quantised_keys(k, key_bits), self.quantised_values(v, value_bits, layer)
        at = torch.arange(tokens, device=q.device)
        flushed = (at // s.residual * s.residual if s.residual else at + 1)[:, None]  # keys leave in blocks
        aged = (at - s.residual if s.residual else at)[:, None]                       # values one by one
        scores = torch.where(at < flushed, q @ wide(old_k).transpose(-1, -2), q @ wide(k).transpose(-1, -2))
        scores = scores.float() * q.shape[-1] ** -0.5
        p = scores.masked_fill(at[:, None] < at, float("-inf")).softmax(-1).to(q.dtype)
        return (p * (at <= aged)) @ wide(old_v) + (p * (at > aged)) @ wide(v)


class FullAttention(CacheAttention):
    """The same arithmetic with nothing quantised: what schemes are compared with."""

    def __init__(self):
        super().__init__(KvScheme(16, 16, residual=1 << 20))

    def quantised_keys(self, k, bits):
        return k

    def quantised_values(self, v, bits, layer):
        return v
