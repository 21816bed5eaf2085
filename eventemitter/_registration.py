"""Registering listeners, of one event type or of several: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypeVar

from ._channel import Channel
from ._debug import came
from ._listener import Listener
from ._sections import ThreadState, in_any_case, this_thread

T = TypeVar("T")
Parts = Sequence[tuple[Channel, Listener]]


def register(parts: Parts, made: Callable[[], T]) -> T:
    """Register listeners, replay to them, and return what `made` then returns.

    Replays of several event types come in the order of emission. Whatever is raised, none of the
    listeners stays: nobody has what could remove them (G11).
    """
    me = this_thread()
    try:
        try:
            for channel, listener in parts:
                channel.ask(listener, me)
            if me.inside:
                me.aside.append(partial(_join_later, parts))
            else:
                _join(parts, me, aloud=True)
            return made()
        except BaseException:
            in_any_case(_withdraw, parts)
            raise
    except BaseException:
        in_any_case(_withdraw, parts)  # again, as that may have been cut short itself
        raise


def _join_later(parts: Parts, me: ThreadState) -> None:
    """Do what a registration that interrupted this package could not: it has returned since."""
    try:
        _join(parts, me, aloud=False)
    except BaseException as error:
        begun = any(each.replay is not None and each.replay.begun for _, each in parts)
        if begun or isinstance(error, Exception):
            in_any_case(_withdraw, parts)
        # Else nobody has been told anything, and it is done again.
        raise


def _join(parts: Parts, me: ThreadState, *, aloud: bool) -> None:
    replays: list[tuple[int, Channel, Listener]] = []
    for channel, listener in parts:
        channel.settle(me)
        if aloud:
            came(channel, listener, me)
        if (replay := listener.replay) is not None:
            replay.since = me.clock
            replays.append((replay.stamp, channel, listener))
    replays.sort(key=itemgetter(0))
    # What was emitted meanwhile comes after all of them.
    for just_one in (True, False) if len(replays) > 1 else (False,):
        for _, channel, listener in replays:
            channel.replay(listener, me, just_one=just_one)


def _withdraw(parts: Parts) -> None:
    for channel, listener in parts:
        channel.withdraw(listener)
