"""Emitting again what another emitter emits."""

from __future__ import annotations

import weakref

from ._channel import Channel
from ._listener import Entry, Relay


class Forward(Relay):
    """Passes the events of one channel on to another, each event through a channel once.

    Where emitters follow each other in a ring, an event ends where it has been before: else it
    would go round for ever.
    """

    __slots__ = ("_from", "target")
    label = "follower"

    def __init__(self, source: Channel, target: Channel) -> None:
        self._from = weakref.ref(source)  # which holds this
        self.target = target

    def __call__(self, entry: Entry, /) -> None:
        """Pass an event on."""
        route = entry.route | {self._from}
        if weakref.ref(self.target) not in route:
            self.target.emit_along(entry, route)
