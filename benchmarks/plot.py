"""Draw what a comparison found, as SVG; the same numbers always give the same file.

Only who asks for a drawing imports this: it needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.figures import Case, Figure, Results, columns, label, title
from benchmarks.rivals import RIVALS, BareLoop, Ours, OursReplaying

# Its types are not complete enough for a strict check.
_mpl: Any = mpl

_STYLE: Final[Any] = {
    "svg.hashsalt": "eventemitter",  # otherwise the ids in the file are random
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_SPECIAL: Final = {Ours.name: "#c1121f", OursReplaying.name: "#f4872a", BareLoop.name: "#444444"}
_PALETTE: Final = (
    *("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"),
    *("#bcbd22", "#17becf", "#003f5c", "#b8860b", "#00a676"),
)
# The same library looks the same in all charts.
_COLOURS: Final = dict(zip(RIVALS, cycle(_PALETTE), strict=False)) | _SPECIAL
_MARKS: Final = dict(zip(RIVALS, cycle("osv^DPX<>"), strict=False))
_MOST_TIMES_OURS: Final = 50


def draw_all(found: Mapping[str, object], directory: Path) -> None:
    """Draw each comparison into a file of its name."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, results in found.items():
        if isinstance(results, Results):
            draw(results, directory / f"{name}.svg")


def draw(results: Results, file: Path) -> None:
    """Draw a chart for each table of a comparison: lines over numbers, bars over words."""
    charts = columns(results.cases)
    heights = [_height(results, cases) for cases in charts.values()]
    with _mpl.rc_context(_STYLE):
        canvas: Any = Canvas(figsize=(9, sum(heights)), layout="constrained")
        grid = canvas.subplots(len(charts), 1, squeeze=False, height_ratios=heights)
        for axes, ((group, figure), cases) in zip(grid.flat, charts.items(), strict=True):
            (_lines if _numbers(cases) else _bars)(axes, results, cases, figure)
            axes.set_title(title(group, figure), loc="left")
        canvas.savefig(file, format="svg", metadata={"Date": None})


def _numbers(cases: Sequence[Case]) -> bool:
    return len(cases) > 1 and all(label(case).replace(",", "").isdigit() for case in cases)


def _height(results: Results, cases: Sequence[Case]) -> float:
    """Return how many inches a chart needs."""
    return 4.5 if _numbers(cases) else 1 + 0.15 * len(cases) * len(results.libraries)


def _lines(axes: Any, results: Results, cases: Sequence[Case], figure: Figure) -> None:
    for library in results.libraries:
        cells = [results.cell(case, library, figure) for case in cases]
        points = [(at, cell) for at, cell in enumerate(cells) if cell.samples]
        if not points:
            continue
        ours = library in {Ours.name, OursReplaying.name}
        axes.errorbar(
            [at for at, _ in points],
            [cell.median for _, cell in points],
            [
                [cell.median - cell.quartiles[0] for _, cell in points],
                [cell.quartiles[1] - cell.median for _, cell in points],
            ],
            label=library,
            color=_COLOURS[library],
            marker=_MARKS[library],
            markersize=4,
            linewidth=2.5 if ours else 1,
            linestyle="--" if library == BareLoop.name else "-",
            zorder=3 if ours else 2,
        )
    axes.set_xticks(range(len(cases)), [label(case) for case in cases])
    axes.set_xlabel(cases[0].counted)
    if figure.has_ratio:
        axes.set_yscale("log")
        _leave_out_the_slowest(axes, results, cases, figure)
    axes.set_ylabel(figure.unit)
    axes.grid(axis="y", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _leave_out_the_slowest(
    axes: Any, results: Results, cases: Sequence[Case], figure: Figure
) -> None:
    """Keep one library that is thousands of times as slow from making the others one line."""
    ours = [results.cell(case, Ours.name, figure) for case in cases]
    medians = [cell.median for cell in ours if cell.samples]
    if medians and not figure.more_is_better:
        axes.set_ylim(top=min(axes.get_ylim()[1], _MOST_TIMES_OURS * max(medians)))


def _bars(axes: Any, results: Results, cases: Sequence[Case], figure: Figure) -> None:
    names: list[str] = []
    for case in cases:
        for library in results.libraries:
            cell = results.cell(case, library, figure)
            if not cell.samples:
                continue
            of_case = f"{label(case)}: " if len(cases) > 1 else ""
            names.append(f"{of_case}{library}")
            axes.barh(len(names) - 1, cell.median, color=_COLOURS[library])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params("y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(figure.unit)
    axes.grid(axis="x", alpha=0.3)
