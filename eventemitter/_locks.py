"""The lock order, and the checker that enforces it.

A thread that holds a lock may only take one that stands further down in this table:

    Rank.EVENT_TYPE   the mutex of one event type of one emitter: its listeners, its latest event
                      and whose turn it is. Two of them are never held together.
    Rank.WAITS        the wait graph: which thread waits for which others. One for the process.
    Rank.STREAM       the buffer of one stream: its events, and who waits for them. Of an
                      expectation: what its base class, `concurrent.futures.Future`, has been told.

No user code runs while any of them is held. So no cycle of threads that wait for locks can come
about, whatever handlers do: every chain of waiting threads ends in one that holds a lock and waits
for none, and it runs nothing but a few lines of this package, or of that base class.

Waiting for a turn or for a handler is another matter: `_turns` keeps that free of deadlock. That is
done with none of these locks held. The lock in a `Gate` there guards nothing; it is how one thread
lets another go on, and so has no rank. Nor has the one in `Headroom` of `_sections`, for clean-up
where the stack is full: under it no other is taken.

With EVENTEMITTER_CHECK_LOCKS=1 or `python -X dev` each lock is a `CheckedLock`; otherwise it is the
bare `threading.RLock`. Re-entrant, because only such a lock knows its owner: a critical section cut
short at any point can give back exactly what it holds. It is never entered twice (see `_sections`).

The idea of ranks, and of reporting the wrong order rather than waiting for the deadlock, is that of
Linux lockdep and of Go's runtime/lockrank.go.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Final, Protocol, TypeVar

from ._errors import LockOrderError

_T = TypeVar("_T")

CHECKING: Final = os.environ.get("EVENTEMITTER_CHECK_LOCKS") == "1" or sys.flags.dev_mode


class Rank(IntEnum):
    """The lock order: locks are taken from the lowest rank to the highest."""

    EVENT_TYPE = 1
    WAITS = 2
    STREAM = 3


class Lock(AbstractContextManager[bool], Protocol):
    """What `threading.RLock` and `CheckedLock` have in common."""

    def acquire(self) -> bool: ...
    def release(self) -> None: ...


class _Held(threading.local):
    """The locks that this thread holds, each with the place where it was taken."""

    def __init__(self) -> None:
        self.locks: list[tuple[CheckedLock, str]] = []


_held = _Held()


class CheckedLock:
    """A lock that proves the lock order before each acquisition."""

    def __init__(self, rank: Rank, name: str) -> None:
        self.rank = rank
        self.name = name
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"{self.rank.name} lock of {self.name}"

    def acquire(self) -> bool:
        """Take the lock; raise `LockOrderError` instead where the order forbids it."""
        if any(lock.rank >= self.rank for lock, _ in _held.locks):
            raise LockOrderError(_report(f"wants {self!r}", _place()))
        self._lock.acquire()
        _held.locks.append((self, _place()))
        return True

    def release(self) -> None:
        """Give the lock back; raise `RuntimeError` where this thread does not hold it."""
        # In this order: cut short in between, a second call does what is left.
        _held.locks[:] = [held for held in _held.locks if held[0] is not self]
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


def new_lock(rank: Rank, name: str) -> Lock:
    """Make the lock that has this place in the order; `name` says whose it is, for reports."""
    return CheckedLock(rank, name) if CHECKING else threading.RLock()


def proved(code: _T) -> _T:
    """Return `code`, which is about to be called, after proving that no lock is held (G6)."""
    if _held.locks:
        raise LockOrderError(_report(f"is about to run user code, {code!r}", _place()))
    return code


def _place() -> str:
    """Name the innermost line outside this module and `_sections`, which take locks for others."""
    frame = inspect.currentframe()
    own = (__file__, os.path.join(os.path.dirname(__file__), "_sections.py"))
    while frame is not None and frame.f_code.co_filename in own:
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _report(wish: str, place: str) -> str:
    held = "".join(f"\n  holds {lock!r}, taken at {where}" for lock, where in _held.locks)
    order = " before ".join(rank.name for rank in Rank)
    return (
        f"thread {threading.current_thread().name!r} {wish}\n  at {place}{held}\n"
        f"  the order is {order}, one of each, and none while user code runs"
    )
