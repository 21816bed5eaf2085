"""EventEmitter and ReplayEventEmitter: the calls people make, handed on to the channels."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    SupportsIndex,
    TypeVar,
    cast,
    get_origin,
    overload,
)

if sys.version_info >= (3, 13):
    from typing import TypeVar as DefaultTypeVar
else:
    from typing_extensions import TypeVar as DefaultTypeVar

from ._channel import NOTHING, Channel
from ._declared import declared_types
from ._errors import (
    HandlerFailure,
    class_as_event,
    follows_itself,
    foreign_subscription,
    loop_closed_before,
    metaclass_as_event_type,
    no_event_types,
    no_loop,
    not_a_class,
    not_a_handler,
    not_a_loop,
    not_a_predicate,
    not_a_subscription,
    not_an_emitter,
    not_an_error_handler,
    typed_dict_as_event_type,
    undeclared,
)
from ._expectation import Expectation, Wish
from ._follow import Forward
from ._listener import Entry, Handler, Listener, new_listener
from ._registration import register
from ._sections import this_thread
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


class _Missing:
    def __repr__(self) -> str:
        return "..."  # what `help()` shows


_MISSING: Any = _Missing()
_AWAITED = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_ITERATED = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_CHANNELS = "_eventemitter_channels"
_LISTED = 5
"""How many event types the repr of an emitter names."""


class Channels(dict[type, Channel]):
    """The channels of one emitter. A deep copy or a pickled one is empty."""

    def __reduce_ex__(self, _: SupportsIndex) -> tuple[type[Channels], tuple[()]]:
        return (Channels, ())


class EventEmitter(Generic[E]):
    """Call handlers for events, from any thread, in one order for all.

    An event type is any class, an event an instance of it. A listener is one registration, and gets
    the events of exactly its class. `class Link(EventEmitter[Up | Down])` declares what a Link
    emits: type checkers reject other events in `emit()`, and other event types are refused at run
    time.

    A plain handler runs in the thread that emits, a coroutine function on an event loop. No lock of
    the package is held meanwhile (G6), and no combination of calls deadlocks (G10). No event is
    kept, and no handler that was removed (G14). Numbers such as G6 are those of the README's
    guarantees.

    Works as a base class, a mixin or an attribute; `super().__init__()` need not be called. A base
    whose `__init__` takes arguments of its own comes before it. A copy or an unpickled object has
    no listeners.

    Args:
        on_error: Called with the `HandlerFailure` of each handler that raised, instead of `emit()`
            raising (G11): in the thread that delivers the event, or on the event loop of the
            handler. What it raises itself, `emit()` raises, or the loop's exception handler gets.

    Raises:
        TypeError: `on_error` is not callable, or is a coroutine or generator function.

    Example:
        >>> class Up:
        ...     pass
        >>> link = EventEmitter[Up]()
        >>> subscription = link.on(Up, lambda event: print("up"))
        >>> link.emit(Up())
        up
    """

    # A mixin shares its namespace with classes it cannot know: hence the long names. The instance
    # gets its own dictionary of channels when it first needs one: __init__ may never run.
    _eventemitter_channels = Channels()
    _eventemitter_replays = False
    _eventemitter_declared: ClassVar[tuple[type | None, frozenset[type] | None]] = (None, None)
    """A class, as the next may inherit this from it, and the event types it declares; None: any."""
    _eventemitter_deaf: ClassVar[type | None] = None
    """The class itself, where any event that nobody has listened for makes no difference."""
    _eventemitter_on_error: Callable[[HandlerFailure], object] | None = None

    def __init__(self, *, on_error: Callable[[HandlerFailure], object] | None = None) -> None:
        if type(self) not in _ALONE:
            super().__init__()
        if on_error is not None:
            made = _made_by(on_error)
            if made or not callable(on_error):
                raise not_an_error_handler(on_error, made)
            self.__dict__["_eventemitter_on_error"] = on_error
            for channel in self._eventemitter_channels.copy().values():
                channel.on_error = on_error  # used before this ran

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # A shallow copy would share the channels. Asks the subclass's own __getstate__ first.
        match super().__reduce_ex__(protocol):
            case (function, arguments, state, *rest):
                return (function, arguments, _without_channels(state), *rest)
            case made:
                return made

    def __repr__(self) -> str:
        # Where a class further on has a repr, its author meant that to be seen.
        inherited = super().__repr__
        if inherited != object.__repr__.__get__(self):
            return inherited()
        found = [(each, len(each.seen())) for each in self._eventemitter_channels.copy().values()]
        counts = [f"{each.event_type.__qualname__} {count}" for each, count in found if count]
        listed = ", ".join(counts[:_LISTED] + ["..."] * (len(counts) > _LISTED))
        return f"<{type(self).__qualname__} at {id(self):#x}: {listed or 'no'} listeners>"

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

        Without a handler it decorates a function, and returns it unchanged. What a listener sees is
        the order of emission from its first event on, also when it registers while other threads
        emit (G1, G2). Never waits for a running handler (G6).

        A coroutine function runs on an event loop instead, one call at a time and in the order of
        emission (G13), in the context of its registration. Cancelling the task of a call drops what
        waits behind it, and reports each event that is dropped.

        Args:
            event_type: The class whose instances the handler is called with.
            handler: Called with the event.
            loop: The event loop on whose thread the handler runs. By default the running one for a
                coroutine function, and none for a plain function.

        Returns:
            The registration, with which to end it; as a decorator, the function.

        Raises:
            TypeError: `event_type` is not a class or not one that this emitter declares, `handler`
                is not callable, or is a generator function, or `loop` is not an event loop.
            RuntimeError: `handler` is a coroutine function, and there is neither a running event
                loop nor `loop`; or `loop` is closed.
            ExceptionGroup: The handler raised in its replay, and there is no `on_error`; nothing
                stays registered (G11).

        Example:
            >>> emitter = EventEmitter()
            >>> @emitter.on(str)
            ... def greet(name):
            ...     print("hello", name)
            >>> emitter.emit("Ada")
            hello Ada
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
        Where an event is replayed, that is the one, and the subscription is inactive from the
        start.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.once(str, print)
            >>> emitter.emit("first")
            first
            >>> emitter.emit("second")
        """
        return self._eventemitter_listen("once", event_type, handler, loop, once=True)

    @overload
    def off(self, subscription: Subscription[Any], /) -> bool: ...

    @overload
    def off(self, event_type: type[T], handler: Callable[[T], object], /) -> bool: ...

    def off(self, which: Any, handler: Any = _MISSING, /) -> bool:
        """Remove a listener: no call of its handler begins after this has returned (G8).

        Not even in a delivery that is under way. What waits for an event loop is dropped. Never
        waits for a running handler: a call that has begun may still be running, see
        `off_and_wait()`.

        Args:
            which: The subscription, or the event type.
            handler: With an event type, the handler whose newest registration is removed; handlers
                are compared with `==`, so a bound method is found by another of the same object.

        Returns:
            True if this call removed it. False if there was nothing to remove.

        Raises:
            TypeError: Neither a subscription nor an event type with a handler was given.
            ValueError: The subscription belongs to another emitter.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.off(subscription)
            True
            >>> emitter.off(str, print)
            False
        """
        if handler is _MISSING:
            return self._eventemitter_own("off()", which).off()
        channel = self._eventemitter_find("off()", which)
        if not callable(handler):
            raise not_a_handler("off", which, handler)
        return channel is not None and channel.remove_newest(handler)

    def off_and_wait(self, subscription: Subscription[Any], timeout: float | None = None) -> bool:
        """Remove a listener, and wait until no other thread runs its handler (G9).

        It waits for that handler alone, not for the rest of the delivery. A call that runs in the
        calling thread is not waited for: from a plain handler itself it returns at once.

        Args:
            subscription: What `on()` or `once()` returned.
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no other thread runs the handler, nor will: its owner may free what it uses.
            False if the time was up, or waiting would have closed a cycle of waiting threads (G10);
            the listener is removed all the same.

        Raises:
            TypeError: Not a subscription, or `timeout` is not a number.
            ValueError: The subscription belongs to another emitter, or `timeout` is NaN.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.off_and_wait(subscription, timeout=5)
            True
        """
        return self._eventemitter_own("off_and_wait()", subscription).off_and_wait(timeout)

    def remove_all_listeners(self, event_type: type | None = None) -> None:
        """Remove every listener, or every one of one event type, as `off()` does (G8).

        Expectations are cancelled by it, and streams end.

        Args:
            event_type: The event type whose listeners to remove; None for all event types.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.remove_all_listeners(str)
            >>> subscription.active
            False
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

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.remove_all_listeners_and_wait(timeout=5)
            True
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

        What the next line causes is not missed. Wait with `result(5)` in a thread, or `await` it;
        leaving its `with` block cancels it, and a cancelled one leaves nothing registered.

        Args:
            event_type: The class of the event.
            where: A plain function. It is called with each event, in the thread that emits it,
                until it returns something true: that event is the result. If it raises, so does the
                future.

        Returns:
            The future; see `Expectation` for how to wait, how long, and what it raises.

        Raises:
            TypeError: `event_type` is not a class or not one that this emitter declares, or `where`
                is not callable, or is a coroutine or generator function.

        Example:
            >>> emitter = EventEmitter()
            >>> with emitter.expect(int, where=lambda number: number > 9) as big:
            ...     emitter.emit(7)
            ...     emitter.emit(42)
            ...     print(big.result(timeout=5))
            42
        """
        self._eventemitter_check("expect()", event_type)
        if where is not None:
            made = _made_by(where)
            if made or not callable(where):
                raise not_a_predicate(event_type, where, made)
        wish = Wish(event_type, where)
        channel = self._eventemitter_channel(event_type)
        listener = new_listener(wish, once=False)  # it ends itself when it is done, not before
        wish.subscription = Subscription[T]((channel, listener))
        # Lets go of it at once: the traceback of a failed predicate leads here, else a cycle (G14).
        expectation = [Expectation[T](wish)]
        return register([(channel, listener)], expectation.pop)

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
        with `async for` on an event loop. Close it, or use it as a context manager.

        Args:
            event_types: The classes of the events.
            maxsize: How many events are kept for the reader at the most.
            overflow: What happens to an event that finds the buffer full. "raise": it is lost, the
                stream ends, and the reader gets a `StreamOverflow` after the buffered events;
                "drop_oldest": it takes the place of the oldest; "drop_newest": it is lost.

        Raises:
            TypeError: No event type was given, or one that is not a class or not declared, or
                `maxsize` is not a whole number.
            ValueError: `maxsize` is below 1, or `overflow` is none of the three.

        Example:
            >>> emitter = EventEmitter()
            >>> with emitter.stream(str, int) as events:
            ...     emitter.emit("one")
            ...     emitter.emit(2)
            >>> list(events)
            ['one', 2]
        """
        kinds = self._eventemitter_kinds("stream()", event_types)
        buffer = Buffer(maxsize, overflow)
        parts = [
            (self._eventemitter_channel(kind), new_listener(StreamTap(buffer), once=False))
            for kind in kinds
        ]

        def opened() -> EventStream[Any]:
            buffer.open([Subscription[Any](part) for part in parts])
            return EventStream[Any](buffer, kinds)

        return register(parts, opened)

    def follow(
        self: EventEmitter[T], source: EventEmitter[Any], *event_types: type[T]
    ) -> Subscription[T]:
        """Emit here whatever `source` emits of these types, in the thread that emits there.

        So `ReplayEventEmitter().follow(source, Up)` gives an emitter a replaying face. An `emit()`
        that this emitter overrides is not called. What this emitter's handlers raise, the emit of
        `source` raises, unless this emitter has an `on_error` (G11). Where emitters follow each
        other in a ring, an event ends when it comes to where it has been: each emitter emits it
        once.

        Args:
            source: The emitter to follow. If it replays, its latest events are emitted at once, in
                the order in which they were.
            event_types: The classes of the events.

        Returns:
            One subscription for all these event types, with which to end it.

        Raises:
            TypeError: `source` is not an emitter, no event type was given, or one that is not a
                class or not declared by both.
            ValueError: `source` is this emitter.
            ExceptionGroup: A handler raised in the replay; nothing stays registered (G11).

        Example:
            >>> source, copy = EventEmitter(), ReplayEventEmitter()
            >>> subscription = copy.follow(source, str)
            >>> source.emit("hello")
            >>> copy.latest(str)
            'hello'
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
        return register(parts, partial(Subscription[T], *parts))

    # Looking

    def listener_count(self, event_type: type) -> int:
        """Return how many listeners this event type has.

        Expectations, streams and followers count as listeners. Never waits for a handler (G6).

        Args:
            event_type: The class whose listeners are counted.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.listener_count(str), emitter.listener_count(int)
            (1, 0)
        """
        channel = self._eventemitter_find("listener_count()", event_type)
        return 0 if channel is None else len(channel.active_listeners())

    def listeners(self, event_type: type[T]) -> tuple[Subscription[T], ...]:
        """Return the registrations of this event type, oldest first.

        Streams come last. It is a snapshot: a tuple that does not change.

        Args:
            event_type: The class whose listeners are returned.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.listeners(str) == (subscription,)
            True
        """
        channel = self._eventemitter_find("listeners()", event_type)
        if channel is None:
            return ()
        return tuple(Subscription[T]((channel, each)) for each in channel.active_listeners())

    def event_types(self) -> tuple[type, ...]:
        """Return the event types that have listeners.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.event_types()
            (<class 'str'>,)
        """
        return tuple(
            channel.event_type
            for channel in self._eventemitter_all("event_types()", None)
            if channel.active_listeners()
        )

    # Emitting

    def emit(self, event: E) -> None:
        """Call every listener of the event's class, in this thread, in the order of registration.

        When it returns, all plain handlers have run (G5). It does not wait for handlers on event
        loops, see `emit_async()`. Where nobody listens it calls nothing; a `ReplayEventEmitter`
        keeps the event for whoever comes later.

        While another thread delivers an event of this type it waits for its turn, so that all
        listeners see all events in one order (G3). In four cases it returns sooner, and the event
        is delivered all the same, in order. Where another thread still replays to a listener: to
        that one by that thread (G2). From a handler of the same event type: before the
        outermost `emit()` returns (G4). Where waiting would close a cycle of waiting threads: next,
        by the thread whose turn it is (G10). From a signal handler or a finalizer that interrupts
        this package: before the interrupted call returns (G12), or, where a handler that was put
        off in this way has made that, when this handler has returned.

        A lock of your own that you hold, and that a handler wants, it cannot see: use
        `emit_nowait()` there.

        Every listener is called, whatever others raise. Then, without `on_error`, all that was
        raised comes as one group, each error with a note that names handler and event; those of
        events that others left to this call are among them. A `KeyboardInterrupt` passes through at
        once (G11).

        Args:
            event: What the handlers are called with.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers raised, and there is no `on_error`; all have been called (G11).

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> emitter.emit("hello")
            hello
        """
        channel = self._eventemitter_channels.get(type(event))
        if channel is None and (
            self._eventemitter_deaf is not type(self) or isinstance(event, type)
        ):
            channel = self._eventemitter_first(event, "emit")
        # `Channel.wanted` written out, as a call costs time.
        if channel is not None and (
            channel.listeners
            or channel.keeps
            or channel.inbox
            or channel.queue
            or channel.told
            or channel.busy
        ):
            channel.emit(event)

    def emit_nowait(self, event: E) -> None:
        """Deliver `event` as `emit()` does, but never wait for another thread.

        Where another thread is delivering this event type, that thread delivers this event too, in
        order (G3), and this call returns before it has. To be used where a lock is held that a
        handler may want.

        Args:
            event: What the handlers are called with.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers called by this thread raised, and there is no `on_error` (G11).

        Example:
            >>> from threading import Lock
            >>> emitter, lock = EventEmitter(), Lock()
            >>> subscription = emitter.on(str, print)
            >>> with lock:
            ...     emitter.emit_nowait("hello")
            hello
        """
        channel = self._eventemitter_channels.get(type(event))
        if channel is None:
            channel = self._eventemitter_first(event, "emit_nowait")
        if channel is not None and channel.wanted:
            channel.emit_in_line(this_thread(), Entry(event, wait=False))

    async def emit_async(self, event: E) -> None:
        """Deliver `event`, and await all its handlers, also those on event loops.

        Waits for its turn as `emit()` does, first come first served, without blocking its loop
        (G3). Plain handlers run on this thread; it returns when the handlers on loops are through,
        too, except calls that cannot begin before it returns: from a handler on a loop, those that
        wait behind its own (G4, G10). Failures of these go to the loop's exception handler.

        Cancelled before its turn has come, it emits nothing; the next in line goes on. Cancelled
        later, it takes nothing back: the handlers are still told.

        Args:
            event: What the handlers are called with.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers raised, plain or async, and there is no `on_error` (G11).

        Example:
            >>> import asyncio
            >>> async def greet(name):
            ...     print("hello", name)
            >>> async def main():
            ...     emitter = EventEmitter()
            ...     emitter.on(str, greet)
            ...     await emitter.emit_async("Ada")
            >>> asyncio.run(main())
            hello Ada
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
        owner, declared = self._eventemitter_declared
        if owner is not type(self) or (
            isinstance(event, type) if declared is None else event_type not in declared
        ):
            if isinstance(event, type) or get_origin(event):
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
        made = _made_by(handler)
        if made == "generator" or not callable(handler):
            raise not_a_handler(call, event_type, handler, made)
        channel = self._eventemitter_channel(event_type)
        called: Handler = handler
        if loop is not None or made:
            called = _mailbox(call, channel, handler, loop, once=once)
        part = (channel, new_listener(called, once=once))
        return register([part], partial(Subscription[Any], part))

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
        if not isinstance(event_type, type) or event_type is Any:
            raise not_a_class(call, event_type)
        event_type = cast("type[Any]", event_type)
        if issubclass(event_type, type):
            raise metaclass_as_event_type(call, event_type)
        if type(event_type).__name__ == "_TypedDictMeta":
            raise typed_dict_as_event_type(call, event_type)
        cls = type(self)
        owner, declared = self._eventemitter_declared
        if owner is not cls:
            # On first use, when names that a forward reference needs are there.
            declared = declared_types(cls, EventEmitter)
            cls._eventemitter_declared = (cls, declared)
            if declared is None and not cls._eventemitter_replays:
                cls._eventemitter_deaf = cls
        if declared is not None and event_type not in declared:
            raise undeclared(cls, event_type, declared)


class ReplayEventEmitter(EventEmitter[E]):
    """Call handlers for events, and replay the latest event of its type to each new listener.

    A listener that registers late, or while an event is emitted, gets the latest event by replay or
    live: exactly one of the two (G1). The replay comes first, before `on()` returns, in the thread
    that calls it; events emitted meanwhile follow there (G2). A coroutine function gets it on its
    event loop. If the handler raises, `on()` raises an ExceptionGroup, and nothing stays registered
    (G11); with an `on_error`, that gets the failure, and the listener stays.

    `on`, `once`, `expect`, `stream` and `follow` replay; all else is as in an `EventEmitter`. It
    keeps the latest event of each type (G14). A copy or an unpickled object has none.

    Args:
        on_error: As for an `EventEmitter`.

    Example:
        >>> emitter = ReplayEventEmitter()
        >>> emitter.emit("early")
        >>> subscription = emitter.on(str, print)
        early
    """

    _eventemitter_replays = True

    def latest(self, event_type: type[T]) -> T | None:
        """Return the latest event of this type; None if there was none, or it was forgotten.

        Never waits for a handler (G6). An event is the latest as soon as it is being delivered.

        Args:
            event_type: The class of the event.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.

        Example:
            >>> emitter = ReplayEventEmitter()
            >>> emitter.emit("hello")
            >>> emitter.latest(str)
            'hello'
        """
        channel = self._eventemitter_find("latest()", event_type)
        event: Any = NOTHING if channel is None else channel.get_latest()
        return None if event is NOTHING else event

    def forget(self, event_type: type | None = None) -> None:
        """Forget the latest event of this type, or of all types: it is not replayed any more.

        Args:
            event_type: The class of the event to forget; None for all event types.

        Raises:
            TypeError: `event_type` is not a class, or not one that this emitter declares.

        Example:
            >>> emitter = ReplayEventEmitter()
            >>> emitter.emit("hello")
            >>> emitter.forget(str)
            >>> subscription = emitter.on(str, print)
        """
        for channel in self._eventemitter_all("forget()", event_type):
            channel.forget()


_ALONE = frozenset([EventEmitter, ReplayEventEmitter])
"""Behind these no class has anything to initialize, and to ask costs as much as all the rest."""


def _made_by(handler: Any) -> Literal["", "coroutine", "generator"]:
    """Return what a call of `handler` makes instead of running its code; "" if it runs it."""
    while issubclass(type(handler), (partial, MethodType, staticmethod)):
        handler = handler.func if issubclass(type(handler), partial) else handler.__func__
    if isinstance(handler, (FunctionType, MethodType)) and type(handler) is not FunctionType:
        # A mock, which claims to be what it stands for.
        flags = getattr(getattr(handler, "__code__", None), "co_flags", None)
        return "coroutine" if isinstance(flags, int) and flags & _AWAITED else ""
    if not isinstance(handler, FunctionType) and not inspect.iscoroutinefunction(handler):
        handler = type(handler).__call__
    if not isinstance(handler, FunctionType) or hasattr(handler, "_is_coroutine_marker"):
        # Slow, but it knows those that are marked as coroutine functions, and those of compilers.
        return "coroutine" if inspect.iscoroutinefunction(handler) else ""
    flags = handler.__code__.co_flags
    if flags & _AWAITED:
        return "coroutine"
    return "generator" if flags & _ITERATED else ""


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
        raise loop_closed_before(call, channel.event_type, handler)
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
