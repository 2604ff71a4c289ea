"""Runs the examples of documentation pages.

A ``python`` fence is run, and must print the ``text`` fence right after it. A ``py`` fence needs a package or a machine
that the tests do not have, so it is only compiled.
"""

import re
import subprocess
import sys

from paths import ROOT

MARK = "-- end of a fence --"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$\n", re.MULTILINE | re.DOTALL)


def run(path, folder):
    """Run the fences of a page as one program in an empty folder, and compare what each prints with what it shows."""
    (folder / "examples").symlink_to(ROOT / "examples")
    text = path.read_text(encoding="utf-8")
    script, expected, end = "", [], 0
    for fence in FENCE.finditer(text):
        language, body = fence.groups()
        if language in ("python", "py"):
            compile(body, f"{path.name}:{text.count(chr(10), 0, fence.start()) + 1}", "exec")
        if language == "python":
            script += f"{body}print({MARK!r})\n"
            expected.append(None)
        elif language == "text" and not text[end : fence.start()].strip():
            expected[-1] = body
        end = fence.end()
    script = script.replace("9464", "0")  # a free port
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    for printed, shown in zip(done.stdout.split(f"{MARK}\n"), expected, strict=False):
        assert shown is None or printed == shown


def fences(path, language):
    """Return the fences of a language."""
    return [body for name, body in FENCE.findall(path.read_text(encoding="utf-8")) if name == language]


def without_fences(path):
    """Return the text of a page between its fences."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def assert_shows(path, *rows):
    """Assert that a page has these rows in its tables."""
    text = path.read_text(encoding="utf-8")
    for row in rows:
        line = f"| {' | '.join(row)} |"
        assert line in text, line
