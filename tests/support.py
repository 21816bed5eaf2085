"""Events and threads for the tests."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, TypeVar

import pytest

import eventemitter
from eventemitter import EventEmitter, ReplayEventEmitter
from eventemitter._channel import Channel
from eventemitter._locks import Lock
from eventemitter._sections import catch_up, this_thread, waits_lock
from eventemitter._turns import HandlerWait, TurnWait

T = TypeVar("T")

PACKAGE = Path(eventemitter.__file__).parent

both_kinds = pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
both_points = pytest.mark.parametrize("points", ["lines", "polls"])
"""Each kind of point of `injection.py`."""

PATIENCE = 30.0
"""Seconds after which a thread that should have ended is taken for deadlocked."""


@dataclass(frozen=True)
class Ping:
    """An event."""

    number: int = 0


@dataclass(frozen=True)
class Pong:
    """An event of another type."""

    number: int = 0


@contextmanager
def no_collection() -> Generator[None]:
    """Keep the garbage of earlier runs from being finalized in this one, at points of its own."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Crew:
    """Threads that are joined at the end of the test, and whose failures fail it."""

    def __init__(self) -> None:
        self._running: list[tuple[threading.Thread, Future[Any]]] = []

    def run(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Call `function` in a thread of its own; return a future of its result."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)

        thread = threading.Thread(target=work, daemon=True)
        self._running.append((thread, future))
        thread.start()
        return future

    def join(self) -> None:
        """Wait for all threads; raise what they raised, or TimeoutError where one hangs."""
        while self._running:
            thread, future = self._running.pop(0)
            future.result(PATIENCE)
            thread.join(PATIENCE)


class Stop:
    """A place where a handler stops until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *_: object) -> None:
        """Stop here."""
        self._reached.set()
        assert self._open.wait(PATIENCE), "nobody let it go on"

    def wait(self) -> None:
        """Wait until somebody has stopped here."""
        assert self._reached.wait(PATIENCE), "nobody came here"

    def go(self) -> None:
        """Let go on who stops here, and all who come later."""
        self._open.set()


def raise_interrupt(*_: object) -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def interrupting_section() -> Generator[None]:
    """Be a call that interrupts a critical section of this thread: what it asks is put aside."""
    me = this_thread()
    me.inside = True
    try:
        yield
    finally:
        me.inside = False


class PutAsideCutShort:
    """What was put aside is carried out, and cut short: a scenario but for its check."""

    def run(self) -> None:
        """Do what was put aside."""
        with suppress(KeyboardInterrupt):
            catch_up(this_thread())

    def interrupt(self) -> None:
        """Cut that short."""
        raise KeyboardInterrupt


def interrupt_when(command: Sequence[str], started: str, directory: Path) -> tuple[int, str, str]:
    """Run a command until a line of its output starts with this, then send it Ctrl-C.

    Return its exit code, what it printed afterwards, and its errors.
    """
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            while not process.stdout.readline().startswith(started):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, output, errors


class KnownLock:
    """Stands in for a mutex, and knows which threads hold it or are about to."""

    def __init__(self, lock: Lock) -> None:
        """Stand in for `lock`."""
        self._lock = lock
        self.threads: set[int] = set()

    def acquire(self) -> bool:
        """Take the lock."""
        self.threads.add(threading.get_ident())
        return self._lock.acquire()

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()
        self.threads.discard(threading.get_ident())

    def __enter__(self) -> bool:
        """Take the lock."""
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self.release()


def channel_of(emitter: EventEmitter[Any], event_type: type) -> Channel:
    """Return what the emitter keeps for one event type."""
    channels: dict[type, Channel] = emitter.__dict__["_eventemitter_channels"]
    return channels[event_type]


def assert_idle(emitter: EventEmitter[Any], *, queue: bool = True) -> None:
    """Assert that no lock is held, no turn taken, nobody waits, and nothing is left to do."""
    me = this_thread()
    assert not me.inside
    assert not me.aside
    assert not me.waits
    channels: dict[type, Channel] = emitter.__dict__["_eventemitter_channels"]
    for channel in channels.values():
        emitter.listener_count(channel.event_type)
        assert channel.holder is None
        assert not channel.line
        assert not channel.watches
        assert not channel.replaying
        assert channel.running is None
        assert not channel.inbox
        assert not channel.errors
        assert not (queue and channel.queue)
        assert not _held_by_this_thread(channel.mutex)
    assert not _held_by_this_thread(waits_lock)


def _held_by_this_thread(lock: Lock) -> bool:
    try:
        lock.release()
    except RuntimeError:
        return False
    return True


def until(condition: Callable[[], object]) -> None:
    """Look at `condition` until it holds; fail where that never comes about."""
    deadline = monotonic() + PATIENCE
    never = threading.Event()
    while not condition():
        assert monotonic() < deadline, "it never came about"
        never.wait(1e-6)  # gives the GIL up, which a bare loop would keep from the other threads


def until_in_line(channel: Channel, count: int) -> None:
    """Wait until so many threads wait for their turn, and have left the mutex."""
    until(lambda: _waiting(channel.line) == count)


def until_waited_for(channel: Channel, count: int) -> None:
    """Wait until so many threads wait for handlers, and have left the mutex."""
    until(lambda: _waiting(channel.watches) == count)


def _waiting(waits: Sequence[TurnWait | HandlerWait]) -> int:
    return sum(wait in wait.thread.waits and not wait.thread.inside for wait in tuple(waits))


@contextmanager
def on_entry(*steps: tuple[str, Callable[[], object]]) -> Generator[None]:
    """Do something in this thread when it enters methods of a channel, where signals are handled.

    Each step names a method, and is done once, after the step before it.
    """
    left = [(getattr(Channel, name).__code__, action) for name, action in steps]
    before = sys.gettrace()

    def trace(frame: FrameType, _kind: str, _argument: object) -> None:
        if left and frame.f_code is left[0][0]:
            sys.settrace(None)
            left.pop(0)[1]()
            sys.settrace(trace)

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
    assert not left, f"never entered: {left}"
