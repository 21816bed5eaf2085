"""The comparison with other libraries measures what it says, and says what it could not measure."""

# ruff: noqa: E402 - where the benchmarks are missing, the import of them must not be reached

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from support import interrupt_when

_ROOT = Path(__file__).parent.parent
if not (_ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks do not lie beside the tests", allow_module_level=True)

from benchmarks import Pause, compare, emit, figures, interrupts, listen, loops, threads
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.compare import Effort, Question
from benchmarks.figures import Case, Cell, Figure, Results, label, tables
from benchmarks.handshake import (
    Connected,
    Disconnected,
    Peer,
    RivalPending,
    answering_peer,
    open_connections,
    refusing_peer,
)
from benchmarks.plot import draw
from benchmarks.rivals import (
    RIVALS,
    AdapterError,
    BareLoop,
    Emit,
    NotOfferedError,
    Ours,
    OursReplaying,
    Rival,
    load,
)
from benchmarks.timing import NoFigureError, Repeated
from benchmarks.worker import Desk

TIME = Figure("time", "ns")
RATE = Figure("rate", "1/s", more_is_better=True)
THREAD_SAFE = ("pyee", "psygnal", "RxPY Subject", "RxPY BehaviorSubject", "RxPY ReplaySubject")
MODULES: dict[str, Any] = {
    "emit": emit,
    "listen": listen,
    "threads": threads,
    "asyncio": loops,
}


@pytest.fixture
def pause() -> Iterator[Pause]:
    """Return what the command calls to hear Ctrl-C."""
    with interrupts() as pause:
        yield pause


# Figures


def _results(case: Case, **samples: Sequence[float]) -> Results:
    names = {"ours": Ours.name, "replaying": OursReplaying.name, "rx": "RxPY BehaviorSubject"}
    libraries = [names.get(name, name) for name in samples]
    results = Results([case], libraries)
    for name, found in samples.items():
        for sample in found:
            results.add(case, names.get(name, name), [sample] * len(case.figures))
    return results


def test_median_and_spread_are_those_of_the_rounds() -> None:
    """One outlier moves neither much."""
    cell = Cell((4.0, 1.0, 3.0, 2.0, 1000.0))
    assert (cell.median, cell.quartiles) == (3.0, (2.0, 4.0))
    assert cell.spread == pytest.approx(1 / 3)
    assert Cell((7.0,)).quartiles == (7.0, 7.0)
    assert Cell((0.0, 0.0)).spread == 0.0


def test_ratio_says_how_many_times_as_good_ours_is() -> None:
    """A smaller time and a greater rate are better; it is one of medians."""
    case = Case("case", (TIME, RATE))
    results = _results(case, ours=[10, 20, 90], pyee=[30, 50, 40], blinker=[10])
    assert results.ratio(case, "pyee", TIME) == 2.0
    assert results.ratio(case, "pyee", RATE) == 0.5
    assert results.ratio(case, "blinker", TIME) == 0.5
    assert results.ratio(case, Ours.name, TIME) == 1.0


def test_replaying_library_is_compared_with_the_replaying_emitter() -> None:
    """It does the same work."""
    case = Case("case", (TIME,))
    results = _results(case, ours=[1], replaying=[10], rx=[20])
    assert results.ratio(case, "RxPY BehaviorSubject", TIME) == 2.0
    assert results.ratio(case, OursReplaying.name, TIME) == 1.0


def test_there_is_no_ratio_without_two_numbers() -> None:
    """Nor where a figure is not one of speed."""
    case = Case("case", (TIME, Figure("share", "%", has_ratio=False)))
    assert _results(case, pyee=[1]).ratio(case, "pyee", TIME) is None
    results = _results(case, ours=[1], pyee=[1])
    assert results.ratio(case, "pyee", case.figures[1]) is None
    results.leave_out(case, "pyee", "not offered")
    assert results.ratio(case, "pyee", TIME) is None


def test_table_has_a_line_for_each_library() -> None:
    """With why there is no number, where there is none."""
    few, many = Case("x: 1", (TIME,), "x"), Case("x: 1,000", (TIME,), "x")
    results = Results([few, many], [Ours.name, "pyee", "bubus", "blinker"])
    for case in (few, many):
        results.add(case, Ours.name, [2.0])
        results.add(case, "pyee", [1234.5])
        results.leave_out(case, "bubus", "not offered")
    results.leave_out(few, "blinker", "failed: by a long story")
    assert [line.split() for line in "\n".join(tables(results)).splitlines()] == [
        ["x,", "time,", "ns"],
        ["1", "1,000"],
        ["EventEmitter", *["2.00", "±", "0%", "1.00x"] * 2],
        ["pyee", *["1,234", "±", "0%", "617x"] * 2],
        ["bubus", *["not", "offered"] * 2],
        ["blinker", "failed", "not", "measured"],
    ]
    assert results.failures() == ["blinker, x: 1: failed: by a long story"]


def test_json_has_an_object_for_each_cell() -> None:
    """A cell without a number says why."""
    case = Case("case", (TIME,))
    results = _results(case, ours=[1, 2, 3], pyee=[4])
    results.leave_out(case, "pyee", "not installed")
    ours, pyee = json.loads(json.dumps(results.as_json()))
    assert ours == {
        "case": "case",
        "figure": "time",
        "unit": "ns",
        "library": "EventEmitter",
        "median": 2,
        "quartiles": [1.5, 2.5],
        "ratio": 1.0,
        "compared_with": "EventEmitter",
        "samples": [1, 2, 3],
    }
    assert (pyee["library"], pyee["why_not"]) == ("pyee", "not installed")
    assert "median" not in pyee


@pytest.mark.parametrize("keys", [("1", "1,000"), ("a word", "another")])
def test_same_numbers_give_the_same_drawing(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """So it can be checked in; every library with numbers is in it."""
    cases = [Case(f"group: {key}", (TIME,), "group") for key in keys]
    results = Results(cases, list(RIVALS))
    for case in cases:
        for number, library in enumerate(RIVALS, 1):
            results.add(case, library, [number])
            results.add(case, library, [number + 1])
        results.leave_out(case, "bubus", "not offered")
    for name in ("once", "again"):
        draw(results, tmp_path / f"{name}.svg")
    once = (tmp_path / "once.svg").read_text(encoding="utf-8")
    assert once == (tmp_path / "again.svg").read_text(encoding="utf-8")
    for library in RIVALS:
        assert (library in once) == (library != "bubus")


# Questions


@pytest.mark.parametrize("library", RIVALS)
@pytest.mark.parametrize("name", MODULES)
def test_every_case_of_a_question_can_be_asked(library: str, name: str) -> None:
    """The answer is a number for each figure, or that there is a reason for none."""
    question: Question = BENCHMARKS[name]  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    assert MODULES[name].QUESTION is question
    with closing(load(library)) as rival:
        for case in question.cases:
            if library == "bubus" and case.key in {"100", "1,000"}:
                continue  # an emit takes seconds
            try:
                sample = MODULES[name].prepare(rival, case.key, 0.00002)()
            except (NotOfferedError, NoFigureError):
                assert (library, name) not in {(Ours.name, "emit"), (Ours.name, "threads")}
                continue
            assert len(sample) == len(case.figures)
            assert all(number >= 0 for number in sample)


class _Deaf(BareLoop):
    """Loses all events once it has been checked."""

    def emitter_of(self, emitter: Any) -> Emit:
        return super().emitter_of(emitter[:0])


@pytest.mark.parametrize(
    ("module", "case"), [(emit, "1"), (threads, "on one emitter: 2"), (listen, "a listener")]
)
def test_measurement_notices_that_no_handler_ran(module: Any, case: str) -> None:
    """A library that does nothing is not the fastest. Memory is measured without any event."""
    rival: Rival = _Deaf()
    if module is listen:
        assert module.prepare(rival, case, 0.001)()[0] >= 0
    else:
        with pytest.raises(AdapterError, match="bare loop"):
            module.prepare(rival, case, 0.001)()


def test_a_thread_that_starts_when_the_time_is_over_emits_all_the_same() -> None:
    """Where nothing was emitted, nothing could be missed."""
    over = Event()
    over.set()
    heard: list[object] = []
    emitted = [0]
    threads.keep_emitting(heard.append, _Deaf().event(0), emitted, Barrier(1), over)
    assert len(heard) == emitted[0] > 0


def test_repetitions_fill_the_time_of_a_sample() -> None:
    """As often as fits; what is too slow for that is not done again."""
    counts: list[int] = []

    def timed(count: int) -> float:
        counts.append(count)
        return count * 0.001

    repeated = Repeated(timed, 0.1)
    assert repeated.seconds_each() == pytest.approx(0.001)
    assert counts == [1, 2, 4, 8, 16, 32, 100]
    counts.clear()
    slow = Repeated(timed, 0.0001)
    assert slow.seconds_each() == pytest.approx(0.001)
    assert counts == [1]
    assert slow.seconds_each() == pytest.approx(0.001)
    assert counts == [1, 1]


# Processes

_ASKED = """
import os
from benchmarks.rivals import NotOfferedError
from benchmarks.timing import NoFigureError

def prepare(rival, case, seconds):
    print("this is no answer")
    if case == "unknown":
        raise NotOfferedError
    if case == "endless":
        raise NoFigureError("too slow")
    if case == "fatal":
        os._exit(3)
    if case == "wrong":
        raise ValueError("for a reason")
    return lambda: [seconds, os.getpid()]
"""


def _question(*keys: str) -> Question:
    cases = tuple(Case(key, (TIME, Figure("process", "id"))) for key in keys)
    effort = Effort(rounds=2, seconds=0.25, most_seconds=10)
    return Question("asked", "asked", "title", "legend", cases, effort, effort)


def test_each_library_is_measured_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: Pause
) -> None:
    """All rounds in the same one; one that dies says so and is started anew."""
    (tmp_path / "asked.py").write_text(_ASKED, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    question = _question("unknown", "endless", "fatal", "wrong", "fine")
    results = question.measure([Ours.name, "bare loop"], question.quick, pause)
    found = {
        case.key: [results.cell(case, library, TIME) for library in results.libraries]
        for case in question.cases
    }
    assert [cell.why_not for cell in found["unknown"]] == [figures.NOT_OFFERED] * 2
    assert [cell.why_not for cell in found["endless"]] == ["too slow"] * 2
    assert [cell.why_not for cell in found["fatal"]] == ["failed: its process ended with 3"] * 2
    assert [cell.why_not for cell in found["wrong"]] == ["failed: ValueError: for a reason"] * 2
    assert [cell.samples for cell in found["fine"]] == [(0.25, 0.25)] * 2
    fine = question.cases[-1]
    processes = [results.cell(fine, each, fine.figures[1]).samples for each in results.libraries]
    assert all(len(set(process)) == 1 for process in processes)
    assert len({process for samples in processes for process in samples}) == 2


def test_process_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: Pause
) -> None:
    """Whatever it hangs in."""
    (tmp_path / "asked.py").write_text(
        "import threading\ndef prepare(*_):\n    threading.Event().wait()\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(compare, "_PATIENCE", 1.0)
    question = _question("hangs")
    results = question.measure(["bare loop"], question.quick, pause)
    [failure] = results.failures()
    assert failure == "bare loop, hangs: failed: no answer within 1 s"


def test_library_that_is_not_installed_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: Pause
) -> None:
    """Never silently left out."""
    (tmp_path / "asked.py").write_text(_ASKED, encoding="utf-8")
    (tmp_path / "pyee.py").write_text("raise ModuleNotFoundError('pyee')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    question = _question("fine")
    results = question.measure(["pyee"], question.quick, pause)
    assert results.cell(question.cases[0], "pyee", TIME).why_not == "not installed"
    assert results.failures() == []


def test_preparations_are_kept_for_the_rounds_of_a_case() -> None:
    """And not for longer."""
    prepared: list[str] = []

    class Asked:
        def prepare(self, _rival: Rival, case: str, _seconds: float) -> Any:
            prepared.append(case)
            return lambda: [1.0]

    desk = Desk(Asked(), BareLoop())
    for case in ("a", "a", "b", "a"):
        assert desk.answer({"case": case, "seconds": 1.0}) == {"sample": [1.0]}
    assert prepared == ["a", "b", "a"]


# The handshake


@pytest.mark.parametrize("library", THREAD_SAFE)
@pytest.mark.parametrize("peer", [answering_peer, refusing_peer])
def test_handshake_hangs_with_every_library_that_does_not_replay(library: str, peer: Peer) -> None:
    """And with no other, where the caller is preempted until the event has been emitted."""
    rival = load(library)
    make_pending = partial(RivalPending, rival)
    outcomes = open_connections(make_pending, peer, 3, lambda finished: wait([finished]))
    event_type = Connected if peer is answering_peer else Disconnected
    wanted = [event_type] if rival.replays else []
    assert [[type(event) for event in outcome.events] for outcome in outcomes] == [wanted] * 3


# The command


def test_command_prints_and_keeps_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table on the screen, all figures in a file, and a drawing."""
    file, plots = tmp_path / "figures.json", tmp_path / "plots"
    libraries = ["EventEmitter", "bare loop"]
    chosen = [argument for name in libraries for argument in ("--library", name)]
    options = ["--quick", *chosen, "--json", str(file), "--plot", str(plots)]
    assert main(["emit", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("compared: ")]
    assert [line.split("  ")[0] for line in lines if line.startswith(tuple(libraries))] == libraries
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found.keys() == {"quick", "python", "machine", "cpus", "versions", "results"}
    assert found["versions"].keys() == {
        kind.distribution for name, kind in RIVALS.items() if name != BareLoop.name
    }
    cells = found["results"]["emit"]
    assert [(cell["case"], cell["library"]) for cell in cells] == [
        (case.key, library) for case in emit.QUESTION.cases for library in libraries
    ]
    assert all(cell["median"] > 0 for cell in cells)
    assert [path.name for path in plots.iterdir()] == ["emit.svg"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--library", "nobody's"], 'invalid choice: "nobody\'s"'),
        (["--json", "no/such/directory/file"], "the directory of 'no/such/directory/file'"),
    ],
)
def test_command_refuses_what_would_fail_later(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs."""
    with pytest.raises(SystemExit):
        main(arguments)
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


def test_interrupted_comparison_ends_at_once() -> None:
    """Ctrl-C reaches the processes, too; no traceback comes of it."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "benchmarks", "emit"]
    code, _, errors = interrupt_when([*command, "--library", "bare loop"], "compared", _ROOT)
    assert (code, errors) == (130, "Interrupted. The lines above are complete.\n")


def test_the_drawing_in_the_readme_shows_all_there_is() -> None:
    """The file has all numbers of listeners, and all libraries."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    (path,) = re.findall(r"\]\((benchmarks/results/emit\.svg)\)", readme)
    texts = re.findall(r">([^<>]+)</text>", (_ROOT / path).read_text(encoding="utf-8"))
    assert {label(case) for case in emit.QUESTION.cases} <= {*texts}
    assert {*RIVALS} <= {*texts}
