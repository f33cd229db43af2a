"""cmake/write_version.cmake: names the commit, says when the tree differs, and works without git.

    write_version_test.py CMAKE SCRIPT
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

CMAKE, SCRIPT = sys.argv[1:3]
GIT = shutil.which("git")


class WriteVersion(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output = pathlib.Path(folder.name, "version.cc")
        self.source = pathlib.Path(folder.name, "source")
        self.source.mkdir()
        (self.source / "file").write_text("one")

    def commit(self):
        """Runs the script and returns what GitCommit() would."""
        subprocess.run([CMAKE, "-D", f"SOURCE_DIR={self.source}", "-D", "VERSION=1.2.3", "-D",
                        f"GIT={GIT or ''}", "-D", f"OUTPUT={self.output}", "-P", SCRIPT], check=True)
        self.assertIn('Version() { return "1.2.3"; }', self.output.read_text())
        return self.output.read_text().split('GitCommit() { return "')[1].split('"')[0]

    def git(self, *arguments):
        subprocess.run([GIT, "-c", "user.name=n", "-c", "user.email=e", *arguments],
                       cwd=self.source, check=True, stdout=subprocess.DEVNULL)

    def test_a_tarball_has_no_commit(self):
        self.assertEqual(self.commit(), "unknown")

    @unittest.skipUnless(GIT, "git is not installed")
    def test_a_checkout_names_its_commit_and_whether_it_differs(self):
        self.git("init", "-q")
        self.assertEqual(self.commit(), "unknown")  # nothing committed yet
        self.git("add", "file")
        self.git("commit", "-q", "-m", "one")
        self.assertRegex(self.commit(), "^[0-9a-f]{40}$")
        (self.source / "untracked").write_text("x")
        self.assertRegex(self.commit(), "^[0-9a-f]{40}$")
        (self.source / "file").write_text("two")
        self.assertRegex(self.commit(), "^[0-9a-f]{40}-dirty$")

    def test_an_equal_answer_leaves_the_file_alone(self):
        self.commit()
        before = self.output.stat().st_mtime_ns
        self.commit()
        self.assertEqual(self.output.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
