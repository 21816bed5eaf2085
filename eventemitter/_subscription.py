"""What `on()` returns: one registration, to look at and to end."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from ._channel import Channel
from ._errors import name_of, not_a_timeout
from ._listener import Listener, removed

T = TypeVar("T")


class Subscription(Generic[T]):
    """One registration of a handler for an event type.

    It belongs to that registration, never to the function: a function registered twice has two. As
    a context manager it calls `off()` on leaving. Two subscriptions are equal if they stand for the
    same registration. What `follow()` returns stands for one registration for each event type.
    """

    __slots__ = ("__weakref__", "parts")

    def __init__(self, *parts: tuple[Channel, Listener]) -> None:
        self.parts: tuple[tuple[Channel, Listener], ...] = parts

    @property
    def active(self) -> bool:
        """Whether the handler is still to be called: False once removed, or called by `once`."""
        return self.handler is not None

    @property
    def event_type(self) -> type[T]:
        """The class whose instances the handler is called with; of several, their union."""
        (found, _), *others = self.parts
        kind: Any = found.event_type
        for channel, _ in others:
            kind |= channel.event_type
        return cast("type[T]", kind)

    @property
    def handler(self) -> Callable[[T], object] | None:
        """What is called; None once inactive, as nothing keeps a removed handler alive (G14)."""
        for _, listener in self.parts:
            handler = listener.handler
            if handler is not None:
                return handler
        return None

    def off(self) -> bool:
        """Remove the listener: no call of its handler begins after this has returned (G8).

        What waits for its event loop is dropped.

        Returns:
            False if there was nothing to remove. A call that has begun may still be running.
        """
        removed_any = False
        for channel, listener in self.parts:
            removed_any |= channel.remove(listener)
        return removed_any

    def off_and_wait(self, timeout: float | None = None) -> bool:
        """Remove the listener, and wait until no other thread runs its handler (G9).

        Args:
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no other thread runs the handler any more; its owner may free what it uses.
            False if the time was up, or waiting would have closed a cycle of waiting threads (G10),
            as on the very event loop that has to finish the handler; the listener is removed all
            the same.

        Raises:
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is not a number of seconds (NaN).
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
        """
        from ._loops import wait_for_async  # noqa: PLC0415 - it imports asyncio

        self.off()
        for channel, listener in self.parts:
            if not await wait_for_async(channel, listener):
                return False
        return True

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
