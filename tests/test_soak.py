"""The soak ends well with the package's emitters, and reports each fault of broken ones."""

# ruff: noqa: E402 - where the benchmarks are missing, the import of them must not be reached

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import interrupt_when

from eventemitter import EventEmitter, ReplayEventEmitter, Subscription

_ROOT = Path(__file__).parent.parent
if not (_ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks do not lie beside the tests", allow_module_level=True)

from benchmarks import Pause, soak
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.soak import (
    FAULT_KINDS,
    FaultKind,
    Faults,
    Never,
    Numbered,
    Order,
    Plan,
    StreamWitness,
    Tick,
    Tock,
    Total,
    Witness,
)

pytestmark = pytest.mark.deep

_MINUTES = 0.015
_COMMAND = [sys.executable, "-m", "benchmarks", "soak"]


# Broken emitters

_STRUCK = Total()
"""How often one of those below has broken its promise."""
_TICKS = Total()


def _strikes(event: object) -> bool:
    """Choose the events that are mistreated, of those that are sure to have a witness."""
    if not isinstance(event, Tick) or threading.current_thread().name == "soak stir":
        return False
    _TICKS.add()
    if _TICKS.value % 5:
        return False
    _STRUCK.add()
    return True


class Drops(EventEmitter[Any]):
    """Loses some events."""

    def emit(self, event: Any) -> None:
        if not _strikes(event):
            super().emit(event)


class Delays(EventEmitter[Any]):
    """Returns from some emits too early: here, for ever."""

    def emit(self, event: Any) -> None:
        if threading.current_thread().name == "soak emit 1":
            _STRUCK.add()
        else:
            super().emit(event)


class Repeats(EventEmitter[Any]):
    """Delivers some events twice."""

    def emit(self, event: Any) -> None:
        super().emit(event)
        if _strikes(event):
            super().emit(event)


class Swaps(EventEmitter[Any]):
    """Delivers some events after the next one of the same sender."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._held: dict[int, Tick] = {}

    def emit(self, event: Any) -> None:
        held = self._held.pop(event.sender, None) if isinstance(event, Tick) else None
        if held is None and _strikes(event):
            self._held[event.sender] = event
            return
        super().emit(event)
        if held is not None:
            super().emit(held)


class Shuffles(EventEmitter[Any]):
    """Tells one listener some events after the next one of another sender."""

    def on(self, event_type: Any, handler: Any = None, *, loop: Any = None) -> Any:
        if handler is None:
            return super().on(event_type, loop=loop)
        if isinstance(handler, Witness) and handler.name == "EventEmitter: handler 2 of Tick":
            handler = _shuffled(handler)
        return super().on(event_type, handler, loop=loop)


def _shuffled(witness: Witness) -> Callable[[Numbered], None]:
    held: list[Numbered] = []

    def handler(event: Numbered) -> None:
        # Not the last ones, which have low numbers: nothing would come after them.
        if not held and event.number > 10:
            held.append(event)
            return
        late = [held.pop()] if held else []
        if late and late[0].sender != event.sender:
            _STRUCK.add()
            late.insert(0, event)
        else:
            late.append(event)
        for each in late:
            witness(each)

    return handler


class OnceTwice(ReplayEventEmitter[Any]):
    """Calls once-handlers twice."""

    def once(self, event_type: Any, handler: Any = None, *, loop: Any = None) -> Any:
        super().once(event_type, handler, loop=loop)
        subscription: Subscription[Any] = super().once(event_type, handler, loop=loop)
        if not subscription.active:
            _STRUCK.add()
        return subscription


class Litters(EventEmitter[Any]):
    """Leaves a listener behind with each expectation."""

    def expect(self, event_type: Any, *, where: Any = None) -> Any:
        _STRUCK.add()
        self.on(Never, id)
        return super().expect(event_type, where=where)


class NeverOff(EventEmitter[Any]):
    """Claims to have removed what it has not."""

    def off_and_wait(self, subscription: Subscription[Any], timeout: float | None = None) -> bool:
        del subscription, timeout
        _STRUCK.add()
        return True


class Keeps(EventEmitter[Any]):
    """Keeps something for every event."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: list[bytes] = []

    def emit(self, event: Any) -> None:
        self._kept.append(bytes(256 * 1024))
        super().emit(event)


class EndsDeaf(EventEmitter[Any]):
    """Delivers nothing any more when all is over."""

    def emit(self, event: Any) -> None:
        _STRUCK.add()
        if threading.current_thread().name != "soak closing":
            super().emit(event)


class Remembers(ReplayEventEmitter[Any]):
    """Forgets nothing."""

    def forget(self, event_type: type | None = None) -> None:
        del event_type
        _STRUCK.add()


class Fails(ReplayEventEmitter[Any]):
    """Raises where it should not."""

    def latest(self, event_type: Any) -> Any:
        for _ in range(_ENOUGH):
            _STRUCK.add()
        raise LookupError(event_type)


class LeavesTask(EventEmitter[Any]):
    """Starts tasks that nobody ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._tasks: list[asyncio.Task[Any]] = []

    async def emit_async(self, event: Any) -> None:
        _STRUCK.add()
        if len(self._tasks) < 3:
            self._tasks.append(asyncio.create_task(asyncio.Event().wait()))
        await super().emit_async(event)


_BROKEN: list[tuple[type[EventEmitter[Any]], FaultKind, str]] = [
    (Drops, "lost", "EventEmitter: handler"),
    (Delays, "not there when emit returned", "EventEmitter: handler"),
    (Repeats, "twice", "EventEmitter: "),
    (Swaps, "out of order", "came late"),
    (Shuffles, "out of order", "differs from others"),
    (OnceTwice, "twice", "once"),
    (Litters, "left registered", "Litters: "),
    (NeverOff, "left registered", "after off: "),
    (NeverOff, "called after off_and_wait", "come and go"),
    (EndsDeaf, "turns left taken", "not called at the end"),
    (Remembers, "wrong answer", "forgotten, and there"),
    (Fails, "raised", "look back: Traceback"),
    (LeavesTask, "tasks left", "Event.wait()"),
]
_ENOUGH = 40
"""After so many broken promises the soak has something to report."""


def _until_struck() -> Pause:
    """Return what interrupts the soak when it has something to report."""
    _STRUCK.value = 0
    interrupted: list[bool] = []

    def pause(seconds: float) -> None:
        time.sleep(seconds)
        if _STRUCK.value >= _ENOUGH and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    return pause


@pytest.mark.parametrize(
    ("broken", "fault", "story"), _BROKEN, ids=[f"{each[0].__name__}-{each[1]}" for each in _BROKEN]
)
def test_each_fault_is_reported(
    broken: type[EventEmitter[Any]], fault: FaultKind, story: str
) -> None:
    """A soak of emitters that break one promise counts it, and says where."""
    # Long, but it does not last.
    plan = Plan(minutes=10, patience=90)
    if issubclass(broken, ReplayEventEmitter):
        plan.replaying = broken
    else:
        plan.plain = broken
    report = soak.soak(plan, _until_struck())
    assert report.interrupted
    assert report.faults.counts[fault] > 0, report.faults.stories
    assert any(story in each for each in report.faults.stories[fault]), report.faults.stories


def test_memory_that_grows_is_reported() -> None:
    """What is kept for the few events that end a part of the run is enough."""
    report = soak.soak(Plan(_MINUTES, plain=Keeps), time.sleep)
    assert report.faults.counts == {"memory grew": 1}


def test_thread_that_outlives_the_soak_is_reported() -> None:
    """Also if it does nothing but wait."""
    enough = threading.Event()
    threads: list[threading.Thread] = []

    class LeavesThread(EventEmitter[Any]):
        def emit(self, event: Any) -> None:
            if threading.current_thread().name == "soak closing" and not threads:
                threads.append(threading.Thread(target=enough.wait, name="left over"))
                threads[0].start()
            super().emit(event)

    try:
        report = soak.soak(Plan(_MINUTES, plain=LeavesThread), time.sleep)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert report.faults.stories == {"threads left": ["left over"]}


# The witnesses


def test_witness_counts_what_is_lost_what_comes_twice_and_what_comes_late() -> None:
    """Of each sender on its own."""
    faults = Faults()
    witness = Witness("it", faults)
    for sender, number in [(1, 1), (2, 1), (1, 4), (1, 3), (2, 1), (2, 3)]:
        witness(Tick(sender, number))
    witness.finish({1: 5, 2: 3, 3: 2})
    # Lost: 2 and 5 of the first, 2 of the second, all of the third.
    assert faults.counts == {"lost": 5, "twice": 1, "out of order": 1}


def test_witness_that_comes_late_misses_nothing_from_its_first_event_on() -> None:
    """The first event of each sender is where its order begins."""
    faults = Faults()
    witness = Witness("it", faults, late=True)
    for sender, number in [(1, 7), (1, 8), (2, 5), (1, 10)]:
        witness(Tick(sender, number))
    witness.finish()
    assert faults.counts == {"lost": 1}


def test_witness_that_is_gone_must_not_be_called() -> None:
    """Its owner has been told that it is through."""
    witness = Witness("it", Faults())
    witness.gone = True
    witness(Tick(1, 1))
    assert witness.faults.counts == {"called after off_and_wait": 1}


def test_witness_on_a_loop_hears_one_event_at_a_time() -> None:
    """Two calls of its coroutine function under way at once are a fault."""
    witness = Witness("it", Faults())

    async def twice_at_once() -> None:
        await asyncio.gather(witness.hear(Tick(1, 1)), witness.hear(Tick(1, 2)))

    asyncio.run(twice_at_once())
    assert witness.faults.counts == {"two calls at once": 1}


def test_order_of_several_senders_is_the_same_for_all_witnesses() -> None:
    """Each sender's events are in order for both, but not all events are."""
    faults = Faults()
    order = Order(faults)
    order.members = 2
    for senders in (1, 2), (2, 1):
        witness = Witness("it", faults)
        witness.order = order
        for sender in senders:
            witness(Tick(sender, 1))
        witness.finish({1: 1, 2: 1})
    assert faults.counts == {"out of order": 1}


def test_order_is_not_blamed_for_what_one_witness_has_lost() -> None:
    """What it saw before and after is shifted, in all blocks."""
    faults = Faults()
    order = Order(faults)
    order.members = 2
    for numbers in [range(1, 2000), [1, *range(3, 2000)]]:
        witness = Witness("it", faults)
        witness.order = order
        for number in numbers:
            witness(Tick(1, number))
        witness.finish({1: 1999})
    assert faults.counts == {"lost": 1}


def test_what_may_be_cancelled_must_come_to_all_or_to_none() -> None:
    """A gap is no fault; one that another witness does not have is."""
    faults = Faults()
    order = Order(faults)
    order.members = 3
    for numbers in [range(1, 900, 3), range(1, 900, 3), [1, *range(7, 900, 3)]]:
        witness = Witness("it", faults, gaps=True)
        witness.order = order
        for number in numbers:
            witness(Tick(1, number))
        witness.finish({1: 1000})
    assert faults.counts == {"out of order": 1}


def test_reader_of_several_types_counts_what_a_stream_lost_silently() -> None:
    """What the stream has counted as dropped is no fault; more is; and the order spans types."""
    faults = Faults()
    witness = StreamWitness("it", faults, late=True, gaps=True)
    for event in Tick(1, 5, 8), Tock(1, 3, 7), Tick(1, 8, 9):
        witness(event)
    witness.finish(dropped=1)
    assert faults.counts == {"lost": 1, "out of order": 1}


# The command


def _rows(output: str) -> dict[str, str]:
    return {line[:32].strip(): line[32:].strip() for line in output.splitlines() if line}


def test_command_ends_well_and_prints_a_row_for_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second of everything at once: nothing is wrong, and no thread is left."""
    threads = set(threading.enumerate())
    code = main(["soak", "--minutes", "0.02"])
    rows = _rows(capsys.readouterr().out)
    assert {kind: rows[kind] for kind in FAULT_KINDS} == dict.fromkeys(FAULT_KINDS, "0")
    assert code == 0
    for name in ("minutes", "events emitted", "events delivered", "memory at 25 %", "ratio"):
        assert rows[name][0].isdigit()
    for name in ("handlers", "coroutine handlers", "handlers on loops", "streams"):
        assert int(rows[f"to {name}"].replace(",", "")) > 0
    assert set(threading.enumerate()) == threads


def test_command_exits_1_where_anything_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the number, the lines below it the story."""
    monkeypatch.setattr(soak, "EventEmitter", EndsDeaf)
    assert main(["soak", "--minutes", "0.01"]) == 1
    output = capsys.readouterr().out
    assert int(_rows(output)["turns left taken"]) > 0
    assert "turns left taken: EventEmitter: handler 1 of Tick: not called" in output


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "ten"])
def test_command_refuses_bad_minutes(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what is wrong, before anything runs."""
    with pytest.raises(SystemExit):
        main(["soak", f"--minutes={minutes}"])
    assert f"'{minutes}' is not a number of minutes above 0" in capsys.readouterr().err


class Noted:
    """A benchmark that notes its name instead of running."""

    def __init__(self, name: str, ran: list[str]) -> None:
        self.name, self.ran = name, ran

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add none."""

    def run(self, *_: object) -> None:
        """Note the name."""
        self.ran.append(self.name)


def test_soak_runs_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without names all the others run."""
    ran: list[str] = []
    for name in BENCHMARKS:
        monkeypatch.setitem(BENCHMARKS, name, Noted(name, ran))
    assert main([]) == 0
    assert ran == [name for name in BENCHMARKS if name != "soak"]


_STUCK = """
import sys, threading
from benchmarks import soak
from benchmarks.__main__ import main

class Hangs(soak.EventEmitter):
    def emit(self, event):
        super().emit(event)
        if isinstance(event, soak.Tick) and event.number == 20:
            hang_here()

def hang_here():
    threading.Event().wait()

soak.EventEmitter = Hangs
soak._PATIENCE = 2.0
sys.exit(main(["soak", "--minutes", "5"]))
"""


def test_stuck_run_ends_with_all_stacks() -> None:
    """The watchdog says who makes no step, and shows what every thread is at."""
    command = [sys.executable, "-c", _STUCK]
    ended = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 1
    assert _rows(ended.stdout)["stuck"] == "1"
    assert "has made no step for 2 s" in ended.stdout
    assert "stuck\n" in ended.stderr
    assert "in hang_here" in ended.stderr
    assert "in come_and_go" in ended.stderr


def test_interrupted_run_prints_what_it_has() -> None:
    """Ctrl-C ends all threads and loops, prints the table, and the exit code is 130."""
    code, output, errors = interrupt_when([*_COMMAND, "--minutes", "60"], "soak: ", _ROOT)
    rows = _rows(output)
    assert {kind: rows[kind] for kind in FAULT_KINDS} == dict.fromkeys(FAULT_KINDS, "0")
    assert errors.endswith("Interrupted. The lines above are complete.\n")
    assert "Warning" not in errors
    assert "Traceback" not in errors
    assert code == 130
