"""Reports: the content of a state as a self-contained HTML file, or as a fragment of one for a notebook.

Input: metrics. Output: text. A plotting library would need a script or a raster image. A report has neither, and takes
tens of kilobytes for any size of data.

``page``             the file and the fragment; ``style.css`` and ``page.css`` are their style
``sections``         the sections of a metric
``summary_section``  sections with one result: mean, anomalies, calibration, tail, two models
``series_section``   sections with many results: history, positions, classes, groups
``elements``         the groups, panes or half-lives that a section ranks or draws
``aggregation``      sums of states over longer intervals, such as days of hours
``svg``              pictures, of a small set of marks
``html``             text, numbers and tables as HTML

Imports ``errors``, ``_support``, ``core``, ``keys``, ``stats``, ``metrics`` and ``wrappers``.
"""

from streamce.report.page import MARK, fragment, page

__all__ = ["MARK", "fragment", "page"]
