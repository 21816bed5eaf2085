"""What one thread sees of emit(): G4, G5 and G11."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from support import Ping, Pong, assert_idle

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]

both_emits = pytest.mark.parametrize("name", ["emit", "emit_nowait"])


class LoudPing(Ping):
    """A subclass of an event type is another event type."""


def failing(error: BaseException) -> Callable[[object], None]:
    """Return a handler that raises `error`."""

    def fail(_: object) -> None:
        raise error

    return fail


# G5: delivered on return


@both_emits
def test_every_handler_has_run_when_emit_returns(emitter: Emitter, name: str) -> None:
    """G5: in this thread, in the order of registration, with the very event."""
    calls: list[tuple[str, Ping, int]] = []

    def note(name: str, event: Ping) -> None:
        calls.append((name, event, threading.get_ident()))

    for each in ("first", "second", "third"):
        emitter.on(Ping, partial(note, each))
    event = Ping(1)
    getattr(emitter, name)(event)
    me = threading.get_ident()
    assert calls == [("first", event, me), ("second", event, me), ("third", event, me)]
    assert all(got is event for _, got, _ in calls)


def test_each_emit_delivers_again(emitter: Emitter) -> None:
    """G5: a listener stays until it is removed, and sees every event."""
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)
    for number in range(5):
        emitter.emit(Ping(number))
        assert seen[-1] == Ping(number)
    assert len(seen) == 5


def test_what_a_handler_returns_is_ignored(emitter: Emitter) -> None:
    """G5: no return value stops a delivery."""
    seen: list[Ping] = []

    def answer(value: object, _: Ping) -> object:
        return value

    for value in (False, True, NotImplemented, StopIteration):
        emitter.on(Ping, partial(answer, value))
    emitter.on(Ping, seen.append)
    emitter.emit(Ping())
    assert seen == [Ping()]


@both_emits
def test_an_event_without_listeners_goes_nowhere(emitter: Emitter, name: str) -> None:
    """G5: the snapshot may be empty, before the first listener and after the last."""
    getattr(emitter, name)(Ping(1))
    seen: list[Ping] = []
    subscription = emitter.on(Ping, seen.append)
    subscription.off()
    seen.clear()
    getattr(emitter, name)(Ping(2))
    assert seen == []


def test_listeners_are_found_by_the_exact_class(emitter: Emitter) -> None:
    """G5: the snapshot is that of the event's class, not of a base or of a subclass."""
    seen: list[str] = []
    emitter.on(Ping, lambda _: seen.append("Ping"))
    emitter.on(LoudPing, lambda _: seen.append("LoudPing"))
    emitter.on(object, lambda _: seen.append("object"))
    emitter.emit(Ping())
    emitter.emit(LoudPing())
    emitter.emit(object())
    assert seen == ["Ping", "LoudPing", "object"]


@pytest.mark.parametrize("event", [0, "", None, (), b"", 1.5, ValueError("an event, not raised")])
def test_an_event_may_be_any_object(emitter: Emitter, event: object) -> None:
    """G5: also a false one, None, and an exception."""
    seen: list[object] = []
    emitter.on(type(event), seen.append)
    emitter.emit(event)
    assert seen == [event]


def test_a_listener_added_by_a_handler_is_not_in_the_snapshot() -> None:
    """G5: it is told the next event, by an emitter that does not replay."""
    emitter: EventEmitter[Ping] = EventEmitter()
    seen: list[Ping] = []

    def add(event: Ping) -> None:
        if event == Ping(1):
            emitter.on(Ping, seen.append)

    emitter.on(Ping, add)
    emitter.emit(Ping(1))
    assert seen == []
    emitter.emit(Ping(2))
    assert seen == [Ping(2)]


def test_another_event_type_is_delivered_at_once_inside_a_handler(emitter: Emitter) -> None:
    """G5: only the same type of the same emitter is queued."""
    trace: list[str] = []

    def handle(_: Ping) -> None:
        trace.append("before")
        emitter.emit(Pong())
        trace.append("after")

    emitter.on(Ping, handle)
    emitter.on(Pong, lambda _: trace.append("Pong"))
    emitter.emit(Ping())
    assert trace == ["before", "Pong", "after"]


def test_another_emitter_delivers_at_once_inside_a_handler(kind: Kind) -> None:
    """G5: two emitters are independent, also for one event type."""
    trace: list[str] = []
    first, second = kind(), kind()

    def handle(event: Ping) -> None:
        trace.append("before")
        second.emit(event)
        trace.append("after")

    first.on(Ping, handle)
    second.on(Ping, lambda _: trace.append("second"))
    first.emit(Ping())
    assert trace == ["before", "second", "after"]


# G4: a re-entrant emit is queued


@both_emits
def test_an_emit_inside_a_handler_of_its_type_returns_at_once(emitter: Emitter, name: str) -> None:
    """G4: its event comes after every listener saw the first, before the outermost returns."""
    trace: list[object] = []

    def handle(event: Ping) -> None:
        trace.append(("first", event.number))
        if event.number == 1:
            assert getattr(emitter, name)(Ping(2)) is None
            trace.append("returned")

    emitter.on(Ping, handle)
    emitter.on(Ping, lambda event: trace.append(("second", event.number)))
    emitter.emit(Ping(1))
    assert trace == [("first", 1), "returned", ("second", 1), ("first", 2), ("second", 2)]
    assert_idle(emitter)


def test_queued_events_keep_the_order_in_which_they_were_emitted(emitter: Emitter) -> None:
    """G4: first in, first out, whoever of the listeners emits, at whatever depth."""
    seen: list[int] = []

    def twice(event: Ping) -> None:
        if event.number < 10:
            emitter.emit(Ping(event.number * 10))
            emitter.emit(Ping(event.number * 10 + 1))

    def once_more(event: Ping) -> None:
        if event.number == 1:
            emitter.emit(Ping(50))

    emitter.on(Ping, twice)
    emitter.on(Ping, once_more)
    emitter.on(Ping, lambda event: seen.append(event.number))
    emitter.emit(Ping(1))
    assert seen == [1, 10, 11, 50]
    emitter.emit(Ping(2))
    assert seen == [1, 10, 11, 50, 2, 20, 21]


@both_emits
def test_a_chain_of_ten_thousand_events_needs_no_recursion(emitter: Emitter, name: str) -> None:
    """G4: each event emits the next; the stack stays as deep as for one."""
    emit = getattr(emitter, name)
    seen: list[int] = []

    def count_on(event: Ping) -> None:
        seen.append(event.number)
        if event.number < 10_000:
            emit(Ping(event.number + 1))

    emitter.on(Ping, count_on)
    emitter.emit(Ping(1))
    assert seen == list(range(1, 10_001))
    assert_idle(emitter)


def test_an_emit_through_a_handler_of_another_type_is_queued_too(emitter: Emitter) -> None:
    """G4: a Ping inside a Pong inside a Ping belongs to the outermost."""
    trace: list[str] = []

    def on_ping(event: Ping) -> None:
        trace.append(f"ping {event.number}")
        if event.number == 1:
            emitter.emit(Pong())
            trace.append("pong returned")

    def on_pong(_: Pong) -> None:
        emitter.emit(Ping(2))
        trace.append("ping 2 queued")

    emitter.on(Ping, on_ping)
    emitter.on(Pong, on_pong)
    emitter.emit(Ping(1))
    assert trace == ["ping 1", "ping 2 queued", "pong returned", "ping 2"]


def test_a_long_chain_over_two_types_needs_no_recursion(emitter: Emitter) -> None:
    """G4: two types that answer each other take turns; neither lets the stack grow."""
    seen: list[int] = []

    def answer(event: Ping | Pong) -> None:
        seen.append(event.number)
        if event.number < 5_000:
            kind = Pong if isinstance(event, Ping) else Ping
            emitter.emit(kind(event.number + 1))

    emitter.on(Ping, answer)
    emitter.on(Pong, answer)
    emitter.emit(Ping(0))
    assert seen == list(range(5_001))


def test_a_queued_event_goes_to_the_listeners_of_when_it_was_emitted() -> None:
    """G4: who registers after the emit is not told, who registered before is (G1)."""
    emitter: EventEmitter[Ping] = EventEmitter()
    before: list[Ping] = []
    after: list[Ping] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            emitter.on(Ping, before.append)
            emitter.emit(Ping(2))
            emitter.on(Ping, after.append)

    emitter.on(Ping, handle)
    emitter.emit(Ping(1))
    assert before == [Ping(2)]
    assert after == []
    emitter.emit(Ping(3))
    assert before == [Ping(2), Ping(3)]
    assert after == [Ping(3)]


def test_a_listener_removed_after_a_queued_emit_is_not_called(emitter: Emitter) -> None:
    """G4, G8: the queued delivery is still to come when it is removed."""
    seen: list[Ping] = []
    subscription = emitter.on(Ping, seen.append)

    def handle(event: Ping) -> None:
        if event == Ping(1):
            emitter.emit(Ping(2))
            subscription.off()

    emitter.on(Ping, handle)
    emitter.emit(Ping(1))
    assert seen == [Ping(1)]


def test_a_once_handler_can_emit_its_own_type(emitter: Emitter) -> None:
    """G4, G7: it is not called for the event that it emits."""
    seen: list[Ping] = []
    calls: list[Ping] = []

    def handle(event: Ping) -> None:
        calls.append(event)
        emitter.emit(Ping(event.number + 1))

    emitter.once(Ping, handle)
    emitter.on(Ping, seen.append)
    emitter.emit(Ping(1))
    assert calls == [Ping(1)]
    assert seen == [Ping(1), Ping(2)]


def test_a_handler_that_raises_after_emitting_has_emitted(emitter: Emitter) -> None:
    """G4, G11: the queued event is delivered before emit() raises, all failures in one group."""
    seen: list[Ping] = []

    def handle(event: Ping) -> None:
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))
        raise ValueError(event.number)

    emitter.on(Ping, handle)
    emitter.on(Ping, seen.append)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    assert seen == [Ping(1), Ping(2), Ping(3)]
    assert [error.args for error in caught.value.exceptions] == [(1,), (2,), (3,)]
    assert_idle(emitter)


# G11: one bad handler harms nobody


def bad(event: Ping) -> None:
    """Raise."""
    raise ValueError(f"bad {event.number}")


def worse(event: Ping) -> None:
    """Raise something else."""
    raise KeyError(event.number)


@both_emits
def test_every_listener_is_called_though_others_raise(emitter: Emitter, name: str) -> None:
    """G11: then emit() raises one group of all that was raised, in the order it was raised."""
    seen: list[str] = []
    emitter.on(Ping, lambda _: seen.append("first"))
    emitter.on(Ping, bad)
    emitter.on(Ping, lambda _: seen.append("second"))
    emitter.on(Ping, worse)
    emitter.on(Ping, lambda _: seen.append("third"))
    with pytest.raises(ExceptionGroup) as caught:
        getattr(emitter, name)(Ping(7))
    assert seen == ["first", "second", "third"]
    assert type(caught.value) is ExceptionGroup
    assert caught.value.message == "2 handlers of Ping raised"
    assert [str(error) for error in caught.value.exceptions] == ["bad 7", "7"]
    assert_idle(emitter)


def test_each_error_has_a_note_naming_handler_and_event(emitter: Emitter) -> None:
    """G11: also where the handler is one of many, so that it can be found."""
    emitter.on(Ping, bad)
    emitter.once(Ping, worse)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(7))
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["raised by handler bad for event Ping(number=7)"],
        ["raised by handler worse for event Ping(number=7)"],
    ]


def test_a_single_failure_is_a_group_too(emitter: Emitter) -> None:
    """G11: so that `except*` handles one failure as it does many."""
    emitter.on(Ping, bad)
    caught: list[BaseExceptionGroup[ValueError]] = []
    try:
        emitter.emit(Ping(1))
    except* ValueError as group:
        caught.append(group)
    assert [str(group) for group in caught] == ["1 handler of Ping raised (1 sub-exception)"]
    assert [str(error) for error in caught[0].exceptions] == ["bad 1"]


def test_the_traceback_of_a_failure_leads_to_the_handler(emitter: Emitter) -> None:
    """G11: nothing is lost of what the handler's author needs."""
    emitter.on(Ping, bad)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    frames = traceback.extract_tb(caught.value.exceptions[0].__traceback__)
    assert frames[-1].name == "bad"


class Nameless:
    """A handler without a name of its own."""

    def __repr__(self) -> str:
        """Say what it is."""
        return "Nameless()"

    def __call__(self, event: object) -> None:
        """Raise."""
        raise ValueError(event)


def test_a_handler_without_a_name_is_named_by_its_repr(emitter: Emitter) -> None:
    """G11: a callable object is as findable as a function."""
    emitter.on(Ping, Nameless())
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    assert caught.value.exceptions[0].__notes__ == [
        "raised by handler Nameless() for event Ping(number=1)"
    ]


class Unprintable:
    """An event, and a handler, that cannot be described."""

    def __repr__(self) -> str:
        """Raise."""
        raise RuntimeError("no repr")

    def __getattr__(self, name: str) -> object:
        """Raise where the name of a function would be."""
        raise (RuntimeError if name == "__qualname__" else AttributeError)(name)

    def __call__(self, _: object) -> None:
        """Raise."""
        raise ValueError("unprintable")


def test_a_handler_and_an_event_that_cannot_be_described_harm_nobody(emitter: Emitter) -> None:
    """G11: writing the note does not fail the delivery."""
    seen: list[object] = []
    emitter.on(Unprintable, Unprintable())
    emitter.on(Unprintable, seen.append)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Unprintable())
    assert len(seen) == 1
    assert [str(error) for error in caught.value.exceptions] == ["unprintable"]
    assert_idle(emitter)


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that refuses `add_note`, as it sets an attribute."""

    number: int


def test_an_error_that_takes_no_note_harms_nobody(emitter: Emitter) -> None:
    """G11: it is raised without one, in the group, after every listener was called."""
    seen: list[Ping] = []
    emitter.on(Ping, failing(FrozenError(5)))
    emitter.on(Ping, seen.append)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping())
    assert seen == [Ping()]
    assert caught.value.exceptions == (FrozenError(5),)
    assert_idle(emitter)


def test_a_group_raised_by_a_handler_is_nested(emitter: Emitter) -> None:
    """G11: failures inside an emit inside a handler keep their place."""
    emitter.on(Ping, lambda _: emitter.emit(Pong(2)))
    emitter.on(Pong, failing(ValueError("inner")))
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    (inner,) = caught.value.exceptions
    assert str(inner) == "1 handler of Pong raised (1 sub-exception)"
    leaves = caught.value.subgroup(ValueError)
    assert leaves is not None
    assert "inner" in "".join(traceback.format_exception(leaves))


def test_a_group_can_be_printed_copied_and_pickled(emitter: Emitter) -> None:
    """G11: as by a logger, or on its way back from a process pool."""
    emitter.on(Ping, bad)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    assert repr(caught.value) == "ExceptionGroup('1 handler of Ping raised', [ValueError('bad 1')])"
    pickled = pickle.dumps(caught.value)
    for twin in (copy.copy(caught.value), pickle.loads(pickled)):  # noqa: S301 - its own
        assert [str(error) for error in twin.exceptions] == ["bad 1"]


def test_an_emitter_is_as_good_as_new_after_failures(emitter: Emitter) -> None:
    """G11: the failures of one emit are not raised by the next."""
    seen: list[Ping] = []
    subscription = emitter.on(Ping, bad)
    emitter.on(Ping, seen.append)
    with pytest.raises(ExceptionGroup):
        emitter.emit(Ping(1))
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(2))
    assert [str(error) for error in caught.value.exceptions] == ["bad 2"]
    subscription.off()
    emitter.emit(Ping(3))
    assert seen == [Ping(1), Ping(2), Ping(3)]


# G11, with an error handler


@both_emits
def test_on_error_receives_each_failure_and_emit_raises_nothing(kind: Kind, name: str) -> None:
    """G11: with the event, the handler and what it raised."""
    failures: list[HandlerFailure] = []
    seen: list[Ping] = []
    first, second = ValueError("first"), KeyError("second")
    handlers = [failing(first), failing(second)]
    emitter = kind(on_error=failures.append)
    emitter.on(Ping, handlers[0])
    emitter.once(Ping, handlers[1])
    emitter.on(Ping, seen.append)
    getattr(emitter, name)(Ping(3))
    assert failures == [
        HandlerFailure(Ping(3), handlers[0], first),
        HandlerFailure(Ping(3), handlers[1], second),
    ]
    assert seen == [Ping(3)]
    assert_idle(emitter)


def test_on_error_is_told_at_once(kind: Kind) -> None:
    """G11: before the next listener is called, in the thread that emits."""
    trace: list[object] = []
    emitter = kind(on_error=lambda _: trace.append(threading.get_ident()))
    emitter.on(Ping, bad)
    emitter.on(Ping, lambda _: trace.append("next"))
    emitter.emit(Ping())
    assert trace == [threading.get_ident(), "next"]


def test_on_error_is_told_of_queued_events_too(kind: Kind) -> None:
    """G4, G11: a failure is told with the event that it was raised for."""
    failures: list[HandlerFailure] = []
    emitter = kind(on_error=failures.append)

    def handle(event: Ping) -> None:
        if event == Ping(1):
            emitter.emit(Ping(2))
        raise ValueError

    emitter.on(Ping, handle)
    emitter.emit(Ping(1))
    assert [failure.event for failure in failures] == [Ping(1), Ping(2)]


def test_on_error_may_emit(kind: Kind) -> None:
    """G4, G11: it runs outside all locks (G6), as part of the delivery."""
    seen: list[Ping] = []

    def retry(failure: HandlerFailure) -> None:
        assert isinstance(failure.event, Ping)
        if failure.event.number < 3:
            emitter.emit(Ping(failure.event.number + 1))

    emitter = kind(on_error=retry)
    emitter.on(Ping, bad)
    emitter.on(Ping, seen.append)
    emitter.emit(Ping(1))
    assert seen == [Ping(1), Ping(2), Ping(3)]


def broken_on_error(failure: HandlerFailure) -> None:
    """Raise."""
    raise RuntimeError(f"cannot report {failure.error}")


def test_emit_raises_what_on_error_raises(kind: Kind) -> None:
    """G11: every listener is called; nothing is silent, not the first failure either."""
    emitter = kind(on_error=broken_on_error)
    seen: list[Ping] = []
    emitter.on(Ping, bad)
    emitter.on(Ping, seen.append)
    emitter.on(Ping, bad)
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(4))
    assert seen == [Ping(4)]
    assert [str(error) for error in caught.value.exceptions] == ["cannot report bad 4"] * 2
    for error in caught.value.exceptions:
        assert error.__notes__ == ["raised by handler broken_on_error for event Ping(number=4)"]
        assert str(error.__context__) == "bad 4"
    assert_idle(emitter)


class Falsy(list[object]):
    """A handler that is false, as it is an empty list: a recorder, say."""

    def __call__(self, event: object) -> None:
        """Note the event and raise."""
        self.append(event)
        self.clear()
        raise ValueError("falsy")


@pytest.mark.parametrize("call", ["on", "once"])
def test_a_failure_names_its_handler_also_if_that_is_false(kind: Kind, call: str) -> None:
    """G11: the truth of a handler says nothing."""
    failures: list[HandlerFailure] = []
    emitter = kind(on_error=failures.append)
    handler = Falsy()
    getattr(emitter, call)(Ping, handler)
    emitter.emit(Ping())
    assert [failure.handler is handler for failure in failures] == [True]


def test_an_on_error_that_is_false_receives_failures(kind: Kind) -> None:
    """G11: the truth of `on_error` says nothing."""

    class Failures(list[HandlerFailure]):
        def __call__(self, failure: HandlerFailure) -> None:
            """Note the failure."""
            self.append(failure)

    failures = Failures()
    emitter = kind(on_error=failures)
    emitter.on(Ping, bad)
    emitter.emit(Ping())
    assert [failure.handler for failure in failures] == [bad]


# G11, and replay


@pytest.mark.parametrize("call", ["on", "once"])
@pytest.mark.parametrize("decorated", [False, True])
def test_on_raises_what_its_replay_raised_and_nothing_stays(call: str, *, decorated: bool) -> None:
    """G11: one group, with the note; there is no subscription, so there is no listener."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    register = getattr(emitter, call)
    with pytest.raises(ExceptionGroup) as caught:
        register(Ping)(bad) if decorated else register(Ping, bad)
    assert caught.value.message == "1 handler of Ping raised"
    (error,) = caught.value.exceptions
    assert str(error) == "bad 1"
    assert error.__notes__ == ["raised by handler bad for event Ping(number=1)"]
    assert emitter.listener_count(Ping) == 0
    assert emitter.latest(Ping) == Ping(1)
    emitter.emit(Ping(2))
    assert_idle(emitter)


def test_a_replay_that_failed_harms_no_other_listener() -> None:
    """G11: those that were there stay, with all their events."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)
    emitter.emit(Ping(1))
    with pytest.raises(ExceptionGroup):
        emitter.on(Ping, bad)
    emitter.emit(Ping(2))
    assert seen == [Ping(1), Ping(2)]
    assert emitter.listener_count(Ping) == 1


def test_a_replay_that_emits_and_fails_leaves_its_event_to_the_others() -> None:
    """G11: what the handler emitted before it raised has been emitted."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    seen: list[Ping] = []
    emitter.on(Ping, seen.append)
    emitter.emit(Ping(1))

    def handle(event: Ping) -> None:
        if event.number == 1:
            emitter.emit(Ping(2))
        raise ValueError(event.number)

    with pytest.raises(ExceptionGroup) as caught:
        emitter.on(Ping, handle)
    assert [error.args for error in caught.value.exceptions] == [(1,)]
    assert seen == [Ping(1), Ping(2)]
    assert emitter.listener_count(Ping) == 1
    assert_idle(emitter)


def test_with_on_error_a_replay_that_raises_stays_registered() -> None:
    """G11: on() raises nothing then, just as emit() does not."""
    failures: list[HandlerFailure] = []
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter(on_error=failures.append)
    emitter.emit(Ping(1))
    assert emitter.on(Ping, bad).active
    emitter.emit(Ping(2))
    assert [(failure.event, failure.handler) for failure in failures] == [
        (Ping(1), bad),
        (Ping(2), bad),
    ]


def test_on_raises_what_on_error_raised_for_its_replay() -> None:
    """G11: and nothing stays registered."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter(on_error=broken_on_error)
    emitter.emit(Ping(1))
    with pytest.raises(ExceptionGroup) as caught:
        emitter.on(Ping, bad)
    (error,) = caught.value.exceptions
    assert error.__notes__ == ["raised by handler broken_on_error for event Ping(number=1)"]
    assert emitter.listener_count(Ping) == 0


@pytest.mark.parametrize("call", ["on", "once"])
def test_an_interrupted_replay_leaves_nothing_registered(call: str) -> None:
    """G11: `on()` raises the KeyboardInterrupt itself."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    with pytest.raises(KeyboardInterrupt):
        getattr(emitter, call)(Ping, failing(KeyboardInterrupt()))
    assert emitter.listener_count(Ping) == 0
    emitter.emit(Ping(2))
    assert_idle(emitter)


# G11, and what is not an Exception


class Abort(BaseException):
    """Not an Exception."""


interruptions = pytest.mark.parametrize(
    "interruption",
    [
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
        Abort,
        lambda: BaseExceptionGroup("", [Abort()]),
    ],
)


@interruptions
def test_a_base_exception_passes_through_at_once(
    emitter: Emitter, interruption: Callable[[], BaseException]
) -> None:
    """G11: as itself; later listeners are not called, and all are still there."""
    error = interruption()
    seen: list[str] = []
    emitter.on(Ping, lambda _: seen.append("first"))
    interrupter = emitter.on(Ping, failing(error))
    emitter.on(Ping, lambda _: seen.append("second"))
    with pytest.raises(type(error)) as caught:
        emitter.emit(Ping())
    assert caught.value is error
    assert seen == ["first"]
    assert_idle(emitter)
    assert emitter.listener_count(Ping) == 3
    interrupter.off()
    emitter.emit(Ping())
    assert seen == ["first", "first", "second"]


def test_a_base_exception_passes_through_nested_emits(emitter: Emitter) -> None:
    """G11: every emitter on its way stays usable."""
    emitter.on(Ping, lambda _: emitter.emit(Pong()))
    subscription = emitter.on(Pong, failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping())
    assert_idle(emitter)
    subscription.off()
    emitter.emit(Ping())


@both_emits
def test_events_queued_before_an_interrupt_are_delivered_by_the_next_emit(
    emitter: Emitter, name: str
) -> None:
    """G11: they are kept, and come in order before the event of that emit."""
    seen: list[int] = []
    emitter.on(Ping, lambda event: seen.append(event.number))

    def handle(event: Ping) -> None:
        if event.number == 1:
            emitter.emit(Ping(2))
            emitter.emit(Ping(3))
            raise KeyboardInterrupt

    emitter.on(Ping, handle)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))
    assert seen == [1]
    assert_idle(emitter, queue=False)
    getattr(emitter, name)(Ping(4))
    assert seen == [1, 2, 3, 4]
    assert_idle(emitter)


def test_an_interrupted_event_is_not_repeated_and_those_behind_it_are_kept(
    emitter: Emitter,
) -> None:
    """G11: also where the interrupt strikes in the delivery of a queued event."""
    first: list[int] = []
    last: list[int] = []

    def handle(event: Ping) -> None:
        first.append(event.number)
        if event.number == 1:
            emitter.emit(Ping(2))
            emitter.emit(Ping(3))
        if first == [1, 2]:
            raise KeyboardInterrupt

    emitter.on(Ping, handle)
    emitter.on(Ping, lambda event: last.append(event.number))
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))
    assert (first, last) == ([1, 2], [1])
    emitter.emit(Ping(4))
    assert (first, last) == ([1, 2, 3, 4], [1, 3, 4])
    assert_idle(emitter)


def test_kept_events_go_to_the_listeners_of_when_they_were_emitted() -> None:
    """G11, G8: not to one that came after, nor to one removed since."""
    emitter: EventEmitter[Ping] = EventEmitter()
    removed: list[Ping] = []
    late: list[Ping] = []

    def handle(event: Ping) -> None:
        if event == Ping(1):
            emitter.emit(Ping(2))
            raise KeyboardInterrupt

    emitter.on(Ping, handle)
    subscription = emitter.on(Ping, removed.append)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))
    emitter.on(Ping, late.append)
    subscription.off()
    emitter.emit(Ping(3))
    assert removed == []
    assert late == [Ping(3)]


def test_a_once_handler_that_is_interrupted_is_gone(emitter: Emitter) -> None:
    """G11, G7: claimed before it was called."""
    calls: list[Ping] = []

    def handle(event: Ping) -> None:
        calls.append(event)
        if calls == [Ping(1)]:
            raise KeyboardInterrupt

    subscription = emitter.once(Ping, handle)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert calls == [Ping(1)]
    assert not subscription.active


def test_a_base_exception_of_on_error_passes_through_at_once(kind: Kind) -> None:
    """G11: `on_error` can stop the program, as by sys.exit()."""
    emitter = kind(on_error=failing(SystemExit(3)))
    seen: list[Ping] = []
    emitter.on(Ping, bad)
    emitter.on(Ping, seen.append)
    with pytest.raises(SystemExit):
        emitter.emit(Ping())
    assert seen == []
    assert_idle(emitter)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """Collect what `sys.unraisablehook` is told."""
    errors: list[BaseException | None] = []

    def note(args: sys.UnraisableHookArgs) -> None:
        errors.append(args.exc_value)

    monkeypatch.setattr("sys.unraisablehook", note)
    return errors


def test_errors_raised_before_an_interrupt_are_not_silent(
    emitter: Emitter, unraisable: list[BaseException | None]
) -> None:
    """G11: the interrupt is what emit() raises; they are reported as unraisable, with notes."""
    emitter.on(Ping, bad)
    emitter.on(Ping, worse)
    emitter.on(Ping, failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(6))
    assert [repr(error) for error in unraisable] == ["ValueError('bad 6')", "KeyError(6)"]
    assert [getattr(error, "__notes__", None) for error in unraisable] == [
        ["raised by handler bad for event Ping(number=6)"],
        ["raised by handler worse for event Ping(number=6)"],
    ]
    assert_idle(emitter)


def test_errors_reported_at_an_interrupt_are_not_raised_again(
    emitter: Emitter, unraisable: list[BaseException | None]
) -> None:
    """G11: each failure is told once."""
    subscription = emitter.on(Ping, bad)
    emitter.once(Ping, failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(6))
    subscription.off()
    emitter.emit(Ping(7))
    assert len(unraisable) == 1


def test_a_failure_cannot_be_changed() -> None:
    """G11: one failure is the same to all who are told of it."""
    failure = HandlerFailure(Ping(), bad, ValueError())
    with pytest.raises(AttributeError):
        failure.event = Ping(2)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("equal", [True, False, None])
def test_a_once_handler_that_compares_itself_is_called(
    emitter: EventEmitter[Any], *, equal: bool | None
) -> None:
    """G6, G7: its `__eq__` is not asked, whatever it would say."""
    seen: list[Ping] = []

    class Handler:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            assert equal is not None, "compared"
            return equal

        def __call__(self, event: Ping) -> None:
            seen.append(event)

    emitter.once(Ping, Handler())
    emitter.emit(Ping(1))
    assert seen == [Ping(1)]
    assert emitter.listener_count(Ping) == 0


class View:
    """A handler that others know by a weak proxy."""

    def __call__(self, _: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize("warm", [False, True])
def test_a_handler_that_is_gone_harms_nobody(emitter: EventEmitter[Any], *, warm: bool) -> None:
    """G11: nothing of it can be asked for, not even its class."""
    seen: list[Ping] = []
    view = View()
    emitter.on(Ping, weakref.proxy(view))
    emitter.on(Ping, seen.append)
    if warm:
        emitter.emit(Ping(1))
    del view, seen[:]
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(2))
    assert [type(error) for error in caught.value.exceptions] == [ReferenceError]
    assert seen == [Ping(2)]
    assert_idle(emitter)
