"""What the questions share in the processes that measure."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeAlias

from benchmarks.rivals import AwaitedRival, Emit, Rival

Sample: TypeAlias = Callable[[], Sequence[float]]
"""Measures once; returns a number for each figure of the case."""


class NoFigureError(Exception):
    """There is a reason why there is no figure, which the table then shows."""


@contextmanager
def no_collection() -> Generator[None]:
    """Keep the garbage collector from running at a moment that is nobody's fault."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def events_for(rival: Rival, count: int) -> Sequence[Any]:
    """Return events to emit: one and the same, if the library allows it."""
    if rival.reuses_events:
        return [rival.event(1)] * count
    return [rival.event(number) for number in range(count)]


class Repeated:
    """Something that is done so often that it takes as long as a sample should."""

    def __init__(self, timed: Callable[[int], float], seconds: float) -> None:
        """Find out how often that is, which warms it up.

        `timed` does it so many times, and returns the seconds that took.
        """
        self._timed = timed
        self._first: float | None = None
        count = 1
        while (elapsed := timed(count)) < seconds / 4:
            count *= 2
        self._count = max(1, round(count * seconds / elapsed))
        if elapsed > seconds:
            # It is so slow that warming it up again would only take long.
            self._first = elapsed / count

    def seconds_each(self) -> float:
        """Return how long it takes to do it once."""
        first, self._first = self._first, None
        return first or self._timed(self._count) / self._count


def time_emits(rival: Rival, emit: Emit, events: Iterable[Any]) -> float:
    """Return how many seconds it takes to emit all events, without collecting garbage."""
    with no_collection():
        if isinstance(rival, AwaitedRival):
            return rival.run(_time_awaited(emit, events))
        return _time(emit, events)


def _time(emit: Emit, events: Iterable[Any]) -> float:
    started = perf_counter()
    for event in events:
        emit(event)
    return perf_counter() - started


async def _time_awaited(emit: Emit, events: Iterable[Any]) -> float:
    started = perf_counter()
    for event in events:
        await emit(event)
    return perf_counter() - started
