"""One registration: a handler, and whether it may still be called."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ._locks import CHECKING, proved
from ._sections import ThreadState

Handler = Callable[[Any], object]


def removed(event: object, /) -> None:
    """Stand in for the handler of a listener that was removed."""


class Replay:
    """The events that a listener still has to be told by the thread that registers it."""

    __slots__ = ("events", "since", "thread")

    def __init__(self, thread: ThreadState) -> None:
        self.thread = thread
        self.since = thread.clock
        self.events: deque[Any] = deque()
        """The latest event, then those emitted during the replay. Guarded by the mutex."""


class Listener:
    """A registered handler.

    `cell` decides who may have the handler: it holds the handler until somebody takes it out, to
    call it for the only time or to remove it. One step of the dictionary, so that exactly one of
    all comers gets it, also one that interrupts another (G7, G8).
    """

    __slots__ = ("call", "cell", "once", "replay", "special", "take")

    call: Handler

    def __init__(self, handler: Handler, *, once: bool) -> None:
        self.call = removed if once else handler
        """What a delivery calls. Looked up and called on one line, between whose two halves nothing
        can come: a call that has not begun when `off()` returns does not begin (G8). `take` serves
        once-listeners in the same way."""
        self.cell = {"handler": handler}
        self.take = partial(self.cell.pop, "handler", None) if once else None
        """Takes the handler of a once-listener; returns None to all but the first."""
        self.once = once
        self.replay: Replay | None = None
        """The replay under way. Guarded by the mutex of the channel."""
        self.special = once
        """Whether a delivery has to do more than call. Never becomes true once registered."""

    @property
    def active(self) -> bool:
        return bool(self.cell)

    @property
    def handler(self) -> Handler | None:
        """The handler, or None once it has been taken out."""
        return self.cell.get("handler")

    def claim(self) -> Handler | None:
        """Take the handler out; return None if somebody else has had it."""
        self.call = removed
        return self.cell.pop("handler", None)


class CheckedListener(Listener):
    """A listener that proves, whenever its handler is looked up to be called, that no lock is held.

    Before the look-up and not between that and the call, see `Listener.call`.
    """

    __slots__ = ("_call",)

    @property
    def call(self) -> Handler:
        proved(self)
        return self._call

    @call.setter
    def call(self, handler: Handler) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._call = handler


new_listener: type[Listener] = CheckedListener if CHECKING else Listener
