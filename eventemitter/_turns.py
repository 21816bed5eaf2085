"""Waiting for a turn or for a handler, and the graph of waits that keeps it from deadlock.

A thread about to wait looks, under `waits_lock`, whether one of those it would wait for waits,
directly or through others, for it. If so it does not wait (G10). Every wait is entered in the graph
in the same critical section as it is checked, so the last wait of a would-be cycle is always seen.
`_ModuleLock` in CPython's importlib/_bootstrap.py finds the deadlocks of circular imports this way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TypeVar

from ._sections import Doing, ThreadState, waits_lock

_T = TypeVar("_T")


class Gate:
    """Holds one thread up until another opens it; opened twice before that is opened once.

    It lets one waiter through for each opening, and may let it through for nothing: what a thread
    waited for it has to look at again, under the mutex.
    """

    __slots__ = ("_shut",)

    def __init__(self) -> None:
        self._shut = threading.Lock()
        self._shut.acquire()

    def open(self) -> None:
        """Let the waiting thread go on. The mutex of the channel is held."""
        if self._shut.locked():
            self._shut.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the gate is open, at most `timeout` > 0 seconds; return whether it was."""
        if timeout is None:
            return self._shut.acquire()
        return self._shut.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class TurnWait:
    """A thread's place in the line for a turn, and its hold on the turn afterwards."""

    __slots__ = ("gate", "level", "since", "thread", "turn")

    def __init__(self, thread: ThreadState, turn: Turn) -> None:
        self.thread = thread
        self.turn = turn
        self.since = self.level = thread.clock
        self.gate: Gate
        """Made for a place in the line, which most emits never take."""

    def blockers(self) -> list[Doing]:
        """Return what the thread waits for: the holder, and all who are in front of it."""
        line = self.turn.line
        return self.turn.ahead(line.index(self) if self in line else len(line))


class HandlerWait:
    """A thread that waits until certain calls of handlers are over."""

    __slots__ = ("calls", "gate", "level", "thread")

    def __init__(self, thread: ThreadState) -> None:
        self.thread = thread
        self.level = thread.clock
        self.gate = Gate()
        self.calls: list[tuple[object, Doing]] = []
        """What is waited for: a listener, and who calls it. Guarded by `waits_lock`."""

    def blockers(self) -> list[Doing]:
        """Return who calls the handlers."""
        return [caller for _, caller in self.calls]


class Turn:
    """Whose turn it is to call the handlers of one event type, and who waits for it.

    Both fields are guarded by the mutex of the channel and, while anybody waits, by `waits_lock`
    too, so that the graph can be read under that alone.
    """

    __slots__ = ("holder", "line")

    def __init__(self) -> None:
        # Invariant: `self.holder is not None or not self.line`
        self.holder: ThreadState | TurnWait | None = None
        """Who delivers. A thread that found the turn free holds it as itself."""
        self.line: list[TurnWait] = []
        """Who waits for the turn, first come first."""

    def ahead(self, place: int) -> list[Doing]:
        """Return who is in front of this place in the line."""
        holder: list[Doing] = [] if self.holder is None else [self.holder]
        return [*holder, *self.line[:place]]

    def line_up_locked(self, wait: TurnWait) -> bool:
        """Enter the line; return False instead where waiting would close a cycle (G10)."""
        with waits_lock:
            if closes_cycle(wait.thread, self.ahead(len(self.line))):
                return False
            wait.gate = Gate()
            self.line.append(wait)
            wait.thread.waits.append(wait)
            wait.thread.clock += 1
        return True

    def pass_on_locked(self) -> None:
        """Give the turn to the first in line, or set it free.

        Cut short anywhere before `holder` changes it can be done again; after that, the new holder
        leaves the line by itself.
        """
        if not self.line:
            self.holder = None
            return
        with waits_lock:
            first = self.line[0]
            first.gate.open()
            discard(first.thread.waits, first)
            self.holder = first
            discard(self.line, first)

    def step_out_locked(self, wait: TurnWait) -> None:
        """Leave the line, if `wait` still stands in it."""
        with waits_lock:
            discard(self.line, wait)
            discard(wait.thread.waits, wait)


def closes_cycle(me: ThreadState, blockers: Iterable[Doing]) -> bool:
    """Return whether `me`, waiting for `blockers`, would wait for itself. `waits_lock` is held."""
    seen: set[Doing] = set()
    found = list(blockers)
    while found:
        doing = found.pop()
        if doing.thread is me:
            return True
        if doing not in seen:
            seen.add(doing)
            for wait in doing.thread.waits:
                if wait.level >= doing.since:
                    found.extend(wait.blockers())
    return False


def discard(items: list[_T], item: _T) -> None:
    """Remove `item` if it is there."""
    if item in items:
        items.remove(item)
