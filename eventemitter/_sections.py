"""Critical sections that stay correct when they are interrupted on their own thread.

A signal handler, a `__del__` or a weakref callback can run between any two lines of this package,
also while its thread holds a mutex, and call the package again. A plain lock deadlocks there; a
re-entrant one lets the second call see and overwrite the half-made change of the first. Here a
thread marks itself as inside before it takes a lock and until it has given it back, and a call that
finds its own thread inside takes no lock at all: it leaves its request in the inbox of its channel,
where the next critical section to which it matters carries it out first, and it leaves what is more
than that, running handlers, to the interrupted call, as an entry in `aside`.
`free()` in CPython's multiprocessing/heap.py puts work aside for the lock's holder in the same way.

What is relied on, by name: `list.append`, `list.pop`, `del a_list[0]` and the `deque` methods are
one step each, for other threads and for whatever interrupts this one; so are `setdefault`, `pop`
and `copy` of a dictionary. The library reference of deque says so of appends and pops; for the
others the GIL grants it, or the object's own lock on free-threaded builds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, Protocol, TypeVar

from ._errors import report_unraisable
from ._locks import Lock, Rank, new_lock

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Doing(Protocol):
    """Something that a thread does, which others wait for. What it began earlier is no part of it.

    A handler in a signal handler, say, does not depend on the wait that the signal interrupted.
    """

    @property
    def thread(self) -> ThreadState: ...

    @property
    def since(self) -> int:
        """The thread's clock when it began: waits older than that do not keep it from going on."""
        ...


class Wait(Protocol):
    """One wait of one thread, as the wait graph sees it."""

    @property
    def level(self) -> int:
        """The thread's clock when the wait began."""
        ...

    @property
    def gate(self) -> Any:
        """What opens when it is over."""
        ...

    def blockers(self) -> list[Doing]: ...


class ThreadState:
    """What the package knows of one thread."""

    def __init__(self) -> None:
        self.ident: int = threading.get_ident()
        self.inside: bool = False
        """Whether the thread may hold a lock of the package. Only that thread uses this field."""
        self.inner: Lock = waits_lock
        """What a section may hold besides its mutex and `waits_lock`. Only that thread uses it."""
        self.aside: list[Callable[[ThreadState], object]] = []
        """What calls that found the thread inside left to do. Only that thread uses this field."""
        self.rings: list[Callable[[ThreadState], object]] = []
        """Which loops to wake when outside. Only that thread uses this field."""
        self.catching_up: bool = False
        """Whether the thread does what was put aside. Only that thread uses this field."""
        self.litter: list[object] = []
        """What a section let go of. Dropped outside, as that may run finalizers (G6)."""
        self.waits: list[Wait] = []
        """What the thread waits for, outermost first. Guarded by `waits_lock`."""
        self.clock: int = 1
        """Counts the waits of the thread. Only that thread uses this field."""
        self.since: int = 0
        """As the holder of a turn: all waits of the thread keep it from going on."""
        self.telling: bool = False
        """Whether the thread tells `logging` something, see `_debug`. Only that thread uses it."""

    @property
    def thread(self) -> ThreadState:
        return self


waits_lock: Lock = new_lock(Rank.WAITS, "the wait graph")
"""Guards `ThreadState.waits`, and the line of waiting threads of every channel that has one."""


class _Local(threading.local):
    state: ThreadState


local = _Local()


def this_thread() -> ThreadState:
    """Return the state of the calling thread."""
    try:
        return local.state
    except AttributeError:
        # One step, so a call that interrupts the first call of a thread gets the same object.
        state: ThreadState = local.__dict__.setdefault("state", ThreadState())
        return state


def section(
    me: ThreadState, mutex: Lock, step: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
) -> _R:
    """Run `step` under `mutex`, where `me` is the calling thread and is not inside yet.

    Whatever is raised, at whichever line, no lock stays held. A `step` must leave its channel in
    order when it is cut short at any line: each does what it does in an order that allows for it.
    """
    try:
        try:
            me.inside = True
            mutex.acquire()
            result = step(*args, **kwargs)
            mutex.release()
            me.inside = False
        except BaseException:
            # Not `leave`: where the stack is full, no function could be called here that was not
            # called above.
            for lock in (me.inner, waits_lock, mutex):
                try:
                    lock.release()
                except RuntimeError:
                    pass  # it was not held
            me.inside = False
            raise
    except BaseException:
        # Again, as that may have been cut short itself: two signals can be pending.
        for lock in (me.inner, waits_lock, mutex):
            try:
                lock.release()
            except RuntimeError:
                pass  # it was not held
        me.inside = False
        if me.aside or me.litter or me.rings:
            catch_up(me)
        raise
    if me.aside or me.litter or me.rings:
        catch_up(me)
    return result


def leave(me: ThreadState, mutex: Lock) -> None:
    """Give back whatever a section that was cut short still holds."""
    for lock in (me.inner, waits_lock, mutex):
        try:
            lock.release()
        except RecursionError:
            raise
        except RuntimeError:
            pass  # it was not held
    me.inside = False


class Headroom:
    """Room above the recursion limit of the process, for clean-up where the stack is full."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Guards the fields below; held for a few lines that neither call out nor wait."""
        self.users = 0
        """Who needs the room now. The last to leave goes back to the limit of the program."""
        self.limit = 0
        """The limit that the program has set."""
        self.raised = 0
        """What it was raised to. Whoever has set it to anything else since is left alone."""

    def lower(self, me: ThreadState) -> None:
        """Go back to the limit of the program, unless the stack is still as deep as that."""
        del me
        with self.lock:
            if self.users == 0 and sys.getrecursionlimit() == self.raised:
                with suppress(RecursionError):
                    sys.setrecursionlimit(self.limit)


_headroom = Headroom()


def in_any_case(action: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
    """Clean up, also where that is cut short, or needs more stack than what has failed.

    `action` must do what is left when it is called again: now, or with room above the limit.
    """
    try:
        action(*args, **kwargs)
    except RecursionError:
        room = _headroom
        with room.lock:  # and no Python function called before there is room for it
            limit = sys.getrecursionlimit()
            if limit != room.raised:
                room.limit = limit
            if room.users == 0:  # above what is left from before, too, see `lower`
                room.raised = min(limit + 100, 2**31 - 1)
            sys.setrecursionlimit(room.raised)
            room.users += 1
        try:
            action(*args, **kwargs)
        finally:
            with room.lock:
                room.users -= 1
                if room.users == 0 and sys.getrecursionlimit() == room.raised:
                    try:
                        sys.setrecursionlimit(room.limit)
                    except RecursionError:  # the stack is as deep as that
                        this_thread().aside.append(room.lower)
    except BaseException:
        action(*args, **kwargs)
        raise


def catch_up(me: ThreadState) -> None:
    """Do outside what the last critical section could not: drop its litter, run what it put aside.

    A failure is nobody's to catch here: the call that it belongs to has returned.
    """
    me.litter.clear()
    while me.rings:
        ring: list[Callable[[ThreadState], object]] = []
        try:
            ring = me.rings[0:1]
            del me.rings[0:1]
            for each in ring:
                each(me)  # never put off: whoever is woken may be waited for
        except BaseException:
            me.rings[0:0] = ring  # done twice it does no harm
            raise
    # Looked at again each time it is let go of: what is put aside just before that is not left.
    while me.aside and not me.catching_up:  # in order, and not one inside the other
        try:
            try:
                me.catching_up = True
                _do_all(me)
            finally:
                me.catching_up = False
        finally:
            me.catching_up = False  # again, as that may have been cut short itself


def outside(action: Callable[[ThreadState], object]) -> None:
    """Do `action` now, or where this thread is inside, as soon as it is not any more."""
    me = this_thread()
    if me.inside:
        me.aside.append(action)
        return
    try:
        action(me)
    except Exception as error:
        report_unraisable(error)


def _do_all(me: ThreadState) -> None:
    # A loop in a function of its own, see `Channel._arrive`.
    while me.aside:
        _do_first(me)


def _do_first(me: ThreadState) -> None:
    action = me.aside[0]
    try:
        del me.aside[0]
        action(me)
    except Exception as error:
        report_unraisable(error)
    except BaseException:
        me.aside.insert(0, action)  # done twice it does what is left
        raise
