"""What type checkers infer, accept and reject: section 2.

mypy and pyright check this file. A function whose name begins with `accepts_` runs in the tests
too; one whose name begins with `rejects_` holds lines that each checker must reject, and never
runs. An ignore that a checker does not need is an error, so each of those lines is proved rejected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, assert_type

from eventemitter import (
    EventEmitter,
    EventStream,
    Expectation,
    HandlerFailure,
    ReplayEventEmitter,
    Subscription,
)


@dataclass(frozen=True)
class Connected:
    """An event."""

    peer: str


@dataclass(frozen=True)
class Disconnected:
    """An event."""

    graceful: bool


@dataclass(frozen=True)
class Lost(Disconnected):
    """An event that is a kind of another."""

    after: float


@dataclass(frozen=True)
class Stranger:
    """An event that nobody declares."""


class Pending(ReplayEventEmitter[Connected | Disconnected]):
    """Declares a union and replays."""


class Link(EventEmitter[Connected | Disconnected]):
    """Declares a union."""


class Server(EventEmitter[Connected]):
    """Declares a single class."""


T = TypeVar("T")


class Topic(EventEmitter[T]):
    """Leaves its parameter to whoever makes one."""


def accepts_a_handler_of_the_event_type() -> None:
    """`on` and `once` infer the parameter of a lambda from the event type."""
    pending = Pending()
    assert_type(pending.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(
        pending.once(Disconnected, lambda event: event.graceful), Subscription[Disconnected]
    )
    pending.emit(Connected("a"))
    pending.emit(Disconnected(graceful=True))
    pending.emit_nowait(Connected("b"))


def accepts_a_handler_of_more_than_the_event_type() -> None:
    """A handler of a union, of a base class or of anything handles the event type too."""

    def either(event: Connected | Disconnected) -> int:
        return len(str(event))

    def anything(event: object) -> None:
        str(event)

    link = Link()
    assert_type(link.on(Connected, either), Subscription[Connected])
    assert_type(link.on(Disconnected, anything), Subscription[Disconnected])
    seen: list[Connected | Disconnected] = []
    assert_type(link.once(Connected, seen.append), Subscription[Connected])
    link.emit(Connected("a"))
    assert seen == [Connected("a")]


def accepts_decorators_that_keep_the_type_of_the_function() -> None:
    """`@on` and `@once` return the function unchanged, for a type checker too."""
    link = Link()

    @link.on(Connected)
    def handle(event: Connected, shout: bool = False) -> str:  # noqa: FBT001, FBT002
        return event.peer.upper() if shout else event.peer

    @link.once(Disconnected)
    def leave(event: Disconnected) -> bool:
        return event.graceful

    assert_type(handle(Connected("a"), shout=True), str)
    assert_type(leave(Disconnected(graceful=True)), bool)
    assert_type(link.off(Connected, handle), bool)


def accepts_a_subscription_in_every_role() -> None:
    """Its attributes and methods have the types of section 2."""
    link = Link()
    with link.on(Connected, print) as subscription:
        assert_type(subscription, Subscription[Connected])
        assert_type(subscription.active, bool)
        assert_type(subscription.event_type, type[Connected])
        assert_type(subscription.handler, Callable[[Connected], object] | None)
        assert_type(link.off(subscription), bool)
    assert_type(subscription.off(), bool)
    assert_type(subscription.off_and_wait(), bool)
    assert_type(subscription.off_and_wait(0.5), bool)
    assert_type(link.off_and_wait(subscription, timeout=None), bool)
    assert_type(link.listeners(Connected), tuple[Subscription[Connected], ...])
    assert_type(link.listener_count(Connected), int)
    assert_type(link.event_types(), tuple[type, ...])
    assert_type(link.remove_all_listeners_and_wait(Connected, 1), bool)
    link.remove_all_listeners()


def accepts_latest_and_forget() -> None:
    """`latest` returns an event of the type that was asked for, or None."""
    pending = Pending()
    assert_type(pending.latest(Connected), Connected | None)
    pending.forget(Connected)
    pending.forget()


def accepts_an_expectation_as_a_future_of_its_event() -> None:
    """For `concurrent.futures` and for `await`; `where` is inferred as a handler is."""
    link = Link()
    with link.expect(Connected, where=lambda event: event.peer == "a") as up:
        assert_type(up, Expectation[Connected])
        link.emit(Connected("a"))
        assert_type(up.result(5), Connected)
        assert_type(up.exception(timeout=None), BaseException | None)
    future: Future[Connected] = up
    assert future.done()

    async def awaits(pending: Pending) -> Connected:
        assert_type(await pending.expect(Connected), Connected)
        assert_type(await asyncio.wait_for(pending.expect(Connected), 5), Connected)
        either = await asyncio.gather(pending.expect(Connected), pending.expect(Disconnected))
        assert_type(either, tuple[Connected, Disconnected])
        return await pending.expect(Connected, where=None)

    pending = Pending()
    pending.emit(Connected("a"))
    pending.emit(Disconnected(graceful=True))
    assert_type(asyncio.run(awaits(pending)), Connected)


def accepts_a_stream_of_the_union_of_its_types() -> None:
    """In both kinds of loops."""
    pending = Pending()
    pending.emit(Connected("a"))
    assert_type(pending.stream(Connected), EventStream[Connected])
    with pending.stream(Connected, Disconnected, maxsize=5, overflow="drop_oldest") as stream:
        assert_type(stream, EventStream[Connected | Disconnected])
        assert_type(stream.dropped, int)
        assert_type(next(stream), Connected | Disconnected)
        stream.close()
        for event in stream:
            assert_type(event, Connected | Disconnected)

    async def reads() -> None:
        async with pending.stream(Disconnected, Connected) as events:
            assert_type(await anext(events), Disconnected | Connected)
            events.close()
            async for event in events:
                assert_type(event, Disconnected | Connected)

    asyncio.run(reads())
    anything = EventEmitter()
    three = anything.stream(Connected, Disconnected, Stranger)
    assert_type(three, EventStream[Connected | Disconnected | Stranger])
    four = anything.stream(Connected, Disconnected, Stranger, int)
    assert_type(four, EventStream[Connected | Disconnected | Stranger | int])


def accepts_an_emitter_to_follow() -> None:
    """Of whatever it emits, what both emit."""
    pending, link, server = Pending(), Link(), Server()
    both = pending.follow(link, Connected, Disconnected)
    assert_type(both, Subscription[Connected | Disconnected])
    assert_type(both.event_type, type[Connected | Disconnected])
    assert_type(server.follow(link, Connected), Subscription[Connected])
    assert_type(ReplayEventEmitter().follow(link, Connected, Disconnected), Subscription[Any])
    assert_type(both.off(), bool)


def accepts_an_emitter_that_declares_nothing() -> None:
    """`E` defaults to Any."""
    emitter = EventEmitter()
    assert_type(emitter, EventEmitter[Any])
    assert_type(ReplayEventEmitter(), ReplayEventEmitter[Any])
    emitter.emit(Stranger())
    emitter.emit(42)
    assert_type(emitter.on(Lost, lambda event: event.after), Subscription[Lost])


def accepts_an_emitter_as_an_attribute() -> None:
    """The parameter may be given at the call or in the annotation."""
    given = EventEmitter[Connected]()
    assert_type(given, EventEmitter[Connected])
    annotated: ReplayEventEmitter[Connected] = ReplayEventEmitter()
    annotated.emit(Connected("a"))
    given.emit(Connected("a"))
    topic = Topic[Connected]()
    topic.emit(Connected("a"))


def accepts_an_emitter_of_more_where_one_of_less_is_wanted() -> None:
    """`E` is contravariant: who can emit two event types can emit one of them."""

    def greet(emitter: EventEmitter[Connected]) -> None:
        emitter.emit(Connected("a"))

    greet(Link())
    greet(Pending())
    greet(Server())
    greet(EventEmitter())
    lost: EventEmitter[Lost] = EventEmitter[Disconnected]()
    assert lost.listener_count(Lost) == 0


def accepts_an_error_handler() -> None:
    """`on_error` is called with a HandlerFailure."""

    def report(failure: HandlerFailure) -> None:
        assert_type(failure.event, object)
        assert_type(failure.error, Exception)
        assert_type(failure.handler, Callable[[Any], object])

    EventEmitter[Connected](on_error=report)
    emitter: EventEmitter[Connected] = EventEmitter(on_error=lambda failure: failure.error)
    assert_type(emitter, EventEmitter[Connected])


def rejects_events_that_are_not_declared(link: Link, pending: Pending, server: Server) -> None:
    """`emit` and `emit_nowait` take declared events only."""
    link.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    link.emit_nowait(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pending.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    server.emit(Disconnected(graceful=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Topic[Connected]().emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rejects_the_class_instead_of_an_event(link: Link) -> None:
    """The parentheses that are easily forgotten."""
    link.emit(Connected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rejects_handlers_of_another_type(link: Link) -> None:
    """A handler must take the event type."""

    def strange(event: Stranger) -> None:
        str(event)

    def nothing() -> None:
        pass

    link.on(Connected, strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    link.once(Connected, nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    link.on(Connected, lambda event: event.graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownLambdaType]
    link.on(Connected, None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def rejects_what_is_no_event_type(link: Link, pending: Pending) -> None:
    """An event type is a class."""
    link.on("connected", print)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    link.listener_count("connected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pending.latest(Connected("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rejects_half_of_off(link: Link) -> None:
    """`off` takes a subscription, or an event type and a handler."""
    link.off(42)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    link.off(Connected)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def rejects_what_only_a_replaying_emitter_has(link: Link) -> None:
    """An EventEmitter keeps no event."""
    link.latest(Connected)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def rejects_an_emitter_of_less_where_one_of_more_is_wanted(server: Server) -> None:
    """`E` is contravariant, not covariant."""
    link: EventEmitter[Connected | Disconnected] = server  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    link.emit(Disconnected(graceful=True))


def rejects_what_cannot_be_assigned(link: Link, failure: HandlerFailure) -> None:
    """A subscription and a failure are for looking at."""
    subscription = link.on(Connected, print)
    subscription.active = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    failure.event = 42  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def rejects_a_wrong_error_handler() -> None:
    """`on_error` is a keyword, and is called with one argument."""

    def nothing() -> None:
        pass

    EventEmitter[Connected](on_error=nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventEmitter[Connected](print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def rejects_arguments_that_only_a_decorated_function_lacks(link: Link) -> None:
    """A decorated function is what it was."""

    @link.on(Connected)
    def handle(event: Connected) -> str:
        return event.peer

    handle(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rejects_predicates_of_another_type(link: Link) -> None:
    """`where` takes the event, and is a keyword."""

    def strange(event: Stranger) -> bool:
        return bool(str(event))

    link.expect(Connected, where=strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    link.expect(Connected, print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    link.expect("connected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def rejects_another_event_than_the_expected(link: Link) -> None:
    """What comes of an expectation is an event of its type."""
    event = await link.expect(Connected)
    str(event.graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


def rejects_what_a_stream_cannot_be(link: Link) -> None:
    """Its options are keywords, and `overflow` one of three."""
    link.stream(Connected, overflow="block")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    link.stream(Connected, maxsize="x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    for event in link.stream(Connected, Disconnected):
        str(event.peer)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


def rejects_following_what_is_not_emitted_here(server: Server, link: Link) -> None:
    """The follower must declare what it emits."""
    server.follow(link, Disconnected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    server.follow(Connected, Connected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
