"""What one thread sees of a ReplayEventEmitter: G1, G2 and G7."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from support import (
    PATIENCE,
    Crew,
    Ping,
    Pong,
    assert_idle,
    channel_of,
    interrupting_section,
    on_entry,
)

from eventemitter import EventEmitter, ReplayEventEmitter
from eventemitter._channel import Channel
from eventemitter._sections import catch_up, this_thread

Replaying = ReplayEventEmitter[Ping | Pong]


@pytest.fixture
def replaying() -> Replaying:
    """Return an emitter that replays."""
    return ReplayEventEmitter()


class LoudPing(Ping):
    """A subclass of an event type is another event type."""


# latest and forget


def test_latest_is_none_before_the_first_event(replaying: Replaying) -> None:
    """Section 2: also where there are listeners, and asking registers nothing."""
    assert replaying.latest(Ping) is None
    replaying.on(Ping, print)
    assert replaying.latest(Ping) is None
    assert replaying.latest(Pong) is None


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
def test_latest_is_the_last_event_of_its_type(replaying: Replaying, name: str) -> None:
    """G14: one of each type, the very object, with and without listeners."""
    event = Ping(2)
    getattr(replaying, name)(Ping(1))
    getattr(replaying, name)(event)
    getattr(replaying, name)(Pong(3))
    assert replaying.latest(Ping) is event
    assert replaying.latest(Pong) == Pong(3)
    replaying.on(Ping, lambda _: None)
    getattr(replaying, name)(Ping(4))
    assert replaying.latest(Ping) == Ping(4)


def test_latest_is_of_the_exact_class(replaying: Replaying) -> None:
    """Section 2: an event of a subclass is another type's."""
    replaying.emit(LoudPing(1))
    assert replaying.latest(Ping) is None
    assert replaying.latest(LoudPing) == LoudPing(1)


def test_a_handler_finds_its_event_the_latest(replaying: Replaying) -> None:
    """G1: it is stored in the step that takes the snapshot, before any handler is called."""
    found: list[Ping | None] = []
    replaying.on(Ping, lambda _: found.append(replaying.latest(Ping)))
    replaying.emit(Ping(1))
    assert found == [Ping(1)]


def test_a_queued_event_is_the_latest_at_once(replaying: Replaying) -> None:
    """G1, G4: it has been emitted, though not delivered to all."""
    found: list[Ping | None] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            replaying.emit(Ping(2))
            found.append(replaying.latest(Ping))

    replaying.on(Ping, handle)
    replaying.emit(Ping(1))
    assert found == [Ping(2)]


def test_what_a_handler_raises_does_not_change_the_latest(replaying: Replaying) -> None:
    """G11: an event whose handlers fail has been emitted."""

    def fail(_: Ping) -> None:
        raise ValueError

    replaying.on(Ping, fail)
    with pytest.raises(ExceptionGroup):
        replaying.emit(Ping(1))
    assert replaying.latest(Ping) == Ping(1)


def test_forget_forgets_the_latest_of_one_type(replaying: Replaying) -> None:
    """Section 2: it is not replayed any more; that of another type is."""
    seen: list[Ping | Pong] = []
    replaying.emit(Ping(1))
    replaying.emit(Pong(2))
    replaying.forget(Ping)
    replaying.forget(Ping)
    assert replaying.latest(Ping) is None
    replaying.on(Ping, seen.append)
    replaying.on(Pong, seen.append)
    assert seen == [Pong(2)]


def test_forget_forgets_all(replaying: Replaying) -> None:
    """Section 2: without an event type it forgets that of every type."""
    replaying.forget()
    replaying.emit(Ping(1))
    replaying.emit(Pong(2))
    replaying.forget()
    assert replaying.latest(Ping) is None
    assert replaying.latest(Pong) is None
    replaying.forget()


def test_forget_of_an_unused_type_does_nothing(replaying: Replaying) -> None:
    """Section 2: there is nothing to forget."""
    replaying.forget(Ping)
    assert replaying.latest(Ping) is None


def test_forget_keeps_listeners_and_later_events(replaying: Replaying) -> None:
    """Section 2: only what was is forgotten."""
    seen: list[Ping] = []
    replaying.on(Ping, seen.append)
    replaying.emit(Ping(1))
    replaying.forget(Ping)
    replaying.emit(Ping(2))
    assert seen == [Ping(1), Ping(2)]
    assert replaying.latest(Ping) == Ping(2)


def test_an_event_forgotten_by_a_handler_is_still_delivered(replaying: Replaying) -> None:
    """G5: whoever was in the snapshot gets it."""
    seen: list[Ping] = []
    replaying.on(Ping, lambda _: replaying.forget(Ping))
    replaying.on(Ping, seen.append)
    replaying.emit(Ping(1))
    assert seen == [Ping(1)]
    assert replaying.latest(Ping) is None


def test_none_can_be_an_event_that_is_replayed() -> None:
    """G1: that latest() cannot tell it from nothing does not matter to on()."""
    emitter: ReplayEventEmitter[None] = ReplayEventEmitter()
    seen: list[None] = []
    emitter.emit(None)
    emitter.on(type(None), seen.append)
    assert seen == [None]


# Replay


def test_a_late_listener_gets_the_latest_event_before_on_returns(replaying: Replaying) -> None:
    """G1: the connection that was faster than its caller; only the latest, and only once."""
    seen: list[Ping] = []
    event = Ping(2)
    replaying.emit(Ping(1))
    replaying.emit(event)
    subscription = replaying.on(Ping, seen.append)
    assert seen == [event]
    assert seen[0] is event
    assert subscription.active
    replaying.emit(Ping(3))
    assert seen == [Ping(2), Ping(3)]


def test_an_early_listener_gets_no_replay(replaying: Replaying) -> None:
    """G1: it gets its event live, exactly once, whoever registers later."""
    early: list[Ping] = []
    late: list[Ping] = []
    replaying.on(Ping, early.append)
    assert early == []
    replaying.emit(Ping(1))
    replaying.on(Ping, late.append)
    assert early == late == [Ping(1)]


def test_each_registration_gets_its_own_replay(replaying: Replaying) -> None:
    """G1: a function registered twice is replayed to twice."""
    seen: list[Ping] = []
    replaying.emit(Ping(1))
    replaying.on(Ping, seen.append)
    replaying.on(Ping, seen.append)
    assert seen == [Ping(1), Ping(1)]


def test_a_decorated_function_gets_its_replay(replaying: Replaying) -> None:
    """G1: when it is decorated."""
    seen: list[Ping] = []
    replaying.emit(Ping(1))
    decorate = replaying.on(Ping)
    assert seen == []
    decorate(seen.append)
    assert seen == [Ping(1)]


def test_an_emitter_that_does_not_replay_does_not() -> None:
    """G14: an EventEmitter keeps no event, so has none for a late listener."""
    emitter: EventEmitter[Ping] = EventEmitter()
    seen: list[Ping] = []
    emitter.on(Ping, lambda _: None)
    emitter.emit(Ping(1))
    emitter.on(Ping, seen.append)
    assert seen == []


# Replay to once-listeners: G7


def test_a_once_listener_satisfied_by_the_replay_is_born_inactive(replaying: Replaying) -> None:
    """G7: it is never registered."""
    seen: list[Ping] = []
    replaying.emit(Ping(1))
    subscription = replaying.once(Ping, seen.append)
    assert seen == [Ping(1)]
    assert not subscription.active
    assert subscription.handler is None
    assert subscription.off() is False
    assert replaying.listener_count(Ping) == 0
    replaying.emit(Ping(2))
    assert seen == [Ping(1)]
    assert_idle(replaying)


def test_a_once_listener_is_not_registered_while_it_is_replayed_to(replaying: Replaying) -> None:
    """G7: an event emitted in its handler is not its."""
    seen: list[Ping] = []
    counts: list[int] = []

    def handle(event: Ping) -> None:
        seen.append(event)
        counts.append(replaying.listener_count(Ping))
        replaying.emit(Ping(event.number + 1))

    replaying.emit(Ping(1))
    assert not replaying.once(Ping, handle).active
    assert seen == [Ping(1)]
    assert counts == [0]
    assert replaying.latest(Ping) == Ping(2)


def test_a_once_listener_without_a_replay_waits_for_its_event(replaying: Replaying) -> None:
    """G7: after `forget` there is nothing to replay."""
    seen: list[Ping] = []
    replaying.emit(Ping(1))
    replaying.forget(Ping)
    subscription = replaying.once(Ping, seen.append)
    assert subscription.active
    replaying.emit(Ping(2))
    replaying.emit(Ping(3))
    assert seen == [Ping(2)]
    assert not subscription.active


# Registering in handlers


def test_a_listener_registered_in_a_handler_gets_that_event_by_replay(
    replaying: Replaying,
) -> None:
    """G1: exactly once: it is not in the snapshot."""
    seen: list[Ping] = []
    trace: list[str] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            replaying.on(Ping, seen.append)
            trace.append(f"registered, saw {seen}")

    replaying.on(Ping, handle)
    replaying.emit(Ping(1))
    assert trace == ["registered, saw [Ping(number=1)]"]
    assert seen == [Ping(1)]
    replaying.emit(Ping(2))
    assert seen == [Ping(1), Ping(2)]


def test_a_once_listener_registered_in_a_handler_is_satisfied_there(replaying: Replaying) -> None:
    """G7: by the replay of the event that is being delivered."""
    seen: list[Ping] = []
    replaying.on(Ping, lambda _: replaying.once(Ping, seen.append))
    replaying.emit(Ping(1))
    assert seen == [Ping(1)]
    assert replaying.listener_count(Ping) == 1


def test_a_listener_gets_a_queued_event_live_or_by_replay(replaying: Replaying) -> None:
    """G1, G4: live if it registers before the emit, by replay if after; once in both cases."""
    before: list[Ping] = []
    after: list[Ping] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            replaying.on(Ping, before.append)
            replaying.emit(Ping(2))
            replaying.on(Ping, after.append)

    replaying.on(Ping, handle)
    replaying.emit(Ping(1))
    assert before == [Ping(1), Ping(2)]
    assert after == [Ping(2)]


def test_a_listener_added_after_an_interrupt_gets_kept_events_once(replaying: Replaying) -> None:
    """G1, G11: what the next emit delivers first is not repeated to whom it was replayed."""
    seen: list[Ping] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            replaying.emit(Ping(2))
            raise KeyboardInterrupt

    replaying.on(Ping, handle)
    with pytest.raises(KeyboardInterrupt):
        replaying.emit(Ping(1))
    replaying.on(Ping, seen.append)
    assert seen == [Ping(2)]
    replaying.emit(Ping(3))
    assert seen == [Ping(2), Ping(3)]


# Emitting during a replay: G2


def test_events_emitted_during_its_own_replay_follow_before_on_returns(
    replaying: Replaying,
) -> None:
    """G2: on the registering thread, after the call that emitted them, in order."""
    trace: list[object] = []

    def handle(event: Ping) -> None:
        trace.append(event.number)
        if event.number == 1:
            replaying.emit(Ping(2))
            replaying.emit(Ping(3))
            trace.append("emitted")

    replaying.emit(Ping(1))
    replaying.on(Ping, handle)
    trace.append("registered")
    replaying.emit(Ping(4))
    assert trace == [1, "emitted", 2, 3, "registered", 4]
    assert_idle(replaying)


def test_other_listeners_get_such_events_at_once(replaying: Replaying) -> None:
    """G5, G2: the emit inside the replay delivers to all but the one being replayed to."""
    trace: list[str] = []
    replaying.on(Ping, lambda event: trace.append(f"other {event.number}"))
    replaying.emit(Ping(1))

    def handle(event: Ping) -> None:
        trace.append(f"new {event.number}")
        if event.number == 1:
            replaying.emit(Ping(2))
            trace.append("emitted")

    replaying.on(Ping, handle)
    assert trace == ["other 1", "new 1", "other 2", "emitted", "new 2"]


def test_a_chain_of_ten_thousand_events_from_a_replay_needs_no_recursion(
    replaying: Replaying,
) -> None:
    """G2, G4: each event emits the next; all follow on the registering thread."""
    seen: list[int] = []

    def count_on(event: Ping) -> None:
        seen.append(event.number)
        if event.number < 10_000:
            replaying.emit(Ping(event.number + 1))

    replaying.emit(Ping(1))
    replaying.on(Ping, count_on)
    assert seen == list(range(1, 10_001))
    assert_idle(replaying)


def test_a_listener_registered_during_a_replay_sees_the_newest_first(replaying: Replaying) -> None:
    """G2: each of two listeners sees the order of emission from its first event on."""
    outer: list[int] = []
    inner: list[int] = []

    def handle(event: Ping) -> None:
        outer.append(event.number)
        if event.number == 1:
            replaying.emit(Ping(2))
            replaying.on(Ping, lambda event: inner.append(event.number))
            replaying.emit(Ping(3))

    replaying.emit(Ping(1))
    replaying.on(Ping, handle)
    assert outer == [1, 2, 3]
    assert inner == [2, 3]


def test_a_listener_removed_during_its_replay_sees_nothing_more(replaying: Replaying) -> None:
    """G8: what had been put aside for it is dropped; the subscription is inactive."""
    seen: list[int] = []

    def handle(event: Ping) -> None:
        seen.append(event.number)
        replaying.emit(Ping(event.number + 1))
        assert replaying.off(Ping, handle) is True

    replaying.emit(Ping(1))
    subscription = replaying.on(Ping, handle)
    assert seen == [1]
    assert not subscription.active
    assert replaying.listener_count(Ping) == 0
    assert_idle(replaying)


def test_a_listener_is_registered_while_it_is_replayed_to(replaying: Replaying) -> None:
    """G2: it can be counted, found and ended."""
    counts: list[int] = []
    replaying.emit(Ping(1))
    replaying.on(Ping, lambda _: counts.append(replaying.listener_count(Ping)))
    assert counts == [1]


def test_what_fails_after_the_replay_of_the_first_event_ends_the_registration(
    replaying: Replaying,
) -> None:
    """G11: events that follow during the replay are part of on(), so on() raises for them too."""
    seen: list[int] = []

    def handle(event: Ping) -> None:
        seen.append(event.number)
        if event.number == 1:
            replaying.emit(Ping(2))
        else:
            raise ValueError("second")

    replaying.emit(Ping(1))
    with pytest.raises(ExceptionGroup) as caught:
        replaying.on(Ping, handle)
    assert [str(error) for error in caught.value.exceptions] == ["second"]
    assert seen == [1, 2]
    assert replaying.listener_count(Ping) == 0
    assert_idle(replaying)


def test_a_replay_ends_for_good(replaying: Replaying) -> None:
    """G2: once it is over, an emit calls the listener itself and leaves nothing behind."""
    replaying.emit(Ping(1))
    replaying.on(Ping, lambda _: None)
    (listener,) = channel_of(replaying, Ping).listeners
    assert listener.replay is None
    assert not listener.special


def test_registration_put_aside_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """G2, G12: a listener that never gets its replay would get nothing else, either.

    1 a call that interrupts the package registers, 2 where that is carried out, the stack is full.
    """
    errors: list[type[BaseException]] = []

    def note(args: sys.UnraisableHookArgs) -> None:
        errors.append(args.exc_type)

    monkeypatch.setattr("sys.unraisablehook", note)
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    heard: list[Ping] = []
    me = this_thread()
    with interrupting_section():
        subscription = emitter.on(Ping, heard.append)  # 1
    with monkeypatch.context() as patch:
        patch.setattr(Channel, "replay", raise_recursion_error)
        catch_up(me)  # 2
    assert errors == [RecursionError]
    emitter.emit(Ping(2))
    assert heard == []
    assert not subscription.active
    assert_idle(emitter)


@pytest.mark.parametrize("put_aside", [False, True])
def test_a_once_listener_to_come_is_older_than_what_came_since(
    crew: Crew, replaying: Replaying, *, put_aside: bool
) -> None:
    """`off(type, handler)` removes the newest, and `listeners()` has the order of registration.

    1 a once-listener is about to be replayed to, 2 another thread registers the same handler, and
    removes that.
    """
    interrupted = EventEmitter[Any]()
    interrupted.on(Pong, print)
    replaying.emit(Ping(1))
    seen: list[Ping] = []
    handle = seen.append
    order: list[bool] = []

    def register_and_remove() -> bool:
        newer = replaying.on(Ping, handle)
        order.extend(each == newer for each in replaying.listeners(Ping))
        return replaying.off(Ping, handle) and not newer.active

    def other() -> None:
        assert crew.run(register_and_remove).result(PATIENCE)

    def on_signal() -> None:
        replaying.once(Ping, handle)
        other()

    if put_aside:
        with on_entry(("_settle_locked", on_signal)):
            interrupted.listener_count(Pong)
    else:
        with on_entry(("replay", other)):
            replaying.once(Ping, handle)
    assert order == [False, True]
    assert seen == [Ping(1), Ping(1)]
    assert_idle(replaying)


def raise_recursion_error(*_: object, **__: object) -> None:
    """Be what needs too much stack."""
    raise RecursionError
