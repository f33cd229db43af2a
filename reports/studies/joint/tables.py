"""Tables of the joint study's page, one function each; all of one model's results."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from findings import CAREFUL, ERROR, MASS, signed  # noqa: E402
from study_table import table  # noqa: E402

NAMED = {"kept mass": "kept_mass", "changed experts": "changed_experts"}


def gains(m):
    rows = [[rule, cache, *(f"{signed(100 * m.gain(load, rule, cache))} %" for load in m.loads), m.dies(rule, cache)] for rule in m.rules[1:] for cache in m.caches]
    return table(["rule", "cache", *m.loads, "dies at"], rows)


def worth(m):
    def cell(load, rule, cache):
        low, high = m.ends(load, rule, cache)
        return f"{m.ratio(load, rule, cache):.2f} [{low:.2f}, {high:.2f}]"

    return table(["in flight", "rule", *m.caches], [[load, rule, *(cell(load, rule, cache) for cache in m.caches)] for load in m.loads for rule in m.rules])


def native(m):
    def row(load, cache):
        def of(field, form):
            return format(m.of(load, "native", cache, field), form)
        return [load, cache, f"{of('tokens_per_s', ',.0f')} [{of('low_95', ',.0f')}, {of('high_95', ',.0f')}]", of("decode_batch", ".0f"), of("tpot_ms", ".1f"), of("experts", ".0f")]

    return table(["in flight", "cache", "tokens/s", "decoding", "median TPOT, ms", "experts"], [row(load, cache) for load in m.loads for cache in m.caches])


def best(m):
    rows = []
    for load in m.loads:
        row = [load]
        for pairs in (m.pairs(), m.pairs(m.careful), m.mild(load)):
            most, pair = m.best(load, pairs)
            row += [pair, f"{most:.2f}"]
        rows.append(row)
    return table(["in flight", "best pair", "worth", "quality published", "worth", "proxies mild", "worth"], rows)


def proxies(m):
    wide, few = m.caches[0], m.loads[0]
    rows = [[rule, *(m.text(load, rule, wide, field) for field in NAMED.values() for load in m.loads), m.row(few, rule, wide)["quality"] or "missing"] for rule in m.rules]
    return table(["rule", *(f"{name} at {load}" for name in NAMED for load in m.loads), "published quality"], rows)


def section(m, plot):
    """RETURNS: the model's part of the page."""
    return f"""## {m.name}

![gain of each rule by load, a panel per cache]({plot})

Gain of a rule beside the same cache, by sequences in flight. A gain dies at the first load from which it stays under {100 * m.least:.0f} %.

{gains(m)}
What a pair is worth: output tokens/s over native experts with the 16-bit cache at the same load, in brackets with both runs at either end of the 95 % interval of step times.

{worth(m)}
Native experts: what the cache does to the batch, and the batch to the experts touched in a layer. In brackets the 95 % interval.

{native(m)}
The best pair at each load; the best of the rules whose published quality stays within {CAREFUL:.0f} points ({", ".join(m.careful)}); and the best by proxies, with at least {MASS} of the gate mass kept and an
error of the attention output of at most {ERROR}.

{best(m)}
Proxies of a rule, by load, and what has been published of its quality on this model with a 16-bit cache (of OEA in batches of at most 16). Kept mass: gate scores of the computed experts over those of the native ones. Changed
experts: native experts of a token and layer that are not computed, in the mean.

{proxies(m)}"""
