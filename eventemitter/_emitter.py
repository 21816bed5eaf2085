"""EventEmitter and ReplayEventEmitter: the calls people make, handed on to the channels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Generic, SupportsIndex, TypeVar, cast, overload

if sys.version_info >= (3, 13):
    from typing import TypeVar as DefaultTypeVar
else:
    from typing_extensions import TypeVar as DefaultTypeVar

from ._channel import NOTHING, Channel
from ._declared import declared_types
from ._errors import (
    HandlerFailure,
    class_as_event,
    coroutine_handler,
    foreign_subscription,
    metaclass_as_event_type,
    not_a_class,
    not_a_subscription,
    not_an_error_handler,
    not_callable,
    undeclared,
)
from ._listener import new_listener
from ._subscription import Subscription, deadline_of

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])
# The name is what users see in their editor and in the contract of every emitter.
E = DefaultTypeVar("E", contravariant=True, default=Any)  # noqa: PLC0105

_MISSING: Any = object()
_CHANNELS = "_eventemitter_channels"
_DECLARED = "_eventemitter_declared"


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
    _eventemitter_on_error: Callable[[HandlerFailure], object] | None = None

    def __init__(self, *, on_error: Callable[[HandlerFailure], object] | None = None) -> None:
        super().__init__()
        if on_error is not None:
            if not callable(on_error):
                raise not_an_error_handler(on_error)
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
    def on(self, event_type: type[T], handler: Callable[[T], object]) -> Subscription[T]: ...

    @overload
    def on(self, event_type: type[T]) -> Callable[[F], F]: ...

    def on(self, event_type: type[T], handler: Any = _MISSING) -> Any:
        """Call `handler` with each event of this type, in the thread that emits it.

        A listener that registers while an event is emitted gets it or not, but never half: what it
        sees is the order of emission from its first event on (G1, G2). Without a handler it
        decorates a function, and returns it unchanged. Never waits for a running handler (G6).

        Args:
            event_type: The class whose instances the handler is called with.
            handler: Called with the event.

        Returns:
            The registration, with which to end it.

        Raises:
            TypeError: `event_type` is not a class or not one that this emitter declares, or
                `handler` is not callable or is a coroutine function.
        """
        return self._eventemitter_listen("on", event_type, handler, once=False)

    @overload
    def once(self, event_type: type[T], handler: Callable[[T], object]) -> Subscription[T]: ...

    @overload
    def once(self, event_type: type[T]) -> Callable[[F], F]: ...

    def once(self, event_type: type[T], handler: Any = _MISSING) -> Any:
        """Call `handler` with the next event of this type only.

        Exactly once, whatever threads and handlers emit at the same time, and also if it raises: it
        is removed before it is called (G7). Arguments, result and exceptions are those of `on()`.
        """
        return self._eventemitter_listen("once", event_type, handler, once=True)

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
            channel.remove(*channel.active_listeners())

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
            channel.remove(*channel.active_listeners())
        return all(channel.wait_for(None, deadline) for channel in channels)

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
        return tuple(Subscription[T](channel, each) for each in channel.active_listeners())

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
        if channel is not None:
            channel.emit(event)
        else:
            self._eventemitter_emit_first(event, wait=True)

    def emit_nowait(self, event: E) -> None:
        """Deliver `event` as `emit()` does, but never wait for another thread.

        Where another thread is delivering this event type, that thread delivers this event too, in
        order. To be used where a lock is held that a handler may want.

        Raises:
            TypeError: `event` is a class, or of a class that this emitter does not declare.
            ExceptionGroup: Handlers called by this thread raised, and there is no `on_error` (G11).
        """
        channel = self._eventemitter_channels.get(type(event))
        if channel is not None:
            channel.emit(event, wait=False)
        else:
            self._eventemitter_emit_first(event, wait=False)

    def _eventemitter_emit_first(self, event: object, *, wait: bool) -> None:
        call = "emit" if wait else "emit_nowait"
        event_type = type(event)
        if isinstance(event, type):
            raise class_as_event(call, event)
        self._eventemitter_check(f"{call}()", event_type)
        if isinstance(self, ReplayEventEmitter):
            self._eventemitter_channel(event_type).emit(event, wait=wait)

    # Finding channels

    def _eventemitter_listen(
        self, call: str, event_type: type[Any], handler: Any, *, once: bool
    ) -> Any:
        self._eventemitter_check(f"{call}()", event_type)
        if handler is _MISSING:
            return partial(self._eventemitter_decorate, call, event_type, once=once)
        if not callable(handler):
            raise not_callable(call, event_type, handler)
        if iscoroutinefunction(handler) or iscoroutinefunction(type(handler).__call__):
            raise coroutine_handler(call, event_type, handler)
        channel = self._eventemitter_channel(event_type)
        listener = new_listener(handler, once=once)
        try:
            channel.add(listener)
            return Subscription[Any](channel, listener)
        except BaseException:
            channel.withdraw(listener)  # nobody else could
            raise

    def _eventemitter_decorate(self, call: str, event_type: type, handler: F, *, once: bool) -> F:
        self._eventemitter_listen(call, event_type, handler, once=once)
        return handler

    def _eventemitter_channel(self, event_type: type) -> Channel:
        # Each of the two is one step: of all threads, and of all calls that interrupt each other on
        # one thread, one makes the dictionary, and one the channel, that all of them use.
        channels: Channels = self.__dict__.setdefault(_CHANNELS, Channels())
        channel = channels.get(event_type)
        if channel is None:
            made = Channel(
                event_type,
                replays=isinstance(self, ReplayEventEmitter),
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
        if subscription.channel is not self._eventemitter_channels.get(subscription.event_type):
            raise foreign_subscription(call, subscription)
        return subscription

    def _eventemitter_check(self, call: str, event_type: object) -> None:
        """Refuse what is not an event type of this emitter."""
        if not isinstance(event_type, type):
            raise not_a_class(call, event_type)
        event_type = cast("type[Any]", event_type)
        if issubclass(event_type, type):
            raise metaclass_as_event_type(call, event_type)
        cls = type(self)
        if _DECLARED not in cls.__dict__:
            # On first use, when names that a forward reference needs are there.
            setattr(cls, _DECLARED, declared_types(cls, EventEmitter))
        declared = cls.__dict__[_DECLARED]
        if declared is not None and event_type not in declared:
            raise undeclared(cls, event_type, declared)


class ReplayEventEmitter(EventEmitter[E]):
    """Call handlers for events, and replay the latest event of its type to each new listener.

    A listener that registers late, or while an event is emitted, gets the latest event by replay or
    live: exactly one of the two (G1). The replay comes first, before `on()` returns, in the thread
    that calls it; events emitted meanwhile follow there (G2). If the handler raises, `on()` raises
    an ExceptionGroup, and nothing stays registered (G11).
    """

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


def _without_channels(state: Any) -> Any:
    """Return what `__getstate__` returned without the listeners and latest events of an emitter."""
    match state:
        case {"_eventemitter_channels": Channels(), **others}:
            return others
        case ({"_eventemitter_channels": Channels(), **others}, slots):  # of a class with slots
            return (others, slots)
        case _:
            return state
