"""Registering, removing and looking, in one thread: G7, G8 and the API of section 2."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import PATIENCE, Crew, Ping, Pong, assert_idle

from eventemitter import EventEmitter, ReplayEventEmitter, Subscription
from eventemitter._sections import this_thread

Emitter = EventEmitter[Any]


def ignore(_: object) -> None:
    """Do nothing."""


class Recorder:
    """Notes events in a method."""

    def __init__(self) -> None:
        """Start without events."""
        self.seen: list[object] = []

    def note(self, event: object) -> None:
        """Note an event."""
        self.seen.append(event)

    def __call__(self, event: object) -> None:
        """Note an event."""
        self.seen.append(event)


# on


def test_on_returns_an_active_subscription(emitter: Emitter) -> None:
    """Section 2: it knows its event type and its handler."""
    subscription = emitter.on(Ping, ignore)
    assert isinstance(subscription, Subscription)
    assert subscription.active
    assert subscription.event_type is Ping
    assert subscription.handler is ignore


def test_any_callable_is_a_handler(emitter: Emitter) -> None:
    """Section 2: functions, methods, built-ins, partials, classes and callable objects."""
    recorder, called = Recorder(), Recorder()
    seen: list[Ping] = []
    queue: deque[Ping] = deque()
    made: list[Made] = []
    partial_seen: list[Ping] = []

    class Made:
        def __init__(self, event: Ping) -> None:
            made.append(self)
            self.event = event

    handlers: list[Callable[[Ping], object]] = [
        recorder.note,
        called,
        seen.append,
        queue.append,
        Made,
        partial(list[Ping].append, partial_seen),
    ]
    for handler in handlers:
        assert emitter.on(Ping, handler).handler == handler
    emitter.emit(Ping(1))
    assert recorder.seen == called.seen == seen == partial_seen == [Ping(1)]
    assert list(queue) == [Ping(1)]
    assert [each.event for each in made] == [Ping(1)]


def test_on_and_once_take_keywords(emitter: Emitter) -> None:
    """Section 2: the names of the parameters are part of the API."""
    seen: list[Ping] = []
    emitter.on(event_type=Ping, handler=seen.append)
    emitter.once(event_type=Ping, handler=seen.append)
    emitter.emit(Ping())
    assert seen == [Ping(), Ping()]


def test_on_decorates_a_function_and_returns_it_unchanged(emitter: Emitter) -> None:
    """Section 2: `@on(event_type)` registers the very function that it returns."""
    seen: list[Ping] = []

    def handle(event: Ping) -> None:
        seen.append(event)

    assert emitter.on(Ping)(handle) is handle
    assert [each.handler for each in emitter.listeners(Ping)] == [handle]
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert seen == [Ping(1), Ping(2)]


def test_once_decorates_a_function_and_returns_it_unchanged(emitter: Emitter) -> None:
    """Section 2: `@once(event_type)` is the same for one call."""
    seen: list[Ping] = []

    @emitter.once(Ping)
    def handle(event: Ping) -> None:
        seen.append(event)

    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert seen == [Ping(1)]
    handle(Ping(3))
    assert seen == [Ping(1), Ping(3)]


def test_a_decorator_registers_nothing_before_it_decorates(emitter: Emitter) -> None:
    """Section 2: `on(event_type)` alone is not a registration, and may decorate twice."""
    decorate = emitter.on(Ping)
    assert emitter.listener_count(Ping) == 0
    decorate(ignore)
    decorate(ignore)
    assert emitter.listener_count(Ping) == 2


def test_the_same_function_registered_twice_has_two_registrations(emitter: Emitter) -> None:
    """Section 2: a subscription belongs to one registration, never to a function."""
    seen: list[Ping] = []
    handler = seen.append
    first, second = emitter.on(Ping, handler), emitter.on(Ping, handler)
    assert first != second
    emitter.emit(Ping(1))
    assert seen == [Ping(1), Ping(1)]
    assert first.off()
    assert second.active
    emitter.emit(Ping(2))
    assert seen == [Ping(1), Ping(1), Ping(2)]
    assert emitter.listeners(Ping) == (second,)


# G7, once


def test_a_once_handler_is_called_once(emitter: Emitter) -> None:
    """G7: and its subscription is inactive then."""
    seen: list[Ping] = []
    subscription = emitter.once(Ping, seen.append)
    assert subscription.active
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(1))
    assert not subscription.active
    emitter.emit(Ping(2))
    assert seen == [Ping(1)]
    assert emitter.listener_count(Ping) == 0
    assert not subscription.off()


def test_a_once_listener_is_removed_before_it_is_called(emitter: Emitter) -> None:
    """G7: its handler already finds it gone."""
    found: list[object] = []

    def handle(_: Ping) -> None:
        found.extend(
            [subscription.active, subscription.off(), emitter.listener_count(Ping)],
        )

    subscription = emitter.once(Ping, handle)
    emitter.emit(Ping())
    assert found == [False, False, 0]


def test_a_once_handler_that_raises_is_gone(emitter: Emitter) -> None:
    """G7: once is once also if it raises."""
    calls: list[Ping] = []

    def handle(event: Ping) -> None:
        calls.append(event)
        raise ValueError

    subscription = emitter.once(Ping, handle)
    with pytest.raises(ExceptionGroup):
        emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert calls == [Ping(1)]
    assert not subscription.active


def test_a_once_handler_is_called_once_under_a_re_entrant_emit(emitter: Emitter) -> None:
    """G7: an event queued by a listener in front of it does not reach it too."""
    calls: list[Ping] = []

    def again(event: Ping) -> None:
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))

    emitter.on(Ping, again)
    emitter.once(Ping, calls.append)
    emitter.emit(Ping(1))
    assert calls == [Ping(1)]


def test_a_once_handler_can_register_itself_again(emitter: Emitter) -> None:
    """G7: that is another registration."""
    calls: list[Ping] = []

    def handle(event: Ping) -> None:
        calls.append(event)
        if len(calls) < 3:
            emitter.once(Ping, handle)

    emitter.once(Ping, handle)
    for _ in range(5):
        emitter.emit(Ping())
    assert calls == [Ping()] * 3


def test_once_listeners_keep_their_place_in_the_order(emitter: Emitter) -> None:
    """G5: the order of registration is one for `on` and `once`."""
    trace: list[str] = []
    emitter.on(Ping, lambda _: trace.append("on"))
    emitter.once(Ping, lambda _: trace.append("once"))
    emitter.on(Ping, lambda _: trace.append("on too"))
    emitter.emit(Ping())
    assert trace == ["on", "once", "on too"]


# G8, off


@pytest.mark.parametrize("call", ["on", "once"])
def test_off_removes_a_listener_once(emitter: Emitter, call: str) -> None:
    """G8: off means off, and removing what is removed returns False."""
    seen: list[Ping] = []
    subscription = getattr(emitter, call)(Ping, seen.append)
    assert emitter.off(subscription) is True
    assert not subscription.active
    assert emitter.off(subscription) is False
    assert subscription.off() is False
    emitter.emit(Ping())
    assert seen == []
    assert emitter.listener_count(Ping) == 0


def test_a_subscription_removes_its_own_listener_only(emitter: Emitter) -> None:
    """G8: whatever stands before and behind it stays, in order."""
    subscriptions = [emitter.on(Ping, ignore) for _ in range(5)]
    assert subscriptions.pop(2).off() is True
    assert emitter.listeners(Ping) == tuple(subscriptions)


def test_a_listener_removed_by_one_in_front_of_it_is_not_called(emitter: Emitter) -> None:
    """G8: it was still to come in the delivery under way."""
    seen: list[str] = []
    victim: Subscription[Ping]
    emitter.on(Ping, lambda _: victim.off())
    victim = emitter.on(Ping, lambda _: seen.append("victim"))
    emitter.on(Ping, lambda _: seen.append("last"))
    emitter.emit(Ping())
    assert seen == ["last"]


def test_a_once_listener_removed_by_one_in_front_of_it_is_not_called(emitter: Emitter) -> None:
    """G8, G7: nor is it called later."""
    seen: list[str] = []
    victim: Subscription[Ping]
    emitter.on(Ping, lambda _: victim.off())
    victim = emitter.once(Ping, lambda _: seen.append("victim"))
    emitter.emit(Ping())
    emitter.emit(Ping())
    assert seen == []


def test_remove_all_listeners_ends_the_delivery_under_way(emitter: Emitter) -> None:
    """G8: none that was still to come is called."""
    seen: list[str] = []
    emitter.on(Ping, lambda _: emitter.remove_all_listeners(Ping))
    emitter.on(Ping, lambda _: seen.append("second"))
    emitter.once(Ping, lambda _: seen.append("third"))
    emitter.emit(Ping())
    assert seen == []
    assert emitter.listener_count(Ping) == 0


def test_a_handler_can_remove_itself(emitter: Emitter) -> None:
    """G8: the call that has begun goes on."""
    trace: list[object] = []

    def handle(event: Ping) -> None:
        trace.append(subscription.off())
        trace.append(event)

    subscription = emitter.on(Ping, handle)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert trace == [True, Ping(1)]


def test_a_listener_removed_and_registered_again_is_a_new_one(emitter: Emitter) -> None:
    """G8: the old subscription does not remove the new registration."""
    seen: list[Ping] = []
    old = emitter.on(Ping, seen.append)
    old.off()
    new = emitter.on(Ping, seen.append)
    assert old.off() is False
    assert new.active
    emitter.emit(Ping())
    assert seen == [Ping()]


@pytest.mark.parametrize("call", ["on", "once"])
def test_off_by_handler_removes_the_newest_registration(emitter: Emitter, call: str) -> None:
    """Section 2: one at a time, newest first, of that event type only."""
    other = emitter.on(Pong, ignore)
    first, second, third = (getattr(emitter, call)(Ping, ignore) for _ in range(3))
    for newest in (third, second, first):
        assert newest.active
        assert emitter.off(Ping, ignore) is True
        assert not newest.active
    assert emitter.off(Ping, ignore) is False
    assert other.active


def test_off_by_handler_finds_nothing_where_nothing_is(emitter: Emitter) -> None:
    """Section 2: False if nothing was removed."""
    assert emitter.off(Ping, ignore) is False
    emitter.on(Pong, ignore)
    emitter.on(Ping, Recorder().note)
    assert emitter.off(Ping, ignore) is False
    assert emitter.listener_count(Ping) == 1


def test_a_bound_method_is_found_by_another_of_the_same_object(emitter: Emitter) -> None:
    """Section 2: `off(type, self.handle)` works, though each look-up makes a new method."""
    recorder, twin = Recorder(), Recorder()
    subscription = emitter.on(Ping, recorder.note)
    assert emitter.off(Ping, twin.note) is False
    assert subscription.active
    assert emitter.off(Ping, recorder.note) is True
    assert not subscription.active


class Judge:
    """A handler with an __eq__ of its own."""

    def __init__(self, judge: Callable[[object], bool]) -> None:
        """Compare by asking `judge`."""
        self.judge = judge

    def __eq__(self, other: object) -> bool:
        """Ask the judge."""
        return self.judge(other)

    def __hash__(self) -> int:
        """Be no key."""
        raise TypeError("not to be hashed")

    def __call__(self, event: object) -> None:
        """Do nothing."""


def test_handlers_are_compared_with_the_users_eq(emitter: Emitter) -> None:
    """Section 2: what is equal is the same handler, and need not be hashable."""
    subscription = emitter.on(Ping, Judge(lambda other: other is ignore))
    assert emitter.off(Ping, Recorder()) is False
    assert emitter.off(Ping, ignore) is True
    assert not subscription.active


def test_a_users_eq_runs_without_a_lock(emitter: Emitter, crew: Crew) -> None:
    """G6: another thread can use the event type meanwhile, and so can it."""
    counts: list[object] = []

    def judge(_: object) -> bool:
        counts.append(this_thread().inside)
        counts.append(crew.run(emitter.listener_count, Ping).result(PATIENCE))
        counts.append(emitter.listener_count(Ping))
        return True

    emitter.on(Ping, Judge(judge))
    assert emitter.off(Ping, ignore) is True
    assert counts == [False, 1, 1]


@pytest.mark.parametrize("call", ["on", "once"])
def test_removing_a_subscription_compares_no_handlers(emitter: Emitter, call: str) -> None:
    """G8: one that claims to be equal to everything is removed as any other is."""
    compared: list[object] = []

    def judge(other: object) -> bool:
        compared.append(other)
        return True

    subscription = getattr(emitter, call)(Ping, Judge(judge))
    assert subscription.off() is True
    assert subscription.off() is False
    assert compared == []


def test_a_users_eq_that_removes_its_listener_removes_no_other(emitter: Emitter) -> None:
    """G8: what `off` finds has been removed meanwhile, so it looks on."""
    older = emitter.on(Ping, ignore)

    def judge(_: object) -> bool:
        newer.off()
        return True

    newer = emitter.on(Ping, Judge(judge))
    assert emitter.off(Ping, ignore) is True
    assert not older.active
    assert not newer.active


def test_a_users_eq_that_raises_removes_nothing(emitter: Emitter) -> None:
    """Section 5: `off` raises what it raised."""

    def judge(_: object) -> bool:
        raise ValueError("incomparable")

    subscription = emitter.on(Ping, Judge(judge))
    with pytest.raises(ValueError, match="incomparable"):
        emitter.off(Ping, ignore)
    assert subscription.active
    assert_idle(emitter)


# remove_all_listeners


def test_remove_all_listeners_removes_those_of_one_type(emitter: Emitter) -> None:
    """G8: and none of another."""
    gone = [emitter.on(Ping, ignore), emitter.once(Ping, ignore)]
    kept = emitter.on(Pong, ignore)
    emitter.remove_all_listeners(Ping)
    assert [each.active for each in gone] == [False, False]
    assert kept.active
    emitter.remove_all_listeners(Ping)
    assert emitter.event_types() == (Pong,)


def test_remove_all_listeners_removes_those_of_all_types(emitter: Emitter) -> None:
    """G8: idempotent, and the emitter can be used again."""
    seen: list[object] = []
    emitter.remove_all_listeners()
    emitter.on(Ping, seen.append)
    emitter.once(Pong, seen.append)
    emitter.remove_all_listeners()
    emitter.remove_all_listeners()
    emitter.emit(Ping())
    emitter.emit(Pong())
    assert seen == []
    assert emitter.event_types() == ()
    emitter.on(Ping, seen.append)
    seen.clear()
    emitter.emit(Ping(2))
    assert seen == [Ping(2)]


def test_remove_all_listeners_of_an_unused_type_does_nothing(emitter: Emitter) -> None:
    """G8: idempotent from the start."""
    emitter.remove_all_listeners(Ping)
    assert emitter.remove_all_listeners_and_wait(Ping) is True
    assert emitter.remove_all_listeners_and_wait() is True


# and wait: G9, where there is nobody to wait for


@pytest.mark.parametrize("timeout", [None, 0, 5, 0.5, float("inf")])
def test_off_and_wait_returns_at_once_where_nothing_runs(
    emitter: Emitter, timeout: float | None
) -> None:
    """G9: True means that no other thread runs the handler."""
    first, second = emitter.on(Ping, ignore), emitter.once(Ping, ignore)
    assert emitter.off_and_wait(first, timeout) is True
    assert second.off_and_wait(timeout) is True
    assert not first.active
    assert not second.active
    assert second.off_and_wait(timeout) is True
    assert_idle(emitter)


def test_remove_all_listeners_and_wait_removes_and_returns_true(emitter: Emitter) -> None:
    """G9: of one type, and of all."""
    ping, pong = emitter.on(Ping, ignore), emitter.on(Pong, ignore)
    assert emitter.remove_all_listeners_and_wait(Ping, 5) is True
    assert (ping.active, pong.active) == (False, True)
    assert emitter.remove_all_listeners_and_wait() is True
    assert not pong.active
    assert_idle(emitter)


def test_a_handler_does_not_wait_for_itself(emitter: Emitter) -> None:
    """G9: it is about other threads; the call that asks is this thread's own."""
    answers: list[bool] = []

    def handle(_: Ping) -> None:
        answers.append(subscription.off_and_wait())
        answers.append(emitter.remove_all_listeners_and_wait())

    subscription = emitter.on(Ping, handle)
    emitter.emit(Ping())
    assert answers == [True, True]
    assert_idle(emitter)


# Looking


def test_listener_count_counts_registrations(emitter: Emitter) -> None:
    """Section 2: of one exact event type; looking registers nothing."""
    assert emitter.listener_count(Ping) == 0
    subscription = emitter.on(Ping, ignore)
    emitter.on(Ping, ignore)
    emitter.once(Ping, ignore)
    assert emitter.listener_count(Ping) == 3
    assert emitter.listener_count(Pong) == 0
    assert emitter.listener_count(object) == 0
    subscription.off()
    assert emitter.listener_count(Ping) == 2


def test_listeners_returns_the_registrations_in_order(emitter: Emitter) -> None:
    """Section 2: as subscriptions, each as good as the one that was returned."""
    assert emitter.listeners(Ping) == ()
    subscriptions = [emitter.on(Ping, ignore), emitter.once(Ping, ignore), emitter.on(Ping, ignore)]
    found = emitter.listeners(Ping)
    assert found == tuple(subscriptions)
    assert found[1].off()
    assert not subscriptions[1].active
    assert emitter.listeners(Ping) == (subscriptions[0], subscriptions[2])
    assert len(found) == 3


def test_event_types_returns_those_that_have_listeners(emitter: Emitter) -> None:
    """Section 2: not those that had some, or were looked at or emitted."""
    assert emitter.event_types() == ()
    emitter.emit(Ping())
    emitter.listener_count(Pong)
    assert emitter.event_types() == ()
    emitter.on(Pong, ignore)
    subscription = emitter.on(Ping, ignore)
    assert set(emitter.event_types()) == {Ping, Pong}
    subscription.off()
    assert emitter.event_types() == (Pong,)


# Subscription


def test_a_subscription_is_a_context_manager(emitter: Emitter) -> None:
    """Section 2: it calls off() on leaving."""
    seen: list[Ping] = []
    subscription = emitter.on(Ping, seen.append)
    with subscription as entered:
        assert entered is subscription
        emitter.emit(Ping(1))
    assert not subscription.active
    emitter.emit(Ping(2))
    assert seen == [Ping(1)]


def test_a_subscription_is_ended_when_its_block_raises(emitter: Emitter) -> None:
    """Section 2: and what was raised goes on."""
    subscription = emitter.on(Ping, ignore)
    with pytest.raises(ValueError, match="in the block"), subscription:
        raise ValueError("in the block")
    assert not subscription.active


def test_a_subscription_may_be_ended_inside_its_block(emitter: Emitter) -> None:
    """G8: idempotent."""
    with emitter.on(Ping, ignore) as subscription:
        assert subscription.off() is True
    assert not subscription.active


def test_subscriptions_are_equal_if_they_are_of_one_registration(emitter: Emitter) -> None:
    """Section 2: also as keys, and never to anything else."""
    first, second = emitter.on(Ping, ignore), emitter.on(Ping, ignore)
    (found, _) = emitter.listeners(Ping)
    assert found == first
    assert hash(found) == hash(first)
    assert first != second
    assert len({first, second, found}) == 2
    assert first != ignore
    assert (first == ignore) is False
    first.off()
    assert found == first


def test_an_inactive_subscription_still_knows_its_event_type(emitter: Emitter) -> None:
    """Section 2; its handler is None, as nothing keeps a removed handler alive (G14)."""
    subscription = emitter.on(Ping, ignore)
    subscription.off()
    assert subscription.event_type is Ping
    assert subscription.handler is None


@pytest.mark.parametrize("call", ["on", "once"])
def test_the_repr_of_a_subscription_says_what_is_called(emitter: Emitter, call: str) -> None:
    """Section 2: event type, handler and whether it is active."""
    subscription = getattr(emitter, call)(Ping, ignore)
    assert repr(subscription) == "<Subscription to Ping: calls ignore>"
    subscription.off()
    assert repr(subscription) == "<Subscription to Ping: inactive>"


def test_a_subscription_outlives_its_emitter() -> None:
    """Section 2: to end it then is allowed, and does nothing to anybody."""
    subscription = EventEmitter[Ping]().on(Ping, ignore)
    assert subscription.active
    assert subscription.off() is True
    assert subscription.off_and_wait() is True


# The truth of handlers


class Falsy(list[object]):
    """A handler that is false while it is empty: a recorder, say."""

    def __call__(self, event: object) -> None:
        """Note the event."""
        self.append(event)


@pytest.mark.parametrize("call", ["on", "once"])
def test_a_handler_that_is_false_is_a_handler(emitter: Emitter, call: str) -> None:
    """Section 2: any callable is, whatever its truth."""
    handler = Falsy()
    subscription = getattr(emitter, call)(Ping, handler)
    assert subscription.active
    assert subscription.handler is handler
    emitter.emit(Ping())
    assert handler == [Ping()]


@pytest.mark.parametrize("call", ["on", "once"])
def test_a_handler_that_is_false_is_replayed_to(call: str) -> None:
    """G1, G7: also by once(), whose only event the replay is."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    handler = Falsy()
    getattr(emitter, call)(Ping, handler)
    assert handler == [Ping(1)]
