"""The table of faults is true: each judge finds its fault where there is one, and nowhere else.

The toys are emitters that have some faults and lack others, each for one reason.
"""

# ruff: noqa: E402 - where the benchmarks are missing, the import of them must not be reached

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent
if not (_ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks do not lie beside the tests", allow_module_level=True)

from benchmarks import faults, rivals
from benchmarks.fault_cells import FAULTS, Fault, Handler, Library, Offer
from benchmarks.fault_libraries import KINDS, OURS, load, offers
from benchmarks.fault_notes import Note, note_of
from benchmarks.faults import Cell, Status, answer, fault_of, shape_of
from benchmarks.forcing import Elsewhere, by_thread, dawdle, explore, in_the_dark, known_locks

# Toys


class Loop:
    """A list of handlers, and no more care than that: it calls a copy of the list."""

    def __init__(self) -> None:
        self.handlers: list[Handler] = []

    def on(self, handler: Handler) -> Handler:
        self.handlers.append(handler)
        return handler

    def off(self, handler: Handler) -> bool:
        with suppress(ValueError):  # another thread was faster
            self.handlers.remove(handler)
        return True

    def once(self, handler: Handler) -> None:
        def handle(number: int) -> None:
            handler(number)
            self.off(handle)

        self.on(handle)

    def emit(self, number: int) -> None:
        for handler in list(self.handlers):
            handler(number)


class Live(Loop):
    """Calls the list itself, so that who leaves makes the next one move up, and be skipped."""

    def emit(self, number: int) -> None:
        for handler in self.handlers:
            handler(number)


class Replaced(Loop):
    """Replaces the list by another, but first looks at the old one."""

    def on(self, handler: Handler) -> Handler:
        handlers = list(self.handlers)
        handlers.append(handler)
        self.handlers = handlers
        return handler


class Latest(Loop):
    """Replays the latest event, with nothing to keep registration and emits apart."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: int | None = None

    def on(self, handler: Handler) -> Handler:
        if self.latest is not None:
            handler(self.latest)
        return super().on(handler)

    def emit(self, number: int) -> None:
        self.latest = number
        super().emit(number)


class Held(Loop):
    """Holds a lock in all it does, also while its handlers run; queues what they emit."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.queue: deque[int] = deque()
        self.latest: int | None = None

    def on(self, handler: Handler) -> Handler:
        with self.lock:
            return super().on(handler)

    def on_with_replay(self, handler: Handler) -> Handler:
        with self.lock:
            if self.latest is not None:
                handler(self.latest)
            return super().on(handler)

    def off(self, handler: Handler) -> bool:
        with self.lock:
            return super().off(handler)

    def once(self, handler: Handler) -> None:
        def handle(number: int) -> None:
            self.off(handle)
            handler(number)

        self.on(handle)

    def emit(self, number: int) -> None:
        with self.lock:
            self.queue.append(number)
            if len(self.queue) > 1:
                return
            while self.queue:
                self.latest = self.queue[0]
                for handler in list(self.handlers):
                    if handler in self.handlers:
                        handler(self.latest)
                self.queue.popleft()


class Bare(Held):
    """Holds a lock that its thread cannot take twice, but not while handlers run."""

    def __init__(self) -> None:
        super().__init__()
        self.bare = threading.Lock()

    def on(self, handler: Handler) -> Handler:
        with self.bare:
            return Loop.on(self, handler)

    def emit(self, number: int) -> None:
        Loop.emit(self, number)


class Collecting(Loop):
    """Calls every handler, and returns what they raised."""

    def emit(self, number: int) -> Any:
        errors: list[Exception] = []
        for handler in list(self.handlers):
            try:
                handler(number)
            except Exception as error:
                errors.append(error)
        return errors


class Silent(Collecting):
    """Calls every handler, and tells nobody what they raised."""

    def emit(self, number: int) -> None:
        super().emit(number)


class Waiting(Loop):
    """Waits for a handler that runs, however long that takes."""

    def __init__(self) -> None:
        super().__init__()
        self.running = threading.Lock()

    def emit(self, number: int) -> None:
        with self.running:
            super().emit(number)

    def off_and_wait(self, handler: Handler) -> bool:
        self.off(handler)
        with self.running:
            return True


def _toy(kind: type[Any], **changes: Any) -> Library:
    library = Library(
        name=kind.__name__,
        code=[Path(__file__)],
        make=kind,
        on=lambda toy, handler: toy.on(handler),
        off=lambda toy, token: toy.off(token),
        emit=lambda toy, number: toy.emit(number),
        once=lambda toy, handler: toy.once(handler),
        # As good as what it stands for: it waits for nobody.
        off_and_wait=lambda toy, token: toy.off(token),
    )
    return replace(library, **changes)


def _held_with_replay() -> Library:
    return _toy(Held, on=Held.on_with_replay)


def _waiting() -> Library:
    return _toy(Waiting, off_and_wait=Waiting.off_and_wait)


@pytest.fixture(autouse=True)
def _known_locks() -> Iterator[None]:
    with known_locks():
        yield


# The judges


@pytest.mark.parametrize(
    ("fault", "toy", "how"),
    [
        ("once-threads", Loop, "runs twice"),
        ("once-reentrant", Loop, "runs twice"),
        ("late", Loop, "an event is lost"),
        ("replay-race", Latest, "an event is lost"),
        ("order-threads", Loop, "two orders are seen"),
        ("order-reentrant", Loop, "2 comes before 1"),
        ("removed", Loop, "still called"),
        ("removed", Live, "the next one is skipped"),
        ("waiting", Loop, "the handler still runs"),
        ("raises", Loop, "the others do not run"),
        ("raises", Silent, "the caller does not learn of it"),
        ("signal", Replaced, "a listener is lost"),
        ("finalizer", Replaced, "a listener is lost"),
        ("registering", Replaced, "a listener is lost"),
    ],
)
def test_a_judge_finds_the_fault_of_a_toy(fault: str, toy: type[Loop], how: str) -> None:
    """Each of these toys has the fault."""
    assert how in fault_of(fault).judge(_toy(toy))


@pytest.mark.parametrize(
    ("fault", "toy"),
    [
        ("once-threads", _toy(Held)),
        ("once-reentrant", _toy(Held)),
        ("late", _held_with_replay()),
        ("order-threads", _toy(Held)),
        ("order-reentrant", _toy(Held)),
        ("crossing", _toy(Loop)),
        ("removed", _toy(Held)),
        ("raises", _toy(Collecting)),
        ("signal", replace(_toy(Loop), once=None)),
        ("finalizer", replace(_toy(Loop), once=None)),
        ("registering", _toy(Held)),
    ],
)
def test_a_judge_finds_nothing_in_a_toy_without_the_fault(fault: str, toy: Library) -> None:
    """Each of these toys lacks the fault, whatever others it has."""
    assert fault_of(fault).judge(toy) == []


_DEADLOCKS: dict[str, tuple[str, Callable[[], Library]]] = {
    "a lock held while handlers run": ("crossing", lambda: _toy(Held)),
    "a lock held during a replay": ("replay-race", _held_with_replay),
    "a lock taken twice": ("signal", lambda: _toy(Bare)),
    "two who wait for each other": ("waiting", _waiting),
}


@pytest.mark.parametrize("name", _DEADLOCKS)
def test_a_deadlock_is_told(name: str) -> None:
    """Where no thread can go on, the process of the cell says so, and ends."""
    program = f"import test_faults; test_faults.answer_for({name!r})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.stdout, done.returncode) == ('["deadlocks"]', 0), done.stderr


def answer_for(name: str) -> None:
    """Be the process of a cell."""
    fault, make = _DEADLOCKS[name]
    answer(fault_of(fault), make)


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_found_in_ours(fault: Fault, library: str) -> None:
    """Our own column is ok, or honestly not offered."""
    if fault.needs <= offers(KINDS[library]):
        assert fault.judge(load(library)) == []
    else:
        assert (library, Offer.REPLAY in fault.needs) == ("EventEmitter", True)


# Forcing


class _Nothing:
    def stopped(self) -> None:
        """Run none of the code that is to be stopped."""

    def meanwhile(self) -> None:
        raise AssertionError

    def fault(self) -> None:
        raise AssertionError


def test_code_that_nothing_stops_is_no_proof() -> None:
    """A judge cannot say ok because it has looked at the wrong files."""
    with pytest.raises(ValueError, match="nothing stops"):
        explore(_Nothing, [Path("/no/such/library")], by_thread)


class _Failing(_Nothing):
    def stopped(self) -> None:
        _toy(Loop).make().emit(1)

    def meanwhile(self) -> None:
        raise NotImplementedError


def test_what_goes_wrong_in_a_cell_is_no_fault_of_the_library() -> None:
    """An exception of the cell's own ends it."""
    with pytest.raises(NotImplementedError):
        explore(_Failing, [Path(__file__)], by_thread)


def test_a_call_elsewhere_is_followed_until_it_waits() -> None:
    """Who starts it goes on when it waits for a lock, a condition or an event."""
    elsewhere, lock, event = Elsewhere(), threading.Lock(), threading.Event()
    done: list[str] = []

    def wait_for_event() -> None:
        event.wait()

    def wait() -> None:
        with lock:
            done.append("lock")
        wait_for_event()
        done.append("event")

    with lock:
        elsewhere.run(wait)
        assert done == []
    elsewhere.run(wait_for_event)
    event.set()
    elsewhere.join()
    assert done == ["lock", "event"]
    assert not in_the_dark()


def test_a_handler_elsewhere_dawdles_until_it_is_waited_for() -> None:
    """One that takes long lets the stopped thread go on, and ends when that waits."""
    elsewhere, lock = Elsewhere(), threading.Lock()
    done: list[str] = []

    def handle() -> None:
        with lock:
            dawdle()
            done.append("handled")
            dawdle()  # of no effect, as the other goes on by now

    elsewhere.run(handle)
    assert done == []
    with lock:
        assert done == ["handled"]
    elsewhere.join()


# The table


def _cell(status: Status, library: str = "EventEmitter", how: str = "") -> Cell:
    return Cell("late", library, status, how)


def test_each_cell_is_forced_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered is run, what is not is only told."""
    monkeypatch.setattr(faults, "FAULTS", (fault_of("late"), fault_of("raises")))
    steps: list[None] = []
    cells = faults.run_cells(["EventEmitter"], lambda _: None, lambda: steps.append(None))
    assert [str(cell) for cell in cells] == ["not offered", "ok"]
    assert len(steps) == 2


def test_ctrl_c_ends_the_processes_of_all_cells() -> None:
    """It does not wait for what has begun."""

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        faults.run_cells(["EventEmitter"], interrupted)


def test_a_library_is_blamed_for_what_it_promises_only() -> None:
    """What its documentation does not offer is no failure, but is told."""
    blamed = faults.verdict("removed", "psygnal", '["still called"]', "")
    assert str(blamed) == "fails: still called"
    spared = faults.verdict("order-threads", "pyee", '["two orders are seen"]', "")
    assert (str(spared), bool(spared.note)) == ("not offered: two orders are seen", True)
    assert str(faults.verdict("crossing", "psygnal", '["deadlocks"]', "")) == "deadlocks"
    assert str(faults.verdict("signal", "pyee", '["deadlocks"]', "")) == "not offered: deadlocks"
    assert str(faults.verdict("signal", "pyee", "[]", "")) == "ok"


def test_a_cell_that_goes_wrong_itself_is_an_error() -> None:
    """It is never taken for a fault of the library."""
    cell = faults.verdict("late", "pyee", "", "Traceback: it went wrong")
    assert (cell.status, cell.how) == (Status.ERROR, "Traceback: it went wrong")


def test_the_run_fails_for_our_faults_and_for_errors_only() -> None:
    """What rivals do wrong is what the table is for."""
    ours, rival = "ReplayEventEmitter", "pyee"
    fine = [_cell(Status.OK, ours), _cell(Status.NOT_OFFERED, ours), _cell(Status.FAILS, rival)]
    assert faults.exit_code(fine) is None
    for wrong in (
        _cell(Status.FAILS, ours),
        _cell(Status.DEADLOCKS, ours),
        _cell(Status.ERROR, rival),
    ):
        assert faults.exit_code([*fine, wrong]) == 1


def test_every_cell_that_is_not_asked_says_why() -> None:
    """There is a note, with a link, for each call that a library does not have."""
    for fault in FAULTS:
        for library, kind in KINDS.items():
            if not fault.needs <= offers(kind):
                assert note_of(library, fault.name), (library, fault.name)


def test_our_own_faults_are_not_excused() -> None:
    """No note spares us anything but the replay that only one of the two classes has."""
    excused = [(each, fault.name) for each in OURS for fault in FAULTS if note_of(each, fault.name)]
    assert excused == [("EventEmitter", "late"), ("EventEmitter", "replay-race")]


def test_the_table_has_a_row_for_each_fault_and_a_column_for_each_library() -> None:
    """Its Markdown has the shape of the table, and each note its link."""
    note = Note("It is not.", "https://example.org")
    cells = [
        Cell(fault.name, library, Status.NOT_OFFERED, "deadlocks", note)
        for fault in FAULTS
        for library in KINDS
    ]
    markdown = faults.as_markdown(cells)
    assert shape_of(f"# A README\n\n| | none |\n\n{markdown}\nand more") == faults.shape()
    assert [*faults.shape()[1], "bare loop"] == list(rivals.RIVALS)
    assert "| not offered: deadlocks [^RxPY] |" in markdown
    assert markdown.count("\n[^RxPY]: ") == 1
    assert "\n[^pyee]: [It is not.](https://example.org)\n" in markdown
    assert json.loads(json.dumps(faults.Table(cells).as_json()))[0]["status"] == "not offered"


def test_the_readme_shows_the_table_as_it_is_now() -> None:
    """All rows, all libraries, and nothing but ok or an honest "not offered" in our columns."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert shape_of(readme) == faults.shape()
    rows = [line.split(" | ") for line in readme.splitlines() if line.startswith("| ")]
    heads = rows[next(at for at, row in enumerate(rows) if row[0] == "| fault")]
    titles = {f"| {fault.title}" for fault in FAULTS}
    for row in rows:
        if row[0] in titles:
            ours = [row[heads.index(name)].partition(" [")[0] for name in OURS]
            assert set(ours) <= {"ok", "not offered"}
