"""What `on()` returns: one registration, to look at and to end."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from ._channel import Channel
from ._errors import name_of, not_a_timeout
from ._listener import Listener, removed

T = TypeVar("T")


class Subscription(Generic[T]):
    """Stand for one registration of a handler for an event type, and end it.

    It belongs to that registration, never to the function: a function registered twice has two. As
    a context manager it calls `off()` on leaving. Two subscriptions are equal if they stand for the
    same registration. What `follow()` returns stands for one registration for each event type.

    Dropping a subscription ends nothing: the listener stays until it is removed.

    Example:
        >>> emitter = EventEmitter()
        >>> with emitter.on(str, print) as subscription:
        ...     emitter.emit("heard")
        heard
        >>> emitter.emit("not heard")
    """

    __slots__ = ("__weakref__", "parts")

    def __init__(self, *parts: tuple[Channel, Listener]) -> None:
        self.parts: tuple[tuple[Channel, Listener], ...] = parts

    @property
    def active(self) -> bool:
        """Return whether the handler is still to be called.

        False once it was removed, or the event of `once` has come: it may still wait for its loop.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.once(str, print)
            >>> subscription.active
            True
        """
        return self.handler is not None

    @property
    def event_type(self) -> type[T]:
        """Return the class whose instances the handler is called with; of several, their union.

        Example:
            >>> EventEmitter().on(str, print).event_type
            <class 'str'>
        """
        (found, _), *others = self.parts
        kind: Any = found.event_type
        for channel, _ in others:
            kind |= channel.event_type
        return cast("type[T]", kind)

    @property
    def handler(self) -> Callable[[T], object] | None:
        """Return what is called; None once inactive.

        Nothing keeps a removed handler alive (G14).

        Example:
            >>> emitter = EventEmitter()
            >>> emitter.on(str, print).handler is print
            True
        """
        for _, listener in self.parts:
            handler = listener.handler
            if handler is not None:
                return handler
        return None

    def off(self) -> bool:
        """Remove the listener: no call of its handler begins after this has returned (G8).

        What waits for its event loop is dropped. A call that has begun may still be running.
        Calling it again does no harm.

        Returns:
            True if this call removed it. False if there was nothing to remove.

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> subscription.off(), subscription.off()
            (True, False)
        """
        removed_any = False
        for channel, listener in self.parts:
            removed_any |= channel.remove(listener)
        return removed_any

    def off_and_wait(self, timeout: float | None = None) -> bool:
        """Remove the listener, and wait until no other thread runs its handler (G9).

        It waits for that handler alone, not for the rest of the delivery. A call that runs in the
        calling thread is not waited for: from a plain handler itself it returns at once.

        Args:
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no other thread runs the handler, nor will: its owner may free what it uses.
            False if the time was up, or waiting would have closed a cycle of waiting threads (G10),
            as on the very event loop that has to finish the handler; the listener is removed all
            the same.

        Raises:
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is not a number of seconds (NaN).

        Example:
            >>> emitter = EventEmitter()
            >>> subscription = emitter.on(str, print)
            >>> subscription.off_and_wait(timeout=5)
            True
        """
        deadline = deadline_of(timeout)
        self.off()
        return all(channel.wait_for(listener, deadline) for channel, listener in self.parts)

    async def off_and_wait_async(self) -> bool:
        """Remove the listener, and await that no thread and no event loop runs its handler (G9).

        Never blocks its loop. For a limit in seconds, use `asyncio.timeout`.

        Returns:
            True if nobody runs the handler any more; its owner may free what it uses. False if
            waiting would have closed a cycle (G10), as in a call of the handler itself; the
            listener is removed all the same.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     subscription = EventEmitter().on(str, print)
            ...     return await subscription.off_and_wait_async()
            >>> asyncio.run(main())
            True
        """
        from ._loops import wait_for_async  # noqa: PLC0415 - it imports asyncio

        self.off()
        for channel, listener in self.parts:
            if not await wait_for_async(channel, listener):
                return False
        return True

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.off()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Subscription):
            return self.parts == other.parts
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy belongs to no emitter, as an emitter's copy has no listeners.
        return (_inactive, tuple(channel.event_type for channel, _ in self.parts))

    def __repr__(self) -> str:
        handler = self.handler
        state = "inactive" if handler is None else f"calls {name_of(handler)}"
        names = " | ".join(channel.event_type.__qualname__ for channel, _ in self.parts)
        return f"<Subscription to {names}: {state}>"


def _inactive(*event_types: type) -> Subscription[Any]:
    listener = Listener(removed, once=False)
    listener.claim()
    channels = [Channel(each, replays=False, on_error=None) for each in event_types]
    return Subscription(*[(channel, listener) for channel in channels])


def deadline_of(timeout: float | None) -> float | None:
    """Return when `timeout` seconds from now will be over; None for never."""
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)) or timeout != timeout:  # noqa: PLR0124 - NaN
        raise not_a_timeout(timeout)
    try:
        return monotonic() + timeout
    except OverflowError:  # an int that no float can hold
        return None if timeout > 0 else monotonic()
