"""Emitting again what another emitter emits."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from ._channel import Channel
from ._debug import came
from ._listener import Entry, Listener, Relay
from ._sections import ThreadState, in_any_case, this_thread


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


def add_together(parts: Sequence[tuple[Channel, Listener]]) -> None:
    """Register listeners of several event types, whose replays come in the order of emission."""
    me = this_thread()
    for channel, listener in parts:
        channel.ask(listener, me)
    if me.inside:
        me.aside.append(partial(_join, parts))
    else:
        _join(parts, me)


def _join(parts: Sequence[tuple[Channel, Listener]], me: ThreadState) -> None:
    try:
        _replay_in_order(parts, me)
    except BaseException:
        for channel, listener in parts:
            in_any_case(channel.withdraw, listener)
        raise


def _replay_in_order(parts: Sequence[tuple[Channel, Listener]], me: ThreadState) -> None:
    replays: list[tuple[int, Channel, Listener]] = []
    for channel, listener in parts:
        channel.settle(me)
        came(channel, listener, me)
        if (replay := listener.replay) is not None:
            replays.append((replay.stamp, channel, listener))
    replays.sort(key=itemgetter(0))
    for just_one in (True, False):  # what was emitted meanwhile comes after all of them
        for _, channel, listener in replays:
            channel.replay(listener, me, just_one=just_one)
