"""What an emitter shows of itself: its repr and those of what it returns, and what it logs."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from injection import Point, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    Ping,
    Pong,
    Stop,
    assert_idle,
    channel_of,
    interrupting_section,
    until,
    until_in_line,
    until_waited_for,
)
from test_package import NoLock
from test_reentry import CutShort, Emitter, Interrupted, World

from eventemitter import EventEmitter, ReplayEventEmitter, _debug
from eventemitter._sections import this_thread
from eventemitter._turns import Gate


def handle(_: object) -> None:
    """Handle an event."""


# The repr


def test_the_repr_of_an_emitter_counts_the_listeners_of_each_type(kind: Emitter) -> None:
    """Inside: its class, and what it is listened to for; what has no listeners is left out."""

    class Link(kind):  # type: ignore[misc, valid-type]
        pass

    link = Link()
    name = f"{Link.__qualname__} at {id(link):#x}"
    assert repr(link) == f"<{name}: no listeners>"
    for _ in range(2):
        link.on(Ping, handle)
    link.once(Pong, handle)
    assert repr(link) == f"<{name}: Ping 2, Pong 1 listeners>"
    link.remove_all_listeners(Ping)
    assert repr(link) == f"<{name}: Pong 1 listeners>"


def test_the_repr_of_an_emitter_is_bounded(emitter: EventEmitter[Any]) -> None:
    """Inside: of a thousand event types it names the first few."""
    for number in range(1000):
        emitter.on(type(f"E{number}", (), {}), handle)
    assert repr(emitter).endswith(": E0 1, E1 1, E2 1, E3 1, E4 1, ... listeners>")


def test_an_emitter_has_a_repr_before_its_init_has_run(kind: Emitter) -> None:
    """Inside: in a debugger that stops in the first line of `__init__`."""
    assert repr(kind.__new__(kind)).endswith(": no listeners>")


class Named:
    """Has a repr of its own."""

    def __repr__(self) -> str:
        return "the author's"


@dataclass
class Record(EventEmitter[Any]):
    """An emitter with the repr of a dataclass."""

    number: int = 1


class NamedLast(EventEmitter[Any], Named):
    """Has its repr from behind the emitter."""


class NamedFirst(Named, ReplayEventEmitter[Any]):
    """Has its repr from before the emitter."""


class NamedByDict(ReplayEventEmitter[Any], dict[str, int]):
    """Has the repr of a class written in C."""


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Record, "Record(number=1)"),
        (NamedLast, "the author's"),
        (NamedFirst, "the author's"),
        (NamedByDict, "{}"),
    ],
)
def test_an_emitter_does_not_hide_the_repr_of_its_other_bases(cls: type, expected: str) -> None:
    """Inside: what authors have written, or a dataclass has generated, is what they see."""
    assert repr(cls()) == expected


class Broken:
    """An event that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_the_repr_of_an_expectation_says_how_it_ended(emitter: EventEmitter[Any]) -> None:
    """Inside: pending, done, failed or cancelled, and with what."""
    done, cancelled = emitter.expect(Ping), emitter.expect(Ping)
    broken = emitter.expect(Broken)
    failed = emitter.expect(Ping, where=lambda event: bool(1 / event.number))
    assert repr(done) == "<Expectation of Ping: pending>"
    cancelled.cancel()
    emitter.emit(Ping())
    emitter.emit(Broken())
    assert repr(cancelled) == "<Expectation of Ping: cancelled>"
    assert repr(done) == "<Expectation of Ping: done, Ping(number=0)>"
    assert repr(failed).startswith("<Expectation of Ping: failed, ZeroDivision")
    assert repr(broken).startswith("<Expectation of Broken: done, <Broken instance at ")


def test_the_repr_of_a_stream_says_what_is_in_its_buffer(kind: Emitter) -> None:
    """Inside: its event types, its buffer, what it has dropped, and whether it is closed."""
    emitter: EventEmitter[Any] = kind()
    stream = emitter.stream(Ping, Pong, maxsize=2, overflow="drop_oldest")
    for number in range(3):
        emitter.emit(Ping(number))
    assert repr(stream) == "<EventStream of Ping | Pong: open, 2 of 2 buffered, 1 dropped>"
    next(stream)
    stream.close()
    assert repr(stream) == "<EventStream of Ping | Pong: closed, 1 of 2 buffered, 1 dropped>"


def test_the_listeners_of_an_emitter_say_what_they_are(emitter: EventEmitter[Any]) -> None:
    """Inside: also those that `expect`, `stream` and `follow` have registered."""
    emitter.on(Ping, handle)
    expectation = emitter.expect(Ping)
    stream = emitter.stream(Ping)
    EventEmitter[Any]().follow(emitter, Ping)
    calls = ["handle", "<expectation>", "<follower>", "<stream>"]
    found = sorted(map(repr, emitter.listeners(Ping)))
    assert found == sorted(f"<Subscription to Ping: calls {each}>" for each in calls)
    assert emitter.event_types() == (Ping,)
    assert not expectation.done()
    stream.close()


def test_a_repr_takes_no_lock(emitter: EventEmitter[Any]) -> None:
    """Inside: a debugger may have stopped the thread that holds one, and waits for the repr."""
    stream, expectation = emitter.stream(Ping), emitter.expect(Ping)
    subscription = emitter.on(Ping, handle)
    shown = [emitter, stream, expectation, subscription]
    before = [*map(repr, shown)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_of(emitter, Ping), "mutex", NoLock())
        patch.setattr(getattr(stream, "_buffer"), "_mutex", NoLock())  # noqa: B009 - not public
        patch.setattr(expectation, "_mutex", NoLock())
        patch.setattr(expectation, "_condition", NoLock())
        assert [*map(repr, shown)] == before


class Looked(Interrupted):
    """A call interrupted by somebody who looks."""

    def interrupt(self) -> None:
        emitter = self.world.emitter
        assert repr(emitter).endswith(" listeners>")
        found = {each: emitter.listeners(each) for each in (Ping, Pong)}
        shown = repr(emitter)  # once more, as one that waits for its replay is a listener till then
        assert set(emitter.event_types()) == {
            each for each, listeners in found.items() if listeners
        }
        assert all(f"{each.__name__} {len(found[each])}" in shown for each in found)
        readers = [*self.world.expectations, *self.world.wide]
        assert all(repr(each) for each, _ in readers)


@pytest.mark.walks
@pytest.mark.parametrize("call", ["on", "once", "off", "emit"])
def test_who_interrupts_any_line_may_look(kind: Emitter, call: str) -> None:
    """G12: a debugger, a signal handler; the repr and the calls that look agree."""
    walked = inject_everywhere(
        lambda: Looked(World(kind), call, "", "expect_where", "stream"),
        package=PACKAGE,
        points="lines",
    )
    assert walked > 5


# The log


class Told(logging.Handler):
    """What has been logged; fails where a lock of the package is held. May be made to `act`."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.levels: set[int] = set()
        self.act: Callable[[str], object] = handle

    def emit(self, record: logging.LogRecord) -> None:
        assert not this_thread().inside
        self.levels.add(record.levelno)
        message = record.getMessage()
        self.messages.append(message)
        self.act(message)


@pytest.fixture
def told() -> Iterator[Told]:
    """Have all told; what is not about what a test does is no part of it."""
    logger, told = logging.getLogger("eventemitter"), Told()
    gc.collect()  # an expectation that an earlier test dropped says so when it is collected
    logger.addHandler(told)
    logger.setLevel(logging.DEBUG)
    yield told
    logger.removeHandler(told)
    logger.setLevel(logging.NOTSET)
    assert told.levels <= {logging.DEBUG}
    assert not this_thread().telling


def test_a_handler_whose_class_nobody_can_ask_is_named(told: Told) -> None:
    """Inside: a proxy of what is gone raises at each question, and `off()` does not."""

    class Owner:
        def __call__(self, event: Ping) -> None:
            """Handle it."""

    owner = Owner()
    emitter: EventEmitter[Ping] = EventEmitter()
    subscription = emitter.on(Ping, weakref.proxy(owner))
    del owner
    assert subscription.off()
    assert told.messages[-1].startswith("Ping: listener <weakproxy")


class Curious:
    """A handler that counts who asks for its name."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, _: object) -> None:
        pass

    def __repr__(self) -> str:
        self.asked += 1
        return "Curious"


def test_listeners_that_come_and_go_are_told(emitter: EventEmitter[Any], told: Told) -> None:
    """Inside: who comes and who goes, once for each."""
    curious = Curious()
    subscription = emitter.on(Ping, curious)
    assert [subscription.off(), subscription.off()] == [True, False]
    emitter.once(Ping, handle)
    emitter.emit(Ping())
    emitter.on(Ping, curious)  # whose replay comes first
    emitter.remove_all_listeners()
    assert told.messages == [
        "Ping: listener Curious added",
        "Ping: listener Curious removed",
        "Ping: once-listener handle added",
        "Ping: listener handle removed",
        "Ping: listener Curious added",
        "Ping: listener Curious removed",
    ]


def test_a_once_listener_goes_but_once(emitter: EventEmitter[Any], told: Told) -> None:
    """G7: one that was removed when its call was about to come is not told of again."""
    emitter.on(Ping, lambda _: emitter.off(Ping, handle))
    emitter.once(Ping, handle)
    told.messages.clear()
    emitter.emit(Ping())
    assert told.messages == ["Ping: listener handle removed"]


def test_readers_that_come_and_go_are_told(emitter: EventEmitter[Any], told: Told) -> None:
    """Inside: expectations, streams and followers are listeners like any other."""
    expectation, stream = emitter.expect(Ping), emitter.stream(Ping)
    following = EventEmitter[Any]().follow(emitter, Ping)
    expectation.cancel()
    stream.close()
    following.off()
    names = ["<expectation>", "<stream>", "<follower>"]
    assert told.messages == [
        *(f"Ping: listener {name} added" for name in names),
        *(f"Ping: listener {name} removed" for name in names),
    ]


def test_a_once_listener_satisfied_by_the_replay_is_not_told_as_added(told: Told) -> None:
    """Inside: it is never registered."""
    emitter = ReplayEventEmitter[Any]()
    emitter.emit(Ping())
    emitter.once(Ping, handle)
    assert told.messages == []


def test_nothing_is_asked_of_handlers_while_the_log_is_off(emitter: EventEmitter[Any]) -> None:
    """Inside: it costs nothing then."""
    curious = Curious()
    with emitter.on(Ping, curious):
        emitter.emit(Ping())
    emitter.once(Ping, curious)
    emitter.emit(Ping())
    assert not curious.asked


def test_what_is_told_keeps_no_handler(emitter: EventEmitter[Any], told: Told) -> None:
    """G14: records, which others may keep, hold names only."""
    records: list[logging.LogRecord] = []
    told.addFilter(lambda record: records.append(record) or True)  # type: ignore[func-returns-value]
    curious = Curious()
    gone = weakref.ref(curious)
    subscription = emitter.on(Ping, curious)
    del curious
    subscription.off()
    gc.collect()
    assert records
    assert gone() is None


class Held:
    """An emitter whose turn another thread has, whose handler stops until it is let go."""

    def __init__(self, crew: Crew, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.seen: list[int] = []
        self.stop = Stop()
        self.after: Callable[[], object] = lambda: None
        self.subscription = self.emitter.on(Ping, self.stop_once)
        self.holder = ""
        self.done: Future[None] = crew.run(self.hold)
        self.stop.wait()

    def hold(self) -> None:
        self.holder = threading.current_thread().name
        self.emitter.emit(Ping(1))

    def stop_once(self, event: Ping) -> None:
        self.seen.append(event.number)
        if event.number == 1:
            self.stop()
            self.after()

    @property
    def channel(self) -> Any:
        return channel_of(self.emitter, Ping)


def test_an_event_that_is_left_to_another_thread_is_told(
    kind: Emitter, crew: Crew, told: Told
) -> None:
    """Inside: who leaves it to whom, also where that is what `emit_nowait` is for."""
    held = Held(crew, kind)
    told.messages.clear()
    held.emitter.emit_nowait(Ping(2))
    name = threading.current_thread().name
    assert told.messages == [f"Ping: {name!r} hands its event over to {held.holder!r}"]
    held.stop.go()
    held.done.result(PATIENCE)
    assert held.seen == [1, 2]
    assert_idle(held.emitter)


def test_a_hand_over_that_breaks_a_cycle_is_told(kind: Emitter, crew: Crew, told: Told) -> None:
    """G10: the case that `emit()` decides by itself."""
    held = Held(crew, kind)
    names: list[str] = []
    pongs: list[int] = []

    def emit_back(event: Pong) -> None:
        pongs.append(event.number)
        if event.number == 1:
            held.emitter.emit(Ping(2))

    def emit_pong() -> None:
        names.append(threading.current_thread().name)
        held.emitter.emit(Pong(1))

    held.emitter.on(Pong, emit_back)
    held.after = lambda: held.emitter.emit(Pong(2))
    # 1. One thread delivers Ping(1), and its handler is stopped.
    # 2. Another delivers Pong(1), whose handler waits for its turn to emit Ping(2).
    other = crew.run(emit_pong)
    until_in_line(held.channel, 1)
    told.messages.clear()
    # 3. The first emits Pong(2): to wait for its turn it would wait for itself.
    held.stop.go()
    held.done.result(PATIENCE)
    other.result(PATIENCE)
    assert told.messages == [f"Pong: {held.holder!r} hands its event over to {names[0]!r}"]
    assert pongs == [1, 2]
    assert held.seen == [1, 2]
    assert_idle(held.emitter)


def test_what_interrupts_a_section_is_not_told(kind: Emitter, crew: Crew, told: Told) -> None:
    """G12: not even once it is carried out, as it is not known then who hands over what."""
    held = Held(crew, kind)
    told.messages.clear()
    with interrupting_section():
        held.emitter.emit(Ping(2))
        held.emitter.on(Ping, handle).off()
    held.emitter.listener_count(Ping)
    assert told.messages == []
    held.stop.go()
    held.done.result(PATIENCE)
    assert held.seen == [1, 2]
    assert_idle(held.emitter)


def test_an_emit_from_a_handler_of_its_type_is_not_told(
    emitter: EventEmitter[Any], told: Told
) -> None:
    """G4: it is left to its own thread, which is how it always is."""
    seen: list[int] = []

    def emit_more(event: Ping) -> None:
        seen.append(event.number)
        if event.number < 3:
            emitter.emit(Ping(event.number + 1))

    emitter.on(Ping, emit_more)
    told.messages.clear()
    emitter.emit(Ping(1))
    assert seen == [1, 2, 3]
    assert told.messages == []


def call_emit(held: Held) -> None:
    """Wait for the turn."""
    held.emitter.emit(Ping(2))


def call_off_and_wait(held: Held) -> None:
    """Wait for the handler."""
    assert held.subscription.off_and_wait()


def call_remove_all_and_wait(held: Held) -> None:
    """Wait for all handlers."""
    assert held.emitter.remove_all_listeners_and_wait()


WAITS = [call_emit, call_off_and_wait, call_remove_all_and_wait]


@pytest.mark.parametrize("wait", WAITS)
def test_a_long_wait_is_told_once(
    wait: Callable[[Held], None],
    kind: Emitter,
    crew: Crew,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inside: who waits for whom, and for which handler; then it waits on."""
    monkeypatch.setattr(_debug, "PERIOD", 1e-6)
    held = Held(crew, kind)
    told.messages.clear()
    said = Stop()
    told.act = lambda message: said() if "waited" in message else None
    names: list[str] = []

    def run() -> None:
        names.append(threading.current_thread().name)
        wait(held)

    waiting = crew.run(run)
    said.wait()  # 1. It has told.
    said.go()  # 2. It waits on, as its turn has not come or the handler is not through.
    (until_in_line if wait is call_emit else until_waited_for)(held.channel, 1)
    assert not waiting.done()
    held.stop.go()  # 3. Now it is.
    waiting.result(PATIENCE)
    held.done.result(PATIENCE)
    who = f"{names[0]!r} has waited 1e-06 s for {held.holder!r}"
    what = f"which calls {Held.stop_once.__qualname__}"
    assert [each for each in told.messages if "waited" in each] == [f"Ping: {who}, {what}"]
    assert held.seen == [1, 2] if wait is call_emit else [1]
    assert_idle(held.emitter)


@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_that_ends_in_time_is_not_told(
    wait: Callable[[Held], None],
    kind: Emitter,
    crew: Crew,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inside: the period is not waited for where there is no need."""
    monkeypatch.setattr(_debug, "PERIOD", PATIENCE * 2)
    held = Held(crew, kind)
    waiting = crew.run(wait, held)
    (until_in_line if wait is call_emit else until_waited_for)(held.channel, 1)
    held.stop.go()
    waiting.result(PATIENCE)
    assert not [each for each in told.messages if "waited" in each]
    assert_idle(held.emitter)


def test_a_wait_that_ends_just_then_is_not_told(
    kind: Emitter, crew: Crew, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside: nobody is told to wait for himself."""
    held = Held(crew, kind)
    original = Gate.wait

    def wait_too_long(gate: Gate, timeout: float | None = None) -> bool:
        if timeout is None:
            return original(gate)
        held.stop.go()
        held.done.result(PATIENCE)
        return False  # its turn came a moment after the time was up

    monkeypatch.setattr(Gate, "wait", wait_too_long)
    held.emitter.emit(Ping(2))
    assert held.seen == [1, 2]
    assert not [each for each in told.messages if "waited" in each]


def test_handlers_on_event_loops_go_by_their_names(
    kind: Emitter, crew: Crew, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G13: when they come, when they go, and when their end is waited for."""
    monkeypatch.setattr(_debug, "PERIOD", 1e-6)
    emitter: EventEmitter[Any] = kind()
    loop = asyncio.new_event_loop()
    reached, release = threading.Event(), asyncio.Event()
    names: list[str] = []

    async def work(_: object) -> None:
        names.append(threading.current_thread().name)
        reached.set()
        await release.wait()

    emitter.once(Pong, work, loop=loop)
    emitter.emit(Pong())
    subscription = emitter.on(Ping, work, loop=loop)
    emitter.emit(Ping())
    running = crew.run(loop.run_forever)
    assert reached.wait(PATIENCE)
    until(lambda: len(names) == 2)

    def let_go(message: str) -> None:
        if "waited" in message:
            loop.call_soon_threadsafe(release.set)

    told.act = let_go
    assert subscription.off_and_wait()
    loop.call_soon_threadsafe(loop.stop)
    running.result(PATIENCE)
    loop.close()
    name = work.__qualname__
    who = f"{threading.current_thread().name!r} has waited 1e-06 s for {names[0]!r}"
    assert told.messages == [
        f"Pong: once-listener {name} added",
        f"Pong: listener {name} removed",
        f"Ping: listener {name} added",
        f"Ping: listener {name} removed",
        f"Ping: {who}, which calls {name}",
    ]


@pytest.mark.parametrize("wait", WAITS)
def test_nobody_wakes_up_to_tell_while_the_log_is_off(
    wait: Callable[[Held], None], kind: Emitter, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside: a wait is one wait then."""
    timeouts: list[float | None] = []
    original = Gate.wait

    def note(gate: Gate, timeout: float | None = None) -> bool:
        timeouts.append(timeout)
        return original(gate, timeout)

    monkeypatch.setattr(Gate, "wait", note)
    held = Held(crew, kind)
    waiting = crew.run(wait, held)
    (until_in_line if wait is call_emit else until_waited_for)(held.channel, 1)
    held.stop.go()
    waiting.result(PATIENCE)
    assert set(timeouts) == {None}


def test_a_wait_with_a_shorter_limit_keeps_to_it(kind: Emitter, crew: Crew, told: Told) -> None:
    """Section 5: `timeout` is what it was while the log is on."""
    held = Held(crew, kind)
    waits: list[float | None] = []
    original = Gate.wait

    def note(gate: Gate, timeout: float | None = None) -> bool:
        waits.append(timeout)
        return original(gate, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "wait", note)
        assert not held.subscription.off_and_wait(1e-3)
    assert all(each is not None and each <= 1e-3 for each in waits)
    held.stop.go()
    assert not [each for each in told.messages if "waited" in each]


# What loggers do, who are users


def test_a_logging_handler_may_emit_and_register(emitter: EventEmitter[Any], told: Told) -> None:
    """Inside: nothing is told of what it does, or it would go on for ever."""
    seen: list[Ping] = []

    def act(_: str) -> None:
        emitter.on(Ping, seen.append)
        emitter.emit(Ping())
        emitter.remove_all_listeners(Ping)

    told.act = act
    emitter.on(Pong, handle)
    assert told.messages == ["Pong: listener handle added"]
    assert seen == [Ping()]
    assert_idle(emitter)


def test_a_logging_handler_never_waits_for_a_turn(kind: Emitter, crew: Crew, told: Told) -> None:
    """G10: the thread whose turn it is may want the lock of that very logging handler."""
    held = Held(crew, kind)
    results: list[bool] = []

    def act(message: str) -> None:
        if message == "Pong: listener handle added":
            held.emitter.emit(Ping(2))  # would wait for the holder, which waits for this
            results.append(held.subscription.off_and_wait())
            held.stop.go()

    told.act = act
    crew.run(held.emitter.on, Pong, handle).result(PATIENCE)
    held.done.result(PATIENCE)
    assert results == [False]
    assert_idle(held.emitter)


@pytest.mark.parametrize("call", ["on", "once", "off", "emit_once", "emit_nowait"])
def test_a_logger_that_fails_harms_no_call(
    call: str, kind: Emitter, crew: Crew, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: a filter that raises is reported to the unraisable hook, and the call is done."""
    reported: list[Any] = []
    held = Held(crew, kind)
    once = held.emitter.once(Pong, handle)
    subscription = held.emitter.on(Pong, handle)

    def hook(args: Any) -> None:
        reported.append(args.exc_value)

    monkeypatch.setattr("sys.unraisablehook", hook)

    def fail(message: str) -> None:
        raise ValueError(message)

    told.act = fail
    match call:
        case "off":
            assert subscription.off()
        case "emit_once":
            held.emitter.emit(Pong())
            assert not once.active
        case "emit_nowait":
            held.emitter.emit_nowait(Ping(2))
        case _:
            assert getattr(held.emitter, call)(Pong, handle).active
    told.act = handle
    held.stop.go()
    held.done.result(PATIENCE)
    assert [type(each) for each in reported] == [ValueError]
    assert held.seen == [1, 2][: 1 + (call == "emit_nowait")]
    assert_idle(held.emitter)


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_in_a_logger_ends_a_wait(
    wait: Callable[[Held], None],
    kind: Emitter,
    crew: Crew,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G11: the line is left, and nobody is waited for."""
    monkeypatch.setattr(_debug, "PERIOD", 1e-6)
    held = Held(crew, kind)

    def interrupt(message: str) -> None:
        if "waited" in message:
            raise KeyboardInterrupt

    told.act = interrupt
    with pytest.raises(KeyboardInterrupt):
        wait(held)
    assert not held.channel.line
    assert not held.channel.watches
    held.stop.go()
    held.done.result(PATIENCE)
    assert held.seen == [1]
    assert_idle(held.emitter)


@pytest.mark.walks
@pytest.mark.parametrize("call", ["on", "once", "off", "emit_once", "off_and_wait", "follow"])
def test_ctrl_c_anywhere_leaves_the_emitter_usable_while_the_log_is_on(
    call: str, kind: Emitter, told: Told
) -> None:
    """G11: also in what tells; afterwards the log goes on."""

    class CutShortAloud(CutShort):
        def check(self, point: Point) -> None:
            assert not this_thread().telling
            super().check(point)

    walked = inject_everywhere(lambda: CutShortAloud(kind, call), package=PACKAGE, points="lines")
    assert walked > 5
    assert told.messages


@pytest.mark.walks
@pytest.mark.parametrize("inner", ["on", "once", "off", "emit", "on_and_off"])
@pytest.mark.parametrize("outer", ["on", "once", "off", "emit"])
def test_a_call_survives_interruption_anywhere_while_the_log_is_on(
    outer: str, inner: str, kind: Emitter, told: Told
) -> None:
    """G12: nothing is told where a section is interrupted."""
    walked = inject_everywhere(
        lambda: Interrupted(World(kind), outer, inner), package=PACKAGE, points="lines"
    )
    assert walked > 5
    assert told.messages


def test_the_log_is_no_reason_to_import_more() -> None:
    """Inside: `concurrent.futures`, which futures come from, imports logging anyway."""
    assert sys.modules["concurrent.futures._base"].__dict__["logging"] is logging
