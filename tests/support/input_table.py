"""The tables of docs/INPUTS.md, which tests compare with their cases."""

import re

from paths import DOCS

PAGE = DOCS / "INPUTS.md"


def rows(section):
    """Return the rows of the table under a heading: all cells, by the first cell."""
    text = PAGE.read_text()
    match = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, section
    lines = [line for line in match[1].splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {first: rest for first, *rest in cells}
    assert len(found) == len(cells)
    return found
