"""Expert-skipping rules: which experts a token uses, and with what weight.

Every rule has the form  rule(scores) -> (ids, weights)  with scores [batch, tokens, experts], the
router's probabilities, and ids, weights [batch, tokens, native k]; a weight of 0 skips the expert.
Equations and sources: docs/model/replay.md for the names the simulator knows, docs/traces.md for
what is measured here. A batch-aware rule treats `group` consecutive entries of the batch, at one
position, as one decode step.
"""

import torch


def ranked(scores, k):
    return scores.topk(k, dim=-1)


def weigh(values, keep, native_mass=False):
    """Weights of ranked values under a keep mask, over the kept mass or the native top-k's mass."""
    kept = values * keep
    total = values if native_mass else kept
    return kept / total.sum(-1, keepdim=True)


def native(k):
    def rule(scores):
        values, ids = ranked(scores, k)
        return ids, weigh(values, torch.ones_like(values))
    return rule


def uniform(k, kept, native_mass=False):
    """The best `kept` experts of every token."""
    def rule(scores):
        values, ids = ranked(scores, k)
        return ids, weigh(values, (torch.arange(k, device=ids.device) < kept).float(), native_mass)
    return rule


def ratio(k, tau, native_mass=False):
    """Expert j while its score is at least tau times the best."""
    def rule(scores):
        values, ids = ranked(scores, k)
        return ids, weigh(values, (values >= tau * values[..., :1]).float(), native_mass)
    return rule


def top_p(k, p):
    """The fewest experts whose share of the top-k mass reaches p."""
    def rule(scores):
        values, ids = ranked(scores, k)
        share = values / values.sum(-1, keepdim=True)
        before = share.cumsum(-1) - share
        keep = (before < p).float()
        keep[..., 0] = 1.0
        return ids, weigh(values, keep)
    return rule


def entropy_kept(values, beta, penalty, least=1):
    """Keep mask of the entropy-penalised threshold: score >= beta (1 - penalty H) x best, H the
    entropy of the top-k shares over its maximum; and the best `least` experts always."""
    k = values.shape[-1]
    share = values / values.sum(-1, keepdim=True)
    entropy = -(share * share.clamp_min(1e-12).log()).sum(-1, keepdim=True) / torch.log(torch.tensor(float(k)))
    keep = values >= beta * (1 - penalty * entropy) * values[..., :1]
    return keep | (torch.arange(k, device=values.device) < least)


def aset_derived(k, beta, penalty, native_mass=True):
    def rule(scores):
        values, ids = ranked(scores, k)
        return ids, weigh(values, entropy_kept(values, beta, penalty).float(), native_mass)
    return rule


def calibrate_beta(values, penalty, target, steps=24):
    """The beta in [0, 1] whose mean kept experts over `values` [rows, k] is nearest `target`, by
    bisection: 1 where even the strictest threshold keeps more."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        beta = (low + high) / 2
        mean = entropy_kept(values, beta, penalty).float().sum(-1).mean().item()
        low, high = (beta, high) if mean > target else (low, beta)
    return (low + high) / 2


def inside(scores, allowed, k):
    """Top-k of every token within a set; fewer where the set is smaller."""
    values, ids = ranked(scores.masked_fill(~allowed, 0.0), k)
    return ids, weigh(values, torch.ones_like(values))


def grouped(scores, group):
    """[batch, tokens, experts] -> [batch / group, group, tokens, experts]."""
    batch, tokens, experts = scores.shape
    if batch % group:
        raise ValueError(f"a batch of {batch} does not divide into decode steps of {group}")
    return scores.view(batch // group, group, tokens, experts)


def chosen_mask(scores, ids):
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, ids, True)


def oea(k, base, group):
    """Opportunistic expert activation: the set is the union of the step's top-`base`; every token
    then takes its best k of the set."""
    def rule(scores):
        members = chosen_mask(scores, scores.topk(base, dim=-1).indices)
        allowed = grouped(members, group).any(1, keepdim=True).expand(-1, group, -1, -1)
        return inside(scores, allowed.reshape(scores.shape), k)
    return rule


def xshare(k, budget, group):
    """The set is every token's best expert, filled up to `budget` by the step's summed scores;
    every token then takes its best k of the set."""
    def rule(scores):
        first = grouped(chosen_mask(scores, scores.argmax(-1, keepdim=True)), group).any(1)
        utility = grouped(scores, group).sum(1) + first * 1e6
        size = first.sum(-1, keepdim=True).clamp_min(budget)
        order = utility.argsort(-1, descending=True)
        rank = torch.empty_like(order).scatter_(-1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order))
        allowed = (rank < size).unsqueeze(1).expand(-1, group, -1, -1)
        return inside(scores, allowed.reshape(scores.shape), k)
    return rule
