"""Nothing is kept: G14; and what is let go of is let go of outside every lock: G6."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import (
    PATIENCE,
    Crew,
    Ping,
    interrupting_section,
)

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter
from eventemitter._sections import this_thread

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]


class Event:
    """An event that can be referenced weakly."""


class Handler:
    """A handler that can be referenced weakly."""

    def __call__(self, event: object) -> None:
        """Do nothing."""


class EventError(Exception):
    """An error that can be referenced weakly."""


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    """Let objects go by reference counting alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextmanager
def no_cycles() -> Generator[None]:
    """Assert that the block leaves nothing for the garbage collector to find."""
    gc.collect()
    flags = gc.get_debug()
    yield
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        garbage = [repr(each)[:80] for each in gc.garbage]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
    assert garbage == []


def failing(event: object) -> None:
    """Raise an error that refers to the event."""
    raise EventError(event)


def swallow(call: Callable[..., object], *arguments: object) -> None:
    """Call, and forget what was raised."""
    try:
        call(*arguments)
    except (ExceptionGroup, KeyboardInterrupt):
        pass


# Handlers


def remove_by_subscription(emitter: Emitter, handler: Handler) -> None:
    """Register and remove by `Subscription.off`."""
    assert emitter.on(Event, handler).off()


def remove_by_off(emitter: Emitter, handler: Handler) -> None:
    """Register and remove by `off(subscription)`."""
    assert emitter.off(emitter.on(Event, handler))


def remove_by_handler(emitter: Emitter, handler: Handler) -> None:
    """Register and remove by `off(event_type, handler)`."""
    emitter.on(Event, handler)
    assert emitter.off(Event, handler)


def remove_and_wait(emitter: Emitter, handler: Handler) -> None:
    """Register and remove by `off_and_wait`."""
    assert emitter.on(Event, handler).off_and_wait()


def remove_all(emitter: Emitter, handler: Handler) -> None:
    """Register and remove by `remove_all_listeners`."""
    emitter.on(Event, handler)
    emitter.remove_all_listeners()


def remove_after_emit(emitter: Emitter, handler: Handler) -> None:
    """Register, emit and remove."""
    subscription = emitter.on(Event, handler)
    emitter.emit(Event())
    assert subscription.off()


def remove_during_emit(emitter: Emitter, handler: Handler) -> None:
    """Register, and remove inside a handler in front."""
    first = emitter.on(Event, lambda _: emitter.off(Event, handler))
    emitter.on(Event, handler)
    emitter.emit(Event())
    assert first.off()


def call_once(emitter: Emitter, handler: Handler) -> None:
    """Register for one call, and emit."""
    emitter.once(Event, handler)
    emitter.emit(Event())


def remove_once(emitter: Emitter, handler: Handler) -> None:
    """Register for one call, and remove."""
    assert emitter.once(Event, handler).off()


REMOVALS = [
    remove_by_subscription,
    remove_by_off,
    remove_by_handler,
    remove_and_wait,
    remove_all,
    remove_after_emit,
    remove_during_emit,
    call_once,
    remove_once,
]
every_removal = pytest.mark.parametrize("remove", REMOVALS)


@every_removal
def test_a_removed_handler_is_not_kept(
    emitter: Emitter, remove: Callable[[Emitter, Handler], None]
) -> None:
    """G14: the emitter holds no reference to it, nor does a snapshot."""
    emitter.on(Event, print).off()
    others = [emitter.on(Event, lambda _: None) for _ in range(2)]
    handler = Handler()
    gone = weakref.ref(handler)
    remove(emitter, handler)
    del handler
    assert gone() is None
    assert remove is remove_all or all(other.active for other in others)


def test_a_subscription_does_not_keep_a_removed_handler(emitter: Emitter) -> None:
    """G14: it may be kept longer than what it stood for."""
    handler = Handler()
    gone = weakref.ref(handler)
    first, second = emitter.on(Event, handler), emitter.once(Event, handler)
    assert first.handler is second.handler is handler
    first.off()
    second.off()
    del handler
    assert gone() is None


def test_a_once_listener_satisfied_by_replay_is_not_kept() -> None:
    """G14: its subscription is born inactive, and keeps nothing."""
    emitter: ReplayEventEmitter[Event] = ReplayEventEmitter()
    emitter.emit(Event())
    handler = Handler()
    gone = weakref.ref(handler)
    subscription = emitter.once(Event, handler)
    del handler
    assert gone() is None
    assert not subscription.active


def test_a_handler_whose_replay_raised_is_not_kept() -> None:
    """G14, G11: there is nothing that could remove it later."""
    emitter: ReplayEventEmitter[Event] = ReplayEventEmitter()
    emitter.emit(Event())

    class Failing(Handler):
        def __call__(self, event: object) -> None:
            raise EventError(event)

    handler = Failing()
    gone = weakref.ref(handler)
    swallow(emitter.on, Event, handler)
    del handler
    assert gone() is None


# Events


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
@pytest.mark.parametrize("listener", [None, "on", "once", "failing"])
def test_an_emitter_keeps_no_event(name: str, listener: str | None) -> None:
    """G14: neither with listeners nor without, nor if they raise."""
    emitter: EventEmitter[Event] = EventEmitter()
    emitter.on(Event, print).off()
    if listener in {"on", "once"}:
        getattr(emitter, listener)(Event, Handler())
    elif listener == "failing":
        emitter.on(Event, failing)
    event = Event()
    gone = weakref.ref(event)
    swallow(getattr(emitter, name), event)
    del event
    assert gone() is None


def test_an_emitter_keeps_no_queued_event() -> None:
    """G14, G4: once it has been delivered."""
    emitter: EventEmitter[Event] = EventEmitter()
    events: list[weakref.ref[Event]] = []

    def handle(event: Event) -> None:
        events.append(weakref.ref(event))
        if len(events) < 5:
            emitter.emit(Event())

    emitter.on(Event, handle)
    emitter.emit(Event())
    assert [event() for event in events] == [None] * 5


def test_an_emitter_lets_go_of_each_event_before_the_next(emitter: Emitter) -> None:
    """G14: a long chain of events does not keep them all, on an emitter of either kind."""
    events: list[weakref.ref[Event]] = []
    alive: list[int] = []

    def handle(event: Event) -> None:
        events.append(weakref.ref(event))
        alive.append(sum(each() is not None for each in events))
        if len(events) < 50:
            emitter.emit(Event())

    emitter.on(Event, handle)
    emitter.emit(Event())
    assert max(alive) <= 3


def test_a_replaying_emitter_keeps_the_latest_event_of_each_type() -> None:
    """G14: exactly that, until it is forgotten."""

    class Other:
        pass

    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.on(Event, Handler())
    first, second, other = Event(), Event(), Other()
    gone = weakref.ref(first), weakref.ref(second), weakref.ref(other)
    for event in (first, second, other):
        emitter.emit(event)
    del first, second, other, event
    assert [each() is None for each in gone] == [True, False, False]
    assert emitter.latest(Event) is gone[1]()
    emitter.forget(Event)
    assert [each() is None for each in gone] == [True, True, False]
    emitter.forget()
    assert gone[2]() is None


def test_a_replay_keeps_no_event_but_the_latest() -> None:
    """G14, G2: what followed during the replay has been told and is let go of."""
    emitter: ReplayEventEmitter[Event] = ReplayEventEmitter()
    events: list[weakref.ref[Event]] = []

    def handle(event: Event) -> None:
        events.append(weakref.ref(event))
        if len(events) < 5:
            emitter.emit(Event())

    emitter.emit(Event())
    subscription = emitter.on(Event, handle)
    assert subscription.active
    assert [event() is None for event in events] == [True, True, True, True, False]


def test_events_kept_after_an_interrupt_are_let_go_of_when_delivered(emitter: Emitter) -> None:
    """G14, G11: by the next emit, but for the latest of an emitter that replays."""
    events: list[weakref.ref[Event]] = []

    def handle(event: Event) -> None:
        events.append(weakref.ref(event))
        if len(events) == 1:
            emitter.emit(Event())
            raise KeyboardInterrupt

    emitter.on(Event, handle)
    swallow(emitter.emit, Event())
    emitter.emit(Event())
    assert len(events) == 3
    assert [event() for event in events[:2]] == [None, None]


# Cycles


def test_emitting_makes_no_cycles(emitter: Emitter) -> None:
    """G14: nor does listening and removing."""
    with no_cycles():
        emitter.on(Event, Handler())
        emitter.once(Event, Handler())
        emitter.emit(Event())
        emitter.emit_nowait(Event())
        with emitter.on(Event, Handler()):
            emitter.emit(Event())
        emitter.remove_all_listeners_and_wait()


def test_re_entrant_emits_make_no_cycles(emitter: Emitter) -> None:
    """G14, G4: the queue lets go of what was delivered."""

    def handle(event: Ping) -> None:
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))

    emitter.on(Ping, handle)
    with no_cycles():
        emitter.emit(Ping(0))


def test_failures_make_no_cycles(emitter: Emitter) -> None:
    """G14: the group, its errors, their tracebacks and frames go when the caller lets go."""
    emitter.on(Event, failing)
    emitter.once(Event, failing)
    with no_cycles():
        swallow(emitter.emit, Event())
        swallow(emitter.emit_nowait, Event())


def test_failures_of_queued_events_make_no_cycles(emitter: Emitter) -> None:
    """G14, G4: also those of many events in one group."""

    def handle(event: Ping) -> None:
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))
        raise EventError(event)

    emitter.on(Ping, handle)
    with no_cycles():
        swallow(emitter.emit, Ping(0))


def test_failures_of_nested_emits_make_no_cycles(emitter: Emitter) -> None:
    """G14: a group inside a group."""
    emitter.on(Ping, lambda _: emitter.emit(Event()))
    emitter.on(Event, failing)
    with no_cycles():
        swallow(emitter.emit, Ping())


def test_a_failed_emit_keeps_neither_error_nor_event(emitter: Emitter) -> None:
    """G14: by reference counting alone, at the end of the except block."""
    errors: list[weakref.ref[BaseException]] = []
    emitter.on(Event, failing)
    try:
        emitter.emit(Event())
    except ExceptionGroup as group:
        errors.append(weakref.ref(group))
        errors.append(weakref.ref(group.exceptions[0]))
    assert [error() for error in errors] == [None, None]


def test_on_error_makes_no_cycles(kind: Kind) -> None:
    """G14: a failure refers to error and event, and nothing refers back."""
    failures: list[HandlerFailure] = []
    emitter = kind(on_error=failures.append)
    emitter.on(Event, failing)
    with no_cycles():
        emitter.emit(Event())
        failures.clear()


def broken_on_error(failure: HandlerFailure) -> None:
    """Raise an error whose context is that of the handler."""
    raise EventError(failure) from failure.error


def test_an_on_error_that_raises_makes_no_cycles(kind: Kind) -> None:
    """G14: two errors, one the context of the other."""
    emitter = kind(on_error=broken_on_error)
    emitter.on(Event, failing)
    emitter.on(Event, failing)
    with no_cycles():
        swallow(emitter.emit, Event())


@pytest.mark.parametrize("on_error", [None, broken_on_error])
@pytest.mark.parametrize("name", ["on", "once"])
def test_a_failed_replay_makes_no_cycles(
    name: str, on_error: Callable[[HandlerFailure], None] | None
) -> None:
    """G14, G11: on() raises the group, and nothing stays."""
    emitter: ReplayEventEmitter[Event] = ReplayEventEmitter(on_error=on_error)
    emitter.emit(Event())
    with no_cycles():
        swallow(getattr(emitter, name), Event, failing)


def test_an_interrupt_makes_no_cycles(emitter: Emitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """G14, G11: nor do the errors that were raised before it."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.unraisablehook", print)
    emitter.on(Event, failing)
    emitter.on(Event, interrupt)
    with no_cycles():
        swallow(emitter.emit, Event())


def test_bad_input_makes_no_cycles(emitter: Emitter) -> None:
    """G14: an exception leads to frames, and they do not lead back."""

    def misuse() -> None:
        for value in (Event, 42):
            try:
                emitter.off(value)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
            except TypeError:
                pass

    with no_cycles():
        misuse()


def test_an_emitter_with_listeners_is_freed_by_reference_counting(kind: Kind) -> None:
    """G14: it is in no cycle with its listeners, subscriptions or latest events."""
    emitter = kind(on_error=print)
    handler, event = Handler(), Event()
    gone = weakref.ref(emitter), weakref.ref(handler), weakref.ref(event)
    emitter.on(Event, handler)
    emitter.once(Event, print)
    emitter.emit(event)
    del handler, event
    assert gone[1]() is not None
    del emitter
    assert [each() for each in gone] == [None, None, None]


def test_a_subscription_does_not_keep_its_emitter(kind: Kind) -> None:
    """G14: it refers to its event type's part alone."""
    emitter = kind()
    gone = weakref.ref(emitter)
    subscription = emitter.on(Event, Handler())
    del emitter
    assert gone() is None
    assert subscription.off()


# G6, and finalizers


class Finalized:
    """A handler and an event that reports under which conditions it is let go of."""

    def __init__(self, report: Callable[[], None]) -> None:
        """Call `report` when this is let go of."""
        self.report = report

    def __call__(self, event: object) -> None:
        """Do nothing."""

    def __del__(self) -> None:
        """Report."""
        self.report()


class Report:
    """Collects whether finalizers found their thread outside, and the event type unlocked."""

    def __init__(self, emitter: Emitter, crew: Crew) -> None:
        """Look at this emitter, from a thread of this crew."""
        self.emitter, self.crew = emitter, crew
        self.found: list[object] = []

    def __call__(self) -> None:
        """Use the emitter from another thread, and from this one."""
        self.found.append(this_thread().inside)
        try:
            self.crew.run(self.emitter.listener_count, Finalized).result(PATIENCE)
            self.found.append(self.emitter.off(Finalized, print))
        except BaseException as error:
            self.found.append(error)


@every_removal
def test_the_finalizer_of_a_handler_runs_without_a_lock(
    emitter: Emitter, crew: Crew, remove: Callable[[Emitter, Any], None]
) -> None:
    """G6: wherever the last reference to it goes."""
    report = Report(emitter, crew)
    remove_last(emitter, [Finalized(report)], remove)
    assert report.found == [False, False]


def remove_last(
    emitter: Emitter, handlers: list[Finalized], remove: Callable[[Emitter, Any], None]
) -> None:
    """Remove the handler in such a way that the emitter has the last reference to it."""
    if remove is remove_by_handler:
        emitter.on(Event, handlers[0])
        emitter.off(Event, Equal(handlers))
    elif remove is remove_all:
        emitter.on(Event, handlers.pop())
        emitter.remove_all_listeners(Event)
    elif remove is call_once:
        emitter.once(Event, handlers.pop())
        emitter.emit(Event())
    else:
        subscription = emitter.on(Event, handlers.pop())
        emitter.emit(Event())
        assert subscription.off()


class Equal:
    """Equals the handler in a list, and takes it out."""

    def __init__(self, handlers: list[Finalized]) -> None:
        """Take from this list."""
        self.handlers = handlers

    def __call__(self, event: object) -> None:
        """Do nothing."""

    def __eq__(self, other: object) -> bool:
        """Forget the handler."""
        self.handlers.clear()
        return isinstance(other, Finalized)

    def __hash__(self) -> int:
        """Be no key."""
        raise TypeError


@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("way", ["emit", "emit_nowait", "queued", "forget", "forget all"])
def test_the_finalizer_of_an_old_latest_event_runs_without_a_lock(
    crew: Crew, way: str, *, listening: bool
) -> None:
    """G6: when another takes its place, or it is forgotten."""
    emitter: ReplayEventEmitter[Finalized] = ReplayEventEmitter()
    report = Report(emitter, crew)
    if listening:
        emitter.on(Finalized, Handler())
    emitter.emit(Finalized(report))
    assert report.found == []
    match way:
        case "emit" | "emit_nowait":
            getattr(emitter, way)(Finalized(lambda: None))
        case "queued":
            emitter.forget()
            report.found.clear()
            rounds = iter(range(3))
            emitter.on(
                Finalized,
                lambda _: (
                    emitter.emit(Finalized(report)) if next(rounds, None) is not None else None
                ),
            )
            emitter.emit(Finalized(lambda: None))
            emitter.forget()
            assert report.found == [False, False] * 3
            return
        case "forget":
            emitter.forget(Finalized)
        case _:
            emitter.forget()
    assert report.found == [False, False]


def test_the_finalizer_of_an_event_replaced_by_one_put_aside_runs_without_a_lock(
    crew: Crew,
) -> None:
    """G6, G12: when the event of a call that interrupted a critical section takes its place."""
    emitter: ReplayEventEmitter[Finalized] = ReplayEventEmitter()
    report = Report(emitter, crew)
    emitter.emit(Finalized(report))
    with interrupting_section():
        emitter.emit(Finalized(lambda: None))
    assert emitter.listener_count(Finalized) == 0
    assert report.found == [False, False]


def test_the_finalizer_of_a_queued_event_runs_without_a_lock(emitter: Emitter, crew: Crew) -> None:
    """G6, G4: when the queue lets go of it."""
    report = Report(emitter, crew)
    emitted: list[None] = []

    def handle(_: Finalized) -> None:
        if not emitted:
            emitted.append(None)
            emitter.emit(Finalized(report))

    emitter.on(Finalized, handle)
    emitter.emit(Finalized(lambda: None))
    emitter.emit(Finalized(lambda: None))
    assert report.found == [False, False]
