"""The examples in the documentation give the results that they show, and its links exist.

tests/frameworks and tests/engines run the examples that need a foreign framework.
"""

import doctest
import importlib
import pkgutil
import re
import shlex

import pages
import pytest
from paths import ROOT

import streamce
from streamce.cli import arguments

FRAMEWORKS = {path.name for path in ROOT.glob("tests/frameworks/*") if path.is_dir()} - {"__pycache__"}
ELSEWHERE = {f"streamce.integrations.{name}" for name in {"dask", "spark"} | FRAMEWORKS}
MODULES = ["streamce"] + [
    info.name
    for info in pkgutil.walk_packages(streamce.__path__, "streamce.")
    if not info.name.endswith("__main__") and info.name not in ELSEWHERE
]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
INTEGRATIONS = sorted(ROOT.glob("docs/integrations/*.md"))
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
any_page = pytest.mark.parametrize("path", PAGES + INTEGRATIONS, ids=lambda path: str(path.relative_to(ROOT)))


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
    pages.run(path, tmp_path)


@any_page
def test_the_commands_of_a_page_are_ones_that_there_are(path):
    for line in "\n".join(pages.fences(path, "sh")).replace("\\\n", " ").splitlines():
        for command in re.split(r" && | \| ", line.partition(" # ")[0]):
            if command.startswith("streamce "):
                arguments.parse(shlex.split(command)[1:])


def anchors(path):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", pages.without_fences(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@any_page
def test_every_relative_link_of_a_page_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", pages.without_fences(path)):
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_links_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in PAGES:
        assert path.name == "README.md" or str(path.relative_to(ROOT)) in text, path.name


def test_the_index_links_to_every_page_of_an_integration():
    index = ROOT / "docs/integrations/README.md"
    for path in INTEGRATIONS:
        assert path == index or f"({path.name})" in index.read_text(encoding="utf-8"), path.name


def test_every_page_of_an_integration_is_run():
    """A test of its framework names the page."""
    for path in INTEGRATIONS:
        tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests/frameworks").rglob("test_*.py")]
        assert path.name == "README.md" or any(f'"{path.name}"' in text for text in tests), path.name
