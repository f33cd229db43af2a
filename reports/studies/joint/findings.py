"""What results.csv says: ratios, gains, where they die, and the sentences of the page with what they rest on."""
import re

LEAST = 0.03  # a gain below this is dead: about what speed-ups of executed runs are off by
CAREFUL = 2.0  # points that a published task may lose
MASS, ERROR = 0.9, 0.2  # mild proxies: least kept gate mass, largest error of the attention output
CHANGE = re.compile(r"([\d.]+) \(of ([\d.]+)\)")


class Model:
    """The results of one model by load, rule and cache; the first rule is native, the first cache has 16 bits."""
    least = LEAST

    def __init__(self, name, rows):
        self.name = name
        self._rows = {(r["load"], r["rule"], r["cache"]): r for r in rows}
        self.loads, self.rules, self.caches = (list(dict.fromkeys(r[key] for r in rows)) for key in ("load", "rule", "cache"))
        self.careful = [rule for rule in self.rules if self._keeps_quality(rule)]

    def row(self, load, rule, cache):
        return self._rows[load, rule, cache]

    def _keeps_quality(self, rule):
        """Native, and rules of which no published task loses more than CAREFUL points; a rule without published quality is none."""
        pairs = CHANGE.findall(self.row(self.loads[0], rule, self.caches[0])["quality"])
        return rule == "native" or bool(pairs) and all(float(before) - float(value) <= CAREFUL for value, before in pairs)

    def of(self, load, rule, cache, field):
        return float(self.row(load, rule, cache)[field])

    def text(self, load, rule, cache, field):
        value = self.row(load, rule, cache)[field]
        return f"{float(value):.3f}" if value else "missing"

    def ratio(self, load, rule, cache, field="tokens_per_s"):
        """Over native experts and 16 bits at the same load."""
        return self.of(load, rule, cache, field) / self.of(load, "native", self.caches[0], field)

    def ends(self, load, rule, cache):
        """The ratio with both runs at the slow and both at the fast end of the step times' 95 % interval, smaller first."""
        return sorted(self.ratio(load, rule, cache, field) for field in ("low_95", "high_95"))

    def gain(self, load, rule, cache):
        """Of the rule beside the same cache."""
        return self.of(load, rule, cache, "tokens_per_s") / self.of(load, "native", cache, "tokens_per_s") - 1

    def dies(self, rule, cache):
        """The first load from which the gain stays under LEAST."""
        dead = None
        for load in reversed(self.loads):
            if self.gain(load, rule, cache) >= LEAST:
                break
            dead = load
        return dead or "-"

    def pairs(self, rules=None):
        return [(rule, cache) for rule in rules or self.rules for cache in self.caches]

    def mild(self, load):
        """Pairs whose proxies at this load are known and mild."""
        def known(rule, cache, field):
            return float(self.row(load, rule, cache)[field] or "nan")
        return [pair for pair in self.pairs() if known(*pair, "kept_mass") >= MASS and known(*pair, "kv_error") <= ERROR]

    def best(self, load, pairs):
        """(worth, "rule, cache") of the best of these pairs; a dash if there is none."""
        return max(((self.ratio(load, *pair), ", ".join(pair)) for pair in pairs), default=(float("nan"), "-"))

    def together(self, load, rule, cache):
        """Worth of the pair over the product of what either is worth alone."""
        return self.ratio(load, rule, cache) / (self.ratio(load, rule, self.caches[0]) * self.ratio(load, "native", cache))


def signed(value):
    return f"{round(value):+d}"


def span(values, form=signed):
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def two(value):
    return f"{value:.2f}"


def gains_of(model, rule, loads=None, caches=None):
    return [100 * model.gain(load, rule, cache) for load in loads or model.loads for cache in caches or model.caches]


def named(model, pairs):
    """The best pair at the first and at the last load, and what it is worth."""
    found = {load: model.best(load, pairs(load)) for load in (model.loads[0], model.loads[-1])}
    return " and ".join(f"{pair} at {load} ({worth:.2f})" for load, (worth, pair) in found.items())


def qwen_says(page, q):
    few, most = q.loads[0], q.loads[-1]
    wide, narrow = q.caches[0], q.caches[1:]
    top, oea, xshare, chosen = "top-4", "OEA 4", "XShare 48", "by batch"
    middle = q.loads[1:-1]
    batch = {cache: q.of(most, "native", cache, "decode_batch") for cache in q.caches}
    small = [100 * (q.ratio(few, "native", cache) - 1) for cache in narrow]
    large = {cache: q.ratio(most, "native", cache) for cache in narrow}
    arms = [oea, xshare, "top-6"]
    held = [q.gain(load, chosen, cache) - max(q.gain(load, arm, cache) for arm in arms) for load in q.loads for cache in q.caches]
    page.holds("top-4 never dies", min(gains_of(q, top)) > 100 * LEAST)
    page.holds("top-4 shrinks with the batch", all(q.gain(most, top, c) < q.gain(few, top, c) for c in q.caches))
    page.holds("XShare gains most at middle loads", min(gains_of(q, xshare, middle, [wide])) > max(gains_of(q, xshare, [few, most])))
    page.holds("a narrow cache takes XShare's gain at the largest load", max(gains_of(q, xshare, [most], narrow)) < min(gains_of(q, xshare, middle)))
    page.holds("OEA dies at the largest load", max(gains_of(q, oea, [most])) < 100 * 2 * LEAST)
    page.holds("a narrow cache pays little at few requests", max(small) < 10)
    page.holds("a narrow cache pays where it lifts the batch", min(large.values()) > 1.2 and min(batch[c] for c in narrow) > 1.2 * batch[wide])
    page.near("top-4 and a narrow cache, together over apart, worst", min(q.together(most, top, c) for c in narrow), 0.85, 1.15)
    page.holds("a narrow cache that leaves the batch alone helps XShare", all(q.together(middle[-1], xshare, c) > 1 for c in narrow))
    page.holds("the rule chosen by batch keeps near its best arm", min(held) > -0.08)
    return {
        "q_top": span(gains_of(q, top)), "q_few": few, "q_most": most, "q_xshare_middle": span(gains_of(q, xshare, middle)), "q_middle": " and ".join(middle),
        "q_xshare_wide": signed(100 * q.gain(most, xshare, wide)), "q_xshare_narrow": span(gains_of(q, xshare, [most], narrow)), "q_batch_wide": f"{batch[wide]:.0f}",
        "q_batch_narrow": span([batch[c] for c in narrow], "{:.0f}".format), "q_oea_few": span(gains_of(q, oea, [few])), "q_oea_most": span(gains_of(q, oea, [most])), "q_small": span(small),
        "q_large": span(list(large.values()), two), "q_together": span([q.together(most, top, c) for c in narrow], two),
        "q_together_xshare": span([q.together(most, xshare, c) for c in narrow], two), "q_best": q.best(most, q.pairs())[1], "q_best_worth": f"{q.best(most, q.pairs())[0]:.2f}",
        "q_careful": named(q, lambda load: q.pairs(q.careful)), "q_chosen": span(gains_of(q, chosen)), "q_held": "and is nowhere below" if min(held) > -0.005 else f"and is at most {-100 * min(held):.0f} points below", "q_together_middle": span([q.together(middle[-1], xshare, c) for c in narrow], two), "q_last_middle": middle[-1],
        "q_left": span([q.gain(most, top, c) / q.gain(most, top, wide) for c in narrow], two), "q_top_wide": ", ".join(f"{signed(100 * q.gain(load, top, wide))} % at {load}" for load in q.loads),
        "q_mass": q.text(few, top, wide, "kept_mass"), "q_mass_oea": q.text(few, oea, wide, "kept_mass"), "q_mass_xshare": " and ".join(q.text(load, xshare, wide, "kept_mass") for load in middle),
        "q_mild": named(q, q.mild)}


def lite_says(page, v):
    few, most = v.loads[0], v.loads[-1]
    wide, narrow = v.caches[0], v.caches[1:]
    batches = [v.of(most, "native", c, "decode_batch") for c in v.caches]
    page.holds("V2-Lite's cache never limits its batch", max(batches) < 1.05 * min(batches))
    page.holds("V2-Lite: top-3 falls from few to the middle", v.gain(few, "top-3", wide) > v.gain(v.loads[2], "top-3", wide))
    page.holds("V2-Lite: XShare beats top-3 in the middle", v.gain(v.loads[1], "XShare 32", wide) > v.gain(v.loads[1], "top-3", wide))
    return {"v_most": most, "v_caches": "; ".join(f"{c} {span([v.ratio(load, 'native', c) for load in v.loads], two)}" for c in narrow),
            "v_top": ", ".join(f"{signed(100 * v.gain(load, 'top-3', wide))} % at {load}" for load in v.loads), "v_xshare": ", ".join(f"{signed(100 * v.gain(load, 'XShare 32', wide))} % at {load}" for load in v.loads)}


def worst(points):
    return f"{max(map(abs, points)):.1f}" if points else "no run"


def say(page, qwen, lite, rules, caches):
    """RETURNS: the {figures} of page.md. `rules`, `caches`: points by which speed-ups of executed runs were missed."""
    page.holds("speed-ups of expert rules were executed within the dead gain", rules and max(map(abs, rules)) <= 100 * LEAST)
    return {**qwen_says(page, qwen), **lite_says(page, lite), "rules_runs": len(rules), "rules_off": worst(rules), "caches_runs": len(caches), "caches_off": worst(caches), "least": f"{100 * LEAST:.0f}"}
