"""Studies' pages and helpers, without running a simulation.

The joint study's page must be what results.csv says, word for word, and what it says in words must hold; helpers that price what moecast does not are checked in closed form.
"""

import importlib.machinery
import importlib.util
import pathlib
import re
import sys
import unittest
import unittest.mock
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUDIES = ROOT / "reports/studies"
sys.path[:0] = [str(STUDIES), str(STUDIES / "joint")]

from page import Page  # noqa: E402
from plot import lines_svg, ticks  # noqa: E402


def load(path, name):
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


class JointStudy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.study = load(STUDIES / "joint/run.py", "joint")
        cls.page = Page(STUDIES / "joint/run.py")
        cls.text, cls.plots = cls.study.page_of(cls.page, cls.study.read_rows())

    def test_its_main_findings_hold(self):
        self.assertEqual(self.page.lost, [])

    def test_its_page_is_what_its_results_say(self):
        self.assertEqual(self.text, (STUDIES / "joint/README.md").read_text(encoding="utf-8"))

    def test_its_plots_are_what_its_results_say(self):
        for name, plot in self.plots.items():
            self.assertEqual(plot, (STUDIES / "joint" / name).read_text(encoding="utf-8"))

    def test_every_pair_has_every_load(self):
        for name in self.study.STUDIES:
            rows = [(r["load"], r["rule"], r["cache"]) for r in self.study.read_rows() if r["model"] == name]
            loads, rules, caches = (set(part) for part in zip(*rows))
            self.assertEqual(len(rows), len(loads) * len(rules) * len(caches))
            self.assertEqual(len(rows), len(set(rows)))


class JointModel(unittest.TestCase):
    """Ratios, gains and deaths of results made by hand."""

    def setUp(self):
        from findings import Model
        speeds = {("8", "native", "bf16"): 100, ("8", "native", "fp8"): 110, ("8", "rule", "bf16"): 120, ("8", "rule", "fp8"): 132,
                  ("64", "native", "bf16"): 400, ("64", "native", "fp8"): 800, ("64", "rule", "bf16"): 404, ("64", "rule", "fp8"): 840}
        quality = {"native": "", "rule": "GPQA 58.5 (of 60)"}
        self.model = Model("by hand", [{"load": load, "rule": rule, "cache": cache, "tokens_per_s": str(s), "low_95": str(0.9 * s), "high_95": str(1.2 * s), "quality": quality[rule],
                                        "kept_mass": "0.95" if load == "8" else "", "kv_error": {"bf16": "0", "fp8": "0.3"}[cache]}
                                       for (load, rule, cache), s in speeds.items()])

    def test_a_gain_is_over_the_same_cache_and_a_ratio_over_16_bits(self):
        self.assertAlmostEqual(self.model.gain("8", "rule", "fp8"), 0.2)
        self.assertAlmostEqual(self.model.ratio("8", "rule", "fp8"), 1.32)
        self.assertAlmostEqual(self.model.together("64", "rule", "fp8"), 2.1 / (1.01 * 2))

    def test_intervals_of_a_ratio_move_both_runs_to_the_same_end(self):
        for end in self.model.ends("64", "rule", "fp8"):
            self.assertAlmostEqual(end, 2.1)

    def test_a_gain_dies_at_the_first_load_from_which_it_stays_small(self):
        self.assertEqual(self.model.dies("rule", "bf16"), "64")
        self.assertEqual(self.model.dies("rule", "fp8"), "-")

    def test_a_careful_rule_has_published_quality_within_two_points(self):
        self.assertEqual(self.model.careful, ["native", "rule"])
        self.assertEqual(self.model.best("64", self.model.pairs(self.model.careful)), (2.1, "rule, fp8"))

    def test_mild_pairs_have_known_proxies_within_bounds(self):
        self.assertEqual(self.model.mild("8"), [("native", "bf16"), ("rule", "bf16")])
        self.assertEqual(self.model.best("8", []), (unittest.mock.ANY, "-"))


class Helpers(unittest.TestCase):
    def test_a_statement_that_does_not_hold_is_kept(self):
        page = Page(STUDIES / "joint/run.py")
        page.holds("true", True)
        page.near("inside", 1.0, 0.5, 1.5)
        page.near("outside", 2.0, 0.5, 1.5)
        page.holds("false", False)
        self.assertEqual(page.lost, ["outside: 2 is not within 0.5 to 1.5", "false"])

    def test_ticks_are_round_and_inside(self):
        self.assertEqual(ticks(-0.3, 10.2), [0, 2, 4, 6, 8, 10])
        self.assertEqual(ticks(0.94, 1.22), [0.95, 1.0, 1.05, 1.1, 1.15, 1.2])

    def test_a_plot_is_a_document_with_a_line_per_rule_and_panel(self):
        root = xml.etree.ElementTree.fromstring(lines_svg("a < b", "x", "y", ["1", "2"], {"p": {"r": [1, 2], "s": [2, None]}, "q": {"r": [1, 3], "s": [0, 1]}}))
        self.assertEqual(len(root.findall(".//{http://www.w3.org/2000/svg}polyline")), 4)

    def test_changed_numbers_are_counted_in_place(self):
        script = load(ROOT / "scripts/studies", "studies_script")
        self.assertEqual(script.changed_numbers("1.0 and 2,000", "1.5 and 2,000"), 1)
        self.assertEqual(script.changed_numbers("1 2", "1 2 3"), 3)

    def test_a_break_even_is_where_narrow_stays_faster(self):
        study = load(STUDIES / "fp8_kv/run.py", "fp8_kv")
        self.assertEqual(study.break_even([1, 2, 4], [5, 5, 5], [6, 6, 4]), ("2 to 4", 4))
        self.assertEqual(study.break_even([1, 2], [5, 5], [4, 4]), ("below 1", 0))
        self.assertEqual(study.break_even([1, 2], [5, 5], [4, 6]), ("none", 2))

    def test_turboquant_in_four_bits_stores_what_int4_does(self):
        study = load(STUDIES / "turboquant/run.py", "turboquant")
        catalog = (ROOT / "scenarios/catalog/kv_schemes.yaml").read_text(encoding="utf-8")
        block = re.search(r"^int4:\n(?:  .*\n)+", catalog, re.MULTILINE)[0]
        sides = [[int(x) for x in side] for side in re.findall(r"\{bits: (\d+), group: (\d+), scale_bits: (\d+), zero_bits: (\d+)\}", block)]
        self.assertEqual(16 * study.SLOTS["4bit_nc"] / study.WIDE, sum(bits + (scale + zero) / group for bits, group, scale, zero in sides) / 2)

    def test_a_static_kivi_batch_holds_windows_and_codes(self):
        study = load(STUDIES / "kivi/run.py", "kivi")
        batch = object.__new__(study.Static)
        batch.window = 128
        narrow, wide = batch.held(498)  # 114 keys wait for a full window, 128 values are recent
        self.assertEqual(wide, (114 + 128) / 2 * study.TOKEN)
        self.assertEqual(narrow, (498 - 121) * study.TOKEN * study.NARROW)


if __name__ == "__main__":
    unittest.main()
