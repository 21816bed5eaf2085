"""The helper that interrupts a package everywhere, tried on a package small enough to count."""

import dis
import importlib.util
import signal
import sys
import threading
import traceback
from _thread import interrupt_main
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal

import pytest
from injection import Point, inject_everywhere

BOTH = pytest.mark.parametrize("points", ["lines", "polls"])

TOY = (
    """\
from operator import add
from threading import Lock

lock = Lock()


class Counter:
    n = 0

    def in_two_lines(self):
        n = self.n
        self.n = n + 1

    def in_one_line(self):
        self.n = add(self.n, 1)


counter = Counter()


def increments():
    counter.in_two_lines()


def straight(n):
    m = n
    m = m + 1
    return m


def calls(n):
    text = str(n)
    return straight(len(text))


def names(n):
    return str(object=n)


def spreads(*args, **kwargs):
    return dict(*args, **kwargs)


def loops(items):
    for _ in items:
        pass
    while items:
        items = items[1:]


def yields(items):
    yield 1
    yield from items


def guards(items):
    with lock:
        return items.pop()


def guards_a_loop(items):
    try:
        while True:
            items.pop()
    except IndexError:
        return True
    finally:
        items.append(0)


def keeps_the_error(table):
    with lock:
        return table.pop("absent")


def loops_far(items):
    for item in items:
"""
    + "        item = -item\n" * 200
)


@dataclass
class Interrupted:
    """A scenario of parts, which records its points and expects one interruption a run."""

    call: Callable[[], object]
    action: Callable[[], object] = lambda: None
    then: Callable[[], object] = lambda: None
    points: list[Point] = field(default_factory=list[Point])
    interruptions: int = 0

    def run(self) -> None:
        """Make the call."""
        self.interruptions = 0
        self.call()

    def interrupt(self) -> None:
        """Count the interruption, and make it."""
        self.interruptions += 1
        self.action()

    def check(self, point: Point) -> None:
        """Record the point."""
        assert self.interruptions == 1
        self.points.append(point)
        self.then()

    def walk(self, toy: ModuleType, points: Literal["lines", "polls"]) -> int:
        """Interrupt the call everywhere."""
        assert toy.__file__
        return inject_everywhere(lambda: self, package=Path(toy.__file__).parent, points=points)


@pytest.fixture
def toy(tmp_path: Path) -> ModuleType:
    """Return a package that lives in a directory of its own."""
    file = tmp_path / "toy" / "__init__.py"
    file.parent.mkdir()
    file.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line_of(statement: str) -> int:
    """Return the number of the one line of the toy package that contains `statement`."""
    (line,) = (n for n, text in enumerate(TOY.splitlines(), 1) if statement in text)
    return line


def raise_keyboard_interrupt() -> None:
    """Do as the interpreter does on Ctrl-C."""
    raise KeyboardInterrupt


def test_lines_are_the_entry_and_each_line(toy: ModuleType) -> None:
    """Straight-line code has a point on entry, and one for each line, in their order."""
    scenario = Interrupted(lambda: toy.straight(1))
    assert scenario.walk(toy, "lines") == 4
    start = line_of("def straight")
    assert [point.line for point in scenario.points] == [start, start + 1, start + 2, start + 3]


def test_polls_are_entries_and_calls(toy: ModuleType) -> None:
    """A function polls on entry and after each call, and so does the function that it calls."""
    scenario = Interrupted(lambda: toy.calls(1))
    assert scenario.walk(toy, "polls") == 5
    assert [(point.function, point.opname) for point in scenario.points] == [
        ("calls", "RESUME"),
        ("calls", "CALL"),
        ("calls", "CALL"),
        ("straight", "RESUME"),
        ("calls", "CALL"),
    ]


def test_polls_are_calls_of_every_kind(toy: ModuleType) -> None:
    """A call with keywords, with `*` or with `**` polls as any other does."""
    assert Interrupted(lambda: toy.names(1)).walk(toy, "polls") == 2
    assert Interrupted(lambda: toy.spreads([], a=1)).walk(toy, "polls") == 2


def test_polls_are_backward_jumps(toy: ModuleType) -> None:
    """A `for` loop polls after each round, a `while` loop after each round but the last."""
    scenario = Interrupted(lambda: toy.loops("abc"))
    assert scenario.walk(toy, "polls") == 1 + 3 + 2


def test_polls_are_backward_jumps_that_go_far(toy: ModuleType) -> None:
    """A jump too far for one byte, which has a prefix, polls once as any other does."""
    scenario = Interrupted(lambda: toy.loops_far([1, 2, 3]))
    assert scenario.walk(toy, "polls") == 1 + 3


def test_a_poll_after_a_call_comes_when_the_call_has_returned(toy: ModuleType) -> None:
    """What the called function did has been done, also if the function is one of the package."""
    seen: list[int] = []

    def call() -> None:
        toy.counter.n = 0
        toy.increments()

    Interrupted(call, lambda: seen.append(toy.counter.n)).walk(toy, "polls")
    assert seen == [0, 0, 1]


def test_polls_are_resumptions_of_generators(toy: ModuleType) -> None:
    """A generator polls when it starts and after a `yield`, though not inside a `yield from`."""
    scenario = Interrupted(lambda: list(toy.yields([2, 3])))
    assert scenario.walk(toy, "polls") == 2
    assert {point.opname for point in scenario.points} == {"RESUME"}


def test_every_place_where_a_signal_is_handled_is_a_poll(toy: ModuleType) -> None:
    """Signals that arrive at any time are handled at points that the walk has found."""

    def call() -> None:
        toy.calls(1)
        toy.names(1)
        toy.spreads([], a=1)
        toy.loops("abc")
        list(toy.yields([2, 3]))
        toy.guards([1])
        toy.guards_a_loop([1, 2])

    scenario = Interrupted(call)
    scenario.walk(toy, "polls")
    found = {(point.line, point.opname) for point in scenario.points}
    handled: list[tuple[int, str]] = []
    enough = threading.Event()

    def handle(_: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_filename == toy.__file__:
            opname = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            # Where 3.11 makes a call and its preparation in one go, it names the preparation.
            handled.append((frame.f_lineno, opname.removeprefix("PRE")))

    def pester() -> None:
        while not enough.is_set():
            interrupt_main()

    interval = sys.getswitchinterval()
    earlier = signal.signal(signal.SIGINT, handle)
    thread = threading.Thread(target=pester)
    try:
        sys.setswitchinterval(1e-6)
        thread.start()
        while len(handled) < 100:
            call()
    finally:
        enough.set()
        thread.join()
        signal.signal(signal.SIGINT, earlier)
        sys.setswitchinterval(interval)
    assert set(handled) <= found
    assert len(set(handled)) > 1


def test_lines_catch_a_read_and_a_write_on_two_lines(toy: ModuleType) -> None:
    """An increment is lost if it comes between the lines that read and write the counter."""

    def call() -> None:
        toy.counter.n = 0
        toy.counter.in_two_lines()

    def then() -> None:
        assert toy.counter.n == 2

    with pytest.raises(AssertionError) as caught:
        Interrupted(call, toy.counter.in_two_lines, then).walk(toy, "lines")
    (note,) = caught.value.__notes__
    assert f":{line_of('self.n = n + 1')} in Counter.in_two_lines, before" in note


def test_only_polls_catch_a_read_and_a_write_on_one_line(toy: ModuleType) -> None:
    """An increment is lost if it comes after a call in the middle of the line that increments."""

    def call() -> None:
        toy.counter.n = 0
        toy.counter.in_one_line()

    def then() -> None:
        assert toy.counter.n == 2

    scenario = Interrupted(call, toy.counter.in_one_line, then)
    assert scenario.walk(toy, "lines") == 2
    with pytest.raises(AssertionError) as caught:
        scenario.walk(toy, "polls")
    (note,) = caught.value.__notes__
    assert f":{line_of('add(self.n, 1)')} in Counter.in_one_line, after CALL" in note


def test_an_exception_is_raised_at_each_line_once(toy: ModuleType) -> None:
    """`KeyboardInterrupt` at every point comes out of each line that runs, exactly once."""
    lines: list[int | None] = []

    def call() -> None:
        try:
            toy.straight(1)
        except KeyboardInterrupt as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines.append([frame.lineno for frame in frames if frame.filename == toy.__file__][-1])

    Interrupted(call, raise_keyboard_interrupt).walk(toy, "lines")
    start = line_of("def straight")
    assert lines == [start, start + 1, start + 2, start + 3]


def test_an_exception_at_a_poll_is_handled_as_one_of_a_signal(toy: ModuleType) -> None:
    """`KeyboardInterrupt` right after the call in `with lock: return call()` frees the lock."""
    items: list[int] = []
    interrupted: list[list[int]] = []

    def call() -> None:
        items[:] = [1]
        try:
            toy.guards(items)
        except KeyboardInterrupt:
            interrupted.append(items[:])

    def then() -> None:
        assert not toy.lock.locked()

    assert Interrupted(call, raise_keyboard_interrupt, then).walk(toy, "polls") == 3
    assert interrupted == [[1], [], []]


def test_a_poll_that_never_comes_interrupts_nothing(toy: ModuleType) -> None:
    """Where the call raised instead, the interruption is left out, not made outside the package."""

    def call() -> None:
        with pytest.raises(KeyError):
            toy.keeps_the_error({})

    scenario = Interrupted(call)
    assert scenario.walk(toy, "polls") == 2
    assert [point.opname for point in scenario.points] == ["RESUME"]


@BOTH
def test_an_interruption_is_not_interrupted(
    toy: ModuleType, points: Literal["lines", "polls"]
) -> None:
    """Code of the package that the interruption runs has no points."""
    alone = Interrupted(lambda: toy.straight(1)).walk(toy, points)
    scenario = Interrupted(lambda: toy.straight(1), lambda: toy.calls(1))
    assert scenario.walk(toy, points) == alone


@BOTH
def test_another_thread_is_not_interrupted(
    toy: ModuleType, points: Literal["lines", "polls"]
) -> None:
    """Code of the package that another thread runs meanwhile has no points."""

    def call() -> None:
        thread = threading.Thread(target=toy.calls, args=(1,))
        thread.start()
        thread.join()
        toy.straight(1)

    scenario = Interrupted(call)
    scenario.walk(toy, points)
    assert {point.function for point in scenario.points} == {"straight"}


@BOTH
def test_everything_borrowed_is_given_back(
    toy: ModuleType, points: Literal["lines", "polls"]
) -> None:
    """A walk, failed or not, leaves trace function, signal handler and monitoring tools alone."""

    def borrowed() -> list[Any]:
        monitoring: Any = getattr(sys, "monitoring", None)
        tools = [monitoring.get_tool(tool) for tool in range(6)] if monitoring else []
        return [sys.gettrace(), signal.getsignal(signal.SIGINT), tools]

    def trace(*_: object) -> None:
        return None

    def fail() -> None:
        pytest.fail("as it should")

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        before = borrowed()
        Interrupted(lambda: toy.straight(1)).walk(toy, points)
        after = borrowed()
        with pytest.raises(pytest.fail.Exception):
            Interrupted(lambda: toy.straight(1), then=fail).walk(toy, points)
        after_failure = borrowed()
    finally:
        sys.settrace(outer)
    assert before == after == after_failure
    assert before[0] is trace


@BOTH
def test_a_walk_without_a_point_is_an_error(
    toy: ModuleType, points: Literal["lines", "polls"]
) -> None:
    """A scenario that never enters the package tests nothing, and is told so."""
    with pytest.raises(ValueError, match="runs no code below"):
        Interrupted(lambda: None).walk(toy, points)
