"""Every schedule of small programs, up to a stated bound (see README.md beside this file)."""

from __future__ import annotations

import pytest
import schedules
from explorer import Points, explore
from schedules import Emitter, Explored

from eventemitter import EventEmitter, ReplayEventEmitter

SCENARIOS = [
    each
    for each in vars(schedules).values()
    if isinstance(each, type) and issubclass(each, Explored) and each is not Explored
]
# Between the look-up of a handler and its call no lock is taken and no line begins. At single
# instructions another thread's off() can return there, which nobody can tell from a call that had
# begun before. So what asserts G8 between threads is walked at locks and lines.
WITHOUT_INSTRUCTIONS = {schedules.OffOfOneToComeAgainstEmit, schedules.RemoveAllAgainst}
# Those whose whole tree of lock operations is below 60,000 schedules.
UNBOUNDED = {
    schedules.OnAgainstEmit,
    schedules.TwoEmitsInOneOrder,
    schedules.OnceAgainstTwoEmits,
    schedules.OnceAgainstEmitAgainstOff,
    schedules.OffOfOneToComeAgainstEmit,
    schedules.EmitNowaitAgainstEmit,
    schedules.RemoveAllAgainst,
    schedules.RemoveAllAgainstOn,
    schedules.RemoveAllAgainstOff,
}
THREE_THREADS = {
    schedules.OnDuringTwoEmits,
    schedules.ThreeEmittersInACycle,
    schedules.ForgetAgainstOn,
}

both_kinds = pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def walk(scenario: type[Explored], kind: Emitter, points: Points, preemptions: int | None) -> None:
    """Walk the whole tree."""
    result = explore(lambda: scenario(kind), points=points, preemptions=preemptions)
    assert result.exhausted
    assert result.schedules > 1


@both_kinds
@every_scenario
def test_guarantees_hold_for_every_order_of_lock_operations(
    scenario: type[Explored], kind: Emitter
) -> None:
    """With at most three preemptions (two of three threads), at every operation on a lock."""
    walk(scenario, kind, "locks", 2 if scenario in THREE_THREADS else 3)


@both_kinds
@every_scenario
def test_guarantees_hold_for_every_order_of_lines(scenario: type[Explored], kind: Emitter) -> None:
    """With at most one preemption, at every line of the package."""
    walk(scenario, kind, "lines", 1)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, marks=[pytest.mark.deep] * (each in THREE_THREADS))
        for each in SCENARIOS
        if each not in WITHOUT_INSTRUCTIONS
    ],
)
def test_guarantees_hold_for_every_order_of_instructions(scenario: type[Explored]) -> None:
    """With at most one preemption, at every bytecode instruction of the package."""
    walk(scenario, ReplayEventEmitter, "instructions", 1)


@pytest.mark.deep
@pytest.mark.timeout(900)
@both_kinds
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each in UNBOUNDED])
def test_guarantees_hold_for_every_order_of_lock_operations_without_bound(
    scenario: type[Explored], kind: Emitter
) -> None:
    """With any number of preemptions, at every operation on a lock."""
    walk(scenario, kind, "locks", None)


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each not in THREE_THREADS])
def test_guarantees_hold_for_every_order_of_lines_with_two_preemptions(
    scenario: type[Explored],
) -> None:
    """With at most two preemptions, at every line of the package."""
    walk(scenario, ReplayEventEmitter, "lines", 2)
