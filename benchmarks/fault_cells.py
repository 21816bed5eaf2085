"""Force each fault of the `faults` table on a library, and judge what came of it.

A judge never hopes for a race: it stops the library's own code at every point where another thread,
a signal handler or a finalizer may come in (see `forcing`), or stops a handler by hand. It returns
what went wrong; nothing is good. Where no thread can go on it does not return, so that who calls it
needs a watchdog.

No judge relies on the order in which a library calls its listeners, as some promise none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.forcing import (
    Bring,
    Elsewhere,
    by_finalizer,
    by_signal,
    by_thread,
    dawdle,
    explore,
    quiet_collector,
)

Handler: TypeAlias = Callable[[int], None]


class Offer(Enum):
    """What some libraries offer and some do not."""

    ONCE = auto()
    REPLAY = auto()
    OFF = auto()
    """Removing listeners at any time."""
    WAIT = auto()
    """Waiting for a removed listener that still runs."""
    ANYWHERE = auto()
    """Calls from anywhere, not only on an event loop."""


@dataclass(frozen=True)
class Library:
    """A library as the judges use it; an event is a whole number."""

    name: str
    code: Sequence[Path]
    """Where the Python files of the library are, which are stopped."""
    make: Callable[[], Any]
    on: Callable[[Any, Handler], Any]
    """Registers; returns a token for `off`."""
    off: Callable[[Any, Any], object]
    emit: Callable[[Any, int], object]
    once: Callable[[Any, Handler], object] | None = None
    off_and_wait: Callable[[Any, Any], bool] | None = None
    reports: Callable[[object], bool] = bool
    """Whether this, returned by `emit`, tells that a handler has raised."""


# The stage


class Ear:
    """A listener."""

    def __init__(self, react: Handler | None = None) -> None:
        """React to each event, after taking note of it."""
        self.seen: list[int] = []
        self.token: Any = None
        self.react = react

    def handler(self) -> Handler:
        """Return a function of its own, as some libraries know listeners by their functions."""

        def handle(number: int) -> None:
            self.seen.append(number)
            if self.react:
                self.react(number)

        return handle


class Stage:
    """An emitter of a library, and what is wrong with it."""

    def __init__(self, library: Library) -> None:
        """Make the emitter."""
        self.library = library
        self.emitter = library.make()
        self.wrong: list[str] = []

    def listen(self, react: Handler | None = None) -> Ear:
        """Register a listener."""
        ear = Ear(react)
        ear.token = self._call("on", self.library.on, ear.handler())
        return ear

    def listen_once(self, react: Handler | None = None) -> Ear:
        """Register a listener for one event."""
        ear = Ear(react)
        assert self.library.once  # noqa: S101 - see `Fault.needs`
        self._call("once", self.library.once, ear.handler())
        return ear

    def emit(self, number: int) -> None:
        """Emit."""
        self._call("emit", self.library.emit, number)

    def drop(self, ear: Ear) -> None:
        """Remove a listener."""
        self._call("off", self.library.off, ear.token)

    def _call(self, name: str, function: Callable[..., Any], *arguments: object) -> Any:
        # No handler here raises, but where that is the question: so the library did.
        try:
            return function(self.emitter, *arguments)
        except Exception as error:
            self.wrong.append(f"{name} raises {type(error).__name__}")

    def check(self, ear: Ear, *numbers: int) -> None:
        """Take note if the listener did not get each of these events once."""
        for number in numbers:
            times = ear.seen.count(number)
            if times != 1:
                self.wrong.append("an event comes twice" if times else "an event is lost")

    def fault(self) -> str | None:
        """Say what is wrong."""
        return self.wrong[0] if self.wrong else None


def _flat(stages: Sequence[Stage]) -> list[str]:
    return [fault for stage in stages if (fault := stage.fault())]


# once


class _OnceUnderEmits(Stage):
    def __init__(self, library: Library, react: Handler | None) -> None:
        super().__init__(library)
        self.steady = self.listen()
        self.single = self.listen_once(react)

    def stopped(self) -> None:
        self.emit(1)

    def meanwhile(self) -> None:
        self.emit(2)

    def fault(self) -> str | None:
        self.emit(3)
        times = len(self.single.seen)
        if times != 1:
            self.wrong.append("runs twice" if times else "never runs")
        self.check(self.steady, 1, 2, 3)
        return super().fault()


def once_under_concurrent_emits(library: Library) -> list[str]:
    """Emit from two threads with a once-listener registered."""
    faults: list[str] = []
    for react in (None, dawdle):
        faults += explore(partial(_OnceUnderEmits, library, react), library.code, by_thread)
    return faults


def once_under_reentrant_emits(library: Library) -> list[str]:
    """Emit from a handler, and from the once-listener itself, which come first or last."""
    stages: list[Stage] = []
    for steady_first in (True, False):
        stage = Stage(library)
        stages.append(stage)

        def chain(number: int, stage: Stage = stage) -> None:
            if number < 4:  # noqa: PLR2004 - a few events
                stage.emit(number + 1)

        steady = stage.listen(chain) if steady_first else None
        single = stage.listen_once(chain)
        steady = steady or stage.listen(chain)
        stage.emit(1)
        if len(single.seen) != 1:
            stage.wrong.append("runs twice" if single.seen else "never runs")
        if not set(steady.seen) >= {1, 2, 3, 4}:
            stage.wrong.append("an event is lost")
    return _flat(stages)


# Late listeners


def late_listener(library: Library) -> list[str]:
    """Emit first, listen then."""
    stage = Stage(library)
    stage.emit(1)
    late = stage.listen()
    stage.check(late, 1)
    stage.emit(2)
    stage.check(late, 1, 2)
    return _flat([stage])


class _Registration(Stage):
    """Registration against emits, after a first event that is there to be replayed."""

    def __init__(self, library: Library, *, emits: int, stops_emit: bool, slow: bool) -> None:
        super().__init__(library)
        self.stops_emit = stops_emit
        self.react = dawdle if slow else None
        self.numbers = list(range(1, emits + 2))
        self.emit(1)
        self.late = Ear()

    def stopped(self) -> None:
        if self.stops_emit:
            self._emits()
        else:
            self.late = self.listen(self.react)

    def meanwhile(self) -> None:
        if self.stops_emit:
            self.late = self.listen(self.react)
        else:
            self._emits()

    def _emits(self) -> None:
        for number in self.numbers[1:]:
            self.emit(number)

    def fault(self) -> str | None:
        seen = self.late.seen
        if len(set(seen)) < len(seen):
            self.wrong.append("an event comes twice")
        elif seen != sorted(seen):
            self.wrong.append("the newer event comes before the older")
        elif not seen or seen != self.numbers[-len(seen) :]:
            self.wrong.append("an event is lost")
        return super().fault()


def replay_racing_with_registration(library: Library) -> list[str]:
    """Register while another thread emits; have a replayed handler wait for one that does."""
    faults: list[str] = []
    for emits, stops_emit, slow in product((1, 2), (False, True), (False, True)):
        make = partial(_Registration, library, emits=emits, stops_emit=stops_emit, slow=slow)
        faults += explore(make, library.code, by_thread)
    stage, elsewhere = Stage(library), Elsewhere()
    stage.emit(1)

    def wait_for_another(number: int) -> None:
        if number == 1:
            elsewhere.run(partial(stage.emit, 2))
            elsewhere.join()

    late = stage.listen(wait_for_another)
    stage.check(late, 1, 2)
    return faults + _flat([stage])


# Order


class _TwoOrders(Stage):
    def __init__(self, library: Library, react: Handler | None) -> None:
        super().__init__(library)
        self.ears = [self.listen(react), self.listen(react)]

    def stopped(self) -> None:
        self.emit(1)

    def meanwhile(self) -> None:
        self.emit(2)

    def fault(self) -> str | None:
        for ear in self.ears:
            self.check(ear, 1, 2)
        if self.ears[0].seen != self.ears[1].seen:
            self.wrong.append("two orders are seen")
        return super().fault()


def one_order_across_threads(library: Library) -> list[str]:
    """Emit from two threads with two listeners registered."""
    faults: list[str] = []
    for react in (None, dawdle):
        faults += explore(partial(_TwoOrders, library, react), library.code, by_thread)
    return faults


def order_under_reentrant_emit(library: Library) -> list[str]:
    """Have whichever listener is told an event first emit the next one."""
    stage = Stage(library)
    emitted = {1}

    def chain(number: int) -> None:
        if number < 3 and number + 1 not in emitted:  # noqa: PLR2004 - a few events
            emitted.add(number + 1)
            stage.emit(number + 1)

    ears = [stage.listen(chain), stage.listen(chain)]
    stage.emit(1)
    for ear in ears:
        stage.check(ear, 1, 2, 3)
        if ear.seen != sorted(ear.seen):
            stage.wrong.append("2 comes before 1")
    return _flat([stage])


class _Crossing(Stage):
    """Two emitters, each of which has a handler that emits on the other."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.other = Stage(library)
        self.ears = [self.listen(self._cross), self.other.listen(self._cross_back)]

    def _cross(self, number: int) -> None:
        if number == 1:
            self.other.emit(2)

    def _cross_back(self, number: int) -> None:
        if number == 1:
            self.emit(2)

    def stopped(self) -> None:
        self.emit(1)

    def meanwhile(self) -> None:
        self.other.emit(1)

    def fault(self) -> str | None:
        for ear in self.ears:
            self.check(ear, 1, 2)
        return super().fault() or self.other.fault()


def two_emitters_that_emit_each_other(library: Library) -> list[str]:
    """Emit on each of them from a thread of its own."""
    return explore(partial(_Crossing, library), library.code, by_thread)


# Removal


class _Removed(Stage):
    """Another thread removes a listener while its event is delivered."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.gone = False
        self.steady = [self.listen()]
        self.doomed = self.listen(self._check_that_it_is_there)
        self.steady.append(self.listen())

    def _check_that_it_is_there(self, _: int) -> None:
        if self.gone:
            self.wrong.append("still called")

    def stopped(self) -> None:
        self.emit(1)

    def meanwhile(self) -> None:
        self.drop(self.doomed)
        self.gone = True

    def fault(self) -> str | None:
        for ear in self.steady:
            self.check(ear, 1)
        return super().fault()


def removed_while_delivered(library: Library) -> list[str]:
    """Have listeners remove each other, and themselves; then have another thread remove one."""
    rivals = Stage(library)

    def remove_the_other(one: int, _: int) -> None:
        rivals.drop(pair[1 - one])

    pair = [rivals.listen(partial(remove_the_other, one)) for one in (0, 1)]
    rivals.emit(1)
    if len(pair[0].seen + pair[1].seen) > 1:
        rivals.wrong.append("still called")
    if not pair[0].seen + pair[1].seen:
        rivals.wrong.append("an event is lost")

    leavers = Stage(library)

    def leave(one: int, _: int) -> None:
        leavers.drop(leaving[one])

    leaving = [leavers.listen(partial(leave, one)) for one in range(3)]
    leavers.emit(1)
    if not all(ear.seen for ear in leaving):
        leavers.wrong.append("the next one is skipped")
    faults = _flat([rivals, leavers])
    return faults + explore(partial(_Removed, library), library.code, by_thread)


class _Waited(Stage):
    """Another thread removes a listener and waits until it does not run."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.inner = Stage(library)
        self.freed = False
        self.doomed = self.listen(self._handle)

    def _handle(self, _: int) -> None:
        self._use()
        # So that there are points at which this handler stands still.
        self.inner.emit(1)
        self._use()

    def _use(self) -> None:
        if self.freed:
            self.wrong.append("the handler still runs")

    def stopped(self) -> None:
        self.emit(1)

    def meanwhile(self) -> None:
        if wait_for(self, self.doomed):
            self.freed = True
        else:
            self.wrong.append("it gives up")


def wait_for(stage: Stage, ear: Ear) -> bool:
    """Remove a listener and wait for it."""
    assert stage.library.off_and_wait  # noqa: S101 - see `Fault.needs`
    return stage.library.off_and_wait(stage.emitter, ear.token)


def waiting_for_a_running_handler(library: Library) -> list[str]:
    """Wait for a handler that another thread runs, and have two handlers wait for each other."""
    faults = explore(partial(_Waited, library), library.code, by_thread)
    first, second, elsewhere = Stage(library), Stage(library), Elsewhere()
    running: set[int] = set()

    def handle(me: int, _: int) -> None:
        running.add(me)
        if me == 0:
            elsewhere.run(partial(second.emit, 1))
        other = 1 - me
        if wait_for((first, second)[other], ears[other]) and other in running:
            first.wrong.append("the handler still runs")
        running.remove(me)

    ears = [first.listen(partial(handle, 0)), second.listen(partial(handle, 1))]
    first.emit(1)
    elsewhere.join()
    return faults + _flat([first, second])


# A handler that raises


class _HandlerError(Exception):
    """What the handler raises."""


def handler_that_raises(library: Library) -> list[str]:
    """Have whichever listener comes first raise."""
    emitter = library.make()
    raised: list[int] = []
    seen: list[list[int]] = [[], [], []]

    def handle(one: int, number: int) -> None:
        seen[one].append(number)
        if not raised:
            raised.append(number)
            raise _HandlerError

    for one in range(len(seen)):
        library.on(emitter, _function(partial(handle, one)))
    try:
        learned = library.reports(library.emit(emitter, 1))
    except Exception:
        learned = True
    faults: list[str] = []
    if not all(seen):
        faults.append("the others do not run")
    if not learned:
        faults.append("the caller does not learn of it")
    stage = Stage(library)
    stage.emitter = emitter
    stage.emit(2)
    if not all(2 in numbers for numbers in seen):  # noqa: PLR2004 - the second event
        stage.wrong.append("the next event is lost")
    return [", ".join(faults + _flat([stage]))] if faults or stage.wrong else []


def _function(call: Handler) -> Handler:
    def handle(number: int) -> None:
        call(number)

    return handle


# At the worst moment


class _Interrupted(Stage):
    """One call on an emitter, and others in the middle of it; afterwards all must be in force."""

    def __init__(self, library: Library, stopped: str, meanwhile: Sequence[str]) -> None:
        super().__init__(library)
        self._stopped = stopped
        self._meanwhile = meanwhile
        names = ("off", "off meanwhile", "steady", "last")
        self.ears = {name: self.listen() for name in names}
        self.single = self.listen_once() if library.once else None
        self.gone: list[Ear] = []
        self.numbers: list[int] = []

    def stopped(self) -> None:
        self._do(self._stopped, 1, "off")

    def meanwhile(self) -> None:
        for number, what in enumerate(self._meanwhile, 2):
            self._do(what, number, "off meanwhile")

    def _do(self, what: str, number: int, doomed: str) -> None:
        match what:
            case "emit":
                self.numbers.append(number)
                self.emit(number)
            case "on":
                self.ears[f"on {number}"] = self.listen()
            case _:
                self.gone.append(self.ears.pop(doomed))
                self.drop(self.gone[-1])

    def fault(self) -> str | None:
        last = 100
        self.emit(last)
        for name in ("steady", "last"):
            self.check(self.ears[name], *self.numbers, last)
        for ear in self.ears.values():
            if last not in ear.seen:
                self.wrong.append("a listener is lost")
            elif ear.seen.count(last) > 1:
                self.wrong.append("a listener is there twice")
        if any(last in ear.seen for ear in self.gone):
            self.wrong.append("a removed listener is there again")
        if self.single and len(self.single.seen) != 1:
            self.wrong.append("once runs twice" if self.single.seen else "once never runs")
        return super().fault()


class _FirstListeners(Stage):
    """Two threads register the first two listeners of an emitter."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.ears: list[Ear] = []

    def stopped(self) -> None:
        self.ears.append(self.listen())

    def meanwhile(self) -> None:
        self.stopped()

    def fault(self) -> str | None:
        self.emit(1)
        if not all(ear.seen for ear in self.ears):
            self.wrong.append("a listener is lost")
        return super().fault()


def _interrupted(library: Library, bring: Bring) -> list[str]:
    faults: list[str] = []
    with quiet_collector():
        for stopped in ("emit", "on", "off"):
            make = partial(_Interrupted, library, stopped, ("emit", "on", "off"))
            faults += explore(make, library.code, bring)
    return faults


def signal_handler_at_the_worst_moment(library: Library) -> list[str]:
    """Emit, listen and remove in a signal handler that interrupts one of these."""
    return _interrupted(library, by_signal)


def finalizer_at_the_worst_moment(library: Library) -> list[str]:
    """Emit, listen and remove in a `__del__` that interrupts one of these."""
    return _interrupted(library, by_finalizer)


def registering_from_several_threads(library: Library) -> list[str]:
    """Register and remove in one thread while another registers, removes or emits."""
    faults = explore(partial(_FirstListeners, library), library.code, by_thread)
    for stopped in ("emit", "on", "off"):
        for meanwhile in ("emit", "on", "off"):
            if (stopped, meanwhile) != ("emit", "emit"):
                make = partial(_Interrupted, library, stopped, (meanwhile,))
                faults += explore(make, library.code, by_thread)
    return faults


# The table's rows


@dataclass(frozen=True)
class Fault:
    """A row of the table."""

    name: str
    title: str
    judge: Callable[[Library], list[str]]
    """Returns what goes wrong with a library."""
    needs: frozenset[Offer] = frozenset()
    """What a library has to offer to be asked."""


_ONCE: Final = frozenset({Offer.ONCE, Offer.ANYWHERE})
_REPLAY: Final = frozenset({Offer.REPLAY, Offer.ANYWHERE})
_ANYWHERE: Final = frozenset({Offer.ANYWHERE})

FAULTS: Final[tuple[Fault, ...]] = (
    Fault("once-threads", "once, emits from two threads", once_under_concurrent_emits, _ONCE),
    Fault("once-reentrant", "once, emit from a handler", once_under_reentrant_emits, _ONCE),
    Fault("late", "a listener that comes late", late_listener, _REPLAY),
    Fault(
        "replay-race", "replay racing with registration", replay_racing_with_registration, _REPLAY
    ),
    Fault(
        "order-threads", "one order, emits from two threads", one_order_across_threads, _ANYWHERE
    ),
    Fault("order-reentrant", "one order, emit from a handler", order_under_reentrant_emit),
    Fault(
        "crossing",
        "two emitters that emit each other",
        two_emitters_that_emit_each_other,
        _ANYWHERE,
    ),
    Fault(
        "removed",
        "removed while its event is delivered",
        removed_while_delivered,
        frozenset({Offer.OFF, Offer.ANYWHERE}),
    ),
    Fault(
        "waiting",
        "waiting for a running handler",
        waiting_for_a_running_handler,
        frozenset({Offer.WAIT, Offer.ANYWHERE}),
    ),
    Fault("raises", "a handler that raises", handler_that_raises),
    Fault(
        "signal",
        "a signal handler calls in",
        signal_handler_at_the_worst_moment,
        _ANYWHERE,
    ),
    Fault("finalizer", "a finalizer calls in", finalizer_at_the_worst_moment, _ANYWHERE),
    Fault(
        "registering",
        "registering from several threads",
        registering_from_several_threads,
        _ANYWHERE,
    ),
)
