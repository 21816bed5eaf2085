"""Show what no figure of speed shows: what goes wrong in each library, and when.

A row is a fault, a column a library. A cell is forced, never hoped for (`forcing`, `fault_cells`),
and runs in a process of its own, as some deadlock. It says

- `ok`: nothing goes wrong, wherever the library is stopped,
- `fails`, and how,
- `deadlocks`: no thread can go on,
- `not offered`: the library has no such call or makes no such promise, with a link to its own words
  (`fault_notes`), and with what happens all the same.

How this can mislead: a library is only stopped where CPython, with its GIL, may switch threads, and
at one point a run. Without the GIL, more may go wrong than is shown. A fault that needs a
particular schedule is as bad as it is rare: most programs never meet it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NoReturn

from benchmarks import Pause, progress, rivals
from benchmarks.fault_cells import FAULTS, Fault, Library
from benchmarks.fault_libraries import KINDS, OURS, load, offers
from benchmarks.fault_notes import SETTINGS, Note, note_of
from benchmarks.forcing import in_the_dark, known_locks

_AT_A_TIME: Final = 2
# When a process that neither ends nor deadlocks is given up, in seconds.
_PATIENCE: Final = 300.0
# Threads that do nothing at all for that many looks in a row, so far apart, are deadlocked.
_LOOKS: Final = 30
_LOOK_EVERY: Final = 0.05
# The least that a look costs a thread that can go on, in seconds of a processor.
_LIVES: Final = 0.0005


class Status(StrEnum):
    """What a cell says."""

    OK = "ok"
    FAILS = "fails"
    DEADLOCKS = "deadlocks"
    NOT_OFFERED = "not offered"
    ERROR = "error"
    """The cell itself went wrong: nothing is known."""


@dataclass(frozen=True)
class Cell:
    """One library, one fault, and what came of it."""

    fault: str
    library: str
    status: Status
    how: str = ""
    note: Note | None = None

    def __str__(self) -> str:
        """Return the words in the table."""
        return f"{self.status}: {self.how}" if self.how else str(self.status)


def fault_of(name: str) -> Fault:
    """Return the row of this name."""
    return next(fault for fault in FAULTS if fault.name == name)


# In the process of a cell


def watch_for_deadlock(report: Callable[[], object]) -> None:
    """Call `report`, on a thread of its own, once no other thread of this process does anything."""
    threading.Thread(target=_watch, args=(report,), daemon=True).start()


def _watch(report: Callable[[], object]) -> None:
    idle, before = 0, -1.0
    while idle < _LOOKS:
        time.sleep(_LOOK_EVERY)
        # Where a busy machine gives this process no time, neither does this thread come to look.
        others = time.process_time() - time.thread_time()
        idle = idle + 1 if others - before < _LIVES else 0
        before = others
    report()


def answer(fault: Fault, make: Callable[[], Library]) -> NoReturn:
    """Print what goes wrong with a library as JSON; end the process, whatever its threads do."""
    with known_locks():
        library = make()
        watch_for_deadlock(_answer_deadlock)
        _answer(fault.judge(library))


def _answer_deadlock() -> None:
    if in_the_dark():
        _last_words(2, b"a thread waits for something unknown", code=1)
    _answer([Status.DEADLOCKS])


def _answer(faults: Sequence[str]) -> NoReturn:
    _last_words(1, json.dumps(faults).encode(), code=0)


def _last_words(file: int, words: bytes, code: int) -> NoReturn:
    _ending.acquire()  # and never release it: one of the threads ends the process
    os.write(file, words)
    os._exit(code)


_ending = threading.Lock()


# Around it


class _Cells:
    """The processes of cells, which can be ended all at once."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._over = False

    def run(self, fault: Fault, library: str) -> Cell:
        """Force a fault on a library in a process of its own."""
        command = [sys.executable, "-m", __name__, fault.name, library]
        root = Path(__file__).parent.parent
        pipe = subprocess.PIPE
        with subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=root, stdout=pipe, stderr=pipe, text=True
        ) as process:
            self._running.add(process)
            try:
                if self._over:
                    process.kill()
                output, errors = process.communicate(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                output, errors = "", "it does not end"
            finally:
                self._running.discard(process)
        return verdict(fault.name, library, output, errors)

    def end(self) -> None:
        """End them all."""
        self._over = True
        for process in list(self._running):
            process.kill()


def verdict(fault: str, library: str, output: str, errors: str) -> Cell:
    """Judge what the process of a cell has printed."""
    try:
        faults: list[str] = json.loads(output.rpartition("\n")[2])
    except ValueError:
        return Cell(fault, library, Status.ERROR, (errors or output).strip())
    if not faults:
        return Cell(fault, library, Status.OK)
    # A library that hangs in the end may have failed before, and is not asked any further.
    note = note_of(library, fault)
    if note:
        return Cell(fault, library, Status.NOT_OFFERED, faults[0], note)
    if faults[0] == Status.DEADLOCKS:
        return Cell(fault, library, Status.DEADLOCKS)
    return Cell(fault, library, Status.FAILS, faults[0])


def run_cells(
    libraries: Sequence[str], pause: Pause, advance: Callable[[], object] = lambda: None
) -> list[Cell]:
    """Force every fault on each of these libraries; return the cells, row by row."""
    cells: dict[tuple[str, str], Cell] = {}
    to_run: list[tuple[Fault, str]] = []
    for fault in FAULTS:
        for library in libraries:
            if fault.needs <= offers(KINDS[library]):
                to_run.append((fault, library))
            else:
                note = note_of(library, fault.name)
                cells[fault.name, library] = Cell(
                    fault.name, library, Status.NOT_OFFERED, note=note
                )
                advance()
    processes = _Cells()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            running = {pool.submit(processes.run, *each) for each in to_run}
            for cell in _as_completed(running, pause):
                cells[cell.fault, cell.library] = cell
                advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()
            raise
    return [cells[fault.name, library] for fault in FAULTS for library in libraries]


def _as_completed(futures: set[Future[Cell]], pause: Pause) -> Iterable[Cell]:
    while futures:
        done, futures = wait(futures, timeout=0.1, return_when=FIRST_COMPLETED)
        pause(0)
        yield from (future.result() for future in done)


# The table


@dataclass(frozen=True)
class Table:
    """All cells, row by row."""

    cells: Sequence[Cell]

    def as_json(self) -> list[dict[str, Any]]:
        """Return the cells as JSON can say them."""
        return [asdict(cell) for cell in self.cells]


def shape() -> tuple[list[str], list[str]]:
    """Return the rows and the columns that a whole table has."""
    return [fault.title for fault in FAULTS], list(KINDS)


def as_markdown(cells: Sequence[Cell]) -> str:
    """Return the table, with a footnote for each library that does not offer everything."""
    libraries = list(dict.fromkeys(cell.library for cell in cells))
    by_place = {(cell.fault, cell.library): cell for cell in cells}
    lines = [
        _row(_HEAD, libraries),
        _row("---", ["---"] * len(libraries)),
        *(
            _row(fault.title, [_words(by_place[fault.name, each]) for each in libraries])
            for fault in FAULTS
        ),
        "",
        *(f"[^{label}]: {text}" for label, text in _footnotes(cells).items()),
    ]
    return "\n".join(lines) + "\n"


def _footnotes(cells: Sequence[Cell]) -> dict[str, str]:
    """Return what is linked to about each library, by the label of its footnote."""
    # Dictionaries, as sets would not keep the order.
    notes: dict[str, dict[Note, None]] = {}
    for cell in cells:
        if cell.note:
            of_library = notes.setdefault(_label(cell.library), {})
            settings = SETTINGS.get(cell.library)
            of_library |= dict.fromkeys(note for note in (settings, cell.note) if note)
    return {label: _links(of_library) for label, of_library in notes.items()}


def _links(notes: Iterable[Note]) -> str:
    by_url: dict[str, list[str]] = {}
    for note in notes:
        by_url.setdefault(note.url, []).append(note.words)
    return " ".join(f"[{' '.join(words)}]({url})" for url, words in by_url.items())


def shape_of(markdown: str) -> tuple[list[str], list[str]]:
    """Return the rows and the columns of the table in this text, which may be a README."""
    lines = markdown.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {_HEAD} |"))
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in takewhile(lambda line: line.startswith("|"), lines[start:])
    ]
    return [row[0] for row in table[2:]], table[0][1:]


_HEAD: Final = "fault"


def _row(head: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join((head, *cells))} |"


def _words(cell: Cell) -> str:
    fine = cell.status in {Status.OK, Status.NOT_OFFERED}
    status = str(cell.status) if fine else f"**{cell.status}**"
    words = f"{status}: {cell.how}" if cell.how and cell.status is not Status.ERROR else status
    return f"{words} [^{_label(cell.library)}]" if cell.note else words


def _label(library: str) -> str:
    """Return the label of the footnote, which the classes of one library share."""
    return library.partition(" ")[0]


def _print(cells: Sequence[Cell]) -> None:
    titles: Mapping[str, str] = {fault.name: fault.title for fault in FAULTS}
    width = max((len(cell.library) for cell in cells), default=0)
    for name, title in titles.items():
        print(f"\n{title}")
        for cell in cells:
            if cell.fault == name:
                print(f"  {cell.library:{width}}  {cell}")


# The command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `faults` can be told."""
    group = parser.add_argument_group("faults", "what goes wrong in each library")
    group.add_argument(
        "--faults-markdown",
        type=Path,
        metavar="FILE",
        help="write the table as Markdown, as the README shows it",
    )


def run(options: argparse.Namespace, pause: Pause) -> int | None:
    """Force every fault on every library that is installed, and print what came of it.

    Returns:
        1 if something went wrong in our own column, or a cell went wrong itself.
    """
    asked: Sequence[str] = options.libraries
    libraries = [name for name in KINDS if name in asked and rivals.installed(KINDS[name])]
    print("faults: each forced at every point where a thread may be stopped")
    with progress("faults", len(FAULTS) * len(libraries), "cells") as advance:
        cells = run_cells(libraries, pause, advance)
    options.results["faults"] = Table(cells)
    _print(cells)
    print(f"\n{_LEGEND}")
    markdown: Path | None = options.faults_markdown
    if markdown:
        markdown.write_text(as_markdown(cells), encoding="utf-8")
    return exit_code(cells)


def exit_code(cells: Iterable[Cell]) -> int | None:
    """Return 1 if our own column says anything but ok or not offered, or a cell is an error."""
    fine = {Status.OK, Status.NOT_OFFERED}
    wrong = [
        cell
        for cell in cells
        if cell.status is Status.ERROR or (cell.library in OURS and cell.status not in fine)
    ]
    return 1 if wrong else None


_LEGEND: Final = """\
not offered: the library has no such call or makes no such promise; behind the colon, what happens
             all the same. Not installed libraries have no column."""


if __name__ == "__main__":
    answer(fault_of(sys.argv[1]), partial(load, sys.argv[2]))
