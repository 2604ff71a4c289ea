"""The examples in the documentation give the results that they show, and its links exist.

In the pages, a ``python`` fence is run, and must print the ``text`` fence right after it. A ``py`` fence needs a
package or a machine that `make test` does not have, so it is only compiled.
"""

import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest
from paths import ROOT

import streamce
from streamce.cli import arguments

ENGINES = ("streamce.integrations.dask", "streamce.integrations.spark")  # tests/engines runs their examples
MODULES = ["streamce"] + [
    info.name
    for info in pkgutil.walk_packages(streamce.__path__, "streamce.")
    if not info.name.endswith("__main__") and info.name not in ENGINES
]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
MARK = "-- end of a fence --"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$\n", re.MULTILINE | re.DOTALL)
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_public_name_has_an_example():
    for name in streamce.__all__:
        public = getattr(streamce, name)
        assert ">>>" in public.__doc__, name


def test_public_names_are_sorted_and_there():
    assert streamce.__all__ == sorted(streamce.__all__)
    assert set(streamce.__all__) <= set(vars(streamce))


@page
def test_the_examples_of_a_page_run_and_print_what_it_shows(path, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    for printed, shown in zip(done.stdout.split(f"{MARK}\n"), expected, strict=False):
        assert shown is None or printed == shown


@page
def test_the_commands_of_a_page_are_ones_that_there_are(path):
    text = "\n".join(body for language, body in FENCE.findall(path.read_text(encoding="utf-8")) if language == "sh")
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r" && | \| ", line.partition(" # ")[0]):
            if command.startswith("streamce "):
                arguments.parse(shlex.split(command)[1:])


def anchors(path):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_every_relative_link_of_a_page_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text(encoding="utf-8"))):
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_links_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in PAGES:
        assert path.name == "README.md" or str(path.relative_to(ROOT)) in text, path.name
