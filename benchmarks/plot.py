"""The picture of the results: a line per case, a dot per contender, time on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.cases import BATCHES, CASES, CHUNKS, FILE, FILES, LINES, LISTS, ONCE, SCALARS, SMALL, Case
from benchmarks.results import Results, shown
from benchmarks.turns import PLAIN, READING, Measurement

OURS_COLOUR, INK, FAINT = "#c2185b", "#222222", "#c8c8c8"
# Rivals of one family have similar colours, which also differ in lightness.
STYLES = {
    "torch": ("o", "#e07b00"),
    "torch.compile": ("D", "#7a4300"),
    "torchmetrics": ("P", "#e9b872"),
    "torcheval": ("X", "#c9915a"),
    "NumPy": ("s", "#2f6fb3"),
    "SciPy": ("v", "#7fb0de"),
    "scikit-learn": ("^", "#1b7f5c"),
    "math.fsum": ("<", "#8a8a8a"),
    "river": (">", "#555555"),
    "DuckDB": ("p", "#b39b00"),
    "Polars": ("h", "#4f6d1c"),
}
SHOWN: dict[str, tuple[tuple[str, str, str], ...]] = {
    "ns per element, 80 MB or 4M losses, one thread": (
        ("logits, 2 classes", "logits float32, C = 2", ONCE),
        ("logits, 10 classes", "logits float32, C = 10", ONCE),
        ("logits, 100 classes", "logits float32, C = 100", ONCE),
        ("logits, 32000 classes", "logits float32, C = 32000", ONCE),
        ("the same in 8 MB chunks", "logits float32, C = 32000", CHUNKS),
        ("bfloat16 logits, 1000 classes", "logits bfloat16, C = 1000", ONCE),
        ("float64 logits, 1000 classes", "logits float64, C = 1000", ONCE),
        ("soft targets, 1000 classes", "logits float32, C = 1000, soft targets", ONCE),
        ("probabilities, 10 classes", "probs float32, C = 10", ONCE),
        ("binary logits", "binary logits float32", SMALL),
        ("binary probabilities", "binary probs float32", SMALL),
        ("mean of losses, exact sum", "mean of losses", ONCE),
    ),
    "ns per update, or per row of a file (two threads)": (
        ("update of a 32 x 10 batch", "32 x 10 logits", BATCHES),
        ("update of one sample", "binary probs", SCALARS),
        ("row of a Parquet file", "Parquet file", FILE),
        ("line of JSON", "JSON lines", LINES),
        ("line of JSON, 100 numbers", "JSON lines of lists", LISTS),
        ("row, whole process", "Parquet file, whole process", FILE),
        ("row of CSV, whole process", "CSV file, whole process", FILE),
    ),
}


def write(found: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    panels = {
        title: [(label, CASES[name], form) for label, name, form in rows if found.of(CASES[name], form)]
        for title, rows in SHOWN.items()
    }
    panels = {title: rows for title, rows in panels.items() if rows}
    if not panels:
        return
    heights = [len(rows) + 1 for rows in panels.values()]
    style: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "streamce", "font.family": "sans-serif"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            len(panels),
            figsize=(10, 0.46 * sum(heights) + 1.3),
            height_ratios=heights,
            squeeze=False,
            facecolor="white",
        )
        for axis, (title, rows) in zip(axes[:, 0], panels.items(), strict=True):
            _panel(axis, found, title, rows)
        _legend(figure)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _panel(axis: Any, found: Results, title: str, rows: list[tuple[str, Case, str]]) -> None:
    axis.set_xscale("log")
    axis.margins(x=0.07)
    for place, (_, case, form) in enumerate(rows):
        threads = 2 if form in FILES else 1
        there = [one for one in found.of(case, form) if one.contender.threads == threads]
        there = [one for one in there if not one.contender.simd and one.contender.name != PLAIN]
        times = [one.ns for one in there]
        axis.plot([min(times), max(times)], [place, place], color=FAINT, linewidth=1, zorder=1)
        for one in there:
            _dot(axis, one, place)
        ours, best = found.get(case.name, form, "streamce", threads), found.best_rival(case, form, threads)
        if ours and best:
            ratio = best.ns / ours.ns
            slower = "slower: " * (ratio < 1)
            axis.annotate(f"{slower}{ratio:.2g} x {best.contender.name}", (1.01, place), va="center", fontsize=9,
                          xycoords=("axes fraction", "data"), fontweight="bold" if slower else "normal")  # fmt: skip
    axis.annotate("speed over the best rival", (1.01, -0.8), xycoords=("axes fraction", "data"), fontsize=8,
                  color="#555555")  # fmt: skip
    axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _dot(axis: Any, one: Measurement, place: int) -> None:
    name, at = one.contender.name, (one.ns, place)
    if name == READING:
        axis.plot(*at, "|", color=INK, markersize=14, markeredgewidth=1.5, zorder=2)
    elif one.contender.ours:
        axis.plot(*at, "o", color=OURS_COLOUR, markersize=11, zorder=4)
        axis.annotate(shown(one.ns), at, (0, 9), textcoords="offset points", ha="center", color=OURS_COLOUR,
                      fontweight="bold", fontsize=9)  # fmt: skip
    else:
        marker, colour = STYLES[name]
        axis.plot(*at, marker, color=colour, markersize=8, markeredgecolor="white", zorder=3)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    def handle(marker: str, colour: str, name: str, size: int) -> Any:
        return Line2D([], [], marker=marker, color=colour, linestyle="", label=name, markersize=size)

    handles = [handle("o", OURS_COLOUR, "streamce", 10)]
    handles += [handle(marker, colour, name, 7) for name, (marker, colour) in STYLES.items()]
    handles += [handle("|", INK, "reading the memory once", 12)]
    figure.legend(handles=handles, loc="upper center", ncols=(len(handles) + 1) // 2, frameon=False, fontsize=9,
                  columnspacing=1.5, handletextpad=0.1)  # fmt: skip
