"""What `on()` returns: one registration, to look at and to end."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._channel import Channel
from ._errors import name_of, not_a_timeout
from ._listener import Listener, removed

T = TypeVar("T")


class Subscription(Generic[T]):
    """One registration of a handler for an event type.

    It belongs to that registration, never to the function: a function registered twice has two. As
    a context manager it calls `off()` on leaving. Two subscriptions are equal if they stand for the
    same registration.
    """

    __slots__ = ("__weakref__", "channel", "listener")

    def __init__(self, channel: Channel, listener: Listener) -> None:
        self.channel = channel
        self.listener = listener

    @property
    def active(self) -> bool:
        """Whether the handler is still to be called: False once removed, or called by `once`."""
        return self.listener.active

    @property
    def event_type(self) -> type[T]:
        """The class whose instances the handler is called with."""
        return self.channel.event_type

    @property
    def handler(self) -> Callable[[T], object] | None:
        """What is called; None once inactive, as nothing keeps a removed handler alive (G14)."""
        return self.listener.handler

    def off(self) -> bool:
        """Remove the listener: no call of its handler begins after this has returned (G8).

        Returns:
            False if there was nothing to remove. A call that has begun may still be running.
        """
        return self.channel.remove(self.listener)

    def off_and_wait(self, timeout: float | None = None) -> bool:
        """Remove the listener, and wait until no other thread runs its handler (G9).

        Args:
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Returns:
            True if no other thread runs the handler any more; its owner may free what it uses.
            False if the time was up, or waiting would have closed a cycle of waiting threads (G10);
            the listener is removed all the same.

        Raises:
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is not a number of seconds (NaN).
        """
        deadline = deadline_of(timeout)
        self.channel.remove(self.listener)
        return self.channel.wait_for(self.listener, deadline)

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
            return self.listener is other.listener
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.listener)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy belongs to no emitter, as an emitter's copy has no listeners.
        return (_inactive, (self.event_type,))

    def __repr__(self) -> str:
        handler = self.handler
        state = "inactive" if handler is None else f"calls {name_of(handler)}"
        return f"<Subscription to {self.event_type.__qualname__}: {state}>"


def _inactive(event_type: type[T]) -> Subscription[T]:
    listener = Listener(removed, once=False)
    listener.claim()
    return Subscription(Channel(event_type, replays=False, on_error=None), listener)


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
