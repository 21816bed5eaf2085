"""Run threads in every order there is, one at a time, up to a stated bound.

`explore` runs a scenario over and over, each time with another schedule, until none is left. Real
threads hand each other a baton. The one that has it comes to a scheduling point every now and then,
and there it is decided who goes on. The decisions form a tree, which is walked depth first: each
run repeats the decisions of a schedule, and after those keeps a thread running while it can.

Switching to another thread is a preemption where the thread at the point could have gone on, and
free where it has to wait or has ended. So a bound on preemptions leaves no thread unfinished.

What threads wait for must be known here: the package gets the `Lock` and `RLock` of this module for
those of `threading`, and a scenario uses its `Event` and `pause`.
"""

from __future__ import annotations

import dis
import gc
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import TIMEOUT_MAX, get_ident
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, Literal, Protocol, Self
from unittest.mock import patch

from support import no_collection

import eventemitter
from eventemitter._sections import local

Points = Literal["locks", "lines", "instructions"]

PATIENCE = 100.0
"""Seconds after which a run that has not ended never will: they take milliseconds."""
TICKS = 100
"""How many times one looks before that. Where other processes leave no time to run, not to look
either, so that the patience grows with the load."""


class Scenario(Protocol):
    """Threads to run against each other, and what must hold whatever their order."""

    @property
    def threads(self) -> Sequence[Callable[[], object]]:
        """What each thread calls. The threads are numbered from 0 in this order."""
        ...

    def check(self) -> None:
        """Assert what must hold after all threads have ended."""


@dataclass(frozen=True)
class Subject:
    """A package to explore."""

    directory: Path
    substitutes: Callable[[], dict[str, object]]
    """Makes the stand-ins of one walk, by the dotted name of what they replace."""
    fresh: Callable[[], object] = lambda: None
    """Forgets what the package keeps of the calling thread, as if that had just been started."""


@dataclass(frozen=True)
class Result:
    """What was walked."""

    schedules: int
    exhausted: bool


class ScheduleError(AssertionError):
    """A scenario has failed, with a schedule that repeats it; its cause is what was raised."""

    def __init__(self, error: BaseException, schedule: Sequence[int], trail: list[str]) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.schedule = list(schedule)
        self.trail = trail
        self.add_note("\n  ".join([f"schedule: {self.schedule}", *trail]))


class DeadlockError(AssertionError):
    """No thread can go on."""


def explore(  # noqa: PLR0913 - all but the first by name
    make: Callable[[], Scenario],
    *,
    points: Points,
    preemptions: int | None = None,
    subject: Subject | None = None,
    cap: int | None = None,
    patience: float = PATIENCE,
) -> Result:
    """Run a fresh scenario for each schedule there is, and return how many there are.

    A point lies on a thread of the scenario:

    - `"locks"`: before a lock is taken or looked at, and after it is released. The same goes for an
      `Event`, and `pause` is a point. So only a point in between shows a lock to be held.
    - `"lines"`: these, and before each line of the package's code.
    - `"instructions"`: these, and before each bytecode instruction of the package's code.

    A thread may not end while it holds an `RLock`, nor by an exception. The scenario must do the
    same again where the threads run in the same order. Cyclic garbage is collected between runs.

    Args:
        make: Makes a scenario.
        points: Where other threads may go on.
        preemptions: How many preemptions a schedule has at the most; None for any number.
        subject: The package; None for eventemitter.
        cap: How many schedules to expect at the most.
        patience: For how many seconds to wait for the end of a run.

    Raises:
        ScheduleError: A thread or the check raised, or no thread could go on.
        RuntimeError: There are more schedules than `cap`, or the scenario does not do the same
            again, or a thread waits for something unknown here.

    """
    subject = subject or EVENTEMITTER
    _warm_up(make, subject, patience)
    schedules = 0
    schedule: list[int] | None = []
    error: BaseException | None = None
    with _Walk(subject, points, preemptions, patience=patience) as walk:
        while schedule is not None and error is None:
            if schedules == cap:
                raise RuntimeError(f"there are more than {cap} schedules")
            error = walk.run(make, schedule)
            if error is None:
                schedules += 1
                schedule = walk.following()
    if schedule is None:
        return Result(schedules, exhausted=True)
    replay(make, schedule, points=points, preemptions=preemptions, subject=subject)
    raise RuntimeError(f"failed, but not when replayed: {schedule}") from error


def replay(
    make: Callable[[], Scenario],
    schedule: Sequence[int],
    *,
    points: Points,
    preemptions: int | None = None,
    subject: Subject | None = None,
) -> None:
    """Run a scenario with the schedule of a `ScheduleError`, and with what `explore` was given.

    A schedule is the number of the thread that goes on, for each point where there was a choice.

    Raises:
        ScheduleError: It failed again.
        RuntimeError: The schedule does not fit the scenario.

    """
    subject = subject or EVENTEMITTER
    _warm_up(make, subject, PATIENCE)
    trail: list[str] = []
    with _Walk(subject, points, preemptions, trail) as walk:
        error = walk.run(make, schedule)
    if error is not None:
        raise ScheduleError(error, schedule, trail) from error


def _warm_up(make: Callable[[], Scenario], subject: Subject, patience: float) -> None:
    """Run once, so that what is kept in classes and modules is there in all runs that count."""
    with _Walk(subject, "locks", 0, patience=patience) as walk:
        walk.run(make, [])


class _Unwind(BaseException):
    """Ends a thread of a run that is given up."""


class _MismatchError(RuntimeError):
    """A schedule does not fit the scenario."""


class _Worker(threading.Thread):
    """Runs one thread of each scenario."""

    def __init__(self, number: int, execute: Callable[[_Worker], None]) -> None:
        super().__init__(name=f"explored-{number}", daemon=True)
        self.number = number
        self.key = 0
        self.baton = threading.Lock()
        self.baton.acquire()
        self.execute = execute
        self.prepare(None)

    def prepare(self, task: Callable[[], object] | None) -> None:
        """Set what to do when the baton comes; None to end."""
        self.task = task
        self.ended = self.unwinding = False
        self.ready: Callable[[], bool] | None = None
        self.deadline: float | None = None

    def run(self) -> None:
        self.key = get_ident()
        while self.baton.acquire() and self.task is not None:
            self.execute(self)


class _Walk:
    """Runs schedules, and knows which comes next.

    Whoever has the baton uses the fields; no lock guards them.
    """

    def __init__(
        self,
        subject: Subject,
        points: Points,
        preemptions: int | None,
        trail: list[str] | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._subject = subject
        self._directory = subject.directory.resolve()
        self._points = points
        self._bound = preemptions
        self._trail = trail
        self._patience = patience
        self._owned: dict[str, bool] = {}
        self._workers: list[_Worker] = []
        self._home = threading.Lock()
        self._home.acquire()
        self._undo = ExitStack()
        # Of each decision of the run: whom it chose, whom else it may choose, where it was made.
        self._chosen: list[int] = []
        self._untried: list[list[int]] = []
        self._seen: list[tuple[int, _Worker | None, list[int]]] = []
        self._runs = 0
        self._quiet = False
        """Whether lines and instructions are no points any more, as no preemption is left."""
        self.running: _Worker | None = None

    def __enter__(self) -> Self:
        global _walk  # noqa: PLW0603 - locks of the package have no other way to find it
        assert _walk is None, "one walk at a time"
        with ExitStack() as undo:
            for name, stand_in in self._subject.substitutes().items():
                undo.enter_context(patch(name, stand_in))
            undo.enter_context(no_collection())
            undo.enter_context(self._watched())
            undo.enter_context(_one_processor())
            self._undo = undo.pop_all()
        _walk = self
        return self

    def __exit__(self, *_: object) -> None:
        global _walk  # noqa: PLW0603
        _walk = None
        with self._undo:
            for worker in self._workers:
                worker.prepare(None)
                worker.baton.release()
            for worker in self._workers:
                worker.join(self._patience)

    def run(self, make: Callable[[], Scenario], schedule: Sequence[int]) -> BaseException | None:
        """Run a scenario with this schedule; return what has failed."""
        self._runs += 1
        if self._runs % 64 == 0:
            gc.collect(0)
        self._prefix = schedule
        self._repeated = min(len(schedule), len(self._seen)) - 1
        self._chosen.clear()
        self._preempted = self._passed = 0
        self._given_up = self._quiet = False
        self._error: BaseException | None = None
        self.now = 0.0
        held.clear()
        scenario = make()
        tasks = scenario.threads
        while len(self._workers) < len(tasks):
            self._workers.append(_Worker(len(self._workers), self._execute))
            self._workers[-1].start()
        for worker, task in zip(self._workers, tasks, strict=True):
            worker.prepare(task)
        self._pass_baton(self._choose(None))
        try:
            self._come_home()
        except BaseException as error:
            self._give_up(error)
            self._come_home()
            raise
        self.running = None
        if self._error is None and len(self._chosen) < len(schedule):
            self._error = _MismatchError(f"there were more decisions before: {schedule}")
        if isinstance(self._error, _MismatchError):
            raise self._error
        if self._error is None:
            try:
                scenario.check()
            except Exception as error:
                return error
        return self._error

    def following(self) -> list[int] | None:
        """Return the next schedule of the tree, or None if this was the last."""
        while self._untried and not self._untried[-1]:
            self._untried.pop()
        if not self._untried:
            return None
        depth = len(self._untried) - 1
        del self._seen[depth + 1 :]
        return [*self._chosen[:depth], self._untried[-1].pop(0)]

    def point(self, ready: Callable[[], bool] | None = None, timeout: float | None = None) -> bool:
        """Let other threads go on here, until `ready`; return False where the time was up instead.

        The time is up when nobody else can go on.
        """
        me = self.running
        assert me is not None
        if self._given_up:
            if me.unwinding and (ready is None or ready()):
                return True
            me.unwinding = True
            raise _Unwind
        if self._trail is not None:
            self._trail.append(f"thread {me.number}: {self._place()}")
        self._passed += 1
        if ready is None and (self._preempted == self._bound or self._goes_on_again(me)):
            return True
        me.ready = ready
        me.deadline = None if timeout is None else self.now + timeout
        chosen = self._choose(me)
        if chosen is not me:
            self._pass_baton(chosen)
            me.baton.acquire()
        if self._given_up:
            me.unwinding = True
            raise _Unwind
        me.ready = None
        if ready is None or ready():
            return True
        assert me.deadline is not None
        self.now = me.deadline
        return False

    def _goes_on_again(self, me: _Worker) -> bool:
        """Return whether `me` goes on here as in the run before, which needs no other look."""
        depth = len(self._chosen)
        if depth >= self._repeated:
            return False
        passed, who, _ = self._seen[depth]
        if passed == self._passed and who is me and self._prefix[depth] == me.number:
            self._chosen.append(me.number)
            return True
        return passed > self._passed  # there was nothing to decide

    def _choose(self, me: _Worker | None) -> _Worker | None:
        """Return who goes on where `me` is at a point; None if all have ended."""
        left = [each for each in self._workers if not each.ended]
        able = [each.number for each in left if each.ready is None or each.ready()]
        stay = me is not None and me.number in able
        if not able:
            times = [each.deadline for each in left if each.deadline is not None]
            able = [each.number for each in left if times and each.deadline == min(times)]
        if left and not able:
            waiting = ", ".join(str(each.number) for each in left)
            self._give_up(DeadlockError(f"nobody can go on; waiting: {waiting}"))
        if self._given_up or not left:
            return me if me in left else next(iter(left), None)
        default = me.number if me is not None and stay else able[0]
        if len(able) == 1 or (stay and self._preempted == self._bound):
            return self._workers[default]
        depth = len(self._chosen)
        chosen = default if depth >= len(self._prefix) else self._prefix[depth]
        if depth == len(self._seen):
            self._seen.append((self._passed, me, able))
            self._untried.append([each for each in able if each != chosen])
        if self._seen[depth] != (self._passed, me, able) or chosen not in able:
            self._give_up(_MismatchError(f"decision {depth} of {self._prefix} was another before"))
            return me if me in left else left[0]
        self._chosen.append(chosen)
        if stay and chosen != default:
            self._preempted += 1
            self._quiet = self._preempted == self._bound and self._trail is None
        return self._workers[chosen]

    def _give_up(self, error: BaseException) -> None:
        """Unwind all threads. The first error counts."""
        self._error = self._error or error
        self._given_up = True
        self._quiet = False

    def _pass_baton(self, worker: _Worker | None) -> None:
        if worker is None:
            self._home.release()
        else:
            self.running = worker
            worker.baton.release()

    def _come_home(self) -> None:
        for _ in range(TICKS):
            if self._home.acquire(timeout=self._patience / TICKS):
                return
        raise RuntimeError(f"{self.running} waits for something unknown, or runs for ever")

    def _execute(self, me: _Worker) -> None:
        try:
            if not self._given_up and me.task is not None:
                self._subject.fresh()
                with self._traced():
                    me.task()
                mine = [lock for lock in held if lock.owner == me.key]
                assert not mine, f"thread {me.number} has ended and holds {mine}"
        except _Unwind:
            pass
        except BaseException as error:
            self._give_up(error)
        if self._trail is not None:
            self._trail.append(f"thread {me.number} has ended")
        me.ended = True
        self._pass_baton(self._choose(me))

    # Points in the code of the package

    def _owns(self, code: CodeType) -> bool:
        name = code.co_filename
        if name not in self._owned:
            self._owned[name] = Path(name).resolve().is_relative_to(self._directory)
        return self._owned[name]

    def _place(self) -> str:
        """Name the innermost line outside this module."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        while frame and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        assert frame is not None
        code = frame.f_code
        place = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        if self._points != "instructions":
            return place
        return f"{place}, {dis.opname[code.co_code[frame.f_lasti]]} at offset {frame.f_lasti}"

    if sys.version_info >= (3, 12):

        def _traced(self) -> AbstractContextManager[None]:
            return nullcontext()

        @contextmanager
        def _watched(self) -> Generator[None]:
            if self._points == "locks":
                yield
                return
            monitoring, events = sys.monitoring, sys.monitoring.events
            event = events.LINE if self._points == "lines" else events.INSTRUCTION
            tool = next(tool for tool in range(6) if not monitoring.get_tool(tool))
            monitoring.use_tool_id(tool, "explorer")
            monitoring.register_callback(tool, event, self._monitor)
            monitoring.set_events(tool, event)
            monitoring.restart_events()  # of code that an earlier walk did not own
            try:
                yield
            finally:
                monitoring.set_events(tool, events.NO_EVENTS)
                monitoring.register_callback(tool, event, None)
                monitoring.free_tool_id(tool)

        def _monitor(self, code: CodeType, _: int) -> Any:
            if self._quiet:
                return None
            if not self._owned.get(code.co_filename) and not self._owns(code):
                return sys.monitoring.DISABLE
            me = self.running
            if me is not None and me.key == get_ident():
                self.point()
            return None

    else:

        def _watched(self) -> AbstractContextManager[None]:
            return nullcontext()

        @contextmanager
        def _traced(self) -> Generator[None]:
            if self._points != "locks":
                sys.settrace(self._trace)
            try:
                yield
            finally:
                sys.settrace(None)

        def _trace(self, frame: FrameType, event: str, _: object) -> Any:
            if not self._owns(frame.f_code):
                return None
            if self._points == "instructions":
                frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event in {"line", "opcode"}:
                self.point()
            return self._trace


@contextmanager
def _one_processor() -> Generator[None]:
    """Keep this thread and those it starts on one processor, where the baton passes twice as fast.

    Of several workers of pytest-xdist, each on its own.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    worker = os.environ.get("PYTEST_XDIST_WORKER", f"gw{os.getpid()}")
    os.sched_setaffinity(0, {sorted(before)[int(worker[2:]) % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_walk: _Walk | None = None
held: set[RLock] = set()


def pause(ready: Callable[[], bool] | None = None, timeout: float | None = None) -> bool:
    """Let other threads go on here, until `ready`; return False where the time was up instead.

    No point outside a run, where no other thread could go on.
    """
    if _walk is not None and _walk.running is not None and _walk.running.key == get_ident():
        return _walk.point(ready, timeout)
    if ready is None or ready():
        return True
    if timeout is None:
        raise DeadlockError("waits for what no other thread can do")
    return False


def monotonic() -> float:
    """Return how many seconds threads have waited in vain in this run."""
    return _walk.now if _walk is not None else 0.0


class Lock:
    """Stands in for `threading.Lock`."""

    def __init__(self) -> None:
        self.owner: int | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """Take the lock; a timeout is up when nobody else can go on."""
        if not blocking or timeout == 0:
            pause()
        else:
            pause(self._free, None if timeout < 0 else timeout)
        if self.owner is not None:
            return False
        self.owner = get_ident()
        return True

    def release(self) -> None:
        """Give the lock back, whoever took it."""
        if self.owner is None:
            raise RuntimeError("release unlocked lock")
        self.owner = None
        pause()

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        pause()
        return self.owner is not None

    def _free(self) -> bool:
        return self.owner is None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(Lock):
    """Stands in for `threading.RLock`."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """Take the lock, once more where this thread has it."""
        if self.owner == get_ident():
            pause()
        elif not super().acquire(blocking, timeout):
            return False
        self._count += 1
        held.add(self)
        return True

    def release(self) -> None:
        """Give the lock back as often as it was taken, on the thread that took it."""
        if self.owner != get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if self._count:
            pause()
        else:
            held.discard(self)
            super().release()


class Event:
    """Stands in for `threading.Event`."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Return whether it has been set."""
        pause()
        return self._set

    def set(self) -> None:
        """Let all who wait go on."""
        self._set = True
        pause()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; a timeout is up when nobody else can go on."""
        return pause(lambda: self._set, timeout)


class _Held:
    """Tells the proof that no lock is held when user code runs which ones this thread holds."""

    @property
    def locks(self) -> list[tuple[RLock, str]]:
        return [(lock, "some place") for lock in held if lock.owner == get_ident()]


def _substitutes() -> dict[str, object]:
    def new_lock(*_: object) -> RLock:
        return RLock()  # and no checker of the order, whose lines would be points too

    waits_lock = RLock()
    return {
        "eventemitter._channel.new_lock": new_lock,
        "eventemitter._expectation.new_lock": new_lock,
        "eventemitter._stream.new_lock": new_lock,
        "eventemitter._locks._held": _Held(),
        "eventemitter._sections.waits_lock": waits_lock,
        "eventemitter._turns.waits_lock": waits_lock,
        "eventemitter._channel.waits_lock": waits_lock,
        "eventemitter._turns.threading": SimpleNamespace(Lock=Lock, TIMEOUT_MAX=TIMEOUT_MAX),
        "eventemitter._channel.monotonic": monotonic,
        "eventemitter._subscription.monotonic": monotonic,
        "eventemitter._expectation.monotonic": monotonic,
    }


def _forget_thread() -> None:
    local.__dict__.clear()


assert eventemitter.__file__
EVENTEMITTER = Subject(Path(eventemitter.__file__).parent, _substitutes, _forget_thread)
