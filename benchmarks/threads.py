"""How many events a second come through where several threads emit, and how fair that is.

How this can mislead: where Python has a global lock, more threads cannot do more; what is seen is
what a library loses to handing its own locks over. A library that holds no lock loses nothing, and
orders nothing either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.compare import Effort, Question
from benchmarks.figures import Case, Figure
from benchmarks.rivals import BareLoop, Handler, NotOfferedError, Rival, expect
from benchmarks.timing import NoFigureError, Sample

_THREADS: Final = (1, 2, 4, 8)
_BATCH: Final = 16  # emits between two looks at whether the time is over
_SHARED: Final = "on one emitter"
_APART: Final = "on one emitter each"

_RATE: Final = Figure("events of all threads", "1/s", more_is_better=True)
_FAIR: Final = Figure(
    "events of the unluckiest thread", "% of the luckiest's", more_is_better=True, has_ratio=False
)

QUESTION: Final = Question(
    name="threads",
    module=__name__,
    title="events by the number of threads that emit, with one listener an emitter",
    legend=(
        "not offered: it is not said to be safe when several threads use one emitter\n"
        "needs a loop: it emits on an event loop, so on one thread"
    ),
    cases=tuple(
        Case(f"{group}: {count}", (_RATE, _FAIR), group, "threads")
        for group in (_SHARED, _APART)
        for count in _THREADS
    ),
    full=Effort(rounds=9, seconds=0.5, most_seconds=20),
    quick=Effort(rounds=2, seconds=0.1, most_seconds=1),
)


def prepare(rival: Rival, case: str, seconds: float) -> Sample:
    """Return what has threads emit for so long."""
    group, _, number = case.partition(": ")
    if rival.awaited:
        raise NoFigureError("needs a loop")
    # A list that nobody changes may be looped over by any number of threads.
    if group == _SHARED and not (rival.thread_safe or isinstance(rival, BareLoop)):
        raise NotOfferedError("threads")
    count = int(number)
    emitters = [rival.make()] * count if group == _SHARED else [rival.make() for _ in range(count)]
    handled = [0] * count
    for emitter in emitters[:1] if group == _SHARED else emitters:
        rival.on(emitter, _counter(handled))

    def sample() -> list[float]:
        before = list(handled)
        emitted, elapsed = emit_from_threads(rival, emitters, seconds)
        heard = [now - then for now, then in zip(handled, before, strict=True)]
        expect(rival, "events that were handled", heard, emitted)
        return [sum(emitted) / elapsed, 100 * min(emitted) / max(emitted)]

    return sample


def _counter(handled: list[int]) -> Handler:
    """Return a handler that counts the events of each thread.

    No two threads count in the same place, as each handles the events that it emits.
    """

    def count(event: Any) -> None:
        handled[event.number] += 1

    return count


def emit_from_threads(rival: Rival, emitters: list[Any], seconds: float) -> tuple[list[int], float]:
    """Emit from a thread an emitter; return how many events each emitted, and the time it took."""
    stopping = threading.Event()
    started = threading.Barrier(len(emitters) + 1)
    emitted = [0] * len(emitters)
    threads = [
        threading.Thread(
            target=keep_emitting, args=(emit, rival.event(at), emitted, started, stopping)
        )
        for at, emit in enumerate(map(rival.emitter_of, emitters))
    ]
    for thread in threads:
        thread.start()
    started.wait()
    begin = time.perf_counter()
    time.sleep(seconds)
    stopping.set()
    for thread in threads:
        thread.join()
    return emitted, time.perf_counter() - begin


def keep_emitting(
    emit: Callable[[Any], object],
    event: Any,
    emitted: list[int],
    started: threading.Barrier,
    stopping: threading.Event,
) -> None:
    """Emit one event again and again until told to stop; a few times in any case."""
    count = 0
    started.wait()
    while not (count and stopping.is_set()):
        for _ in range(_BATCH):
            emit(event)
        count += _BATCH
    emitted[event.number] = count
