"""The reference model: a small fine-grained mixture-of-experts transformer.

Its arithmetic is that of Qwen3-MoE (grouped-query attention with normalised queries and keys,
rotary positions, softmax router, renormalised top-k, SwiGLU experts), so `to_transformers` gives a
Qwen3MoeForCausalLM. It exists next to that class for three things: training speed (one grouped
matrix product per projection), a hook on the experts a token uses, and a hook on the keys and
values that attention reads.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class ModelConfig:
    vocabulary: int = 16384
    hidden: int = 512
    layers: int = 8
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 64
    experts: int = 64
    top_k: int = 8
    expert_width: int = 256
    context: int = 1024
    rope_theta: float = 10000.0
    eps: float = 1e-6


class Gather(torch.autograd.Function):
    """rows[source] for a `source` that names every row exactly `repeats` times. The gradient is a
    gather by the inverse permutation and a sum, where indexing would scatter with atomics."""

    @staticmethod
    def forward(ctx, rows, source, inverse, repeats):
        ctx.save_for_backward(inverse)
        ctx.repeats = repeats
        return rows[source]

    @staticmethod
    def backward(ctx, gradient):
        (inverse,) = ctx.saved_tensors
        rows = gradient[inverse]
        if ctx.repeats > 1:
            rows = rows.view(-1, ctx.repeats, rows.shape[-1]).sum(1)
        return rows, None, None, None


def grouped_linear(x, weight, offsets):
    """x [rows, in] sorted by expert, weight [experts, out, in], offsets [experts] row ends."""
    if x.is_cuda:
        return torch._grouped_mm(x, weight.transpose(-2, -1), offs=offsets)
    starts = [0] + offsets.tolist()
    parts = [x[a:b] @ w.t() for a, b, w in zip(starts, starts[1:], weight)]
    return torch.cat(parts)


def rms_norm(x, weight, eps):
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)


def rotate(x, cos, sin):
    """x [batch, heads, tokens, head_dim]; cos, sin [tokens, head_dim]."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Parameter(torch.empty(c.heads * c.head_dim, c.hidden))
        self.k_proj = nn.Parameter(torch.empty(c.kv_heads * c.head_dim, c.hidden))
        self.v_proj = nn.Parameter(torch.empty(c.kv_heads * c.head_dim, c.hidden))
        self.o_proj = nn.Parameter(torch.empty(c.hidden, c.heads * c.head_dim))
        self.q_norm = nn.Parameter(torch.ones(c.head_dim))
        self.k_norm = nn.Parameter(torch.ones(c.head_dim))

    def forward(self, x, cos, sin, attend=None):
        """`attend(q, k, v)` replaces causal attention where a cache scheme is measured."""
        c, (batch, tokens, _) = self.c, x.shape
        def project(weight, heads):
            return F.linear(x, weight.to(x.dtype)).view(batch, tokens, heads, c.head_dim).transpose(1, 2)
        q = rotate(rms_norm(project(self.q_proj, c.heads), self.q_norm, c.eps), cos, sin)
        k = rotate(rms_norm(project(self.k_proj, c.kv_heads), self.k_norm, c.eps), cos, sin)
        v = project(self.v_proj, c.kv_heads)
        if attend is not None:
            y = attend(q, k, v)
        else:
            repeats = c.heads // c.kv_heads
            y = F.scaled_dot_product_attention(q, k.repeat_interleave(repeats, 1),
                                               v.repeat_interleave(repeats, 1), is_causal=True)
        y = y.transpose(1, 2).reshape(batch, tokens, c.heads * c.head_dim)
        return F.linear(y, self.o_proj.to(x.dtype))


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.gate = nn.Parameter(torch.empty(c.experts, c.hidden))
        self.gate_up_proj = nn.Parameter(torch.empty(c.experts, 2 * c.expert_width, c.hidden))
        self.down_proj = nn.Parameter(torch.empty(c.experts, c.hidden, c.expert_width))

    def route(self, x):
        """x [rows, hidden] -> logits, probabilities [rows, experts] fp32, ids [rows, k], weights."""
        logits = F.linear(x, self.gate.to(x.dtype)).float()
        scores = logits.softmax(-1)
        top, ids = scores.topk(self.c.top_k, dim=-1)
        return logits, scores, ids, top / top.sum(-1, keepdim=True)

    def compute(self, x, ids, weights):
        """Sum of weights[r, j] * expert[ids[r, j]](x[r]). A weight of 0 stands for a skipped expert."""
        k = ids.shape[1]
        flat = ids.reshape(-1)
        order = flat.argsort(stable=True)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(order.numel(), device=order.device)
        counts = torch.zeros(self.c.experts, device=flat.device, dtype=torch.int32)
        counts = counts.index_add(0, flat, torch.ones_like(flat, dtype=torch.int32))
        offsets = counts.cumsum(0, dtype=torch.int32)
        rows = Gather.apply(x, order // k, inverse, k)
        gate, up = grouped_linear(rows, self.gate_up_proj.to(x.dtype), offsets).chunk(2, dim=-1)
        y = grouped_linear(F.silu(gate) * up, self.down_proj.to(x.dtype), offsets)
        y = Gather.apply(y, inverse, order, 1).view(-1, k, x.shape[-1])
        return (y * weights.to(x.dtype).unsqueeze(-1)).sum(1)

    def forward(self, x, select=None):
        """RETURNS: output and the auxiliary losses' ingredients (load balance, router z).
        `select(scores [batch, tokens, experts])` returns (ids, weights) where a rule is measured."""
        rows = x.reshape(-1, x.shape[-1])
        logits, scores, ids, weights = self.route(rows)
        if select is not None:
            ids, weights = select(scores.view(*x.shape[:-1], -1))
            ids, weights = ids.reshape(rows.shape[0], -1), weights.reshape(rows.shape[0], -1)
        share = torch.zeros_like(scores[0]).index_add(0, ids.reshape(-1), torch.ones_like(scores[0, :1]).expand(ids.numel()))
        balance = self.c.experts * (share / ids.numel() * scores.mean(0)).sum()
        return self.compute(rows, ids, weights).view_as(x), balance, logits.logsumexp(-1).square().mean()


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.input_layernorm = nn.Parameter(torch.ones(c.hidden))
        self.self_attn = Attention(c)
        self.post_attention_layernorm = nn.Parameter(torch.ones(c.hidden))
        self.mlp = Experts(c)

    def forward(self, x, cos, sin, attend=None, select=None):
        x = x + self.self_attn(rms_norm(x, self.input_layernorm, self.c.eps), cos, sin, attend)
        y, balance, z = self.mlp(rms_norm(x, self.post_attention_layernorm, self.c.eps), select)
        return x + y, balance, z


class MoeModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Parameter(torch.empty(c.vocabulary, c.hidden))
        self.layers = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.Parameter(torch.ones(c.hidden))
        frequency = c.rope_theta ** (-torch.arange(0, c.head_dim, 2).float() / c.head_dim)
        angle = torch.outer(torch.arange(c.context).float(), frequency).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    @torch.no_grad()
    def initialise(self, seed):
        generator = torch.Generator(self.embed_tokens.device).manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                residual = name.endswith(("o_proj", "down_proj"))
                deviation = 0.02 / (math.sqrt(2 * self.c.layers) if residual else 1)
                p.normal_(0.0, deviation, generator=generator)
        return self

    def forward(self, tokens, attends=None, selects=None, dtype=torch.bfloat16):
        """tokens [batch, n] -> final hidden states, and means over layers of balance and z.
        attends, selects: one hook a layer, or None."""
        x = F.embedding(tokens, self.embed_tokens).to(dtype)
        cos, sin = self.cos[:tokens.shape[1]].to(dtype), self.sin[:tokens.shape[1]].to(dtype)
        balance = z = 0.0
        for i, layer in enumerate(self.layers):
            x, b, l = layer(x, cos, sin, attends and attends[i], selects and selects[i])
            balance, z = balance + b, z + l
        n = len(self.layers)
        return rms_norm(x, self.norm, self.c.eps), balance / n, z / n

    def losses(self, hidden, targets, chunk=16384):
        """Cross entropy of each target in nats, in chunks of rows so that logits stay small."""
        rows, targets = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        weight = self.embed_tokens.to(hidden.dtype)
        parts = [F.cross_entropy(F.linear(r, weight).float(), t, reduction="none")
                 for r, t in zip(rows.split(chunk), targets.split(chunk))]
        return torch.cat(parts)


def parameter_counts(c):
    """RETURNS: (all, used by one token), embeddings counted once."""
    attention = c.hidden * c.head_dim * 2 * (c.heads + c.kv_heads)
    expert = 3 * c.hidden * c.expert_width
    rest = c.layers * (attention + c.experts * c.hidden) + c.vocabulary * c.hidden
    return rest + c.layers * c.experts * expert, rest + c.layers * c.top_k * expert


def to_transformers(model, dtype=torch.bfloat16):
    """The same network as transformers' Qwen3MoeForCausalLM."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM
    c = model.c
    config = Qwen3MoeConfig(
        vocab_size=c.vocabulary, hidden_size=c.hidden, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
        num_experts=c.experts, num_experts_per_tok=c.top_k, moe_intermediate_size=c.expert_width,
        intermediate_size=c.expert_width, norm_topk_prob=True, max_position_embeddings=c.context,
        rms_norm_eps=c.eps, tie_word_embeddings=True, bos_token_id=0, eos_token_id=None,
        pad_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta})
    with torch.device(model.embed_tokens.device):
        network = Qwen3MoeForCausalLM(config)
    state = {}
    for name, value in model.state_dict().items():
        name = name.replace("mlp.gate_up_proj", "mlp.experts.gate_up_proj")
        name = name.replace("mlp.down_proj", "mlp.experts.down_proj")
        weight = name if "experts." in name else name + ".weight"
        state["model." + weight] = value
    state["lm_head.weight"] = model.embed_tokens.data
    network.load_state_dict(state, strict=True)
    return network.to(dtype).eval()
