"""What a comparison found: medians, their spread, ratios to ours, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.rivals import RIVALS, Ours, OursReplaying

NOT_OFFERED: Final = "not offered"


@dataclass(frozen=True)
class Figure:
    """One number that a measurement yields."""

    name: str
    unit: str
    more_is_better: bool = False
    has_ratio: bool = True


@dataclass(frozen=True)
class Case:
    """What is measured of every library in turn; `key` is unique in its question."""

    key: str
    figures: tuple[Figure, ...]
    group: str = ""
    """Cases of one group share a table."""
    counted: str = ""
    """What there are so many of, where the label is a number."""


@dataclass(frozen=True)
class Cell:
    """What one library made of one figure of one case."""

    samples: tuple[float, ...] = ()
    why_not: str = ""
    """Why there is no number."""

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """What a quarter of the samples does not reach, and what a quarter exceeds."""
        if len(self.samples) < 2:  # noqa: PLR2004 - one has no spread
            return self.median, self.median
        first, _, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return first, third

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a part of the median."""
        first, third = self.quartiles
        return (third - first) / 2 / self.median if self.median else 0.0


def ours_for(library: str) -> str:
    """Return which of ours a library is compared with: replaying ones with the replaying one."""
    return OursReplaying.name if RIVALS[library].replays else Ours.name


def ratio(figure: Figure, theirs: Cell, ours: Cell) -> float | None:
    """Return how many times as good ours is, or None where there is nothing to compare."""
    if not (figure.has_ratio and theirs.samples and ours.samples):
        return None
    if figure.more_is_better:
        theirs, ours = ours, theirs
    return theirs.median / ours.median if ours.median else None


class Results:
    """The cells of a question, by case, library and figure."""

    def __init__(self, cases: Sequence[Case], libraries: Sequence[str]) -> None:
        """Have no cell yet."""
        self.cases = cases
        self.libraries = libraries
        self._samples: dict[tuple[str, str], list[Sequence[float]]] = {}
        self._why_not: dict[tuple[str, str], str] = {}

    def add(self, case: Case, library: str, sample: Sequence[float]) -> None:
        """Take the numbers of one round, one a figure."""
        self._samples.setdefault((case.key, library), []).append(sample)

    def leave_out(self, case: Case, library: str, why: str) -> None:
        """Have no number, whatever the rounds before said."""
        self._why_not[case.key, library] = why

    def left_out(self, case: Case, library: str) -> bool:
        """Tell whether there will be no number."""
        return (case.key, library) in self._why_not

    def cell(self, case: Case, library: str, figure: Figure) -> Cell:
        """Return what is known."""
        why = self._why_not.get((case.key, library), "")
        samples = self._samples.get((case.key, library), [])
        if why or not samples:
            return Cell(why_not=why or "not measured")
        index = case.figures.index(figure)
        return Cell(tuple(sample[index] for sample in samples))

    def ratio(self, case: Case, library: str, figure: Figure) -> float | None:
        """Return how many times as good as this library ours is."""
        theirs = self.cell(case, library, figure)
        ours = self.cell(case, ours_for(library), figure)
        return ratio(figure, theirs, ours)

    def failures(self) -> list[str]:
        """Return what should have yielded a number, and did not."""
        return [
            f"{library}, {key}: {why}"
            for (key, library), why in self._why_not.items()
            if why.startswith("failed")
        ]

    def as_json(self) -> list[dict[str, Any]]:
        """Return one object a cell, for machines to read."""
        return [
            self._cell_as_json(case, library, figure)
            for case in self.cases
            for figure in case.figures
            for library in self.libraries
        ]

    def _cell_as_json(self, case: Case, library: str, figure: Figure) -> dict[str, Any]:
        cell = self.cell(case, library, figure)
        named = {"case": case.key, "figure": figure.name, "unit": figure.unit, "library": library}
        if cell.why_not:
            return named | {"why_not": cell.why_not}
        return named | {
            "median": cell.median,
            "quartiles": cell.quartiles,
            "ratio": self.ratio(case, library, figure),
            "compared_with": ours_for(library),
            "samples": cell.samples,
        }


# Tables


def columns(cases: Iterable[Case]) -> dict[tuple[str, Figure], list[Case]]:
    """Return which cases stand beside each other, by group and figure."""
    found: dict[tuple[str, Figure], list[Case]] = {}
    for case in cases:
        for figure in case.figures:
            found.setdefault((case.group, figure), []).append(case)
    return found


def title(group: str, figure: Figure) -> str:
    """Return what stands above a table."""
    return ", ".join(filter(None, (group, figure.name, figure.unit)))


def label(case: Case) -> str:
    """Return what stands above a column, where the group has been said already."""
    return case.key.removeprefix(f"{case.group}: ")


def tables(results: Results) -> Iterable[str]:
    """Return a table for each figure of each group of cases: a line a library, a column a case."""
    for (group, figure), cases in columns(results.cases).items():
        yield f"{title(group, figure)}\n{_table(results, cases, figure)}"


def _table(results: Results, cases: Sequence[Case], figure: Figure) -> str:
    rows = [[cases[0].counted, *map(label, cases)]]
    rows += [
        [library, *(_text(results, case, library, figure) for case in cases)]
        for library in results.libraries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _text(results: Results, case: Case, library: str, figure: Figure) -> str:
    cell = results.cell(case, library, figure)
    if cell.why_not:
        return "failed" if cell.why_not.startswith("failed") else cell.why_not
    ratio = results.ratio(case, library, figure)
    times = "" if ratio is None else f"{_short(ratio)}x".rjust(7)
    return f"{_short(cell.median)} ±{cell.spread:3.0%}{times}"


def _short(number: float) -> str:
    """Return three digits of a number, or all of its whole part."""
    digits = 2 if number < 10 else 1 if number < 100 else 0  # noqa: PLR2004
    return f"{number:,.{digits}f}"
