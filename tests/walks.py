"""How far each program of `schedules.py` is walked; as a script, prints the table of README.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import schedules
from explorer import Points, explore
from schedules import Emitter, Explored

from eventemitter import EventEmitter, ReplayEventEmitter

Program = type[Explored]


@dataclass(frozen=True)
class Walk:
    """The bound up to which the schedules of some programs are walked."""

    points: Points
    preemptions: int | None
    programs: Sequence[Program]
    kinds: Sequence[Emitter] = (EventEmitter, ReplayEventEmitter)
    deep: bool = False

    @property
    def bound(self) -> str:
        """Name the bound."""
        return f"{self.points}, {'any' if self.preemptions is None else self.preemptions}"

    def count(self, program: Program, kind: Emitter) -> int:
        """Walk the whole tree of a program, and return how many schedules it has."""
        result = explore(lambda: program(kind), points=self.points, preemptions=self.preemptions)
        assert result.exhausted
        return result.schedules


PROGRAMS: list[Program] = [
    each
    for each in vars(schedules).values()
    if isinstance(each, type) and issubclass(each, Explored) and each is not Explored
]


def all_but(*programs: Program) -> list[Program]:
    """Return the other programs."""
    return [each for each in PROGRAMS if each not in programs]


# Those of three threads have the largest trees.
RING = schedules.ThreeEmittersInACycle
TRIOS = [
    schedules.OffAndWaitAgainstOffOfTheNext,
    schedules.OnDuringTwoEmits,
    schedules.ForgetAgainstOn,
    schedules.StreamCloseAgainstEmitAgainstReader,
]
# Those of two threads that have about 100,000 schedules with two preemptions at lines.
LONG = [
    schedules.ExpectAgainstTwoEmits,
    schedules.StreamOfTwoTypes,
    schedules.StreamOfTwoTypesDuringTwoEmits,
    schedules.StreamCloseAgainstReader,
    schedules.TwoEmittersThatFollowEachOther,
]

# Others that have 50,000 to 90,000, and whose guarantees shorter ones walk as far.
HALF_AS_LONG = [
    schedules.ExpectAgainstEmitAgainstCancel,
    schedules.OverflowAgainstTwoEmits,
    schedules.TwoHandlersThatRemoveEachOther,
    schedules.WaitForTurnAgainstWaitForHandler,
    schedules.ReplayThatRemovesItself,
    schedules.ExpectAgainstEmitAgainstOff,
    schedules.StreamAgainstTwoEmits,
]

WALKS = [
    Walk("locks", 2, LONG),
    Walk("locks", 2, [RING, *TRIOS], deep=True),
    Walk("locks", 3, all_but(RING, *TRIOS, *LONG)),
    Walk("locks", 3, [*TRIOS, *LONG], kinds=[ReplayEventEmitter], deep=True),
    Walk(
        "locks",
        None,
        [
            schedules.OnAgainstEmit,
            schedules.TwoEmitsInOneOrder,
            schedules.ReplayThatWaitsForAnotherThread,
            schedules.OnceAgainstEmitAgainstOff,
            schedules.OffOfOneToComeAgainstEmit,
            schedules.OnDuringTwoEmitsOfOneThread,
            schedules.EmitNowaitAgainstEmit,
            schedules.ForgetAgainstEmit,
            schedules.RemoveAllAgainst,
            schedules.RemoveAllAgainstOn,
            schedules.RemoveAllAgainstOff,
            schedules.ExpectAgainstEmit,
            schedules.ExpectAgainstEmitAgainstCancel,
            schedules.ExpectAgainstEmitAgainstOff,
            schedules.StreamAgainstTwoEmits,
            schedules.FollowAgainstEmit,
        ],
        deep=True,
    ),
    Walk(
        "locks",
        None,
        [
            schedules.TwoEmitsAgainstOnAndOff,
            schedules.ReplayThatRemovesItself,
            schedules.ForgetAgainstOn,
        ],
        kinds=[EventEmitter],
        deep=True,
    ),
    Walk("lines", 1, all_but(RING, *TRIOS, *LONG)),
    Walk("lines", 1, [RING, *TRIOS, *LONG], deep=True),
    Walk(
        "lines",
        2,
        all_but(RING, *TRIOS, *LONG, *HALF_AS_LONG),
        kinds=[ReplayEventEmitter],
        deep=True,
    ),
    Walk("lines", 3, [schedules.ForgetAgainstEmit], kinds=[EventEmitter], deep=True),
    # Between the look-up of a handler and its call no lock is taken and no line begins. At single
    # instructions another thread's off() can return there, which nobody can tell from a call that
    # had begun before. So what asserts G8 between threads is walked at locks and lines.
    Walk(
        "instructions",
        1,
        all_but(
            schedules.OffOfOneToComeAgainstEmit,
            schedules.OffOfOneWithAHeraldAgainstEmit,
            schedules.OffAndWaitAgainstOffOfTheNext,
            schedules.RemoveAllAgainst,
            schedules.StreamCloseAgainstEmitAgainstReader,
        ),
        kinds=[ReplayEventEmitter],
        deep=True,
    ),
]


def table(count: Callable[[Walk, Program, Emitter], int]) -> Iterator[str]:
    """Make the lines of a Markdown table: a row a program, a column a bound.

    The first number is of the plain emitter, the second of the replaying one. What only the deep
    part walks is in italics.
    """
    bounds = list(dict.fromkeys(walk.bound for walk in WALKS))
    yield _row("program", *bounds)
    yield _row("---", *("---:" for _ in bounds))
    for program in PROGRAMS:
        cells = dict.fromkeys(bounds, "")
        for walk in WALKS:
            if program in walk.programs:
                cell = " / ".join(
                    str(count(walk, program, kind)) if kind in walk.kinds else "-"
                    for kind in (EventEmitter, ReplayEventEmitter)
                )
                cells[walk.bound] = f"*{cell}*" if walk.deep else cell
        yield _row(program.__name__, *cells.values())


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in table(Walk.count):
        print(line, flush=True)  # noqa: T201
