"""Waiting for a turn or for a handler, and the graph of waits that keeps it from deadlock.

A thread about to wait looks, under `waits_lock`, whether one of those it would wait for waits,
directly or through others, for it. If so it does not wait (G10). Every wait is entered in the graph
in the same critical section as it is checked, so the last wait of a would-be cycle is always seen.
`_ModuleLock` in CPython's importlib/_bootstrap.py finds the deadlocks of circular imports this way.

An `await` holds up no thread but a call that an event loop makes of an async handler, and with it
the strand: the calls of that handler still to come. A call cannot go on while it waits, nor while
its loop's thread does.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ._sections import Doing, ThreadState, Wait, waits_lock

_T = TypeVar("_T")


class Gate:
    """Holds one thread up until another opens it; opened twice before that is opened once.

    It lets one waiter through for each opening, and may let it through for nothing: what a thread
    waited for it has to look at again, under the mutex.
    """

    __slots__ = ("_shut",)

    loop: Any = None
    """The event loop that has to go on for the waiter to go on, where that is a task."""

    def __init__(self) -> None:
        self._shut = threading.Lock()
        self._shut.acquire()

    def open(self) -> None:
        """Let the waiting thread go on. Any thread may, holding a mutex or not."""
        try:
            self._shut.release()
        except RecursionError:
            raise
        except RuntimeError:
            pass  # it was open

    def ring(self) -> bool:
        """Let the waiting thread go on. No mutex is held."""
        self.open()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the gate is open, at most `timeout` > 0 seconds; return whether it was."""
        if timeout is None:
            return self._shut.acquire()
        return self._shut.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class Awaiter:
    """One call of an async handler, or some other task: what waits without holding up its thread.

    What a call has started waits as that call.
    """

    __slots__ = ("waits",)

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        """What is awaited. Guarded by `waits_lock`."""


class Strand:
    """The calls of one async handler, one after the other."""

    __slots__ = ("call", "known", "loop")

    since = 0
    """All waits of its thread keep it from going on."""

    def __init__(self, known: ThreadState | None, loop: Any) -> None:
        self.known = known
        """The thread that ran a call of this strand last, or made it; None if none has yet."""
        self.loop = loop
        self.call: Awaiter | None = None
        """The call under way. Only the loop's thread writes it: a call that has just begun awaits
        nothing, and what one that is over has left awaiting holds up nobody."""

    @property
    def thread(self) -> ThreadState:
        """The thread that runs the event loop, or is to run it."""
        return runner_of(self.loop, self.known)


_NOBODY = ThreadState()
_loop_threads: weakref.WeakKeyDictionary[Any, ThreadState] = weakref.WeakKeyDictionary()
"""Which thread runs a loop, of those that wait or have waited. Changed under `waits_lock`.

Invariant: it ran that loop when it was about to wait last."""


def runner_of(loop: Any, known: ThreadState | None) -> ThreadState:
    """Return the thread that runs a loop, or `known` if none does.

    A loop may be run now in one thread and then in another. If it runs in none that waits, its
    thread is nobody of whom the wait graph need know.
    """
    thread = _loop_threads.get(loop)
    if thread is None and not loop.is_running():
        thread = known
    return thread or _NOBODY


def running_loop() -> Any:
    """Return the event loop that this thread runs, or None. Does not import asyncio."""
    # Where nobody has imported asyncio, no loop is running.
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def _note_loop(me: ThreadState) -> None:
    """Take note that `me` is about to hold up the loop that it runs, if it runs one."""
    loop = running_loop()
    for other in [each for each, thread in _loop_threads.items() if thread is me]:
        del _loop_threads[other]
    if loop is not None:
        _loop_threads[loop] = me


class TurnWait:
    """A thread's place in the line for a turn, and its hold on the turn afterwards."""

    __slots__ = ("agent", "gate", "level", "me", "since", "turn")

    gate: Gate
    """Made for a place in the line, which most emits never take."""

    def __init__(self, me: ThreadState, turn: Turn, agent: ThreadState | Awaiter) -> None:
        self.me: ThreadState = me
        """The thread that takes the place, and with it the turn."""
        self.turn: Turn = turn
        self.agent: ThreadState | Awaiter = agent
        """Who is held up."""
        self.since: int = me.clock
        self.level: int = me.clock

    @property
    def thread(self) -> ThreadState:
        """The thread without which it does not go on."""
        return self.me

    @property
    def taken(self) -> ThreadState | TurnWait:
        """Who holds the turn that has been taken."""
        return self

    @property
    def ended(self) -> bool:
        """Whether it will never go on."""
        return False

    def give_way(self, me: ThreadState) -> None:
        """Leave the line, or give the turn up."""

    def may_wait_for(self, holder: Doing) -> bool:
        """Return False if the holder goes on only when this call returns (G4)."""
        return holder.thread is not self.me

    def let_go_locked(self) -> None:
        """Let the next in line go on."""
        self.gate.open()

    def new_gate(self) -> Gate:
        """Return what lets the next in line go on."""
        return Gate()

    def blockers(self) -> list[Doing]:
        """Return what the thread waits for: the holder, and all who are in front of it."""
        line = self.turn.line
        return self.turn.ahead(line.index(self) if self in line else len(line))


@dataclass(slots=True, eq=False)
class HandlerWait:
    """A thread or a task that waits until certain calls of handlers are over."""

    thread: ThreadState
    agent: ThreadState | Awaiter
    """Who is held up."""
    gate: Gate
    level: int
    """The clock of the thread when the wait began."""
    calls: list[tuple[object, Doing]] = field(default_factory=list[tuple[object, Doing]])
    """What is waited for: a listener, and who calls it. Replaced whole, under `waits_lock`."""

    def blockers(self) -> list[Doing]:
        """Return who calls the handlers."""
        return [caller for _, caller in self.calls]


class Turn:
    """Whose turn it is to call the handlers of one event type, and who waits for it.

    Both fields are guarded by the mutex of the channel and, while anybody waits, by `waits_lock`
    too, so that the graph can be read under that alone. But a holder may set `holder` to None
    without a lock, if it looks afterwards who has come, and a task that has got its turn may put
    its thread in its own place under the mutex alone.
    """

    def __init__(self) -> None:
        # Invariant, but for a holder about to look: `self.holder is not None or not self.line`
        self.holder: ThreadState | TurnWait | None = None
        """Who delivers; in the short way of `Channel.emit` the thread itself."""
        self.line: list[TurnWait] = []
        """Who waits for the turn, first come first."""

    def ahead(self, place: int) -> list[Doing]:
        """Return who is in front of this place in the line."""
        holder = self.holder  # read once, as the holder may set it to None meanwhile
        first: list[Doing] = [] if holder is None else [holder]
        return [*first, *self.line[:place]]

    def line_up_locked(self, wait: TurnWait) -> bool:
        """Enter the line; return False instead where waiting would close a cycle (G10)."""
        with waits_lock:
            if closes_cycle(wait.agent, self.ahead(len(self.line))):
                return False
            wait.gate = wait.new_gate()
            self.line.append(wait)
            wait.agent.waits.append(wait)
            wait.me.clock += 1
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
            first.let_go_locked()
            discard(first.agent.waits, first)
            self.holder = first
            discard(self.line, first)

    def step_out_locked(self, wait: TurnWait) -> None:
        """Leave the line, if `wait` still stands in it."""
        with waits_lock:
            discard(self.line, wait)
            discard(wait.agent.waits, wait)


def closes_cycle(me: ThreadState | Awaiter, blockers: Iterable[Doing]) -> bool:
    """Return whether `me`, waiting for `blockers`, would wait for itself. `waits_lock` is held."""
    if isinstance(me, ThreadState):
        if me.telling:
            return True  # whoever is waited for may want what a logging handler holds
        _note_loop(me)
    seen: set[Doing] = set()
    found = list(blockers)
    while found:
        doing = found.pop()
        call = doing.call if isinstance(doing, Strand) else None
        if me in (doing.thread, call):
            return True
        if doing not in seen:
            seen.add(doing)
            waits = [wait for wait in doing.thread.waits if wait.level >= doing.since]
            if call is not None:
                waits += call.waits
                found += [runner_of(each.gate.loop, None) for each in call.waits]
            for wait in waits:
                found.extend(wait.blockers())
    return False


def discard(items: list[_T], item: _T) -> None:
    """Remove `item` if it is there."""
    if item in items:
        items.remove(item)
