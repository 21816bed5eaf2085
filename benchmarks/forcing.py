"""Stop a library at every point where something else may run, and let it run there.

CPython switches threads, and runs the handlers of signals, only after certain instructions: calls,
backward jumps and the entry of a function. `explore` runs a scenario once for each of these points
in the code of a library, stops there, and has another thread, a signal handler or a finalizer call
in. So a fault that would show once a year shows in every run, and where there is none, none was
missed.

What another thread does meanwhile is followed until it is done or waits for a lock. Therefore the
library has to make its locks while `known_locks` is active.
"""

from __future__ import annotations

import dis
import gc
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, Protocol, TypeAlias
from unittest.mock import patch

Action: TypeAlias = Callable[[], None]


class Scenario(Protocol):
    """A call to stop, what happens meanwhile, and what came of it."""

    def stopped(self) -> None:
        """Make the call that is stopped."""

    def meanwhile(self) -> None:
        """Do what happens while it stands still."""

    def fault(self) -> str | None:
        """Say what is wrong when all of that is over."""


# Another thread, followed until it waits


class _Followed(threading.local):
    waits: Action | None = None  # called when this thread is about to wait for a lock
    dawdles: Action | None = None  # see `dawdle`


_followed = _Followed()


def _about_to_wait() -> None:
    if _followed.waits:
        _followed.waits()


def dawdle(_: object = None) -> None:
    """Be a handler that takes long.

    In a thread of `Elsewhere` it takes until the one that was stopped is done or waits.
    """
    if _followed.dawdles:
        _followed.dawdles()


class _KnownLock:
    """Stands in for a lock of `threading`; says so when it makes its thread wait."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._lock = make()
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        taken: bool = self._lock.acquire(blocking=False)
        if taken or not blocking or timeout == 0:
            return taken
        _about_to_wait()
        return bool(self._lock.acquire(timeout=timeout))

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        # What `threading.Condition` asks of its lock.
        return getattr(self._lock, name)


@contextmanager
def known_locks() -> Generator[None]:
    """Let the locks that are made in this block tell `Elsewhere` who waits for them."""
    with (
        patch("threading.Lock", partial(_KnownLock, threading.Lock)),
        patch("threading._allocate_lock", partial(_KnownLock, threading.Lock)),
        patch("threading.RLock", partial(_KnownLock, threading.RLock)),
    ):
        yield


_asking: list[threading.Thread] = []


def in_the_dark() -> bool:
    """Tell whether some thread is waited for, neither done nor known to wait.

    Where nothing moves any more, it waits for what is not known here, and nothing is shown.
    """
    return bool(_asking)


class Elsewhere:
    """Calls in other threads, each followed until it is done or waits for a lock."""

    def __init__(self) -> None:
        """Start without any thread; the one that makes this is the one that is stopped."""
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._dawdling: list[SimpleQueue[None]] = []
        _followed.waits = self._go_on

    def run(self, function: Action) -> None:
        """Call in a new thread; return when that is done, waits or dawdles."""
        news: SimpleQueue[None] = SimpleQueue()
        # A daemon, as it may never end: that is what a deadlock is.
        thread = threading.Thread(target=self._work, args=(function, news), daemon=True)
        self._threads.append(thread)
        thread.start()
        _asking.append(thread)
        news.get()
        _asking.remove(thread)

    def _work(self, function: Action, news: SimpleQueue[None]) -> None:
        told = False

        def tell() -> None:
            nonlocal told
            told = True
            news.put(None)

        def dawdle() -> None:
            # Not if the other goes on already: it may wait for this thread by now.
            if not told:
                enough: SimpleQueue[None] = SimpleQueue()
                self._dawdling.append(enough)
                tell()
                enough.get()

        _followed.waits, _followed.dawdles = tell, dawdle
        try:
            function()
        except BaseException as error:
            self._errors.append(error)
        finally:
            tell()

    def _go_on(self) -> None:
        while self._dawdling:
            self._dawdling.pop().put(None)

    def join(self) -> None:
        """Wait until all calls are done; raise what the first that failed raised."""
        self._go_on()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


# Who calls in at a stop


Bring: TypeAlias = Callable[[Action, Elsewhere], None]


def by_thread(action: Action, elsewhere: Elsewhere) -> None:
    """Act in another thread, as far as it comes."""
    elsewhere.run(action)


def by_signal(action: Action, _: Elsewhere) -> None:
    """Act in the handler of a signal that arrives now; on the main thread only."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        action()

    before = signal.signal(signal.SIGINT, handle)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def by_finalizer(action: Action, _: Elsewhere) -> None:
    """Act in the `__del__` of an object that the garbage collector finds now."""
    errors: list[BaseException] = []
    _Doomed(action, errors)
    gc.collect(0)
    if errors:
        raise errors[0]


class _Doomed:
    def __init__(self, action: Action, errors: list[BaseException]) -> None:
        self._action = action
        self._errors = errors
        self._myself = self  # a cycle, which only the collector ends

    def __del__(self) -> None:
        try:
            self._action()
        except BaseException as error:
            # What a finalizer raises is only printed.
            self._errors.append(error)


# Where to stop


class _Stop:
    """Acts at one point of a run of some code, on the thread that makes it."""

    def __init__(self, code: Sequence[Path], point: int, action: Action) -> None:
        self._roots = tuple(str(path) for path in code)
        self._left = point
        self._action = action
        self._thread = get_ident()
        self._last: dict[int, int] = {}  # by the id of a frame, its latest instruction
        self.error: BaseException | None = None
        self.reached = False

    def _owns(self, code: CodeType) -> bool:
        return code.co_filename.startswith(self._roots)

    def _step(self, frame: FrameType, offset: int) -> None:
        """Take note that `frame` is about to run the instruction at `offset`."""
        last = self._last.get(id(frame))
        self._last[id(frame)] = offset
        if last is None or last not in _polls(frame.f_code):
            return
        self._left -= 1
        if self._left < 0:
            self.reached = True
            self._disarm()
            try:
                self._action()
            except BaseException as error:
                # Here it would be raised into the library, which might catch it.
                self.error = error

    if sys.version_info >= (3, 12):
        # There, `sys.settrace` cannot be relied on to report each instruction.

        @contextmanager
        def watching(self) -> Generator[None]:
            """Count the points of what this block runs."""
            monitoring, events = sys.monitoring, sys.monitoring.events
            tool = next(tool for tool in range(6) if not monitoring.get_tool(tool))
            callbacks: dict[int, Any] = {
                events.PY_START: self._enters,
                events.PY_RESUME: self._enters,
                events.INSTRUCTION: self._monitor,
            }
            monitoring.use_tool_id(tool, "forcing")
            for event, callback in callbacks.items():
                monitoring.register_callback(tool, event, callback)
            monitoring.set_events(tool, sum(callbacks))
            self._tool = tool
            try:
                yield
            finally:
                self._disarm()
                for event in callbacks:
                    monitoring.register_callback(tool, event, None)
                monitoring.free_tool_id(tool)

        def _disarm(self) -> None:
            sys.monitoring.set_events(self._tool, sys.monitoring.events.NO_EVENTS)

        def _enters(self, code: CodeType, offset: int) -> Any:
            if not self._owns(code):
                return sys.monitoring.DISABLE
            if get_ident() == self._thread:
                frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                self._last[id(frame)] = offset
            return None

        def _monitor(self, code: CodeType, offset: int) -> Any:
            if not self._owns(code):
                return sys.monitoring.DISABLE
            if not self.reached and get_ident() == self._thread:
                frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                self._step(frame, offset)
            return None

    else:

        @contextmanager
        def watching(self) -> Generator[None]:
            """Count the points of what this block runs."""
            before = sys.gettrace()
            sys.settrace(self._trace)
            try:
                yield
            finally:
                sys.settrace(before)

        def _disarm(self) -> None:
            sys.settrace(None)

        def _trace(self, frame: FrameType, event: str, _: object) -> Any:
            if self.reached or not self._owns(frame.f_code):
                return None
            if event == "call":
                self._last[id(frame)] = frame.f_lasti
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode":
                self._step(frame, frame.f_lasti)
            return self._trace


@cache
def _polls(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions after which something else may run."""
    return frozenset(each.offset for each in dis.get_instructions(code) if _is_poll(each))


def _is_poll(this: dis.Instruction) -> bool:
    if "JUMP_BACKWARD" in this.opname:
        return this.opname != "JUMP_BACKWARD_NO_INTERRUPT"
    # The low bits of its argument tell what RESUME follows; after `await` it does not poll.
    entry = this.opname == "RESUME" and (this.arg or 0) & 3 < 2  # noqa: PLR2004
    return entry or this.opname in {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}


def explore(make: Callable[[], Scenario], code: Sequence[Path], bring: Bring) -> list[str]:
    """Run a fresh scenario for each point of its `stopped` in `code`; return the faults found.

    Where no thread can go on, this does not return.

    Args:
        make: Makes a scenario.
        code: Where the files of the library are.
        bring: Who does what happens meanwhile.

    Raises:
        ValueError: If there is no point at all, so that nothing would be shown.

    """
    faults: list[str] = []
    stops, reached = 0, True
    while reached:
        scenario, elsewhere = make(), Elsewhere()
        stop = _Stop(code, stops, partial(bring, scenario.meanwhile, elsewhere))
        with stop.watching():
            scenario.stopped()
        if stop.error:
            raise stop.error
        elsewhere.join()
        reached = stop.reached
        fault = scenario.fault() if reached else None
        if fault:
            faults.append(fault)
        stops += reached
    if not stops:
        raise ValueError("nothing stops in this code")
    return faults


@contextmanager
def quiet_collector() -> Generator[None]:
    """Collect no garbage in this block but where `by_finalizer` does, and there only the young."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
