"""Interrupt a package at every point of its execution, one point a run.

`inject_everywhere` runs a scenario over and over, and interrupts each run at the next point: before
a line, or where the interpreter itself would stop to run a signal handler.

A test marked `walks` is in both parts of the tests: the deep part interrupts at every point, the
fast one at every third. Which third depends on the version of Python and on whether locks are
checked, so that the runs of .ci/run take each of them in both modes.
"""

import dis
import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from itertools import pairwise
from pathlib import Path
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, Final, Literal, Protocol

from support import no_collection

from eventemitter._locks import CHECKING

Points = Literal["lines", "polls"]
"""See `inject_everywhere`."""

if sys.version_info >= (3, 12):
    _EVENTS = sys.monitoring.events
    _WATCHED = (_EVENTS.PY_START, _EVENTS.PY_RESUME, _EVENTS.INSTRUCTION)


@dataclass(frozen=True)
class Share:
    """Which points of a walk are interrupted."""

    first: int
    stride: int


ALL: Final = Share(0, 1)
THIRD: Final = Share((2 * sys.version_info.minor + CHECKING) % 3, 3)
share = ALL
"""What is walked now; set by conftest.py."""

HANDING_ON = {
    f"EventEmitter.{name}"
    for name in ("on", "once", "expect", "stream", "follow", "_eventemitter_listen")
}
"""Methods whose last call is that of a function in Python, the result of which they return.

The interpreter does not look for signals between the two, nor where they themselves return: what
was registered, their caller has.
"""

_RESUMABLE = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


@dataclass(frozen=True)
class Point:
    """A place where a run is interrupted."""

    file: str
    line: int
    function: str
    when: Literal["before", "after"]
    opname: str
    offset: int

    def __str__(self) -> str:
        """Begin like a compiler's message, which terminals link to the source."""
        where = f"{self.file}:{self.line} in {self.function}"
        return f"{where}, {self.when} {self.opname} at offset {self.offset}"


class Scenario(Protocol):
    """A call to interrupt, what interrupts it, and what must hold afterwards."""

    def run(self) -> None:
        """Make the call, and catch what `interrupt` raises into it."""

    def interrupt(self) -> None:
        """Interrupt the call, on its thread; what this raises is raised at the point."""

    def check(self, point: Point, /) -> None:
        """Assert what must hold after a run that was interrupted at `point`."""


def inject_everywhere(make: Callable[[], Scenario], *, package: Path, points: Points) -> int:
    """Interrupt a fresh scenario at each point of its `run`, and return how many there are.

    A point lies in code below `package`, on the thread that calls this:

    - `"lines"`: before each line, and on entry to each function. What `interrupt` raises, that
      line raises; at the end of a `with` this skips its exit, where no signal could have arrived.
      Going on after an `await` is no entry; a jump back inside of a line does not begin it.
    - `"polls"`: after each instruction after which CPython looks for signals, which are calls,
      backward jumps and function entry. What `interrupt` raises goes to the handler that it would
      go to if a signal's handler raised it. Main thread only; takes SIGINT for itself meanwhile.

    A run is interrupted once, and its interruption never. An exception carries a note that names
    the point. Where `share` says so, only some of the points are interrupted.

    Raises:
        ValueError: If there is no point at all, so that nothing would be tested.
        AssertionError: If the last run was less than half as long as the walk, which so is cut off.
    """
    injector = _PollInjector(package) if points == "polls" else _LineInjector(package)
    wanted = share.first
    with injector.installed():
        while True:
            scenario = make()
            injector.arm(wanted, scenario.interrupt)
            try:
                with no_collection():
                    injector.watch(scenario.run)
                if injector.interrupted and injector.point:
                    scenario.check(injector.point)
            except BaseException as error:
                error.add_note(f"point {wanted} of the run: {injector.point or 'not reached'}")
                raise
            if injector.point is None:
                break
            wanted += share.stride
            injector.disarm()
            del scenario  # now, as what its finalizers do is no part of the next run
    if 2 * injector.left > wanted + share.stride:  # with other threads, a run has some more or less
        raise AssertionError(f"after {wanted} points the last run had {wanted - injector.left}")
    if wanted == share.first:
        raise ValueError(f"the scenario runs no code below {package}, or at {share} none")
    return wanted - injector.left


class _LineInjector:
    """Counts the points of a run, and interrupts it at the wanted one."""

    def __init__(self, package: Path) -> None:
        self._package = package.resolve()
        self._thread = get_ident()
        self._owned: dict[str, bool] = {}
        self._armed = False

    def installed(self) -> AbstractContextManager[None]:
        """Hold what all runs share."""
        return nullcontext()

    def arm(self, wanted: int, action: Callable[[], None]) -> None:
        """Prepare for a run that `action` interrupts at the point with the index `wanted`."""
        self.left, self._action = wanted, action
        self._lines: dict[int, int] = {}  # by the id of a frame, which line it has begun last
        self.point: Point | None = None
        self.interrupted = False

    def disarm(self) -> None:
        """Let go of the run that is over."""
        del self._action

    def watch(self, run: Callable[[], None]) -> None:
        """Run under the tracer, and give the thread back the one it had."""
        earlier = sys.gettrace()
        self._armed = True
        sys.settrace(self._tracer())
        try:
            run()
        finally:
            self._armed = False
            sys.settrace(earlier)

    def _tracer(self) -> Callable[[FrameType, str, object], Any] | None:
        return self._trace

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not self._armed or not self._owns(frame.f_code):
            return None
        if event in {"call", "line"} and self._may_raise(frame, event) and self._is_wanted():
            self.point = _point(frame.f_code, frame.f_lineno, "before", frame.f_lasti)
            self._interrupt()
        return self._trace

    def _may_raise(self, frame: FrameType, event: str) -> bool:
        """Leave out where no signal arrives, and what a tracer raises finds no handler.

        That is where a coroutine goes on after an `await`, and a jump back inside of a line.
        """
        code, earlier = frame.f_code, self._lines.get(id(frame))
        if event == "call":
            self._lines.pop(id(frame), None)
            return not code.co_flags & _RESUMABLE or frame.f_lasti <= _entry(code)
        self._lines[id(frame)] = frame.f_lineno
        return earlier != frame.f_lineno or frame.f_lasti in _line_starts(code)

    def _owns(self, code: CodeType) -> bool:
        name = code.co_filename
        if name not in self._owned:
            self._owned[name] = Path(name).resolve().is_relative_to(self._package)
        return self._owned[name]

    def _is_wanted(self) -> bool:
        """Count a point; at the wanted one, stop counting."""
        self.left -= 1
        self._armed = self.left >= 0
        return not self._armed

    def _interrupt(self) -> None:
        self.interrupted = True
        self._action()


class _Trip(int):
    """A signal number; reading `now` trips its signal.

    Reading an attribute that C code computes is no poll. So the signal is handled at the next poll
    of the interrupted frame, where after a call it would be handled in the injector's own frame.
    """

    now = property(interrupt_main)


_SIGINT = _Trip(signal.SIGINT)


@dataclass(frozen=True)
class _Poll:
    """An instruction that polls."""

    point: Point
    successor: int
    # Whether an exception raised at the successor finds the handler of one raised by the poll.
    same_handler: bool


class _PollInjector(_LineInjector):
    """Interrupts a run between an instruction that polls and its successor.

    Where the two have different exception handlers, as in `with lock: return call()`, it trips a
    real signal in front of the poll.
    """

    def __init__(self, package: Path) -> None:
        super().__init__(package)
        # Each with its code object: an id is unique for as long as its object lives.
        self._polls: dict[int, tuple[CodeType, dict[int, _Poll]]] = {}

    @contextmanager
    def installed(self) -> Generator[None]:
        earlier = signal.signal(signal.SIGINT, self._on_signal)
        try:
            with self._monitored():
                yield
        finally:
            signal.signal(signal.SIGINT, earlier)

    def arm(self, wanted: int, action: Callable[[], None]) -> None:
        super().arm(wanted, action)
        self._done: dict[int, _Poll] = {}  # by the id of a frame, if a poll is what it ran last

    def _on_signal(self, _: int, frame: FrameType | None) -> None:
        # A call that raises does not poll. Its signal then comes up too late, in the injector.
        while frame and frame.f_code.co_filename != __file__:
            if self._owns(frame.f_code):
                self._interrupt()
                return
            frame = frame.f_back

    if sys.version_info >= (3, 12):
        # There, `sys.settrace` cannot be relied on to report each instruction.

        def _tracer(self) -> None:
            return None

        @contextmanager
        def _monitored(self) -> Generator[None]:
            monitoring = sys.monitoring
            self._tool = next(tool for tool in range(6) if not monitoring.get_tool(tool))
            monitoring.use_tool_id(self._tool, "injection")
            for event in _WATCHED:
                monitoring.register_callback(self._tool, event, self._monitor)
            try:
                yield
            finally:
                for event in _WATCHED:
                    monitoring.register_callback(self._tool, event, None)
                monitoring.free_tool_id(self._tool)

        def watch(self, run: Callable[[], None]) -> None:
            # Only meanwhile, as all code is slower then.
            sys.monitoring.set_events(self._tool, sum(_WATCHED))
            try:
                super().watch(run)
            finally:
                sys.monitoring.set_events(self._tool, 0)

        def _interrupt(self) -> None:
            sys.monitoring.set_events(self._tool, 0)
            super()._interrupt()

        def _monitor(self, code: CodeType, offset: int) -> Any:
            if not self._owns(code):
                return sys.monitoring.DISABLE
            if self._armed and get_ident() == self._thread:
                interrupted = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                self._step(interrupted, offset)
            return None

    else:

        def _monitored(self) -> AbstractContextManager[None]:
            return nullcontext()

        def _trace(self, frame: FrameType, event: str, _: object) -> Any:
            if not self._armed or not self._owns(frame.f_code):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event in {"call", "opcode"}:
                self._step(frame, frame.f_lasti)
            return self._trace

    def _step(self, frame: FrameType, offset: int) -> None:
        """Take note that `frame` is about to run the instruction at `offset`."""
        done = self._done.pop(id(frame), None)
        if done and done.successor == offset and self._is_wanted():
            self.point = done.point
            self._interrupt()
            return
        poll = self._polls_of(frame.f_code).get(offset)
        if poll and poll.same_handler:
            self._done[id(frame)] = poll
        elif poll and self._is_wanted():
            self.point = poll.point
            _ = _SIGINT.now

    def _polls_of(self, code: CodeType) -> dict[int, _Poll]:
        if id(code) not in self._polls:
            self._polls[id(code)] = code, _find_polls(code)
        return self._polls[id(code)][1]


def _find_polls(code: CodeType) -> dict[int, _Poll]:
    """Map the offset of each instruction of `code` that polls."""

    def handler(offset: int) -> int | None:
        return next((entry.target for entry in table if entry.start <= offset < entry.end), None)

    table: list[Any] = vars(dis.Bytecode(code))["exception_entries"]
    polls: dict[int, _Poll] = {}
    instructions = list(dis.get_instructions(code))
    start = 0
    for this, following in pairwise(instructions):
        if this.opname == "EXTENDED_ARG":
            continue
        backward = "JUMP_BACKWARD" in this.opname and this.opname != "JUMP_BACKWARD_NO_INTERRUPT"
        # The low bits of its argument tell what RESUME follows; after `await` it does not poll.
        entry = this.opname == "RESUME" and (this.arg or 0) & 3 < 2
        if following.opname == "RETURN_VALUE" and code.co_qualname in HANDING_ON:
            pass
        elif backward or entry or this.opname in {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}:
            line = (this.positions and this.positions.lineno) or code.co_firstlineno
            successor = int(this.argval) if backward else following.offset
            # An exception of the poll is looked up at the code unit in front of the successor.
            same_handler = handler(successor - 2) == handler(successor)
            poll = _Poll(_point(code, line, "after", this.offset), successor, same_handler)
            # Tracers report an instruction at the first of its EXTENDED_ARG prefixes.
            polls[start] = polls[this.offset] = poll
        start = following.offset
    return polls


@cache
def _line_starts(code: CodeType) -> set[int]:
    return {offset for offset, _ in dis.findlinestarts(code)}


@cache
def _entry(code: CodeType) -> int:
    """Return the offset of the instruction with which `code` begins when it is called."""
    return next(each.offset for each in dis.get_instructions(code) if each.opname == "RESUME")


def _point(code: CodeType, line: int, when: Literal["before", "after"], offset: int) -> Point:
    opname = dis.opname[code.co_code[offset]]
    return Point(code.co_filename, line, code.co_qualname, when, opname, offset)
