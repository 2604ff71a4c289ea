"""The tables of docs/FILES.md: rows with a file are run, and rows with the name of a test have that test."""

import json
import re
import shlex

import pytest
from paths import ROOT

import streamce as ce
from streamce.cli.main import main

PAGE = (ROOT / "docs" / "FILES.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line[1:-1].split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
FILES = [row for row in ROWS if re.match(r"`a\.\w+`: ", row[1])]


@pytest.mark.parametrize(("what", "file", "options", "result"), FILES, ids=lambda cell: cell[:40])
def test_a_row_with_a_file_gives_the_result_that_it_shows(tmp_path, capsys, what, file, options, result):
    name, content = re.fullmatch(r"`(.*?)`: `(.*)`", file).groups()
    path = tmp_path / name
    path.write_text(content.replace("↵", "\n").replace("→", "\t") + "\n")
    words = ["--task", "binary", "--preds", "p", "--target", "y", *shlex.split(options.strip("`"))]
    status = main(["eval", str(path), *words, "--json", "--state", str(tmp_path / "S")])
    out, err = capsys.readouterr()
    if result.startswith("error: "):
        assert status in (1, 2)
        assert result.removeprefix("error: ") in err
        return
    assert status == 0, err
    if "group" in result:
        assert len(ce.load(tmp_path / "S").keys()) == int(result.split()[0])
        return
    found = json.loads(out)
    counts = {"null": found["invalid_null"], "nan": found["invalid_nan"], "unreadable": found["rows_unreadable"]}
    losses = "1 loss" if found["count"] == 1 else f"{found['count']} losses"
    shown = [losses, f"{found['value']:.6f}", *(f"{count} {name}" for name, count in counts.items() if count)]
    assert ", ".join(shown) == result


def test_every_row_is_run_or_names_its_test():
    for row in ROWS:
        headings = ("file", "endings", "how it is read")
        assert row[1] in headings or row in FILES or re.fullmatch(r"`test_\w+`", row[-1])


def test_the_tests_that_the_text_names_exist():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in tests
    for name in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists()
