"""Count the connections that hang for ever because their listener came late.

This replays, over real TCP sockets on loopback, the fault that `ReplayEventEmitter` exists for:
`connect()` starts the socket I/O on another thread and returns a pending connection; the caller
registers its listeners afterwards. Where the caller is preempted in between, the whole handshake
can be over before anybody listens.

The other libraries that may be used by several threads do the same, in this very process, as it is
not their speed that is looked at.

How this can mislead: the peer is on the same machine and connections are opened one at a time, so
a handshake takes a fraction of a millisecond. Over a network it takes longer, and the caller has to
be preempted for longer to miss it.
"""

from __future__ import annotations

import argparse
import math
import socket
import socketserver
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from benchmarks import Pause, progress
from benchmarks.rivals import RIVALS, NotInstalledError, Ours, Rival, load
from eventemitter import EventEmitter, ReplayEventEmitter

_LOOPBACK: Final = "127.0.0.1"
# Never reached on loopback: it bounds how long a broken run, or Ctrl-C in one, can take.
_SOCKET_TIMEOUT: Final = 10.0
# How often the server looks whether it shall stop, in seconds.
_SERVER_POLL: Final = 0.02

_CONNECTIONS: Final = 2000
_REFUSED: Final = 100
_QUICK_CONNECTIONS: Final = 200
_QUICK_REFUSED: Final = 20
_PREEMPTED_MS: Final = 2.0
_LONGEST_PREEMPTION_MS: Final = 60_000.0

Address: TypeAlias = tuple[str, int]
Peer: TypeAlias = Callable[[], AbstractContextManager[Address]]


@dataclass(frozen=True)
class Connected:
    """The peer answered the handshake."""

    peer: str


@dataclass(frozen=True)
class Disconnected:
    """The peer refused, went away or kept silent."""

    graceful: bool


ConnectionEvent: TypeAlias = Connected | Disconnected


class PlainPending(EventEmitter[Connected | Disconnected]):
    """A pending connection whose events reach only those who listen already."""

    finished: Future[None]  # done when the I/O is over and `emit()` has returned


class ReplayingPending(ReplayEventEmitter[Connected | Disconnected]):
    """A pending connection whose last event also reaches those who listen later."""

    finished: Future[None]  # done when the I/O is over and `emit()` has returned


class RivalPending:
    """A pending connection whose events another library emits, all in one channel."""

    finished: Future[None]  # as above

    def __init__(self, rival: Rival) -> None:
        """Have no listener yet."""
        self._rival = rival
        self._emitter = rival.make()
        self.emit = rival.emitter_of(self._emitter)

    def on(self, event_type: type, handler: Callable[[Any], object]) -> None:
        """Register a listener for one type of event."""

        def listener(event: object) -> None:
            if type(event) is event_type:
                handler(event)

        listener.__name__ = event_type.__name__
        self._rival.on(self._emitter, listener)


Pending: TypeAlias = PlainPending | ReplayingPending
AnyPending: TypeAlias = Pending | RivalPending
MakePending: TypeAlias = Callable[[], AnyPending]

_OURS: Final[dict[str, MakePending]] = {
    "EventEmitter": PlainPending,
    "ReplayEventEmitter": ReplayingPending,
}


# The network


class _Welcome(socketserver.StreamRequestHandler):
    timeout = _SOCKET_TIMEOUT

    def handle(self) -> None:
        self.wfile.write(b"welcome, " + self.rfile.readline())


@contextmanager
def answering_peer() -> Generator[Address]:
    """Run a server that accepts and answers the handshake; yield its address."""
    with (
        socketserver.TCPServer((_LOOPBACK, 0), _Welcome) as server,
        ThreadPoolExecutor(1, "handshake-server") as pool,
    ):
        serving = pool.submit(server.serve_forever, _SERVER_POLL)
        try:
            yield (_LOOPBACK, server.server_address[1])
        finally:
            server.shutdown()
            serving.result()


@contextmanager
def refusing_peer() -> Generator[Address]:
    """Yield the address of a closed port.

    A socket stays bound to it but never listens. If it were closed, another process could get its
    port, or the connecting socket could, and would then connect to itself.
    """
    with socket.socket() as closed:
        closed.bind((_LOOPBACK, 0))
        yield (_LOOPBACK, closed.getsockname()[1])


def connect(make_pending: MakePending, address: Address, io: ThreadPoolExecutor) -> AnyPending:
    """Start to connect on a thread of `io`; return at once."""
    pending = make_pending()
    pending.finished = io.submit(_shake_hands, address, pending)
    return pending


def _shake_hands(address: Address, pending: AnyPending) -> None:
    try:
        with (
            socket.create_connection(address, timeout=_SOCKET_TIMEOUT) as connection,
            connection.makefile("rwb") as stream,
        ):
            stream.write(b"node\n")
            stream.flush()
            answered = stream.readline() == b"welcome, node\n"
    except OSError:
        answered = False
    # Not inside the `try`: an error of a listener is none of the network.
    pending.emit(Connected("{}:{}".format(*address)) if answered else Disconnected(graceful=False))


# One connection, one case


@dataclass(frozen=True)
class Outcome:
    """What the listeners of one connection got, and how long after `connect()` the first came."""

    events: tuple[ConnectionEvent, ...]
    seconds: float | None


Preempt: TypeAlias = Callable[[Future[None]], object]
"""Called between `connect()` and `on()`, with the connection's `finished`."""


def undisturbed(_finished: Future[None]) -> None:
    """Let the caller go on at once."""


def open_connection(
    make_pending: MakePending, address: Address, io: ThreadPoolExecutor, preempt: Preempt
) -> Outcome:
    """Connect, be preempted, listen; return when nothing more can come."""
    arrivals: deque[tuple[float, ConnectionEvent]] = deque()

    def arrived(event: ConnectionEvent) -> None:
        arrivals.append((time.perf_counter(), event))

    started = time.perf_counter()
    pending = connect(make_pending, address, io)
    preempt(pending.finished)
    pending.on(Connected, arrived)
    pending.on(Disconnected, arrived)
    # Now `emit()` returns on the I/O thread, as both `on()` have here: whatever was to be delivered
    # or replayed has been. Without any arrival the caller would wait for ever.
    pending.finished.result()
    return Outcome(
        events=tuple(event for _, event in arrivals),
        seconds=arrivals[0][0] - started if arrivals else None,
    )


def open_connections(
    make_pending: MakePending,
    peer: Peer,
    count: int,
    preempt: Preempt = undisturbed,
    step: Callable[[], object] = lambda: None,
) -> list[Outcome]:
    """Open connections one after another, each followed by a `step()`.

    However it ends, it leaves neither a thread nor a socket behind.
    """
    outcomes: list[Outcome] = []
    with peer() as address, ThreadPoolExecutor(1, "handshake-io") as io:
        for _ in range(count):
            outcomes.append(open_connection(make_pending, address, io, preempt))
            step()
    return outcomes


@dataclass(frozen=True)
class Summary:
    """What became of the connections of one case."""

    connected: int
    disconnected: int
    hung: int
    twice: int
    seconds: tuple[float, ...]  # sorted, without the hung ones

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Summary:
        """Count; a connection that got both events is in both counts, and got its event twice."""
        return cls(
            connected=sum(any(isinstance(e, Connected) for e in o.events) for o in outcomes),
            disconnected=sum(any(isinstance(e, Disconnected) for e in o.events) for o in outcomes),
            hung=sum(not o.events for o in outcomes),
            twice=sum(len(o.events) > 1 for o in outcomes),
            seconds=tuple(sorted(o.seconds for o in outcomes if o.seconds is not None)),
        )

    @property
    def median(self) -> float | None:
        """The median time to the first event."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def percentile_99(self) -> float | None:
        """The shortest time that at least 99 of 100 connections did not exceed."""
        rank = math.ceil(0.99 * len(self.seconds))
        return self.seconds[rank - 1] if self.seconds else None


# The command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `handshake` can be told."""
    group = parser.add_argument_group(
        "handshake", "how many connections hang for ever when their listener comes late"
    )
    group.add_argument(
        "--connections",
        type=_count,
        metavar="N",
        help=f"connections a case (default: {_CONNECTIONS}, quick: {_QUICK_CONNECTIONS})",
    )
    group.add_argument(
        "--refused",
        type=_count,
        metavar="N",
        help=f"connections to a closed port a case (default: {_REFUSED}, quick: {_QUICK_REFUSED})",
    )
    group.add_argument(
        "--preempt",
        type=_milliseconds,
        metavar="MS",
        default=_PREEMPTED_MS,
        help="how long a preempted caller stands still (default: %(default)g)",
    )


class Lines:
    """What became of all cases, for `--json`."""

    def __init__(self) -> None:
        """Have no case yet."""
        self._lines: list[dict[str, Any]] = []

    def add(self, scene: str, emitter: str, caller: str, summary: Summary) -> None:
        """Take one case."""
        self._lines.append(
            {"peer": scene, "library": emitter, "caller": caller}
            | {"connected": summary.connected, "disconnected": summary.disconnected}
            | {"hung": summary.hung, "twice": summary.twice}
            | {"median": summary.median, "percentile_99": summary.percentile_99}
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Return an object a case; times are in seconds."""
        return self._lines


def run(options: argparse.Namespace, pause: Pause) -> None:
    """Open the connections of every case and print what became of them."""
    quick: bool = options.quick
    connections: int = options.connections or (_QUICK_CONNECTIONS if quick else _CONNECTIONS)
    refused: int = options.refused or (_QUICK_REFUSED if quick else _REFUSED)
    milliseconds: float = options.preempt
    emitters, left_out = _emitters(options.libraries)
    lines = options.results["handshake"] = Lines()

    def preempted(_finished: Future[None]) -> None:
        # To the other threads a caller that sleeps is one that the system does not schedule: it
        # runs nothing and holds nothing.
        pause(milliseconds / 1000)

    print(f"handshake: a preempted caller stands still for {milliseconds:g} ms before it listens")
    for scene, peer, count in (
        ("a peer that answers", answering_peer, connections),
        ("a closed port", refusing_peer, refused),
    ):
        print(f"\n{count:,} connections a line, to {scene}:\n{_HEADING}", flush=True)
        for caller, preempt in (("undisturbed", undisturbed), ("preempted", preempted)):
            for emitter, make_pending in emitters.items():
                with progress(f"{emitter}, {caller}", count, "connections") as advance:
                    step = partial(_step, pause, advance)
                    outcomes = open_connections(make_pending, peer, count, preempt, step)
                summary = Summary.of(outcomes)
                print(_line(emitter, caller, summary), flush=True)
                lines.add(scene, emitter, caller, summary)
    print(f"\n{_LEGEND}")
    for why, names in left_out.items():
        print(f"{why + ':':16} {', '.join(names)}")


def _emitters(libraries: Sequence[str]) -> tuple[dict[str, MakePending], dict[str, list[str]]]:
    """Return what makes the pending connections of each library, and which have none, and why."""
    emitters: dict[str, MakePending] = {}
    left_out: dict[str, list[str]] = {}
    for name in libraries:
        if issubclass(RIVALS[name], Ours):
            emitters[name] = _OURS[name]
        elif not RIVALS[name].thread_safe:
            left_out.setdefault("not for threads", []).append(name)
        else:
            try:
                emitters[name] = partial(RivalPending, load(name))
            except NotInstalledError:
                left_out.setdefault("not installed", []).append(name)
    return emitters, left_out


def _step(pause: Pause, advance: Callable[[], object]) -> None:
    pause(0)
    advance()


_HEADING: Final = (
    f"{'emitter':20}  {'caller':11}  {'Connected':>9}  {'Disconnected':>12}"
    f"  {'hung for ever':>13}  {'twice':>5}  {'median':>9}  {'99%':>9}"
)
_LEGEND: Final = """\
hung for ever: emit() and on() had returned and no listener had been called, so none ever would be
twice:         listeners were called more than once for one connection
median, 99%:   time from connect() to the run of the listener, of those that did not hang"""


def _line(emitter: str, caller: str, summary: Summary) -> str:
    return (
        f"{emitter:20}  {caller:11}  {summary.connected:9,}  {summary.disconnected:12,}"
        f"  {summary.hung:13,}  {summary.twice:5,}"
        f"  {_time(summary.median):>9}  {_time(summary.percentile_99):>9}"
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _milliseconds(text: str) -> float:
    message = f"{text!r} is not a number of milliseconds from 0 to {_LONGEST_PREEMPTION_MS:g}"
    try:
        milliseconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not 0 <= milliseconds <= _LONGEST_PREEMPTION_MS:  # so also if it is not a number
        raise argparse.ArgumentTypeError(message)
    return milliseconds
