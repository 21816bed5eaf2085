"""EventEmitter and ReplayEventEmitter: the calls people make, handed on to the channels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, Generic, SupportsIndex, TypeVar, cast, overload

if sys.version_info >= (3, 13):
    from typing import TypeVar as DefaultTypeVar
else:
    from typing_extensions import TypeVar as DefaultTypeVar

from ._channel import NOTHING, Channel
from ._declared import declared_types
from ._errors import (
    HandlerFailure,
    class_as_event,
    closed_loop,
    coroutine_error_handler,
    follows_itself,
    foreign_subscription,
    metaclass_as_event_type,
    no_event_types,
    no_loop,
    not_a_class,
    not_a_loop,
    not_a_predicate,
    not_a_subscription,
    not_an_emitter,
    not_an_error_handler,
    not_callable,
    undeclared,
)
from ._expectation import Expectation, Wish
from ._follow import Forward, add_together
from ._listener import Entry, Handler, Listener, new_listener
from ._sections import in_any_case, this_thread
from ._stream import Buffer, EventStream, Overflow, StreamTap
from ._subscription import Subscription, deadline_of
from ._turns import running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # importing it takes longer than all of the package

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
F = TypeVar("F", bound=Callable[..., object])
# The name is what users see in their editor and in the contract of every emitter.
E = DefaultTypeVar("E", contravariant=True, default=Any)  # noqa: PLC0105

_MISSING: Any = object()
_CHANNELS = "_eventemitter_channels"


class Channels(dict[type, Channel]):
    """The channels of one emitter. A deep copy or a pickled one is empty."""

    def __reduce_ex__(self, _: SupportsIndex) -> tuple[type[Channels], tuple[()]]:
        return (Channels, ())


class EventEmitter(Generic[E]):
    """Call handlers for events, exactly, from any thread.

    An event type is any class, an event an instance of it; a listener gets the events of exactly
    its class. `class Link(EventEmitter[Up | Down])` declares what a Link emits: type checkers
    reject other events in `emit()`, and other event types are refused at run time.

    Works as a base class, a mixin or an attribute; `super().__init__()` need not be called. A copy
    or an unpickled object has no listeners.

    Args:
        on_error: Receives the `HandlerFailure` of each handler that raised, instead of `emit()`
            raising (G11). It runs in the thread that emits. What it raises, `emit()` raises.

    Raises:
        TypeError: `on_error` is not callable.
    """

    # A mixin shares its namespace with classes it cannot know: hence the long names. The instance
    # gets its own dictionary of channels when it first needs one: __init__ may never run.
    _eventemitter_channels = Channels()
    _eventemitter_replays = False
    _eventemitter_declared: ClassVar[tuple[type | None, frozenset[type] | None]] = (None, None)
    """A class, as the next may inherit this from it, and the event types it declares; None: any."""
    _eventemitter_on_error: Callable[[HandlerFailure], object] | None = None

    def __init__(self, *, on_error: Callable[[HandlerFailure], object] | None = None) -> None:
        super().__init__()
        if on_error is not None:
            if not callable(on_error):
                raise not_an_error_handler(on_error)
            if _is_async(on_error):
                raise coroutine_error_handler(on_error)
            self.__dict__["_eventemitter_on_error"] = on_error
            for channel in self._eventemitter_channels.values():
                channel.on_error = on_error  # used before this ran

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # A shallow copy would share the channels. Asks the subclass's own __getstate__ first.
        match super().__reduce_ex__(protocol):
            case (function, arguments, state, *rest):
                return (function, arguments, _without_channels(state), *rest)
            case made:
                return made

    # Listening

    @overload
    def on(
        self,
        event_type: type[T],
        handler: Callable[[T], object],
        *,
        loop: AbstractEventLoop | None = None,
    ) -> Subscription[T]: ...

    @overload
    def on(
        self, event_type: type[T], *, loop: AbstractEventLoop | None = None
    ) -> Callable[[F], F]: ...

    def on(
        self, event_type: type[T], handler: Any = _MISSING, *, loop: AbstractEventLoop | None = None
    ) -> Any:
        """Call `handler` with each event of this type, in the thread that emits it.

        A listener that registers while an event is emitted gets it or not, but never half: what it
        sees is the order of emission from its first event on (G1, G2). Without a handler it
        decorates a function, and returns it unchanged. Never waits for a running handler (G6).

        A coroutine function runs on an event loop instead, one call at a time and in the order of
        emission (G13), in the context of its registration. Cancelling the task of a call drops what
        waits behind it.

        Args:
            event_type: The class whose instances the handler is called with.
            handler: Called with the event.
            loop: The event loop on whose thread the handler runs. By default the running one for a
                coroutine function, and none for a plain function.

        Returns:
            The registration, with which to end it.

        Raises:
            TypeError: `event_type` is not a class or not one that this emitter declares, `handler`
                is not callable, or `loop` is not an event loop.
            RuntimeError: `handler` is a coroutine function, and there is neither a running event
                loop nor `loop`; or `loop` is closed.
            ExceptionGroup: The handler raised in its replay; nothing stays registered (G11).
        """
        return self._eventemitter_listen("on", event_type, handler, loop, once=False)

    @overload
    def once(
        self,
        event_type: type[T],
        handler: Callable[[T], object],
        *,
        loop: AbstractEventLoop | None = None,
    ) -> Subscription[T]: ...

    @overload
    def once(
        self, event_type: type[T], *, loop: AbstractEventLoop | None = None
    ) -> Callable[[F], F]: ...

    def once(
        self, event_type: type[T], handler: Any = _MISSING, *, loop: AbstractEventLoop | None = None
    ) -> Any:
        """Call `handler` with the next event of this type only.

        Exactly once, whatever threads and handlers emit at the same time, and also if it raises: it
        is removed before it is called (G7). Arguments, result and exceptions are those of `on()`.
        """
        return self._eventemitter_listen("once", event_type, handler, loop, once=True)

    @overload
    def off(self, subscription: Subscription[Any], /) -> bool: ...

    @overload
    def off(self, event_type: type[T], handler: Callable[[T], object], /) -> bool: ...

    def off(self, which: Any, handler: Any = _MISSING, /) -> bool:
        """Remove a listener: no call of its handler begins after this has returned (G8).

        Args:
            which: The subscription, or the event type.
            handler: With an event type, the handler whose newest registration is removed; handlers
                are compared with `==`, so a bound method is found by another of the same object.

        Returns:
            False if there was nothing to remove. A call that has begun may still be running.

        Raises:
            TypeError: Neither a subscription nor an event type with a handler was given.
            ValueError: The subscription belongs to another emitter.
        """
        if handler is _MISSING:
            return self._eventemitter_own("off()", which).off()
        channel = self._eventemitter_find("off()", which)
        if not callable(handler):
            raise not_callable("off", which, handler)
        if channel is not None:
            for listener in reversed(channel.active_listeners()):
                found = listener.handler
                if (found is handler or found == handler) and channel.remove(listener):
                    return True
        return False

    def off_and_wait(self, subscription: Subscription[Any], timeout: float | None = None) -> bool:
        """Remove a listener, and wait until no other thread runs its handler (G9).

        Args:
            subscription: What `on()` or `once()` returned.
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no other thread runs the handler any more; its owner may free what it uses.
            False if the time was up, or waiting would have closed a cycle of waiting threads (G10);
            the listener is removed all the same.

        Raises:
            TypeError: Not a subscription, or `timeout` is not a number.
            ValueError: The subscription belongs to another emitter, or `timeout` is NaN.
        """
        return self._eventemitter_own("off_and_wait()", subscription).off_and_wait(timeout)

    def remove_all_listeners(self, event_type: type | None = None) -> None:
        """Remove every listener, or every one of one event type, as `off()` does (G8).

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.
        """
        for channel in self._eventemitter_all("remove_all_listeners()", event_type):
            channel.remove_all()

    def remove_all_listeners_and_wait(
        self, event_type: type | None = None, timeout: float | None = None
    ) -> bool:
        """Remove every listener, and wait until no other thread runs a handler (G9).

        Args:
            event_type: The event type whose listeners to remove; None for all event types.
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no call of a removed handler is running on another thread. False if the time was
            up or waiting would have closed a cycle of waiting threads (G10); all are removed.

        Raises:
            TypeError: `event_type` is not a class or not declared, or `timeout` is not a number.
            ValueError: `timeout` is NaN.
        """
        deadline = deadline_of(timeout)
        channels = self._eventemitter_all("remove_all_listeners_and_wait()", event_type)
        for channel in channels:
            channel.remove_all()
        return all(channel.wait_for(None, deadline) for channel in channels)

    # Waiting for events

    def expect(
        self, event_type: type[T], *, where: Callable[[T], object] | None = None
    ) -> Expectation[T]:
        """Return a future for the next event of this type, armed at once (G1).

        So `with emitter.expect(Up) as up: start(); up.result(5)` misses nothing that `start()`
        causes.

        Args:
            event_type: The class of the event.
            where: Called with each event, in the thread that emits it, until it returns something
                true: that event is the result. If it raises, so does the future.

        Raises:
            TypeError: `event_type` is not a class or not one that this emitter declares, or `where`
                is not callable.
        """
        self._eventemitter_check("expect()", event_type)
        if where is not None and (not callable(where) or _is_async(where)):
            raise not_a_predicate(event_type, where)
        wish = Wish(where)
        channel = self._eventemitter_channel(event_type)
        listener = new_listener(wish, once=False)  # it ends itself when it is done, not before
        wish.subscription = Subscription[T]((channel, listener))
        expectation = Expectation[T](wish)
        try:
            try:
                channel.add(listener)
                return expectation
            finally:
                del expectation  # the traceback of a failed replay leads here: else a cycle (G14)
        except BaseException:
            in_any_case(channel.withdraw, listener)  # nobody else could
            raise

    @overload
    def stream(
        self, event_type: type[T], /, *, maxsize: int = 1024, overflow: Overflow = "raise"
    ) -> EventStream[T]: ...

    @overload
    def stream(
        self, first: type[T1], second: type[T2], /, *,
        maxsize: int = 1024, overflow: Overflow = "raise",
    ) -> EventStream[T1 | T2]: ...  # fmt: skip

    @overload
    def stream(
        self, first: type[T1], second: type[T2], third: type[T3], /, *,
        maxsize: int = 1024, overflow: Overflow = "raise",
    ) -> EventStream[T1 | T2 | T3]: ...  # fmt: skip

    @overload
    def stream(
        self, first: type[T1], second: type[T2], third: type[T3], fourth: type[T4], /, *,
        maxsize: int = 1024, overflow: Overflow = "raise",
    ) -> EventStream[T1 | T2 | T3 | T4]: ...  # fmt: skip

    @overload
    def stream(
        self, *event_types: type[T], maxsize: int = 1024, overflow: Overflow = "raise"
    ) -> EventStream[T]: ...

    def stream(
        self, *event_types: type[Any], maxsize: int = 1024, overflow: Overflow = "raise"
    ) -> EventStream[Any]:
        """Return an iterator over the events of these types, in the order of emission.

        It collects from now on (G1), and never holds up who emits. Iterate with `for` in a thread,
        with `async for` on an event loop.

        Args:
            event_types: The classes of the events.
            maxsize: How many events are kept for the reader at the most.
            overflow: What happens to an event that finds the buffer full. "raise": it is lost, and
                the reader gets a `StreamOverflow` after the buffered events; "drop_oldest": it
                takes the place of the oldest; "drop_newest": it is lost.

        Raises:
            TypeError: No event type was given, or one that is not a class or not declared.
            ValueError: `maxsize` is below 1, or `overflow` is none of the three.
        """
        kinds = self._eventemitter_kinds("stream()", event_types)
        buffer = Buffer(maxsize, overflow)
        parts = [
            (self._eventemitter_channel(kind), new_listener(StreamTap(buffer), once=False))
            for kind in kinds
        ]
        try:
            for channel, listener in parts:
                channel.add(listener)
            buffer.open([Subscription[Any](part) for part in parts])
            return EventStream[Any](buffer)
        except BaseException:
            for channel, listener in parts:
                in_any_case(channel.withdraw, listener)
            raise

    def follow(
        self: EventEmitter[T], source: EventEmitter[Any], *event_types: type[T]
    ) -> Subscription[T]:
        """Emit here whatever `source` emits of these types, in the thread that emits there.

        What this emitter's handlers raise, the emit of `source` raises (G11). Where emitters follow
        each other in a ring, an event ends when it comes to where it has been: each emitter emits
        it once.

        Args:
            source: The emitter to follow. If it replays, its latest events are emitted at once, in
                the order in which they were.
            event_types: The classes of the events.

        Raises:
            TypeError: `source` is not an emitter, no event type was given, or one that is not a
                class or not declared by both.
            ValueError: `source` is this emitter.
            ExceptionGroup: A handler raised in the replay; nothing stays registered (G11).
        """
        if not isinstance(source, EventEmitter):
            raise not_an_emitter(source)
        if source is self:
            raise follows_itself(self)
        kinds = self._eventemitter_kinds("follow()", event_types)
        parts: list[tuple[Channel, Listener]] = []
        for kind in source._eventemitter_kinds("follow()", kinds):
            channel = source._eventemitter_channel(kind)
            forward = Forward(channel, self._eventemitter_channel(kind))
            parts.append((channel, new_listener(forward, once=False)))
        try:
            add_together(parts)
            return Subscription[T](*parts)
        except BaseException:
            for channel, listener in parts:
                in_any_case(channel.withdraw, listener)
            raise

    # Looking

    def listener_count(self, event_type: type) -> int:
        """Return how many listeners this event type has.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.
        """
        channel = self._eventemitter_find("listener_count()", event_type)
        return 0 if channel is None else len(channel.active_listeners())

    def listeners(self, event_type: type[T]) -> tuple[Subscription[T], ...]:
        """Return the registrations of this event type, oldest first.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.
        """
        channel = self._eventemitter_find("listeners()", event_type)
        if channel is None:
            return ()
        return tuple(Subscription[T]((channel, each)) for each in channel.active_listeners())

    def event_types(self) -> tuple[type, ...]:
        """Return the event types that have listeners."""
        return tuple(
            channel.event_type
            for channel in self._eventemitter_all("event_types()", None)
            if channel.active_listeners()
        )

    # Emitting

    def emit(self, event: E) -> None:
        """Call every listener of the event's class, in this thread, in the order of registration.

        While another thread delivers an event of this type it waits for its turn, so that all
        listeners see all events in one order (G3). When it returns all handlers have run (G5), with
        two exceptions: from a handler of the same event type it returns at once, and the event is
        delivered before the outermost `emit()` returns (G4); and where waiting would close a cycle
        of threads, the thread whose turn it is delivers the event next (G10).

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers raised, and there is no `on_error`; all have been called (G11).
        """
        channel = self._eventemitter_channels.get(type(event))
        if channel is None:
            channel = self._eventemitter_first(event, "emit")
        # `Channel.wanted` written out, as a call costs time.
        if channel is not None and (
            channel.listeners or channel.keeps or channel.inbox or channel.queue or channel.told
        ):
            channel.emit(event)

    def emit_nowait(self, event: E) -> None:
        """Deliver `event` as `emit()` does, but never wait for another thread.

        Where another thread is delivering this event type, that thread delivers this event too, in
        order. To be used where a lock is held that a handler may want.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers called by this thread raised, and there is no `on_error` (G11).
        """
        channel = self._eventemitter_channels.get(type(event))
        if channel is None:
            channel = self._eventemitter_first(event, "emit_nowait")
        if channel is not None and channel.wanted:
            channel.emit_in_line(this_thread(), Entry(event, wait=False))

    async def emit_async(self, event: E) -> None:
        """Deliver `event`, and await all its handlers, also those on event loops.

        Waits for its turn as `emit()` does, first come first served, without blocking its loop.
        Cancelling it loses nothing: not its turn, nor what its handlers are still to be told. It
        does not await what waits for itself: from a handler on a loop, the calls behind its own
        (G4, G10). Their failures go to the loop's exception handler.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers raised, plain or async, and there is no `on_error` (G11).
        """
        from ._loops import emit_async  # noqa: PLC0415 - it imports asyncio

        channel = self._eventemitter_channels.get(type(event))
        if channel is None:
            channel = self._eventemitter_first(event, "emit_async")
        if channel is not None and channel.wanted:
            await emit_async(channel, event)

    def _eventemitter_first(self, event: object, call: str) -> Channel | None:
        """Return the channel of an event that nobody has listened for; None if nobody need know."""
        event_type = type(event)
        # What is emitted again and again before anybody listens is to cost next to nothing.
        owner, declared = self._eventemitter_declared
        if owner is not type(self) or (
            isinstance(event, type) if declared is None else event_type not in declared
        ):
            if isinstance(event, type):
                raise class_as_event(call, event)
            self._eventemitter_check(f"{call}()", event_type)
        if self._eventemitter_replays:
            return self._eventemitter_channel(event_type)
        return None

    # Finding channels

    def _eventemitter_listen(
        self,
        call: str,
        event_type: type[Any],
        handler: Any,
        loop: AbstractEventLoop | None,
        *,
        once: bool,
    ) -> Any:
        self._eventemitter_check(f"{call}()", event_type)
        if handler is _MISSING:
            return partial(self._eventemitter_decorate, call, event_type, loop, once=once)
        if not callable(handler):
            raise not_callable(call, event_type, handler)
        channel = self._eventemitter_channel(event_type)
        called: Handler = handler
        if loop is not None or _is_async(handler):
            called = _mailbox(call, channel, handler, loop, once=once)
        listener = new_listener(called, once=once)
        try:
            channel.add(listener)
            return Subscription[Any]((channel, listener))
        except BaseException:
            in_any_case(channel.withdraw, listener)  # nobody else could
            raise

    def _eventemitter_decorate(
        self,
        call: str,
        event_type: type,
        loop: AbstractEventLoop | None,
        handler: F,
        *,
        once: bool,
    ) -> F:
        self._eventemitter_listen(call, event_type, handler, loop, once=once)
        return handler

    def _eventemitter_channel(self, event_type: type) -> Channel:
        # Each of the two is one step: of all threads, and of all calls that interrupt each other on
        # one thread, one makes the dictionary, and one the channel, that all of them use.
        channels: Channels = self.__dict__.setdefault(_CHANNELS, Channels())
        channel = channels.get(event_type)
        if channel is None:
            made = Channel(
                event_type,
                replays=self._eventemitter_replays,
                on_error=self._eventemitter_on_error,
            )
            channel = channels.setdefault(event_type, made)
        return channel

    def _eventemitter_find(self, call: str, event_type: type) -> Channel | None:
        self._eventemitter_check(call, event_type)
        return self._eventemitter_channels.get(event_type)

    def _eventemitter_all(self, call: str, event_type: type | None) -> list[Channel]:
        """Return the channel of an event type, or all channels for None."""
        if event_type is None:
            return list(self._eventemitter_channels.copy().values())
        channel = self._eventemitter_find(call, event_type)
        return [] if channel is None else [channel]

    def _eventemitter_own(self, call: str, subscription: Subscription[Any]) -> Subscription[Any]:
        if not isinstance(subscription, Subscription):
            raise not_a_subscription(call, subscription)
        own = self._eventemitter_channels
        for channel, listener in subscription.parts:
            # What follow() returned is that of the emitter it was asked for, and of the source.
            relay = listener.relay
            ends = (channel, relay.target) if isinstance(relay, Forward) else (channel,)
            if own.get(channel.event_type) not in ends:
                raise foreign_subscription(call, subscription)
        return subscription

    def _eventemitter_kinds(self, call: str, event_types: tuple[type, ...]) -> tuple[type, ...]:
        """Return the event types, each once, after refusing what is none."""
        if not event_types:
            raise no_event_types(call)
        for event_type in event_types:
            self._eventemitter_check(call, event_type)
        return tuple(dict.fromkeys(event_types))

    def _eventemitter_check(self, call: str, event_type: object) -> None:
        """Refuse what is not an event type of this emitter."""
        if not isinstance(event_type, type):
            raise not_a_class(call, event_type)
        event_type = cast("type[Any]", event_type)
        if issubclass(event_type, type):
            raise metaclass_as_event_type(call, event_type)
        cls = type(self)
        owner, declared = self._eventemitter_declared
        if owner is not cls:
            # On first use, when names that a forward reference needs are there.
            declared = declared_types(cls, EventEmitter)
            cls._eventemitter_declared = (cls, declared)
        if declared is not None and event_type not in declared:
            raise undeclared(cls, event_type, declared)


class ReplayEventEmitter(EventEmitter[E]):
    """Call handlers for events, and replay the latest event of its type to each new listener.

    A listener that registers late, or while an event is emitted, gets the latest event by replay or
    live: exactly one of the two (G1). The replay comes first, before `on()` returns, in the thread
    that calls it; events emitted meanwhile follow there (G2). If the handler raises, `on()` raises
    an ExceptionGroup, and nothing stays registered (G11).
    """

    _eventemitter_replays = True

    def latest(self, event_type: type[T]) -> T | None:
        """Return the latest event of this type; None if there was none, or it was forgotten.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.
        """
        channel = self._eventemitter_find("latest()", event_type)
        event: Any = NOTHING if channel is None else channel.get_latest()
        return None if event is NOTHING else event

    def forget(self, event_type: type | None = None) -> None:
        """Forget the latest event of this type, or of all types: it is not replayed any more.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.
        """
        for channel in self._eventemitter_all("forget()", event_type):
            channel.forget()


def _is_async(handler: Any) -> bool:
    """Return whether calling `handler` makes a coroutine."""
    while isinstance(handler, partial):
        handler = handler.func
    return iscoroutinefunction(handler) or iscoroutinefunction(type(handler).__call__)


def _mailbox(
    call: str, channel: Channel, handler: Handler, loop: AbstractEventLoop | None, *, once: bool
) -> Handler:
    """Return what leaves events for `handler` on its loop."""
    if loop is None:
        loop = running_loop()
    if loop is None:
        raise no_loop(call, channel.event_type, handler)
    from asyncio import AbstractEventLoop  # noqa: PLC0415 - as next

    from ._loops import Mailbox  # noqa: PLC0415 - it imports asyncio

    if not isinstance(loop, AbstractEventLoop):
        raise not_a_loop(call, channel.event_type, loop)
    if loop.is_closed():
        raise closed_loop(channel.event_type, handler)
    return Mailbox(channel, handler, loop, once=once)


def _without_channels(state: Any) -> Any:
    """Return what `__getstate__` returned without the listeners and latest events of an emitter."""
    match state:
        case {"_eventemitter_channels": Channels(), **others}:
            return others
        case ({"_eventemitter_channels": Channels(), **others}, slots):  # of a class with slots
            return (others, slots)
        case _:
            return state
