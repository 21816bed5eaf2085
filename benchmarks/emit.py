"""How long one emit takes.

How this can mislead: the handlers do next to nothing, and all is in the cache of one core. In a
program whose handlers work, the differences shrink to what they are in nanoseconds.
"""

from __future__ import annotations

from typing import Final

from benchmarks.compare import Effort, Question
from benchmarks.figures import Case, Figure
from benchmarks.rivals import Counted, Rival, expect
from benchmarks.timing import Repeated, Sample, events_for, time_emits

_COUNTS: Final = (0, 1, 3, 10, 100, 1000)
_TIME: Final = Figure("time of an emit", "ns")

QUESTION: Final = Question(
    name="emit",
    module=__name__,
    title="nanoseconds an emit takes, by the number of listeners",
    legend="aiosignal and bubus are awaited on a running event loop; bubus gets new events",
    cases=tuple(Case(f"{count:,}", (_TIME,), counted="listeners") for count in _COUNTS),
    full=Effort(rounds=25, seconds=0.02, most_seconds=20),
    quick=Effort(rounds=5, seconds=0.005, most_seconds=1),
)


def prepare(rival: Rival, case: str, seconds: float) -> Sample:
    """Register so many listeners; return what emits to them, and counts their calls."""
    emitter = rival.make()
    listeners = [Counted(number) for number in range(int(case.replace(",", "")))]
    for listener in listeners:
        rival.on(emitter, listener.handler)
    emit = rival.emitter_of(emitter)

    def timed(count: int) -> float:
        before = [listener.seen()[0] for listener in listeners]
        events = events_for(rival, count)
        elapsed = time_emits(rival, emit, events)
        calls = [listener.seen()[0] for listener in listeners]
        expect(rival, "calls", calls, [each + count for each in before])
        last = events[-1]
        for listener in listeners:
            expect(rival, "what was sent", listener.seen()[1] is last, wanted=True)
        return elapsed

    repeated = Repeated(timed, seconds)
    return lambda: [repeated.seconds_each() * 1e9]
