"""Coarser scores: half a level off at most, order kept, refused where there is nothing to gain."""

import array
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "traces" / "capture"))
import coarsen_scores  # noqa: E402

DESCRIPTION = "scores:\n  path: scores.u16\n  type: u16\n  unit: 1.5259021896696422e-05\nsequences:\n"


class CoarsenTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.scores = [65535, 40000, 20000, 123, 1, 0]
        (self.folder / "scores.u16").write_bytes(array.array("H", self.scores).tobytes())
        (self.folder / "import.yaml").write_text(DESCRIPTION)

    def test_scores_move_by_at_most_half_a_level_and_keep_their_order(self):
        coarsen_scores.coarsen(self.folder, 100)
        coarse = array.array("H", (self.folder / "scores.u16").read_bytes()).tolist()
        self.assertEqual(coarse, sorted(coarse, reverse=True))
        for before, after in zip(self.scores, coarse):
            self.assertLessEqual(abs(before / 65535 - after / 100), 0.005 + 1e-9)
        self.assertIn("  unit: 0.01\n", (self.folder / "import.yaml").read_text())

    def test_more_levels_than_there_are_is_refused_and_changes_nothing(self):
        with self.assertRaisesRegex(ValueError, "65535 levels, no more than 65535"):
            coarsen_scores.coarsen(self.folder, 65535)
        self.assertEqual((self.folder / "import.yaml").read_text(), DESCRIPTION)

    def test_a_capture_without_scores_is_refused(self):
        (self.folder / "import.yaml").write_text("sequences:\n")
        with self.assertRaisesRegex(ValueError, "has no scores"):
            coarsen_scores.coarsen(self.folder, 100)


if __name__ == "__main__":
    unittest.main()
