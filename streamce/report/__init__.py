"""Pictures of what a state holds: one self-contained HTML file, or a fragment of one for a notebook.

Both are HTML and inline SVG that a small set of marks writes (``drawings.py``). A plotting library would bring a script
or a raster image; a report is to be tens of kilobytes without either, whatever the size of the data.
"""

from streamce.report.page import MARK, fragment, page

__all__ = ["MARK", "fragment", "page"]
