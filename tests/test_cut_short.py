"""Clean-up that is interrupted itself, and other ways to leave a call in the middle (G11, G12)."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from injection import Point, inject_everywhere
from support import Crew, Ping, Pong, Stop, assert_idle, channel_of, until, until_in_line

import eventemitter
from eventemitter import EventEmitter, ReplayEventEmitter

PACKAGE = Path(eventemitter.__file__).parent
Emitter = type[EventEmitter[Any]]
Points = Literal["lines", "polls"]

both_kinds = pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
both_points = pytest.mark.parametrize("points", ["lines", "polls"])


class Call:
    """A call cut short by KeyboardInterrupt, after which the emitter works as ever."""

    def __init__(self, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.unraisable: list[BaseException] = []
        self.raised: BaseException | None = None
        self.prepare()

    def prepare(self) -> None:
        """Register listeners."""

    def call(self) -> None:
        """Make the call."""
        self.emitter.emit(Ping(1))

    def run(self) -> None:
        try:
            self.call()
        except BaseException as error:
            self.raised = error

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def check(self, point: Point, /) -> None:
        del point
        assert_idle(self.emitter, queue=False)
        seen: list[Pong] = []
        with self.emitter.on(Pong, seen.append):
            self.emitter.emit(Pong())
        assert seen == [Pong()]


class Exit(Call):
    """A handler that ends the program."""

    def prepare(self) -> None:
        self.emitter.on(Ping, lambda _: sys.exit(3))


class ExitOfQueued(Call):
    """A handler that ends the program, for an event that was queued."""

    def prepare(self) -> None:
        def handle(event: Ping) -> None:
            if event.number == 1:
                self.emitter.emit(Ping(2))
            else:
                sys.exit(3)

        self.emitter.on(Ping, handle)


class FailedReplay(Call):
    """A registration that fails, as its replay does."""

    def prepare(self) -> None:
        self.emitter.emit(Ping(1))

    def fail(self, _: Ping) -> None:
        """Fail."""
        raise ValueError("broken")

    def call(self) -> None:
        self.emitter.on(Ping, self.fail)

    def check(self, point: Point, /) -> None:
        super().check(point)
        # The interpreter does not poll where on() returns to its caller.
        if point.when == "before" or point.function != "EventEmitter.on":
            assert self.emitter.listener_count(Ping) == (self.raised is None)


class FailedOnceReplay(FailedReplay):
    """The same for `once`."""

    def call(self) -> None:
        self.emitter.once(Ping, self.fail)

    def check(self, point: Point, /) -> None:
        Call.check(self, point)


@both_points
@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (EventEmitter, Exit),
        (ReplayEventEmitter, Exit),
        (EventEmitter, ExitOfQueued),
        (ReplayEventEmitter, ExitOfQueued),
        (ReplayEventEmitter, FailedReplay),
        (ReplayEventEmitter, FailedOnceReplay),
    ],
)
def test_clean_up_that_is_interrupted_is_done_all_the_same(
    kind: Emitter, call: type[Call], points: Points
) -> None:
    """G11: a KeyboardInterrupt on top of what ends the call leaves no turn and no replay taken."""
    assert inject_everywhere(lambda: call(kind), package=PACKAGE, points=points) > 20


class Failure(Call):
    """A handler that fails, the error of which must be seen somewhere."""

    def prepare(self) -> None:
        self.error = ValueError("broken")
        self.called = False

        def fail(_: Ping) -> None:
            self.called = True
            raise self.error

        self.emitter.on(Ping, fail)

    def run(self) -> None:
        def hook(args: Any) -> None:
            self.unraisable.append(args.exc_value)

        earlier, sys.unraisablehook = sys.unraisablehook, hook
        try:
            super().run()
        finally:
            sys.unraisablehook = earlier

    def known(self) -> Iterator[BaseException]:
        """Walk all errors that somebody is told of."""
        found = [*self.unraisable, self.raised]
        while found:
            error = found.pop()
            if error is not None:
                yield error
                found += [error.__context__, error.__cause__]
                if isinstance(error, BaseExceptionGroup):
                    found += cast("tuple[BaseException, ...]", error.exceptions)

    def check(self, point: Point, /) -> None:
        super().check(point)
        assert not self.called or self.error in self.known()


@both_points
@both_kinds
def test_what_a_handler_raised_is_never_silent(kind: Emitter, points: Points) -> None:
    """G11: not even where KeyboardInterrupt comes before it is raised."""
    assert inject_everywhere(lambda: Failure(kind), package=PACKAGE, points=points) > 20


def recurse(call: Callable[[], object]) -> None:
    """Make the call on an ever fuller stack."""
    call()
    recurse(call)


@both_kinds
@pytest.mark.parametrize("extra", range(12))
def test_a_full_stack_leaves_no_lock_held_and_no_turn_taken(
    kind: Emitter, extra: int, crew: Crew
) -> None:
    """G11: a handler that recurses without end fails, and harms nobody else."""
    emitter: EventEmitter[Any] = kind()
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)
    calls: list[Callable[[], object]] = [
        lambda: emitter.emit(Ping()),
        lambda: emitter.on(Ping, seen.append).off(),
        lambda: emitter.listener_count(Ping),
        lambda: emitter.once(Pong, print).off(),
        lambda: emitter.emit_nowait(Ping()),
    ]

    def recursing(call: Callable[[], object]) -> Callable[[int], None]:
        def handle(number: int) -> None:
            # From another depth each time, so that the stack is full at another line.
            if number:
                handle(number - 1)
            else:
                recurse(call)

        return handle

    limit = sys.getrecursionlimit()
    for call in calls:
        other: EventEmitter[int] = EventEmitter()
        other.on(int, recursing(call))
        with pytest.raises(ExceptionGroup):
            other.emit(extra)
        seen.clear()
        emitter.remove_all_listeners(Pong)
        assert_idle(emitter)
        crew.run(emitter.emit, Ping(7)).result(30)
        emitter.emit(Ping(8))
        assert seen[-2:] == [Ping(7), Ping(8)]
    assert sys.getrecursionlimit() == limit


def test_what_an_interrupted_wait_depends_on_is_not_what_its_interruption_depends_on(
    crew: Crew,
) -> None:
    """G5, G10: a cycle is only one if each of its waits keeps the next from ending.

    1. Another thread delivers Ping and stays.
    2. This thread waits in line for Ping; there a signal handler emits Pong, and stays in its
       handler, which will end by itself.
    3. The other thread emits Pong: it may wait for that.
    """
    emitter: EventEmitter[Any] = EventEmitter()
    in_pong, stop = threading.Event(), Stop()
    delivered: list[int] = []
    main = threading.get_ident()

    def on_pong(event: Pong) -> None:
        if event.number == 1:
            in_pong.set()
            stop()
        delivered.append(event.number)

    def signalled() -> bool:
        signal.pthread_kill(main, signal.SIGUSR1)
        return in_pong.is_set()

    def on_ping(event: Ping) -> None:
        if event.number == 1:
            until_in_line(channel_of(emitter, Ping), 1)
            # Again and again: a signal that comes right before a wait for a lock is not handled
            # until that is over.
            until(signalled)
            crew.run(let_go)
            emitter.emit(Pong(2))
            assert delivered == [1, 2], "handed over, though the turn would have come"

    def let_go() -> None:
        until_in_line(channel_of(emitter, Pong), 1)
        stop.go()

    emitter.on(Pong, on_pong)
    emitter.on(Ping, on_ping)

    signals: list[object] = []

    def emit_pong(*_: object) -> None:
        signals.append(None)
        if len(signals) == 1:
            emitter.emit(Pong(1))

    earlier = signal.signal(signal.SIGUSR1, emit_pong)
    try:
        first = crew.run(emitter.emit, Ping(1))
        until(lambda: channel_of(emitter, Ping).holder is not None)
        emitter.emit(Ping(2))
        first.result(30)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert_idle(emitter)
