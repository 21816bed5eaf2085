"""Two threads in one emitter: each schedule that could break the order is forced.

`force` makes the schedules: while one thread is stopped before a line of the package, another makes
a whole call, in one run before the first line, in the next before the second, and so on. The other
tests stop handlers, and number the steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from injection import Point, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    KnownLock,
    Ping,
    Pong,
    Stop,
    channel_of,
    until,
    until_in_line,
)

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter, Subscription
from eventemitter._channel import Channel
from eventemitter._listener import Listener

EmitterType = type[EventEmitter[Any]]
Register = Literal["on", "once"]

both_emitters = pytest.mark.parametrize("emitter_type", [EventEmitter, ReplayEventEmitter])
on_and_once = pytest.mark.parametrize("register", ["on", "once"])
with_and_without_others = pytest.mark.parametrize("others", [0, 1])


@dataclass
class Race:
    """A call to stop before each of its lines, what another thread calls then, what must hold."""

    channel: Channel
    call: Callable[[], object]
    rival: Callable[[], object]
    check: Callable[[], None]
    may_wait: bool = True
    """Whether the rival's call may wait until the stopped thread goes on."""


@dataclass
class Schedule:
    """A scenario for `inject_everywhere`: the interruption is another thread's call."""

    race: Race
    crew: Crew
    mutex: KnownLock = field(init=False)

    def __post_init__(self) -> None:
        """Put the stand-in where the mutex was."""
        self.mutex = KnownLock(self.race.channel.mutex)
        self.race.channel.mutex = self.mutex

    def run(self) -> None:
        """Make the call that is stopped."""
        self.race.call()

    def interrupt(self) -> None:
        """Let the rival make its call, for as long as it does not wait for the stopped thread."""
        future = self.crew.run(self.race.rival)
        if threading.get_ident() in self.mutex.threads:
            return  # it waits for the mutex, for as long as this thread is stopped
        until(lambda: future.done() or (self.race.may_wait and self._rival_waits()))

    def _rival_waits(self) -> bool:
        channel = self.race.channel
        watches = tuple(channel.watches)
        return bool(channel.line) or any(watch in watch.thread.waits for watch in watches)

    def check(self, point: Point) -> None:
        """Assert what must hold, once both calls have returned."""
        self.crew.join()
        del point  # inject_everywhere names it
        self.race.check()


def force(crew: Crew, make: Callable[[], Race]) -> None:
    """Run a fresh race for each line of its call at which the rival can come in between."""
    inject_everywhere(lambda: Schedule(make(), crew), package=PACKAGE, points="lines")


def numbers(events: list[Ping]) -> list[int]:
    """Return the numbers of events."""
    return [event.number for event in events]


def ignore(event: object) -> None:
    """Do nothing."""


# G1


@pytest.mark.walks
@on_and_once
@with_and_without_others
def test_on_at_any_line_of_an_emit_gets_its_event_once(
    crew: Crew, register: Register, others: int
) -> None:
    """By replay or live, never both and never neither (G1).

    1 a thread is stopped before a line of its emit, 2 another registers, 3 the emit goes on.
    """

    def make() -> Race:
        emitter = ReplayEventEmitter[Ping]()
        subscription = emitter.on(Ping, ignore)
        if not others:
            subscription.off()
        heard: list[Ping] = []
        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: getattr(emitter, register)(Ping, heard.append),
            check=lambda: check(heard),
            may_wait=False,
        )

    def check(heard: list[Ping]) -> None:
        assert numbers(heard) == [1]

    force(crew, make)


@pytest.mark.walks
@on_and_once
@pytest.mark.parametrize("emit", ["emit", "emit_nowait"])
def test_event_emitted_at_any_line_of_on_is_heard_once(
    crew: Crew, register: Register, emit: str
) -> None:
    """By replay or live, never both and never neither (G1).

    1 a thread is stopped before a line of its on(), 2 another emits, 3 the on() goes on.
    """

    def make() -> Race:
        emitter = ReplayEventEmitter[Ping]()
        emitter.on(Ping, ignore)
        heard: list[Ping] = []
        return Race(
            channel_of(emitter, Ping),
            call=lambda: getattr(emitter, register)(Ping, heard.append),
            rival=lambda: getattr(emitter, emit)(Ping(1)),
            check=lambda: check(heard),
            may_wait=False,
        )

    def check(heard: list[Ping]) -> None:
        assert numbers(heard) == [1]

    force(crew, make)


def test_latest_event_and_snapshot_change_in_one_step(crew: Crew) -> None:
    """Whoever is called live found no latest event to replay when it registered (G1).

    1 an emit is stopped right before it takes the mutex, 2 a listener registers, 3 the emit goes
    on; and again with the emit stopped right after it gave the mutex back.
    """
    for moment in ("acquire", "release"):
        emitter = ReplayEventEmitter[Ping]()
        emitter.on(Ping, ignore)
        emitter.emit(Ping(0))
        heard: list[Ping] = []
        stop = Stop()

        class Stopping(KnownLock):
            armed = True

            def stop_once(
                self, now: str, moment: str = moment, emit_thread: str = "emit", stop: Stop = stop
            ) -> None:
                if now == moment and self.armed and threading.current_thread().name == emit_thread:
                    self.armed = False
                    stop()

            def acquire(self) -> bool:
                self.stop_once("acquire")
                return super().acquire()

            def release(self) -> None:
                super().release()
                self.stop_once("release")

        channel = channel_of(emitter, Ping)
        channel.mutex = Stopping(channel.mutex)

        def emit(emitter: EventEmitter[Ping] = emitter) -> None:
            threading.current_thread().name = "emit"
            emitter.emit(Ping(1))

        crew.run(emit)
        stop.wait()  # 1
        emitter.on(Ping, heard.append)  # 2
        assert numbers(heard) == ([0] if moment == "acquire" else [1])
        stop.go()  # 3
        crew.join()
        assert numbers(heard) == ([0, 1] if moment == "acquire" else [1])


def test_on_during_a_delivery_gets_the_event_by_replay_alone(crew: Crew) -> None:
    """The snapshot was taken with the event: who comes later is replayed to (G1, G2).

    1 a delivery is stopped in a handler, 2 a listener registers, 3 the delivery goes on.
    """
    emitter = ReplayEventEmitter[Ping]()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    emitter.on(Ping, heard.append)  # 2
    assert numbers(heard) == [1]
    stop.go()  # 3
    crew.join()
    assert numbers(heard) == [1]


def test_on_during_a_delivery_of_a_plain_emitter_gets_the_next_event(crew: Crew) -> None:
    """The snapshot was taken with the event, and nothing is replayed (G1)."""
    emitter = EventEmitter[Ping]()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()
    emitter.on(Ping, heard.append)
    stop.go()
    crew.join()
    assert heard == []
    emitter.emit(Ping(2))
    assert numbers(heard) == [2]


# G2


@pytest.mark.walks
def test_events_emitted_at_any_line_of_on_follow_its_replay(crew: Crew) -> None:
    """Nothing older after newer, nothing missing, nothing twice (G2).

    1 a thread is stopped before a line of its on(), 2 another emits two events, 3 the on() goes on.
    """

    def make() -> Race:
        emitter = ReplayEventEmitter[Ping]()
        emitter.emit(Ping(1))
        heard: list[Ping] = []

        def rival() -> None:
            emitter.emit(Ping(2))
            emitter.emit(Ping(3))

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.on(Ping, heard.append),
            rival=rival,
            check=lambda: check(heard),
            may_wait=False,
        )

    def check(heard: list[Ping]) -> None:
        assert numbers(heard) in ([1, 2, 3], [2, 3], [3])

    force(crew, make)


@pytest.mark.walks
def test_on_at_any_line_of_an_emit_replays_what_came_before(crew: Crew) -> None:
    """Nothing older after newer, nothing missing, nothing twice (G2).

    1 a thread is stopped before a line of its emit, 2 another registers and is stopped in its
    replay, 3 the emit goes on and returns, 4 the replay goes on.
    """

    def make() -> Race:
        emitter = ReplayEventEmitter[Ping]()
        emitter.on(Ping, ignore)
        emitter.emit(Ping(1))
        heard: list[Ping] = []
        emitted, replaying = threading.Event(), threading.Event()

        def handler(event: Ping) -> None:
            if not heard:
                replaying.set()
                assert emitted.wait(PATIENCE)
            heard.append(event)

        def register() -> None:
            crew.run(emitter.on, Ping, handler)
            assert replaying.wait(PATIENCE)

        def call() -> None:
            emitter.emit(Ping(2))
            emitted.set()

        return Race(
            channel_of(emitter, Ping),
            call=call,
            rival=register,
            check=lambda: check(heard),
            may_wait=False,
        )

    def check(heard: list[Ping]) -> None:
        assert numbers(heard) in ([1, 2], [2])

    force(crew, make)


def test_events_emitted_during_a_replay_go_to_the_registering_thread(crew: Crew) -> None:
    """They follow the replay there, and their emitters do not wait for it (G2).

    1 a replay is stopped in its handler, 2 two other threads emit, and return, 3 the replay goes
    on, 4 the next event is delivered by who emits it.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop, heard, threads, early = Stop(), list[Ping](), list[int](), list[Ping]()
    emitter.on(Ping, early.append)

    def handler(event: Ping) -> None:
        stop()
        heard.append(event)
        threads.append(threading.get_ident())

    def register() -> int:
        emitter.on(Ping, handler)
        return threading.get_ident()

    registering = crew.run(register)
    stop.wait()  # 1
    crew.run(emitter.emit, Ping(2)).result(PATIENCE)  # 2
    emitter.emit(Ping(3))
    assert (numbers(early), heard) == ([1, 2, 3], [])
    stop.go()  # 3
    register_thread = registering.result(PATIENCE)
    assert numbers(heard) == [1, 2, 3]
    emitter.emit(Ping(4))  # 4
    assert numbers(heard) == [1, 2, 3, 4]
    assert threads == [register_thread] * 3 + [threading.get_ident()]


def test_events_emitted_by_a_replayed_handler_follow_its_replay() -> None:
    """Also where the registering thread itself emits them (G2, G4)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    heard: list[str] = []

    def handler(event: Ping) -> None:
        heard.append(f"begin {event.number}")
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))
        heard.append(f"end {event.number}")

    emitter.on(Ping, handler)
    assert heard == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


def test_queued_event_that_was_replayed_is_not_delivered_again(crew: Crew) -> None:
    """A listener that comes while events are queued sees the newest of them, once (G1, G2).

    1 a delivery is stopped in a handler, 2 another event is queued with it, 3 a listener registers,
    4 a further event is queued, 5 the delivery goes on.
    """
    emitter = ReplayEventEmitter[Ping]()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    emitter.emit_nowait(Ping(2))  # 2
    emitter.on(Ping, heard.append)  # 3
    assert numbers(heard) == [2]
    emitter.emit_nowait(Ping(3))  # 4
    stop.go()  # 5
    crew.join()
    assert numbers(heard) == [2, 3]


def test_listener_removed_during_its_replay_hears_nothing_more(crew: Crew) -> None:
    """Also not of the events that were emitted during its replay (G2, G8).

    1 a replay is stopped in its handler, 2 another thread emits, 3 and removes the listener, 4 the
    replay goes on.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop, heard = Stop(), list[Ping]()

    def handler(event: Ping) -> None:
        heard.append(event)
        stop()

    crew.run(emitter.on, Ping, handler)
    stop.wait()  # 1
    emitter.emit(Ping(2))  # 2
    assert emitter.off(Ping, handler)  # 3
    stop.go()  # 4
    crew.join()
    emitter.emit(Ping(3))
    assert numbers(heard) == [1]


def test_failing_replay_leaves_nothing_registered_though_events_came_meanwhile(crew: Crew) -> None:
    """If on() raises because its replay did, nothing stays registered (G11, G2).

    1 a replay is stopped in its handler, 2 another thread emits, 3 the handler raises.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop, heard = Stop(), list[Ping]()

    def handler(event: Ping) -> None:
        heard.append(event)
        stop()
        raise ValueError(event.number)

    def register() -> None:
        with pytest.raises(ExceptionGroup):
            emitter.on(Ping, handler)

    registering = crew.run(register)
    stop.wait()  # 1
    emitter.emit(Ping(2))  # 2
    stop.go()  # 3
    registering.result(PATIENCE)
    emitter.emit(Ping(3))
    assert (numbers(heard), emitter.listener_count(Ping)) == ([1], 0)


@both_emitters
def test_no_call_but_emit_waits_for_a_running_handler(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """On, once, off, listener_count and emit_nowait return while a handler is stopped (G2, G6)."""
    emitter = emitter_type()
    stop = Stop()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()
    subscription = emitter.on(Ping, ignore)
    emitter.once(Ping, ignore)
    count = emitter.listener_count(Ping)
    emitter.emit_nowait(Ping(2))
    assert emitter.off(subscription)
    assert emitter.off(Ping, stop)
    emitter.remove_all_listeners()
    stop.go()
    assert count == (2 if emitter_type is ReplayEventEmitter else 3)


def test_no_call_waits_for_a_running_replay(crew: Crew) -> None:
    """On, once, off, listener_count, emit and emit_nowait return while a replay is stopped (G2)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop, heard = Stop(), list[Ping]()
    crew.run(emitter.on, Ping, stop)
    stop.wait()

    def use() -> None:
        subscription = emitter.on(Ping, heard.append)
        emitter.once(Ping, heard.append)
        assert emitter.listener_count(Ping) == 2
        emitter.emit(Ping(2))
        emitter.emit_nowait(Ping(3))
        assert emitter.off(subscription)
        assert emitter.latest(Ping) == Ping(3)

    crew.run(use).result(PATIENCE)
    stop.go()
    assert numbers(heard) == [1, 1, 2, 3]


def test_listeners_that_register_under_fire_see_the_order_from_their_first_event_on(
    crew: Crew,
) -> None:
    """What each hears is a suffix of what the first listener heard (G1, G2, G3)."""
    emitter = ReplayEventEmitter[Ping]()
    reference: list[Ping] = []
    emitter.on(Ping, reference.append)
    emitter.emit(Ping(0))
    start = threading.Barrier(6)
    late: list[list[Ping]] = []

    def emit(first: int) -> None:
        start.wait(PATIENCE)
        for number in range(first, first + 100):
            (emitter.emit_nowait if number % 3 == 0 else emitter.emit)(Ping(number))

    def register() -> None:
        start.wait(PATIENCE)
        for _ in range(50):
            heard: list[Ping] = []
            late.append(heard)
            emitter.on(Ping, heard.append)

    for first in (1000, 2000, 3000):
        crew.run(emit, first)
        crew.run(register)
    crew.join()
    assert len(reference) == len(set(reference)) == 301
    for heard in late:
        assert heard == reference[-len(heard) :]


# G3 and G5


@pytest.mark.walks
@both_emitters
def test_two_emits_are_delivered_one_after_the_other(crew: Crew, emitter_type: EmitterType) -> None:
    """All listeners hear both in the same order, at whatever line they meet (G3, G5).

    1 a thread is stopped before a line of its emit, 2 another emits, 3 the first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        first, second = list[Ping](), list[Ping]()
        emitter.on(Ping, first.append)
        emitter.on(Ping, second.append)

        def rival() -> None:
            emitter.emit(Ping(2))
            assert Ping(2) in second  # G5

        def check() -> None:
            assert sorted(numbers(first)) == [1, 2]
            assert first == second

        return Race(channel_of(emitter, Ping), lambda: emitter.emit(Ping(1)), rival, check)

    force(crew, make)


@both_emitters
def test_emit_waits_for_its_turn_behind_a_slow_listener(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """No listener hears an event before all have heard the one before it (G3).

    1 a delivery is stopped in the first of two listeners, 2 another thread emits and waits,
    3 nobody hears the second event, 4 the delivery goes on.
    """
    emitter = emitter_type()
    stop, first, second = Stop(), list[Ping](), list[Ping]()

    def slow(event: Ping) -> None:
        first.append(event)
        if event == Ping(1):
            stop()

    emitter.on(Ping, slow)
    emitter.on(Ping, second.append)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    waiting = crew.run(emitter.emit, Ping(2))
    until_in_line(channel_of(emitter, Ping), 1)  # 2
    assert not waiting.done()
    assert (numbers(first), second) == ([1], [])  # 3
    stop.go()  # 4
    crew.join()
    assert numbers(first) == numbers(second) == [1, 2]


@both_emitters
def test_threads_that_wait_for_their_turn_get_it_in_the_order_they_came(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """First come, first served (G3).

    1 a delivery is stopped, 2 four threads come to wait, one after the other, 3 it goes on.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[tuple[int, int]]()

    def handler(event: Ping) -> None:
        stop()
        heard.append((event.number, threading.get_ident()))

    def emit(number: int) -> tuple[int, int]:
        emitter.emit(Ping(number))
        return number, threading.get_ident()

    emitter.on(Ping, handler)
    emits = [crew.run(emit, 1)]
    stop.wait()  # 1
    for number in range(2, 6):
        emits.append(crew.run(emit, number))
        until_in_line(channel_of(emitter, Ping), number - 1)  # 2
    stop.go()  # 3
    assert [emit.result(PATIENCE) for emit in emits] == heard


@both_emitters
def test_emit_that_had_to_wait_has_called_all_handlers_when_it_returns(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """In this thread, in registration order (G5)."""
    emitter = emitter_type()
    stop = Stop()
    heard: list[tuple[str, int, int]] = []

    def listen(name: str) -> None:
        def handler(event: Ping) -> None:
            heard.append((name, event.number, threading.get_ident()))

        emitter.on(Ping, handler)

    emitter.on(Ping, stop)
    listen("a")
    listen("b")
    listen("c")
    crew.run(emitter.emit, Ping(1))
    stop.wait()

    def go_on() -> None:
        until_in_line(channel_of(emitter, Ping), 1)
        stop.go()

    crew.run(go_on)
    emitter.emit(Ping(2))
    me = threading.get_ident()
    assert heard[3:] == [("a", 2, me), ("b", 2, me), ("c", 2, me)]


@both_emitters
def test_listener_registered_while_an_emit_waits_hears_its_event(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """An event that waits for its turn is emitted when the turn comes, for listeners too (G1, G3).

    1 a delivery is stopped, 2 another thread waits for its turn, 3 a listener registers, 4 go on.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    crew.run(emitter.emit, Ping(2))
    until_in_line(channel_of(emitter, Ping), 1)  # 2
    emitter.on(Ping, heard.append)  # 3
    stop.go()  # 4
    crew.join()
    assert numbers(heard) == ([1, 2] if emitter_type is ReplayEventEmitter else [2])


@both_emitters
def test_event_types_of_one_emitter_are_delivered_in_parallel(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """Each handler is in the middle of its event while the other is (G3)."""
    emitter = emitter_type()
    meeting = threading.Barrier(2)
    emitter.on(Ping, lambda _: meeting.wait(PATIENCE))
    emitter.on(Pong, lambda _: meeting.wait(PATIENCE))
    crew.run(emitter.emit, Ping())
    crew.run(emitter.emit, Pong())
    crew.join()


@both_emitters
def test_emitters_deliver_in_parallel(crew: Crew, emitter_type: EmitterType) -> None:
    """The same event type, the same handler, two emitters: no one order for both (G3)."""
    one, other = emitter_type(), emitter_type()
    meeting = threading.Barrier(2)
    one.on(Ping, lambda _: meeting.wait(PATIENCE))
    other.on(Ping, lambda _: meeting.wait(PATIENCE))
    crew.run(one.emit, Ping())
    crew.run(other.emit, Ping())
    crew.join()


@both_emitters
def test_listeners_hear_events_of_many_threads_in_one_order(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """And each thread's events in the order in which it emitted them (G3, G5)."""
    emitter = emitter_type()
    heard: list[list[Ping]] = [[], [], []]
    for each in heard:
        emitter.on(Ping, each.append)
    start = threading.Barrier(4)

    def emit(first: int) -> None:
        start.wait(PATIENCE)
        for number in range(first, first + 200):
            emitter.emit(Ping(number))
            assert Ping(number) in heard[2]

    for first in (0, 1000, 2000, 3000):
        crew.run(emit, first)
    crew.join()
    assert heard[0] == heard[1] == heard[2]
    for first in (0, 1000, 2000, 3000):
        mine = [number for number in numbers(heard[0]) if first <= number < first + 1000]
        assert mine == list(range(first, first + 200))


# Re-entrant emits and emit_nowait


@both_emitters
def test_reentrant_emit_goes_before_an_emit_that_waits(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """It is delivered before the outermost emit returns, and nobody's turn comes before (G4).

    1 a delivery is stopped, 2 another thread waits for its turn, 3 the handler goes on and emits.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[Ping]()

    def handler(event: Ping) -> None:
        if event == Ping(1):
            stop()
            emitter.emit(Ping(2))
            emitter.emit(Ping(3))

    emitter.on(Ping, handler)
    emitter.on(Ping, heard.append)

    def outermost() -> list[int]:
        emitter.emit(Ping(1))
        return numbers(heard)[:3]

    outer = crew.run(outermost)
    stop.wait()  # 1
    crew.run(emitter.emit, Ping(4))
    until_in_line(channel_of(emitter, Ping), 1)  # 2
    stop.go()  # 3
    assert outer.result(PATIENCE) == [1, 2, 3]
    crew.join()
    assert numbers(heard) == [1, 2, 3, 4]


@both_emitters
def test_emit_nowait_leaves_its_event_with_the_thread_that_delivers(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """It returns at once; that thread delivers the events, in order, before its emit returns.

    1 a delivery is stopped, 2 emit_nowait returns, 3 the delivery goes on.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[tuple[int, int]]()

    def handler(event: Ping) -> None:
        stop()
        heard.append((event.number, threading.get_ident()))

    emitter.on(Ping, handler)

    def emit() -> tuple[int, list[tuple[int, int]]]:
        emitter.emit(Ping(1))
        return threading.get_ident(), heard.copy()

    delivering = crew.run(emit)
    stop.wait()  # 1
    emitter.emit_nowait(Ping(2))  # 2
    emitter.emit_nowait(Ping(3))
    assert heard == []
    stop.go()  # 3
    thread, heard_on_return = delivering.result(PATIENCE)
    assert heard_on_return == [(1, thread), (2, thread), (3, thread)]


@both_emitters
def test_emit_nowait_delivers_itself_where_nobody_else_does(emitter_type: EmitterType) -> None:
    """Then it is emit (G5)."""
    emitter = emitter_type()
    heard: list[Ping] = []
    emitter.on(Ping, heard.append)
    emitter.emit_nowait(Ping(1))
    assert numbers(heard) == [1]


@pytest.mark.walks
@both_emitters
def test_emit_nowait_at_any_line_of_an_emit_is_delivered_and_never_waits(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """Also where the other thread is just giving its turn up: nothing is left behind (G3).

    1 a thread is stopped before a line of its emit, 2 another calls emit_nowait, which returns,
    3 the first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        first, second = list[Ping](), list[Ping]()
        emitter.on(Ping, first.append)
        emitter.on(Ping, second.append)

        def check() -> None:
            assert sorted(numbers(first)) == [1, 2]
            assert first == second
            channel = channel_of(emitter, Ping)
            assert (channel.holder, len(channel.queue), channel.line) == (None, 0, [])

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: emitter.emit_nowait(Ping(2)),
            check=check,
            may_wait=False,
        )

    force(crew, make)


@pytest.mark.walks
@both_emitters
@pytest.mark.parametrize("emit", ["emit", "emit_nowait"])
def test_emit_at_any_line_of_a_delivery_in_line_is_delivered(
    crew: Crew, emitter_type: EmitterType, emit: str
) -> None:
    """Nothing is lost, and nobody left waiting, where the turn goes from hand to hand (G3, G10).

    1 a thread has a queue to deliver, and is stopped before a line of that, 2 another emits, 3 the
    first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        first, second = list[Ping](), list[Ping]()

        def handler(event: Ping) -> None:
            first.append(event)
            if event == Ping(1):
                emitter.emit(Ping(2))

        emitter.on(Ping, handler)
        emitter.on(Ping, second.append)

        def check() -> None:
            assert sorted(numbers(first)) == [1, 2, 3]
            assert numbers(first).index(1) < numbers(first).index(2)
            assert first == second
            channel = channel_of(emitter, Ping)
            assert (channel.holder, len(channel.queue), channel.line) == (None, 0, [])

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: getattr(emitter, emit)(Ping(3)),
            check=check,
            may_wait=emit == "emit",
        )

    force(crew, make)


# G7


@pytest.mark.walks
@both_emitters
@pytest.mark.parametrize("emit", ["emit", "emit_nowait"])
def test_once_handler_is_called_once_by_two_threads_that_emit(
    crew: Crew, emitter_type: EmitterType, emit: str
) -> None:
    """At whatever line they meet (G7).

    1 a thread is stopped before a line of its emit, 2 another emits, 3 the first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        heard: list[Ping] = []
        subscription = emitter.once(Ping, heard.append)

        def check() -> None:
            assert len(heard) == 1
            assert not subscription.active
            assert emitter.listener_count(Ping) == 0

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: getattr(emitter, emit)(Ping(2)),
            check=check,
        )

    force(crew, make)


@both_emitters
def test_once_handler_that_raises_is_not_called_by_an_event_queued_meanwhile(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """It is claimed before it is called, also for events that were emitted before that (G7).

    1 a delivery is stopped in front of the once-handler, 2 another event is queued, for it too,
    3 the delivery goes on, 4 the once-handler emits a third event, and raises.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[Ping]()

    def handler(event: Ping) -> None:
        heard.append(event)
        emitter.emit(Ping(3))
        raise ValueError(event.number)

    emitter.on(Ping, stop)
    emitter.once(Ping, handler)

    def emit() -> int:
        with pytest.raises(ExceptionGroup) as raised:
            emitter.emit(Ping(1))
        return len(raised.value.exceptions)

    failing = crew.run(emit)
    stop.wait()  # 1
    emitter.emit_nowait(Ping(2))  # 2
    stop.go()  # 3, 4
    assert failing.result(PATIENCE) == 1
    assert numbers(heard) == [1]


@pytest.mark.walks
def test_once_handler_is_had_by_one_of_two_who_claim_it() -> None:
    """Between any two lines of the first claim, a second one takes all or nothing (G7)."""
    claimed: list[object] = []

    class Claims:
        def __init__(self) -> None:
            claimed.clear()
            self.listener = Listener(ignore, once=True)

        def run(self) -> None:
            claimed.append(self.listener.claim())

        def interrupt(self) -> None:
            claimed.append(self.listener.claim())

        def check(self, point: Point) -> None:
            del point
            assert len(claimed) == 2
            assert claimed.count(None) == 1
            assert not self.listener.active

    inject_everywhere(Claims, package=PACKAGE, points="lines")


@pytest.mark.walks
@both_emitters
def test_once_handler_that_off_met_is_either_removed_or_called(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """Off returns True where it came first, and False where the call did (G7, G8).

    1 a thread is stopped before a line of its emit, 2 another removes, 3 the first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        heard: list[Ping] = []
        removed: list[bool] = []
        subscription = emitter.once(Ping, heard.append)

        def check() -> None:
            [was_removed] = removed
            assert len(heard) == (0 if was_removed else 1)
            assert emitter.listener_count(Ping) == 0

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: removed.append(subscription.off()),
            check=check,
            may_wait=False,
        )

    force(crew, make)


# G8


@pytest.mark.walks
@both_emitters
def test_no_call_begins_after_off_returned(crew: Crew, emitter_type: EmitterType) -> None:
    """At whatever line of an emit off() comes (G8).

    1 a thread is stopped before a line of its emit, 2 another removes, 3 the first goes on.
    """

    def make() -> Race:
        emitter = emitter_type()
        late: list[Ping] = []
        removed = threading.Event()

        def handler(event: Ping) -> None:
            if removed.is_set():
                late.append(event)

        emitter.on(Ping, ignore)
        subscription = emitter.on(Ping, handler)

        def remove() -> None:
            assert subscription.off()
            removed.set()

        def check() -> None:
            assert late == []
            assert emitter.listener_count(Ping) == 1

        return Race(
            channel_of(emitter, Ping),
            call=lambda: emitter.emit(Ping(1)),
            rival=remove,
            check=check,
            may_wait=False,
        )

    force(crew, make)


@both_emitters
@pytest.mark.parametrize("everybody", [False, True])
def test_listener_still_to_come_that_is_removed_is_not_called(
    crew: Crew, emitter_type: EmitterType, *, everybody: bool
) -> None:
    """Not by the delivery under way, nor by what is queued behind it (G8).

    1 a delivery is stopped in the first of two listeners, 2 another event is queued, 3 the second
    listener is removed, 4 the delivery goes on.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    subscription = emitter.on(Ping, heard.append)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    emitter.emit_nowait(Ping(2))  # 2
    if everybody:
        emitter.remove_all_listeners(Ping)  # 3
    else:
        assert subscription.off()
    assert not subscription.off()
    stop.go()  # 4
    crew.join()
    assert heard == []
    assert emitter.listener_count(Ping) == (0 if everybody else 1)


@both_emitters
def test_handler_removes_the_next_one(emitter_type: EmitterType) -> None:
    """It is not called, and the one after it is (G8)."""
    emitter = emitter_type()
    heard: list[str] = []
    subscriptions: list[Subscription[Ping]] = []
    emitter.on(Ping, lambda _: subscriptions[0].off())
    subscriptions.append(emitter.on(Ping, lambda _: heard.append("second")))
    emitter.on(Ping, lambda _: heard.append("third"))
    emitter.emit(Ping())
    assert heard == ["third"]


@both_emitters
def test_removed_while_a_thread_waits_for_its_turn_it_is_not_called(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """An event that waits for its turn is not for listeners that are gone by then (G8).

    1 a delivery is stopped, 2 another thread waits for its turn, 3 the listener goes, 4 go on.
    """
    emitter = emitter_type()
    stop, heard = Stop(), list[Ping]()
    emitter.on(Ping, stop)
    subscription = emitter.on(Ping, heard.append)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    waiting: Future[object] = crew.run(emitter.emit, Ping(2))
    until_in_line(channel_of(emitter, Ping), 1)  # 2
    assert subscription.off()  # 3
    stop.go()  # 4
    waiting.result(PATIENCE)
    assert heard == []


# Handlers that are false


class Empty:
    """A handler that is false, as a callable collection can be."""

    def __init__(self) -> None:
        """Be empty."""
        self.heard: list[Ping] = []

    def __len__(self) -> int:
        """Make it false."""
        return 0

    def __call__(self, event: Ping) -> None:
        """Hear, and fail."""
        self.heard.append(event)
        raise ValueError(event.number)


@both_emitters
@on_and_once
def test_handler_that_is_false_is_called_and_blamed_as_any_other(
    emitter_type: EmitterType, register: Register
) -> None:
    """Live and by replay: nobody asks a handler whether it is true (G2, G7, G11)."""
    failures: list[HandlerFailure] = []
    emitter = emitter_type(on_error=failures.append)
    live, replayed = Empty(), Empty()
    getattr(emitter, register)(Ping, live)
    emitter.emit(Ping(1))
    emitter.remove_all_listeners()
    getattr(emitter, register)(Ping, replayed)
    replays = emitter_type is ReplayEventEmitter
    assert (numbers(live.heard), numbers(replayed.heard)) == ([1], [1] if replays else [])
    blamed = [failure.handler for failure in failures]
    assert len(blamed) == (2 if replays else 1)
    assert blamed[0] is live
    assert not replays or blamed[1] is replayed


def test_an_emit_in_a_replay_leaves_its_event_to_the_thread_that_delivers(crew: Crew) -> None:
    """G4: it comes from a handler of the same event type, so it returns at once.

    1. Another thread delivers an event, and stays in a handler.
    2. This thread registers a listener, which emits the same type when that event is replayed.
    """
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    stop = Stop()
    seen: list[Ping] = []

    def slow(event: Ping) -> None:
        if event.number == 1:
            stop()
        seen.append(event)

    def replayed(event: Ping) -> None:
        if event.number == 1:
            emitter.emit(Ping(2))

    emitter.on(Ping, slow)
    delivering = crew.run(emitter.emit, Ping(1))
    stop.wait()
    emitter.on(Ping, replayed)
    stop.go()
    delivering.result(30)
    assert seen == [Ping(1), Ping(2)]
