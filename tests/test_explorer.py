"""The explorer of schedules, tried on programs small enough to count."""

from __future__ import annotations

import dis
import gc
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb
from pathlib import Path
from types import ModuleType
from typing import Any

import explorer
import pytest
from explorer import DeadlockError, Points, ScheduleError, Subject, explore, pause, replay
from support import Ping, assert_idle

from eventemitter import ReplayEventEmitter
from eventemitter._locks import proved

TOY = """\
from threading import Lock, RLock


def two(a):
    a = 1
    b = 2


def three(a):
    a = 1
    b = 2
    c = 3


class Locks:
    def __init__(self):
        self.first = Lock()
        self.second = RLock()

    def forwards(self):
        with self.first:
            with self.second:
                pass

    def backwards(self):
        with self.second:
            with self.first:
                pass

    def forgets(self):
        self.second.acquire()


class Counter:
    n = 0

    def __init__(self):
        self.lock = RLock()

    def in_two_lines(self):
        n = self.n
        self.n = n + 1

    def in_one_line(self):
        self.n = self.n + 1

    def locked(self):
        with self.lock:
            n = self.n
            self.n = n + 1


class Box:
    full = waiting = False

    def __init__(self):
        self.lock = Lock()
        self.gate = Lock()
        self.gate.acquire()

    def put(self):
        with self.lock:
            self.full = True
            waiting = self.waiting
        if waiting:
            self.gate.release()

    def take_late(self):
        with self.lock:
            full = self.full
        with self.lock:
            self.waiting = True
        if not full:
            self.gate.acquire()

    def take(self):
        with self.lock:
            full = self.full
            self.waiting = True
        if not full:
            self.gate.acquire()
"""


@dataclass
class Program:
    """A scenario of parts."""

    threads: Sequence[Callable[[], object]]
    then: Callable[[], object] = lambda: None

    def check(self) -> None:
        """Let the part check."""
        self.then()


@dataclass
class Toy:
    """The toy package and how to explore it."""

    module: ModuleType
    subject: Subject
    forgotten: list[int] = field(default_factory=list[int])


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Return a package that lives in a directory of its own."""
    file = tmp_path / "toy" / "__init__.py"
    file.parent.mkdir()
    file.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "toy", module)

    def stand_ins() -> dict[str, object]:
        return {"toy.Lock": explorer.Lock, "toy.RLock": explorer.RLock}

    forgotten: list[int] = []
    return Toy(
        module,
        Subject(file.parent, stand_ins, lambda: forgotten.append(threading.get_ident())),
        forgotten,
    )


def pauses(count: int) -> None:
    """Come to so many points."""
    for _ in range(count):
        pause()


def within(bound: int, first: int, second: int) -> int:
    """Count the schedules of two threads of so many steps, with at most `bound` preemptions.

    Each thread is cut into pieces, and theirs alternate: all but the last of each ends preempted.
    """
    return sum(
        comb(first - 1, ours - 1) * comb(second - 1, theirs - 1) * (2 if ours == theirs else 1)
        for ours in range(1, first + 1)
        for theirs in range(max(ours - 1, 1), ours + 2)
        if ours + theirs - 2 <= bound
    )


def counter(toy: Toy, method: str) -> Program:
    """Return two threads that count with a method, of which no count may be lost."""
    counter = toy.module.Counter()

    def check() -> None:
        assert counter.n == 2

    return Program([getattr(counter, method)] * 2, check)


def crossing(toy: Toy) -> Program:
    """Return two threads that take two locks in opposite orders."""
    locks = toy.module.Locks()
    return Program([locks.forwards, locks.backwards])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (2, 3), (5, 5)])
def test_two_threads_have_binomially_many_schedules(toy: Toy, first: int, second: int) -> None:
    """Threads of n and m points, so of n + 1 and m + 1 steps, have (n+m+2 over n+1) schedules."""

    def make() -> Program:
        return Program([partial(pauses, first), partial(pauses, second)])

    result = explore(make, points="locks", subject=toy.subject)
    assert result.schedules == comb(first + second + 2, first + 1)
    assert result.exhausted


def test_schedules_are_all_different_and_complete(toy: Toy) -> None:
    """Three threads of two steps have 6!/2!2!2! orders of their steps, each of them run once."""
    orders: list[str] = []

    def make() -> Program:
        steps: list[str] = []

        def thread(name: str) -> None:
            steps.append(name)
            pause()
            steps.append(name)

        return Program([partial(thread, name) for name in "abc"], lambda: add("".join(steps)))

    def add(order: str) -> None:
        orders.append(order)

    assert explore(make, points="locks", subject=toy.subject).schedules == 90
    assert len(orders[1:]) == len(set(orders)) == 90  # the first one warms up


@pytest.mark.parametrize("bound", range(10))
def test_preemptions_are_bounded(toy: Toy, bound: int) -> None:
    """With a bound the schedules are exactly those with no more preemptions."""

    def make() -> Program:
        return Program([partial(pauses, 3), partial(pauses, 4)])

    result = explore(make, points="locks", preemptions=bound, subject=toy.subject)
    assert result.schedules == within(bound, 4, 5)
    assert within(9, 4, 5) == comb(9, 4)


def test_each_line_is_a_point(toy: Toy) -> None:
    """Straight-line code has as many points as lines."""

    def make() -> Program:
        return Program([lambda: toy.module.two(0), lambda: toy.module.three(0)])

    assert explore(make, points="lines", subject=toy.subject).schedules == comb(3 + 4, 3)
    two = explore(make, points="lines", preemptions=2, subject=toy.subject)
    assert two.schedules == within(2, 3, 4)


def test_each_instruction_is_a_point(toy: Toy) -> None:
    """Straight-line code has as many points as instructions, but for the entry of a function."""

    def make() -> Program:
        return Program([lambda: toy.module.two(0), lambda: toy.module.three(0)])

    def length(function: Callable[..., object]) -> int:
        return sum(each.opname != "RESUME" for each in dis.get_instructions(function)) + 1

    result = explore(make, points="instructions", preemptions=1, subject=toy.subject)
    two, three = length(toy.module.two), length(toy.module.three)
    assert within(1, two, three) <= result.schedules <= within(1, two + 1, three + 1)


def test_lock_operations_are_points(toy: Toy) -> None:
    """Before a lock is taken and after it is released other threads may go on."""

    def make() -> Program:
        one, other = explorer.Lock(), explorer.RLock()
        return Program([partial(use, one), partial(use_twice, other)])

    def use(lock: explorer.Lock) -> None:
        with lock:
            pass

    def use_twice(lock: explorer.RLock) -> None:
        with lock, lock:
            pass

    assert explore(make, points="locks", subject=toy.subject).schedules == comb(3 + 5, 3)


def test_a_thread_that_waits_for_a_lock_is_passed_over(toy: Toy) -> None:
    """Waiting takes no preemption, and no schedule lets two threads have one lock."""

    def make() -> Program:
        lock = explorer.Lock()
        inside: list[int] = []

        def thread() -> None:
            with lock:
                inside.append(1)
                pause()
                assert inside == [1]
                inside.pop()

        return Program([thread, thread])

    assert explore(make, points="locks", preemptions=0, subject=toy.subject).schedules == 2
    assert explore(make, points="locks", subject=toy.subject).schedules == count_sections()


def count_sections() -> int:
    """Count the schedules of two threads that come to a lock, take it, release it, and end."""

    def count(first: int, second: int) -> int:
        # How many of the four steps each has done: with two it has the lock.
        if first == second == 4:
            return 1
        total = 0
        if first < 4 and not (first == 1 and second == 2):
            total += count(first + 1, second)
        if second < 4 and not (second == 1 and first == 2):
            total += count(first, second + 1)
        return total

    return count(0, 0)


def test_a_lost_update_is_found_by_lines(toy: Toy) -> None:
    """A thread that looks on one line and acts on the next loses counts, which no lock shows."""
    make = partial(counter, toy, "in_two_lines")
    assert explore(make, points="locks", subject=toy.subject).exhausted
    with pytest.raises(ScheduleError):
        explore(make, points="lines", preemptions=1, subject=toy.subject)


def test_a_lost_update_on_one_line_is_found_by_instructions(toy: Toy) -> None:
    """Lines do not show that `n = n + 1` is more than one step."""
    make = partial(counter, toy, "in_one_line")
    assert explore(make, points="lines", subject=toy.subject).exhausted
    with pytest.raises(ScheduleError):
        explore(make, points="instructions", preemptions=1, subject=toy.subject)


@pytest.mark.parametrize(
    ("points", "bound"), [("locks", None), ("lines", None), ("instructions", 2)]
)
def test_a_correct_program_is_exhausted(toy: Toy, points: Points, bound: int | None) -> None:
    """No schedule makes a counter under a lock lose a count."""
    make = partial(counter, toy, "locked")
    assert explore(make, points=points, preemptions=bound, subject=toy.subject).exhausted


def test_a_lock_order_inversion_is_found(toy: Toy) -> None:
    """Two threads that take two locks in opposite orders are caught in a deadlock."""
    with pytest.raises(ScheduleError, match="nobody can go on; waiting: 0, 1") as caught:
        explore(partial(crossing, toy), points="locks", subject=toy.subject)
    assert isinstance(caught.value.__cause__, DeadlockError)


def test_a_lost_wake_up_is_found(toy: Toy) -> None:
    """A thread that looks and announces its wait in two sections may wait for ever."""

    def make(take: str) -> Program:
        box = toy.module.Box()
        return Program([getattr(box, take), box.put])

    with pytest.raises(ScheduleError, match="nobody can go on") as caught:
        explore(partial(make, "take_late"), points="locks", subject=toy.subject)
    assert str(caught.value.__cause__).endswith("waiting: 0")
    assert explore(partial(make, "take"), points="locks", subject=toy.subject).exhausted
    right = explore(partial(make, "take"), points="lines", preemptions=3, subject=toy.subject)
    assert right.exhausted


def test_the_schedule_replays_the_failure(toy: Toy) -> None:
    """A failure tells the schedule that brings it about again, and where each thread was."""
    make = partial(counter, toy, "in_two_lines")
    walk = partial(explore, make, points="lines", preemptions=1, subject=toy.subject)
    with pytest.raises(ScheduleError) as caught:
        walk()
    again = partial(replay, make, points="lines", preemptions=1, subject=toy.subject)
    with pytest.raises(ScheduleError) as repeated:
        again(caught.value.schedule)
    again([])
    assert repeated.value.schedule == caught.value.schedule
    assert repeated.value.trail == caught.value.trail
    look = TOY.splitlines().index("        n = self.n") + 1
    file = toy.module.__file__
    assert caught.value.trail == [
        f"thread 0: {file}:{look} in Counter.in_two_lines",
        f"thread 0: {file}:{look + 1} in Counter.in_two_lines",
        f"thread 1: {file}:{look} in Counter.in_two_lines",
        f"thread 1: {file}:{look + 1} in Counter.in_two_lines",
        "thread 1 has ended",
        "thread 0 has ended",
    ]
    (note,) = caught.value.__notes__
    assert str(caught.value.schedule) in note
    assert caught.value.trail[2] in note


def test_the_trail_names_instructions(toy: Toy) -> None:
    """Where instructions are points, the trail tells them apart."""
    with pytest.raises(ScheduleError) as caught:
        explore(
            partial(counter, toy, "in_one_line"),
            points="instructions",
            preemptions=1,
            subject=toy.subject,
        )
    assert any("STORE_ATTR at offset" in each for each in caught.value.trail)


def test_a_schedule_that_does_not_fit_is_refused(toy: Toy) -> None:
    """A schedule with a thread that cannot go on, or with too many decisions, is no schedule."""
    again = partial(
        replay, partial(counter, toy, "locked"), points="locks", preemptions=1, subject=toy.subject
    )
    for schedule in ([7], [0] * 99):
        with pytest.raises(RuntimeError, match="decision"):
            again(schedule)


@pytest.mark.parametrize("points", ["locks", "lines", "instructions"])
def test_nothing_is_left_after_a_deadlock(toy: Toy, points: Points) -> None:
    """Threads have ended, their handlers have run, and all that was replaced is back."""
    left: list[str] = []
    lock = toy.module.Lock

    def make() -> Program:
        locks = toy.module.Locks()
        return Program([partial(guarded, locks.forwards), partial(guarded, locks.backwards)])

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        finally:
            left.append(threading.current_thread().name)

    threads, trace = threading.enumerate(), sys.gettrace()
    with pytest.raises(ScheduleError):
        explore(make, points=points, preemptions=2, subject=toy.subject)
    assert left[-2:] == ["explored-0", "explored-1"] or left[-2:] == ["explored-1", "explored-0"]
    assert len(left) % 2 == 0
    assert threading.enumerate() == threads
    assert sys.gettrace() is trace
    assert toy.module.Lock is lock
    assert gc.isenabled()
    if sys.version_info >= (3, 12):
        assert "explorer" not in map(sys.monitoring.get_tool, range(6))
    assert explore(make_nothing, points=points, subject=toy.subject).schedules == 2


def make_nothing() -> Program:
    """Return two threads that do nothing."""
    return Program([lambda: None, lambda: None])


def test_a_thread_that_is_given_up_can_take_what_is_free(toy: Toy) -> None:
    """A deadlocked thread that cleans up under a lock gets it, or is unwound where it waits."""
    cleaned: list[str] = []

    def make() -> Program:
        lock, gate = explorer.RLock(), explorer.Lock()
        gate.acquire()

        def thread() -> None:
            try:
                gate.acquire()
            finally:
                with lock:
                    cleaned.append("lock")
                gate.acquire()
                cleaned.append("gate")

        return Program([thread, thread])

    with pytest.raises(ScheduleError, match="nobody can go on"):
        explore(make, points="locks", subject=toy.subject)
    assert set(cleaned) == {"lock"}


def test_a_thread_that_raises_fails_the_run(toy: Toy) -> None:
    """What a thread raises is the cause of the failure; the other threads are unwound."""

    def make() -> Program:
        return Program([raises, event.wait])

    def raises() -> None:
        raise KeyboardInterrupt

    event = explorer.Event()
    with pytest.raises(ScheduleError, match="KeyboardInterrupt") as caught:
        explore(make, points="locks", subject=toy.subject)
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)


def test_a_thread_that_ends_with_a_lock_fails_the_run(toy: Toy) -> None:
    """A lock with an owner must be given back."""

    def make() -> Program:
        return Program([toy.module.Locks().forgets])

    with pytest.raises(ScheduleError, match="thread 0 has ended and holds"):
        explore(make, points="locks", subject=toy.subject)


def test_too_many_schedules_are_an_error(toy: Toy) -> None:
    """A cap is never a silent cut-off."""

    def make() -> Program:
        return Program([partial(pauses, 1), partial(pauses, 1)])

    assert explore(make, points="locks", subject=toy.subject, cap=6).schedules == 6
    with pytest.raises(RuntimeError, match="more than 5 schedules"):
        explore(make, points="locks", subject=toy.subject, cap=5)


@pytest.mark.parametrize("points", [(1, 1, 0), (1, 2, 1, 2, 1, 2), (3, 3, 3, 2)])
def test_a_scenario_that_changes_is_an_error(toy: Toy, points: tuple[int, ...]) -> None:
    """A walk stops where a run does not come to the decisions that the last one came to."""
    left = list(points)  # the first one is for warming up

    def make() -> Program:
        return Program([partial(pauses, left.pop(0) if left else 1), partial(pauses, 1)])

    with pytest.raises(RuntimeError, match="before"):
        explore(make, points="locks", subject=toy.subject)


def test_a_failure_that_does_not_come_again_is_an_error(toy: Toy) -> None:
    """A failure that depends on more than the schedule is reported as such."""
    checks: list[bool] = []

    def check() -> None:
        checks.append(True)
        assert len(checks) != 2

    def make() -> Program:
        return Program([lambda: None], check)

    with pytest.raises(RuntimeError, match="not when replayed"):
        explore(make, points="locks", subject=toy.subject)


def test_locks_behave_as_those_of_threading(toy: Toy) -> None:
    """A lock that is held is refused or waited for; one with an owner obeys that thread alone."""

    def make() -> Program:
        lock, rlock = explorer.Lock(), explorer.RLock()
        rlock.acquire()
        assert not lock.locked()

        def thread() -> None:
            assert lock.acquire()
            assert lock.locked()
            assert not lock.acquire(blocking=False)
            assert not lock.acquire(timeout=0)
            lock.release()
            for release in (lock.release, rlock.release):
                with pytest.raises(RuntimeError, match="release"):
                    release()
            assert not rlock.acquire(blocking=False)

        def check() -> None:
            rlock.release()
            with rlock, rlock, pytest.raises(DeadlockError), lock:
                lock.acquire()

        return Program([thread], check)

    assert explore(make, points="locks", subject=toy.subject).schedules == 1


def test_a_timeout_is_up_when_nobody_else_can_go_on(toy: Toy) -> None:
    """The shortest comes first, and the clock tells how long it was."""

    def make() -> Program:
        gate, event = explorer.Lock(), explorer.Event()
        gate.acquire()
        order: list[object] = []

        def long() -> None:
            order.append((event.wait(3.0), explorer.monotonic()))

        def short() -> None:
            order.append((gate.acquire(timeout=2.0), explorer.monotonic()))

        def check() -> None:
            assert order == [(False, 2.0), (False, 3.0)]

        threads: list[Callable[[], object]] = [long, short, pause]
        return Program(threads, check)

    assert explore(make, points="locks", subject=toy.subject).exhausted
    assert explorer.monotonic() == 0.0


def test_an_event_lets_all_who_wait_go_on(toy: Toy) -> None:
    """Whoever waits for an event goes on after it is set, in any order."""
    orders: set[str] = set()

    def make() -> Program:
        event = explorer.Event()
        order: list[str] = []

        def waits(name: str) -> None:
            assert event.wait()
            assert event.is_set()
            order.append(name)

        def sets() -> None:
            order.append("s")
            event.set()

        threads: list[Callable[[], object]] = [partial(waits, "a"), partial(waits, "b"), sets]
        return Program(threads, lambda: orders.add("".join(order)))

    assert explore(make, points="locks", subject=toy.subject).exhausted
    assert orders == {"sab", "sba"}


def test_each_thread_of_each_run_starts_afresh(toy: Toy) -> None:
    """The package forgets what it keeps of a thread, on that thread, before each of its runs."""
    result = explore(make_nothing, points="locks", subject=toy.subject)
    assert len(toy.forgotten) == 2 * (result.schedules + 1)  # once to warm up
    assert threading.get_ident() not in toy.forgotten


@pytest.mark.parametrize(("points", "bound"), [("locks", 3), ("lines", 1)])
def test_the_locks_of_the_emitters_are_in_its_hands(points: Points, bound: int) -> None:
    """Two emits, where a handler waits for the third thread, take turns in every schedule."""

    def make() -> Program:
        emitter = ReplayEventEmitter[Any]()
        event = explorer.Event()
        seen: list[object] = []

        def handler(ping: object) -> None:
            seen.append(ping)
            if ping == Ping(1):
                assert event.wait()

        def check() -> None:
            assert seen in ([Ping(1), Ping(2)], [Ping(2), Ping(1)])
            assert_idle(emitter)

        emitter.on(Ping, handler)
        emits = [partial(emitter.emit, Ping(1)), partial(emitter.emit, Ping(2))]
        return Program([*emits, event.set], check)

    assert explore(make, points=points, preemptions=bound, cap=20_000).exhausted


@pytest.mark.parametrize("points", ["locks", "lines"])
def test_a_wait_with_a_timeout_ends_without_time_passing(points: Points) -> None:
    """Waiting for a handler that never ends takes as long as the explorer's clock says."""

    def make() -> Program:
        emitter = ReplayEventEmitter[Any]()
        entered, leave = explorer.Event(), explorer.Event()

        def handler(_: object) -> None:
            entered.set()
            leave.wait()

        def remove() -> None:
            entered.wait()
            assert not emitter.off_and_wait(subscription, 5.0)
            assert explorer.monotonic() == 5.0
            leave.set()

        subscription = emitter.on(Ping, handler)
        return Program([partial(emitter.emit, Ping()), remove], partial(assert_idle, emitter))

    assert explore(make, points=points, preemptions=1).exhausted


def test_user_code_under_a_lock_is_found() -> None:
    """The proof that no lock is held where user code runs sees the locks of the explorer."""

    def make() -> Program:
        return Program([call_under_a_lock])

    def call_under_a_lock() -> None:
        with explorer.RLock():
            proved(make)

    with pytest.raises(ScheduleError, match="is about to run user code"):
        explore(make, points="locks")


def test_a_wait_for_something_unknown_is_an_error(toy: Toy) -> None:
    """A thread that waits where the explorer cannot see it does not hang the test."""
    unknown = threading.Event()

    def make() -> Program:
        return Program([unknown.wait])

    threads = threading.enumerate()
    with pytest.raises(RuntimeError, match="waits for something unknown"):
        explore(make, points="locks", subject=toy.subject, patience=0.05)
    unknown.set()
    for thread in set(threading.enumerate()) - set(threads):
        thread.join()
    assert explore(make_nothing, points="locks", subject=toy.subject).exhausted
