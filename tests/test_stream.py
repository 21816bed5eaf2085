"""`stream()`: events to iterate over, in threads and in asyncio, which never hold up who emits."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any, Literal

import pytest
from injection import Point, Points, inject_everywhere
from support import (
    PACKAGE,
    PATIENCE,
    Crew,
    Ping,
    Pong,
    PutAsideCutShort,
    Stop,
    assert_idle,
    both_kinds,
    both_points,
    channel_of,
    interrupting_section,
    on_entry,
    raise_interrupt,
    until,
)
from test_expect import Interruption, Rivalry, force, until_async

from eventemitter import EventEmitter, EventStream, ReplayEventEmitter, StreamOverflow
from eventemitter._sections import catch_up, this_thread
from eventemitter._turns import Gate

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]
Policy = Literal["raise", "drop_oldest", "drop_newest"]

all_policies = pytest.mark.parametrize("overflow", ["raise", "drop_oldest", "drop_newest"])


class Event:
    """An event that can be referenced weakly."""


def waiters(stream: EventStream[Any]) -> int:
    """Return how many threads and tasks wait for an event of the stream."""
    buffer: Any = stream._buffer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return len(buffer._gates)  # noqa: SLF001


def read_all(stream: EventStream[Any]) -> list[Any]:
    """Return all events of the stream, once it is closed."""
    return list(stream)


def rest(stream: EventStream[Any]) -> list[Any]:
    """Close the stream; return what was in it."""
    stream.close()
    return list(stream)


def numbers(stream: EventStream[Any]) -> list[int]:
    """Close the stream; return the numbers of what was in it, up to an overflow."""
    stream.close()
    found: list[int] = []
    with suppress(StreamOverflow):
        found.extend(event.number for event in stream)
    return found


async def read(stream: EventStream[Any]) -> list[Any]:
    """Return all events of the stream, once it is closed."""
    return [event async for event in stream]


# Reading


def test_for_yields_the_events_in_the_order_of_emission(emitter: Emitter) -> None:
    """Those of several types in one order, from when it is made until it is closed (G1, G2)."""
    emitter.on(Ping, str)
    stream = emitter.stream(Ping, Pong)
    sent = [Ping(1), Pong(2), Pong(3), Ping(4)]
    for event in sent:
        emitter.emit(event)
    emitter.emit(Event())
    stream.close()
    emitter.emit(Ping(5))
    assert list(stream) == sent
    assert list(stream) == []
    assert_idle(emitter)


def test_async_for_yields_the_events_in_the_order_of_emission(emitter: Emitter) -> None:
    """As `for` does."""

    async def main() -> list[Any]:
        found: list[Any] = []
        async with emitter.stream(Ping, Pong) as stream:
            for event in (Ping(1), Pong(2), Ping(3)):
                emitter.emit(event)
            async for event in stream:
                found.append(event)
                if len(found) == 3:
                    stream.close()
        return found

    assert asyncio.run(main()) == [Ping(1), Pong(2), Ping(3)]
    assert emitter.event_types() == ()


def test_for_waits_in_a_thread(crew: Crew, emitter: Emitter) -> None:
    """For each event, and for the end."""
    stream = emitter.stream(Ping)
    reading = crew.run(read_all, stream)
    for number in range(3):
        until(lambda: waiters(stream) == 1)
        emitter.emit(Ping(number))
        until(lambda: reading.done() or waiters(stream) == 1)
    stream.close()
    assert reading.result(PATIENCE) == [Ping(0), Ping(1), Ping(2)]
    assert waiters(stream) == 0


def test_async_for_waits_on_a_loop_that_another_thread_wakes(crew: Crew, emitter: Emitter) -> None:
    """For each event, and for the end."""
    stream = emitter.stream(Ping)

    async def main() -> list[Any]:
        task = asyncio.create_task(read(stream))
        for number in range(3):
            await until_async(lambda: waiters(stream) == 1)
            await asyncio.to_thread(emitter.emit, Ping(number))
        crew.run(stream.close)
        return await task

    assert asyncio.run(main()) == [Ping(0), Ping(1), Ping(2)]
    assert waiters(stream) == 0


def test_it_is_its_own_iterator(emitter: Emitter) -> None:
    """Of both kinds, and a context manager of both kinds."""
    with emitter.stream(Ping) as stream:
        assert iter(stream) is stream
        assert aiter(stream) is stream
        assert isinstance(stream, EventStream)
        emitter.emit(Ping(1))
        assert next(stream) == Ping(1)

    async def main() -> None:
        async with stream as same:
            assert same is stream

    asyncio.run(main())


def test_it_counts_as_a_listener_of_each_of_its_types(emitter: Emitter) -> None:
    """Until it is closed; a type that is named twice counts once."""
    stream = emitter.stream(Ping, Pong, Ping)
    assert emitter.listener_count(Ping) == 1
    assert emitter.listener_count(Pong) == 1
    assert set(emitter.event_types()) == {Ping, Pong}
    emitter.emit(Ping(1))
    assert len(emitter.listeners(Ping)) == 1
    assert rest(stream) == [Ping(1)]
    assert emitter.event_types() == ()


@pytest.mark.parametrize("fails", [False, True])
def test_leaving_the_with_block_closes_it(emitter: Emitter, *, fails: bool) -> None:
    """However it is left, in both worlds."""
    stream, other = emitter.stream(Ping), emitter.stream(Ping)
    with suppress(ValueError), stream:
        if fails:
            raise ValueError
    assert list(stream) == []

    async def main() -> list[Any]:
        with suppress(ValueError):
            async with other:
                if fails:
                    raise ValueError
        return await read(other)

    assert asyncio.run(main()) == []
    assert emitter.event_types() == ()


# Order


def test_event_comes_before_what_its_handler_emits(emitter: Emitter) -> None:
    """However early the handler was registered: the order is that of emission."""
    emitter.on(Ping, lambda event: emitter.emit(Pong(event.number + 1)))

    def answer(event: Pong) -> None:
        if event.number < 5:
            emitter.emit(Ping(event.number + 1))

    emitter.on(Pong, answer)
    stream = emitter.stream(Pong, Ping)
    emitter.emit(Ping(1))
    assert numbers(stream) == [1, 2, 3, 4, 5, 6]


def test_event_that_was_queued_comes_where_it_was_emitted(crew: Crew, emitter: Emitter) -> None:
    """Not where it is delivered (G4, emit_nowait): then it would come after the Pong.

    1 a delivery is stopped, 2 another thread leaves an event with it and emits one of another
    type, 3 the delivery goes on.
    """
    stop = Stop()
    emitter.on(Ping, stop)
    stream = emitter.stream(Ping, Pong)
    crew.run(emitter.emit, Ping(1))
    stop.wait()
    emitter.emit_nowait(Ping(2))
    emitter.emit(Pong(3))
    stop.go()
    crew.join()
    assert numbers(stream) == [1, 2, 3]


def test_replayed_events_come_in_the_order_of_their_emission() -> None:
    """Not in that of the types, which may be any."""
    for order in ((Ping, Pong), (Pong, Ping)):
        emitter: Emitter = ReplayEventEmitter()
        emitter.emit(Ping(0))
        emitter.emit(Pong(1))
        emitter.emit(Ping(2))
        emitter.emit(Event())
        stream = emitter.stream(*order)
        emitter.emit(Pong(3))
        assert numbers(stream) == [1, 2, 3]


def test_forgotten_event_is_not_replayed() -> None:
    """Nor one of a plain emitter."""
    emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
    emitter.emit(Ping(1))
    emitter.forget(Ping)
    assert rest(emitter.stream(Ping)) == []
    plain: Emitter = EventEmitter()
    plain.emit(Ping(1))
    assert rest(plain.stream(Ping)) == []


def assert_no_gap(found: list[int], emitted: dict[type, list[int]], least: int) -> None:
    """Assert what a stream promises: order of emission, per type no gap and nothing twice."""
    assert found == sorted(set(found))
    for sent in emitted.values():
        mine = [number for number in found if number in sent]
        assert mine == sent[len(sent) - len(mine) :]
        assert len(mine) >= least


@both_kinds
@pytest.mark.parametrize("types", [(Ping, Pong), (Pong, Ping)])
def test_events_emitted_at_any_line_of_stream_are_in_order(
    crew: Crew, kind: Kind, types: tuple[type, ...]
) -> None:
    """Nothing is lost, nothing comes twice, nothing older after newer (G1, G2).

    1 stream() is stopped at a line, 2 another thread emits, 3 stream() goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        streams: list[EventStream[Any]] = []
        emitter.emit(Pong(1))
        emitter.emit(Ping(2))

        def rival() -> None:
            for event in (Ping(3), Pong(4), Pong(5), Ping(6)):
                emitter.emit(event)

        def check() -> None:
            emitter.emit(Pong(7))
            emitter.emit(Ping(8))
            [stream] = streams
            found = numbers(stream)
            replays = isinstance(emitter, ReplayEventEmitter)
            emitted: dict[type, list[int]] = {Ping: [2, 3, 6, 8], Pong: [1, 4, 5, 7]}
            assert_no_gap(found, emitted, 2 if replays else 1)
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: streams.append(emitter.stream(*types)),
            rival=rival,
            verify=check,
        )

    force(make)


@both_kinds
def test_stream_at_any_line_of_an_emit_is_in_order(crew: Crew, kind: Kind) -> None:
    """Its event is replayed or comes live: once (G1).

    1 an emit is stopped at a line, 2 another thread opens a stream and emits, 3 the emit goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        emitter.on(Ping, str)
        streams: list[EventStream[Any]] = []

        def rival() -> None:
            streams.append(emitter.stream(Ping, Pong))
            emitter.emit(Pong(10))

        def check() -> None:
            [stream] = streams
            found = rest(stream)
            assert found.count(Pong(10)) == 1
            assert found.count(Ping(1)) == 1 or (kind is EventEmitter and Ping(1) not in found)
            assert len(found) <= 2
            assert_idle(emitter)

        return Rivalry(
            crew, [emitter], call=lambda: emitter.emit(Ping(1)), rival=rival, verify=check
        )

    force(make)


@both_kinds
@pytest.mark.parametrize("emit", ["emit", "emit_nowait"])
def test_it_has_the_one_order_of_all_listeners(crew: Crew, kind: Kind, emit: str) -> None:
    """Two threads emit: handlers and streams see the same order, each event once (G3).

    1 an emit is stopped at a line, 2 another thread emits, 3 the emit goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        heard: list[int] = []
        emitter.on(Ping, lambda event: heard.append(event.number))
        first, second = emitter.stream(Ping), emitter.stream(Ping, Pong)

        def check() -> None:
            assert sorted(heard) == [1, 2]
            assert numbers(first) == numbers(second) == heard
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: emitter.emit(Ping(1)),
            rival=lambda: getattr(emitter, emit)(Ping(2)),
            verify=check,
        )

    force(make)


def test_handlers_are_called_as_ever_beside_it(emitter: Emitter) -> None:
    """In the order of registration, also when one fails (G5, G11)."""
    calls: list[object] = []

    def fail(_: object) -> None:
        calls.append("fail")
        raise ValueError

    emitter.on(Ping, lambda _: calls.append("first"))
    stream = emitter.stream(Ping)
    emitter.once(Ping, fail)
    emitter.on(Ping, lambda _: calls.append("last"))
    with pytest.raises(ExceptionGroup):
        emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    assert calls == ["first", "fail", "last", "first", "last"]
    assert numbers(stream) == [1, 2]


# Its bounds


def test_overflow_is_raised_once_after_the_buffered_events(emitter: Emitter) -> None:
    """Then it ends; it is registered nowhere from the moment it overflowed."""
    stream = emitter.stream(Ping, Pong, maxsize=2)
    emitter.emit(Ping(1))
    emitter.emit(Pong(2))
    assert stream.dropped == 0
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(3))
    assert emitter.event_types() == ()
    emitter.emit(Ping(4))
    assert stream.dropped == 1
    assert [next(stream), next(stream)] == [Ping(1), Pong(2)]
    with pytest.raises(StreamOverflow, match="more than 2 events came before they were read"):
        next(stream)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)
    assert_idle(emitter)


def test_overflow_is_raised_in_asyncio_too(emitter: Emitter) -> None:
    """Once, after the buffered events."""
    stream = emitter.stream(Ping, maxsize=1)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    found: list[Any] = []

    async def main() -> None:
        found.append(await anext(stream))
        with pytest.raises(StreamOverflow):
            await anext(stream)
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    asyncio.run(main())
    assert found == [Ping(1)]


def test_overflow_of_a_closed_stream_is_still_told(emitter: Emitter) -> None:
    """Closing it does not make the loss undone."""
    stream = emitter.stream(Ping, maxsize=1)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    stream.close()
    assert next(stream) == Ping(1)
    with pytest.raises(StreamOverflow):
        next(stream)
    assert list(stream) == []


def test_overflow_is_told_to_one_of_several_readers(crew: Crew, emitter: Emitter) -> None:
    """The others just end."""
    stream = emitter.stream(Ping, maxsize=1)

    def reader() -> object:
        try:
            return list(stream)
        except StreamOverflow:
            return "overflow"

    for number in range(2):
        emitter.emit(Ping(number))
    assert next(stream) == Ping(0)
    found = [crew.run(reader).result(PATIENCE) for _ in range(3)]
    assert found == ["overflow", [], []]


def test_oldest_events_are_dropped_and_counted(emitter: Emitter) -> None:
    """It goes on with the newest."""
    stream = emitter.stream(Ping, Pong, maxsize=2, overflow="drop_oldest")
    for event in (Ping(1), Pong(2), Pong(3), Ping(4)):
        emitter.emit(event)
    assert stream.dropped == 2
    assert next(stream) == Pong(3)
    emitter.emit(Ping(5))
    assert stream.dropped == 2
    assert numbers(stream) == [4, 5]


def test_newest_events_are_dropped_and_counted(emitter: Emitter) -> None:
    """It goes on as soon as there is room."""
    stream = emitter.stream(Ping, Pong, maxsize=2, overflow="drop_newest")
    for event in (Ping(1), Pong(2), Pong(3), Ping(4)):
        emitter.emit(event)
    assert stream.dropped == 2
    assert next(stream) == Ping(1)
    emitter.emit(Ping(5))
    assert stream.dropped == 2
    assert numbers(stream) == [2, 5]


@all_policies
def test_replayed_events_overflow_as_live_ones_do(overflow: Policy) -> None:
    """`maxsize` bounds what is there when it is made, too."""
    emitter: Emitter = ReplayEventEmitter()
    emitter.emit(Pong(1))
    emitter.emit(Ping(2))
    stream = emitter.stream(Ping, Pong, maxsize=1, overflow=overflow)
    assert stream.dropped == 1
    assert bool(emitter.event_types()) == (overflow != "raise")
    assert next(stream) == (Ping(2) if overflow == "drop_oldest" else Pong(1))
    stream.close()
    if overflow == "raise":
        with pytest.raises(StreamOverflow):
            next(stream)
    assert list(stream) == []


def test_it_keeps_1024_events_by_default(emitter: Emitter) -> None:
    """And gives one up that is not read."""
    stream = emitter.stream(Ping)
    for number in range(1024):
        emitter.emit(Ping(number))
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(1024))
    assert emitter.listener_count(Ping) == 0
    assert numbers(stream) == list(range(1024))


@all_policies
def test_full_stream_holds_up_no_emitter(crew: Crew, emitter: Emitter, overflow: Policy) -> None:
    """Nobody reads, and every emit returns, in whatever thread."""
    heard: list[int] = []
    emitter.on(Ping, lambda event: heard.append(event.number))
    stream = emitter.stream(Ping, maxsize=1, overflow=overflow)

    def emit() -> None:
        for number in range(5):
            emitter.emit(Ping(number))

    crew.run(emit).result(PATIENCE)
    assert heard == [0, 1, 2, 3, 4]
    assert stream.dropped == (1 if overflow == "raise" else 4)


@all_policies
def test_events_emitted_at_any_line_of_stream_overflow_it(crew: Crew, overflow: Policy) -> None:
    """The bound holds, what is dropped is counted, and order is kept.

    1 stream() is stopped at a line, 2 another thread emits, 3 stream() goes on.
    """

    def make() -> Rivalry:
        emitter: Emitter = EventEmitter()
        streams: list[EventStream[Any]] = []

        def rival() -> None:
            for event in (Ping(1), Pong(2), Ping(3), Pong(4)):
                emitter.emit(event)

        def check() -> None:
            [stream] = streams
            ended = emitter.event_types() == ()
            assert ended == (overflow == "raise" and stream.dropped == 1)
            found = numbers(stream)
            assert found == sorted(set(found))
            assert len(found) <= 2
            assert len(found) == 2 or not stream.dropped
            if overflow == "drop_oldest" and stream.dropped:
                assert found == [3, 4]
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: streams.append(emitter.stream(Ping, Pong, maxsize=2, overflow=overflow)),
            rival=rival,
            verify=check,
        )

    force(make)


# Bad input


@pytest.mark.parametrize("maxsize", [0, -1, False])
def test_bound_below_one_is_refused(emitter: Emitter, maxsize: int) -> None:
    """Section 5: a ValueError, and nothing is registered."""
    with pytest.raises(ValueError, match="maxsize must be a whole number of events, 1 or more"):
        emitter.stream(Ping, maxsize=maxsize)
    assert emitter.event_types() == ()


@pytest.mark.parametrize("maxsize", ["x", 1.5, None, float("inf")])
def test_bound_that_is_no_whole_number_is_refused(emitter: Emitter, maxsize: Any) -> None:
    """Section 5: a TypeError, and nothing is registered."""
    with pytest.raises(TypeError, match="maxsize must be a whole number of events, 1 or more"):
        emitter.stream(Ping, maxsize=maxsize)
    assert emitter.event_types() == ()


@pytest.mark.parametrize("overflow", ["drop", "", None, [], "RAISE"])
def test_unknown_overflow_is_refused(emitter: Emitter, overflow: Any) -> None:
    """Section 5: a ValueError that names the three there are."""
    with pytest.raises(ValueError, match="'raise', 'drop_oldest', 'drop_newest'"):
        emitter.stream(Ping, overflow=overflow)
    assert emitter.event_types() == ()


def test_what_is_no_event_type_is_refused() -> None:
    """Section 5: with no type there would be nothing to wait for."""

    class Declared(EventEmitter[Ping]):
        pass

    emitter = Declared()
    no_type: Any = "connected"
    with pytest.raises(TypeError, match=r"stream\(\) was given no event type"):
        emitter.stream()
    with pytest.raises(TypeError, match=r"stream\(\): the event type must be a class"):
        emitter.stream(Ping, no_type)
    with pytest.raises(TypeError, match="declares Ping, not Pong"):
        emitter.stream(Ping, Pong)
    assert emitter.event_types() == ()


# Closing


@pytest.mark.parametrize("closes", ["main", "thread", "handler"])
@pytest.mark.parametrize("reads", ["thread", "task"])
def test_close_ends_the_loop_of_a_reader_that_waits(
    crew: Crew, emitter: Emitter, closes: str, reads: str
) -> None:
    """From any thread, and from a handler; after the buffered events."""
    stream = emitter.stream(Ping)
    if reads == "thread":
        reading = crew.run(read_all, stream)
    else:
        reading = crew.run(lambda: asyncio.run(read(stream)))
    until(lambda: waiters(stream) == 1)
    if closes == "main":
        stream.close()
    elif closes == "thread":
        crew.run(stream.close).result(PATIENCE)
    else:
        emitter.on(Ping, lambda _: stream.close())
        emitter.emit(Ping(1))
    assert reading.result(PATIENCE) == ([Ping(1)] if closes == "handler" else [])
    crew.join()
    stream.close()
    assert emitter.listener_count(Ping) == (closes == "handler")
    assert waiters(stream) == 0


def test_buffered_events_are_read_after_closing(emitter: Emitter) -> None:
    """And closing it again changes nothing."""
    stream = emitter.stream(Ping)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    stream.close()
    assert emitter.listener_count(Ping) == 0
    emitter.emit(Ping(3))
    assert next(stream) == Ping(1)
    stream.close()
    assert list(stream) == [Ping(2)]


@both_kinds
@pytest.mark.parametrize("call", ["close", "remove_all_listeners"])
def test_closing_at_any_line_of_closing_closes_it(crew: Crew, kind: Kind, call: str) -> None:
    """Two threads may close it at once; neither fails, and nothing stays registered.

    1 a close is stopped at a line, 2 another thread closes it too, 3 the first goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        stream = emitter.stream(Ping, Pong)
        emitter.emit(Ping(1))

        def check() -> None:
            assert emitter.event_types() == ()
            assert list(stream) == [Ping(1)]
            assert_idle(emitter)

        rival = stream.close if call == "close" else emitter.remove_all_listeners
        return Rivalry(crew, [emitter], call=stream.close, rival=rival, verify=check)

    force(make)


@both_kinds
def test_closing_at_any_line_of_an_emit_harms_nobody(crew: Crew, kind: Kind) -> None:
    """The event is in the stream or not, and handlers are called in any case.

    1 an emit is stopped at a line, 2 another thread closes the stream, 3 the emit goes on.
    """

    def make() -> Rivalry:
        emitter = kind()
        heard: list[object] = []
        emitter.on(Ping, heard.append)
        stream = emitter.stream(Ping)

        def check() -> None:
            assert heard == [Ping(1)]
            assert list(stream) in ([], [Ping(1)])
            assert emitter.listener_count(Ping) == 1
            assert_idle(emitter)

        return Rivalry(
            crew, [emitter], call=lambda: emitter.emit(Ping(1)), rival=stream.close, verify=check
        )

    force(make)


def by_emitter(emitter: Emitter) -> None:
    """Remove all listeners."""
    emitter.remove_all_listeners()


def by_type(emitter: Emitter) -> None:
    """Remove all listeners of each type."""
    emitter.remove_all_listeners(Ping)
    emitter.remove_all_listeners(Pong)


def by_subscription(emitter: Emitter) -> None:
    """Remove each listener."""
    [ping], [pong] = emitter.listeners(Ping), emitter.listeners(Pong)
    emitter.off(ping)
    pong.off()


@pytest.mark.parametrize("remove", [by_emitter, by_type, by_subscription])
def test_removing_its_listeners_ends_it(
    crew: Crew, emitter: Emitter, remove: Callable[[Emitter], None]
) -> None:
    """After the buffered events, so that nobody waits for ever: not a thread, not a task."""
    stream, other = emitter.stream(Ping, Pong), emitter.stream(Ping, Pong)
    other.close()
    thread = crew.run(read_all, stream)
    task = crew.run(lambda: asyncio.run(read(stream)))
    until(lambda: waiters(stream) == 2)
    remove(emitter)
    assert thread.result(PATIENCE) == task.result(PATIENCE) == []


def test_removing_the_listeners_of_one_of_its_types_does_not_end_it(emitter: Emitter) -> None:
    """It goes on with the others."""
    stream = emitter.stream(Ping, Pong)
    emitter.remove_all_listeners(Ping)
    emitter.emit(Ping(1))
    emitter.emit(Pong(2))
    assert next(stream) == Pong(2)
    assert emitter.event_types() == (Pong,)
    emitter.emit(Pong(3))
    emitter.remove_all_listeners(Pong)
    assert list(stream) == [Pong(3)]


def test_removing_its_listeners_at_any_line_of_stream_leaves_no_reader_waiting(
    crew: Crew, emitter: Emitter
) -> None:
    """Whoever removes the last listener ends it, also before stream() has returned.

    1 stream() is stopped at a line, 2 another thread removes all listeners, 3 stream() goes on.
    """

    def make() -> Rivalry:
        streams: list[EventStream[Any]] = []

        def check() -> None:
            [stream] = streams
            if not emitter.event_types():
                reading = crew.run(read_all, stream)
                until(lambda: reading.done() or waiters(stream))
                ended = reading.done()
                stream.close()  # the test goes on, though it has failed
                crew.join()
                assert ended, "nothing is registered, and the reader waits"
            stream.close()
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: streams.append(emitter.stream(Ping, Pong)),
            rival=emitter.remove_all_listeners,
            verify=check,
        )

    force(make)


@pytest.mark.walks
def test_close_closes_before_it_returns_in_any_handler() -> None:
    """Also in a handler that an interrupted call runs: it may read the rest at once (G10).

    1 a call is interrupted at a line, 2 by an emit, 3 whose handler closes a stream and looks.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        other: Emitter = EventEmitter()
        stream = other.stream(Pong)
        counts: list[int] = []

        def handler(_: Ping) -> None:
            stream.close()
            counts.append(other.listener_count(Pong))

        emitter.on(Ping, handler)

        def check() -> None:
            assert counts == [0]

        return Interruption(
            lambda: emitter.on(Ping, str), lambda: emitter.emit(Ping(1)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points="lines") > 10


@pytest.mark.walks
def test_stream_is_open_when_it_is_returned_in_any_handler() -> None:
    """Also in a handler that an interrupted call runs: the replays are in order.

    1 a call is interrupted at a line, 2 by an emit, 3 whose handler opens a stream and reads it.
    """

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        other: Emitter = ReplayEventEmitter()
        other.emit(Pong(1))
        other.emit(Ping(2))
        found: list[Any] = []

        def handler(_: Ping) -> None:
            with other.stream(Ping, Pong) as stream:
                found.extend([next(stream), next(stream)])

        emitter.on(Ping, handler)

        def check() -> None:
            assert found == [Pong(1), Ping(2)]

        return Interruption(
            lambda: emitter.on(Ping, str), lambda: emitter.emit(Ping(1)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points="lines") > 10


# Several readers


def test_each_event_goes_to_one_of_its_readers(crew: Crew, emitter: Emitter) -> None:
    """Two threads and two loops read at once what two threads emit, in order each."""
    stream = emitter.stream(Ping, Pong, maxsize=400)
    readers = [crew.run(read_all, stream) for _ in range(2)]
    readers += [crew.run(lambda: asyncio.run(read(stream))) for _ in range(2)]
    until(lambda: waiters(stream) == 4)

    def emit(kind: type[Any]) -> None:
        for number in range(200):
            emitter.emit(kind(number))

    emitting = [crew.run(emit, kind) for kind in (Ping, Pong)]
    for each in emitting:
        each.result(PATIENCE)
    stream.close()
    shares = [each.result(PATIENCE) for each in readers]
    for share in shares:
        for kind in (Ping, Pong):
            mine = [event.number for event in share if type(event) is kind]
            assert mine == sorted(mine)
    every = [event for share in shares for event in share]
    assert len(every) == 400
    assert set(every) == {kind(number) for kind in (Ping, Pong) for number in range(200)}


def test_one_event_lets_one_of_two_waiting_readers_go_on(crew: Crew, emitter: Emitter) -> None:
    """A thread and a task wait; the other waits on, and gets the next."""
    stream = emitter.stream(Ping)
    reading = [crew.run(next, stream), crew.run(lambda: asyncio.run(next_of(stream)))]
    until(lambda: waiters(stream) == 2)
    emitter.emit(Ping(1))
    until(lambda: any(each.done() for each in reading) and waiters(stream) == 1)
    assert [each.done() for each in reading].count(True) == 1
    emitter.emit(Ping(2))
    assert {each.result(PATIENCE) for each in reading} == {Ping(1), Ping(2)}


async def next_of(stream: EventStream[Any]) -> Any:
    """Return the next event."""
    return await anext(stream)


def test_readers_take_events_at_any_line_of_each_other(crew: Crew) -> None:
    """Each event goes to one of them, in order.

    1 a reader is stopped at a line, 2 another thread reads, 3 the first goes on.
    """

    def make() -> Rivalry:
        emitter: Emitter = EventEmitter()
        stream = emitter.stream(Ping)
        found: list[Any] = []
        for number in range(2):
            emitter.emit(Ping(number))

        def check() -> None:
            assert sorted(event.number for event in found) == [0, 1]
            assert rest(stream) == []

        def take() -> None:
            found.append(next(stream))

        return Rivalry(crew, [emitter], call=take, rival=take, verify=check)

    force(make)


def test_cancelled_reader_loses_nothing_and_can_go_on(emitter: Emitter) -> None:
    """Its loop is cancelled while it waits, and when an event has just come.

    1 a task waits, 2 is cancelled; 3 another waits, 4 an event comes, 5 it is cancelled before its
    loop tells it.
    """
    stream = emitter.stream(Ping)

    async def main() -> None:
        task = asyncio.create_task(read(stream))
        await until_async(lambda: waiters(stream) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiters(stream) == 0
        emitter.emit(Ping(1))
        assert await anext(stream) == Ping(1)
        task = asyncio.create_task(read(stream))
        await until_async(lambda: waiters(stream) == 1)
        emitter.emit(Ping(2))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        emitter.emit(Ping(3))
        assert await anext(stream) == Ping(2)
        assert await anext(stream) == Ping(3)
        with pytest.raises(TimeoutError):
            await read_for_no_time(stream)
        emitter.emit(Ping(4))
        stream.close()
        assert await read(stream) == [Ping(4)]

    asyncio.run(main())


async def read_for_no_time(stream: EventStream[Any]) -> None:
    """Read until the time is up."""
    async with asyncio.timeout(0):
        await read(stream)


def test_cancelling_one_reader_leaves_its_event_to_another(crew: Crew, emitter: Emitter) -> None:
    """A thread waits beside the task that is cancelled when an event has come."""
    stream = emitter.stream(Ping)
    reading = crew.run(next, stream)
    until(lambda: waiters(stream) == 1)

    async def main() -> None:
        task = asyncio.create_task(next_of(stream))
        await until_async(lambda: waiters(stream) == 2)
        emitter.emit(Ping(1))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    emitter.emit(Ping(2))
    assert reading.result(PATIENCE) in (Ping(1), Ping(2))


def test_loop_that_was_closed_keeps_events_from_nobody(crew: Crew, emitter: Emitter) -> None:
    """A task that waited there waits no more; emit() does not mind."""
    stream = emitter.stream(Ping)
    loop = asyncio.new_event_loop()
    task = loop.create_task(next_of(stream))
    loop.run_until_complete(until_async(lambda: waiters(stream) == 1))
    reading = crew.run(next, stream)
    until(lambda: waiters(stream) == 2)
    loop.close()
    emitter.emit(Ping(1))
    assert reading.result(PATIENCE) == Ping(1)
    coroutine: Any = task.get_coro()
    coroutine.close()
    silent: Any = task
    silent._log_destroy_pending = False  # noqa: SLF001 - nobody will ever end it


# Interruptions


@pytest.mark.walks
@pytest.mark.parametrize(
    ("kind", "points", "queued"),
    [
        (EventEmitter, "lines", False),
        (ReplayEventEmitter, "polls", False),
        (EventEmitter, "polls", True),
        (ReplayEventEmitter, "lines", True),
    ],
)
def test_interrupted_emit_leaves_no_lock_and_no_event_twice(
    kind: Kind, points: Points, *, queued: bool
) -> None:
    """G11: KeyboardInterrupt at any point of a commit with streams.

    The event may be in each stream or not; the next one comes once.
    """

    def make() -> Interruption:
        emitter = kind()
        streams: list[EventStream[Any]] = [emitter.stream(Ping), emitter.stream(Ping, Pong)]
        if queued:
            emitter.on(Pong, lambda _: emitter.emit(Ping(1)))
        emitter.on(Ping, str)

        def emit() -> None:
            with suppress(KeyboardInterrupt):
                emitter.emit(Pong(0) if queued else Ping(1))

        def check() -> None:
            emitter.emit(Ping(2))
            assert_idle(emitter, queue=False)
            for stream in streams:
                found = [event for event in rest(stream) if event != Pong(0)]
                assert found in ([Ping(1), Ping(2)], [Ping(2)])

        return Interruption(emit, raise_interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 20


@pytest.mark.walks
@both_points
@both_kinds
def test_event_emitted_by_an_interruption_of_an_emit_comes_once(kind: Kind, points: Points) -> None:
    """G12, G3: both events, in the order in which handlers see them."""

    def make() -> Interruption:
        emitter = kind()
        heard: list[int] = []
        emitter.on(Ping, lambda event: heard.append(event.number))
        stream, tight = (
            emitter.stream(Ping),
            emitter.stream(Ping, maxsize=1, overflow="drop_oldest"),
        )

        def check() -> None:
            assert sorted(heard) == [1, 2]
            assert numbers(stream) == heard
            assert tight.dropped == 1
            assert numbers(tight) == heard[1:]
            assert_idle(emitter)

        return Interruption(
            lambda: emitter.emit(Ping(1)), lambda: emitter.emit(Ping(2)), verify=check
        )

    assert inject_everywhere(make, package=PACKAGE, points=points) > 20


@pytest.mark.walks
@both_points
def test_event_emitted_by_an_interruption_of_stream_or_close_comes_once(points: Points) -> None:
    """G12: it is in order behind the replay, and never twice."""

    def make() -> Interruption:
        emitter: Emitter = ReplayEventEmitter()
        emitter.emit(Pong(1))
        emitter.emit(Ping(2))
        streams: list[EventStream[Any]] = []

        def emit() -> None:
            emitter.emit(Pong(3))
            emitter.emit(Ping(4))

        def check() -> None:
            emitter.emit(Ping(5))
            emitter.emit(Pong(6))
            # Of the two that one interruption emits, those of different types may change places.
            found = rest(streams[0])
            for kind, sent in ((Ping, [2, 4, 5]), (Pong, [1, 3, 6])):
                mine = [event.number for event in found if type(event) is kind]
                assert mine in (sent, sent[1:])
            assert_idle(emitter)

        return Interruption(lambda: streams.append(emitter.stream(Ping, Pong)), emit, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 20


@pytest.mark.walks
@both_kinds
def test_interrupted_stream_leaves_nothing_registered(kind: Kind) -> None:
    """G11: who gets no stream could never close it."""

    class Opening:
        def __init__(self) -> None:
            self.emitter = kind()
            self.emitter.on(Ping, str).off()
            self.emitter.emit(Ping(1))
            self.streams: list[EventStream[Any]] = []

        def run(self) -> None:
            with suppress(KeyboardInterrupt):
                self.streams.append(self.emitter.stream(Ping, Pong))

        def interrupt(self) -> None:
            raise KeyboardInterrupt

        def check(self, point: Point, /) -> None:
            assert_idle(self.emitter)
            # The interpreter does not poll where stream() returns to its caller.
            if point.function != "EventEmitter.stream":
                assert self.emitter.listener_count(Ping) == len(self.streams)
                assert self.emitter.listener_count(Pong) == len(self.streams)

    assert inject_everywhere(Opening, package=PACKAGE, points="polls") > 20


@pytest.mark.walks
@both_points
@both_kinds
def test_interrupted_close_can_be_done_again(kind: Kind, points: Points) -> None:
    """G11: then nothing is registered, and the readers end."""

    def make() -> Interruption:
        emitter = kind()
        stream = emitter.stream(Ping, Pong)

        def close() -> None:
            with suppress(KeyboardInterrupt):
                stream.close()

        def check() -> None:
            stream.close()
            assert emitter.event_types() == ()
            assert list(stream) == []
            assert_idle(emitter)

        return Interruption(close, raise_interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


class KnownGate(Gate):
    """A gate that tells the reading right before the thread blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._shut: Any = self
        self._lock = threading.Lock()
        self._lock.acquire()

    def acquire(self) -> bool:
        """Block."""
        assert Reading.current is not None
        Reading.current.blocking()
        assert self._lock.acquire(timeout=PATIENCE), "the event went unnoticed"
        return True

    def locked(self) -> bool:
        """Look."""
        return self._lock.locked()

    def release(self) -> None:
        """Open."""
        self._lock.release()


class Reading:
    """A read that is interrupted, by an emit if by nothing else."""

    current: Reading | None = None

    def __init__(self, action: Callable[[Emitter], object]) -> None:
        self.emitter: Emitter = EventEmitter()
        self.stream = self.emitter.stream(Ping)
        self.action = action
        self.interrupted = False
        self.found: list[Any] = []
        Reading.current = self

    def blocking(self) -> None:
        """Go on without an interruption, too."""
        if not self.interrupted:
            self.emitter.emit(Ping(1))

    def run(self) -> None:
        with suppress(KeyboardInterrupt):
            self.found.append(next(self.stream))

    def interrupt(self) -> None:
        self.interrupted = True
        self.action(self.emitter)

    def check(self, point: Point, /) -> None:
        del point
        assert_idle(self.emitter)


@pytest.mark.walks
@both_points
def test_emit_of_a_signal_handler_at_any_point_of_a_read_is_noticed(
    monkeypatch: pytest.MonkeyPatch, points: Points
) -> None:
    """G12: the main thread may be anywhere in `next()` when the signal comes."""

    class Noticed(Reading):
        def check(self, point: Point, /) -> None:
            super().check(point)
            assert self.found[0] == Ping(1)
            assert waiters(self.stream) == 0
            assert rest(self.stream) in ([], [Ping(1)])

    monkeypatch.setattr("eventemitter._stream.Gate", KnownGate)
    assert (
        inject_everywhere(
            lambda: Noticed(lambda emitter: emitter.emit(Ping(1))), package=PACKAGE, points=points
        )
        > 10
    )


@pytest.mark.walks
@both_points
def test_interrupted_read_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, points: Points
) -> None:
    """G11: the stream can be read on after a KeyboardInterrupt."""

    class Interrupted(Reading):
        def check(self, point: Point, /) -> None:
            self.emitter.emit(Ping(2))
            assert next(self.stream) in (Ping(1), Ping(2))
            super().check(point)

    monkeypatch.setattr("eventemitter._stream.Gate", KnownGate)
    assert (
        inject_everywhere(
            lambda: Interrupted(lambda _: raise_interrupt()), package=PACKAGE, points=points
        )
        > 10
    )


@pytest.mark.walks
def test_read_of_an_interruption_is_refused(emitter: Emitter) -> None:
    """A signal handler may not wait in the midst of this package: it would wait for itself."""
    refused: list[str] = []

    def make() -> Interruption:
        stream = emitter.stream(Ping)
        emitter.emit(Ping(1))

        def take() -> None:
            if this_thread().inside:
                with pytest.raises(RuntimeError, match="a stream was read by code that interrupts"):
                    next(stream)
                refused.append("refused")
            else:
                assert next(stream) == Ping(1)

        return Interruption(lambda: emitter.emit(Pong(1)), take, verify=stream.close)

    emitter.on(Pong, str)
    assert inject_everywhere(make, package=PACKAGE, points="lines") > 10
    assert refused


# Nothing is kept


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("end", ["close", "with", "remove", "overflow", "async"])
def test_nothing_is_kept_of_a_stream_that_is_over(emitter: Emitter, end: str) -> None:
    """Neither the emitter nor a cycle keeps the stream, its buffer or its events (G14)."""
    stream = emitter.stream(Event, Ping, maxsize=1)
    references: list[weakref.ref[Any]] = [weakref.ref(stream)]
    event = Event()
    references.append(weakref.ref(event))
    emitter.emit(event)
    if isinstance(emitter, ReplayEventEmitter):
        emitter.forget()
    if end == "close":
        stream.close()
    elif end == "with":
        with stream:
            pass
    elif end == "remove":
        emitter.remove_all_listeners()
    elif end == "overflow":
        emitter.emit(Ping(1))
    else:
        asyncio.run(read_cancelled(stream))
        stream.close()
    assert emitter.event_types() == ()
    assert channel_of(emitter, Event).taps == ()
    del event, stream
    assert [each() for each in references] == [None, None]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("overflow", ["raise", "drop_oldest", "drop_newest"])
def test_stream_that_nobody_holds_is_closed(emitter: Emitter, overflow: Policy) -> None:
    """Nobody could read what its listeners would keep (G14): so after a `break`."""

    async def main() -> weakref.ref[Event]:
        event = Event()
        asyncio.get_running_loop().call_soon(emitter.emit, event)
        async for read in emitter.stream(Event, overflow=overflow):
            emitter.emit(read)  # is in the buffer when the stream is left
            break
        return weakref.ref(event)

    reference = asyncio.run(main())
    assert emitter.event_types() == ()
    if isinstance(emitter, ReplayEventEmitter):
        emitter.forget()
    assert reference() is None


async def read_cancelled(stream: EventStream[Any]) -> None:
    """Read until it waits, and cancel that."""
    task = asyncio.create_task(read(stream))
    await until_async(lambda: waiters(stream))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class Final:
    """An event whose finalizer calls in, and notes where it ran."""

    inside: list[bool]
    emitter: Emitter

    def __del__(self) -> None:
        """Use the emitter as any code may."""
        Final.inside.append(this_thread().inside)
        Final.emitter.emit(Ping(1))


@pytest.mark.usefixtures("no_gc")
@all_policies
def test_dropped_events_are_let_go_of_under_no_lock(emitter: Emitter, overflow: Policy) -> None:
    """G6: their finalizers may call in, and may run anything."""
    Final.inside, Final.emitter = [], emitter
    heard: list[object] = []
    emitter.on(Ping, heard.append)
    stream = emitter.stream(Final, maxsize=1, overflow=overflow)
    for _ in range(3):
        emitter.emit(Final())
    if isinstance(emitter, ReplayEventEmitter):
        emitter.forget()
    stream.close()
    with suppress(StreamOverflow, StopIteration):
        while True:
            next(stream)
    assert Final.inside == [False] * 3
    assert len(heard) == 3


@pytest.mark.usefixtures("no_gc")
@all_policies
def test_events_dropped_while_it_is_opened_are_let_go_of_under_no_lock(
    crew: Crew, overflow: Policy
) -> None:
    """G6: those of other threads, which nobody else holds by then.

    1 stream() is stopped at a line, 2 another thread emits, 3 stream() goes on.
    """

    def make() -> Rivalry:
        emitter: Emitter = EventEmitter()
        Final.inside, Final.emitter = [], emitter
        streams: list[EventStream[Any]] = []

        def rival() -> None:
            for _ in range(3):
                emitter.emit(Final())

        def check() -> None:
            streams.clear()
            emitter.remove_all_listeners()
            assert Final.inside == [False] * 3
            assert_idle(emitter)

        return Rivalry(
            crew,
            [emitter],
            call=lambda: streams.append(emitter.stream(Final, Pong, maxsize=1, overflow=overflow)),
            rival=rival,
            verify=check,
        )

    force(make)


class PutAside(PutAsideCutShort):
    """The opening of a stream that interrupted this package is carried out, and cut short."""

    def __init__(self) -> None:
        self.emitter: Emitter = ReplayEventEmitter()
        self.emitter.emit(Ping(1))
        self.emitter.emit(Pong(2))
        with interrupting_section():
            self.stream = self.emitter.stream(Ping, Pong)

    def check(self, _: Point) -> None:
        catch_up(this_thread())
        self.emitter.emit(Ping(3))
        self.stream.close()
        assert [event.number for event in self.stream] == [1, 2, 3]
        assert self.stream.dropped == 0
        assert_idle(self.emitter)


@pytest.mark.walks
@both_points
def test_stream_whose_opening_is_put_aside_and_cut_short_keeps_its_events(points: Points) -> None:
    """G11, G12: `stream()` has returned, so it is opened later."""
    assert inject_everywhere(PutAside, package=PACKAGE, points=points) > 20


def test_stream_that_is_closed_before_it_is_opened_keeps_its_events(crew: Crew) -> None:
    """G12: closing it ends the iteration after the buffered events, then as ever.

    1 a call that interrupts this package opens a stream, 2 another thread emits and closes it.
    """
    emitter, other = EventEmitter[Any](), EventEmitter[Any]()
    other.on(Pong, print)
    streams: list[EventStream[Any]] = []

    def emit_and_close() -> None:
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        streams[0].close()

    def open_one() -> None:
        streams.append(emitter.stream(Ping))  # 1
        crew.run(emit_and_close).result(PATIENCE)  # 2

    with on_entry(("_settle_locked", open_one)):
        other.listener_count(Pong)
    assert list(streams[0]) == [Ping(1), Ping(2)]
    assert_idle(emitter)


@pytest.mark.walks
@both_points
@pytest.mark.parametrize("on_loop", [False, True])
def test_interrupted_removal_leaves_no_reader_waiting(
    crew: Crew, points: Points, *, on_loop: bool
) -> None:
    """G11: whatever cut the first removal short, after the second the iteration ends."""

    def make() -> Interruption:
        emitter: Emitter = EventEmitter()
        stream = emitter.stream(Ping)

        async def read() -> list[Any]:
            return [event async for event in stream]

        reading = crew.run((lambda: asyncio.run(read())) if on_loop else (lambda: list(stream)))
        gates: list[Gate] = attrgetter("_buffer._gates")(stream)
        until(lambda: gates)

        def remove() -> None:
            with suppress(KeyboardInterrupt):
                emitter.remove_all_listeners()

        def check() -> None:
            emitter.remove_all_listeners()
            assert reading.result(PATIENCE) == []

        return Interruption(remove, raise_interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 10


@pytest.mark.walks
@both_points
def test_stream_opened_after_an_interrupted_emit_has_the_latest_event(points: Points) -> None:
    """G1: what `latest()` returns it has, too, wherever KeyboardInterrupt struck."""

    def make() -> Interruption:
        emitter: ReplayEventEmitter[Any] = ReplayEventEmitter()
        emitter.on(Ping, str)
        emitter.emit(Ping(0))
        emitter.forget()

        def emit() -> None:
            with suppress(KeyboardInterrupt):
                emitter.emit(Ping(1))

        def check() -> None:
            latest = emitter.latest(Ping)
            assert rest(emitter.stream(Ping)) == ([] if latest is None else [latest])

        return Interruption(emit, raise_interrupt, verify=check)

    assert inject_everywhere(make, package=PACKAGE, points=points) > 5
