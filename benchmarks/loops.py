"""How long an event takes to get to a coroutine on an event loop.

How this can mislead: the loop has nothing else to do. In a program whose loop is busy, what counts
is what keeps it busy.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, TypeAlias

from benchmarks.compare import Effort, Question
from benchmarks.figures import Case, Figure
from benchmarks.rivals import Emit, NotOfferedError, Rival, expect
from benchmarks.timing import NoFigureError, Sample

_FIGURES: Final = (Figure("median time", "µs"), Figure("99th percentile of the time", "µs"))
_OWN: Final = "from its own loop"
_ELSEWHERE: Final = "from another thread"
_AWAIT: Final = "awaiting the next event"
_REST: Final = 0.0003  # seconds in which the loop goes to sleep before another thread emits
_PATIENCE: Final = 30.0  # seconds after which an event is taken for lost

_A_SECOND: Final = 4_000  # events a sample, for each second that it should take
_FEW: Final = 5  # events that are emitted in any case

QUESTION: Final = Question(
    name="asyncio",
    module=__name__,
    title="time until a coroutine handler runs, and until who awaits an event has it",
    legend=(
        "bare loop: a task; from another thread by run_coroutine_threadsafe; an asyncio.Event\n"
        "blinker, aiosignal: the handler runs in the task that emits, which awaits it\n"
        "has a replay: there is nothing to await"
    ),
    cases=tuple(Case(key, _FIGURES) for key in (_OWN, _ELSEWHERE, _AWAIT)),
    full=Effort(rounds=9, seconds=0.5, most_seconds=20),
    quick=Effort(rounds=2, seconds=0.05, most_seconds=0.5),
)


def prepare(rival: Rival, case: str, seconds: float) -> Sample:
    """Return what measures a case on a loop of its own."""
    measure = {_OWN: from_own_loop, _ELSEWHERE: from_another_thread, _AWAIT: awaited}[case]
    count = max(_FEW, round(_A_SECOND * seconds))
    asyncio.run(_with_emitter(measure, rival, _FEW))  # warms it up, or says that it is not offered

    def sample() -> Sequence[float]:
        times = sorted(asyncio.run(_with_emitter(measure, rival, count)))
        percentile_99 = times[math.ceil(0.99 * len(times)) - 1]
        return [statistics.median(times) * 1e6, percentile_99 * 1e6]

    return sample


class _Arrivals:
    """What a coroutine handler was given, and how long after it was sent."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self.sent = 0.0
        self.seconds: list[float] = []
        self.events: list[Any] = []
        self.handled = threading.Event()
        """Set after each event, for a thread that waits."""

    def take(self, event: Any) -> None:
        """Take note of an event."""
        self.seconds.append(perf_counter() - self.sent)
        self.events.append(event)
        self.handled.set()


Measure: TypeAlias = Callable[[Rival, Any, int], Awaitable[list[float]]]


async def _with_emitter(measure: Measure, rival: Rival, count: int) -> list[float]:
    try:
        emitter = await rival.make_on_loop()
    except NotOfferedError:
        if measure is not awaited:
            raise
        emitter = rival.make()  # coroutines cannot listen, but may wait
    try:
        async with asyncio.timeout(_PATIENCE):
            return await measure(rival, emitter, count)
    finally:
        await rival.end_on_loop(emitter)


def _listen(rival: Rival, emitter: Any) -> _Arrivals:
    arrivals = _Arrivals()

    async def handler(event: Any) -> None:
        arrivals.take(event)

    rival.on_coroutine(emitter, handler)
    return arrivals


async def from_own_loop(rival: Rival, emitter: Any, count: int) -> list[float]:
    """Return how long each event took to its handler, emitted on the handler's loop."""
    arrivals = _listen(rival, emitter)
    emit = rival.emitter_on_loop(emitter)
    events = [rival.event(number) for number in range(count)]
    for number, event in enumerate(events):
        arrivals.sent = perf_counter()
        emitting = emit(event)
        if inspect.isawaitable(emitting):
            await emitting
        while len(arrivals.events) <= number:  # noqa: ASYNC110 - an event would take time itself
            await asyncio.sleep(0)
    expect(rival, "what was sent", arrivals.events == events, wanted=True)
    return arrivals.seconds


async def from_another_thread(rival: Rival, emitter: Any, count: int) -> list[float]:
    """Return how long each event took to its handler, emitted while the handler's loop slept."""
    arrivals = _listen(rival, emitter)
    emit = rival.emitter_elsewhere(emitter)
    events = [rival.event(number) for number in range(count)]
    await asyncio.to_thread(_send, emit, events, arrivals)
    expect(rival, "what was sent", arrivals.events == events, wanted=True)
    return arrivals.seconds


def _send(emit: Emit, events: Sequence[Any], arrivals: _Arrivals) -> None:
    for event in events:
        time.sleep(_REST)
        arrivals.handled.clear()
        arrivals.sent = perf_counter()
        emit(event)
        if not arrivals.handled.wait(_PATIENCE):
            break  # what arrived is less than what was sent


async def awaited(rival: Rival, emitter: Any, count: int) -> list[float]:
    """Return how long it took each time from arming a wait to having the event."""
    if rival.replays:
        raise NoFigureError("has a replay")
    emit = rival.emitter_on_loop(emitter)
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    for number in range(count):
        event = rival.event(number)
        started = perf_counter()
        following = rival.next_event(emitter)
        loop.call_soon(emit, event)
        got = await following
        seconds.append(perf_counter() - started)
        expect(rival, "what was sent", got is event, wanted=True)
    return seconds
