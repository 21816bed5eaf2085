"""One registration: a handler, whether it may still be called, and what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Protocol, TypeGuard

from ._locks import CHECKING, proved
from ._sections import Doing, ThreadState
from ._turns import Turn

Handler = Callable[[Any], object]


@dataclass(slots=True, eq=False)
class Entry:
    """An event on its way, and who is to be told. The snapshot is empty once that has begun."""

    event: object
    _: KW_ONLY
    receipt: Receipt | None = None
    """Who awaits the handlers on event loops."""
    route: frozenset[object] = frozenset()
    """The channels that it has been followed through."""
    wait: bool = True
    """Whether whoever passes it on may wait for another thread."""
    snapshot: tuple[Listener, ...] = ()
    stamp: int = 0
    """When it was committed, see `Channel.stamp`; 0 until then."""


class Receipt(Protocol):
    """Who awaits that all handlers of an event are through."""

    def expect(self, part: object, doer: Doing | Turn) -> None:
        """Wait for one more `part`, which `doer` sees to."""
        ...

    def look_again(self) -> None:
        """See who has the turn that a part was left to: it has been passed on."""
        ...

    def done(self, part: object, error: Exception | None = None) -> bool:
        """Say that `part` is through; return False if nobody awaits it any more.

        Perhaps in a critical section. Cut short, it can be done again.
        """
        ...


class Relay:
    """A handler of the package's own, which is told the entry: it passes events on to users."""

    __slots__ = ()
    label = "relay"

    def __repr__(self) -> str:
        return f"<{self.label}>"

    def __call__(self, entry: Entry, /) -> object:
        """Pass the event on."""
        raise NotImplementedError

    @property
    def handler(self) -> Handler:
        """What users know it as."""
        return self

    @property
    def active(self) -> bool:
        """Whether it has not been removed, where it is what is called."""
        return False

    @property
    def ended(self) -> bool:
        """Whether a call under way will never go on."""
        return False

    def lose(self, channel: Any, me: ThreadState) -> None:
        """Report what will never be told, as the call has `ended`."""

    def removed(self, me: ThreadState) -> bool | None:
        """Let go of what is waiting, as the listener was removed.

        Called by `me`, perhaps inside a critical section, and perhaps more than once. Return
        whether this ends it, or None where whoever claims the listener does.
        """
        del me
        return None


def is_relay(handler: Handler) -> TypeGuard[Relay]:
    """Return whether a handler is a relay, without asking a user's for its `__class__`."""
    return issubclass(type(handler), Relay)


class Tap(Relay):
    """A relay that is told in the critical section that commits an event, before all handlers."""

    __slots__ = ()

    def take_locked(self, me: ThreadState, stamp: int, event: object) -> None:
        """Take an event. Done twice it takes it once."""
        raise NotImplementedError


def removed(event: object, /) -> None:
    """Stand in for the handler of a listener that was removed."""


@dataclass(slots=True, eq=False)
class Replay:
    """The events that a listener still has to be told by the thread that registers it."""

    thread: ThreadState
    since: int
    """The clock of that thread when it began; before that 0, as all its waits hold it up."""
    begun: bool = False
    """Whether the handler has been called, or is about to be. Guarded by the mutex."""
    telling: Entry | None = None
    """What that call, which may still run, was told: else nobody waits for it. Guarded by the
    mutex."""
    stamp: int = 0
    """When the latest event was committed."""
    events: deque[Entry] = field(default_factory=deque[Entry])
    """The latest event, then those emitted during the replay. Guarded by the mutex."""


class Listener:
    """A registered handler.

    `cell` decides who may have the handler: it holds the handler until somebody takes it out, to
    call it for the only time or to remove it. One step of the dictionary, so that exactly one of
    all comers gets it, also one that interrupts another (G7, G8).
    """

    __slots__ = ("call", "cell", "name", "number", "once", "relay", "replay", "special", "take")

    call: Handler
    name: str
    """What the handler is called, once that was told (see `_debug`)."""
    number: int
    """The first that was registered has 1. Guarded by the mutex of the channel."""

    def __init__(self, handler: Handler, *, once: bool) -> None:
        self.call = removed if once else handler
        """What a delivery calls. Looked up and called on one line, between whose two halves nothing
        can come: a call that has not begun when `off()` returns does not begin (G8). `take` serves
        once-listeners in the same way."""
        self.cell: dict[str, tuple[Handler]] = {"handler": (handler,)}
        self.take = partial(self.cell.pop, "handler", None) if once else None
        """Takes the handler of a once-listener; returns None to all but the first. What it takes is
        a tuple, as what it returns is compared with None, and a handler may have an `__eq__`."""
        self.once = once
        self.replay: Replay | None = None
        """The replay under way. Guarded by the mutex of the channel."""
        self.relay = handler if is_relay(handler) else None
        """The handler again, where it is told more than the event."""
        self.special = self.always_special
        """Whether a delivery has to do more than call. Never becomes true once registered."""

    @property
    def always_special(self) -> bool:
        """Whether it stays special when its replay is over."""
        return self.once or self.relay is not None

    @property
    def active(self) -> bool:
        return bool(self.cell)

    @property
    def handler(self) -> Handler | None:
        """The handler, or None once it has been taken out."""
        for handler in self.cell.get("handler", ()):
            return handler.handler if is_relay(handler) else handler
        return None

    def claim(self) -> Handler | None:
        """Take the handler out; return None if somebody else has had it."""
        self.call = removed
        handler = self.cell.pop("handler", (None,))[0]
        self.call = removed  # again, as it may have been diverted meanwhile
        return handler

    def divert(self, call: Handler) -> None:
        """Have deliveries call this instead; nothing if the handler has been taken out."""
        self.call = call
        if not self.cell:
            self.call = removed

    def recall(self) -> None:
        """Have deliveries call the handler again."""
        self.divert(self.cell.get("handler", (removed,))[0])


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
