"""`follow()`: an emitter emits what another emits, also in a ring, without end or deadlock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from injection import Point, Points, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    Ping,
    Pong,
    Stop,
    assert_idle,
    both_kinds,
    both_points,
    channel_of,
    until_in_line,
    until_waited_for,
)
from test_expect import Interruption, Rivalry, force

from eventemitter import EventEmitter, ReplayEventEmitter, Subscription

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]


def record(emitter: Emitter) -> list[int]:
    """Return the numbers of what the emitter emits from now on."""
    heard: list[int] = []
    emitter.on(Ping, lambda event: heard.append(event.number))
    emitter.on(Pong, lambda event: heard.append(event.number))
    return heard


def ring(kind: Kind, size: int) -> list[Emitter]:
    """Return emitters each of which follows the one before it."""
    emitters: list[Emitter] = [kind() for _ in range(size)]
    for number, emitter in enumerate(emitters):
        emitter.follow(emitters[number - 1], Ping)
    return emitters


class Declared(EventEmitter[Ping]):
    """Emits one type."""


# Passing on


def test_it_emits_what_the_source_emits(emitter: Emitter) -> None:
    """Of these types and no others, in the order of emission, before emit() returns (G5)."""
    source: Emitter = EventEmitter()
    heard = record(emitter)
    subscription = emitter.follow(source, Ping, Pong)
    source.emit(Ping(1))
    source.emit(Pong(2))
    source.emit("something else")
    assert heard == [1, 2]
    emitter.emit(Ping(3))
    assert heard == [1, 2, 3]
    assert source.listener_count(Ping) == source.listener_count(Pong) == 1
    assert isinstance(subscription, Subscription)
    assert_idle(emitter)
    assert_idle(source)


def test_handlers_run_in_the_thread_that_emits_at_the_source(crew: Crew, emitter: Emitter) -> None:
    """As if they were those of the source, in the order of registration there."""
    source: Emitter = EventEmitter()
    calls: list[tuple[str, int]] = []

    def note(name: str) -> Callable[[Ping], None]:
        return lambda _: calls.append((name, threading.get_ident()))

    source.on(Ping, note("before"))
    emitter.follow(source, Ping)
    source.on(Ping, note("after"))
    emitter.on(Ping, note("followed"))

    def emit() -> int:
        source.emit(Ping(1))
        return threading.get_ident()

    thread = crew.run(emit).result(PATIENCE)
    assert calls == [("before", thread), ("followed", thread), ("after", thread)]


def test_it_gives_an_emitter_a_replaying_face() -> None:
    """Who comes late gets the latest event of the face, which its source does not keep."""
    source: Emitter = EventEmitter()
    face: ReplayEventEmitter[Any] = ReplayEventEmitter()
    face.follow(source, Ping, Pong)
    source.emit(Ping(1))
    source.emit(Pong(2))
    source.emit(Ping(3))
    assert face.latest(Ping) == Ping(3)
    assert face.latest(Pong) == Pong(2)
    heard = record(face)
    assert heard == [3, 2]


def test_replayed_events_come_in_the_order_of_their_emission(kind: Kind) -> None:
    """Not in that of the types, which may be any."""
    for order in ((Ping, Pong), (Pong, Ping)):
        source: Emitter = ReplayEventEmitter()
        source.emit(Ping(0))
        source.emit(Pong(1))
        source.emit(Ping(2))
        emitter = kind()
        heard = record(emitter)
        emitter.follow(source, *order)
        assert heard == [1, 2]
        source.emit(Pong(3))
        assert heard == [1, 2, 3]
        assert_idle(source)


def test_events_that_come_during_the_replay_follow_it(emitter: Emitter) -> None:
    """A handler of a replayed event emits at the source: nothing is lost or older after newer."""
    source: Emitter = ReplayEventEmitter()
    source.emit(Ping(1))
    source.emit(Pong(2))
    heard = record(emitter)

    def handler(event: Ping) -> None:
        if event.number == 1:
            source.emit(Ping(3))

    emitter.on(Ping, handler)
    emitter.follow(source, Pong, Ping)
    assert heard == [1, 2, 3]
    assert_idle(source)
    assert_idle(emitter)


def test_following_twice_emits_twice(emitter: Emitter) -> None:
    """Each call is a registration of its own; a type that is named twice counts once."""
    source: Emitter = EventEmitter()
    heard = record(emitter)
    emitter.follow(source, Ping, Ping)
    source.emit(Ping(1))
    assert heard == [1]
    emitter.follow(source, Ping)
    source.emit(Ping(2))
    assert heard == [1, 2, 2]


def test_event_comes_once_over_each_way_that_leads_there(kind: Kind) -> None:
    """A diamond is no ring: who follows two emitters emits what each of them emits."""
    top, left, right, bottom = kind(), kind(), kind(), kind()
    left.follow(top, Ping)
    right.follow(top, Ping)
    bottom.follow(left, Ping)
    bottom.follow(right, Ping)
    heard = [record(each) for each in (top, left, right, bottom)]
    top.emit(Ping(1))
    assert heard == [[1], [1], [1], [1, 1]]


def test_long_chain_passes_events_on(kind: Kind) -> None:
    """From the first to the last, in order."""
    emitters: list[Emitter] = [kind() for _ in range(30)]
    for number in range(1, 30):
        emitters[number].follow(emitters[number - 1], Ping, Pong)
    heard = record(emitters[-1])
    emitters[0].emit(Ping(1))
    emitters[0].emit(Pong(2))
    assert heard == [1, 2]


@both_kinds
def test_follow_at_any_line_of_an_emit_gets_its_event_once(crew: Crew, kind: Kind) -> None:
    """By replay or live (G1): 1 an emit is stopped at a line, 2 another follows, 3 go on."""

    def make() -> Rivalry:
        source, emitter = ReplayEventEmitter[Any](), kind()
        source.on(Ping, str)
        heard = record(emitter)

        def check() -> None:
            assert heard == [1]
            source.emit(Pong(2))
            source.emit(Ping(3))
            assert heard == [1, 2, 3]
            assert_idle(source)
            assert_idle(emitter)

        return Rivalry(
            crew,
            [source, emitter],
            call=lambda: source.emit(Ping(1)),
            rival=lambda: emitter.follow(source, Pong, Ping),
            verify=check,
        )

    force(make)


@both_kinds
def test_events_emitted_at_any_line_of_follow_come_once(crew: Crew, kind: Kind) -> None:
    """By replay or live, per type without gap (G1, G2).

    1 follow() is stopped at a line, 2 another thread emits, 3 follow() goes on.
    """

    def make() -> Rivalry:
        source, emitter = ReplayEventEmitter[Any](), kind()
        source.emit(Pong(1))
        source.emit(Ping(2))
        heard = record(emitter)

        def rival() -> None:
            for event in (Ping(3), Pong(4), Ping(5)):
                source.emit(event)

        def check() -> None:
            assert [each for each in heard if each in (2, 3, 5)] in ([2, 3, 5], [3, 5], [5])
            assert [each for each in heard if each in (1, 4)] in ([1, 4], [4])
            assert source.listener_count(Ping) == source.listener_count(Pong) == 1
            assert_idle(source)
            assert_idle(emitter)

        return Rivalry(
            crew,
            [source, emitter],
            call=lambda: emitter.follow(source, Ping, Pong),
            rival=rival,
            verify=check,
        )

    force(make)


# Failures


def test_failures_of_its_handlers_are_raised_at_the_source(emitter: Emitter) -> None:
    """The source's own handlers are all called (G11)."""
    source: Emitter = EventEmitter()
    error = ValueError("broken")

    def fail(_: Ping) -> None:
        raise error

    heard: list[object] = []
    emitter.on(Ping, fail)
    emitter.on(Ping, heard.append)
    emitter.follow(source, Ping)
    source.on(Ping, heard.append)
    with pytest.raises(ExceptionGroup) as caught:
        source.emit(Ping(1))
    assert heard == [Ping(1), Ping(1)]
    group: Any = caught.value.exceptions[0]
    assert group.exceptions == (error,)
    assert_idle(source)
    assert_idle(emitter)


def test_failures_go_to_its_own_error_handler() -> None:
    """Then the source does not hear of them."""
    failures: list[object] = []
    source: Emitter = EventEmitter()
    emitter: Emitter = EventEmitter(on_error=lambda failure: failures.append(failure.event))

    def fail(_: Ping) -> None:
        raise ValueError

    emitter.on(Ping, fail)
    emitter.follow(source, Ping)
    source.emit(Ping(1))
    assert failures == [Ping(1)]


def test_failure_in_the_replay_is_raised_and_leaves_nothing_registered(emitter: Emitter) -> None:
    """Of none of the types (G11)."""
    source: Emitter = ReplayEventEmitter()
    source.emit(Ping(1))
    source.emit(Pong(2))

    def fail(_: Ping) -> None:
        raise ValueError

    emitter.on(Ping, fail)
    with pytest.raises(ExceptionGroup):
        emitter.follow(source, Pong, Ping)
    assert source.event_types() == ()
    assert_idle(source)
    assert_idle(emitter)


@pytest.mark.walks
@both_points
@both_kinds
def test_interrupted_follow_leaves_nothing_registered(kind: Kind, points: Points) -> None:
    """G11: who gets no subscription could never end it."""

    class Scenario:
        def __init__(self) -> None:
            self.source: Emitter = ReplayEventEmitter()
            self.source.emit(Ping(1))
            self.source.emit(Pong(2))
            self.emitter = kind()
            self.emitter.on(Ping, str)
            self.made: list[Subscription[Any]] = []

        def run(self) -> None:
            with suppress(KeyboardInterrupt):
                self.made.append(self.emitter.follow(self.source, Ping, Pong))

        def interrupt(self) -> None:
            raise KeyboardInterrupt

        def check(self, point: Point, /) -> None:
            assert_idle(self.source)
            assert_idle(self.emitter, queue=False)
            # The interpreter does not poll where follow() returns to its caller.
            if point.when == "before" or point.function != "EventEmitter.follow":
                assert self.source.listener_count(Ping) == len(self.made)
                assert self.source.listener_count(Pong) == len(self.made)

    assert inject_everywhere(Scenario, package=PACKAGE, points=points) > 20


@pytest.mark.walks
def test_follow_is_through_when_it_returns_in_any_handler() -> None:
    """Also in a handler that an interrupted call runs: the replay has been emitted.

    1 a call is interrupted at a line, 2 by an emit, 3 whose handler follows and looks.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        source: Emitter = ReplayEventEmitter()
        source.emit(Pong(1))
        found: list[list[int]] = []

        def handler(_: Ping) -> None:
            target: Emitter = EventEmitter()
            heard = record(target)
            target.follow(source, Pong, Ping)
            found.append([*heard])

        emitter.on(Ping, handler)

        def check() -> None:
            assert found == [[1]]

        return Interruption(
            lambda: emitter.on(Ping, str), lambda: emitter.emit(Ping(1)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points="lines") > 10


@pytest.mark.walks
@both_points
@both_kinds
def test_event_emitted_by_an_interruption_of_an_emit_comes_once(kind: Kind, points: Points) -> None:
    """G12: both events, in the order in which the source's handlers see them."""

    def make() -> Interruption:
        source, emitter = kind(), kind()
        first, heard = record(source), record(emitter)
        emitter.follow(source, Ping)

        def check() -> None:
            assert sorted(heard) == [1, 2]
            assert heard == first
            assert_idle(source)
            assert_idle(emitter)

        return Interruption(
            lambda: source.emit(Ping(1)), lambda: source.emit(Ping(2)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points=points) > 20


# Ending it


def test_off_ends_all_its_types(emitter: Emitter) -> None:
    """One subscription stands for all of them."""
    source: Emitter = EventEmitter()
    heard = record(emitter)
    subscription = emitter.follow(source, Ping, Pong)
    assert subscription.active
    assert subscription.event_type == Ping | Pong
    assert emitter.follow(EventEmitter(), Ping).event_type is Ping
    assert subscription.off()
    assert not subscription.active
    assert not subscription.off()
    source.emit(Ping(1))
    source.emit(Pong(2))
    assert heard == []
    assert source.event_types() == ()
    with emitter.follow(source, Ping):
        source.emit(Ping(3))
    source.emit(Ping(4))
    assert heard == [3]


def test_both_emitters_know_the_subscription() -> None:
    """`off` of the source, or of who follows; to any other it is foreign."""
    source, emitter, other = EventEmitter[Any](), EventEmitter[Any](), EventEmitter[Any]()
    other.on(Ping, str)
    for owner in (source, emitter):
        subscription = emitter.follow(source, Ping, Pong)
        with pytest.raises(ValueError, match="belongs to another emitter"):
            other.off(subscription)
        assert owner.off(subscription)
        assert not owner.off(subscription)
        assert owner.off_and_wait(emitter.follow(source, Ping))
        assert source.event_types() == ()


def test_removing_the_listeners_of_the_source_ends_it(emitter: Emitter) -> None:
    """And removing those of one type ends that."""
    source: Emitter = EventEmitter()
    heard = record(emitter)
    subscription = emitter.follow(source, Ping, Pong)
    source.remove_all_listeners(Ping)
    assert subscription.active
    source.emit(Ping(1))
    source.emit(Pong(2))
    source.remove_all_listeners()
    assert not subscription.active
    source.emit(Pong(3))
    assert heard == [2]


def test_off_and_wait_waits_for_its_handlers(crew: Crew, emitter: Emitter) -> None:
    """They run in a call of what it removes (G9).

    1 a handler of the follower is stopped, 2 another thread waits, 3 the handler goes on.
    """
    source: Emitter = EventEmitter()
    stop = Stop()
    emitter.on(Ping, stop)
    subscription = emitter.follow(source, Ping, Pong)
    crew.run(source.emit, Ping(1))
    stop.wait()
    assert not subscription.off_and_wait(0)
    waiting = crew.run(subscription.off_and_wait)
    assert not waiting.done()
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(source)


def test_who_waits_for_one_type_does_not_wait_for_the_replay_of_another(crew: Crew) -> None:
    """It is through with the one while it goes on with the other (G9).

    1 the replay of one type is stopped, 2 another thread waits for it, 3 it goes on, and the replay
    of another type is stopped: who waits does so no more, 4 the replay goes on.
    """
    source, emitter = ReplayEventEmitter[Any](), EventEmitter[Any]()
    stops = Stop(), Stop()
    emitter.on(Ping, stops[0])
    emitter.on(Pong, stops[1])
    source.emit(Ping(1))
    source.emit(Pong(2))
    crew.run(emitter.follow, source, Ping, Pong)
    stops[0].wait()
    waiting = crew.run(source.listeners(Ping)[0].off_and_wait)
    until_waited_for(channel_of(source, Ping), 1)
    stops[0].go()
    stops[1].wait()
    assert waiting.result(PATIENCE)
    assert source.remove_all_listeners_and_wait(Ping, 0)
    stops[1].go()
    crew.join()
    assert_idle(source)


def test_emit_in_the_replay_of_another_type_waits_for_its_turn(crew: Crew) -> None:
    """It comes from a handler of another type: all is delivered when it returns (G5).

    1 a replay goes on with its second type, whose handler waits until 2 another thread, which emits
    the first type, is stopped in a handler; 3 emits that type, too, 4 the other thread goes on.
    """
    source, emitter = ReplayEventEmitter[Any](), EventEmitter[Any]()
    stop = Stop()
    heard: list[int] = []

    def listen(event: Ping) -> None:
        if event.number == 2:
            stop()
        heard.append(event.number)

    def let_go() -> None:
        until_in_line(channel_of(source, Ping), 1)
        stop.go()

    def handler(_: Pong) -> None:
        crew.run(source.emit, Ping(2))
        stop.wait()
        crew.run(let_go)
        source.emit(Ping(3))
        heard.append(4)

    source.on(Ping, listen)
    emitter.on(Pong, handler)
    source.emit(Ping(1))
    source.emit(Pong(0))
    emitter.follow(source, Ping, Pong)
    crew.join()
    assert heard == [1, 2, 3, 4]


# Bad input


def test_what_cannot_be_followed_is_refused(emitter: Emitter) -> None:
    """Section 5: at once, and nothing is registered."""
    no_emitter: Any = object()
    no_type: Any = "connected"
    source: Emitter = EventEmitter()
    with pytest.raises(ValueError, match="cannot follow itself; follow another emitter"):
        emitter.follow(emitter, Ping)
    with pytest.raises(TypeError, match=r"follow\(\) takes the emitter to follow first"):
        emitter.follow(no_emitter, Ping)
    with pytest.raises(TypeError, match=r"follow\(\) takes the emitter to follow first"):
        emitter.follow(no_type)
    with pytest.raises(TypeError, match=r"follow\(\) was given no event type"):
        emitter.follow(source)
    with pytest.raises(TypeError, match=r"follow\(\): the event type must be a class"):
        emitter.follow(source, Ping, no_type)
    assert source.event_types() == ()
    assert emitter.event_types() == ()


def test_type_that_either_side_does_not_declare_is_refused() -> None:
    """Section 5: there would be nothing to emit, or nobody to emit it."""
    undeclared: Any = Pong
    other: Emitter = EventEmitter()
    with pytest.raises(TypeError, match="Declared declares Ping, not Pong"):
        Declared().follow(other, Ping, undeclared)
    with pytest.raises(TypeError, match="Declared declares Ping, not Pong"):
        other.follow(Declared(), Ping, Pong)
    assert other.event_types() == ()
    assert other.follow(Declared(), Ping).off()


# Rings


@both_kinds
@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_emitter_of_a_ring_emits_an_event_once(kind: Kind, size: int) -> None:
    """It ends when it comes to where it has been, whoever emitted it."""
    emitters = ring(kind, size)
    heard = [record(each) for each in emitters]
    for number, emitter in enumerate(emitters):
        emitter.emit(Ping(number))
        assert heard == [list(range(number + 1))] * size
    for emitter in emitters:
        assert_idle(emitter)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [2, 3])
def test_ring_that_is_closed_over_a_latest_event_ends(size: int, first: int) -> None:
    """The replays of follow() go round no more often than live events."""
    emitters: list[Emitter] = [ReplayEventEmitter() for _ in range(size)]
    emitters[0].emit(Ping(1))
    heard = [record(each) for each in emitters]
    for number in (*range(first, size), *range(first)):
        emitters[number].follow(emitters[number - 1], Ping)
    assert heard == [[1]] * size
    emitters[1].emit(Ping(2))
    assert [each.count(2) for each in heard] == [1] * size


@both_kinds
def test_event_emitted_by_a_handler_in_a_ring_goes_round_once(kind: Kind) -> None:
    """It is another event, with a way of its own (G4)."""
    emitters = ring(kind, 3)
    heard = [record(each) for each in emitters]

    def handler(event: Ping) -> None:
        if event.number < 3:
            emitters[1].emit(Ping(event.number + 1))

    emitters[2].on(Ping, handler)
    emitters[0].emit(Ping(1))
    for each in heard:
        assert sorted(each) == [1, 2, 3]
    for emitter in emitters:
        assert_idle(emitter)


@both_kinds
@pytest.mark.parametrize("size", [2, 3])
def test_two_threads_in_a_ring_do_not_deadlock(crew: Crew, kind: Kind, size: int) -> None:
    """Each waits for the other's turn: one gives way, and each emitter emits both once (G10).

    1 two threads emit at two emitters, and are stopped in a handler there, 2 both go on.
    """
    emitters: list[Emitter] = [kind() for _ in range(size)]
    stops = [Stop() for _ in range(2)]
    for stop, emitter in zip(stops, emitters, strict=False):
        emitter.on(Ping, stop)
    for number, emitter in enumerate(emitters):
        emitter.follow(emitters[number - 1], Ping)
    heard = [record(each) for each in emitters]
    for number in range(2):
        crew.run(emitters[number].emit, Ping(number))
        stops[number].wait()
    for stop in stops:
        stop.go()
    crew.join()
    for each in heard:
        assert sorted(each) == [0, 1]
    for emitter in emitters:
        assert_idle(emitter)


@both_kinds
@pytest.mark.parametrize("size", [2, 3])
def test_emit_at_any_line_of_an_emit_in_a_ring_goes_round_once(
    crew: Crew, kind: Kind, size: int
) -> None:
    """No recursion, no deadlock, nothing lost, nothing twice (G10).

    1 an emit is stopped at a line, 2 another thread emits at another emitter, 3 the first goes on.
    """

    def make() -> Rivalry:
        emitters = ring(kind, size)
        heard = [record(each) for each in emitters]

        def check() -> None:
            for each in heard:
                assert sorted(each) == [1, 2]
            for emitter in emitters:
                assert_idle(emitter)

        return Rivalry(
            crew,
            emitters,
            call=lambda: emitters[0].emit(Ping(1)),
            rival=lambda: emitters[1].emit(Ping(2)),
            verify=check,
        )

    force(make)


def test_emit_waits_for_its_turn_at_who_follows(crew: Crew, kind: Kind) -> None:
    """The one order of the follower's events (G3).

    1 a delivery of the follower is stopped, 2 the source emits: it waits, 3 the delivery goes on.
    """
    source, emitter = kind(), kind()
    stop = Stop()
    emitter.on(Ping, stop)
    heard = record(emitter)
    emitter.follow(source, Ping)
    crew.run(emitter.emit, Ping(1))
    stop.wait()
    emitting = crew.run(source.emit, Ping(2))
    until_in_line(channel_of(emitter, Ping), 1)
    assert not emitting.done()
    stop.go()
    crew.join()
    assert heard == [1, 2]
