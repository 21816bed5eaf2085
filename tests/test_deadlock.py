"""No combination of calls, from whatever threads and handlers, ends in threads that wait for ever.

That a test of this file returns is half of what it asserts: a deadlock fails it, with the stacks of
all threads, when its time is up.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from injection import Point, inject_everywhere
from support import (
    PATIENCE,
    Crew,
    KnownLock,
    Ping,
    Pong,
    Stop,
    assert_idle,
    channel_of,
    on_entry,
    until,
    until_in_line,
    until_waited_for,
)

import eventemitter
from eventemitter import EventEmitter, ReplayEventEmitter, Subscription
from eventemitter._channel import Channel
from eventemitter._sections import waits_lock
from eventemitter._turns import HandlerWait, TurnWait

EmitterType = type[EventEmitter[Any]]
both_emitters = pytest.mark.parametrize("emitter_type", [EventEmitter, ReplayEventEmitter])

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here"
)


class Node:
    """An emitter whose first listener acts on events, and whose others note them."""

    def __init__(self, emitter_type: EmitterType) -> None:
        """Make the emitter."""
        self.emitter = emitter_type()
        self.acts: dict[int, Callable[[], object]] = {}
        self.first: list[int] = []
        self.second: list[int] = []
        self.subscription = self.emitter.on(Ping, self._act)
        self.emitter.on(Ping, lambda event: self.second.append(event.number))

    def _act(self, event: Ping) -> None:
        self.first.append(event.number)
        self.acts.get(event.number, int)()

    def emit(self, number: int) -> None:
        """Emit the event of this number."""
        self.emitter.emit(Ping(number))

    @property
    def channel(self) -> Channel:
        """What the emitter keeps for its event type."""
        return channel_of(self.emitter, Ping)

    def check(self, *heard: int) -> None:
        """Assert that all listeners heard this, in this order, and that nothing is left."""
        assert self.first == list(heard)
        assert self.second == list(heard)  # G3
        assert_idle(self.emitter)


# Turns against turns


@both_emitters
def test_two_emitters_that_emit_each_other(crew: Crew, emitter_type: EmitterType) -> None:
    """The thread that would close the cycle hands its event over (G10).

    1 two threads deliver an event each, 2 one emits at the other's emitter and waits for its turn,
    3 the other emits at the one's emitter, and returns, 4 its event is delivered by the one.
    """
    a, b = Node(emitter_type), Node(emitter_type)
    both, order = threading.Barrier(2), list[str]()

    def from_a() -> None:
        both.wait(PATIENCE)  # 1
        b.emit(2)  # 2
        order.append("a emitted")

    def from_b() -> None:
        both.wait(PATIENCE)
        until_in_line(b.channel, 1)
        a.emit(4)  # 3
        order.append("b emitted")

    a.acts[1], b.acts[3] = from_a, from_b
    a.acts[4] = lambda: order.append("delivered")  # 4
    crew.run(a.emit, 1)
    crew.run(b.emit, 3)
    crew.join()
    a.check(1, 4)
    b.check(3, 2)
    assert order == ["b emitted", "a emitted", "delivered"]


@both_emitters
@pytest.mark.parametrize("size", [2, 3, 5])
def test_ring_of_emitters_that_emit_the_next(
    crew: Crew, emitter_type: EmitterType, size: int
) -> None:
    """Each thread holds a turn and wants the next one's: one of them hands over (G10)."""
    for _ in range(20):
        nodes = [Node(emitter_type) for _ in range(size)]
        all_deliver = threading.Barrier(size)

        def go_on(node: Node, all_deliver: threading.Barrier = all_deliver) -> None:
            all_deliver.wait(PATIENCE)
            node.emit(1)

        for index, node in enumerate(nodes):
            following = nodes[(index + 1) % size]
            node.acts[0] = partial(go_on, following)
        for node in nodes:
            crew.run(node.emit, 0)
        crew.join()
        for node in nodes:
            node.check(0, 1)


@both_emitters
def test_three_emitters_in_a_cycle_hand_one_event_over(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """Only the wait that would close the cycle is given up (G10, G5).

    1 three threads deliver, 2 the first waits for the second, 3 the second for the third, 4 the
    third hands its event to the first, and returns.
    """
    a, b, c = Node(emitter_type), Node(emitter_type), Node(emitter_type)
    all_deliver = threading.Barrier(3)
    seen: dict[str, bool] = {}

    def from_a() -> None:
        all_deliver.wait(PATIENCE)  # 1
        b.emit(1)  # 2
        seen["b"] = 1 in b.second

    def from_b() -> None:
        all_deliver.wait(PATIENCE)
        until_in_line(b.channel, 1)
        c.emit(1)  # 3
        seen["c"] = 1 in c.second

    def from_c() -> None:
        all_deliver.wait(PATIENCE)
        until_in_line(c.channel, 1)
        a.emit(1)  # 4
        seen["a"] = 1 in a.second

    a.acts[0], b.acts[0], c.acts[0] = from_a, from_b, from_c
    for node in (a, b, c):
        crew.run(node.emit, 0)
    crew.join()
    for node in (a, b, c):
        node.check(0, 1)
    assert seen == {"a": False, "b": True, "c": True}


@both_emitters
def test_waiting_without_a_cycle_is_not_handed_over(crew: Crew, emitter_type: EmitterType) -> None:
    """A chain of threads that ends in one which waits for nobody: all get their turns (G5, G10)."""
    a, b, c = Node(emitter_type), Node(emitter_type), Node(emitter_type)
    stop, seen = Stop(), list[bool]()

    def emit_and_look(node: Node) -> None:
        node.emit(1)
        seen.append(1 in node.second)

    a.acts[0] = stop
    b.acts[0] = lambda: emit_and_look(a)
    c.acts[0] = lambda: emit_and_look(b)
    crew.run(a.emit, 0)
    stop.wait()
    crew.run(b.emit, 0)
    until_in_line(a.channel, 1)
    crew.run(c.emit, 0)
    until_in_line(b.channel, 1)
    stop.go()
    crew.join()
    assert seen == [True, True]
    for node in (a, b):
        node.check(0, 1)
    c.check(0)


@both_emitters
def test_event_that_was_handed_over_goes_before_those_that_wait(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """The thread whose turn it is delivers it next; then the line moves up (G10, G3).

    1 two threads deliver at a and at b, 2 a third waits for its turn at a, 3 the one at a waits for
    its turn at b, 4 the one at b emits at a, and hands over.
    """
    a, b = Node(emitter_type), Node(emitter_type)
    stop = Stop()

    def from_a() -> None:
        stop()
        b.emit(2)  # 3

    def from_b() -> None:
        until_in_line(b.channel, 1)
        a.emit(3)  # 4

    a.acts[1], b.acts[1] = from_a, from_b
    crew.run(a.emit, 1)
    stop.wait()
    crew.run(a.emit, 4)
    until_in_line(a.channel, 1)  # 2
    crew.run(b.emit, 1)
    until(lambda: b.first)
    stop.go()
    crew.join()
    a.check(1, 3, 4)
    b.check(1, 2)


@both_emitters
def test_cycle_through_a_waiting_line(crew: Crew, emitter_type: EmitterType) -> None:
    """A thread waits also for those in front of it in line, once they have the turn (G10).

    1 a thread delivers at a, 2 a second waits for its turn at a, 3 a third, which delivers at c,
    waits behind it, 4 the second gets its turn, and emits at c: that waits for the third, which
    waits for it. It hands over.
    """
    a, c = Node(emitter_type), Node(emitter_type)
    stop = Stop()
    a.acts[1] = stop
    a.acts[2] = lambda: c.emit(2)  # 4
    c.acts[1] = lambda: a.emit(3)
    crew.run(a.emit, 1)
    stop.wait()  # 1
    crew.run(a.emit, 2)
    until_in_line(a.channel, 1)  # 2
    crew.run(c.emit, 1)
    until_in_line(a.channel, 2)  # 3
    stop.go()
    crew.join()
    a.check(1, 2, 3)
    c.check(1, 2)


@contextmanager
def on_signal(action: Callable[[], object]) -> Generator[Callable[[], None]]:
    """Have the main thread interrupt what it waits for by `action`, once; return what starts that.

    A signal that comes right before a thread waits for a lock is only seen when that is over. So it
    is sent until `action` has begun.
    """
    begun: list[bool] = []
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(_number: int, _frame: object) -> None:
        if not begun:
            begun.append(True)
            action()

    def seen() -> bool:
        signal.pthread_kill(main, signal.SIGUSR1)
        return bool(begun)

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield lambda: until(seen)
    finally:
        signal.signal(signal.SIGUSR1, previous)


@needs_signals
@both_emitters
def test_cycle_through_a_thread_that_waits_in_front(crew: Crew, emitter_type: EmitterType) -> None:
    """One that stands in line can be interrupted, and wait for a thread behind it (G10).

    1 a thread delivers at a, 2 the main thread waits for its turn at a, 3 another, which delivers
    at c, waits behind it, 4 a signal handler interrupts the main thread's wait and emits at c: that
    waits for the thread behind, which waits for the main thread. It hands over. 5 a goes on.
    """
    a, c = Node(emitter_type), Node(emitter_type)
    stop = Stop()
    a.acts[1] = stop
    c.acts[1] = lambda: a.emit(3)

    def drive() -> None:
        until_in_line(a.channel, 1)  # 2
        crew.run(c.emit, 1)
        until_in_line(a.channel, 2)  # 3
        trigger()  # 4
        until(lambda: handed_over)
        stop.go()  # 5

    handed_over: list[bool] = []

    def interrupt() -> None:
        c.emit(2)
        handed_over.append(True)

    with on_signal(interrupt) as trigger:
        crew.run(a.emit, 1)
        stop.wait()  # 1
        driving = crew.run(drive)
        a.emit(2)
        driving.result(PATIENCE)
    crew.join()
    a.check(1, 2, 3)
    c.check(1, 2)


@needs_signals
@both_emitters
@pytest.mark.parametrize("which", ["outer", "inner"])
def test_cycle_through_one_of_two_nested_waits(
    crew: Crew, emitter_type: EmitterType, which: str
) -> None:
    """A thread whose wait was interrupted by another wait waits for both (G10).

    1 the main thread delivers at a, and waits for a handler of b, which another thread runs, 2 a
    signal handler interrupts it, and waits for its turn at c, 3 the handler of b, or the one of c,
    emits at a: that waits for the main thread, which waits for it. It hands over. 4 all go on.
    """
    a, b, c = Node(emitter_type), Node(emitter_type), Node(emitter_type)
    stop_b, stop_c = Stop(), Stop()
    waited: list[bool] = []
    handed_over = threading.Event()

    def emit_after(stop: Stop, *, emits: bool) -> None:
        stop()
        if emits:
            a.emit(2)  # 3
            handed_over.set()

    b.acts[1] = partial(emit_after, stop_b, emits=which == "outer")
    c.acts[1] = partial(emit_after, stop_c, emits=which == "inner")
    a.acts[1] = lambda: waited.append(b.subscription.off_and_wait())
    stops = (stop_b, stop_c) if which == "outer" else (stop_c, stop_b)

    def drive() -> None:
        until_waited_for(b.channel, 1)  # 1
        trigger()
        until_in_line(c.channel, 1)  # 2
        stops[0].go()
        assert handed_over.wait(PATIENCE)
        stops[1].go()  # 4

    with on_signal(lambda: c.emit(2)) as trigger:
        crew.run(b.emit, 1)
        stop_b.wait()
        crew.run(c.emit, 1)
        stop_c.wait()
        driving = crew.run(drive)
        a.emit(1)
        driving.result(PATIENCE)
    crew.join()
    assert waited == [True]
    a.check(1, 2)
    c.check(1, 2)


# Handlers against turns


@both_emitters
def test_thread_that_is_waited_for_does_not_wait_for_the_turn_of_who_waits(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """It hands its event over, and the wait for its handler ends with True (G10, G9).

    1 two threads deliver, 2 the one at a waits for the handler of b, 3 that handler emits at a.
    """
    a, b = Node(emitter_type), Node(emitter_type)
    both, waited = threading.Barrier(2), list[bool]()

    def from_a() -> None:
        both.wait(PATIENCE)  # 1
        waited.append(b.subscription.off_and_wait())  # 2

    def from_b() -> None:
        both.wait(PATIENCE)
        until_waited_for(b.channel, 1)
        a.emit(2)  # 3

    a.acts[1], b.acts[1] = from_a, from_b
    crew.run(a.emit, 1)
    crew.run(b.emit, 1)
    crew.join()
    assert waited == [True]
    a.check(1, 2)
    b.check(1)


@both_emitters
@pytest.mark.parametrize("everybody", [False, True])
def test_thread_whose_turn_is_waited_for_does_not_wait_for_the_handler_of_who_waits(
    crew: Crew, emitter_type: EmitterType, *, everybody: bool
) -> None:
    """Its off_and_wait returns False, the listener gone; the other gets its turn (G10, G9).

    1 two threads deliver, 2 the one at b waits for its turn at a, 3 the handler of a waits for the
    handler of b.
    """
    a, b = Node(emitter_type), Node(emitter_type)
    both, waited = threading.Barrier(2), list[bool]()

    def from_a() -> None:
        both.wait(PATIENCE)  # 1
        until_in_line(a.channel, 1)
        if everybody:
            waited.append(b.emitter.remove_all_listeners_and_wait())  # 3
        else:
            waited.append(b.subscription.off_and_wait())
        assert not b.subscription.active

    def from_b() -> None:
        both.wait(PATIENCE)
        a.emit(2)  # 2

    a.acts[1], b.acts[1] = from_a, from_b
    crew.run(a.emit, 1)
    crew.run(b.emit, 1)
    crew.join()
    assert waited == [False]
    a.check(1, 2)
    assert b.first == [1]
    assert_idle(b.emitter)


@both_emitters
def test_cycle_of_a_turn_a_handler_and_a_turn(crew: Crew, emitter_type: EmitterType) -> None:
    """Three threads: one waits for a turn, one for a handler, the third hands over (G10).

    1 three threads deliver, 2 the one at a waits for its turn at b, 3 the one at b waits for the
    handler of c, 4 that handler emits at a.
    """
    a, b, c = Node(emitter_type), Node(emitter_type), Node(emitter_type)
    all_deliver, waited = threading.Barrier(3), list[bool]()

    def from_a() -> None:
        all_deliver.wait(PATIENCE)  # 1
        b.emit(2)  # 2

    def from_b() -> None:
        all_deliver.wait(PATIENCE)
        until_in_line(b.channel, 1)
        waited.append(c.subscription.off_and_wait())  # 3

    def from_c() -> None:
        all_deliver.wait(PATIENCE)
        until_waited_for(c.channel, 1)
        a.emit(2)  # 4

    a.acts[1], b.acts[1], c.acts[1] = from_a, from_b, from_c
    for node in (a, b, c):
        crew.run(node.emit, 1)
    crew.join()
    assert waited == [True]
    a.check(1, 2)
    b.check(1, 2)
    c.check(1)


def test_thread_that_waits_for_a_replay_does_not_hold_it_up(crew: Crew) -> None:
    """A replayed handler that emits where its waiter delivers hands its event over (G10, G2).

    1 a thread delivers at a, 2 another is replayed to at b, 3 the handler of a waits for the one of
    b, 4 that emits at a.
    """
    a = Node(ReplayEventEmitter)
    b = ReplayEventEmitter[Ping]()
    b.emit(Ping(1))
    stop, waited = Stop(), list[bool]()

    def replayed(_: Ping) -> None:
        stop()
        until_waited_for(channel_of(b, Ping), 1)
        a.emit(2)  # 4

    crew.run(b.on, Ping, replayed)
    stop.wait()  # 2
    a.acts[1] = lambda: waited.append(b.remove_all_listeners_and_wait())  # 3
    stop.go()
    a.emit(1)  # 1
    crew.join()
    assert waited == [True]
    a.check(1, 2)
    assert_idle(b)


# Handlers against handlers


@both_emitters
def test_two_handlers_that_wait_for_each_other(crew: Crew, emitter_type: EmitterType) -> None:
    """One returns False, so that the other can return True; both listeners are gone (G10, G9).

    1 two handlers run, 2 each removes the other's listener, and waits.
    """
    for _ in range(50):
        a, b = Node(emitter_type), Node(emitter_type)
        both = threading.Barrier(2)
        waited: list[bool] = []

        def remove(
            subscription: Subscription[Any],
            both: threading.Barrier = both,
            waited: list[bool] = waited,
        ) -> None:
            both.wait(PATIENCE)  # 1
            waited.append(subscription.off_and_wait())  # 2

        a.acts[1] = partial(remove, b.subscription)
        b.acts[1] = partial(remove, a.subscription)
        crew.run(a.emit, 1)
        crew.run(b.emit, 1)
        crew.join()
        assert sorted(waited) == [False, True]
        assert not a.subscription.active
        assert not b.subscription.active
        assert_idle(a.emitter)
        assert_idle(b.emitter)


def test_two_replayed_handlers_that_wait_for_each_other(crew: Crew) -> None:
    """Of one event type of one emitter, on two threads that register (G10, G2)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    both, waited = threading.Barrier(2), list[bool]()

    def remove(number: int) -> None:
        both.wait(PATIENCE)
        subscriptions = emitter.listeners(Ping)
        both.wait(PATIENCE)
        waited.append(subscriptions[number].off_and_wait())

    first = Stop()

    def first_handler(_: Ping) -> None:
        first()
        remove(1)

    crew.run(emitter.on, Ping, first_handler)
    first.wait()

    def second_handler(_: Ping) -> None:
        remove(0)

    crew.run(emitter.on, Ping, second_handler)
    until(lambda: emitter.listener_count(Ping) == 2)
    first.go()
    crew.join()
    assert sorted(waited) == [False, True]
    assert_idle(emitter)


@both_emitters
def test_ring_of_handlers_that_wait_for_the_next(crew: Crew, emitter_type: EmitterType) -> None:
    """Three handlers: only the wait that closes the cycle returns False (G10)."""
    nodes = [Node(emitter_type) for _ in range(3)]
    all_run = threading.Barrier(3)
    waited: list[tuple[int, bool]] = []

    def wait_for_next(index: int) -> None:
        all_run.wait(PATIENCE)
        if index > 0:
            until_waited_for(nodes[index].channel, 1)
        following = nodes[(index + 1) % 3]
        waited.append((index, following.subscription.off_and_wait()))

    for index, node in enumerate(nodes):
        node.acts[1] = partial(wait_for_next, index)
    for node in nodes:
        crew.run(node.emit, 1)
    crew.join()
    assert waited == [(2, False), (1, True), (0, True)]
    for node in nodes:
        assert_idle(node.emitter)


@both_emitters
def test_chain_of_handlers_that_wait_is_not_taken_for_a_cycle(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """The last waits for nobody, so all waits end with True (G9, G10)."""
    a, b, c = Node(emitter_type), Node(emitter_type), Node(emitter_type)
    stop, waited = Stop(), list[bool]()
    c.acts[1] = stop
    b.acts[1] = lambda: waited.append(c.subscription.off_and_wait())
    a.acts[1] = lambda: waited.append(b.subscription.off_and_wait())
    crew.run(c.emit, 1)
    stop.wait()
    crew.run(b.emit, 1)
    until_waited_for(c.channel, 1)
    crew.run(a.emit, 1)
    until_waited_for(b.channel, 1)
    stop.go()
    crew.join()
    assert waited == [True, True]


# A user's own lock


@both_emitters
def test_emit_nowait_under_a_lock_that_a_handler_wants(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """It does not wait for the thread that delivers, which waits for that lock (G10).

    1 a thread delivers, and is stopped, 2 the main thread takes its own lock, 3 the handler wants
    that lock, 4 the main thread calls emit_nowait, and gives its lock back.
    """
    node = Node(emitter_type)
    lock, stop = threading.Lock(), Stop()
    wants = threading.Event()

    def want() -> None:
        stop()
        wants.set()
        with lock:
            pass

    node.acts[1] = want
    crew.run(node.emit, 1)
    stop.wait()  # 1
    with lock:  # 2
        stop.go()
        assert wants.wait(PATIENCE)  # 3
        node.emitter.emit_nowait(Ping(2))  # 4
        assert node.first == [1]
    crew.join()
    node.check(1, 2)


# At any line


class Crossing:
    """Two threads that deliver, and each emit at the other's emitter, at any line of the one."""

    def __init__(
        self, emitter_type: EmitterType, crew: Crew, graph: KnownLock, *, waits_for_handler: bool
    ) -> None:
        """Stop the other thread in its handler."""
        self._crew, self._graph = crew, graph
        self._a, self._b = Node(emitter_type), Node(emitter_type)
        self._mutex = self._a.channel.mutex = KnownLock(self._a.channel.mutex)
        self._waits_for_handler = waits_for_handler
        self._stop, self._done, self._emitted = Stop(), threading.Event(), threading.Event()
        self._waited: list[bool] = []
        self._b.acts[1] = self._from_b
        self._a.acts[1] = self._from_a
        crew.run(self._b.emit, 1)
        self._stop.wait()
        crew.run(self._let_go)

    def _from_a(self) -> None:
        if self._waits_for_handler:
            self._waited.append(self._b.subscription.off_and_wait())
        else:
            self._b.emit(2)

    def _from_b(self) -> None:
        self._stop()
        self._a.emit(2)
        self._emitted.set()

    def _let_go(self) -> None:
        """Where the interruption is to come after the one has begun to wait, the other goes on."""
        channel = self._b.channel
        until(lambda: self._done.is_set() or is_waited_at(channel))
        self._stop.go()

    def run(self) -> None:
        """Deliver at a, and emit at b or wait for its handler."""
        self._a.emit(1)
        self._done.set()

    def interrupt(self) -> None:
        """Let the other thread emit at a, for as long as it does not wait for this one."""
        self._stop.go()
        me = threading.get_ident()
        if me not in self._mutex.threads | self._graph.threads:
            until(lambda: self._emitted.is_set() or is_waited_at(self._a.channel))

    def check(self, point: Point) -> None:
        """Assert that both have returned, and that nothing was lost."""
        del point  # inject_everywhere names it
        self._crew.join()
        self._a.check(*sorted(self._a.first, key=self._a.second.index))
        assert sorted(self._a.first) == [1, 2]
        if self._waits_for_handler:
            assert len(self._waited) == 1
            assert not self._b.subscription.active
        else:
            self._b.check(1, 2)
        assert_idle(self._b.emitter)


def is_waited_at(channel: Channel) -> bool:
    """Whether a thread waits for its turn or for a handler."""
    waits: tuple[TurnWait | HandlerWait, ...] = (*channel.line, *channel.watches)
    return any(wait in wait.thread.waits for wait in waits)


@pytest.mark.walks
@both_emitters
@pytest.mark.parametrize("waits_for_handler", [False, True])
def test_cycle_is_found_at_whatever_line_two_threads_come_to_wait(
    crew: Crew,
    emitter_type: EmitterType,
    monkeypatch: pytest.MonkeyPatch,
    *,
    waits_for_handler: bool,
) -> None:
    """The look at the graph and the entry into it are one step (G10).

    1 two threads deliver, 2 the one is stopped before a line of its emit, or of the one emit or
    off_and_wait of its handler, 3 the other emits where the one delivers, 4 the one goes on.
    """
    graph = KnownLock(waits_lock)
    monkeypatch.setattr("eventemitter._turns.waits_lock", graph)
    monkeypatch.setattr("eventemitter._channel.waits_lock", graph)
    inject_everywhere(
        lambda: Crossing(emitter_type, crew, graph, waits_for_handler=waits_for_handler),
        package=Path(eventemitter.__file__).parent,
        points="lines",
    )


# Everything at once


@dataclass(frozen=True)
class Step:
    """An event that tells a handler what to do: whatever this seed of chance says."""

    number: int
    seed: int
    depth: int


class Mesh:
    """Emitters whose handlers use each other at random."""

    def __init__(self, emitter_type: EmitterType, size: int) -> None:
        """Make the emitters, with three listeners each."""
        self.emitters = [emitter_type() for _ in range(size)]
        self.heard: list[tuple[list[Step], list[Step]]] = [([], []) for _ in self.emitters]
        self.emitted: list[list[Step]] = [[] for _ in self.emitters]
        self._numbers = count()
        self._subscriptions: list[Subscription[Step]] = []
        for emitter, (first, second) in zip(self.emitters, self.heard, strict=True):
            emitter.on(Step, first.append)
            emitter.on(Step, self._follow)
            emitter.on(Step, second.append)

    def work(self, seed: int, steps: int) -> None:
        """Do so many things at random."""
        chance = random.Random(seed)  # noqa: S311 - not for secrets
        for _ in range(steps):
            self._act(chance, 0)

    def _follow(self, step: Step) -> None:
        if step.depth < 3:
            self._act(random.Random(step.seed), step.depth + 1)  # noqa: S311 - not for secrets

    def _act(self, chance: random.Random, depth: int) -> None:
        index = chance.randrange(len(self.emitters))
        emitter = self.emitters[index]
        match chance.randrange(8):
            case 0:
                self._subscriptions.append(emitter.on(Step, ignore))
            case 1:
                if self._subscriptions:
                    chance.choice(self._subscriptions).off_and_wait()
            case 2:
                self._subscriptions.append(emitter.once(Step, ignore))
            case kind:
                step = Step(next(self._numbers), chance.randrange(1 << 30), depth)
                self.emitted[index].append(step)
                (emitter.emit_nowait if kind == 3 else emitter.emit)(step)

    def check(self) -> None:
        """Assert that nothing was lost or doubled, that one order held, and nothing is left."""
        for emitter, (first, second), emitted in zip(
            self.emitters, self.heard, self.emitted, strict=True
        ):
            assert first == second
            assert len(first) == len(emitted)
            assert set(first) == set(emitted)
            assert_idle(emitter)


def ignore(event: object) -> None:
    """Do nothing."""


@both_emitters
@pytest.mark.parametrize("seed", range(4))
def test_many_threads_emit_and_wait_at_many_emitters(
    crew: Crew, emitter_type: EmitterType, seed: int
) -> None:
    """Nobody hangs, nothing is lost or doubled, and one order holds for all listeners (G3, G10)."""
    mesh = Mesh(emitter_type, size=5)
    for each in range(8):
        crew.run(mesh.work, seed * 100 + each, 60)
    crew.join()
    mesh.check()


def test_wait_for_a_replay_that_an_interruption_began_is_no_cycle(crew: Crew) -> None:
    """It began before the thread came to wait, and so does not go on only after that (G9, G10).

    1 a thread delivers, 2 this one emits, too, and before it waits is interrupted by a call that
    registers, 3 the handler that has the turn waits for that replay, 4 which goes on.
    """
    emitter, replaying = EventEmitter[Any](), ReplayEventEmitter[Any]()
    replaying.emit(Pong())
    stop = Stop()
    subscriptions: list[Subscription[Any]] = []
    waited: list[bool] = []

    def on_ping(event: Ping) -> None:
        if event.number == 1:
            stop.wait()
            crew.run(let_go)
            waited.append(subscriptions[0].off_and_wait())  # 3

    def let_go() -> None:
        channel = channel_of(replaying, Pong)
        until(lambda: waited or channel.watches)
        stop.go()  # 4

    def register() -> None:
        subscriptions.append(replaying.on(Pong, stop))

    emitter.on(Ping, on_ping)
    crew.run(emitter.emit, Ping(1))
    until(lambda: channel_of(emitter, Ping).running)  # 1
    with on_entry(("arrive_locked", register)):
        emitter.emit(Ping(2))  # 2
    crew.join()
    assert waited == [True]
    assert_idle(emitter)
    assert_idle(replaying)
