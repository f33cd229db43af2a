"""Each check refuses a tiny tree with one fault and accepts the same tree without it."""

import pathlib
import tempfile
import unittest

import check_docs
import check_layers
import check_sources

LAYERS = "add_subdirectory(sim/base)\nadd_subdirectory(sim/model)\nadd_subdirectory(traces)\n" \
         "add_subdirectory(sim/cost)\nadd_subdirectory(tests)\n"
HEADER = "// What this is.\n#pragma once\n"


class TreeTest(unittest.TestCase):
    def findings(self, check, tree):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in tree.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check(root)

    def accepts(self, check, tree):
        self.assertEqual(self.findings(check, tree), [])

    def refuses(self, check, tree, *parts):
        findings = self.findings(check, tree)
        self.assertEqual(len(findings), 1, findings)
        for part in parts:
            self.assertIn(part, findings[0])


class Layers(TreeTest):
    def tree(self, path, include):
        return {"CMakeLists.txt": LAYERS, path: f"#include {include}\n",
                "traces/routing.proto": ""}

    def test_an_earlier_layer_may_be_included(self):
        self.accepts(check_layers.check, self.tree("sim/cost/a.cc", '"sim/base/units.h"'))
        self.accepts(check_layers.check, self.tree("sim/cost/a.cc", '"sim/cost/b.h"'))
        self.accepts(check_layers.check, self.tree("tests/sim/cost/a_test.cc", '"sim/cost/b.h"'))

    def test_a_later_layer_may_not(self):
        self.refuses(check_layers.check, self.tree("sim/base/a.h", '"sim/cost/b.h"'),
                     "sim/base/a.h:1", "sim/cost comes after sim/base")
        self.refuses(check_layers.check, self.tree("sim/model/a.h", '"traces/b.h"'), "traces")

    def test_an_unlisted_layer_may_not(self):
        self.refuses(check_layers.check, self.tree("sim/cost/a.cc", '"sim/new/b.h"'), "sim/new")

    def test_only_tests_include_tests(self):
        self.refuses(check_layers.check, self.tree("sim/cost/a.cc", '"tests/support/b.h"'))

    def test_kernels_and_calibration_see_what_is_listed(self):
        self.accepts(check_layers.check, self.tree("kernels/a.cc", '"sim/model/op.h"'))
        self.accepts(check_layers.check, self.tree("calibration/a.cc", '"sim/cost/features.h"'))
        self.refuses(check_layers.check, self.tree("kernels/a.cc", '"sim/model/lower.h"'))
        self.refuses(check_layers.check, self.tree("calibration/a.cc", '"kernels/a.h"'))
        self.refuses(check_layers.check, self.tree("sim/cost/a.cc", '"calibration/fit.h"'))

    def test_libraries_stay_with_their_owner(self):
        self.accepts(check_layers.check, self.tree("tests/a.cc", "<gtest/gtest.h>"))
        self.refuses(check_layers.check, self.tree("sim/model/a.cc", "<boost/math/a.hpp>"), "boost/math/")
        self.refuses(check_layers.check, self.tree("sim/model/a.cc", "<yaml-cpp/yaml.h>"))

    def test_generated_code_stays_in_source_files_of_its_folder(self):
        self.accepts(check_layers.check, self.tree("traces/routing_codec.cc", '"routing.pb.h"'))
        self.refuses(check_layers.check, self.tree("traces/routing_codec.h", '"routing.pb.h"'))
        self.refuses(check_layers.check, self.tree("sim/cost/a.cc", '"routing.pb.h"'), "traces")


class Sources(TreeTest):
    def refuses_code(self, path, code, *parts):
        self.refuses(check_sources.check, {path: code}, *parts)

    def test_banned_constructs(self):
        self.refuses_code("sim/cost/a.cc", "virtual void F();\n", "virtual")
        self.refuses_code("sim/cost/a.cc", "#include <random>\n", "random")
        self.refuses_code("sim/cost/a.cc", 'auto x = std::getenv("X");\n', "getenv")
        self.refuses_code("sim/cost/a.cc", "std::function<void()> f;\n", "std::function")
        self.refuses_code("sim/cost/a.cc", "std::chrono::steady_clock::now();\n", "steady_clock")

    def test_allowed_places(self):
        self.accepts(check_sources.check, {
            "sim/cost/a.cc": "// a virtual clock\n",
            "sim/cost/b_codec.cc": "virtual void F();\n",
            "sim/run/a.cc": "std::function<void()> f;\n",
            "tests/a.cc": "virtual void F();\n",
        })

    def test_iteration_in_hash_order(self):
        declared = "std::unordered_map<int, double> totals_;\n"
        self.refuses_code("sim/cost/a.cc", declared + "for (auto& x : totals_) Use(x);\n", "a.cc:2")
        self.refuses_code("sim/cost/a.cc", declared + "Use(totals_.begin());\n", "totals_")
        self.refuses(check_sources.check,
                     {"sim/cost/a.h": HEADER + declared,
                      "sim/cost/a.cc": "for (const auto& [key, value] : this->totals_) Use(key);\n"},
                     "a.cc:1")
        self.accepts(check_sources.check, {"sim/cost/a.cc": declared + "totals_.find(3);\n"})

    def test_tests_that_nothing_builds(self):
        lists = "moecast_test(t SOURCES a_test.cc)\nforeach(input zip)\n"
        tree = {"tests/CMakeLists.txt": lists, "tests/a_test.cc": "", "tests/fuzz/zip_fuzz.cc": ""}
        self.accepts(check_sources.check, tree)
        self.refuses(check_sources.check, {**tree, "tests/b_test.cc": ""}, "tests/b_test.cc")
        self.refuses(check_sources.check, {**tree, "tests/fuzz/npy_fuzz.cc": ""}, "npy_fuzz")

    def test_long_files_and_functions(self):
        self.accepts(check_sources.check, {"sim/a.cc": "x;\n" * 400})
        self.refuses_code("sim/a.cc", "x;\n" * 401, "401 lines")
        self.accepts(check_sources.check, {"sim/a.cc": "void F() {\n" + "  x;\n" * 48 + "}\n"})
        self.refuses_code("sim/a.cc", "void F() {\n" + "  x;\n" * 49 + "}\n", "sim/a.cc:1", "51 lines")
        self.refuses_code("sim/a.cc", "struct A {\n  void F() {\n" + "    x;\n" * 49 + "  }\n};\n",
                          "sim/a.cc:2")
        self.accepts(check_sources.check, {"sim/a.cc": "struct A {\n" + "  int x;\n" * 60 + "};\n"})

    def test_headers(self):
        self.accepts(check_sources.check, {"sim/a.h": HEADER})
        self.refuses_code("sim/a.h", "\n#pragma once\n", "comment")
        self.refuses_code("sim/a.h", "// What this is.\n", "pragma")

    def test_left_overs(self):
        self.refuses_code("docs/a.md", "TO" + "DO: later\n", "left-over")
        self.refuses_code("scripts/a", "cat /ho" + "me/me/x\n", "machine")
        self.refuses_code("sim/a.cc", "// ------ part two ------\n", "banner")
        self.accepts(check_sources.check, {"docs/a.md": "https://example.org/home/ and out/tmp/x\n"})


class Docs(TreeTest):
    GOOD = {
        "docs/invariants.md": "INV-1: text\n",
        "docs/references.md": "[Salmon11] and [the page](invariants.md)\n",
        "README.md": "# Two words\n[up](#two-words) `01_first.yaml`\n",
        "sim/a.cc": "// After [Salmon11 s.3].\n",
        "scenarios/examples/01_first.yaml": "name: x\n",
        "tests/examples/CMakeLists.txt": "01_first.yaml\n",
        "tests/a_test.cc": "TEST(A, Inv1Holds) {}\n",
    }

    def refuses_change(self, name, text, *parts):
        self.refuses(check_docs.check, self.GOOD | {name: text}, *parts)

    def test_a_consistent_tree(self):
        self.accepts(check_docs.check, self.GOOD)

    def test_broken_links(self):
        self.refuses_change("docs/other.md", "[x](absent.md)\n", "docs/other.md", "absent.md")
        self.refuses_change("docs/other.md", "[x](../README.md#absent)\n", "heading")

    def test_named_files_exist(self):
        self.refuses_change("docs/other.md", "see `sim/b.cc`\n", "docs/other.md", "sim/b.cc")
        for known in ("`sim/a.cc`", "`sim/a`", "`sim/*.cc`", "`sim`", "`scenarios/examples/NAME.yaml`",
                      "`build/sim/b.cc`", "```\nls `sim/b.cc`\n```"):
            self.accepts(check_docs.check, self.GOOD | {"docs/other.md": known + "\n"})

    def test_tables_stand_row_by_row(self):
        self.accepts(check_docs.check, self.GOOD | {"docs/other.md": "| a | b |\n| --- | --- |\n| 1 | |\n"})
        self.refuses_change("docs/other.md", "| a | b | | --- | --- | | 1 | 2 |\n", "docs/other.md:1")

    def test_unlisted_citation(self):
        self.refuses_change("sim/a.cc", "// After [Nobody99].\n", "Nobody99")

    def test_invariant_without_a_test(self):
        self.refuses_change("docs/invariants.md", "INV-1 and INV-12\n", "INV-12")
        self.refuses_change("tests/a_test.cc", "TEST(A, Inv11Holds) {}\n", "INV-1 ")

    def test_example_without_mention_or_test(self):
        self.refuses_change("README.md", "# Two words\n", "mentioned in no document")
        self.refuses_change("tests/examples/CMakeLists.txt", "\n", "run by no test")


if __name__ == "__main__":
    unittest.main()
