"""Calls that interrupt this package on their own thread: G12, and KeyboardInterrupt of G11."""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import cycle, product
from operator import attrgetter
from typing import Any, TypeVar

import pytest
from injection import Point, Points, inject_everywhere
from support import (
    PACKAGE,
    Crew,
    Ping,
    Pong,
    assert_idle,
    both_kinds,
    both_points,
    channel_of,
    interrupting_section,
    raise_interrupt,
)

from eventemitter import (
    EventEmitter,
    EventStream,
    Expectation,
    ReplayEventEmitter,
    StreamOverflow,
    Subscription,
)
from eventemitter._sections import local
from eventemitter._turns import Gate

Emitter = type[EventEmitter[Any]]
T = TypeVar("T")

SAFE_CALLS = ["on", "once", "off", "emit", "emit_nowait"]  # may interrupt any call (G12)
CALLS = [*SAFE_CALLS, "emit_other", "on_and_off"]
OTHER_CALLS = [
    "off_by_handler", "off_and_wait", "subscription_off", "subscription_off_and_wait",
    "remove_all_listeners", "remove_all_listeners_and_wait",
    "listener_count", "listeners", "event_types",
]  # fmt: skip
REPLAY_CALLS = ["latest", "forget"]
READER_CALLS = ["expect", "stream", "follow"]
CUT_SHORT = [
    *SAFE_CALLS, "emit_once", *OTHER_CALLS, *READER_CALLS, "expect_where", *REPLAY_CALLS
]  # fmt: skip
ASYNC_CALLS = ["emit_async", "subscription_off_and_wait_async"]

# Here, as its own lines would be points of the call that imports it.
importlib.import_module("eventemitter._loops")

# What was cut short between the two halves of an `await f()` never is. Where that is found out in a
# namedtuple's `__new__`, which has no `__import__`, it is not even said in these words.
cut_short_on_a_loop = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited",
    "ignore:Exception ignored in. <coroutine object",
    "ignore:Exception ignored in. <function Bell.__del__",
)
lines_and_deep_polls = pytest.mark.parametrize(
    "points", ["lines", pytest.param("polls", marks=pytest.mark.deep)]
)


def interruptions(*ordinary: tuple[str, str], calls: Sequence[str] = CALLS) -> pytest.MarkDecorator:
    """Interrupt by each of `calls` at points of each kind; what is not `ordinary` is deep."""
    return pytest.mark.parametrize(
        ("inner", "points"),
        [
            pytest.param(*each, marks=[] if each in ordinary else pytest.mark.deep)
            for each in product(calls, ("lines", "polls"))
        ],
    )


# A run on a loop takes several times as long; `on_and_off` is two of the calls left out, and
# `emit_other` an emit.
interruptions_on_a_loop = interruptions(calls=["once", "emit", "emit_nowait", "on_and_off"])


@pytest.fixture
def loop() -> Iterator[AbstractEventLoop]:
    """Offer an event loop for this thread."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()
    gc.collect()  # what was cut short, here and not in the next test


def run_to_end(loop: AbstractEventLoop, call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but this loop; fail where it would wait for ever."""

    async def run() -> T:
        task = asyncio.create_task(call)
        for _ in range(100):
            await asyncio.sleep(0)
        assert task.done(), "it would wait for ever"
        return task.result()

    return loop.run_until_complete(run())


class Reader:
    """What has been told the events since it was made, and what it has seen of them.

    `begin` and `end` are the lengths of what the steady listener had seen before and after it was
    made. So it must have seen the end of that from somewhere between the two on.
    """

    def __init__(self, name: str, begin: int) -> None:
        self.name, self.begin, self.end = name, begin, begin
        self.seen: list[Ping | Pong] = []

    def __call__(self, event: Ping | Pong) -> bool:
        """Note an event; return whether it is the last."""
        self.seen.append(event)
        return event == Ping(99)

    def assert_exact(self, steady: list[int], others: list[int] | None) -> None:
        """Assert that there is no gap, no repeat and nothing out of order, of each type."""
        pings = [event.number for event in self.seen if isinstance(event, Ping)]
        pongs = [event.number for event in self.seen if isinstance(event, Pong)]
        start = len(steady) - len(pings)
        assert pings == steady[start:], f"{self.name} saw a gap or a repeat"
        assert self.begin <= start <= self.end, f"{self.name} came too early or too late"
        if others is not None:
            assert pongs == others[len(others) - len(pongs) :], f"{self.name} saw a gap or a repeat"
            assert self.seen[-2:] == [Ping(99), Pong(99)]
            # Those of the call and of what interrupts it come in any order.
            ages = [min(event.number, 10) for event in self.seen]
            assert ages == sorted(ages), f"{self.name} saw events out of order"


class World:
    """An emitter with two steady listeners, a once-listener and one to be removed.

    `call` makes the named call with events and listeners of its own, so that a call can interrupt
    another of the same name. What came of all calls together is asserted in `assert_exact`.
    """

    def __init__(self, kind: Emitter, loop: AbstractEventLoop | None = None) -> None:
        self.replays = issubclass(kind, ReplayEventEmitter)
        self.emitter: EventEmitter[Any] = kind()
        self.loop = loop
        self.steady: list[int] = []
        self.second: list[int] = []
        self.singles: list[int] = []
        self.others: list[int] = []
        self.victims: list[list[int]] = []
        self.victim_subscriptions: list[Subscription[Ping]] = []
        self.removed: list[tuple[list[Any], int]] = []
        self.victims_removed = 0
        self.late: list[list[int]] = []
        self.late_once: list[list[int]] = []
        self.emitted: list[int] = []
        self.cut_short: int | None = None
        self.awaited: list[int] = []
        self.async_victim: list[int] = []
        self.expectations: list[tuple[Expectation[Ping], Reader]] = []
        self.wide: list[tuple[EventStream[Any], Reader]] = []
        self.narrow: list[tuple[EventStream[Ping], str]] = []
        self.targets: list[tuple[EventEmitter[Any], Reader]] = []
        self.closed = False
        self._listen(self.steady)
        for _ in range(2):
            self.victims.append([])
            self.victim_subscriptions.append(self._listen(self.victims[-1]))
        self._listen(self.second)
        self.emitter.on(Pong, lambda event: self.others.append(event.number))
        self.emitter.once(Ping, lambda event: self.singles.append(event.number))
        self.emitter.emit(Ping(1))
        self.emitter.emit(Pong(2))
        self.others_emitted, self.others_listen = 1, True
        if loop is not None:
            self._listen_on(loop)

    def _listen_on(self, loop: AbstractEventLoop) -> None:
        """Register two listeners on the loop, of which one is called already."""

        def listener(seen: list[int]) -> Callable[[Ping], Coroutine[Any, Any, None]]:
            async def handle(event: Ping) -> None:
                seen.append(event.number)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                seen.append(event.number)

            return handle

        self.awaits = len(self.steady)
        self.emitter.on(Ping, listener(self.awaited), loop=loop)
        self.async_subscription = self.emitter.on(Ping, listener(self.async_victim), loop=loop)
        self.victims_removed = -2
        self._emit(3)
        while not self.async_victim:
            loop.run_until_complete(asyncio.sleep(0))

    def _listen(self, seen: list[int]) -> Subscription[Ping]:
        return self.emitter.on(Ping, lambda event: seen.append(event.number))

    def call(self, name: str, number: int) -> None:
        """Make the call `name`; `number` is the event it emits, if it does."""
        getattr(self, f"_{name}")(number)

    def _on(self, _: int) -> None:
        seen: list[int] = []
        assert self._listen(seen).active
        self.late.append(seen)

    def _once(self, _: int) -> None:
        seen: list[int] = []
        self.emitter.once(Ping, lambda event: seen.append(event.number))
        self.late_once.append(seen)

    def _off(self, number: int) -> None:
        victim = number % 2
        assert self.emitter.off(self.victim_subscriptions[victim])
        assert not self.victim_subscriptions[victim].active
        seen = self.victims[victim]
        self.removed.append((seen, len(seen)))
        self.victims_removed += 1

    def _on_and_off(self, _: int) -> None:
        seen: list[Ping] = []
        self.emitter.on(Ping, seen.append)
        assert self.emitter.off(Ping, seen.append), "a listener was not found again"
        self.removed.append((seen, len(seen)))

    def _off_by_handler(self, _: int) -> None:
        handler = self.victim_subscriptions[0].handler
        assert handler is not None
        assert self.emitter.off(Ping, handler)
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _off_and_wait(self, _: int) -> None:
        self.victim_subscriptions[0].off_and_wait(0)
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _subscription_off(self, _: int) -> None:
        assert self.victim_subscriptions[0].off()
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _subscription_off_and_wait(self, _: int) -> None:
        assert self.victim_subscriptions[0].off_and_wait()
        self.removed.append((self.victims[0], len(self.victims[0])))
        self.victims_removed += 1

    def _remove_all_listeners(self, _: int) -> None:
        self.emitter.remove_all_listeners(Pong)
        self.removed.append((self.others, len(self.others)))
        self.others_emitted, self.others_listen = len(self.others), False

    def _remove_all_listeners_and_wait(self, _: int) -> None:
        assert self.emitter.remove_all_listeners_and_wait(Pong)
        self.removed.append((self.others, len(self.others)))
        self.others_emitted, self.others_listen = len(self.others), False

    def _listener_count(self, _: int) -> None:
        assert self.emitter.listener_count(Ping) >= 2

    def _listeners(self, _: int) -> None:
        assert self.emitter.listeners(Ping)[0].active

    def _event_types(self, _: int) -> None:
        assert set(self.emitter.event_types()) == {Ping, Pong}

    def _latest(self, _: int) -> None:
        assert isinstance(self.emitter, ReplayEventEmitter)
        assert self.emitter.latest(Ping) in {Ping(1), Ping(21)}

    def _forget(self, _: int) -> None:
        assert isinstance(self.emitter, ReplayEventEmitter)
        self.replays = False  # to those who register in the middle
        self.emitter.forget(Ping)
        assert self.emitter.latest(Ping) in {None, Ping(21)}

    def _reader(self, name: str) -> Reader:
        return Reader(name, len(self.steady) - self.replays)

    def _made(self, reader: Reader) -> Reader:
        reader.end = len(self.steady) - self.replays
        return reader

    def _expect(self, _: int) -> None:
        reader = self._reader("an expectation")
        self.expectations.append((self.emitter.expect(Ping), reader))
        self._made(reader)

    def _expect_where(self, _: int) -> None:
        reader = self._reader("a predicate")
        self.expectations.append((self.emitter.expect(Ping, where=reader), reader))
        self._made(reader)

    def _stream(self, _: int) -> None:
        reader = self._reader("a stream")
        self.wide.append((self.emitter.stream(Ping, Pong), reader))
        self._made(reader)

    def _narrow_streams(self, _: int) -> None:
        self.first = len(self.steady) - self.replays
        for overflow in ("raise", "drop_oldest", "drop_newest"):
            stream = self.emitter.stream(Ping, maxsize=1, overflow=overflow)
            self.narrow.append((stream, overflow))

    def _follow(self, _: int) -> None:
        reader = self._reader("a follower")
        target = type(self.emitter)()
        target.on(Ping, reader)
        target.on(Pong, reader)
        self.targets.append((target, reader))
        assert target.follow(self.emitter, Ping, Pong).active
        self._made(reader)

    def _stream_next(self, _: int) -> None:
        ((stream, reader),) = self.wide
        reader.seen.append(next(stream))

    def _stream_close(self, _: int) -> None:
        ((stream, _reader),) = self.wide
        stream.close()
        self.closed = True

    def _result(self, _: int) -> None:
        ((expectation, _reader),) = self.expectations
        assert expectation.result().number > 1

    def _emit_async(self, number: int) -> None:
        assert self.loop is not None
        self.emitted.append(number)
        run_to_end(self.loop, self.emitter.emit_async(Ping(number)))
        assert self.awaited.count(number) == 2, "it has not awaited a handler"

    def _subscription_off_and_wait_async(self, _: int) -> None:
        assert self.loop is not None
        seen, subscription = self.async_victim, self.async_subscription
        assert run_to_end(self.loop, subscription.off_and_wait_async())
        assert len(seen) % 2 == 0, "it has not awaited the handler"
        self.removed.append((seen, len(seen)))
        self.victims_removed += 1

    def _emit(self, number: int) -> None:
        self.emitted.append(number)
        self.emitter.emit(Ping(number))

    def _emit_nowait(self, number: int) -> None:
        self.emitted.append(number)
        self.emitter.emit_nowait(Ping(number))

    def _emit_other(self, number: int) -> None:
        self.others_emitted += 1
        self.emitter.emit(Pong(number))

    def assert_exact(self) -> None:
        """Assert that nothing is lost, doubled, resurrected or held."""
        assert_idle(self.emitter, queue=self.cut_short is None)
        count = self.emitter.listener_count(Ping)
        once_left = len(self.late_once) - sum(map(bool, self.late_once))
        streams = len(self.wide) * (not self.closed) + self._narrow_left()
        readers = sum(not each.done() for each, _ in self.expectations) + len(self.targets)
        late = len(self.late) + once_left + streams + readers
        assert count == 4 - self.victims_removed + late
        if self.loop is None:
            self._emit(99)
        else:
            self._emit_async(99)
        self.emitter.emit(Pong(99))
        self.others_emitted += self.others_listen
        if self.cut_short in self.steady:  # its emit() raised, but after it was committed
            self.emitted.append(self.cut_short)
        assert sorted(self.steady) == sorted([1, *self.emitted]), "an event was lost or doubled"
        # A delivery that was cut short ends there: later listeners do not get its event.
        seen = [number for number in self.steady if number != self.cut_short]
        assert [number for number in self.second if number != self.cut_short] == seen
        assert self.singles == [1], "a once-listener was called again"
        assert len(self.others) == self.others_emitted
        for seen, length in self.removed:
            assert len(seen) == length, "a removed listener was called"
        for seen in self.late:
            assert seen == self.steady[-len(seen) :], "a late listener saw a gap or a repeat"
            assert seen[-1] == 99, "a late listener was lost"
            assert not self.replays or len(seen) > 1, "no replay came"
        for seen in self.late_once:
            assert len(seen) == 1, "a once-listener was called twice, or lost"
        if self.loop is not None:
            told = [number for number in self.steady[self.awaits - self.replays :] for _ in "12"]
            assert self.cut_short or self.awaited == told, (
                "a listener on a loop saw a gap or a repeat"
            )
            assert not asyncio.all_tasks(self.loop)
        self._assert_readers_exact()
        assert_idle(self.emitter)

    def _narrow_left(self) -> int:
        """Return how many of the streams with one place still collect."""
        return len(self.narrow) - bool(self.narrow and len(self.steady) > self.first + 1)

    def _assert_readers_exact(self) -> None:
        for expectation, reader in self.expectations:
            number = expectation.result(0).number
            start = self.steady.index(number)
            if reader.seen:
                reader.assert_exact(self.steady, None)
                assert number == 99
            else:
                assert reader.begin <= start <= reader.end, "an expectation got the wrong event"
        for target, reader in self.targets:
            reader.assert_exact(self.steady, self.others)
            assert_idle(target)
        for stream, reader in self.wide:
            assert stream.dropped == 0
            stream.close()
            reader.seen += list(stream)
            if self.closed:  # which hides the end from it
                kept = len([event for event in reader.seen if isinstance(event, Ping)])
                reader.seen += map(Ping, self.steady[reader.begin + kept :])
                reader.assert_exact(self.steady, None)
            else:
                reader.assert_exact(self.steady, self.others)
        for stream, overflow in self.narrow:
            stream.close()
            told = self.steady[self.first :]
            assert next(stream) == Ping(told[-1 if overflow == "drop_oldest" else 0])
            assert stream.dropped == (1 if overflow == "raise" else len(told) - 1)
            if overflow == "raise":
                with pytest.raises(StreamOverflow):
                    next(stream)
            assert list(stream) == []
        registered = 4 - self.victims_removed + len(self.late) + len(self.targets)
        assert self.emitter.listener_count(Ping) == registered, "a reader stayed"


class Interrupted:
    """One call interrupted by another."""

    def __init__(self, world: World, outer: str, inner: str, *before: str) -> None:
        self.world, self.outer, self.inner = world, outer, inner
        for number, call in enumerate(before, 5):
            world.call(call, number)

    def run(self) -> None:
        self.world.call(self.outer, 10)

    def interrupt(self) -> None:
        self.world.call(self.inner, 21)

    def check(self, _: Point) -> None:
        self.world.assert_exact()


@pytest.mark.walks
@interruptions(*product(["on", "emit", "emit_nowait", "on_and_off"], ["lines"]), ("emit", "polls"))
@pytest.mark.parametrize(
    ("kind", "outer"),
    [
        (kind, call)
        for call in CALLS + OTHER_CALLS + REPLAY_CALLS
        for kind in (EventEmitter, ReplayEventEmitter)
        if kind is ReplayEventEmitter or call not in REPLAY_CALLS
    ],
)
def test_a_call_survives_a_call_that_interrupts_it_anywhere(
    outer: str, inner: str, kind: Emitter, points: Points
) -> None:
    """G12: whatever line or poll of a call another call interrupts, both are done exactly."""
    walked = inject_everywhere(
        lambda: Interrupted(World(kind), outer, inner), package=PACKAGE, points=points
    )
    assert walked > 5


READ: list[tuple[str, list[str]]] = [
    ("expect", []),
    ("expect_where", []),
    ("stream", []),
    ("follow", []),
    ("emit", ["expect", "expect_where", "stream", "narrow_streams", "follow"]),
    ("emit_nowait", ["expect", "expect_where", "stream", "narrow_streams", "follow"]),
    ("stream_next", ["stream", "emit"]),
    ("stream_close", ["stream", "emit", "emit_other"]),
]
"""Calls that have to do with readers, and what is called before."""


@pytest.mark.walks
@interruptions(("emit", "lines"))
@both_kinds
@pytest.mark.parametrize(
    ("outer", "before"), READ, ids=[" after ".join([each, *before[:1]]) for each, before in READ]
)
def test_readers_survive_a_call_that_interrupts_theirs_anywhere(
    outer: str, before: list[str], inner: str, kind: Emitter, points: Points
) -> None:
    """G1, G12: expectations, streams and followers get each event once, in order, without a gap."""
    walked = inject_everywhere(
        lambda: Interrupted(World(kind), outer, inner, *before), package=PACKAGE, points=points
    )
    assert walked > 5


class Waiting(Interrupted):
    """A call that waits for an event, interrupted before it does, while it does, or after.

    Where it is about to wait and nothing has been emitted, something else emits.
    """

    def __init__(self, world: World, outer: str, inner: str, before: str) -> None:
        if isinstance(world.emitter, ReplayEventEmitter):
            world.replays = False
            world.emitter.forget()
        super().__init__(world, outer, inner, before)
        self.told = False

    def run(self) -> None:
        lock = attrgetter("_shut")

        def wait_or_emit(gate: Gate, timeout: float | None = None) -> bool:
            assert timeout is None
            if not lock(gate).acquire(blocking=False):
                assert not self.told, "it would wait for ever"
                self.world.call("emit", 11)
                assert lock(gate).acquire(blocking=False), "it would wait for ever"
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gate, "wait", wait_or_emit)
            super().run()

    def interrupt(self) -> None:
        super().interrupt()
        self.told = self.inner in {"emit", "emit_nowait"}


@pytest.mark.walks
@interruptions(("emit", "lines"), ("on_and_off", "lines"))
@both_kinds
@pytest.mark.parametrize(("outer", "before"), [("result", "expect"), ("stream_next", "stream")])
def test_a_wait_for_an_event_survives_a_call_that_interrupts_it_anywhere(
    outer: str, before: str, inner: str, kind: Emitter, points: Points
) -> None:
    """G12: an event that is emitted between the look for it and the wait for it ends the wait."""
    walked = inject_everywhere(
        lambda: Waiting(World(kind), outer, inner, before), package=PACKAGE, points=points
    )
    assert walked > 5


@pytest.mark.walks
@interruptions_on_a_loop
@both_kinds
@pytest.mark.parametrize("outer", ASYNC_CALLS)
def test_an_async_call_survives_a_call_that_interrupts_it_anywhere(
    outer: str, inner: str, kind: Emitter, points: Points, loop: AbstractEventLoop
) -> None:
    """G12, G13: the same on an event loop, with listeners whose handlers run there."""
    walked = inject_everywhere(
        lambda: Interrupted(World(kind, loop), outer, inner), package=PACKAGE, points=points
    )
    assert walked > 20


def test_every_public_call_is_interrupted() -> None:
    """G11, G12: those of the emitters, and those of a subscription."""
    calls = {name for name in dir(ReplayEventEmitter) if not name.startswith("_")}
    calls |= {f"subscription_{name}" for name in dir(Subscription) if name.startswith("off")}
    assert calls <= {*SAFE_CALLS, *OTHER_CALLS, *REPLAY_CALLS, *READER_CALLS, *ASYNC_CALLS}


class FirstUse:
    """A call on a fresh emitter, on a thread that the package has not met, interrupted by `on`."""

    def __init__(self, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.seen: list[str] = []
        if "state" in local.__dict__:
            del local.state

    def run(self) -> None:
        self.emitter.on(Ping, lambda _: self.seen.append("outer"))

    def interrupt(self) -> None:
        self.emitter.on(Ping, lambda _: self.seen.append("inner"))

    def check(self, _: Point) -> None:
        self.emitter.emit(Ping())
        assert sorted(self.seen) == ["inner", "outer"]
        assert_idle(self.emitter)


@pytest.mark.walks
@both_points
@both_kinds
def test_the_first_use_of_an_emitter_survives_interruption(kind: Emitter, points: Points) -> None:
    """G12: two calls that both make the emitter's first channel use the same one."""
    assert inject_everywhere(lambda: FirstUse(kind), package=PACKAGE, points=points) > 5


class Contended:
    """An emit that finds the turn taken by another thread, interrupted while it gets in line.

    1. Another thread delivers Ping(5) and stays in its handler.
    2. This thread emits Ping(10), and waits in line.
    3. The other thread sees it in line, or that it has given up, and ends.
    4. This thread gets the turn.
    """

    def __init__(self, world: World, inner: Callable[[World], None]) -> None:
        self.world, self.inner, self.loop = world, inner, world.loop
        self.over = False
        self.crew = Crew()
        entered = threading.Event()
        channel = channel_of(world.emitter, Ping)

        def stay(event: Ping) -> None:
            if event.number == 5:
                entered.set()
                while not (channel.line or self.over):
                    time.sleep(0)  # lets the other thread run

        world.emitter.on(Ping, stay)
        world.victims_removed -= 1  # for the listener that was just added
        world.emitted.append(5)
        self.crew.run(world.emitter.emit, Ping(5))
        assert entered.wait(30)

    def run(self) -> None:
        try:
            self.emit()
        except KeyboardInterrupt:
            self.world.emitted.remove(10)
            self.world.cut_short = 10
        finally:
            self.over = True

    def emit(self) -> None:
        if self.loop is None:
            self.world.call("emit", 10)
        else:
            self.world.emitted.append(10)
            self.loop.run_until_complete(self.world.emitter.emit_async(Ping(10)))

    def interrupt(self) -> None:
        self.inner(self.world)

    def check(self, _: Point) -> None:
        self.crew.join()
        if self.loop is not None and self.world.cut_short is not None:
            cancel_all(self.loop)
            self.world.emitter.listener_count(Ping)  # does what was put aside, too
        self.world.assert_exact()


@pytest.mark.walks
@interruptions(("emit", "lines"), ("on_and_off", "lines"))
@both_kinds
def test_an_emit_that_waits_for_its_turn_survives_interruption(
    inner: str, kind: Emitter, points: Points
) -> None:
    """G12: a call that interrupts a waiting emit neither waits for it for ever nor is lost."""
    walked = inject_everywhere(
        lambda: Contended(World(kind), lambda world: world.call(inner, 21)),
        package=PACKAGE,
        points=points,
    )
    assert walked > 20


@pytest.mark.walks
@interruptions_on_a_loop
@both_kinds
def test_an_emit_async_that_waits_for_its_turn_survives_interruption(
    inner: str, kind: Emitter, points: Points, loop: AbstractEventLoop
) -> None:
    """G12: the same on an event loop."""
    walked = inject_everywhere(
        lambda: Contended(World(kind, loop), lambda world: world.call(inner, 21)),
        package=PACKAGE,
        points=points,
    )
    assert walked > 20


@pytest.mark.walks
@both_points
@both_kinds
def test_a_waiting_emit_cut_short_leaves_the_line(kind: Emitter, points: Points) -> None:
    """G11: KeyboardInterrupt anywhere in a contended emit leaves the turn to those behind it."""
    walked = inject_everywhere(
        lambda: Contended(World(kind), raise_interrupt), package=PACKAGE, points=points
    )
    assert walked > 20


@pytest.mark.deep
@both_points
@both_kinds
@cut_short_on_a_loop
def test_a_waiting_emit_async_cut_short_leaves_the_line(
    kind: Emitter, points: Points, loop: AbstractEventLoop
) -> None:
    """G11: KeyboardInterrupt in it, or anywhere else on its loop, and the end of its task."""
    walked = inject_everywhere(
        lambda: Contended(World(kind, loop), raise_interrupt), package=PACKAGE, points=points
    )
    assert walked > 20


class CutShort:
    """A call ended by KeyboardInterrupt, with events queued by a handler of the same type."""

    def __init__(self, kind: Emitter, call: str) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.call = call
        self.seen: list[int] = []
        self.queued: list[int] = []
        self.extra: list[Any] = []
        self.emitter.on(Ping, self.handle)
        self.subscription = self.emitter.on(Pong, lambda event: self.extra.append(event.number))
        self.once = self.emitter.once(Pong, lambda event: self.extra.append(-event.number))
        self.emitter.emit(Ping(7))
        self.interrupted = False

    def handle(self, event: Ping) -> None:
        self.seen.append(event.number)
        if event.number == 10:
            for number in (11, 12):
                self.emitter.emit(Ping(number))
                self.queued.append(number)

    def run(self) -> None:
        try:
            self.make_call()
        except KeyboardInterrupt:
            self.interrupted = True

    def make_call(self) -> None:  # noqa: C901
        match self.call:
            case "emit" | "emit_nowait":
                getattr(self.emitter, self.call)(Ping(10))
            case "on" | "once":
                getattr(self.emitter, self.call)(Ping, self.extra.append)
            case "off" | "off_and_wait":
                getattr(self.emitter, self.call)(self.subscription)
            case "subscription_off" | "subscription_off_and_wait":
                getattr(self.subscription, self.call.removeprefix("subscription_"))()
            case "off_by_handler":
                self.emitter.off(Pong, self.subscription.handler or print)
            case "emit_once":
                self.emitter.emit(Pong(3))
            case "event_types":
                self.emitter.event_types()
            case "listener_count" | "latest" | "forget" | "expect":
                self.made = getattr(self.emitter, self.call)(Ping)
            case "expect_where":
                self.made = self.emitter.expect(Ping, where=lambda _: False)
            case "stream":
                self.made = self.emitter.stream(Ping, Pong)
            case "follow":
                type(self.emitter)().follow(self.emitter, Ping, Pong)
            case name:
                getattr(self.emitter, name)(Pong)

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def assert_nothing_new(self) -> None:
        assert self.emitter.listener_count(Ping) == 1, "a registration that raised stayed"
        assert self.emitter.listener_count(Pong) <= 2, "a registration that raised stayed"

    def check(self, point: Point) -> None:
        # What a finalizer raises, the interpreter keeps to itself.
        assert self.interrupted or point.function == "Bell.__del__"
        self.assert_nothing_new()
        assert_idle(self.emitter, queue=False)
        kept = 10 not in self.seen
        self.emitter.emit(Ping(99))
        known = [number for number in self.seen if number not in {7, 10}]
        if kept and 10 in self.seen:  # so what its handler emits comes after
            known = [*known[1:], *known[:1]]
        missing = {*self.queued, 99} - set(known)
        assert not missing, f"queued and lost: {missing}"
        assert known == sorted(known), "out of order"
        assert len(set(self.seen)) == len(self.seen), "delivered twice"
        if "off" in self.call or "remove" in self.call:
            self.subscription.off()
            assert not any(each == self.subscription for each in self.emitter.listeners(Pong))
        self.emitter.emit(Pong(4))
        self.emitter.emit(Pong(5))
        assert sum(number < 0 for number in self.extra if isinstance(number, int)) <= 1
        assert_idle(self.emitter)


@pytest.mark.walks
@lines_and_deep_polls
@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (kind, call)
        for call in CUT_SHORT
        for kind in (EventEmitter, ReplayEventEmitter)
        if kind is ReplayEventEmitter or call not in REPLAY_CALLS
    ],
)
def test_keyboard_interrupt_anywhere_leaves_the_emitter_usable(
    call: str, kind: Emitter, points: Points
) -> None:
    """G11: no lock stays held, no turn taken, no queued event lost, wherever it strikes."""
    assert inject_everywhere(lambda: CutShort(kind, call), package=PACKAGE, points=points) > 5


class ReadCutShort(CutShort):
    """The same with readers of all kinds, also a call of one of them."""

    def __init__(self, kind: Emitter, call: str) -> None:
        super().__init__(kind, call)
        self.told: dict[str, list[int]] = {"predicate": [], "follower": []}
        self.first = self.emitter.expect(Ping)
        self.last = self.emitter.expect(Ping, where=self.note)
        self.wide = self.emitter.stream(Ping)
        self.strict = self.emitter.stream(Ping, maxsize=1)
        self.newest = self.emitter.stream(Ping, maxsize=1, overflow="drop_oldest")
        self.oldest = self.emitter.stream(Ping, maxsize=1, overflow="drop_newest")
        self.target = type(self.emitter)()
        self.target.on(Ping, lambda event: self.told["follower"].append(event.number))
        self.target.follow(self.emitter, Ping)
        if "stream" in call:
            self.emitter.emit(Ping(8))

    def note(self, event: Ping) -> bool:
        self.told["predicate"].append(event.number)
        return event.number == 99

    def make_call(self) -> None:
        match self.call:
            case "stream_next":
                next(self.wide)
            case "stream_close":
                self.wide.close()
            case "expectation_cancel":
                self.last.cancel()
            case _:
                super().make_call()

    def assert_nothing_new(self) -> None:
        pass

    def check(self, point: Point) -> None:
        if self.call == "stream_close":
            self.wide.close()  # again, as it may not have been done
        if self.call == "expectation_cancel":
            self.last.cancel()
        self.emitter.listener_count(Ping)  # does what was put aside, too
        super().check(point)
        self.emitter.emit(Ping(100))
        assert self.first.done(), "nobody will ever set it"
        assert self.last.cancelled() or self.last.result(0) == Ping(99)
        assert self.emitter.listener_count(Ping) == 4 + (self.call != "stream_close")
        for stream in (self.wide, self.newest, self.oldest):
            stream.close()
        assert self.emitter.listener_count(Ping) == 2
        assert_idle(self.target)
        collected = [event.number for event in self.wide]
        must = {*self.queued, 99, 100}
        if self.call != "stream_close":
            assert {*self.queued, *self.seen} - {7, 8} <= {*collected}
            self.assert_stretch(collected, must)
        if self.call != "expectation_cancel":
            # Not what came after: a handler may emit after this did.
            before = self.seen[: self.seen.index(99) + 1]
            self.assert_stretch(self.told["predicate"], {*before} & {*self.queued, 99})
        self.assert_stretch(self.told["follower"], must)
        assert [event.number for event in self.newest] == [100]
        assert self.strict.dropped == 1
        assert next(self.strict).number in {*collected[:2], 7, 8}
        with pytest.raises(StreamOverflow):
            next(self.strict)
        (first,) = self.oldest
        assert first.number in {*collected[:2], 7, 8}
        if "stream" not in self.call:
            # The event that was cut short may have reached only some of them.
            assert len(collected) - self.oldest.dropped in {1, 2}
            assert len(collected) - self.newest.dropped in {1, 2}

    def assert_stretch(self, told: list[int], must: set[int]) -> None:
        # A delivery that was cut short ends there: later listeners do not get its event.
        assert len(must - {*told}) <= 1, f"lost: {must - {*told}}"
        assert told[-1] in {99, 100}
        assert len(told) == len({*told}), "twice"
        order = [number for number in self.seen if number in told]
        assert [number for number in told if number in self.seen] == order, "out of order"


@pytest.mark.walks
@lines_and_deep_polls
@both_kinds
@pytest.mark.parametrize(
    "call",
    [
        pytest.param("emit", marks=pytest.mark.deep),
        pytest.param("emit_nowait", marks=pytest.mark.deep),
        "stream_next",
        "stream_close",
        "expectation_cancel",
    ],
)
def test_keyboard_interrupt_anywhere_leaves_the_readers_usable(
    call: str, kind: Emitter, points: Points
) -> None:
    """G11: what is read loses nothing that was committed, and who reads does not wait for ever."""
    assert inject_everywhere(lambda: ReadCutShort(kind, call), package=PACKAGE, points=points) > 5


class AsyncCutShort(CutShort):
    """The same on an event loop, with handlers that run there."""

    def __init__(self, kind: Emitter, call: str, loop: AbstractEventLoop) -> None:
        super().__init__(kind, call)
        self.loop = loop
        self.told: list[Ping | Pong] = []
        self.subscription.off()
        self.emitter.on(Ping, self.handle_async, loop=loop)
        self.subscription = self.emitter.on(Pong, self.handle_async, loop=loop)
        self.emitter.emit(Pong(1))
        while Pong(1) not in self.told:
            loop.run_until_complete(asyncio.sleep(0))

    async def handle_async(self, event: Ping | Pong) -> None:
        self.told.append(event)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def make_call(self) -> None:
        if self.call == "emit_async":
            self.loop.run_until_complete(self.emitter.emit_async(Ping(10)))
        else:
            self.loop.run_until_complete(self.subscription.off_and_wait_async())

    def assert_nothing_new(self) -> None:
        assert self.emitter.listener_count(Ping) == 2

    def check(self, point: Point) -> None:
        cancel_all(self.loop)
        super().check(point)
        run_to_end(self.loop, self.emitter.emit_async(Ping(100)))
        assert not asyncio.all_tasks(self.loop)
        pings = [event.number for event in self.told if isinstance(event, Ping)]
        assert pings[-1] == 100, "its loop has forgotten it"
        assert pings == [number for number in self.seen if number in pings], (
            "out of order, or twice"
        )


def cancel_all(loop: AbstractEventLoop) -> None:
    """Do what `asyncio.run` does at its end."""

    async def cancel() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.call_soon(loop.stop)  # or a run that was cut short may end the next
    loop.run_forever()
    loop.run_until_complete(cancel())


@pytest.mark.walks
@lines_and_deep_polls
@both_kinds
@pytest.mark.parametrize(
    "call", [pytest.param("emit_async", marks=pytest.mark.deep), "subscription_off_and_wait_async"]
)
@cut_short_on_a_loop
def test_keyboard_interrupt_anywhere_leaves_the_loop_usable(
    call: str, kind: Emitter, points: Points, loop: AbstractEventLoop
) -> None:
    """G11, G13: nothing is lost but what was under way, and nobody waits for ever."""
    failed: list[object] = []
    loop.set_exception_handler(lambda _, context: failed.append(context))
    walked = inject_everywhere(
        lambda: AsyncCutShort(kind, call, loop), package=PACKAGE, points=points
    )
    assert walked > 20


class Alarm:
    """Calls a function from real signals, thousands of times a second, until stopped."""

    def __init__(self) -> None:
        self.function: Callable[[], None] | None = None
        self.errors: list[BaseException] = []
        """What the function has raised, which what it interrupts may keep to itself."""
        self.pressing = 0
        """How many signals have come since what they interrupt was `through` last."""
        # Wandering, so that the signals do not fall into step with what they interrupt.
        self.delays = cycle(number / 1e7 for number in range(200, 1000, 7))

    def start(self, function: Callable[[], None]) -> None:
        self.function = function
        self.handle()

    def through(self) -> None:
        """Note that what is interrupted has come to an end, and begins anew."""
        self.pressing = 0

    def handle(self, *_: object) -> None:
        self.pressing += 1
        try:
            if self.function is not None:
                self.function()
        except BaseException as error:
            self.errors.append(error)
            self.stop()
            raise
        finally:
            if self.function is not None:
                # Not an interval: signals that leave more work than what they interrupt can do
                # between them would pile it up, and nest, without end. So each waits twice as long
                # as the one before, until a round is through, however busy the machine.
                # And again a second later: CPython before 3.13 works out in several steps whether
                # anything is pending, and a signal in between goes unnoticed until the next.
                delay = next(self.delays) * 2 ** min(self.pressing, 14)
                signal.setitimer(signal.ITIMER_REAL, delay, 1)

    def stop(self) -> None:
        self.function = None
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    """Offer real signals, and stop them at the end."""
    alarm = Alarm()
    earlier = signal.signal(signal.SIGALRM, alarm.handle)
    yield alarm
    alarm.stop()
    signal.signal(signal.SIGALRM, earlier)


@both_kinds
def test_tens_of_thousands_of_signals_lose_nothing(kind: Emitter, alarm: Alarm) -> None:
    """G12: signal handlers that emit, register, remove and claim while the main thread does."""
    emitter: EventEmitter[Any] = kind()
    seen: list[int] = []
    second: list[int] = []
    once: dict[int, int] = {}
    numbers = iter(range(10**9))
    signals = 0

    def single(number: int) -> None:
        once[number] = 0

        def claim(_: Pong) -> None:
            once[number] += 1

        emitter.once(Pong, claim)

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals == 10_000:
            alarm.stop()  # here, as on a slow machine the loop below may not come to look
        emitter.emit(Ping(next(numbers)))
        subscription = emitter.on(Ping, lambda _: None)
        single(-signals)
        assert subscription.off()
        emitter.emit_nowait(Pong())

    emitter.on(Ping, lambda event: seen.append(event.number))
    emitter.on(Ping, lambda event: second.append(event.number))
    alarm.start(interrupt)
    rounds = 0
    while alarm.function is not None:
        rounds += 1
        emitter.emit(Ping(next(numbers)))
        single(rounds)
        with emitter.on(Ping, lambda _: None):
            emitter.emit(Pong())
        alarm.through()
    alarm.stop()
    assert not alarm.errors
    emitter.emit(Pong())
    assert sorted(seen) == list(range(next(numbers)))
    assert second == seen
    assert set(once.values()) == {1}
    assert emitter.listener_count(Ping) == 2
    assert_idle(emitter)


class Finalized:
    """Garbage in a cycle, whose finalizer calls in."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cycle = self

    def __del__(self) -> None:
        self.call()


@both_kinds
def test_finalizers_that_call_in_during_any_allocation_lose_nothing(kind: Emitter) -> None:
    """G12: on CPython 3.11 a collection can start inside an allocation, so also inside a copy."""
    emitter: EventEmitter[Any] = kind()
    seen: list[int] = []
    late: list[Subscription[Ping]] = []
    numbers = iter(range(10**9))
    calls = 0

    def call_in() -> None:
        nonlocal calls
        calls += 1
        emitter.emit(Ping(next(numbers)))
        late.append(emitter.on(Ping, lambda _: None))
        if len(late) > 20:
            assert late.pop(0).off()

    emitter.on(Ping, lambda event: seen.append(event.number))
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        while calls < 2_000:
            Finalized(call_in)
            emitter.emit(Ping(next(numbers)))
            with emitter.on(Ping, lambda _: None):
                emitter.emit(Ping(next(numbers)))
            tuple([] for _ in range(5))
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert sorted(seen) == list(range(next(numbers)))
    assert emitter.listener_count(Ping) == 1 + len(late)
    assert_idle(emitter)


def test_a_failure_put_aside_is_reported_to_the_unraisable_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G11: an emit that interrupted a critical section has no caller left to raise to."""
    reported: list[BaseException | None] = []

    def hook(args: Any) -> None:
        reported.append(args.exc_value)

    monkeypatch.setattr("sys.unraisablehook", hook)
    emitter: EventEmitter[Ping] = EventEmitter()

    def fail(_: Ping) -> None:
        raise ValueError("broken")

    emitter.on(Ping, fail)
    with interrupting_section():
        emitter.emit(Ping())
    emitter.listener_count(Ping)
    assert [type(error) for error in reported] == [ExceptionGroup]
