"""Calls that interrupt this package on their own thread: G12, and KeyboardInterrupt of G11."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import pytest
from injection import Point, inject_everywhere
from support import Crew, Ping, Pong, assert_idle, channel_of

import eventemitter
from eventemitter import EventEmitter, ReplayEventEmitter, Subscription
from eventemitter._sections import local, this_thread

PACKAGE = Path(eventemitter.__file__).parent
Emitter = type[EventEmitter[Any]]
Points = Literal["lines", "polls"]

CALLS = ["on", "once", "off", "emit", "emit_nowait", "emit_other", "on_and_off"]
OTHER_CALLS = ["off_and_wait", "remove_all_listeners", "listener_count", "off_by_handler"]

both_kinds = pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
both_points = pytest.mark.parametrize("points", ["lines", "polls"])


class World:
    """An emitter with two steady listeners, a once-listener and one to be removed.

    `call` makes the named call with events and listeners of its own, so that a call can interrupt
    another of the same name. What came of all calls together is asserted in `assert_exact`.
    """

    def __init__(self, kind: Emitter) -> None:
        self.replays = issubclass(kind, ReplayEventEmitter)
        self.emitter: EventEmitter[Any] = kind()
        self.steady: list[int] = []
        self.second: list[int] = []
        self.singles: list[int] = []
        self.others: list[int] = []
        self.victims: list[list[int]] = []
        self.victim_subscriptions: list[Subscription[Ping]] = []
        self.removed: list[tuple[list[Any], int]] = []
        self.victims_removed = 0
        self.late: list[list[int]] = []
        self.late_once: list[list[int]] = []
        self.emitted: list[int] = []
        self.cut_short: int | None = None
        self._listen(self.steady)
        for _ in range(2):
            self.victims.append([])
            self.victim_subscriptions.append(self._listen(self.victims[-1]))
        self._listen(self.second)
        self.emitter.on(Pong, lambda event: self.others.append(event.number))
        self.emitter.once(Ping, lambda event: self.singles.append(event.number))
        self.emitter.emit(Ping(1))
        self.others_emitted = 0

    def _listen(self, seen: list[int]) -> Subscription[Ping]:
        return self.emitter.on(Ping, lambda event: seen.append(event.number))

    def call(self, name: str, number: int) -> None:
        """Make the call `name`; `number` is the event it emits, if it does."""
        getattr(self, f"_{name}")(number)

    def _on(self, _: int) -> None:
        seen: list[int] = []
        assert self._listen(seen).active
        self.late.append(seen)

    def _once(self, _: int) -> None:
        seen: list[int] = []
        self.emitter.once(Ping, lambda event: seen.append(event.number))
        self.late_once.append(seen)

    def _off(self, number: int) -> None:
        victim = number % 2
        assert self.emitter.off(self.victim_subscriptions[victim])
        assert not self.victim_subscriptions[victim].active
        seen = self.victims[victim]
        self.removed.append((seen, len(seen)))
        self.victims_removed += 1

    def _on_and_off(self, _: int) -> None:
        seen: list[Ping] = []
        self.emitter.on(Ping, seen.append)
        assert self.emitter.off(Ping, seen.append), "a listener was not found again"
        self.removed.append((seen, len(seen)))

    def _off_by_handler(self, _: int) -> None:
        handler = self.victim_subscriptions[0].handler
        assert handler is not None
        assert self.emitter.off(Ping, handler)
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _off_and_wait(self, _: int) -> None:
        self.victim_subscriptions[0].off_and_wait(0)
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _remove_all_listeners(self, _: int) -> None:
        self.emitter.remove_all_listeners(Pong)
        self.removed.append((self.others, len(self.others)))
        self.others_emitted = len(self.others)

    def _listener_count(self, _: int) -> None:
        assert self.emitter.listener_count(Ping) >= 2

    def _emit(self, number: int) -> None:
        self.emitted.append(number)
        self.emitter.emit(Ping(number))

    def _emit_nowait(self, number: int) -> None:
        self.emitted.append(number)
        self.emitter.emit_nowait(Ping(number))

    def _emit_other(self, number: int) -> None:
        self.others_emitted += 1
        self.emitter.emit(Pong(number))

    def assert_exact(self) -> None:
        """Assert that nothing is lost, doubled, resurrected or held."""
        assert_idle(self.emitter, queue=self.cut_short is None)
        count = self.emitter.listener_count(Ping)
        once_left = len(self.late_once) - sum(map(bool, self.late_once))
        assert count == 4 - self.victims_removed + len(self.late) + once_left
        self._emit(99)
        if self.cut_short in self.steady:  # its emit() raised, but after it was committed
            self.emitted.append(self.cut_short)
        assert sorted(self.steady) == sorted([1, *self.emitted]), "an event was lost or doubled"
        # A delivery that was cut short ends there: later listeners do not get its event.
        seen = [number for number in self.steady if number != self.cut_short]
        assert [number for number in self.second if number != self.cut_short] == seen
        assert self.singles == [1], "a once-listener was called again"
        assert len(self.others) == self.others_emitted
        for seen, length in self.removed:
            assert len(seen) == length, "a removed listener was called"
        for seen in self.late:
            assert seen == self.steady[-len(seen) :], "a late listener saw a gap or a repeat"
            assert seen[-1] == 99, "a late listener was lost"
            assert not self.replays or len(seen) > 1, "no replay came"
        for seen in self.late_once:
            assert len(seen) == 1, "a once-listener was called twice, or lost"
        assert_idle(self.emitter)


class Interrupted:
    """One call interrupted by another."""

    def __init__(self, world: World, outer: str, inner: str) -> None:
        self.world, self.outer, self.inner = world, outer, inner

    def run(self) -> None:
        self.world.call(self.outer, 10)

    def interrupt(self) -> None:
        self.world.call(self.inner, 21)

    def check(self, _: Point) -> None:
        self.world.assert_exact()


@both_points
@both_kinds
@pytest.mark.parametrize("inner", CALLS)
@pytest.mark.parametrize("outer", CALLS + OTHER_CALLS)
def test_a_call_survives_a_call_that_interrupts_it_anywhere(
    outer: str, inner: str, kind: Emitter, points: Points
) -> None:
    """G12: whatever line or poll of a call another call interrupts, both are done exactly."""
    walked = inject_everywhere(
        lambda: Interrupted(World(kind), outer, inner), package=PACKAGE, points=points
    )
    assert walked > 5


class FirstUse:
    """A call on a fresh emitter, on a thread that the package has not met, interrupted by `on`."""

    def __init__(self, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.seen: list[str] = []
        if "state" in local.__dict__:
            del local.state

    def run(self) -> None:
        self.emitter.on(Ping, lambda _: self.seen.append("outer"))

    def interrupt(self) -> None:
        self.emitter.on(Ping, lambda _: self.seen.append("inner"))

    def check(self, _: Point) -> None:
        self.emitter.emit(Ping())
        assert sorted(self.seen) == ["inner", "outer"]
        assert_idle(self.emitter)


@both_points
@both_kinds
def test_the_first_use_of_an_emitter_survives_interruption(kind: Emitter, points: Points) -> None:
    """G12: two calls that both make the emitter's first channel use the same one."""
    assert inject_everywhere(lambda: FirstUse(kind), package=PACKAGE, points=points) > 5


class Contended:
    """An emit that finds the turn taken by another thread, interrupted while it gets in line.

    1. Another thread delivers Ping(5) and stays in its handler.
    2. This thread emits Ping(10), and waits in line.
    3. The other thread sees it in line, or that it has given up, and ends.
    4. This thread gets the turn.
    """

    def __init__(self, world: World, inner: Callable[[World], None]) -> None:
        self.world, self.inner = world, inner
        self.over = False
        self.crew = Crew()
        entered = threading.Event()
        channel = channel_of(world.emitter, Ping)

        def stay(event: Ping) -> None:
            if event.number == 5:
                entered.set()
                while not (channel.line or self.over):
                    time.sleep(0)  # lets the other thread run

        world.emitter.on(Ping, stay)
        world.victims_removed = -1  # for the listener that was just added
        world.emitted.append(5)
        self.crew.run(world.emitter.emit, Ping(5))
        assert entered.wait(30)

    def run(self) -> None:
        try:
            self.world.call("emit", 10)
        except KeyboardInterrupt:
            self.world.emitted.remove(10)
            self.world.cut_short = 10
        finally:
            self.over = True

    def interrupt(self) -> None:
        self.inner(self.world)

    def check(self, _: Point) -> None:
        self.crew.join()
        self.world.assert_exact()


@both_points
@both_kinds
@pytest.mark.parametrize("inner", CALLS)
def test_an_emit_that_waits_for_its_turn_survives_interruption(
    inner: str, kind: Emitter, points: Points
) -> None:
    """G12: a call that interrupts a waiting emit neither waits for it for ever nor is lost."""
    walked = inject_everywhere(
        lambda: Contended(World(kind), lambda world: world.call(inner, 21)),
        package=PACKAGE,
        points=points,
    )
    assert walked > 20


def interrupt(*_: object) -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


@both_points
@both_kinds
def test_a_waiting_emit_cut_short_leaves_the_line(kind: Emitter, points: Points) -> None:
    """G11: KeyboardInterrupt anywhere in a contended emit leaves the turn to those behind it."""
    walked = inject_everywhere(
        lambda: Contended(World(kind), interrupt), package=PACKAGE, points=points
    )
    assert walked > 20


class CutShort:
    """A call ended by KeyboardInterrupt, with events queued by a handler of the same type."""

    def __init__(self, kind: Emitter, call: str) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.call = call
        self.seen: list[int] = []
        self.queued: list[int] = []
        self.extra: list[Any] = []
        self.emitter.on(Ping, self.handle)
        self.subscription = self.emitter.on(Pong, lambda event: self.extra.append(event.number))
        self.once = self.emitter.once(Pong, lambda event: self.extra.append(-event.number))
        self.emitter.emit(Ping(7))
        self.interrupted = False

    def handle(self, event: Ping) -> None:
        self.seen.append(event.number)
        if event.number == 10:
            for number in (11, 12):
                self.emitter.emit(Ping(number))
                self.queued.append(number)

    def run(self) -> None:
        try:
            self.make_call()
        except KeyboardInterrupt:
            self.interrupted = True

    def make_call(self) -> None:
        match self.call:
            case "emit" | "emit_nowait":
                getattr(self.emitter, self.call)(Ping(10))
            case "on" | "once":
                getattr(self.emitter, self.call)(Ping, self.extra.append)
            case "off" | "off_and_wait":
                getattr(self.emitter, self.call)(self.subscription)
            case "emit_once":
                self.emitter.emit(Pong(3))
            case "forget":
                if isinstance(self.emitter, ReplayEventEmitter):
                    self.emitter.forget()
            case "latest":
                if isinstance(self.emitter, ReplayEventEmitter):
                    self.emitter.latest(Ping)
            case name:
                getattr(self.emitter, name)(Ping if name == "listener_count" else Pong)

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def check(self, point: Point) -> None:
        assert self.interrupted
        # The interpreter does not poll where a call of a Python function returns, as on() itself
        # does to its caller: whatever it registered, its caller has.
        if point.function not in {"EventEmitter.on", "EventEmitter.once"} or point.when == "before":
            count = self.emitter.listener_count(Ping)
            assert count == 1, "a registration that raised stayed"
        assert_idle(self.emitter, queue=False)
        self.emitter.emit(Ping(99))
        known = [number for number in self.seen if number not in {7, 10}]
        missing = {*self.queued, 99} - set(known)
        assert not missing, f"queued and lost: {missing}"
        assert known == sorted(known), "out of order"
        assert len(set(self.seen)) == len(self.seen), "delivered twice"
        if self.call in {"off", "off_and_wait", "remove_all_listeners"}:
            self.subscription.off()
            assert not any(each == self.subscription for each in self.emitter.listeners(Pong))
        self.emitter.emit(Pong(4))
        self.emitter.emit(Pong(5))
        assert sum(number < 0 for number in self.extra if isinstance(number, int)) <= 1
        assert_idle(self.emitter)


@both_points
@both_kinds
@pytest.mark.parametrize(
    "call",
    [
        "emit", "emit_nowait", "emit_once", "on", "once", "off", "off_and_wait", "listener_count",
        "remove_all_listeners", "remove_all_listeners_and_wait", "listeners", "forget", "latest",
    ],
)  # fmt: skip
def test_keyboard_interrupt_anywhere_leaves_the_emitter_usable(
    call: str, kind: Emitter, points: Points
) -> None:
    """G11: no lock stays held, no turn taken, no queued event lost, wherever it strikes."""
    if kind is EventEmitter and call in {"forget", "latest"}:
        pytest.skip("a plain emitter has no latest event")
    assert inject_everywhere(lambda: CutShort(kind, call), package=PACKAGE, points=points) > 5


class Alarm:
    """Calls a function from real signals, thousands of times a second, until stopped."""

    def __init__(self) -> None:
        self.function: Callable[[], None] | None = None
        # Wandering, so that the signals do not fall into step with what they interrupt.
        self.delays = cycle(number / 1e7 for number in range(200, 1000, 7))

    def start(self, function: Callable[[], None]) -> None:
        self.function = function
        self.handle()

    def handle(self, *_: object) -> None:
        if self.function is not None:
            self.function()
        if self.function is not None:
            # Not an interval: signals faster than their handler would nest without end.
            signal.setitimer(signal.ITIMER_REAL, next(self.delays))

    def stop(self) -> None:
        self.function = None
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    """Offer real signals, and stop them at the end."""
    alarm = Alarm()
    earlier = signal.signal(signal.SIGALRM, alarm.handle)
    yield alarm
    alarm.stop()
    signal.signal(signal.SIGALRM, earlier)


@both_kinds
def test_tens_of_thousands_of_signals_lose_nothing(kind: Emitter, alarm: Alarm) -> None:
    """G12: signal handlers that emit, register, remove and claim while the main thread does."""
    emitter: EventEmitter[Any] = kind()
    seen: list[int] = []
    second: list[int] = []
    once: dict[int, int] = {}
    numbers = iter(range(10**9))
    signals = 0

    def single(number: int) -> None:
        once[number] = 0

        def claim(_: Pong) -> None:
            once[number] += 1

        emitter.once(Pong, claim)

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals == 10_000:
            alarm.stop()  # here, as on a slow machine the loop below may not come to look
        emitter.emit(Ping(next(numbers)))
        subscription = emitter.on(Ping, lambda _: None)
        single(-signals)
        assert subscription.off()
        emitter.emit_nowait(Pong())

    emitter.on(Ping, lambda event: seen.append(event.number))
    emitter.on(Ping, lambda event: second.append(event.number))
    alarm.start(interrupt)
    rounds = 0
    while alarm.function is not None:
        rounds += 1
        emitter.emit(Ping(next(numbers)))
        single(rounds)
        with emitter.on(Ping, lambda _: None):
            emitter.emit(Pong())
    alarm.stop()
    emitter.emit(Pong())
    assert sorted(seen) == list(range(next(numbers)))
    assert second == seen
    assert set(once.values()) == {1}
    assert emitter.listener_count(Ping) == 2
    assert_idle(emitter)


class Finalized:
    """Garbage in a cycle, whose finalizer calls in."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cycle = self

    def __del__(self) -> None:
        self.call()


@both_kinds
def test_finalizers_that_call_in_during_any_allocation_lose_nothing(kind: Emitter) -> None:
    """G12: on CPython 3.11 a collection can start inside an allocation, so also inside a copy."""
    emitter: EventEmitter[Any] = kind()
    seen: list[int] = []
    late: list[Subscription[Ping]] = []
    numbers = iter(range(10**9))
    calls = 0

    def call_in() -> None:
        nonlocal calls
        calls += 1
        emitter.emit(Ping(next(numbers)))
        late.append(emitter.on(Ping, lambda _: None))
        if len(late) > 20:
            assert late.pop(0).off()

    emitter.on(Ping, lambda event: seen.append(event.number))
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        while calls < 2_000:
            Finalized(call_in)
            emitter.emit(Ping(next(numbers)))
            with emitter.on(Ping, lambda _: None):
                emitter.emit(Ping(next(numbers)))
            tuple([] for _ in range(5))
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert sorted(seen) == list(range(next(numbers)))
    assert emitter.listener_count(Ping) == 1 + len(late)
    assert_idle(emitter)


def test_a_failure_put_aside_is_reported_to_the_unraisable_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G11: an emit that interrupted a critical section has no caller left to raise to."""
    reported: list[BaseException | None] = []

    def hook(args: Any) -> None:
        reported.append(args.exc_value)

    monkeypatch.setattr("sys.unraisablehook", hook)
    emitter: EventEmitter[Ping] = EventEmitter()

    def fail(_: Ping) -> None:
        raise ValueError("broken")

    emitter.on(Ping, fail)
    me = this_thread()
    me.inside = True  # as if a critical section of another emitter were interrupted here
    emitter.emit(Ping())
    me.inside = False
    emitter.listener_count(Ping)
    assert [type(error) for error in reported] == [ExceptionGroup]
