"""The capture's files: layout, packing, what is refused before anything is written."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "traces" / "capture"))
try:
    import numpy as np

    import capture_files
except ModuleNotFoundError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def header(experts=8, layers=(0, 1)):
    return capture_files.Header(source="test", model="toy", experts=experts, top_k=2, layers=list(layers))


def sequence(ids, **fields):
    ids = np.asarray(ids)
    return capture_files.Sequence(ids=ids, scores=np.full(ids.shape, 0.5), prompt_tokens=1, **fields)


ONE = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


class CaptureFilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name) / "capture"

    def test_sequences_follow_one_another_in_token_layer_rank_order(self):
        capture_files.write(self.out, header(), [sequence(ONE, category="a"), sequence([ONE[1]])])
        self.assertEqual((self.out / "ids.u8").read_bytes(), bytes([0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]))
        scores = np.frombuffer((self.out / "scores.u16").read_bytes(), "<u2")
        self.assertEqual(set(scores.tolist()), {32768})
        self.assertEqual((self.out / "sequences.csv").read_text(),
                         "length,prompt_tokens,request_id,category\n2,1,,a\n1,1,,\n")

    def test_the_description_names_the_ranks_only_where_they_differ_from_k(self):
        capture_files.write(self.out, header(), [sequence(ONE)])
        self.assertNotIn("recorded_ranks", (self.out / "import.yaml").read_text())
        wide = [[[0, 1, 2], [3, 4, 5]]]
        capture_files.write(self.out, header(), [sequence(wide)])
        self.assertIn("recorded_ranks: 3", (self.out / "import.yaml").read_text())

    def test_a_row_with_an_absent_id_is_not_recorded_as_a_whole(self):
        capture_files.write(self.out, header(), [sequence([[[0, -1], [2, 3]]])])
        self.assertEqual((self.out / "ids.u8").read_bytes(), bytes([255, 255, 2, 3]))

    def test_ids_are_wide_where_a_byte_cannot_also_say_unknown(self):
        capture_files.write(self.out, header(experts=256), [sequence([[[255, 1], [2, 3]]])])
        self.assertEqual((self.out / "ids.u16").read_bytes()[:4], bytes([255, 0, 1, 0]))
        self.assertIn("unknown: 65535", (self.out / "import.yaml").read_text())

    def test_what_no_trace_can_hold_is_refused_and_nothing_written(self):
        bad = {
            "there is no sequence": [],
            "sequence 1: expert 8 is out of range": [sequence(ONE), sequence([[[0, 8], [2, 3]]])],
            "sequence 0: a row names an expert twice": [sequence([[[1, 1], [2, 3]]])],
            "not \\[tokens >= 1, 2, 2\\]": [sequence([[[0, 1]]])],
            "a label has a comma": [sequence(ONE, category="a,b")],
        }
        for message, sequences in bad.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                capture_files.write(self.out, header(), sequences)
            self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
