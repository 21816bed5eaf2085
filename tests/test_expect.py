"""`expect()`: one future for threads and for asyncio, which misses nothing and leaves nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from injection import Point, Points, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    Ping,
    Pong,
    Stop,
    assert_idle,
    both_kinds,
    both_points,
    channel_of,
    raise_interrupt,
    until,
)

from eventemitter import EventEmitter, Expectation, HandlerFailure, ReplayEventEmitter
from eventemitter._channel import Channel
from eventemitter._expectation import Wish
from eventemitter._sections import this_thread
from eventemitter._turns import Gate

FUTURES = Path(concurrent.futures.__file__).parent

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]


class Event:
    """An event that can be referenced weakly."""


class BrokenError(Exception):
    """What a predicate raises."""


def is_first(event: Ping) -> bool:
    """Want one event."""
    return event.number == 1


def is_some(event: Ping) -> bool:
    """Want any event."""
    return event.number > 0


def broken(event: object) -> bool:
    """Fail, as a predicate."""
    raise BrokenError(event)


def waiters(expectation: Expectation[Any]) -> int:
    """Return how many threads and tasks wait for the expectation."""
    wish: Any = vars(expectation)["_wish"]
    return len(wish.gates)


async def until_async(condition: Callable[[], object]) -> None:
    """Let the other tasks of the loop go on until `condition` holds."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "it never came about"
        await asyncio.sleep(0)


async def result_of(expectation: Expectation[Any]) -> Any:
    """Await the expectation, in a task that is one from its first step on."""
    return await expectation


def someone_in_line(emitters: Sequence[Emitter]) -> bool:
    """Return whether a thread waits for its turn."""
    found: list[Channel] = []
    for emitter in emitters:
        found += emitter.__dict__.get("_eventemitter_channels", {}).values()
    return any(channel.line for channel in found)


@dataclass
class Rivalry:
    """A call that is stopped at a point, where another thread makes a call of its own."""

    crew: Crew
    emitters: Sequence[Emitter]
    call: Callable[[], object]
    rival: Callable[[], object]
    verify: Callable[[], object]
    rivals: list[concurrent.futures.Future[Any]] = field(
        default_factory=list[concurrent.futures.Future[Any]]
    )

    def run(self) -> None:
        """Make the call that is stopped."""
        self.call()

    def interrupt(self) -> None:
        """Let the rival make its call, as far as it can while this thread is stopped.

        Where this thread may hold a lock both go on. Nothing is lost by that: stopped right before
        and right after it holds one, it lets the rival come to its end.
        """
        rival = self.crew.run(self.rival)
        self.rivals.append(rival)
        if not this_thread().inside:
            until(lambda: rival.done() or someone_in_line(self.emitters))

    def check(self, point: Point, /) -> None:
        """Assert what must hold once both calls have returned."""
        del point
        self.crew.join()
        self.verify()


def force(make: Callable[[], Rivalry], points: Points = "lines") -> None:
    """Stop the call of a fresh rivalry at each point of it."""
    assert inject_everywhere(make, package=PACKAGE, points=points) > 5


@dataclass
class Interruption:
    """A call that is interrupted at a point by another on the same thread."""

    call: Callable[[], object]
    action: Callable[[], object]
    verify: Callable[[], object]

    def run(self) -> None:
        """Make the call that is interrupted."""
        self.call()

    def interrupt(self) -> None:
        """Interrupt it."""
        self.action()

    def check(self, point: Point, /) -> None:
        """Assert what must hold afterwards."""
        del point
        self.verify()


# Armed when made


def test_what_the_next_line_causes_is_not_missed(crew: Crew, emitter: Emitter) -> None:
    """It listens from when it is made, so that `start()` may be as quick as it likes (G1)."""

    def start() -> None:
        crew.run(emitter.emit, Ping(1)).result(PATIENCE)

    with emitter.expect(Ping) as up:
        start()
        assert up.result(5) == Ping(1)
    assert emitter.listener_count(Ping) == 0
    assert_idle(emitter)


def test_it_is_a_future_and_counts_as_a_listener_until_it_is_done(emitter: Emitter) -> None:
    """One registration, for one event; what comes later is not for it (G7)."""
    expectation = emitter.expect(Ping)
    assert isinstance(expectation, concurrent.futures.Future)
    assert isinstance(expectation, Expectation)
    assert not expectation.done()
    assert emitter.listener_count(Ping) == 1
    assert emitter.event_types() == (Ping,)
    emitter.emit(Pong(1))
    assert not expectation.done()
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert expectation.result() == Ping(1)
    assert expectation.exception() is None
    assert emitter.listener_count(Ping) == 0


def test_it_is_done_when_emit_returns(emitter: Emitter) -> None:
    """It is told in its place among the handlers (G5)."""
    states: list[bool] = []
    made: list[Expectation[Ping]] = []

    def look(_: Ping) -> None:
        states.append(made[0].done())

    emitter.on(Ping, look)
    made.append(emitter.expect(Ping))
    emitter.on(Ping, look)
    emitter.emit(Ping(1))
    assert states == [False, True]


def test_replay_satisfies_it_at_once() -> None:
    """The latest event is its event, and it is never registered (G1)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    expectation = emitter.expect(Ping)
    assert expectation.done()
    assert expectation.result(0) == Ping(1)
    assert emitter.listener_count(Ping) == 0
    assert asyncio.run(result_of(emitter.expect(Ping))) == Ping(1)


def test_replay_that_is_not_wanted_leaves_it_armed() -> None:
    """The predicate is asked of the latest event first, then of those to come (G2)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    asked: list[Ping] = []

    def where(event: Ping) -> bool:
        asked.append(event)
        return event.number == 3

    expectation = emitter.expect(Ping, where=where)
    assert asked == [Ping(1)]
    assert emitter.listener_count(Ping) == 1
    for number in (2, 3, 4):
        emitter.emit(Ping(number))
    assert expectation.result(0) == Ping(3)
    assert asked == [Ping(1), Ping(2), Ping(3)]
    assert emitter.listener_count(Ping) == 0


def test_it_is_made_while_a_handler_runs(crew: Crew, emitter: Emitter) -> None:
    """`expect()` never waits for a handler (G6)."""
    stop = Stop()
    emitter.on(Ping, stop)
    crew.run(emitter.emit, Ping(1))
    stop.wait()
    if isinstance(emitter, ReplayEventEmitter):
        emitter.forget()
    expectation = emitter.expect(Ping)
    assert not expectation.done()
    stop.go()
    crew.join()
    assert not expectation.done()
    emitter.emit(Ping(2))
    assert expectation.result(0) == Ping(2)


@pytest.mark.walks
@pytest.mark.parametrize("where", [None, is_first])
def test_event_emitted_at_any_line_of_expect_is_not_missed(
    crew: Crew, where: Callable[[Ping], object] | None
) -> None:
    """By replay or live (G1): 1 expect() is stopped at a line, 2 another thread emits, 3 go on."""

    def make() -> Rivalry:
        emitter = ReplayEventEmitter[Ping]()
        emitter.on(Ping, str)
        made: list[Expectation[Ping]] = []

        def check() -> None:
            [expectation] = made
            assert expectation.result(0) == Ping(1)
            assert emitter.listener_count(Ping) == 1
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: made.append(emitter.expect(Ping, where=where)),
            rival=lambda: emitter.emit(Ping(1)),
            verify=check,
        )

    force(make)


@pytest.mark.walks
@pytest.mark.parametrize("where", [None, is_first])
def test_expect_at_any_line_of_an_emit_does_not_miss_it(
    crew: Crew, where: Callable[[Ping], object] | None
) -> None:
    """By replay or live (G1): 1 an emit is stopped at a line, 2 another expects, 3 go on."""

    def make() -> Rivalry:
        emitter = ReplayEventEmitter[Ping]()
        emitter.on(Ping, str)
        made: list[Expectation[Ping]] = []

        def check() -> None:
            [expectation] = made
            assert expectation.result(0) == Ping(1)
            assert emitter.listener_count(Ping) == 1

        return Rivalry(
            crew,
            [emitter],
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: made.append(emitter.expect(Ping, where=where)),
            verify=check,
        )

    force(make)


@pytest.mark.walks
@both_kinds
@pytest.mark.parametrize("where", [None, is_some])
def test_two_emits_at_once_have_one_result(
    crew: Crew, kind: Kind, where: Callable[[Ping], object] | None
) -> None:
    """The first in the one order of all listeners (G3, G7), and its callbacks run once.

    1 an emit is stopped at a line, 2 another thread emits, 3 the first goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        heard: list[Ping] = []
        done: list[object] = []
        expectation = emitter.expect(Ping, where=where)
        expectation.add_done_callback(done.append)
        emitter.on(Ping, heard.append)

        def check() -> None:
            assert sorted(event.number for event in heard) == [1, 2]
            assert expectation.result(0) == heard[0]
            assert done == [expectation]
            assert emitter.listener_count(Ping) == 1
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: emitter.emit(Ping(2)),
            verify=check,
        )

    force(make)


# The predicate


def test_predicate_is_asked_in_the_thread_that_emits_until_it_likes_an_event(
    crew: Crew, emitter: Emitter
) -> None:
    """What it returns need only be true, as for a filter."""
    asked: list[tuple[int, int]] = []

    def where(event: Ping) -> list[int]:
        asked.append((event.number, threading.get_ident()))
        return [event.number] if event.number >= 2 else []

    def start() -> int:
        for number in (1, 2, 3):
            emitter.emit(Ping(number))
        return threading.get_ident()

    expectation = emitter.expect(Ping, where=where)
    thread = crew.run(start).result(PATIENCE)
    assert expectation.result(0) == Ping(2)
    assert asked == [(1, thread), (2, thread)]
    assert emitter.listener_count(Ping) == 0


@pytest.mark.parametrize("replayed", [False, True])
def test_predicate_runs_under_no_lock(crew: Crew, *, replayed: bool) -> None:
    """Another thread can look, register and emit while it runs (G6)."""
    emitter: Emitter = ReplayEventEmitter()

    def rival() -> None:
        emitter.on(Ping, str).off()
        emitter.emit_nowait(Ping(2))
        assert emitter.listener_count(Ping) == 1

    def where(event: Ping) -> bool:
        assert not this_thread().inside
        if event.number == 1:
            crew.run(rival).result(PATIENCE)
        return event.number == 2

    if replayed:
        emitter.emit(Ping(1))
    expectation = emitter.expect(Ping, where=where)
    if not replayed:
        emitter.emit(Ping(1))
    assert expectation.result(0) == Ping(2)


@pytest.mark.parametrize("replayed", [False, True])
def test_predicate_that_raises_fails_the_future_alone(*, replayed: bool) -> None:
    """Neither emit() nor expect() raises, `on_error` is not told, and it is unregistered."""
    failures: list[HandlerFailure] = []
    emitter: Emitter = ReplayEventEmitter(on_error=failures.append)
    if replayed:
        emitter.emit(Ping(1))
    expectation = emitter.expect(Ping, where=broken)
    if not replayed:
        emitter.emit(Ping(1))
    with pytest.raises(BrokenError) as caught:
        expectation.result(0)
    assert caught.value.args == (Ping(1),)
    assert expectation.exception(0) is caught.value
    assert failures == []
    assert emitter.listener_count(Ping) == 0
    emitter.emit(Ping(2))
    with pytest.raises(BrokenError):
        asyncio.run(result_of(expectation))
    assert_idle(emitter)


def test_predicate_whose_answer_is_neither_true_nor_false_fails_the_future(
    emitter: Emitter,
) -> None:
    """As one that raises does."""

    class Answer:
        def __bool__(self) -> bool:
            raise BrokenError

    expectation = emitter.expect(Ping, where=lambda _: Answer())
    emitter.emit(Ping(1))
    assert isinstance(expectation.exception(0), BrokenError)
    assert emitter.listener_count(Ping) == 0


def test_predicate_that_is_interrupted_leaves_it_armed(emitter: Emitter) -> None:
    """A KeyboardInterrupt passes through emit() at once (G11)."""

    def where(event: Ping) -> bool:
        if event.number == 1:
            raise KeyboardInterrupt
        return True

    expectation = emitter.expect(Ping, where=where)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(1))
    assert not expectation.done()
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(2))
    assert expectation.result(0) == Ping(2)
    assert_idle(emitter)


def test_predicate_may_emit(emitter: Emitter) -> None:
    """The event is queued, and offered next (G4)."""

    def where(event: Ping) -> bool:
        if event.number == 1:
            emitter.emit(Ping(2))
            assert not expectation.done()
        return event.number == 2

    expectation = emitter.expect(Ping, where=where)
    emitter.emit(Ping(1))
    assert expectation.result(0) == Ping(2)


@pytest.mark.parametrize("ending", [True, False, BrokenError])
def test_predicate_may_cancel_its_own_expectation(emitter: Emitter, ending: Any) -> None:
    """However it ends after that."""

    def where(_: Ping) -> bool:
        expectation.cancel()
        if ending is BrokenError:
            raise BrokenError
        return bool(ending)

    expectation = emitter.expect(Ping, where=where)
    emitter.emit(Ping(1))
    assert expectation.cancelled()
    assert emitter.listener_count(Ping) == 0


@pytest.mark.walks
@pytest.mark.parametrize("ending", [True, False, BrokenError])
@pytest.mark.parametrize("rival", ["cancel", "remove_all_listeners"])
def test_cancelling_it_at_any_line_of_an_emit_harms_nobody(
    crew: Crew, ending: Any, rival: str
) -> None:
    """It is cancelled or not; emit() raises nothing, and its callbacks run once.

    1 an emit is stopped at a line, 2 another thread cancels, 3 the emit goes on.
    """

    def where(_: Ping) -> bool:
        if ending is BrokenError:
            raise BrokenError
        return bool(ending)

    def make() -> Rivalry:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Ping, where=where)
        done: list[object] = []
        expectation.add_done_callback(done.append)

        def check() -> None:
            assert expectation.done()
            if not expectation.cancelled():
                error = expectation.exception(0)
                assert isinstance(error, BrokenError) == (ending is BrokenError)
            assert done == [expectation]
            assert emitter.listener_count(Ping) == 0
            assert_idle(emitter)

        def cancel() -> None:
            if rival == "cancel":
                expectation.cancel()
            else:
                emitter.remove_all_listeners()

        return Rivalry(
            crew, [emitter], call=lambda: emitter.emit(Ping(1)), rival=cancel, verify=check
        )

    force(make)


async def coroutine_predicate(event: Ping) -> bool:
    """Ask in vain."""
    return event.number > 0


class CoroutinePredicate:
    """Is called, and makes a coroutine."""

    async def __call__(self, event: Ping) -> bool:
        return event.number > 0


@pytest.mark.parametrize(
    "where",
    [42, "peer", coroutine_predicate, partial(coroutine_predicate), CoroutinePredicate()],
)
def test_what_is_no_predicate_is_refused(emitter: Emitter, where: Any) -> None:
    """Section 5: at once, as nobody would await what an async one returns."""
    with pytest.raises(TypeError, match=r"expect\(Ping, where=.*a plain function"):
        emitter.expect(Ping, where=where)
    assert emitter.event_types() == ()


def test_what_is_no_event_type_is_refused() -> None:
    """Section 5, as in on()."""

    class Declared(EventEmitter[Ping]):
        pass

    no_type: Any = "connected"
    with pytest.raises(TypeError, match=r"expect\(\): the event type must be a class"):
        EventEmitter().expect(no_type)
    with pytest.raises(TypeError, match="declares Ping, not Pong"):
        Declared().expect(Pong)


# Ending it


def test_cancel_unregisters(emitter: Emitter) -> None:
    """At once, and no event changes anything after that (G8)."""
    expectation = emitter.expect(Ping)
    assert expectation.cancel()
    assert expectation.cancelled()
    assert emitter.listener_count(Ping) == 0
    assert expectation.cancel()
    emitter.emit(Ping(1))
    assert expectation.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        expectation.result(0)


def test_cancel_comes_too_late_for_what_is_done(emitter: Emitter) -> None:
    """As with every future."""
    expectation = emitter.expect(Ping)
    emitter.emit(Ping(1))
    assert not expectation.cancel()
    assert expectation.result(0) == Ping(1)


@pytest.mark.parametrize("fails", [False, True])
def test_leaving_the_with_block_cancels_it(emitter: Emitter, *, fails: bool) -> None:
    """However it is left, nothing stays registered."""
    with suppress(BrokenError), emitter.expect(Ping) as expectation:
        if fails:
            raise BrokenError
    assert expectation.cancelled()
    assert emitter.listener_count(Ping) == 0


def by_subscription(emitter: Emitter) -> None:
    """Remove the listener as whoever looks at it can."""
    [subscription] = emitter.listeners(Ping)
    subscription.off()


def by_emitter(emitter: Emitter) -> None:
    """Remove the listener as the owner of the emitter does."""
    [subscription] = emitter.listeners(Ping)
    emitter.off(subscription)


def by_type(emitter: Emitter) -> None:
    """Remove all listeners of the event type."""
    emitter.remove_all_listeners(Ping)


def by_all(emitter: Emitter) -> None:
    """Remove all listeners."""
    emitter.remove_all_listeners()


def by_waiting(emitter: Emitter) -> None:
    """Remove all listeners, and wait."""
    assert emitter.remove_all_listeners_and_wait()


every_removal = pytest.mark.parametrize(
    "remove", [by_subscription, by_emitter, by_type, by_all, by_waiting]
)


@every_removal
def test_removing_its_listener_ends_the_wait_of_a_thread(
    crew: Crew, emitter: Emitter, remove: Callable[[Emitter], None]
) -> None:
    """It is cancelled, so that nobody waits for ever."""
    expectation = emitter.expect(Ping)
    waiting = crew.run(concurrent.futures.wait, [crew.run(settled, expectation)])
    until(lambda: waiters(expectation) == 1)
    remove(emitter)
    [future] = waiting.result(PATIENCE).done
    assert future.result() == "cancelled"
    assert expectation.cancelled()
    assert_idle(emitter)


def settled(expectation: Expectation[Any]) -> object:
    """Wait in this thread; return the event, or that it was cancelled."""
    try:
        return expectation.result()
    except concurrent.futures.CancelledError:
        return "cancelled"


@every_removal
def test_removing_its_listener_ends_the_wait_of_a_task(
    crew: Crew, emitter: Emitter, remove: Callable[[Emitter], None]
) -> None:
    """From another thread, and the task gets the CancelledError of its own world."""
    expectation = emitter.expect(Ping)

    async def main() -> None:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation) == 1)
        crew.run(remove, emitter)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    crew.join()
    assert expectation.cancelled()
    assert_idle(emitter)


@pytest.mark.walks
def test_its_removal_cancels_it_before_off_returns_in_any_handler() -> None:
    """Also in a handler that an interrupted call runs: it may wait for it at once (G10).

    1 a call is interrupted at a line, 2 by an emit, 3 whose handler removes the listener and looks.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        other: Emitter = EventEmitter()
        expectation = other.expect(Pong)
        cancelled: list[bool] = []

        def handler(_: Ping) -> None:
            other.remove_all_listeners()
            cancelled.append(expectation.cancelled())

        emitter.on(Ping, handler)

        def check() -> None:
            assert cancelled == [True]

        return Interruption(
            lambda: emitter.on(Ping, str), lambda: emitter.emit(Ping(1)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points="lines") > 10


# Waiting in threads


def test_several_threads_wait_for_one(crew: Crew, emitter: Emitter) -> None:
    """All get the event; one that gives up leaves the others waiting."""
    expectation = emitter.expect(Ping)
    waiting = [crew.run(expectation.result) for _ in range(3)]
    with pytest.raises(TimeoutError):
        expectation.result(0)
    until(lambda: waiters(expectation) == 3)
    with pytest.raises(TimeoutError):
        expectation.result(1e-9)
    emitter.emit(Ping(1))
    assert [each.result(PATIENCE) for each in waiting] == [Ping(1)] * 3
    crew.join()
    assert waiters(expectation) == 0


@pytest.mark.parametrize("method", ["result", "exception"])
@pytest.mark.parametrize("timeout", [0, 0.0, -1, 1e-9, -(10**400)])
def test_time_that_is_up_leaves_it_armed(emitter: Emitter, method: str, timeout: float) -> None:
    """0 means do not wait; its listener is removed only when it is cancelled."""
    expectation = emitter.expect(Ping)
    with pytest.raises(TimeoutError):
        getattr(expectation, method)(timeout)
    assert waiters(expectation) == 0
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(1))
    assert expectation.result(timeout) == Ping(1)
    assert expectation.exception(timeout=timeout) is None


@pytest.mark.parametrize("method", ["result", "exception"])
@pytest.mark.parametrize("timeout", [float("inf"), 10**400, 1e300])
def test_any_number_of_seconds_can_be_waited(
    crew: Crew, emitter: Emitter, method: str, timeout: float
) -> None:
    """However many."""
    expectation = emitter.expect(Ping)
    waiting = crew.run(getattr(expectation, method), timeout)
    until(lambda: waiters(expectation) == 1)
    emitter.emit(Ping(1))
    assert waiting.result(PATIENCE) in (Ping(1), None)


@pytest.mark.parametrize("method", ["result", "exception"])
@pytest.mark.parametrize(
    ("timeout", "error"), [("1", TypeError), ([], TypeError), (float("nan"), ValueError)]
)
def test_what_is_no_timeout_is_refused(
    emitter: Emitter, method: str, timeout: Any, error: type[Exception]
) -> None:
    """Section 5, also where it would not have to wait."""
    expectation = emitter.expect(Ping)
    for _ in range(2):
        with pytest.raises(error, match="timeout must be None or a number of seconds"):
            getattr(expectation, method)(timeout)
        emitter.emit(Ping(1))


def test_futures_wait_waits_for_several(crew: Crew, emitter: Emitter) -> None:
    """As for any futures: for the first, and for all."""
    ping, pong = emitter.expect(Ping), emitter.expect(Pong)
    futures: list[concurrent.futures.Future[Any]] = [ping, pong]
    crew.run(emitter.emit, Pong(1))
    first = concurrent.futures.wait(
        futures, timeout=PATIENCE, return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert first.done == {pong}
    assert first.not_done == {ping}
    crew.run(emitter.emit, Ping(1))
    assert concurrent.futures.wait(futures, timeout=PATIENCE).done == {ping, pong}


def wants(number: int) -> Callable[[Ping], bool]:
    """Return a predicate."""
    return lambda event: event.number == number


def test_as_completed_yields_them_as_they_come(emitter: Emitter) -> None:
    """Failed and cancelled ones too."""
    numbers = [emitter.expect(Ping, where=wants(number)) for number in range(3)]
    failing, pong = emitter.expect(Ping, where=broken), emitter.expect(Pong)
    futures: list[concurrent.futures.Future[Any]] = [*numbers, failing, pong]
    found = concurrent.futures.as_completed(futures, timeout=PATIENCE)
    emitter.emit(Ping(2))
    assert {next(found), next(found)} == {numbers[2], failing}
    emitter.emit(Ping(0))
    assert next(found) is numbers[0]
    emitter.remove_all_listeners(Pong)
    assert next(found) is pong
    numbers[1].cancel()
    assert list(found) == [numbers[1]]


@pytest.mark.parametrize("end", ["cancel", "remove"])
@pytest.mark.parametrize("before", [False, True])
def test_futures_wait_ends_when_it_is_cancelled(
    crew: Crew, emitter: Emitter, end: str, *, before: bool
) -> None:
    """Before the wait or during it: nobody waits for ever."""
    expectation = emitter.expect(Ping)
    begun = threading.Event()

    def cancel() -> None:
        if end == "cancel":
            expectation.cancel()
        else:
            emitter.remove_all_listeners()

    def wait() -> set[concurrent.futures.Future[Ping]]:
        begun.set()
        return concurrent.futures.wait([expectation], timeout=PATIENCE).done

    if before:
        cancel()
    waiting = crew.run(wait)
    begun.wait(PATIENCE)
    base: Any = vars(expectation)
    until(lambda: before or base["_waiters"])
    cancel()
    assert waiting.result(PATIENCE) == {expectation}


@pytest.mark.walks
@pytest.mark.parametrize("method", ["result", "exception"])
@both_points
def test_emit_of_a_signal_handler_at_any_point_of_a_wait_is_noticed(
    monkeypatch: pytest.MonkeyPatch, method: str, points: Points
) -> None:
    """G12: the main thread may be anywhere in `result()` when the signal comes.

    The last run is not interrupted any more: there the event comes right before the thread blocks.
    """
    current: list[Any] = []

    class KnownGate(Gate):
        def __init__(self) -> None:
            super().__init__()
            self._shut: Any = Shut(self._shut)

    class Shut:
        def __init__(self, lock: Any) -> None:
            self.lock = lock

        def acquire(self, **timeout: float) -> bool:
            assert not timeout
            if not current[-1].interrupted:
                current[-1].interrupt()
            assert self.lock.acquire(timeout=PATIENCE), "the event went unnoticed"
            return True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lock, name)

    class Waiting:
        def __init__(self) -> None:
            self.emitter: Emitter = EventEmitter()
            self.expectation = self.emitter.expect(Ping)
            self.interrupted = False
            self.found: object = ()
            current.append(self)

        def run(self) -> None:
            self.found = getattr(self.expectation, method)()

        def interrupt(self) -> None:
            self.interrupted = True
            self.emitter.emit(Ping(1))

        def check(self, point: Point, /) -> None:
            # The interpreter does not poll where result() returns to its caller.
            del point
            assert self.found == (Ping(1) if method == "result" else None)
            assert waiters(self.expectation) == 0
            assert_idle(self.emitter)

    monkeypatch.setattr("eventemitter._expectation.Gate", KnownGate)
    assert inject_everywhere(Waiting, package=PACKAGE, points=points) > 10


def test_emit_of_a_real_signal_handler_ends_the_wait_of_the_main_thread(
    crew: Crew, emitter: Emitter
) -> None:
    """G12: the thread that would have to be woken is the one that emits."""
    expectation = emitter.expect(Ping)
    main = threading.get_ident()

    def handler(*_: object) -> None:
        emitter.emit(Ping(1))

    earlier = signal.signal(signal.SIGUSR1, handler)

    def sent() -> bool:
        signal.pthread_kill(main, signal.SIGUSR1)
        return expectation.done()

    def send() -> None:
        until(lambda: waiters(expectation) == 1)
        # Again and again: a signal that comes right before a wait for a lock is not handled until
        # that is over.
        until(sent)

    try:
        crew.run(send)
        assert expectation.result(PATIENCE) == Ping(1)
        crew.join()
    finally:
        signal.signal(signal.SIGUSR1, earlier)


# Callbacks


@both_kinds
def test_callbacks_run_under_no_lock_however_it_ends(crew: Crew, kind: Kind) -> None:
    """Another thread can use the emitter while one runs (G6)."""

    def use(emitter: Emitter) -> None:
        with emitter.on(Ping, str):
            emitter.emit_nowait(Ping(2))

    endings: list[Callable[[Emitter, Expectation[Any]], object]] = [
        lambda emitter, _: emitter.emit(Ping(1)),
        lambda _, expectation: expectation.cancel(),
        lambda emitter, _: emitter.remove_all_listeners(),
        lambda emitter, _: by_subscription(emitter),
    ]
    for where in (None, broken):
        for ending in endings:
            emitter = kind()
            done: list[object] = []

            def callback(
                future: object, emitter: Emitter = emitter, done: list[object] = done
            ) -> None:
                assert not this_thread().inside
                crew.run(use, emitter).result(PATIENCE)
                done.append(future)

            expectation = emitter.expect(Ping, where=where)
            expectation.add_done_callback(callback)
            ending(emitter, expectation)
            assert done == [expectation]
            assert_idle(emitter)


@pytest.mark.walks
@both_points
@both_kinds
def test_callbacks_run_under_no_lock_where_an_interruption_removes_it(
    crew: Crew, kind: Kind, points: Points
) -> None:
    """G6, G12: off() inside an interrupted section cancels it, when that section is over."""

    def make() -> Interruption:
        emitter = kind()
        emitter.on(Ping, str)
        inside: list[bool] = []
        expectation = emitter.expect(Ping)
        [_, subscription] = emitter.listeners(Ping)

        def callback(_: object) -> None:
            inside.append(this_thread().inside)
            crew.run(emitter.listener_count, Ping).result(PATIENCE)

        expectation.add_done_callback(callback)

        def check() -> None:
            assert inside == [False]
            assert expectation.cancelled()
            assert emitter.listener_count(Ping) == 2
            crew.join()
            assert_idle(emitter)

        return Interruption(
            lambda: emitter.on(Ping, str), lambda: emitter.off(subscription), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


@pytest.mark.walks
def test_callbacks_run_once_where_an_interruption_ends_it_while_it_ends() -> None:
    """G7, G12: an off() that interrupts the very call that gives it its event.

    Inside `concurrent.futures`, where the event is already taken and the future not yet done.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Ping)
        done: list[tuple[bool, object]] = []

        def callback(_: object) -> None:
            done.append((expectation.cancelled(), None if expectation.cancelled() else "event"))

        expectation.add_done_callback(callback)

        def check() -> None:
            assert len(done) == 1
            assert done[0][0] == expectation.cancelled()
            assert emitter.listener_count(Ping) == 0

        return Interruption(
            lambda: emitter.emit(Ping(1)), emitter.remove_all_listeners, verify=check
        )

    assert inject_everywhere(make, package=FUTURES, points="lines") > 10


@pytest.mark.walks
def test_callbacks_run_once_where_an_emit_interrupts_its_cancellation() -> None:
    """G7, G12: it has its event, or it is cancelled, but never first the one and then the other."""

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Ping)
        done: list[bool] = []
        expectation.add_done_callback(lambda _: done.append(expectation.cancelled()))

        def check() -> None:
            assert done == [expectation.cancelled()]
            assert emitter.listener_count(Ping) == 0

        return Interruption(expectation.cancel, lambda: emitter.emit(Ping(1)), verify=check)

    assert inject_everywhere(make, package=FUTURES, points="lines") > 5


@pytest.mark.walks
@both_points
@pytest.mark.parametrize("where", [None, is_some])
@both_kinds
def test_interrupted_emit_leaves_it_armed_or_done(
    crew: Crew, kind: Kind, where: Callable[[Ping], object] | None, points: Points
) -> None:
    """G11: KeyboardInterrupt at any point leaves nobody waiting for ever.

    1 a thread waits, 2 an emit is cut short, 3 and another is not: the wait is over.
    """

    def make() -> Interruption:
        emitter = kind()
        expectation = emitter.expect(Ping, where=where)
        waiting = crew.run(expectation.result)
        until(lambda: waiters(expectation) == 1)

        def emit() -> None:
            with suppress(KeyboardInterrupt):
                emitter.emit(Ping(1))

        def interrupt() -> None:
            raise KeyboardInterrupt

        def check() -> None:
            emitter.emit(Ping(2))
            assert expectation.done()
            assert waiting.result(PATIENCE).number in (1, 2)
            crew.join()
            assert emitter.listener_count(Ping) == 0
            assert_idle(emitter)

        return Interruption(emit, interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10
    crew.join()


@pytest.mark.walks
@both_points
@both_kinds
def test_interrupted_expect_leaves_nothing_registered(kind: Kind, points: Points) -> None:
    """G11: who gets no expectation could never end it."""

    def make() -> Interruption:
        emitter = kind()
        emitter.on(Ping, str)
        made: list[Expectation[Any]] = []

        def expect() -> None:
            with suppress(KeyboardInterrupt):
                made.append(emitter.expect(Ping))

        def interrupt() -> None:
            raise KeyboardInterrupt

        def check() -> None:
            assert emitter.listener_count(Ping) <= 1 + len(made)
            assert_idle(emitter)

        return Interruption(expect, interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


# asyncio


def test_await_returns_the_event(crew: Crew, emitter: Emitter) -> None:
    """Emitted by another thread, while the loop waits."""
    expectation = emitter.expect(Ping)

    async def main() -> Any:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation) == 1)
        crew.run(emitter.emit, Ping(1))
        return await task

    assert asyncio.run(main()) == Ping(1)
    crew.join()
    assert waiters(expectation) == 0
    assert emitter.listener_count(Ping) == 0


def test_await_of_what_is_done_does_not_suspend(emitter: Emitter) -> None:
    """There is nothing to wait for."""
    done, cancelled = emitter.expect(Ping), emitter.expect(Ping)
    cancelled.cancel()
    emitter.emit(Ping(1))

    async def main() -> None:
        with pytest.raises(StopIteration) as end:
            done.__await__().send(None)
        assert end.value.value == Ping(1)
        with pytest.raises(asyncio.CancelledError):
            cancelled.__await__().send(None)

    asyncio.run(main())


def test_await_ends_on_the_emit_of_a_signal_handler(emitter: Emitter) -> None:
    """The handler runs between two steps of the loop, and wakes it (G12)."""
    expectation = emitter.expect(Ping)

    async def main() -> Any:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGUSR1)
        return await expectation

    def handler(*_: object) -> None:
        emitter.emit(Ping(1))

    earlier = signal.signal(signal.SIGUSR1, handler)
    try:
        assert asyncio.run(main()) == Ping(1)
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def test_wait_for_returns_the_event(crew: Crew, emitter: Emitter) -> None:
    """`asyncio.wait_for` takes it as it takes any awaitable."""
    expectation = emitter.expect(Ping)

    async def main() -> Any:
        crew.run(emitter.emit, Ping(1))
        return await asyncio.wait_for(expectation, PATIENCE)

    assert asyncio.run(main()) == Ping(1)


@pytest.mark.parametrize("timeout", [1e-9, 0.001])
def test_wait_for_that_times_out_leaves_nothing_registered(
    emitter: Emitter, timeout: float
) -> None:
    """It cancels what nobody awaits any more."""
    expectation = emitter.expect(Ping)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(expectation, timeout)

    asyncio.run(main())
    assert expectation.cancelled()
    assert waiters(expectation) == 0
    assert emitter.listener_count(Ping) == 0


@pytest.mark.parametrize("timeout", [0, -1])
def test_wait_for_without_waiting_leaves_nothing_registered(
    emitter: Emitter, timeout: float
) -> None:
    """Then asyncio cancels a task that has not begun to await it."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(emitter.expect(Ping), timeout)

    asyncio.run(main())
    assert emitter.listener_count(Ping) == 0


def test_gather_that_is_cancelled_at_once_leaves_nothing_registered(emitter: Emitter) -> None:
    """Its tasks have not begun to await anything: there is nobody left who could."""

    async def main() -> None:
        gathered = asyncio.gather(emitter.expect(Ping), emitter.expect(Pong))
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered

    asyncio.run(main())
    gc.collect()  # asyncio holds them by the traceback of what it raises, in a cycle
    assert not emitter.event_types()


def test_who_is_to_be_called_keeps_an_expectation(emitter: Emitter) -> None:
    """It need not be held by anybody else."""
    done: list[Ping] = []
    emitter.expect(Ping).add_done_callback(lambda each: done.append(each.result()))
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(1))
    assert done == [Ping(1)]
    assert emitter.listener_count(Ping) == 0


def test_expectation_that_nobody_holds_is_gone(emitter: Emitter) -> None:
    """Nobody can wait for it (G14)."""
    emitter.expect(Ping)
    assert emitter.listener_count(Ping) == 0


def test_expectation_whose_end_was_cut_short_goes_with_the_next_event(emitter: Emitter) -> None:
    """KeyboardInterrupt in its finalizer is nobody's to catch (G11)."""
    expectation = emitter.expect(Ping)
    [subscription] = emitter.listeners(Ping)
    [(_, listener)] = subscription.parts
    assert isinstance(listener.relay, Wish)
    listener.relay.subscription, kept = None, listener.relay.subscription
    del expectation  # as if it had been cut short
    assert emitter.listener_count(Ping) == 1
    listener.relay.subscription = kept
    emitter.emit(Ping())
    assert emitter.listener_count(Ping) == 0


def test_task_that_is_cancelled_leaves_an_expectation_that_others_wait_for(
    emitter: Emitter,
) -> None:
    """Not only tasks: also who has it call back, and `concurrent.futures.wait`."""

    async def main() -> None:
        expectation = emitter.expect(Ping)
        other = asyncio.wrap_future(expectation)
        task = asyncio.ensure_future(expectation)
        await until_async(lambda: waiters(expectation) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        emitter.emit(Ping(1))
        assert await other == Ping(1)

    asyncio.run(main())


def test_timeout_that_is_over_leaves_nothing_registered(emitter: Emitter) -> None:
    """`asyncio.timeout` cancels the task that awaits it."""
    expectation = emitter.expect(Ping)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await expectation

    asyncio.run(main())
    assert expectation.cancelled()
    assert emitter.listener_count(Ping) == 0


def test_timeout_that_is_not_over_lets_the_event_through(crew: Crew, emitter: Emitter) -> None:
    """Whichever thread emits it."""

    async def main() -> Any:
        async with asyncio.timeout(PATIENCE):
            expectation = emitter.expect(Ping)
            crew.run(emitter.emit, Ping(1))
            return await expectation

    assert asyncio.run(main()) == Ping(1)


def test_gather_awaits_several(crew: Crew, emitter: Emitter) -> None:
    """And one of them twice."""
    ping, pong = emitter.expect(Ping), emitter.expect(Pong)

    async def main() -> list[Any]:
        gathered = asyncio.gather(ping, pong, ping)
        await until_async(lambda: waiters(ping) + waiters(pong) >= 2)
        crew.run(emitter.emit, Pong(2))
        crew.run(emitter.emit, Ping(1))
        return list(await gathered)

    assert asyncio.run(main()) == [Ping(1), Pong(2), Ping(1)]


def test_gather_that_is_cancelled_leaves_nothing_registered(emitter: Emitter) -> None:
    """It cancels all that it gathers."""
    ping, pong = emitter.expect(Ping), emitter.expect(Pong)

    async def main() -> None:
        gathered = asyncio.gather(ping, pong)
        await until_async(lambda: waiters(ping) + waiters(pong) == 2)
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered

    asyncio.run(main())
    assert ping.cancelled()
    assert pong.cancelled()
    assert emitter.event_types() == ()


def test_wrap_future_wraps_it(crew: Crew, emitter: Emitter) -> None:
    """It is a `concurrent.futures.Future`: its event and its cancellation come through."""

    async def main() -> None:
        wrapped = asyncio.wrap_future(emitter.expect(Ping))
        crew.run(emitter.emit, Ping(1))
        assert await wrapped == Ping(1)
        expectation = emitter.expect(Pong)
        wrapped_pong = asyncio.wrap_future(expectation)
        wrapped_pong.cancel()
        await until_async(expectation.cancelled)

    asyncio.run(main())
    assert emitter.event_types() == ()


@pytest.mark.parametrize("cancelled", [1, 2])
def test_cancelling_the_last_of_its_tasks_cancels_it(emitter: Emitter, cancelled: int) -> None:
    """Cancelling one of two leaves the other waiting."""
    expectation = emitter.expect(Ping)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(result_of(expectation)) for _ in range(2)]
        await until_async(lambda: waiters(expectation) == 2)
        for task in tasks[:cancelled]:
            task.cancel()
        await until_async(tasks[0].done)
        emitter.emit(Ping(1))
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second = asyncio.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert expectation.cancelled() == (cancelled == 2)
    assert isinstance(second, asyncio.CancelledError) if cancelled == 2 else second == Ping(1)
    assert emitter.listener_count(Ping) == 0


def test_cancelling_a_task_leaves_a_thread_waiting(crew: Crew, emitter: Emitter) -> None:
    """And the thread gets the event."""
    expectation = emitter.expect(Ping)
    waiting = crew.run(expectation.result)
    until(lambda: waiters(expectation) == 1)

    async def main() -> None:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not expectation.done()
    emitter.emit(Ping(1))
    assert waiting.result(PATIENCE) == Ping(1)


def test_thread_that_gives_up_leaves_a_task_waiting(crew: Crew, emitter: Emitter) -> None:
    """And the task gets the event."""
    expectation = emitter.expect(Ping)

    async def main() -> Any:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation) == 1)
        with pytest.raises(TimeoutError):
            crew.run(expectation.result, 1e-9).result(PATIENCE)
        emitter.emit(Ping(1))
        return await task

    assert asyncio.run(main()) == Ping(1)
    crew_is_through(crew)


def crew_is_through(crew: Crew) -> None:
    """Join threads that have failed on purpose."""
    with suppress(TimeoutError):
        crew.join()


def test_event_that_comes_before_a_cancelled_task_goes_on_is_not_lost(emitter: Emitter) -> None:
    """The task is cancelled, and the expectation has its event.

    1 a task awaits it, 2 the event comes, 3 the task is cancelled before its loop tells it.
    """
    expectation = emitter.expect(Ping)

    async def main() -> None:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation) == 1)
        emitter.emit(Ping(1))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert expectation.result(0) == Ping(1)


def test_tasks_of_two_loops_in_two_threads_await_one(crew: Crew, emitter: Emitter) -> None:
    """Each loop is told, and a thread too."""
    expectation = emitter.expect(Ping)
    waiting = [crew.run(lambda: asyncio.run(result_of(expectation))) for _ in range(2)]
    waiting.append(crew.run(expectation.result))
    until(lambda: waiters(expectation) == 3)
    emitter.emit(Ping(1))
    assert [each.result(PATIENCE) for each in waiting] == [Ping(1)] * 3
    crew.join()
    assert waiters(expectation) == 0


def test_loop_that_was_closed_keeps_the_event_from_nobody(crew: Crew, emitter: Emitter) -> None:
    """Who awaited there waits no more; everybody else is told."""
    expectation = emitter.expect(Ping)
    loop = asyncio.new_event_loop()
    task = loop.create_task(result_of(expectation))
    loop.run_until_complete(until_async(lambda: waiters(expectation) == 1))
    waiting = crew.run(expectation.result)
    until(lambda: waiters(expectation) == 2)
    loop.close()
    emitter.emit(Ping(1))
    assert waiting.result(PATIENCE) == Ping(1)
    coroutine: Any = task.get_coro()
    coroutine.close()
    silent: Any = task
    silent._log_destroy_pending = False  # noqa: SLF001 - nobody will ever end it


def test_predicate_that_raises_fails_every_task(emitter: Emitter) -> None:
    """Each gets what it raised."""
    expectation = emitter.expect(Ping, where=broken)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(result_of(expectation)) for _ in range(2)]
        await until_async(lambda: waiters(expectation) == 2)
        emitter.emit(Ping(1))
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    assert asyncio.run(main()) == [expectation.exception(0)] * 2
    assert isinstance(expectation.exception(0), BrokenError)


# Nothing is kept


def get_result(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Let it have its event, in a thread."""
    emitter.emit(Event())
    expectation.result()


def get_cancelled(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Cancel it."""
    del emitter
    expectation.cancel()


def get_removed(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Remove its listener."""
    del expectation
    emitter.remove_all_listeners()


def leave_block(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Time out, and leave the block."""
    del emitter
    with expectation, suppress(TimeoutError):
        expectation.result(1e-9)


def await_result(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Let it have its event, in a task."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: emitter.emit(Event()))
        await expectation

    asyncio.run(main())


def await_too_long(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Time out in asyncio."""
    del emitter

    async def main() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(expectation, 0.001)

    asyncio.run(main())


def await_cancelled(emitter: Emitter, expectation: Expectation[Any]) -> None:
    """Cancel the task that awaits it."""
    del emitter

    async def main() -> None:
        task = asyncio.create_task(result_of(expectation))
        await until_async(lambda: waiters(expectation))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


endings = pytest.mark.parametrize(
    "end",
    [
        get_result,
        get_cancelled,
        get_removed,
        leave_block,
        await_result,
        await_too_long,
        await_cancelled,
    ],
)


class Predicate:
    """A predicate that can be referenced weakly."""

    def __call__(self, event: object) -> bool:
        return event is not None


@endings
@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.usefixtures("no_gc")
def test_nothing_is_kept_of_what_is_over(
    end: Callable[[Emitter, Expectation[Any]], None], *, asks: bool
) -> None:
    """Neither the emitter nor a cycle keeps expectation, predicate or event (G14)."""
    emitter: Emitter = EventEmitter()
    predicate = Predicate()
    expectation = emitter.expect(Event, where=predicate if asks else None)
    references: list[weakref.ref[Any]] = [weakref.ref(expectation), weakref.ref(predicate)]
    end(emitter, expectation)
    del predicate
    assert references[1]() is None, "the predicate is kept"
    if expectation.done() and not expectation.cancelled():
        references.append(weakref.ref(expectation.result()))
    assert emitter.listener_count(Event) == 0
    del expectation
    assert [each() for each in references] == [None] * len(references)


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.usefixtures("no_gc")
def test_failed_predicate_makes_no_cycle(*, replayed: bool) -> None:
    """What it raised leads to no frame that leads back (G14), however often it is raised."""
    emitter: Emitter = ReplayEventEmitter()

    def ask() -> list[weakref.ref[Any]]:
        if replayed:
            emitter.emit(Event())
        expectation = emitter.expect(Event, where=broken)
        if not replayed:
            emitter.emit(Event())

        async def main(awaited: Expectation[Event]) -> None:
            try:
                await awaited
            except BrokenError:
                del awaited

        with suppress(BrokenError):
            expectation.result()
        with suppress(BrokenError):
            expectation.result(0)
        asyncio.run(main(expectation))
        kept: list[weakref.ref[Any]] = [weakref.ref(expectation)]
        kept.append(weakref.ref(expectation.exception()))
        del expectation  # the traceback leads to this frame, too
        return kept

    references = ask()
    assert [each() for each in references] == [None, None]


@pytest.mark.usefixtures("no_gc")
def test_emitter_is_not_kept_by_what_is_over() -> None:
    """An expectation that is done may outlive its emitter (G14)."""

    class Owner(EventEmitter[Any]):
        pass

    emitter = Owner()
    expectation = emitter.expect(Ping)
    emitter.emit(Ping(1))
    channel, reference = weakref.ref(channel_of(emitter, Ping)), weakref.ref(emitter)
    del emitter
    assert reference() is None
    assert channel() is None
    assert expectation.result(0) == Ping(1)


# However many end it, and whatever interrupts them

Ending = Callable[[Emitter, Expectation[Any]], None]


def emit_cut_short(emitter: Emitter, _: Expectation[Any]) -> None:
    """Emit its event, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        emitter.emit(Ping(1))


def cancel_cut_short(_: Emitter, expectation: Expectation[Any]) -> None:
    """Cancel it, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        expectation.cancel()


both_endings = pytest.mark.parametrize(
    "call", [pytest.param(emit_cut_short, id="emit"), pytest.param(cancel_cut_short, id="cancel")]
)


@both_kinds
def test_off_of_its_listener_says_that_it_removed_it(kind: Kind) -> None:
    """As for any listener; the expectation is cancelled."""
    emitter = kind()
    expectation = emitter.expect(Ping)
    (subscription,) = emitter.listeners(Ping)
    assert subscription.off()
    assert not subscription.off()
    assert expectation.cancelled()


@pytest.mark.walks
@both_points
@both_endings
def test_removal_in_an_interruption_that_raises_ends_it(call: Ending, points: Points) -> None:
    """G11: a signal handler that removes its listener and raises leaves nobody waiting for ever."""

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Ping)
        called: list[object] = []
        expectation.add_done_callback(called.append)

        def interrupt() -> None:
            emitter.remove_all_listeners()
            raise KeyboardInterrupt

        def check() -> None:
            assert expectation.done()
            assert called == [expectation]
            assert emitter.listener_count(Ping) == 0
            assert_idle(emitter, queue=False)

        return Interruption(lambda: call(emitter, expectation), interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


@pytest.mark.walks
@both_points
@both_endings
def test_callbacks_are_called_once_also_where_an_interrupt_cut_it_short(
    call: Ending, points: Points
) -> None:
    """G11: also the second, where KeyboardInterrupt strikes between them."""

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Ping)
        called: list[str] = []
        expectation.add_done_callback(lambda _: called.append("first"))
        expectation.add_done_callback(lambda _: called.append("second"))

        def check() -> None:
            emitter.emit(Ping(2))
            assert expectation.done()
            assert called == ["first", "second"]
            assert emitter.listener_count(Ping) == 0

        return Interruption(lambda: call(emitter, expectation), raise_interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


@pytest.mark.walks
def test_emit_that_interrupts_its_end_waits_for_nobody_who_asks_it(crew: Crew) -> None:
    """G10, G12: the lock of `concurrent.futures.Future` is not held while anything is waited for.

    1 another thread delivers an event, 2 this one gives the expectation its own, 3 a signal handler
    emits what the other delivers, 4 whose handler asks the expectation.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        other: Emitter = EventEmitter()
        expectation = emitter.expect(Ping)
        stop = Stop()
        asked: list[bool] = []

        def handler(event: Pong) -> None:
            if event.number == 0:
                stop()
                asked.append(expectation.done())  # 4

        other.on(Pong, handler)
        crew.run(other.emit, Pong(0))
        stop.wait()  # 1

        def interrupt() -> None:
            stop.go()
            other.emit(Pong(1))  # 3

        def check() -> None:
            stop.go()
            crew.join()
            assert expectation.result(0) == Ping(1)
            assert len(asked) == 1

        def run() -> None:
            emitter.emit(Ping(1))  # 2
            stop.go()

        return Interruption(run, interrupt, verify=check)

    assert inject_everywhere(make, package=FUTURES, points="lines") > 5


@pytest.mark.walks
def test_its_event_is_put_into_words_under_no_lock() -> None:
    """G6: also not by its base class, which is told again where that was cut short."""

    class Telling:
        """An event that users have given a repr."""

        def __repr__(self) -> str:
            shown.append(this_thread().inside)
            return "Telling"

    shown: list[bool] = []

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        expectation = emitter.expect(Telling)

        def call() -> None:
            with suppress(KeyboardInterrupt):
                emitter.emit(Telling())

        def check() -> None:
            assert isinstance(expectation.result(0), Telling)
            assert concurrent.futures.wait([expectation], 0).done == {expectation}
            assert not any(shown)

        return Interruption(call, raise_interrupt, verify=check)

    assert inject_everywhere(make, package=FUTURES, points="lines") > 5
