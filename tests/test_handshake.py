"""The benchmark of the fault this package exists for counts exactly, and cleans up after itself."""

# ruff: noqa: E402 - where the benchmarks are missing, the import of them must not be reached

from __future__ import annotations

import argparse
import gc
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support import interrupt_when

_ROOT = Path(__file__).parent.parent
if not (_ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks do not lie beside the tests", allow_module_level=True)

from benchmarks import Pause, interrupts
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.handshake import (
    Connected,
    Disconnected,
    Outcome,
    Peer,
    Pending,
    PlainPending,
    Preempt,
    ReplayingPending,
    Summary,
    answering_peer,
    connect,
    open_connections,
    refusing_peer,
    undisturbed,
)

_COUNT = 30
_INTERRUPTED = "Interrupted. The lines above are complete.\n"


def _until_emitted(finished: Future[None]) -> None:
    """Preempt the caller until the I/O thread's `emit()` has returned."""
    wait([finished])


def _open_sockets() -> set[socket.socket]:
    return {
        thing for thing in gc.get_objects() if type(thing) is socket.socket and thing.fileno() != -1
    }


@contextmanager
def _nothing_left_behind() -> Generator[None]:
    """Fail if a thread or a socket outlives the block, or a socket was closed by its finalizer."""
    gc.collect()
    threads, sockets = set(threading.enumerate()), _open_sockets()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert set(threading.enumerate()) - threads == set()
    assert _open_sockets() - sockets == set()


@pytest.mark.parametrize("preempt", [undisturbed, _until_emitted])
@pytest.mark.parametrize(
    ("peer", "event_type"), [(answering_peer, Connected), (refusing_peer, Disconnected)]
)
def test_with_replay_every_connection_gets_its_event_once(
    peer: Peer, event_type: type[Connected | Disconnected], preempt: Preempt
) -> None:
    """No listener is too late, whether the peer answers or refuses, and none is called twice."""
    outcomes = open_connections(ReplayingPending, peer, _COUNT, preempt)
    assert [[type(event) for event in outcome.events] for outcome in outcomes] == (
        [[event_type]] * _COUNT
    )


@pytest.mark.parametrize("peer", [answering_peer, refusing_peer])
def test_without_replay_every_connection_preempted_for_long_enough_hangs(peer: Peer) -> None:
    """The fault itself: the event was emitted to nobody before the caller came to listen."""
    outcomes = open_connections(PlainPending, peer, _COUNT, _until_emitted)
    assert outcomes == [Outcome(events=(), seconds=None)] * _COUNT


def test_without_replay_a_listener_that_is_early_gets_its_event() -> None:
    """What hangs above hangs because of the late listener, not because of the sockets."""
    listening = threading.Event()
    events: list[Connected] = []

    class Patient(PlainPending):
        def emit(self, event: Connected | Disconnected) -> None:
            listening.wait()
            super().emit(event)

    with answering_peer() as address, ThreadPoolExecutor(1) as io:
        pending = connect(Patient, address, io)
        pending.on(Connected, events.append)
        listening.set()
        pending.finished.result()
    assert [type(event) for event in events] == [Connected]


def test_connected_names_the_peer() -> None:
    """It is the address that the connection was opened to."""
    addresses: list[str] = []

    @contextmanager
    def noted_peer() -> Generator[tuple[str, int]]:
        with answering_peer() as (host, port):
            addresses.append(f"{host}:{port}")
            yield host, port

    [outcome] = open_connections(ReplayingPending, noted_peer, 1)
    assert outcome.events == (Connected(addresses[0]),)


def test_summary_counts_what_hung_and_what_came_twice() -> None:
    """Each number of the table, with times of those alone that did not hang."""
    up, down = Connected("peer"), Disconnected(graceful=False)
    summary = Summary.of(
        [
            Outcome((), None),
            Outcome((up,), 3.0),
            Outcome((up, up), 1.0),
            Outcome((up, down), 2.0),
            Outcome((down,), 4.0),
        ]
    )
    assert summary == Summary(
        connected=3, disconnected=2, hung=1, twice=2, seconds=(1.0, 2.0, 3.0, 4.0)
    )
    assert (summary.median, summary.percentile_99) == (2.5, 4.0)


def test_percentile_leaves_out_the_slowest_of_a_hundred() -> None:
    """Of 100 times the 99th percentile is the 99th, not the 100th."""
    times = [Outcome((Connected("peer"),), float(seconds)) for seconds in range(1, 101)]
    assert Summary.of(times).percentile_99 == 99.0


def test_summary_without_any_arrival_has_no_times() -> None:
    """Where every connection hung there is nothing to take a median of."""
    summary = Summary.of([Outcome((), None)])
    assert (summary.hung, summary.median, summary.percentile_99) == (1, None, None)


@pytest.mark.parametrize("pending_type", [PlainPending, ReplayingPending])
@pytest.mark.parametrize("peer", [answering_peer, refusing_peer])
def test_interrupt_before_the_caller_listens_leaves_nothing_behind(
    peer: Peer, pending_type: type[Pending]
) -> None:
    """The handshake is still under way on another thread when the caller is interrupted."""
    preempted: list[Future[None]] = []

    def interrupted_the_third_time(finished: Future[None]) -> None:
        preempted.append(finished)
        if len(preempted) == 3:
            raise KeyboardInterrupt

    with _nothing_left_behind(), pytest.raises(KeyboardInterrupt):
        open_connections(pending_type, peer, _COUNT, interrupted_the_third_time)
    assert [finished.done() for finished in preempted] == [True] * 3


@pytest.mark.deep
def test_interrupt_at_any_line_of_the_benchmark_leaves_nothing_behind() -> None:
    """Ctrl-C comes at the first line, in the next run at the second, and so on: none is lost."""
    lines = 0
    interrupt_at = 0

    def trace(frame: FrameType, kind: str, _argument: object) -> Any:
        nonlocal lines
        if not frame.f_globals.get("__name__", "").startswith("benchmarks"):
            return None
        if kind == "line":
            lines += 1
            if lines == interrupt_at:
                signal.raise_signal(signal.SIGINT)
        return trace

    tracing_before = sys.gettrace()
    while lines >= interrupt_at:
        lines = 0
        interrupt_at += 1
        with _nothing_left_behind(), interrupts() as pause:
            sys.settrace(trace)
            try:
                open_connections(PlainPending, answering_peer, 2, lambda _: pause(0))
            except KeyboardInterrupt:
                continue
            finally:
                sys.settrace(tracing_before)
            # Too late for the last look at it, or not at all in the run that ends the loop.
            if lines >= interrupt_at:
                with pytest.raises(KeyboardInterrupt):
                    pause(0)
    assert interrupt_at > 50


def test_interrupts_are_put_off_to_the_next_pause() -> None:
    """Between two pauses nothing is cut short, and afterwards Ctrl-C is what it was before."""
    before = signal.getsignal(signal.SIGINT)
    with interrupts() as pause:
        pause(0)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            pause(60)
        pause(0)
    assert signal.getsignal(signal.SIGINT) is before


def test_command_prints_a_line_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    """Two emitters, undisturbed and preempted, to a peer that answers and to a closed port."""
    with _nothing_left_behind():
        code = main(["handshake", "--connections", "3", "--refused", "2", "--preempt", "0"])
    assert code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    cases = [line for line in lines if line and line[0] in {"EventEmitter", "ReplayEventEmitter"}]
    assert [(*line[:2],) for line in cases] == [
        ("EventEmitter", "undisturbed"),
        ("ReplayEventEmitter", "undisturbed"),
        ("EventEmitter", "preempted"),
        ("ReplayEventEmitter", "preempted"),
    ] * 2
    replayed = [line[2:6] for line in cases if line[0] == "ReplayEventEmitter"]
    assert replayed == [["3", "0", "0", "0"]] * 2 + [["0", "2", "0", "0"]] * 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["handshakes"], "no benchmark is named 'handshakes'; there are: handshake"),
        (["--connections", "0"], "'0' is not a whole number above 0"),
        (["--refused", "many"], "'many' is not a whole number above 0"),
        (["--preempt", "-1"], "'-1' is not a number of milliseconds from 0 to 60000"),
        (["--preempt", "nan"], "'nan' is not a number of milliseconds from 0 to 60000"),
    ],
)
def test_command_refuses_bad_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what is wrong and what is allowed, before anything runs."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


def test_interrupt_after_the_last_look_at_it_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while the last line is being printed still makes the exit code 130."""

    class LastMoment:
        def add_options(self, parser: argparse.ArgumentParser) -> None:
            """Have none."""

        def run(self, _options: argparse.Namespace, _pause: Pause) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(BENCHMARKS, "last-moment", LastMoment())
    assert main(["last-moment"]) == 130
    assert capsys.readouterr().err == _INTERRUPTED


def test_interrupted_command_exits_130_with_a_short_message() -> None:
    """Ctrl-C in the middle of a long run ends it, without traceback or resource warning."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "benchmarks", "handshake"]
    code, _, errors = interrupt_when([*command, "--connections", "1000000"], "emitter", _ROOT)
    assert (code, errors) == (130, _INTERRUPTED)
