"""What listeners cost: coming and going, being many, coming late, and the memory of it all.

How this can mislead: memory is what Python's allocators hand out (`tracemalloc`), not what the
system gives to the process; of a handler itself nothing is counted.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any, Final

from benchmarks.compare import Effort, Question
from benchmarks.figures import Case, Figure
from benchmarks.rivals import Counted, Handler, NotOfferedError, Rival, expect
from benchmarks.timing import NoFigureError, Repeated, Sample, no_collection

_OTHERS: Final = (10, 1_000, 100_000)
_LONGEST: Final = 500  # times as long as a sample: what registering the others may take
_MANY: Final = 500  # of which a mean is taken, where memory is concerned

_PAIR: Final = Figure("time of on() and off()", "ns")
_TIME: Final = Figure("time", "ns")
_BYTES: Final = Figure("memory", "bytes")

_GROUP: Final = "with so many others registered"
_ONCE: Final = "once() and the event for it"
_LATE: Final = "on() with a replay, and off()"
_MAKE: Final = "making an emitter"
_READY: Final = "making an emitter, a first listener and event"
_EMITTER: Final = "an emitter"
_LISTENER: Final = "a listener"

QUESTION: Final = Question(
    name="listen",
    module=__name__,
    title="what listeners cost",
    legend=(
        "too slow: it takes more than ten seconds to register so many (quick: two)\n"
        "has a replay: that, and no event to come, is what once() gets there"
    ),
    cases=(
        *(Case(f"{_GROUP}: {count:,}", (_PAIR,), _GROUP, "others") for count in _OTHERS),
        *(Case(key, (_TIME,), "one at a time") for key in (_ONCE, _LATE, _MAKE, _READY)),
        *(Case(key, (_BYTES,), "bytes") for key in (_EMITTER, _LISTENER)),
    ),
    full=Effort(rounds=15, seconds=0.02, most_seconds=10),
    quick=Effort(rounds=3, seconds=0.004, most_seconds=0.5),
)


def prepare(rival: Rival, case: str, seconds: float) -> Sample:
    """Return what measures a case."""
    if case == _EMITTER:
        return lambda: [_bytes_of_emitter(rival)]
    if case == _LISTENER:
        return lambda: [_bytes_of_listener(rival)]
    makers = {_ONCE: _once, _LATE: _late, _MAKE: _make, _READY: _ready}
    if case in makers:
        timed = makers[case](rival)
    else:
        count = int(case.removeprefix(f"{_GROUP}: ").replace(",", ""))
        timed = _among(rival, count, seconds * _LONGEST)
    repeated = Repeated(timed, seconds)
    return lambda: [repeated.seconds_each() * 1e9]


def _handler(number: int) -> Handler:
    """Return a function that is lighter than a listener that counts."""

    def handler(_event: Any) -> None: ...

    handler.__name__ = f"other_{number}"
    return handler


def _among(rival: Rival, count: int, most_seconds: float) -> Callable[[int], float]:
    """Time a listener that comes and goes, while others stay."""
    emitter = rival.make()
    counted = Counted(count)
    handler = counted.handler
    on, off = rival.on, rival.off
    off(emitter, on(emitter, handler))  # if it cannot, there is no need to prepare anything
    deadline = monotonic() + most_seconds
    for number in range(count):
        if monotonic() > deadline:
            raise NoFigureError("too slow")
        on(emitter, _handler(number))
    _hears_while_registered(rival, emitter, counted)

    def timed(pairs: int) -> float:
        with no_collection():
            started = perf_counter()
            for _ in range(pairs):
                off(emitter, on(emitter, handler))
            return perf_counter() - started

    return timed


def _hears_while_registered(rival: Rival, emitter: Any, counted: Counted) -> None:
    """Raise unless a listener hears what is emitted between its on() and off(), and no more.

    A library that has its listeners frozen by the first event was checked without them.
    """
    if rival.freezes:
        return
    token = rival.on(emitter, counted.handler)
    before = counted.seen()[0]
    event = rival.event(1)
    rival.emit(emitter, event)
    expect(rival, "calls while registered", counted.seen()[0] - before, 1)
    expect(rival, "what was sent", counted.seen()[1] is event, wanted=True)
    rival.off(emitter, token)
    rival.emit(emitter, rival.event(2))
    expect(rival, "calls in all", counted.seen()[0] - before, 1)


def _once(rival: Rival) -> Callable[[int], float]:
    """Time a once-listener from its registration to the end of its event."""
    emitter = rival.make()
    counted = Counted(0)
    handler, event = counted.handler, rival.event(1)
    once, emit = rival.once, rival.emitter_of(emitter)
    if rival.replays:
        raise NoFigureError("has a replay")

    def timed(times: int) -> float:
        before = counted.seen()[0]
        with no_collection():
            started = perf_counter()
            for _ in range(times):
                once(emitter, handler)
                emit(event)
            elapsed = perf_counter() - started
        emit(event)
        expect(rival, "calls", counted.seen()[0] - before, times)
        return elapsed

    return timed


def _late(rival: Rival) -> Callable[[int], float]:
    """Time a listener that comes after the event, gets it, and goes."""
    if not rival.replays:
        raise NotOfferedError("replay")
    emitter = rival.make()
    counted = Counted(0)
    handler, event = counted.handler, rival.event(1)
    on, off = rival.on, rival.off
    rival.emit(emitter, event)

    def timed(times: int) -> float:
        before = counted.seen()[0]
        with no_collection():
            started = perf_counter()
            for _ in range(times):
                off(emitter, on(emitter, handler))
            elapsed = perf_counter() - started
        expect(rival, "replays", counted.seen()[0] - before, times)
        expect(rival, "what was sent", counted.seen()[1] is event, wanted=True)
        return elapsed

    return timed


def _make(rival: Rival) -> Callable[[int], float]:
    """Time an emitter from nothing to nothing."""
    make = rival.make

    def timed(times: int) -> float:
        with no_collection():
            started = perf_counter()
            for _ in range(times):
                make()
            return perf_counter() - started

    return timed


def _ready(rival: Rival) -> Callable[[int], float]:
    """Time an emitter until it has delivered something, as some make only then what they need."""
    counted = Counted(0)
    handler, event = counted.handler, rival.event(1)
    make, on, emitter_of = rival.make, rival.on, rival.emitter_of
    if rival.awaited:
        raise NoFigureError("needs a loop")

    def timed(times: int) -> float:
        before = counted.seen()[0]
        with no_collection():
            started = perf_counter()
            for _ in range(times):
                emitter = make()
                on(emitter, handler)
                emitter_of(emitter)(event)
            elapsed = perf_counter() - started
        greetings = times if rival.starts_with_nothing else 0
        expect(rival, "calls", counted.seen()[0] - before, times + greetings)
        return elapsed

    return timed


def _bytes_of_emitter(rival: Rival) -> float:
    """Return how much memory an emitter without listeners takes, by the mean of many."""
    kept = [rival.make()]  # the first one makes what all of them share
    return _traced(lambda: kept.extend(rival.make() for _ in range(_MANY))) / _MANY


def _bytes_of_listener(rival: Rival) -> float:
    """Return how much memory a registration takes, by the mean of many at one emitter."""
    emitter = rival.make()
    handlers = [_handler(number) for number in range(_MANY + 1)]
    kept = [rival.on(emitter, handlers[0])]

    def register() -> None:
        kept.extend(rival.on(emitter, handler) for handler in handlers[1:])

    return _traced(register) / _MANY


def _traced(action: Callable[[], object]) -> float:
    """Return how many bytes are in use after an action that were not before it."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        gc.collect()
        return float(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
