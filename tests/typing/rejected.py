"""What each of four type checkers must reject: section 2.

Each line carries an ignore for mypy, pyright, ty and pyrefly, with what it is rejected for. An
ignore that a checker does not need is an error, so each line is proved rejected. What some checker
accepts stands in `gaps.py`. README.md quotes the first lines of the functions here and there.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterable, Iterable

from accepted import Emits, Listens
from emitters import Changed, Connected, Disconnected, Link, Lost, Pending, Server, Stranger, Topic

from eventemitter import EventEmitter, EventStream, Expectation, HandlerFailure, Subscription

# Events


def rejects_an_undeclared_event(link: Link, pending: Pending, server: Server) -> None:
    """`emit()` of an event that is not declared."""
    link.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.emit_nowait(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.emit(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    pending.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    server.emit(Disconnected(graceful=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    Topic[Connected]().emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    EventEmitter[Changed[int]]().emit(Changed("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


async def rejects_an_undeclared_event_to_await(link: Link) -> None:
    """`emit_async()` of an event that is not declared."""
    await link.emit_async(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


async def rejects_a_coroutine_that_nobody_awaits(link: Link) -> None:
    """`emit_async()` without `await`."""
    link.emit_async(Connected("a"))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # ty: ignore[unused-awaitable]  # pyrefly: ignore[unused-coroutine]


def rejects_one_event_of_a_union(server: Server, event: Connected | Disconnected) -> None:
    """`emit()` of a union of which only a part is declared."""
    server.emit(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_the_class(link: Link) -> None:
    """`emit()` of the class instead of an event."""
    link.emit(Connected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


# Handlers


def rejects_handlers_of_another_type(link: Link, loop: AbstractEventLoop) -> None:
    """A handler of another event type."""

    class Screen:
        def show(self, event: Stranger) -> None:
            del event

        def __call__(self, event: Disconnected) -> None:
            del event

    def strange(event: Stranger) -> None:
        del event

    async def fetch(event: Disconnected) -> None:
        del event

    link.on(Connected, strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.once(Connected, strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, Screen().show)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, Screen())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, fetch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, fetch, loop=loop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.off(Connected, strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_handlers_of_a_narrower_type() -> None:
    """A handler of a subclass of the event type."""

    def handle(event: Lost) -> None:
        del event

    EventEmitter[Disconnected]().on(Disconnected, handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_handlers_with_other_parameters(link: Link) -> None:
    """A handler with too few or too many parameters."""

    def nothing() -> None:
        pass

    def two(event: Connected, more: int) -> None:
        del event, more

    link.on(Connected, nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.once(Connected, nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, lambda: None)  # type: ignore[misc, arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_what_the_event_of_a_lambda_lacks(link: Link) -> None:
    """An attribute that the event of a lambda does not have."""
    link.on(Connected, lambda event: event.graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
    link.once(Disconnected, lambda event: event.peer)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


def rejects_what_is_no_handler(link: Link, loop: AbstractEventLoop) -> None:
    """None, or the result of a call, instead of a handler."""
    link.on(Connected, None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.once(Connected, link.remove_all_listeners())  # type: ignore[call-overload, func-returns-value]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, print, loop)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # ty: ignore[no-matching-overload]  # pyrefly: ignore[no-matching-overload]


def rejects_what_a_decorated_function_lacks(link: Link) -> None:
    """A decorated function called with other arguments than its own."""

    @link.on(Connected)
    def handle(event: Connected) -> str:
        return event.peer

    @link.once(Connected)
    async def fetch(event: Connected) -> str:
        return event.peer

    handle(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    handle()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ty: ignore[missing-argument]  # pyrefly: ignore[missing-argument]
    str(handle(Connected("a")).graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
    fetch(Connected("a")).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


def rejects_decorating_what_cannot_be_called(link: Link) -> None:
    """A decorator on what cannot be called."""
    link.on(Connected)(42)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-specialization]


# Event types


def rejects_what_is_no_event_type(link: Link, pending: Pending) -> None:
    """An instance or a name instead of an event type."""
    link.on("connected", print)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected("a"), print)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.once("connected")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.listener_count("connected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.expect("connected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.stream("connected")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # ty: ignore[no-matching-overload]  # pyrefly: ignore[no-matching-overload]
    pending.latest(Connected("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    pending.forget(Connected("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_half_of_off(link: Link) -> None:
    """`off()` of neither a subscription nor an event type with a handler."""
    link.off(42)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.off(Connected)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.off_and_wait(Connected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_a_timeout_that_is_no_number(link: Link) -> None:
    """A timeout that is no number."""
    link.on(Connected, print).off_and_wait("1 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_emitters_of_less(server: Server) -> None:
    """An emitter of less where one of more is wanted."""

    def leave(emitter: EventEmitter[Connected | Disconnected]) -> None:
        emitter.emit(Disconnected(graceful=True))

    def leave_it(emitter: Emits[Connected | Disconnected]) -> None:
        emitter.emit(Disconnected(graceful=True))

    leave(server)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    leave_it(server)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_what_a_protocol_hides(mouth: Emits[Connected], ear: Listens) -> None:
    """Listening to what is to emit only, and the other way round."""
    mouth.emit(Disconnected(graceful=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    mouth.on(Connected, print)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
    ear.emit(Connected("a"))  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


# What the calls return


def rejects_the_latest_event_that_may_be_none(pending: Pending) -> None:
    """`latest()` used without a look whether it is None."""
    str(pending.latest(Connected).peer)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # ty: ignore[missing-union-attribute]  # pyrefly: ignore[missing-attribute]


def rejects_what_only_a_replaying_emitter_has(link: Link) -> None:
    """`latest()` of an emitter that does not replay."""
    link.latest(Connected)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
    link.forget()  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


async def rejects_another_event_than_the_expected(link: Link) -> None:
    """An attribute that the expected event does not have."""
    str((await link.expect(Connected)).graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
    str(link.expect(Connected).result().graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


def rejects_predicates_of_another_type(link: Link) -> None:
    """A predicate of another event type."""

    def strange(event: Stranger) -> bool:
        return bool(str(event))

    link.expect(Connected, where=strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.expect(Connected, print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ty: ignore[too-many-positional-arguments]  # pyrefly: ignore[bad-argument-count]


async def rejects_other_events_than_those_of_a_stream(link: Link) -> None:
    """An attribute that not all events of a stream have."""
    for event in link.stream(Connected, Disconnected):
        str(event.peer)  # type: ignore[union-attr]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-union-attribute]  # pyrefly: ignore[missing-attribute]
    async for event in link.stream(Connected, Disconnected):
        str(event.peer)  # type: ignore[union-attr]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-union-attribute]  # pyrefly: ignore[missing-attribute]
    str(next(link.stream(Connected)).graceful)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]


def rejects_what_a_stream_cannot_be(link: Link) -> None:
    """An `overflow` or a `maxsize` that a stream cannot have."""
    link.stream(Connected, overflow="block")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # ty: ignore[no-matching-overload]  # pyrefly: ignore[no-matching-overload]
    link.stream(Connected, maxsize="x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # ty: ignore[no-matching-overload]  # pyrefly: ignore[no-matching-overload]


def rejects_following_what_is_not_emitted_here(server: Server, link: Link) -> None:
    """`follow()` of event types that the follower does not declare."""
    server.follow(link, Disconnected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    server.follow(link, Connected, Disconnected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    server.follow(Connected, Connected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_the_wrong_parameter(link: Link) -> None:
    """A subscription, expectation or stream of another event type."""

    def end(subscription: Subscription[Disconnected]) -> None:
        subscription.off()

    def wait(expectation: Expectation[Disconnected]) -> Disconnected:
        return expectation.result()

    def read(stream: EventStream[Disconnected]) -> Disconnected:
        return next(stream)

    def read_any(events: Iterable[Disconnected], later: AsyncIterable[Disconnected]) -> None:
        del events, later

    end(link.on(Connected, print))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    wait(link.expect(Connected))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    read(link.stream(Connected))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    read_any(link.stream(Connected), link.stream(Disconnected))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    read_any(link.stream(Disconnected), link.stream(Connected))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def rejects_what_cannot_be_assigned(link: Link, failure: HandlerFailure) -> None:
    """Changing what is for looking at."""
    subscription = link.on(Connected, print)
    subscription.active = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # ty: ignore[invalid-assignment]  # pyrefly: ignore[read-only]
    subscription.handler = print  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # ty: ignore[invalid-assignment]  # pyrefly: ignore[read-only]
    failure.event = 42  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # ty: ignore[invalid-assignment]  # pyrefly: ignore[read-only]


def rejects_wrong_error_handlers() -> None:
    """An `on_error` that does not take a HandlerFailure."""

    def nothing() -> None:
        pass

    def strange(event: Connected) -> None:
        del event

    EventEmitter[Connected](on_error=nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    EventEmitter[Connected](on_error=strange)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    EventEmitter[Connected](print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ty: ignore[too-many-positional-arguments]  # pyrefly: ignore[bad-argument-count]
    Link(on_error=lambda failure: failure.peer)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]  # ty: ignore[missing-attribute]  # pyrefly: ignore[missing-attribute]
