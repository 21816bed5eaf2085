"""What type checkers accept and infer: section 2.

mypy, pyright, ty and pyrefly check this file, and its functions run in the tests too.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, Union, assert_type

from emitters import Changed, Connected, Disconnected, Link, Lost, Pending, Server, Stranger, Topic

from eventemitter import (
    EventEmitter,
    EventStream,
    Expectation,
    HandlerFailure,
    ReplayEventEmitter,
    Subscription,
)

T = TypeVar("T")
E_contra = TypeVar("E_contra", contravariant=True)

# Handlers


def accepts_lambdas() -> None:
    """`on` and `once` infer the parameter of a lambda from the event type."""
    pending = Pending()
    assert_type(pending.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(
        pending.once(Disconnected, lambda event: event.graceful), Subscription[Disconnected]
    )
    pending.emit(Connected("a"))
    pending.emit(Disconnected(graceful=True))
    pending.emit_nowait(Connected("b"))


class Screen:
    """Handles events in each way that a class can."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def show(self, event: Connected) -> None:
        self.shown.append(event.peer)

    def show_in(self, colour: str, event: Connected, *, blink: bool = False) -> str:
        self.shown.append(f"{event.peer} in {colour}{' blinking' * blink}")
        return colour

    @classmethod
    def check(cls, event: Connected) -> bool:
        return bool(event.peer)

    @staticmethod
    def ignore(event: Connected | Disconnected) -> None:
        del event

    async def fetch(self, event: Connected) -> str:
        self.shown.append(f"fetched {event.peer}")
        return event.peer


class Log:
    """Can be called."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def __call__(self, event: object) -> None:
        self.lines.append(event)


class AsyncLog:
    """Can be called with `await`."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    async def __call__(self, event: object) -> None:
        self.lines.append(event)


def accepts_methods_and_callable_objects() -> None:
    """Bound, class and static methods, objects with `__call__`, and built-in functions."""
    link, screen, log = Link(), Screen(), Log()
    assert_type(link.on(Connected, screen.show), Subscription[Connected])
    assert_type(link.once(Connected, screen.check), Subscription[Connected])
    assert_type(link.on(Disconnected, Screen.ignore), Subscription[Disconnected])
    assert_type(link.on(Connected, log), Subscription[Connected])
    assert_type(link.on(Connected, print), Subscription[Connected])
    assert_type(link.off(Connected, print), bool)
    seen: list[Connected | Disconnected] = []
    assert_type(link.once(Connected, seen.append), Subscription[Connected])
    link.emit(Connected("a"))
    assert seen == log.lines == [Connected("a")]
    assert screen.shown == ["a"]


def accepts_partials() -> None:
    """What is left of a partial's parameters is what counts."""
    link, screen = Link(), Screen()
    assert_type(link.on(Connected, partial(screen.show_in, "red")), Subscription[Connected])
    assert_type(
        link.once(Connected, partial(screen.show_in, "blue", blink=True)), Subscription[Connected]
    )
    link.emit(Connected("a"))
    assert screen.shown == ["a in red", "a in blue blinking"]


def accepts_handlers_of_more_than_the_event_type() -> None:
    """A handler of a union, of a base class or of anything handles the event type too."""

    def either(event: Connected | Disconnected) -> int:
        return len(str(event))

    def anything(event: object) -> None:
        str(event)

    def with_a_default(event: Connected, times: int = 1, *, loud: bool = False) -> None:
        del event, times, loud

    link = Link()
    assert_type(link.on(Connected, either), Subscription[Connected])
    assert_type(link.on(Connected, with_a_default), Subscription[Connected])
    assert_type(link.on(Disconnected, anything), Subscription[Disconnected])
    base: Callable[[Disconnected], None] = anything
    assert_type(EventEmitter[Lost]().on(Lost, base), Subscription[Lost])
    link.emit(Connected("a"))


def accepts_coroutine_functions() -> None:
    """As functions, methods, partials and objects; and plain functions with `loop=`."""

    async def main() -> None:
        link, screen, log = Link(), Screen(), AsyncLog()
        loop = asyncio.get_running_loop()

        async def fetch(times: int, event: Connected) -> int:
            return times * len(event.peer)

        assert_type(link.on(Connected, screen.fetch), Subscription[Connected])
        assert_type(link.once(Connected, partial(fetch, 2)), Subscription[Connected])
        assert_type(link.on(Connected, log, loop=loop), Subscription[Connected])
        assert_type(link.on(Connected, screen.show, loop=loop), Subscription[Connected])
        assert_type(
            link.on(Connected, lambda event: event.peer, loop=loop), Subscription[Connected]
        )
        await link.emit_async(Connected("a"))
        assert screen.shown == ["fetched a", "a"]
        assert log.lines == [Connected("a")]

    asyncio.run(main())


# Decorators


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


def accepts_decorated_coroutine_functions() -> None:
    """They stay coroutine functions; `loop=` changes nothing about that."""

    async def main() -> None:
        pending = Pending()
        loop = asyncio.get_running_loop()

        @pending.on(Connected)
        async def store(event: Connected) -> str:
            return event.peer

        @pending.once(Connected, loop=loop)
        async def fetch(event: Connected, times: int = 1) -> int:
            return times * len(event.peer)

        @pending.once(Disconnected, loop=loop)
        def leave(event: Disconnected) -> bool:
            return event.graceful

        storing: Callable[[Connected], Coroutine[Any, Any, str]] = store
        assert_type(await storing(Connected("a")), str)
        assert_type(await store(event=Connected("a")), str)
        assert_type(await fetch(Connected("a"), times=2), int)
        assert_type(leave(Disconnected(graceful=True)), bool)
        await pending.emit_async(Connected("a"))

    asyncio.run(main())


def accepts_a_decorated_class() -> None:
    """Calling it handles the event: it makes an instance."""
    link = Link()

    @link.on(Connected)
    @dataclass
    class Session:
        """Is made for each event."""

        opened: Connected

    assert_type(Session(Connected("a")).opened, Connected)
    link.emit(Connected("a"))


# What emitters declare

Alias = Connected | Disconnected
Explicit: TypeAlias = "Connected | Disconnected"
Old = Union[Connected, Disconnected]  # noqa: UP007


class OfAlias(EventEmitter[Alias]):
    """Declares an alias."""


class OfExplicit(EventEmitter[Explicit]):
    """Declares an explicit alias."""


class OfOld(EventEmitter[Old]):
    """Declares a Union of `typing`."""


def accepts_unions_and_aliases() -> None:
    """Each way of writing a union declares the same, and a union may be emitted as such."""

    def tell(emitter: EventEmitter[Connected | Disconnected], event: Alias) -> None:
        emitter.emit(event)

    for emitter in (Link(), OfAlias(), OfExplicit(), OfOld()):
        tell(emitter, Connected("a"))
        tell(emitter, Disconnected(graceful=True))
        assert_type(emitter.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(EventEmitter[Alias](), EventEmitter[Connected | Disconnected])


def accepts_generics() -> None:
    """A generic emitter, a generic function of an event type, and a generic event."""

    def next_of(emitter: ReplayEventEmitter[Any], event_type: type[T]) -> T:
        assert_type(emitter.on(event_type, print), Subscription[T])
        assert_type(emitter.latest(event_type), T | None)
        assert_type(emitter.stream(event_type), EventStream[T])
        with emitter.expect(event_type) as found:
            return found.result(0)

    pending = Pending()
    pending.emit(Connected("a"))
    assert_type(next_of(pending, Connected), Connected)

    def make(event_type: type[T]) -> Topic[T]:
        del event_type
        return Topic[T]()

    topic = make(Connected)
    assert_type(topic, Topic[Connected])
    topic.emit(Connected("a"))
    assert_type(topic.on(Connected, lambda event: event.peer), Subscription[Connected])

    seen: list[int] = []

    def note(change: Changed[int]) -> None:
        seen.append(change.value)

    numbers = EventEmitter[Changed[int]]()
    numbers.on(Changed, note)
    numbers.emit(Changed(42))
    assert seen == [42]


class Busy(Pending):
    """Is a kind of Pending."""


class Named:
    """Knows nothing of emitters."""

    def __init__(self, name: str) -> None:
        self.name = name


class NamedServer(Named, Server):
    """Mixes an emitter into another class."""


@dataclass
class Peer(ReplayEventEmitter[Connected]):
    """Is a dataclass."""

    address: str
    tags: list[str] = field(default_factory=list[str])


class Device:
    """Has an emitter."""

    def __init__(self) -> None:
        self.events: ReplayEventEmitter[Connected | Disconnected] = ReplayEventEmitter()


def accepts_subclasses_mixins_and_attributes() -> None:
    """An emitter keeps its parameter wherever it stands."""
    busy, server, peer, device = Busy(), NamedServer("a"), Peer("b"), Device()
    assert_type(busy.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(server.name, str)
    assert_type(server.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(peer.address, str)
    assert_type(peer.latest(Connected), Connected | None)
    assert_type(device.events.expect(Disconnected), Expectation[Disconnected])
    for emitter in (busy, server, peer, device.events):
        emitter.emit(Connected("a"))
    given = EventEmitter[Connected]()
    assert_type(given, EventEmitter[Connected])
    given.emit(Connected("a"))
    as_base: ReplayEventEmitter[Connected | Disconnected] = busy
    as_base.emit(Disconnected(graceful=True))


def accepts_an_emitter_that_declares_nothing() -> None:
    """`E` defaults to Any."""
    emitter = EventEmitter()
    assert_type(emitter, EventEmitter[Any])
    assert_type(ReplayEventEmitter(), ReplayEventEmitter[Any])
    emitter.emit(Stranger())
    emitter.emit(42)
    assert_type(emitter.on(Lost, lambda event: event.after), Subscription[Lost])


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


class Emits(Protocol[E_contra]):
    """Only emits."""

    def emit(self, event: E_contra, /) -> None: ...


class EmitsAsync(Protocol[E_contra]):
    """Only emits, with `await`."""

    async def emit_async(self, event: E_contra, /) -> None: ...


class Listens(Protocol):
    """Only listens."""

    def on(self, event_type: type[T], handler: Callable[[T], object], /) -> Subscription[T]: ...


class Waits(Protocol):
    """Only waits."""

    def expect(self, event_type: type[T], /) -> Awaitable[T]: ...


def accepts_emitters_as_protocols() -> None:
    """Who is to emit only, or to listen only, needs to see no more."""

    def speak(mouth: Emits[Connected]) -> None:
        mouth.emit(Connected("a"))

    def hear(ear: Listens) -> Subscription[Connected]:
        return ear.on(Connected, lambda event: event.peer)

    async def wait(pending: Waits) -> Connected:
        return await pending.expect(Connected)

    async def speak_async(mouth: EmitsAsync[Connected | Disconnected]) -> None:
        await mouth.emit_async(Disconnected(graceful=True))

    pending = Pending()
    assert hear(pending).active
    speak(pending)
    speak(Server())
    asyncio.run(speak_async(pending))
    assert_type(asyncio.run(wait(pending)), Connected)


# What the calls return


def accepts_subscriptions_in_every_role() -> None:
    """Its attributes and methods have the types of section 2."""

    def end(subscription: Subscription[Connected]) -> bool:
        return subscription.off()

    link = Link()
    with link.on(Connected, print) as subscription:
        assert_type(subscription, Subscription[Connected])
        assert_type(subscription.active, bool)
        assert_type(subscription.event_type, type[Connected])
        assert_type(subscription.handler, Callable[[Connected], object] | None)
        assert_type(link.off(subscription), bool)
    assert_type(end(subscription), bool)
    assert_type(subscription.off_and_wait(), bool)
    assert_type(subscription.off_and_wait(0.5), bool)
    assert_type(asyncio.run(subscription.off_and_wait_async()), bool)
    assert_type(link.off_and_wait(subscription, timeout=None), bool)
    assert_type(link.listeners(Connected), tuple[Subscription[Connected], ...])
    assert_type(link.listener_count(Connected), int)
    assert_type(link.event_types(), tuple[type, ...])
    assert_type(link.remove_all_listeners_and_wait(Connected, 1), bool)
    link.remove_all_listeners()
    kept: list[Subscription[Any]] = [link.on(Connected, print), link.on(Disconnected, print)]
    for each in kept:
        assert_type(link.off(each), bool)


def accepts_latest_and_forget() -> None:
    """`latest` returns an event of the type that was asked for, or None."""
    pending = Pending()
    assert_type(pending.latest(Connected), Connected | None)
    pending.emit(Connected("a"))
    if (latest := pending.latest(Connected)) is not None:
        assert_type(latest, Connected)
        assert_type(latest.peer, str)
    pending.forget(Connected)
    pending.forget()


def accepts_an_expectation_as_a_future_of_its_event() -> None:
    """For `concurrent.futures` and for `await`; `where` is inferred as a handler is."""

    async def either_of(awaitable: Awaitable[Connected | Disconnected]) -> None:
        assert_type(await awaitable, Connected | Disconnected)

    link = Link()
    with link.expect(Connected, where=lambda event: event.peer == "a") as up:
        assert_type(up, Expectation[Connected])
        link.emit(Connected("a"))
        assert_type(up.result(5), Connected)
        assert_type(up.exception(timeout=None), BaseException | None)
    future: Future[Connected] = up
    for done in as_completed([future]):
        assert_type(done.result(), Connected)

    async def awaits(pending: Pending) -> Connected:
        assert_type(await pending.expect(Connected), Connected)
        assert_type(await asyncio.wait_for(pending.expect(Connected), 5), Connected)
        either = await asyncio.gather(pending.expect(Connected), pending.expect(Disconnected))
        assert_type(either, tuple[Connected, Disconnected])
        await either_of(pending.expect(Connected))
        return await pending.expect(Connected, where=None)

    pending = Pending()
    pending.emit(Connected("a"))
    pending.emit(Disconnected(graceful=True))
    assert_type(asyncio.run(awaits(pending)), Connected)


def accepts_a_stream_of_the_union_of_its_types() -> None:
    """In both kinds of loops."""

    def peers(events: Iterable[Connected | Disconnected]) -> Iterator[str]:
        for event in events:
            if isinstance(event, Connected):
                yield event.peer

    async def count(events: AsyncIterable[object]) -> int:
        return len([event async for event in events])

    pending = Pending()
    pending.emit(Connected("a"))
    with pending.stream(Connected) as only:
        assert_type(only, EventStream[Connected])
        only.close()
        assert list(peers(only)) == ["a"]
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
            assert await count(events) == 0

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
    assert ReplayEventEmitter().follow(link, Connected, Disconnected).active
    assert_type(both.off(), bool)


def accepts_an_error_handler() -> None:
    """`on_error` is called with a HandlerFailure."""
    messages: list[str] = []

    def report(failure: HandlerFailure) -> None:
        assert_type(failure.event, object)
        assert_type(failure.error, Exception)
        assert_type(failure.handler, Callable[[Any], object])
        match failure:
            case HandlerFailure(event=Connected(peer)):
                messages.append(assert_type(peer, str))
            case _:
                messages.append("something else")

    def fail(event: object) -> None:
        raise ValueError(event)

    noisy = EventEmitter[Connected](on_error=report)
    noisy.on(Connected, fail)
    noisy.emit(Connected("a"))
    assert messages == ["a"]
    emitter: EventEmitter[Connected] = EventEmitter(on_error=lambda failure: failure.error)
    assert_type(emitter, EventEmitter[Connected])
    assert_type(Link(on_error=print), Link)
