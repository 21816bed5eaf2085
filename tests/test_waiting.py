"""`off_and_wait` waits for the handler it removes, for nothing else, and leaves nothing behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from support import (
    PATIENCE,
    Crew,
    Ping,
    Pong,
    Stop,
    assert_idle,
    channel_of,
    on_entry,
    raise_interrupt,
    until_in_line,
    until_waited_for,
)

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter, Subscription
from eventemitter._channel import Channel, Herald
from eventemitter._sections import this_thread
from eventemitter._turns import Gate, Turn

EmitterType = type[EventEmitter[Any]]
Wait = Callable[[EventEmitter[Any], Subscription[Any], float | None], bool]

both_emitters = pytest.mark.parametrize("emitter_type", [EventEmitter, ReplayEventEmitter])


def of_subscription(
    emitter: EventEmitter[Any], subscription: Subscription[Any], timeout: float | None
) -> bool:
    """Wait as the owner of the subscription does."""
    del emitter
    return subscription.off_and_wait(timeout)


def of_emitter(
    emitter: EventEmitter[Any], subscription: Subscription[Any], timeout: float | None
) -> bool:
    """Wait as the owner of the emitter does."""
    return emitter.off_and_wait(subscription, timeout)


def of_all(
    emitter: EventEmitter[Any], subscription: Subscription[Any], timeout: float | None
) -> bool:
    """Wait for all handlers of all event types."""
    del subscription
    return emitter.remove_all_listeners_and_wait(timeout=timeout)


def of_event_type(
    emitter: EventEmitter[Any], subscription: Subscription[Any], timeout: float | None
) -> bool:
    """Wait for all handlers of one event type."""
    return emitter.remove_all_listeners_and_wait(subscription.event_type, timeout)


all_ways = pytest.mark.parametrize("wait", [of_subscription, of_emitter, of_all, of_event_type])


def ignore(event: object) -> None:
    """Do nothing."""


def run_live(crew: Crew, emitter: EventEmitter[Any], handler: Stop) -> Subscription[Any]:
    """Have `handler` called by a thread that emits, and stop there."""
    subscription = emitter.on(Ping, handler)
    crew.run(emitter.emit, Ping())
    handler.wait()
    return subscription


def run_once(crew: Crew, emitter: EventEmitter[Any], handler: Stop) -> Subscription[Any]:
    """Have `handler` called by a thread that emits for the only time, and stop there."""
    subscription = emitter.once(Ping, handler)
    crew.run(emitter.emit, Ping())
    handler.wait()
    return subscription


def run_queued(crew: Crew, emitter: EventEmitter[Any], handler: Stop) -> Subscription[Any]:
    """Have `handler` called with an event that its thread found in the queue, and stop there."""
    arrived = Stop()
    first = emitter.on(Ping, arrived)
    crew.run(emitter.emit, Ping())
    arrived.wait()
    first.off()
    if isinstance(emitter, ReplayEventEmitter):
        emitter.forget()
    subscription = emitter.on(Ping, handler)
    emitter.emit_nowait(Ping())
    arrived.go()
    handler.wait()
    return subscription


live_calls = pytest.mark.parametrize("run", [run_live, run_once, run_queued])
Run = Callable[[Crew, EventEmitter[Any], Stop], Subscription[Any]]


# Waiting


@both_emitters
@all_ways
@live_calls
def test_it_waits_until_the_handler_is_through(
    crew: Crew, emitter_type: EmitterType, wait: Wait, run: Run
) -> None:
    """However it is called, and for whatever kind of call (G9).

    1 the handler is stopped, 2 another thread waits for it, 3 the handler goes on.
    """
    emitter = emitter_type()
    stop = Stop()
    through: list[bool] = []
    subscription = run(crew, emitter, stop)  # 1

    def owner() -> bool:
        waited = wait(emitter, subscription, None)
        through.append(open_by_now.is_set())
        return waited

    open_by_now = threading.Event()
    waiting = crew.run(owner)
    until_waited_for(channel_of(emitter, Ping), 1)  # 2
    assert not waiting.done()
    assert not subscription.active
    assert emitter.listener_count(Ping) == 0
    open_by_now.set()
    stop.go()  # 3
    assert waiting.result(PATIENCE)
    assert through == [True]
    crew.join()
    assert_idle(emitter)


@all_ways
def test_it_waits_for_a_replay_on_another_thread(crew: Crew, wait: Wait) -> None:
    """The handler's events that came during the replay are not delivered any more (G9, G2).

    1 a replay is stopped in its handler, 2 another thread emits, 3 and another waits, 4 go on.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop = Stop()
    heard: list[Ping] = []

    def handler(event: Ping) -> None:
        heard.append(event)
        stop()

    crew.run(emitter.on, Ping, handler)
    stop.wait()  # 1
    [subscription] = emitter.listeners(Ping)
    emitter.emit(Ping(2))  # 2
    waiting = crew.run(wait, emitter, subscription, None)
    until_waited_for(channel_of(emitter, Ping), 1)  # 3
    assert not waiting.done()
    stop.go()  # 4
    assert waiting.result(PATIENCE)
    assert heard == [Ping(1)]
    crew.join()
    assert_idle(emitter)


def test_it_waits_for_the_replay_of_a_once_handler(crew: Crew) -> None:
    """Though that is never registered (G9, G7)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    stop = Stop()
    crew.run(emitter.once, Ping, stop)
    stop.wait()
    assert emitter.listeners(Ping) == ()
    waiting = crew.run(emitter.remove_all_listeners_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)
    assert not waiting.done()
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("register", ["on", "once"])
def test_a_replay_still_to_begin_does_not_after_all_were_removed(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    """Though a once-handler is not registered then: its owner may free what it uses (G8, G9).

    1 a handler is given its replay, 2 another thread forgets the event and removes all.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    heard: list[Ping] = []
    original: Any = Channel.replay

    def remove_all() -> bool:
        emitter.forget()
        return emitter.remove_all_listeners_and_wait()

    def replay(self: Channel, *args: Any, **kwargs: Any) -> None:  # 1
        assert crew.run(remove_all).result(PATIENCE)  # 2
        original(self, *args, **kwargs)

    monkeypatch.setattr(Channel, "replay", replay)
    getattr(emitter, register)(Ping, heard.append)
    assert heard == []
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("register", ["on", "once"])
@pytest.mark.parametrize("remove", ["off", "remove_all_listeners", "remove_all_listeners_and_wait"])
def test_a_replay_that_was_put_aside_does_not_begin_after_its_listener_was_removed(
    crew: Crew, remove: str, register: str
) -> None:
    """Whoever removes it has another thread's word that it is registered (G8, G9, G12).

    1 a signal handler interrupts this package and registers, 2 another thread removes the listener,
    3 the interrupted call goes on.
    """
    interrupted = EventEmitter[Any]()
    interrupted.on(Pong, print)
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    heard: list[Ping] = []
    listen = heard.append
    arguments = [Ping, listen] if remove == "off" else [Ping]
    removed: list[object] = []

    def on_signal() -> None:
        subscription = getattr(emitter, register)(Ping, listen)  # 1
        removed.append(crew.run(getattr(emitter, remove), *arguments).result(PATIENCE))  # 2
        assert not subscription.active

    with on_entry(("_settle_locked", on_signal)):
        interrupted.listener_count(Pong)  # 3
    assert removed == [None if remove == "remove_all_listeners" else True]
    assert heard == []
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("ending", ["return", "raise", "interrupt"])
@both_emitters
def test_it_waits_no_longer_however_the_handler_ends(
    crew: Crew, emitter_type: EmitterType, ending: str
) -> None:
    """A handler that raises, and even one that is interrupted, is through (G9, G11)."""
    emitter = emitter_type(on_error=ignore)
    stop = Stop()

    def handler(_: Ping) -> None:
        stop()
        if ending == "raise":
            raise ValueError
        if ending == "interrupt":
            raise KeyboardInterrupt

    def emit() -> None:
        try:
            emitter.emit(Ping())
        except KeyboardInterrupt:
            assert ending == "interrupt"

    subscription = emitter.on(Ping, handler)
    emitter.on(Ping, ignore)
    crew.run(emit)
    stop.wait()
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


# Waiting for that handler alone


@both_emitters
@pytest.mark.parametrize("queued", [False, True])
def test_it_does_not_wait_for_the_rest_of_the_delivery(
    crew: Crew, emitter_type: EmitterType, *, queued: bool
) -> None:
    """Only for its handler (G9).

    1 the handler is stopped, 2 another thread waits, 3 the delivery goes on to the next handler,
    which is stopped, 4 the wait is over.
    """
    emitter = emitter_type()
    stop, rest = Stop(), Stop()
    subscription = emitter.on(Ping, stop)
    emitter.on(Ping, rest)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    if queued:
        emitter.emit_nowait(Ping(2))
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)  # 2
    stop.go()
    rest.wait()  # 3
    assert waiting.result(PATIENCE)  # 4
    rest.go()
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_the_next_handler_is_the_one_that_raised(crew: Crew, emitter_type: EmitterType) -> None:
    """G11: also where the delivery says first that the wait is over; later ones are as ever.

    1 a handler is stopped, 2 another thread waits for it, 3 it goes on, and the next one raises.
    """
    failures: list[HandlerFailure] = []
    emitter = emitter_type(on_error=failures.append)
    stop = Stop()
    last: list[Ping] = []

    class Fail:
        """A handler that nobody may ask for anything else."""

        def __call__(self, _: Ping) -> None:
            raise ValueError("broken")

        def __bool__(self) -> bool:
            raise AssertionError("it has been asked whether it is true")

    fail = Fail()
    subscription = emitter.on(Ping, stop)
    emitter.on(Ping, fail)
    emitter.on(Ping, last.append)
    emitting = crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)  # 2
    stop.go()  # 3
    assert waiting.result(PATIENCE)
    emitting.result(PATIENCE)
    emitter.emit(Ping(2))
    assert [failure.handler is fail for failure in failures] == [True, True]
    assert last == [Ping(1), Ping(2)]
    assert [each.call for each in channel_of(emitter, Ping).listeners] == [fail, last.append]
    assert_idle(emitter)


@both_emitters
def test_nothing_is_left_where_the_next_handler_is_never_called(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """G14: the next delivery takes back what was to tell it.

    G11: KeyboardInterrupt ends the delivery. G8: nobody but a delivery puts a handler back.
    """
    emitter = emitter_type()
    stop = Stop()

    def interrupt(_: Ping) -> None:
        stop()
        raise KeyboardInterrupt

    def emit() -> None:
        with pytest.raises(KeyboardInterrupt):
            emitter.emit(Ping())

    subscription = emitter.on(Ping, interrupt)
    emitter.on(Ping, ignore)
    channel = channel_of(emitter, Ping)
    crew.run(emit)
    stop.wait()
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel, 1)
    assert [each.call for each in channel.listeners] != [ignore]
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert channel.herald is None
    emitter.emit(Ping())
    assert [each.call for each in channel.listeners] == [ignore]
    assert_idle(emitter)


@both_emitters
def test_event_whose_first_handler_was_not_begun_is_kept(
    emitter_type: EmitterType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: KeyboardInterrupt where the delivery is about to tell who waits, and then to call it.

    1 a handler leaves an event in the queue, 2 the next emit begins with that, and is interrupted.
    """
    emitter = emitter_type()
    seen: list[int] = []

    def leave(event: Ping) -> None:
        emitter.emit(Ping(event.number + 1))
        raise KeyboardInterrupt

    first = emitter.on(Ping, leave)
    emitter.on(Ping, lambda event: seen.append(event.number))
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))  # 1
    first.off()
    channel = channel_of(emitter, Ping)
    [listener] = channel.listeners
    listener.divert(Herald(channel))
    monkeypatch.setattr(Channel, "tell", raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(3))  # 2
    monkeypatch.undo()
    assert not seen
    emitter.emit(Ping(4))
    assert seen[0] == 2
    assert seen[-1] == 4
    assert_idle(emitter)


@both_emitters
@pytest.mark.parametrize("look", ["remove_all_listeners", "listener_count"])
def test_who_finds_a_listener_gone_may_rely_on_it(emitter_type: EmitterType, look: str) -> None:
    """G8: also where another thread is just taking it out, and has not come so far."""
    emitter = emitter_type()
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)
    [listener] = channel_of(emitter, Ping).listeners
    listener.cell.clear()  # the first half of off()
    getattr(emitter, look)(Ping)
    emitter.emit(Ping())
    assert not seen


@both_emitters
def test_it_does_not_wait_for_other_handlers(crew: Crew, emitter_type: EmitterType) -> None:
    """Not for one before it in the same delivery, nor for those of other event types (G9)."""
    emitter = emitter_type()
    ping, pong = Stop(), Stop()
    heard: list[Ping] = []
    emitter.on(Ping, ping)
    subscription = emitter.on(Ping, heard.append)
    emitter.on(Pong, pong)
    crew.run(emitter.emit, Ping())
    crew.run(emitter.emit, Pong())
    ping.wait()
    pong.wait()
    assert subscription.off_and_wait()
    ping.go()
    pong.go()
    crew.join()
    assert heard == []
    assert_idle(emitter)


@both_emitters
def test_it_does_not_wait_for_another_registration_of_the_function(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """A subscription belongs to one registration, never to a function (G9)."""
    emitter = emitter_type()
    stop = Stop()
    emitter.on(Ping, stop)
    second = emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping())
    stop.wait()
    assert second.off_and_wait()
    stop.go()


def test_it_does_not_wait_for_another_replay(crew: Crew) -> None:
    """Two replays are under way; the wait for one ends while the other is stopped (G9)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    first, second = Stop(), Stop()
    crew.run(emitter.on, Ping, first)
    first.wait()
    crew.run(emitter.on, Ping, second)
    second.wait()
    [subscription, _] = emitter.listeners(Ping)
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)
    first.go()
    assert waiting.result(PATIENCE)
    second.go()
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_it_does_not_wait_for_a_delivery_in_line(crew: Crew, emitter_type: EmitterType) -> None:
    """Threads that wait for their turn do not call the handler any more (G9).

    1 the handler is stopped, 2 another thread waits for its turn, 3 the owner waits, 4 go on.
    """
    emitter = emitter_type()
    stop = Stop()
    calls: list[Ping] = []

    def handler(event: Ping) -> None:
        calls.append(event)
        stop()

    subscription = emitter.on(Ping, handler)
    crew.run(emitter.emit, Ping(1))
    stop.wait()  # 1
    crew.run(emitter.emit, Ping(2))
    until_in_line(channel_of(emitter, Ping), 1)  # 2
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)  # 3
    stop.go()  # 4
    assert waiting.result(PATIENCE)
    crew.join()
    assert calls == [Ping(1)]
    assert_idle(emitter)


# Not waiting


@both_emitters
@all_ways
def test_it_returns_true_where_nothing_runs(emitter_type: EmitterType, wait: Wait) -> None:
    """And again: it is idempotent (G8, G9)."""
    emitter = emitter_type()
    subscription = emitter.on(Ping, ignore)
    emitter.emit(Ping())
    assert wait(emitter, subscription, None)
    assert emitter.listener_count(Ping) == 0
    assert wait(emitter, subscription, 0)
    assert_idle(emitter)


@both_emitters
@all_ways
def test_handler_does_not_wait_for_itself(emitter_type: EmitterType, wait: Wait) -> None:
    """No other thread runs it, so it may be freed when it returns (G9)."""
    emitter = emitter_type()
    waited: list[bool] = []

    def handler(_: Ping) -> None:
        [subscription] = emitter.listeners(Ping)
        waited.append(wait(emitter, subscription, None))

    emitter.on(Ping, handler)
    emitter.emit(Ping())
    emitter.emit(Ping())
    assert waited == [True]
    assert_idle(emitter)


@all_ways
def test_replayed_handler_does_not_wait_for_itself(wait: Wait) -> None:
    """Its own thread replays to it (G9)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    waited: list[bool] = []

    def handler(_: Ping) -> None:
        [subscription] = emitter.listeners(Ping)
        waited.append(wait(emitter, subscription, None))

    emitter.on(Ping, handler)
    assert waited == [True]
    assert_idle(emitter)


@both_emitters
def test_handler_does_not_wait_for_a_handler_further_out_on_its_own_thread(
    emitter_type: EmitterType,
) -> None:
    """The outer one waits for the inner one to return, on the same thread (G9)."""
    emitter = emitter_type()
    waited: list[bool] = []
    outer = emitter.on(Ping, lambda _: emitter.emit(Pong()))
    emitter.on(Pong, lambda _: waited.append(outer.off_and_wait()))
    emitter.emit(Ping())
    assert waited == [True]
    assert_idle(emitter)


# Timeouts


@both_emitters
@all_ways
@live_calls
@pytest.mark.parametrize("timeout", [0, 0.0, -1, float("-inf"), 1e-9])
def test_it_returns_false_when_the_time_is_up(
    crew: Crew, emitter_type: EmitterType, wait: Wait, run: Run, timeout: float
) -> None:
    """The listener is removed all the same, and nobody is left waiting (G9)."""
    emitter = emitter_type()
    stop = Stop()
    subscription = run(crew, emitter, stop)
    assert not wait(emitter, subscription, timeout)
    assert emitter.listener_count(Ping) == 0
    assert channel_of(emitter, Ping).watches == []
    stop.go()
    crew.join()
    assert wait(emitter, subscription, timeout)
    assert_idle(emitter)


@both_emitters
@pytest.mark.parametrize(
    "timeout", [PATIENCE, threading.TIMEOUT_MAX * 2, sys.float_info.max, float("inf")]
)
def test_it_waits_for_as_long_as_it_was_told(
    crew: Crew, emitter_type: EmitterType, timeout: float
) -> None:
    """Also where that is longer than what a lock can wait (G9)."""
    emitter = emitter_type()
    stop = Stop()
    subscription = run_live(crew, emitter, stop)
    waiting = crew.run(subscription.off_and_wait, timeout)
    until_waited_for(channel_of(emitter, Ping), 1)
    assert not waiting.done()
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


@all_ways
@pytest.mark.parametrize("timeout", [10**400, -(10**400), True], ids=["huge", "-huge", "True"])
def test_any_number_of_seconds_is_a_timeout(wait: Wait, timeout: float) -> None:
    """Also one that no float can hold (G9)."""
    emitter = EventEmitter[Ping]()
    assert wait(emitter, emitter.on(Ping, ignore), timeout)


@both_emitters
@pytest.mark.parametrize(
    ("timeout", "error"), [("1", TypeError), (object(), TypeError), (float("nan"), ValueError)]
)
def test_bad_timeout_is_refused_before_anything_is_removed(
    emitter_type: EmitterType, timeout: Any, error: type[Exception]
) -> None:
    """A clear exception at the call that is wrong."""
    emitter = emitter_type()
    subscription = emitter.on(Ping, ignore)
    for wait in (of_subscription, of_emitter, of_all, of_event_type):
        with pytest.raises(error, match=r"^timeout must be None or a number of seconds"):
            wait(emitter, subscription, timeout)
    assert subscription.active


# After an earlier off, several waiters, several event types


@both_emitters
@live_calls
def test_it_waits_also_after_an_earlier_off(
    crew: Crew, emitter_type: EmitterType, run: Run
) -> None:
    """Removed is not through (G9)."""
    emitter = emitter_type()
    stop = Stop()
    subscription = run(crew, emitter, stop)
    subscription.off()
    assert not subscription.off_and_wait(0)
    waiting = crew.run(subscription.off_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)
    stop.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_several_threads_wait_for_one_handler(crew: Crew, emitter_type: EmitterType) -> None:
    """All are let go on; one that gave up before does not matter (G9)."""
    emitter = emitter_type()
    stop = Stop()
    subscription = run_live(crew, emitter, stop)
    waits: list[Future[bool]] = [
        crew.run(subscription.off_and_wait),
        crew.run(emitter.off_and_wait, subscription),
        crew.run(emitter.remove_all_listeners_and_wait),
    ]
    until_waited_for(channel_of(emitter, Ping), 3)
    assert not subscription.off_and_wait(0)
    stop.go()
    assert [wait.result(PATIENCE) for wait in waits] == [True] * 3
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_removing_all_waits_for_the_handlers_of_all_event_types(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """One after the other, whichever is through first (G9).

    1 two handlers are stopped, 2 another thread waits for both, 3 one goes on, 4 the wait is not
    over, 5 the other goes on.
    """
    emitter = emitter_type()
    ping, pong = Stop(), Stop()
    emitter.on(Ping, ping)
    emitter.on(Pong, pong)
    crew.run(emitter.emit, Ping())
    crew.run(emitter.emit, Pong())
    ping.wait()
    pong.wait()  # 1
    waiting = crew.run(emitter.remove_all_listeners_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)  # 2
    ping.go()  # 3
    until_waited_for(channel_of(emitter, Pong), 1)
    assert not waiting.done()  # 4
    pong.go()  # 5
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_removing_all_of_one_event_type_does_not_wait_for_another(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """Nor does it remove that one's listeners (G9)."""
    emitter = emitter_type()
    stop = Stop()
    run_live(crew, emitter, stop)
    emitter.on(Pong, ignore)
    assert emitter.remove_all_listeners_and_wait(Pong)
    assert emitter.event_types() == (Ping,)
    stop.go()


def test_removing_all_waits_for_the_live_call_and_the_replay_of_one_event_type(
    crew: Crew,
) -> None:
    """Two threads run handlers of it, and the wait is for both (G9)."""
    emitter = ReplayEventEmitter[Ping]()
    live, replayed = Stop(), Stop()
    run_live(crew, emitter, live)
    crew.run(emitter.on, Ping, replayed)
    replayed.wait()
    waiting = crew.run(emitter.remove_all_listeners_and_wait)
    channel = channel_of(emitter, Ping)
    until_waited_for(channel, 1)
    live.go()
    crew.run(emitter.emit, Ping()).result(PATIENCE)  # the live call is over, and told of
    assert not waiting.done()
    assert not emitter.remove_all_listeners_and_wait(timeout=0)
    replayed.go()
    assert waiting.result(PATIENCE)
    crew.join()
    assert_idle(emitter)


@both_emitters
def test_owner_may_free_what_the_handler_uses(crew: Crew, emitter_type: EmitterType) -> None:
    """No call is running, nor does one start, after it returned True: 200 owners try it (G9)."""
    emitter = emitter_type()
    done = threading.Event()
    broken: list[Ping] = []

    def emit() -> None:
        number = 0
        while not done.is_set():
            number += 1
            emitter.emit(Ping(number))

    for _ in range(2):
        crew.run(emit)

    def own() -> None:
        for _ in range(100):
            state = [True]

            def handler(event: Ping, state: list[bool] = state) -> None:
                broken.extend(event for _ in range(10) if not state[0])

            subscription = emitter.on(Ping, handler)
            assert subscription.off_and_wait()
            state[0] = False

    owners = [crew.run(own) for _ in range(2)]
    for owner in owners:
        owner.result(PATIENCE)
    done.set()
    crew.join()
    assert broken == []
    assert_idle(emitter)


@both_emitters
def test_removing_all_does_not_wait_for_who_comes_later(
    crew: Crew, emitter_type: EmitterType
) -> None:
    """G9: only for those that it removed.

    1. A handler of Ping runs; all listeners are removed, and that handler is waited for.
    2. Meanwhile somebody registers for Pong, and that handler runs, too.
    3. The handler of Ping ends, and so does the wait.
    """
    emitter = emitter_type()
    old, new = Stop(), Stop()
    emitter.on(Ping, old)
    emitter.on(Pong, lambda _: None)
    crew.run(emitter.emit, Ping())
    old.wait()
    waiting = crew.run(emitter.remove_all_listeners_and_wait)
    until_waited_for(channel_of(emitter, Ping), 1)
    later = emitter.on(Pong, new)
    crew.run(emitter.emit, Pong())
    new.wait()
    old.go()
    assert waiting.result(PATIENCE)
    assert later.active
    new.go()
    crew.join()
    assert_idle(emitter)


class LyingLock:
    """A lock that says it is locked when it is not: another thread has been quicker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def locked(self) -> bool:
        return True

    def release(self) -> None:
        self._lock.release()


def test_a_gate_that_two_threads_open_at_once_is_open() -> None:
    """G15: to open it is one step, not a look and a step."""
    gate = Gate()
    vars_of_gate: Any = gate
    vars_of_gate._shut = LyingLock()  # noqa: SLF001
    gate.open()


class FleetingTurn(Turn):
    """A turn whose holder gives it up, without a lock, right after it was looked at."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        self.looks = 0
        super().__init__()

    def __getattribute__(self, name: str) -> Any:
        if name != "holder":
            return super().__getattribute__(name)
        self.looks += 1
        return this_thread() if self.looks == 1 else None


def test_who_is_ahead_is_looked_at_once() -> None:
    """G15: a holder may give the turn up at any moment."""
    assert FleetingTurn().ahead(0) == [this_thread()]
