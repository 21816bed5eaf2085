"""Clean-up that is interrupted itself, and other ways to leave a call in the middle (G11, G12)."""

from __future__ import annotations

import ast
import dis
import signal
import sys
import threading
import weakref
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import CodeType
from typing import Any, cast

import pytest
from injection import Point, Points, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    Ping,
    Pong,
    PutAsideCutShort,
    Stop,
    assert_idle,
    both_kinds,
    both_points,
    channel_of,
    interrupting_section,
    on_entry,
    raise_interrupt,
    until,
    until_in_line,
    until_waited_for,
)

from eventemitter import EventEmitter, ReplayEventEmitter, Subscription
from eventemitter._channel import Channel
from eventemitter._listener import Listener
from eventemitter._sections import ThreadState, catch_up, this_thread
from eventemitter._turns import Gate

Emitter = type[EventEmitter[Any]]


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


@pytest.mark.walks
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


@pytest.mark.walks
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
@pytest.mark.parametrize("in_python", [False, True])
def test_a_full_stack_leaves_no_lock_held_and_no_turn_taken(
    kind: Emitter, extra: int, crew: Crew, *, in_python: bool
) -> None:
    """G11: a handler that recurses without end fails, and harms nobody else."""
    emitter: EventEmitter[Any] = kind()
    seen: list[Ping] = []

    def see(event: Ping) -> None:  # unlike a built-in function, it needs room on the stack
        seen.append(event)

    emitter.on(Ping, see if in_python else seen.append)
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
        assert_idle(emitter, queue=False)  # what was queued is delivered next
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


class Terminated(BaseException):
    """What a second signal raises."""


@both_kinds
def test_two_signals_that_raise_leave_no_lock_held(kind: Emitter, crew: Crew) -> None:
    """G11: the second comes up in the clean-up after the first."""
    emitter: EventEmitter[Any] = kind()
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def terminate(*_: object) -> None:
        raise Terminated

    def both_come() -> None:
        # In one step of the interpreter: the second is pending when the first is handled.
        list(map(interrupt_main, handlers))

    handlers = {signal.SIGUSR1: interrupt, signal.SIGUSR2: terminate}
    earlier = {number: signal.signal(number, each) for number, each in handlers.items()}
    try:
        with pytest.raises(Terminated), on_entry(("_settle_locked", both_come)):
            emitter.listener_count(Ping)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    assert_idle(emitter)
    emitter.emit(Ping(1))
    crew.run(emitter.emit, Ping(2)).result(30)
    assert seen == [Ping(1), Ping(2)]


def test_keyboard_interrupt_loses_no_listener_of_another_thread(crew: Crew) -> None:
    """G2, G11: the interrupted call was just carrying out the other's request.

    1. Another thread has left its listener in the inbox, to be registered.
    2. This thread registers it, and is interrupted when that is half done.
    3. The other thread goes on: its listener gets the replay and what comes later.
    """
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    seen: list[Ping] = []
    stop = Stop()

    def register() -> Subscription[Ping]:
        with on_entry(("settle", stop)):
            return emitter.on(Ping, seen.append)

    registering = crew.run(register)
    stop.wait()
    with pytest.raises(KeyboardInterrupt), on_entry(("_changed_locked", raise_interrupt)):
        emitter.listener_count(Ping)
    stop.go()
    assert registering.result(30).active
    emitter.emit(Ping(2))
    assert seen == [Ping(1), Ping(2)]
    assert emitter.listener_count(Ping) == 1
    assert_idle(emitter)


def test_nobody_waits_for_a_replay_that_has_not_begun(crew: Crew) -> None:
    """G9, G10: it never will, as its listener is removed.

    1. A signal handler that interrupts a section of this thread registers: the replay is put aside.
    2. There it has another thread remove the listener and wait, and waits for that thread.
    """
    interrupted: EventEmitter[Any] = EventEmitter()
    interrupted.on(Pong, print)
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    replayed: list[Ping] = []
    done: list[bool] = []

    def remove(subscription: Subscription[Ping]) -> bool:
        assert emitter.listener_count(Ping) == 1  # registers it, out of the inbox
        return subscription.off_and_wait()

    def on_signal() -> None:
        subscription = emitter.on(Ping, replayed.append)
        done.append(crew.run(remove, subscription).result(30))

    with on_entry(("_settle_locked", on_signal)):
        interrupted.listener_count(Pong)
    assert done == [True]
    assert replayed == []
    assert_idle(emitter)


def test_keyboard_interrupt_loses_no_listener_whose_replay_was_put_aside() -> None:
    """G12: the `on()` of a signal handler has returned, so its listener stays, and gets its replay.

    1. A signal handler that interrupts a section registers: the replay is put aside.
    2. That is done later, and Ctrl-C comes before the handler is called.
    """
    interrupted: EventEmitter[Any] = EventEmitter()
    interrupted.on(Pong, print)
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    seen: list[Ping] = []
    subscriptions: list[Subscription[Ping]] = []

    def register() -> None:
        subscriptions.append(emitter.on(Ping, seen.append))

    with (
        pytest.raises(KeyboardInterrupt),
        on_entry(("_settle_locked", register), ("_replayed_locked", raise_interrupt)),
    ):
        interrupted.listener_count(Pong)
    emitter.emit(Ping(2))
    assert subscriptions[0].active
    assert seen == [Ping(1), Ping(2)]
    assert_idle(emitter)


@both_kinds
def test_a_failure_does_not_touch_the_recursion_limit(
    kind: Emitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: it belongs to the program, and is raised only where the stack is full."""
    emitter: EventEmitter[Any] = kind()

    def refuse(limit: int) -> None:
        raise AssertionError(limit)

    def fail(_: Ping) -> None:
        raise ValueError("broken")

    emitter.on(Ping, fail)
    monkeypatch.setattr(sys, "setrecursionlimit", refuse)
    with pytest.raises(ExceptionGroup):
        emitter.emit(Ping())
    emitter.on(Pong, lambda _: raise_interrupt())
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Pong())
    assert_idle(emitter)


def test_the_recursion_limit_is_raised_once_and_taken_back_by_the_last(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: two threads clean up on a full stack at once; neither takes the other's limit for ours.

    1. Two threads are interrupted with a full stack, and stop in their clean-up.
    2. They go on, one after the other.
    3. The same with one, while which the program sets a limit of its own.
    """
    limit = sys.getrecursionlimit()
    stops: dict[object, Stop] = {}
    clean_up = Channel.abandon

    def full(channel: Channel, *arguments: Any) -> None:
        if threading.current_thread() not in told:
            told.add(threading.current_thread())
            raise RecursionError
        stops[channel]()
        clean_up(channel, *arguments)

    told: set[threading.Thread] = set()
    monkeypatch.setattr(Channel, "abandon", full)

    def interrupted() -> Stop:
        emitter: EventEmitter[Any] = EventEmitter()
        emitter.on(Ping, lambda _: raise_interrupt())
        stop = stops[channel_of(emitter, Ping)] = Stop()

        def emit() -> None:
            with pytest.raises(KeyboardInterrupt):
                emitter.emit(Ping())

        threads.append(crew.run(emit))
        stop.wait()
        return stop

    threads: list[Future[None]] = []
    first, second = interrupted(), interrupted()
    raised = sys.getrecursionlimit()
    first.go()
    threads[0].result(30)
    assert sys.getrecursionlimit() == raised > limit
    second.go()
    threads[1].result(30)
    assert sys.getrecursionlimit() == limit
    third = interrupted()
    try:
        sys.setrecursionlimit(limit + 7)
        third.go()
        threads[2].result(30)
        assert sys.getrecursionlimit() == limit + 7, "what the program has set was undone"
    finally:
        sys.setrecursionlimit(limit)


# Where the interpreter itself skips an `except`


def codes(code: CodeType) -> Iterator[CodeType]:
    """Return a code object and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def uncovered_jumps(code: CodeType) -> set[int]:
    """Return the lines of backward jumps, where signals are handled, that no handler covers.

    In functions that have handlers: others are comprehensions here, and covered by who calls them.
    """
    entries: list[Any] = vars(dis)["_parse_exception_table"](code)
    if not entries:
        return set()
    return {
        found.positions.lineno or 0
        for found in dis.get_instructions(code)
        if found.opname == "JUMP_BACKWARD" and found.positions
        if not any(entry.start <= found.offset < entry.end for entry in entries)
    }


def relied_on(source: ast.AST) -> Iterator[range]:
    """Return the lines of each `try` body whose clean-up nothing may skip."""
    for node in ast.walk(source):
        if isinstance(node, ast.Try):
            kinds = {ast.unparse(each.type) for each in node.handlers if each.type is not None}
            if node.finalbody or "BaseException" in kinds:
                yield range(node.body[0].lineno, (node.body[-1].end_lineno or 0) + 1)


def skipped(source: str, name: str) -> list[int]:
    """Return the lines of a module where a signal handler can raise past a clean-up."""
    bodies = list(relied_on(ast.parse(source)))
    jumps = {
        line for code in codes(compile(source, name, "exec")) for line in uncovered_jumps(code)
    }
    return sorted(line for line in jumps if any(line in body for body in bodies))


def test_no_clean_up_can_be_skipped() -> None:
    """G11: the jump back of some loops is covered by no handler, so none is where it matters."""
    for module in PACKAGE.glob("*.py"):
        assert not skipped(module.read_text(encoding="utf-8"), str(module)), module


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the compiler covers these jumps")
def test_a_clean_up_that_can_be_skipped_is_found() -> None:
    """The search for such loops finds one."""
    source = """
def f(x):
    try:
        for each in x:
            print(each)
            if each:
                x()
    finally:
        print()
"""
    assert skipped(source, "example")


class CaughtInside:
    """An emit in a handler of the same type is cut short, and the handler catches that.

    1. A handler of Ping(1) emits Ping(2), which is cut short.
    2. It emits Ping(3), and lets the listener behind it see Ping(1).
    """

    def __init__(self, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.seen: list[int] = []
        self.caught = False
        self.emitter.on(Ping, self.handle)
        self.emitter.on(Ping, lambda event: self.seen.append(event.number))
        self.emitter.emit(Ping(0))

    def handle(self, event: Ping) -> None:
        if event.number == 1:
            try:
                self.emitter.emit(Ping(2))
            except KeyboardInterrupt:
                self.caught = True
            self.emitter.emit(Ping(3))

    def run(self) -> None:
        with suppress(KeyboardInterrupt):
            self.emitter.emit(Ping(1))

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def check(self, _: Point) -> None:
        if self.caught:
            assert [number for number in self.seen if number != 2] == [0, 1, 3]
        assert_idle(self.emitter, queue=False)


@pytest.mark.walks
@both_points
@both_kinds
def test_an_emit_cut_short_inside_a_handler_leaves_that_its_turn(
    kind: Emitter, points: Points
) -> None:
    """G3, G4, G11: the delivery that it comes from goes on, before anything newer."""
    assert inject_everywhere(lambda: CaughtInside(kind), package=PACKAGE, points=points) > 20


class PutAside(PutAsideCutShort):
    """A registration that interrupted a section is carried out afterwards, and is cut short."""

    def __init__(self) -> None:
        self.emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
        self.emitter.on(Pong, lambda _: None)
        self.seen: list[Ping] = []
        with interrupting_section():
            self.subscription = self.emitter.on(Ping, self.seen.append)

    def check(self, _: Point) -> None:
        self.emitter.emit(Ping(1))
        assert self.subscription.active
        assert self.seen == [Ping(1)]
        assert_idle(self.emitter)


class Counted:
    """A call that takes a snapshot is cut short, where not all listeners are plain."""

    def __init__(self) -> None:
        self.emitter: EventEmitter[Any] = EventEmitter()
        self.emitter.on(Ping, lambda _: None)
        self.emitter.emit(Ping())
        self.heard: list[int] = []
        self.follower: EventEmitter[Any] = EventEmitter()
        self.follower.on(Ping, lambda event: self.heard.append(event.number))
        self.follower.follow(self.emitter, Ping)
        self.stream = self.emitter.stream(Ping)
        self.expected = self.emitter.expect(Ping, where=lambda event: event.number == 3)

    def run(self) -> None:
        with suppress(KeyboardInterrupt):
            self.emitter.listener_count(Ping)

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def check(self, _: Point) -> None:
        for number in (1, 2, 3):
            self.emitter.emit(Ping(number))
        self.stream.close()
        assert self.heard == [event.number for event in self.stream] == [1, 2, 3]
        assert self.expected.result(0) == Ping(3)
        assert_idle(self.emitter)


@pytest.mark.walks
@both_points
def test_listeners_that_are_not_plain_are_told_after_a_call_was_cut_short(points: Points) -> None:
    """G11: whatever that had found out of them, it finds out again."""
    assert inject_everywhere(Counted, package=PACKAGE, points=points) > 20


class Forgotten:
    """A call that drops an event is cut short."""

    def __init__(self) -> None:
        self.emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
        event = HeldWeakly()
        self.event = weakref.ref(event)
        self.emitter.emit(event)

    def run(self) -> None:
        with suppress(KeyboardInterrupt):
            self.emitter.forget()

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def check(self, point: Point) -> None:
        if point.function == "Channel._settle_locked" and self.emitter.latest(HeldWeakly) is None:
            assert self.event() is None


class HeldWeakly:
    """An event."""


@pytest.mark.walks
@both_points
def test_what_was_dropped_is_not_kept_where_that_is_cut_short(points: Points) -> None:
    """G14: until this thread calls the package again, perhaps never."""
    assert inject_everywhere(Forgotten, package=PACKAGE, points=points) > 5


class PutAsideAndWaitedFor(PutAsideCutShort):
    """The replay of such a registration is cut short while another thread waits for its end."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
        self.emitter.emit(Ping(1))
        self.waiting: list[Future[bool]] = []
        with interrupting_section():
            self.subscription = self.emitter.on(Ping, self.handle)

    def handle(self, _: Ping) -> None:
        self.waiting.append(self.crew.run(self.subscription.off_and_wait))
        until_waited_for(channel_of(self.emitter, Ping), 1)

    def check(self, _: Point) -> None:
        assert all(each.result(PATIENCE) for each in self.waiting)
        catch_up(this_thread())  # what had not begun
        assert all(each.result(PATIENCE) for each in self.waiting)
        self.crew.join()
        assert_idle(self.emitter)


@pytest.mark.walks
@both_points
def test_nobody_waits_for_a_replay_that_was_put_aside_and_cut_short(
    crew: Crew, points: Points
) -> None:
    """G9, G11: whoever waits for a handler is told that it is through."""

    def make() -> PutAsideAndWaitedFor:
        return PutAsideAndWaitedFor(crew)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 5


def test_keyboard_interrupt_in_an_interrupting_on_leaves_no_replay(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G14: the event of it would be kept for ever.

    1 a call that interrupts this package registers, 2 another thread begins its replay, 3 Ctrl-C.
    """
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    original = Channel.ask

    def ask(self: Channel, listener: Listener, me: ThreadState) -> None:
        original(self, listener, me)
        assert crew.run(emitter.listener_count, Ping).result(PATIENCE) == 1  # 2
        raise KeyboardInterrupt  # 3

    monkeypatch.setattr(Channel, "ask", ask)
    with interrupting_section(), pytest.raises(KeyboardInterrupt):
        emitter.on(Ping, print)  # 1
    catch_up(this_thread())
    crew.join()
    assert_idle(emitter)


def test_a_second_interrupt_in_the_clean_up_of_a_wait_leaves_no_wait(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: the thread would wait as others see it, and its event type have a short way no more."""
    emitter: EventEmitter[Any] = EventEmitter()
    stop = Stop()
    subscription = emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping())
    stop.wait()
    monkeypatch.setattr(Gate, "wait", raise_interrupt)
    with pytest.raises(KeyboardInterrupt), on_entry(("unwatch_locked", raise_interrupt)):
        subscription.off_and_wait()
    stop.go()
    crew.join()
    assert_idle(emitter)


def test_a_second_interrupt_in_a_withdrawal_leaves_no_half_of_a_registration() -> None:
    """G11: of a `follow()` that was put aside, and whose replay Ctrl-C has ended."""
    source: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter: EventEmitter[Any] = EventEmitter()
    source.emit(Ping(1))
    source.emit(Pong(2))
    emitter.on(Pong, raise_interrupt)
    me = this_thread()
    with interrupting_section():
        emitter.follow(source, Ping, Pong)
    with pytest.raises(KeyboardInterrupt), on_entry(("withdraw", raise_interrupt)):
        catch_up(me)
    catch_up(me)
    assert source.event_types() == ()
    assert_idle(source)


@pytest.mark.walks
@both_points
def test_a_listener_put_aside_stays_when_that_is_cut_short(points: Points) -> None:
    """G11, G12: its `on()` has returned, and nobody is told that it was removed."""
    assert inject_everywhere(PutAside, package=PACKAGE, points=points) > 5
