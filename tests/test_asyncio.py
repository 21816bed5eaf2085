"""At home in asyncio: async handlers (G13), `loop=`, mailboxes and what runs on loops alone."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import os
import selectors
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from contextvars import Context
from functools import partial
from types import FrameType, MethodType, coroutine
from typing import Any, Protocol, TypeVar, TypeVarTuple
from unittest.mock import AsyncMock

import pytest
from support import (
    PATIENCE,
    Crew,
    Ping,
    Pong,
    Stop,
    assert_idle,
    channel_of,
    interrupting_section,
    until,
)

from eventemitter import (
    EventEmitter,
    Expectation,
    HandlerFailure,
    ReplayEventEmitter,
    Subscription,
    _sections,
)
from eventemitter._channel import Channel
from eventemitter._listener import Listener
from eventemitter._loops import (
    Awaited,
    LoopGate,
    Mailbox,
    _tasks,  # pyright: ignore[reportPrivateUsage]
)
from eventemitter._sections import ThreadState, catch_up, this_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Loop = asyncio.AbstractEventLoop
LoopFactory = Callable[[], Loop]
Reports = list[dict[str, Any]]


needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"
)
also_debugging = pytest.mark.parametrize("new_loop", ["asyncio", "debug", "uvloop"], indirect=True)


class Run(Protocol):
    """Runs a coroutine on a new loop, and fails with what that loop is told of unexpectedly."""

    def __call__(self, main: Coroutine[Any, Any, T], /) -> T: ...


def loop_factory(name: str) -> LoopFactory:
    """Return what makes loops of this kind."""
    if name == "uvloop":
        factory: LoopFactory = pytest.importorskip("uvloop").new_event_loop
        return factory
    return debugging_loop if name == "debug" else asyncio.new_event_loop


def debugging_loop() -> Loop:
    """Return a loop as `PYTHONASYNCIODEBUG=1` makes it: it refuses calls from other threads."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    """Run the test once with each kind of loop."""
    return loop_factory(request.param)


@pytest.fixture
def run(new_loop: LoopFactory) -> Run:
    """Return what runs a coroutine on a loop of the kind under test."""

    def run_it(main: Coroutine[Any, Any, T], /) -> T:
        reports: Reports = []

        async def bounded() -> T:
            listen_to_reports(reports)
            async with asyncio.timeout(PATIENCE):
                return await main

        with asyncio.Runner(loop_factory=new_loop) as runner:
            result = runner.run(bounded())
        assert reports == []
        return result

    return run_it


def listen_to_reports(reports: Reports) -> None:
    """Keep what the running loop is told of by `call_exception_handler`."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))


class Side:
    """An event loop that runs in a thread of its own."""

    def __init__(self, new_loop: LoopFactory) -> None:
        self.loop = new_loop()
        self.reports: Reports = []
        self.loop.set_exception_handler(lambda _, context: self.reports.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.ident = self.call(threading.get_ident)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function on the loop's thread, and return what it returned."""

        async def call() -> T:
            return function(*args)

        return self.do(call()).result(PATIENCE)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel all tasks, and close the loop."""
        if self.loop.is_closed():
            return

        async def cancel_all() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.do(cancel_all()).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.loop.close()


@pytest.fixture
def side(new_loop: LoopFactory) -> Iterator[Side]:
    """Return a loop of the kind under test, that runs in another thread."""
    side = Side(new_loop)
    yield side
    side.close()
    assert side.reports == []


async def reach(condition: Callable[[], object]) -> None:
    """Let the loop go on until `condition` holds; `run` fails where that never comes about."""
    while not condition():  # noqa: ASYNC110 - a round of the loop each time, not a while
        await asyncio.sleep(0)


async def rounds(count: int = 10) -> None:
    """Let the loop do all that it can do by now."""
    for _ in range(count):
        await asyncio.sleep(0)


async def in_thread(crew: Crew, function: Callable[..., T], *args: object) -> T:
    """Call `function` in another thread, and await it."""
    return await asyncio.wrap_future(crew.run(function, *args))


def ignore(event: object) -> None:
    """Do nothing."""


async def ignore_async(event: object) -> None:
    """Do nothing, on a loop."""


def held_turn(crew: Crew, emitter: EventEmitter[Any]) -> tuple[Stop, list[Ping]]:
    """Have another thread deliver `Ping(0)`; return what lets it go on, and what is delivered."""
    stop = Stop()
    heard: list[Ping] = []

    def handler(event: Ping) -> None:
        heard.append(event)
        if event.number == 0:
            stop()

    emitter.on(Ping, handler)
    crew.run(emitter.emit, Ping(0))
    stop.wait()
    return stop, heard


def in_line(channel: Channel, count: int) -> bool:
    """Return whether so many wait for their turn."""
    return len(channel.line) == count


def is_left(channel: Channel, event: object) -> bool:
    """Return whether this event is in the queue of who delivers."""
    return event in [each.event for each in channel.queue]


class Latch:
    """A place in async handlers where they wait until the test lets them go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, *_: object) -> None:
        """Wait here."""
        self.reached.set()
        await self.open.wait()


# What runs on a loop


class Calls:
    """Notes with which event, on which loop and in which thread its handlers are called."""

    def __init__(self) -> None:
        self.made: list[tuple[object, Loop, int]] = []

    def note(self, event: object) -> None:
        """Note a call."""
        self.made.append((event, asyncio.get_running_loop(), threading.get_ident()))

    async def bound(self, event: object) -> None:
        """Be a bound method."""
        await asyncio.sleep(0)
        self.note(event)

    async def __call__(self, event: object) -> None:
        """Be an object with an async `__call__`."""
        await self.bound(event)

    async def with_more(self, more: str, event: object, *, most: str = "") -> None:
        """Be what a partial is made of."""
        assert more + most == "ab"
        await self.bound(event)


def coroutine_function(calls: Calls) -> Callable[[object], object]:
    """Return a coroutine function."""

    async def handler(event: object) -> None:
        await calls.bound(event)

    return handler


def bound_method(calls: Calls) -> Callable[[object], object]:
    """Return a bound async method."""
    return calls.bound


def async_call(calls: Calls) -> Callable[[object], object]:
    """Return an object whose `__call__` is a coroutine function."""
    return calls


def partial_of_one(calls: Calls) -> Callable[[object], object]:
    """Return a partial of a coroutine function."""
    return partial(calls.with_more, "ab")


def partial_of_partial(calls: Calls) -> Callable[[object], object]:
    """Return an object that holds a partial of a partial: `partial` would flatten it."""
    inner = partial(calls.with_more, "a")
    vars(inner)["note"] = ""
    return partial(inner, most="b")


def partial_of_object(calls: Calls) -> Callable[[object], object]:
    """Return a partial of an object whose `__call__` is a coroutine function."""
    return partial(calls)


def bound_partial(calls: Calls) -> Callable[[object], object]:
    """Return a partial bound to an object, as a method is."""

    async def handler(_calls: Calls, event: object) -> None:
        await calls.bound(event)

    return MethodType(partial(handler), calls)


def generator_based(calls: Calls) -> Callable[[object], object]:
    """Return a coroutine function in the form of a generator."""

    @coroutine
    def handler(event: object) -> Generator[Any, Any, None]:
        yield from calls.bound(event).__await__()

    return handler


def async_mock(calls: Calls) -> Callable[[object], object]:
    """Return what tests of users put in the place of a coroutine function."""
    return AsyncMock(side_effect=calls.bound)


def async_mock_of_a_method(calls: Calls) -> Callable[[object], object]:
    """Return an `AsyncMock` that claims to be a bound method."""
    return AsyncMock(spec=calls.bound, side_effect=calls.bound)


def static_method(calls: Calls) -> Callable[[object], object]:
    """Return what a decorator above `@staticmethod` is given."""
    return staticmethod(coroutine_function(calls))


def marked_as_one(calls: Calls) -> Callable[[object], object]:
    """Return a plain function that is marked as a coroutine function, as a decorator makes it."""
    mark: Callable[[Callable[[object], object]], Callable[[object], object]]
    mark = getattr(inspect, "markcoroutinefunction")  # noqa: B009 - it came with Python 3.12
    return mark(lambda event: calls.bound(event))  # noqa: PLW0108 - a plain function


async_kinds = pytest.mark.parametrize(
    "make",
    [
        coroutine_function,
        bound_method,
        async_call,
        partial_of_one,
        partial_of_partial,
        partial_of_object,
        bound_partial,
        generator_based,
        async_mock,
        async_mock_of_a_method,
        static_method,
        pytest.param(
            marked_as_one,
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="came with Python 3.12"),
        ),
    ],
)
Make = Callable[[Calls], Callable[[object], object]]


@async_kinds
@pytest.mark.parametrize("registration", ["on", "once", "@on", "@once"])
def test_async_handler_runs_on_the_loop_of_its_registration(
    run: Run, make: Make, registration: str
) -> None:
    """Whatever makes a coroutine when called runs on the loop running at registration (G13)."""
    calls = Calls()

    async def main() -> Loop:
        emitter = EventEmitter[Ping]()
        handler = make(calls)
        match registration:
            case "on":
                emitter.on(Ping, handler)
            case "once":
                emitter.once(Ping, handler)
            case "@on":
                assert emitter.on(Ping)(handler) is handler
            case _:
                assert emitter.once(Ping)(handler) is handler
        [found] = emitter.listeners(Ping)
        assert found.handler == handler
        emitter.emit(Ping(1))
        assert calls.made == []
        await reach(lambda: calls.made)
        return asyncio.get_running_loop()

    loop = run(main())
    assert calls.made == [(Ping(1), loop, threading.get_ident())]


@async_kinds
@pytest.mark.parametrize("registration", ["on", "once", "@on", "@once"])
def test_async_handler_runs_on_the_loop_it_was_given(
    side: Side, make: Make, registration: str
) -> None:
    """`loop=` serves where no loop is running, also for a decorator (G13)."""
    emitter = EventEmitter[Ping]()
    calls = Calls()
    handler = make(calls)
    match registration:
        case "on":
            emitter.on(Ping, handler, loop=side.loop)
        case "once":
            emitter.once(Ping, handler, loop=side.loop)
        case "@on":
            assert emitter.on(Ping, loop=side.loop)(handler) is handler
        case _:
            assert emitter.once(Ping, loop=side.loop)(handler) is handler
    emitter.emit(Ping(1))
    until(lambda: calls.made)
    assert calls.made == [(Ping(1), side.loop, side.ident)]


def test_given_loop_comes_before_the_running_one(run: Run, side: Side) -> None:
    """`loop=` says where, also in a coroutine of another loop (G13)."""
    calls = Calls()

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        emitter.on(Ping, calls, loop=side.loop)
        await emitter.emit_async(Ping(1))

    run(main())
    assert calls.made == [(Ping(1), side.loop, side.ident)]


@pytest.mark.parametrize("once", [False, True])
def test_plain_handler_with_a_loop_runs_on_its_thread(side: Side, *, once: bool) -> None:
    """A plain callable runs in the emitting thread only without `loop=` (G13)."""
    emitter = EventEmitter[Ping]()
    calls = Calls()
    register = emitter.once if once else emitter.on
    register(Ping, calls.note, loop=side.loop)
    emitter.emit(Ping(1))
    until(lambda: calls.made)
    assert calls.made == [(Ping(1), side.loop, side.ident)]


def test_plain_handler_runs_in_the_emitting_thread_also_on_a_loop(run: Run, crew: Crew) -> None:
    """A loop that happens to run at registration changes nothing for it (G5)."""
    threads: list[int] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        emitter.on(Ping, lambda _: threads.append(threading.get_ident()))
        emitter.emit(Ping())
        assert threads == [threading.get_ident()]
        await in_thread(crew, emitter.emit, Ping())

    run(main())
    assert len(set(threads)) == 2


def test_coroutine_that_a_plain_handler_returns_is_awaited(side: Side) -> None:
    """A lambda around a coroutine function, with `loop=`, works as that function does (G13)."""
    emitter = EventEmitter[Ping]()
    calls = Calls()
    emitter.on(Ping, lambda event: calls.bound(event), loop=side.loop)  # noqa: PLW0108
    emitter.emit(Ping(1))
    until(lambda: calls.made)
    assert calls.made == [(Ping(1), side.loop, side.ident)]


@async_kinds
@pytest.mark.parametrize("once", [False, True])
def test_async_handler_without_a_loop_is_refused(make: Make, *, once: bool) -> None:
    """The error says both ways out, and nothing is registered."""
    emitter = EventEmitter[Ping]()
    register = emitter.once if once else emitter.on
    ways = r"register it in a coroutine, or pass the loop, as in loop="
    with pytest.raises(RuntimeError, match=ways):
        register(Ping, make(Calls()))
    with pytest.raises(RuntimeError, match=ways):
        register(Ping)(make(Calls()))
    assert emitter.listener_count(Ping) == 0


@pytest.mark.parametrize("loop", ["loop", 0, object(), asyncio, asyncio.AbstractEventLoop])
@pytest.mark.parametrize("handler", [ignore, ignore_async])
def test_what_is_no_loop_is_refused(loop: Any, handler: Callable[[object], object]) -> None:
    """A clear exception at the call that is wrong, and nothing is registered."""
    emitter = EventEmitter[Ping]()
    for register in (emitter.on, emitter.once):
        with pytest.raises(TypeError, match=r"loop must be None or an event loop"):
            register(Ping, handler, loop=loop)
        with pytest.raises(TypeError, match=r"loop must be None or an event loop"):
            register(Ping, loop=loop)(handler)
    assert emitter.listener_count(Ping) == 0


@pytest.mark.parametrize("handler", [ignore, ignore_async])
def test_closed_loop_is_refused(new_loop: LoopFactory, handler: Callable[[object], object]) -> None:
    """At registration, not at the first event (G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    loop.close()
    for register in (emitter.on, emitter.once):
        with pytest.raises(RuntimeError, match="is closed"):
            register(Ping, handler, loop=loop)
    assert emitter.listener_count(Ping) == 0


def test_listener_may_be_registered_before_its_loop_runs(new_loop: LoopFactory, crew: Crew) -> None:
    """From another thread; what is emitted until the loop runs waits for it (G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    calls = Calls()
    crew.run(lambda: emitter.on(Ping, calls, loop=loop)).result(PATIENCE)
    emitter.emit(Ping(1))
    crew.run(emitter.emit, Ping(2)).result(PATIENCE)
    assert calls.made == []
    loop.run_until_complete(reach(lambda: len(calls.made) == 2))
    loop.close()
    assert [event for event, *_ in calls.made] == [Ping(1), Ping(2)]


def test_loop_may_run_now_in_one_thread_and_then_in_another(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """Its listeners run wherever it runs (G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    calls = Calls()
    emitter.on(Ping, calls, loop=loop)

    def run_until(done: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop.run_until_complete(done())

    def all_made(count: int) -> bool:
        return len(calls.made) == count

    for number in (1, 2):
        emitter.emit(Ping(number))
        done = partial(reach, partial(all_made, number))
        crew.run(run_until, done).result(PATIENCE)
    loop.close()
    assert [event for event, *_ in calls.made] == [Ping(1), Ping(2)]


@needs_eager_tasks
@pytest.mark.parametrize("new_loop", ["asyncio"], indirect=True)  # uvloop does not know them
def test_eager_tasks_make_no_difference(run: Run) -> None:
    """A loop may start the tasks of calls at once (G13)."""
    calls: list[Ping] = []

    async def main() -> None:
        factory: Any = vars(asyncio)["eager_task_factory"]
        asyncio.get_running_loop().set_task_factory(factory)
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            calls.append(event)
            if event.number % 2:
                await asyncio.sleep(0)
            if event.number < 5:
                emitter.emit(Ping(event.number + 1))
            calls.append(event)

        emitter.on(Ping, handler)
        await emitter.emit_async(Ping(1))
        await reach(lambda: len(calls) == 10)
        await asyncio.create_task(emitter.emit_async(Ping(9)))
        await rounds()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
    assert calls == [Ping(each) for each in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 9, 9)]


@pytest.mark.parametrize("plain", [False, True])
def test_handlers_run_in_the_context_of_their_registration(run: Run, *, plain: bool) -> None:
    """They see the context variables of who registers, not of who emits (G13)."""
    variable = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        def note(_: Ping) -> None:
            seen.append(variable.get())

        async def note_async(event: Ping) -> None:
            await asyncio.sleep(0)
            note(event)

        def register() -> None:
            variable.set("who registers")
            emitter.on(Ping, note if plain else note_async, loop=asyncio.get_running_loop())

        def emit() -> None:
            variable.set("who emits")
            emitter.emit(Ping())

        contextvars.copy_context().run(register)
        contextvars.copy_context().run(emit)
        await emitter.emit_async(Ping())
        assert variable.get() == "nobody"

    run(main())
    assert seen == ["who registers"] * 2


# One event at a time, in order


def test_handler_handles_one_event_at_a_time_in_order(run: Run) -> None:
    """The next call begins when the last one is over, however long that takes (G13)."""
    steps: list[tuple[str, int]] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            steps.append(("begin", event.number))
            await rounds(5 - event.number)
            steps.append(("end", event.number))

        emitter.on(Ping, handler)
        for number in range(5):
            emitter.emit(Ping(number))
            await asyncio.sleep(0)
        await reach(lambda: len(steps) == 10)

    run(main())
    assert steps == [(step, number) for number in range(5) for step in ("begin", "end")]


@also_debugging
def test_async_handler_sees_the_order_of_all_others(side: Side, crew: Crew) -> None:
    """Several threads emit; a plain listener and two on loops see one order (G3, G13)."""
    emitter = EventEmitter[Ping]()
    plain: list[Ping] = []
    first: list[Ping] = []
    second: list[Ping] = []
    start = threading.Barrier(3)

    async def handler(event: Ping) -> None:
        first.append(event)
        await rounds(event.number % 3)

    emitter.on(Ping, handler, loop=side.loop)
    emitter.on(Ping, plain.append)
    emitter.on(Ping, second.append, loop=side.loop)

    def emit(base: int) -> None:
        start.wait(PATIENCE)
        for number in range(100):
            emitter.emit(Ping(base + number))

    for base in (1000, 2000, 3000):
        crew.run(emit, base)
    crew.join()
    until(lambda: len(first) == len(second) == 300)
    assert first == second == plain
    assert len(set(plain)) == 300


def test_listeners_on_a_loop_do_not_wait_for_each_other(run: Run) -> None:
    """Each has a mailbox of its own; so have two registrations of one handler (G13)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        emitter.on(Ping, latch)
        emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
        emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
        for number in range(3):
            emitter.emit(Ping(number))
        await reach(lambda: len(heard) == 6)
        assert latch.reached.is_set()
        latch.open.set()

    run(main())
    assert sorted(event.number for event in heard) == [0, 0, 1, 1, 2, 2]


class Idle(selectors.DefaultSelector):
    """Tells when the loop has nothing to do and no timer, and would sleep for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = threading.Event()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for input."""
        if timeout is None:
            self.asleep.set()
        return super().select(timeout)


def test_event_from_another_thread_wakes_an_idle_loop() -> None:
    """At once, and not with the loop's next timer: this one has none (G13).

    1 the loop sleeps for ever, 2 another thread emits, 3 the handler is called.
    """
    selector = Idle()
    side = Side(lambda: asyncio.SelectorEventLoop(selector))
    emitter = EventEmitter[Ping]()
    heard: list[Ping] = []
    called = threading.Event()

    async def handler(event: Ping) -> None:
        heard.append(event)
        called.set()

    emitter.on(Ping, handler, loop=side.loop)
    for number in (1, 2):
        selector.asleep.clear()
        side.call(ignore, None)  # it is awake, and on its way to sleep
        assert selector.asleep.wait(PATIENCE)  # 1
        called.clear()
        emitter.emit(Ping(number))  # 2
        assert called.wait(PATIENCE)  # 3
    side.close()
    assert heard == [Ping(1), Ping(2)]


class Interrupted(selectors.DefaultSelector):
    """A selector that is interrupted as soon as it waits, as by a signal, and waits no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupt: Callable[[], object] | None = None
        self.woken: bool | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Look for input."""
        if timeout == 0 or self.interrupt is None:
            return super().select(timeout)
        interrupt, self.interrupt = self.interrupt, None
        interrupt()
        found = super().select(0)
        self.woken = bool(found)
        return found


@pytest.mark.parametrize("eager", [False, pytest.param(True, marks=needs_eager_tasks)])
def test_event_from_a_signal_handler_wakes_the_loop_that_it_interrupts(*, eager: bool) -> None:
    """Which is about to wait on, also where a task of it emits that begins at once (G12, G13)."""
    selector = Interrupted()
    emitter = EventEmitter[Ping]()

    async def emit() -> None:
        emitter.emit(Ping(1))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Ping] = loop.create_future()

        async def handler(event: Ping) -> None:
            heard.set_result(event)

        emitter.on(Ping, handler)
        if eager and sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
            selector.interrupt = lambda: loop.create_task(emit())
        else:
            selector.interrupt = lambda: emitter.emit(Ping(1))
        assert await asyncio.wait_for(heard, PATIENCE) == Ping(1)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(main())
    assert selector.woken


def test_emit_does_not_wait_for_async_handlers(run: Run) -> None:
    """It returns when the plain ones are through (G5)."""
    order: list[str] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        emitter.on(Ping, latch)
        emitter.on(Ping, lambda _: order.append("plain"))
        emitter.emit(Ping())
        order.append("returned")
        await latch.reached.wait()
        latch.open.set()

    run(main())
    assert order == ["plain", "returned"]


def test_async_handler_emits_its_own_event_type(run: Run) -> None:
    """What it emits it is told next, when its call is over (G4, G13)."""
    steps: list[int] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            steps.append(event.number)
            if event.number < 3:
                emitter.emit(Ping(event.number + 1))
            await rounds()
            steps.append(event.number)

        emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        await reach(lambda: len(steps) == 6)

    run(main())
    assert steps == [1, 1, 2, 2, 3, 3]


# off and once


@pytest.mark.parametrize("how", ["off", "off by handler", "remove all", "off in the handler"])
def test_off_drops_what_waits_and_lets_a_call_finish(run: Run, how: str) -> None:
    """Of three events one is being handled, and no other call begins (G8)."""
    steps: list[str] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()

        async def handler(event: Ping) -> None:
            steps.append(f"begin {event.number}")
            if how == "off in the handler":
                assert subscription.off()
            await latch()
            steps.append(f"end {event.number}")

        subscription = emitter.on(Ping, handler)
        for number in range(3):
            emitter.emit(Ping(number))
        await latch.reached.wait()
        match how:
            case "off":
                assert subscription.off()
            case "off by handler":
                assert emitter.off(Ping, handler)
            case "remove all":
                emitter.remove_all_listeners()
            case _:
                pass
        assert not subscription.active
        assert subscription.handler is None
        assert not subscription.off()
        assert emitter.listener_count(Ping) == 0
        latch.open.set()
        await rounds()

    run(main())
    assert steps == ["begin 0", "end 0"]


def test_off_before_the_loop_has_looked_drops_all(run: Run) -> None:
    """No call begins after it has returned (G8)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        calls = Calls()
        subscription = emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
        other = emitter.on(Ping, calls)
        emitter.emit(Ping())
        assert subscription.off()
        assert other.off()
        await rounds()
        assert calls.made == []

    run(main())
    assert heard == []


def test_mailbox_drops_the_handler_at_once(new_loop: LoopFactory) -> None:
    """After `off()` nothing holds the handler, though its loop has not looked yet (G14)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    calls = Calls()
    alive = weakref.ref(calls)
    subscription = emitter.on(Ping, calls, loop=loop)
    emitter.emit(Ping())
    subscription.off()
    del calls
    assert alive() is None
    loop.run_until_complete(rounds())
    loop.close()


def test_once_is_exactly_once_under_concurrent_emits(side: Side, crew: Crew) -> None:
    """Whatever threads emit at the same time, 20 listeners are called once each (G7)."""
    for _ in range(20):
        emitter = EventEmitter[Ping]()
        start = threading.Barrier(3)
        calls: list[Ping] = []
        subscription = emitter.once(Ping, calls.append, loop=side.loop)

        def emit(
            number: int, start: threading.Barrier = start, emitter: EventEmitter[Any] = emitter
        ) -> None:
            start.wait(PATIENCE)
            for _ in range(3):
                emitter.emit(Ping(number))

        for number in range(3):
            crew.run(emit, number)
        crew.join()
        assert not subscription.active
        assert emitter.listener_count(Ping) == 0
        until(partial(len, calls))
        side.call(ignore, None)
        assert len(calls) == 1


def test_once_handler_that_raises_is_not_called_again(run: Run) -> None:
    """It is claimed before it is called (G7)."""
    failures: list[HandlerFailure] = []

    async def main() -> None:
        emitter = EventEmitter[Ping](on_error=failures.append)

        async def handler(_: Ping) -> None:
            raise ValueError

        emitter.once(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await reach(lambda: failures)
        await rounds()

    run(main())
    assert [failure.event for failure in failures] == [Ping(1)]


def test_once_listener_whose_call_is_still_to_come_can_be_removed(run: Run) -> None:
    """`off()` drops the call and returns True; when the call has begun it returns False (G8)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        loop = asyncio.get_running_loop()
        first = emitter.once(Ping, heard.append, loop=loop)
        second = emitter.once(Ping, heard.append, loop=loop)
        emitter.emit(Ping(1))
        assert not first.active
        assert emitter.listener_count(Ping) == 0
        assert first.off()
        assert not first.off()
        await reach(lambda: heard)
        assert not second.off()
        await rounds()

    run(main())
    assert heard == [Ping(1)]


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("replayed", [False, True])
def test_removing_all_drops_the_calls_of_once_listeners_still_to_come(
    new_loop: LoopFactory, *, wait: bool, replayed: bool
) -> None:
    """Their owner may free what they use, as after `off()` (G8, G9)."""
    heard: list[Ping] = []
    emitter = ReplayEventEmitter[Ping]()
    loop = new_loop()
    if replayed:
        emitter.emit(Ping())
    emitter.once(Ping, heard.append, loop=loop)
    emitter.emit(Ping())
    if wait:
        assert emitter.remove_all_listeners_and_wait()
    else:
        emitter.remove_all_listeners()
    loop.run_until_complete(rounds())
    loop.close()
    assert heard == []


# Failures


@pytest.mark.parametrize("plain", [False, True])
def test_failures_go_to_on_error_on_the_thread_of_the_loop(side: Side, *, plain: bool) -> None:
    """`emit()` has long returned; later events are handled all the same (G11)."""
    failures: list[tuple[HandlerFailure, int]] = []
    emitter = EventEmitter[Ping](
        on_error=lambda failure: failures.append((failure, threading.get_ident()))
    )
    error = ValueError("bad")

    def fail(_: Ping) -> None:
        raise error

    async def fail_async(event: Ping) -> None:
        await asyncio.sleep(0)
        fail(event)

    handler = fail if plain else fail_async
    emitter.on(Ping, handler, loop=side.loop)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    until(lambda: len(failures) == 2)
    assert failures == [
        (HandlerFailure(Ping(number), handler, error), side.ident) for number in (1, 2)
    ]


@pytest.mark.parametrize("plain", [False, True])
def test_failures_go_to_the_exception_handler_of_the_loop(run: Run, *, plain: bool) -> None:
    """With a note that names handler and event; `emit()` does not raise (G11)."""
    reports: Reports = []
    error = ValueError("bad")

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping]()

        def fail(_: Ping) -> None:
            raise error

        async def fail_async(event: Ping) -> None:
            fail(event)

        emitter.on(Ping, fail if plain else fail_async, loop=asyncio.get_running_loop())
        emitter.emit(Ping(7))
        await reach(lambda: reports)
        assert emitter.listener_count(Ping) == 1

    run(main())
    [report] = reports
    assert report["exception"] is error
    [note] = error.__notes__
    assert "fail" in note
    assert "Ping(number=7)" in note
    assert note in report["message"]


@pytest.mark.parametrize("awaited", [False, True])
def test_failure_of_on_error_is_reported_too(run: Run, *, awaited: bool) -> None:
    """To who awaits the event, else to the loop, with a note that names `on_error` (G11)."""
    reports: Reports = []
    raised: list[Exception] = []

    def on_error(failure: HandlerFailure) -> None:
        raise KeyError from failure.error

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping](on_error=on_error)

        async def fail(_: Ping) -> None:
            raise ValueError

        emitter.on(Ping, fail)
        if awaited:
            with pytest.raises(ExceptionGroup) as caught:
                await emitter.emit_async(Ping())
            raised.extend(caught.value.exceptions)
        else:
            emitter.emit(Ping())
            await reach(lambda: reports)
            raised.append(reports.pop()["exception"])

    run(main())
    [error] = raised
    assert isinstance(error, KeyError)
    assert "on_error" in error.__notes__[0]
    assert reports == []


def test_handler_that_awaits_something_cancelled_has_failed(run: Run) -> None:
    """Its `CancelledError` is nobody's wish to end its task: it goes on with the next (G11)."""
    reports: Reports = []
    heard: list[Ping] = []

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping]()
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()

        async def handler(event: Ping) -> None:
            if event.number == 1:
                await cancelled
            heard.append(event)

        emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await reach(lambda: heard)
        with pytest.raises(ExceptionGroup) as caught:
            await emitter.emit_async(Ping(1))
        [error] = caught.value.exceptions
        assert isinstance(error, RuntimeError)

    run(main())
    assert heard == [Ping(2)]
    [report] = reports
    assert "was cancelled while it handled Ping" in str(report["exception"])


async def call_under_way() -> asyncio.Task[None]:
    """Return the task of this loop that calls a handler."""

    def found() -> set[asyncio.Task[None]]:
        return {*_tasks.get(asyncio.get_running_loop(), {})}

    await reach(found)
    [task] = found()
    return task


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("handled", [False, True])
def test_cancelling_a_call_drops_and_reports_what_waits_behind_it(
    run: Run, *, started: bool, handled: bool
) -> None:
    """And the listener goes on with later events (G11, G13)."""
    reports: Reports = []
    failures: list[HandlerFailure] = []
    heard: list[Ping] = []

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping](on_error=failures.append if handled else None)
        latch = Latch()

        async def handler(event: Ping) -> None:
            heard.append(event)
            if event.number == 1:
                await latch()

        emitter.on(Ping, handler)
        for number in (1, 2, 3):
            emitter.emit(Ping(number))
        task = await call_under_way()
        if started:
            await latch.reached.wait()
        task.cancel()
        await reach(task.done)
        await reach(lambda: len(reports) + len(failures) >= 2)
        await rounds()
        await emitter.emit_async(Ping(4))

    run(main())
    assert heard == ([Ping(1)] if started else []) + [Ping(4)]
    errors = [report["exception"] for report in reports] + [each.error for each in failures]
    assert len(errors) == (2 if started else 3)
    assert all("was not told of Ping" in str(error) for error in errors)
    if handled:
        assert [each.event for each in failures][-2:] == [Ping(2), Ping(3)]


def test_cancelled_call_is_a_failure_for_who_awaits_it(run: Run) -> None:
    """Nobody awaits it for ever, nor what waits behind it (G11)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        emitter.on(Ping, latch)
        first = asyncio.create_task(emitter.emit_async(Ping(1)))
        second = asyncio.create_task(emitter.emit_async(Ping(2)))
        await latch.reached.wait()
        (await call_under_way()).cancel()
        for task in (first, second):
            with pytest.raises(ExceptionGroup) as caught:
                await task
            [error] = caught.value.exceptions
            assert isinstance(error, RuntimeError)
            assert "raised by handler" in error.__notes__[0]

    run(main())


@pytest.mark.parametrize("reaction", ["raises", "returns"])
def test_cancelled_call_that_does_not_end_cancelled_ends_its_task_too(
    run: Run, reaction: str
) -> None:
    """Else the next call would begin, and `asyncio.run` would wait for that at its end (G13)."""
    reports: Reports = []
    heard: list[Ping] = []

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping]()
        latch = Latch()

        async def handler(event: Ping) -> None:
            heard.append(event)
            try:
                await latch()
            except asyncio.CancelledError:
                if reaction == "raises":
                    raise ValueError from None

        emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await latch.reached.wait()
        task = await call_under_way()
        task.cancel()
        await rounds()
        ended = task.done()
        latch.open.set()
        assert ended

    run(main())
    assert heard == [Ping(1)]
    assert len(reports) == (2 if reaction == "raises" else 1)


def test_interrupt_in_a_handler_passes_and_leaves_the_emitter_usable(
    new_loop: LoopFactory,
) -> None:
    """It ends `run_forever`; what waits is kept, and handled after the next emit (G11)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    reports: Reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    heard: list[Ping] = []

    async def handler(event: Ping) -> None:
        heard.append(event)
        if event.number == 1:
            raise KeyboardInterrupt

    subscription = emitter.on(Ping, handler, loop=loop)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(rounds())
    loop.run_until_complete(rounds())
    emitter.emit(Ping(3))
    loop.run_until_complete(reach(lambda: len(heard) == 3))
    assert subscription.off_and_wait()
    loop.close()
    assert heard == [Ping(1), Ping(2), Ping(3)]
    assert reports == []


def test_loop_that_once_cannot_start_a_call_does_later(new_loop: LoopFactory) -> None:
    """What its task factory raises is the loop's to report; no event is lost (G11, G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    calls = Calls()
    reports: Reports = []
    refused: list[object] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def factory(loop: Loop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if not refused:
            refused.append(None)
            raise MemoryError
        options.pop("eager_start", None)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def main() -> None:
        loop.set_task_factory(factory)
        emitter.emit(Ping(1))
        await rounds()
        assert len(reports) == 1
        emitter.emit(Ping(2))
        await reach(lambda: len(calls.made) == 2)

    emitter.on(Ping, calls, loop=loop)
    loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
    loop.close()
    assert [event for event, *_ in calls.made] == [Ping(1), Ping(2)]


@pytest.mark.parametrize("place", ["handler", "on_error"])
def test_interrupt_on_another_loop_ends_the_wait_for_it(run: Run, crew: Crew, place: str) -> None:
    """Whoever awaits the event there, or one behind it, does not do so for ever (G11)."""
    loop = asyncio.new_event_loop()

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    async def fail(_: Ping) -> None:
        raise ValueError

    emitter = EventEmitter[Ping](on_error=interrupt)
    if place == "handler":
        emitter.on(Ping, interrupt, loop=loop)
    else:
        emitter.on(Ping, fail, loop=loop)

    def run_loop() -> None:
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()

    async def main() -> None:
        tasks = [asyncio.create_task(emitter.emit_async(Ping(each))) for each in range(2)]
        await reach(lambda: len(channel_of(emitter, Ping).queue) == 0)
        await rounds()
        running = asyncio.wrap_future(crew.run(run_loop))
        await asyncio.gather(*tasks)
        await running

    emitter.listener_count(Ping)
    run(main())
    loop.close()
    other = asyncio.new_event_loop()
    another = EventEmitter[Ping]()
    another.on(Ping, ignore, loop=other)
    another.emit(Ping())
    with pytest.raises(KeyboardInterrupt):  # from `on_error`, of the event that was left undone
        other.run_forever()
    other.close()


# A closed loop


@also_debugging
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_closed_loop_is_a_failure_and_its_listener_goes(
    new_loop: LoopFactory, *, once: bool, plain: bool
) -> None:
    """`emit()` raises it with a note, having called all others (G13, G11)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    heard: list[Ping] = []
    register = emitter.once if once else emitter.on
    subscription = register(Ping, ignore if plain else ignore_async, loop=loop)
    emitter.on(Ping, heard.append)
    loop.close()
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Ping(1))
    [error] = caught.value.exceptions
    assert isinstance(error, RuntimeError)
    assert "event loop of handler ignore" in str(error)
    assert "is closed" in str(error)
    assert "handler ignore" in error.__notes__[0]
    assert not subscription.active
    assert not subscription.off()
    assert emitter.listener_count(Ping) == 1
    emitter.emit(Ping(2))
    assert heard == [Ping(1), Ping(2)]
    assert_idle(emitter)


@pytest.mark.parametrize("handled", [False, True])
def test_what_a_closed_loop_left_undone_is_reported(
    new_loop: LoopFactory, *, handled: bool
) -> None:
    """As it is closed; no event is lost in silence, and the listener goes (G11, G13)."""
    failures: list[HandlerFailure] = []
    emitter = EventEmitter[Ping](on_error=failures.append if handled else None)
    loop = new_loop()
    reports: Reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    emitter.on(Ping, ignore_async, loop=loop)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    loop.close()
    assert emitter.listener_count(Ping) == 0
    if handled:
        assert [failure.event.number for failure in failures] == [1, 2]  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert {failure.handler for failure in failures} == {ignore_async}
        assert reports == []
    else:
        assert len(reports) == 2
        assert all("is closed" in str(report["exception"]) for report in reports)
    emitter.emit(Ping(3))
    assert len(failures + reports) == 2


def test_what_is_emitted_as_a_closed_loop_is_reported_is_not_left_to_it(
    new_loop: LoopFactory,
) -> None:
    """Each event that waited is one report, and the listener has gone before (G11, G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    reports: Reports = []

    def report(_: Loop, context: dict[str, Any]) -> None:
        reports.append(context)
        if len(reports) < 10:
            emitter.emit(Ping(9))

    loop.set_exception_handler(report)
    emitter.on(Ping, ignore_async, loop=loop)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    loop.close()
    notes = [report["exception"].__notes__[0][-14:] for report in reports]
    assert notes == ["Ping(number=1)", "Ping(number=2)"]
    assert_idle(emitter)


def test_what_is_emitted_as_a_dropped_event_is_reported_is_heard(run: Run) -> None:
    """It did not wait behind the call that was cancelled (G11, G13)."""
    dropped: list[object] = []
    heard: list[Ping] = []

    def report(failure: HandlerFailure) -> None:
        dropped.append(failure.event)
        if len(dropped) < 10:
            emitter.emit(Ping(9))

    emitter = EventEmitter[Ping](on_error=report)

    async def main() -> None:
        latch = Latch()

        async def handler(event: Ping) -> None:
            heard.append(event)
            if event == Ping(1):
                await latch()

        emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await latch.reached.wait()
        [call] = _tasks[asyncio.get_running_loop()]
        call.cancel()
        await rounds()

    run(main())
    assert dropped == [Ping(2)]
    assert heard == [Ping(1), Ping(9)]
    assert_idle(emitter)


def test_report_of_a_closed_loop_that_is_cut_short_goes_on() -> None:
    """With the next event; what had not been told by then is not lost in silence (G11)."""

    class Loop(asyncio.SelectorEventLoop):
        """A loop that still holds what it is to call when it is closed."""

        gone = False

        def is_closed(self) -> bool:
            return self.gone or super().is_closed()

    told: list[object] = []

    def report(failure: HandlerFailure) -> None:
        told.append(failure.event)
        if failure.event == Ping(1):
            raise KeyboardInterrupt

    emitter = EventEmitter[Ping](on_error=report)
    loop = Loop()
    emitter.on(Ping, ignore_async, loop=loop)
    emitter.emit(Ping(1))
    emitter.emit(Ping(2))
    loop.gone = True
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Ping(3))
    emitter.emit(Ping(4))
    assert told == [Ping(3), Ping(1), Ping(2)]
    assert_idle(emitter)
    loop.gone = False
    loop.close()


def test_event_for_a_closed_loop_is_one_failure(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever thread finds first that the loop is closed (G11).

    1 an emit leaves an event for a closed loop, 2 another thread reports what was left there,
    3 the emit finds it closed.
    """
    failures: list[HandlerFailure] = []
    emitter = EventEmitter[Ping](on_error=failures.append)
    loop = asyncio.new_event_loop()
    emitter.on(Ping, ignore_async, loop=loop)
    loop.close()
    call_soon = Mailbox._call_soon  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def slow(mailbox: Mailbox, bell: Any) -> bool:
        def find() -> None:
            mailbox.lose(channel_of(emitter, Ping), this_thread())

        crew.run(find).result(PATIENCE)  # 2
        return call_soon(mailbox, bell)  # 3

    monkeypatch.setattr(Mailbox, "_call_soon", slow)
    emitter.emit(Ping(1))  # 1
    assert [failure.event for failure in failures] == [Ping(1)]
    assert_idle(emitter)


def test_emit_async_raises_that_another_loop_is_closed(run: Run, new_loop: LoopFactory) -> None:
    """It awaits nobody there; what was left there is an error of who awaited that (G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    heard: list[Ping] = []

    async def main() -> None:
        emitter.on(Ping, ignore_async, loop=loop)
        emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
        undone = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: heard)
        loop.close()
        with pytest.raises(ExceptionGroup) as caught:
            await undone
        assert len(caught.value.exceptions) == 1
        assert "is closed" in str(caught.value.exceptions[0])
        await emitter.emit_async(Ping(2))
        await emitter.emit_async(Ping(3))

    run(main())
    assert heard == [Ping(1), Ping(2), Ping(3)]


def test_replay_to_a_loop_that_closes_meanwhile_registers_nothing(crew: Crew) -> None:
    """`on()` raises what its replay raised (G11).

    1 `on()` has looked at the loop, 2 the loop is closed, 3 the replay finds it closed.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    loop = SlowLoop()

    def add() -> None:
        with pytest.raises(ExceptionGroup, match="1 handler of Ping"):
            emitter.on(Ping, ignore_async, loop=loop)

    adding = crew.run(add)
    loop.stop_here.wait()  # 1
    loop.close()  # 2
    loop.stop_here.go()
    adding.result(PATIENCE)  # 3
    assert emitter.listener_count(Ping) == 0
    assert_idle(emitter)


class HeldUpLoop(asyncio.SelectorEventLoop):
    """A loop that does something first where it is told to call something."""

    def before(self) -> None:
        """Do what comes first."""
        raise NotImplementedError

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Do that, and be told."""
        self.before()
        return super().call_soon_threadsafe(callback, *args, context=context)


class SlowLoop(HeldUpLoop):
    """A loop that stops threads that are about to leave it something."""

    def __init__(self) -> None:
        super().__init__()
        self.stop_here = Stop()

    def before(self) -> None:
        """Stop first."""
        if threading.current_thread() is not threading.main_thread():
            self.stop_here()


class WatchedLoop(HeldUpLoop):
    """A loop that notes who wakes it, and whether that one holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.woken: list[tuple[int, bool]] = []

    def before(self) -> None:
        """Take note first."""
        self.woken.append((threading.get_ident(), this_thread().inside))


def test_loop_is_told_of_one_more_handler_to_await_with_no_lock_held(crew: Crew) -> None:
    """G6: where a task awaits an event already, and a replay leaves that to another thread.

    1 a follower is replayed to, 2 a task awaits an event that is left to the replay, 3 another
    thread waits for its turn on the follower, 4 the replay goes on, and leaves the event to that
    thread.
    """
    source, target = ReplayEventEmitter[Ping](), EventEmitter[Ping]()
    stops = {0: Stop(), 1: Stop()}
    target.on(Ping, lambda event: stops[event.number]() if event.number in stops else None)
    source.emit(Ping(0))
    idents: list[int] = []

    def follow() -> None:
        idents.append(threading.get_ident())
        target.follow(source, Ping)

    following = crew.run(follow)
    stops[0].wait()  # 1
    loop = WatchedLoop()

    async def main() -> None:
        task = asyncio.create_task(source.emit_async(Ping(1)))
        await rounds()  # 2
        crew.run(target.emit, Ping(9))
        await reach(lambda: in_line(channel_of(target, Ping), 1))  # 3
        stops[0].go()
        stops[1].wait()  # 4
        await asyncio.wrap_future(following)
        await rounds()
        assert not task.done()
        stops[1].go()
        await task

    with closing(loop):
        loop.run_until_complete(main())
    crew.join()
    assert [inside for ident, inside in loop.woken if ident in idents]
    assert not [ident for ident, inside in loop.woken if inside]
    assert_idle(source)


class DeafLoop(HeldUpLoop):
    """A loop that cannot be told anything, though it is not closed."""

    deaf = True

    def before(self) -> None:
        """Raise first."""
        if self.deaf:
            raise RuntimeError("no longer there")


@pytest.mark.parametrize("once", [False, True])
def test_event_for_a_loop_that_cannot_be_told_is_one_failure(*, once: bool) -> None:
    """It is raised, and the event not delivered later (G7, G11)."""
    loop = DeafLoop()
    emitter = EventEmitter[Ping]()
    calls = Calls()
    (emitter.once if once else emitter.on)(Ping, calls, loop=loop)
    with pytest.raises(ExceptionGroup) as raised:
        emitter.emit(Ping(1))
    assert [str(each) for each in raised.value.exceptions] == ["no longer there"]
    loop.deaf = False
    emitter.emit(Ping(2))
    with closing(loop):
        loop.run_until_complete(rounds())
    assert [event for event, *_ in calls.made] == ([] if once else [Ping(2)])
    assert not channel_of(emitter, Ping).told
    assert_idle(emitter)


@pytest.mark.parametrize("waits_for", ["its turn", "an expectation"])
def test_task_whose_loop_cannot_be_told_holds_up_nobody_else(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    """It is said once, and whoever waits behind that task goes on (G10, G11)."""
    loop = DeafLoop()
    loop.deaf = False
    emitter = EventEmitter[Ping]()
    reports: list[str] = []

    def hook(unraisable: Any) -> None:
        reports.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    stop, heard = held_turn(crew, emitter)
    expected = EventEmitter[Ping]()
    expectation = expected.expect(Ping)
    called: list[object] = []

    async def wait() -> None:
        if waits_for == "its turn":
            await emitter.emit_async(Ping(1))
        else:
            await expectation

    with closing(loop):
        task = loop.create_task(wait())
        loop.run_until_complete(rounds())
        waiting = crew.run(expectation.result)
        until(lambda: channel_of(expected, Ping).listeners)
        expectation.add_done_callback(called.append)
        loop.deaf = True
        stop.go()
        crew.run(emitter.emit, Ping(2)).result(PATIENCE)
        expected.emit(Ping(3))
        assert waiting.result(PATIENCE) == Ping(3)
        loop.deaf = False
        assert reports == ["no longer there"]
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
    crew.join()
    assert called == [expectation]
    assert heard == [Ping(0), Ping(2)]
    assert_idle(emitter)


# Nothing is left behind


SHUTDOWNS = {
    "in flight": """
        async def main():
            emitter.on(Ping, forever)
            emitter.emit(Ping())
            await rounds()
    """,
    "in flight elsewhere": """
        async def main():
            emitter.on(Ping, forever)
            await asyncio.to_thread(emitter.emit, Ping())
            await asyncio.sleep(0)
    """,
    "waiting": """
        async def main():
            emitter.on(Ping, forever)
            for _ in range(3):
                emitter.emit(Ping())
            await rounds()
    """,
    "never started": """
        async def main():
            emitter.on(Ping, forever)
            emitter.emit(Ping())
    """,
    "never begun": """
        async def main():
            emitter.on(Ping, forever)
            emitter.emit(Ping())
            await asyncio.sleep(0)
    """,
    "awaited": """
        async def main():
            global task
            emitter.on(Ping, forever)
            task = asyncio.create_task(emitter.emit_async(Ping()))
            await rounds()
    """,
    "in line": """
        async def main():
            global task, go
            reached, go = threading.Event(), threading.Event()
            emitter.on(Ping, lambda _: (reached.set(), go.wait()))
            thread = threading.Thread(target=emitter.emit, args=(Ping(),))
            thread.start()
            reached.wait()
            task = asyncio.create_task(emitter.emit_async(Ping()))
            await asyncio.sleep(0)
    """,
    "owner waits": """
        async def main():
            global task
            subscription = emitter.on(Ping, forever)
            emitter.emit(Ping())
            await rounds()
            task = asyncio.create_task(subscription.off_and_wait_async())
            await asyncio.sleep(0)
    """,
    "loop closed with a call in flight": """
        def main():
            loop = asyncio.new_event_loop()
            emitter.on(Ping, forever, loop=loop)
            emitter.emit(Ping())
            loop.run_until_complete(rounds())
            loop.close()
    """,
    "loop of a daemon thread": """
        def main():
            loop = asyncio.new_event_loop()
            emitter.on(Ping, forever, loop=loop)
            threading.Thread(target=loop.run_forever, daemon=True).start()
            emitter.emit(Ping())
            emitter.emit(Ping())
            asyncio.run_coroutine_threadsafe(rounds(), loop).result()
            loop.close = lambda: None  # it is never closed, and the warning of that not our concern
    """,
    "emitter goes first": """
        async def main():
            global emitter
            emitter.on(Ping, forever)
            emitter.emit(Ping())
            await rounds()
            emitter.emit(Ping())
            del emitter
    """,
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("case", SHUTDOWNS)
def test_nothing_is_printed_about_tasks_at_shutdown(case: str, *, debug: bool) -> None:
    """Not "Task was destroyed" nor "never awaited", under `-X dev -W error` (G13)."""
    if debug and case not in {"waiting", "awaited"}:
        pytest.skip("the mode of asyncio makes no difference here")
    program = [
        "import asyncio, threading",
        "from eventemitter import EventEmitter",
        "class Ping: pass",
        "async def forever(_): await asyncio.Event().wait()",
        "async def rounds():",
        "    for _ in range(10): await asyncio.sleep(0)",
        "emitter = EventEmitter()",
        "go = threading.Event()",
        textwrap.dedent(SHUTDOWNS[case]),
        "if (coroutine := main()): asyncio.run(coroutine)",
        "go.set()",
        "print('ended')",
    ]
    environment = dict(os.environ, PYTHONASYNCIODEBUG="1" if debug else "")
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", "\n".join(program)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    assert ended.stdout == "ended\n", ended.stderr
    # A slow machine may have the loop tell of a slow step, as it does in its debug mode.
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("Executing <")]
    printed = "\n".join(lines)
    for bad in ("Task was destroyed", "never awaited", "Warning", "Exception ignored"):
        assert bad not in printed
    if case in {"waiting", "never started", "emitter goes first"}:
        assert "was not told of Ping" in printed  # these have dropped an event
    elif case == "loop closed with a call in flight":
        assert "the event loop of handler forever for Ping is closed" in printed
    else:
        assert printed == ""


def test_idle_listener_keeps_no_task(run: Run) -> None:
    """A task lives only while there is something in the mailbox (G13)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        emitter.on(Ping, latch)
        emitter.once(Ping, latch)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        emitter.emit(Ping())
        await latch.reached.wait()
        assert len(asyncio.all_tasks()) == 3
        latch.open.set()
        await emitter.emit_async(Ping())
        await rounds()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_calls_under_way_are_held_until_done(run: Run) -> None:
    """A loop holds its tasks but weakly; a call that only its future refers to goes on (G13)."""
    heard: list[Ping] = []
    futures: list[weakref.ref[asyncio.Future[None]]] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            future = asyncio.get_running_loop().create_future()
            futures.append(weakref.ref(future))
            await future
            heard.append(event)

        emitter.on(Ping, handler)
        emitter.emit(Ping())
        del handler, emitter
        await reach(lambda: futures)
        gc.collect()
        future = futures[0]()
        assert future is not None, "its task was destroyed"
        future.set_result(None)
        await reach(lambda: heard)

    run(main())


class Gone(Exception):  # noqa: N818 - it is not one
    """An error that can be referenced weakly."""


async def raise_gone(_: object) -> None:
    """Fail on the loop."""
    await asyncio.sleep(0)
    raise Gone


async def nothing_emitted(emitter: EventEmitter[Any]) -> None:
    """Register only."""
    emitter.on(Ping, ignore_async)


async def handled(emitter: EventEmitter[Any]) -> None:
    """Have events handled."""
    heard: list[Ping] = []
    emitter.on(Ping, ignore_async)
    emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
    emitter.emit(Ping())
    emitter.emit(Ping())
    await reach(lambda: len(heard) == 2)
    await rounds()


async def failed(emitter: EventEmitter[Any]) -> None:
    """Have handlers fail."""
    reports: Reports = []
    listen_to_reports(reports)
    emitter.on(Ping, raise_gone)
    emitter.emit(Ping())
    await reach(lambda: reports)
    reports.clear()


async def awaited(emitter: EventEmitter[Any]) -> None:
    """Await events."""
    emitter.on(Ping, ignore_async)
    emitter.on(Ping, ignore)
    await asyncio.gather(emitter.emit_async(Ping()), emitter.emit_async(Ping()))


async def awaited_failed(emitter: EventEmitter[Any]) -> None:
    """Await events whose handlers fail."""

    def fail(_: Ping) -> None:
        raise Gone

    emitter.on(Ping, raise_gone)
    emitter.on(Ping, fail)
    try:
        await emitter.emit_async(Ping())
    except* Gone:
        pass


async def awaited_cancelled(emitter: EventEmitter[Any]) -> None:
    """Await an event, and do not any more while its handlers run."""
    latch = Latch()
    emitter.on(Ping, latch)
    task = asyncio.create_task(emitter.emit_async(Ping()))
    await latch.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    latch.open.set()
    await rounds()


async def call_cancelled(emitter: EventEmitter[Any]) -> None:
    """Have a call cancelled, with another event behind it."""
    reports: Reports = []
    listen_to_reports(reports)
    latch = Latch()
    emitter.on(Ping, latch)
    emitter.emit(Ping())
    emitter.emit(Ping())
    await latch.reached.wait()
    (await call_under_way()).cancel()
    await rounds()
    assert len(reports) == 1
    reports.clear()


async def removed(emitter: EventEmitter[Any]) -> None:
    """Remove listeners, and wait for them."""
    latch = Latch()
    subscription = emitter.on(Ping, latch)
    emitter.emit(Ping())
    emitter.emit(Ping())
    await latch.reached.wait()
    task = asyncio.create_task(subscription.off_and_wait_async())
    await asyncio.sleep(0)
    latch.open.set()
    assert await task


async def wait_cancelled(emitter: EventEmitter[Any]) -> None:
    """Cancel who waits for a handler."""
    latch = Latch()
    subscription = emitter.on(Ping, latch)
    emitter.emit(Ping())
    await latch.reached.wait()
    task = asyncio.create_task(subscription.off_and_wait_async())
    await rounds()
    task.cancel()
    await asyncio.wait([task])
    latch.open.set()
    await rounds()


async def once_handled(emitter: EventEmitter[Any]) -> None:
    """Have an event handled by listeners for one call."""
    emitter.once(Ping, ignore_async)
    emitter.once(Ping, ignore_async).off()
    await emitter.emit_async(Ping())


async def on_error_failed(emitter: EventEmitter[Any]) -> None:
    """Have `on_error` fail."""
    reports: Reports = []
    listen_to_reports(reports)

    def on_error(_: HandlerFailure) -> None:
        raise Gone

    for channel in emitter.__dict__["_eventemitter_channels"].values():
        channel.on_error = on_error
    emitter.on(Ping, raise_gone)
    emitter.emit(Ping())
    await reach(lambda: reports)
    reports.clear()


async def loop_closed(emitter: EventEmitter[Any]) -> None:
    """Find a loop closed, with something left to do for it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: context.clear())
    emitter.on(Ping, ignore_async, loop=loop)
    emitter.emit(Ping())
    loop.close()
    try:
        emitter.emit(Ping())
    except* RuntimeError:
        pass


async def interrupting(emitter: EventEmitter[Any]) -> None:
    """Close a coroutine that waits for handlers."""
    latch = Latch()
    emitter.on(Ping, latch)
    coroutine = emitter.emit_async(Ping())
    coroutine.send(None)
    coroutine.close()
    await latch.reached.wait()
    latch.open.set()
    await rounds()


Story = Callable[[EventEmitter[Any]], Coroutine[Any, Any, None]]
stories = pytest.mark.parametrize(
    "story",
    [
        nothing_emitted,
        handled,
        failed,
        awaited,
        awaited_failed,
        awaited_cancelled,
        call_cancelled,
        removed,
        wait_cancelled,
        once_handled,
        on_error_failed,
        loop_closed,
        interrupting,
    ],
)


@contextmanager
def no_garbage() -> Generator[None]:
    """Assert that what the block does leaves nothing for the garbage collector."""
    gc.collect()
    gc.disable()
    flags = gc.get_debug()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage = [repr(each)[:80] for each in gc.garbage]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        gc.enable()
    assert garbage == []


async def make_prepared(emitter_type: type[EventEmitter[Any]]) -> EventEmitter[Any]:
    """Return an emitter that has its channel."""
    emitter = emitter_type()
    emitter.on(Ping, ignore).off()
    return emitter


@stories
def test_emitter_dies_by_reference_counting_alone(
    run: Run, kind: type[EventEmitter[Any]], story: Story
) -> None:
    """With its listeners on loops, whatever they have been told before (G14)."""

    async def main() -> None:
        listen_to_reports([])
        emitter = await make_prepared(kind)
        await story(emitter)
        await rounds()
        alive = weakref.ref(emitter)
        channel = weakref.ref(channel_of(emitter, Ping))  # which holds the listeners
        gc.disable()
        try:
            del emitter
            assert alive() is None
            assert channel() is None
        finally:
            gc.enable()

    run(main())


@stories
def test_nothing_is_left_to_the_garbage_collector(
    run: Run, kind: type[EventEmitter[Any]], story: Story
) -> None:
    """Events, failures, cancelled waits make no reference cycles (G14)."""

    async def main() -> None:
        emitter = await make_prepared(kind)
        await story(await make_prepared(kind))  # what is made on first use
        with no_garbage():
            await story(emitter)
            await rounds()
            del emitter

    run(main())


# Replay


def test_replay_comes_first_also_on_a_loop(run: Run) -> None:
    """Then what is emitted afterwards: nothing missing, nothing twice (G2, G13)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter = ReplayEventEmitter[Ping]()
        emitter.emit(Ping(0))
        emitter.emit(Ping(1))

        async def handler(event: Ping) -> None:
            await asyncio.sleep(0)
            heard.append(event)

        emitter.on(Ping, handler)
        emitter.emit(Ping(2))
        assert heard == []
        await emitter.emit_async(Ping(3))

    run(main())
    assert heard == [Ping(1), Ping(2), Ping(3)]


def test_replay_to_a_loop_has_no_gap_while_threads_emit(side: Side, crew: Crew) -> None:
    """What each of 20 listeners sees is the order of emission from its first on (G1, G2)."""
    emitter = ReplayEventEmitter[Ping]()
    order: list[Ping] = []
    emitter.on(Ping, order.append)
    emitter.emit(Ping(0))
    start = threading.Barrier(3)

    def emit(base: int) -> None:
        for number in range(20):
            start.wait(PATIENCE)
            for each in range(10):
                emitter.emit(Ping(base + 10 * number + each))

    for base in (1000, 2000):
        crew.run(emit, base)
    all_heard: list[list[Ping]] = []
    for _ in range(20):
        heard: list[Ping] = []

        async def handler(event: Ping, heard: list[Ping] = heard) -> None:
            heard.append(event)

        start.wait(PATIENCE)
        emitter.on(Ping, handler, loop=side.loop)
        all_heard.append(heard)
    crew.join()
    emitter.emit(Ping(-1))
    until(lambda: all(heard and heard[-1] == Ping(-1) for heard in all_heard))
    assert len(order) == 402
    for heard in all_heard:
        assert heard == order[-len(heard) :]


def test_once_on_a_loop_is_satisfied_by_the_replay(run: Run) -> None:
    """It is never registered, and its subscription born inactive (G7)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter = ReplayEventEmitter[Ping]()
        emitter.emit(Ping(1))

        async def handler(event: Ping) -> None:
            heard.append(event)

        subscription = emitter.once(Ping, handler)
        assert not subscription.active
        assert emitter.listener_count(Ping) == 0
        await emitter.emit_async(Ping(2))
        await reach(lambda: heard)
        dropped = emitter.once(Ping, handler)
        assert dropped.off()
        await rounds()

    run(main())
    assert heard == [Ping(1)]


def test_emit_async_awaits_what_it_leaves_to_a_replay(run: Run, crew: Crew) -> None:
    """The thread that replays tells the loop of the event, after the older one (G2, G13).

    1 a replay is about to leave an event to a loop, 2 a task emits, 3 the replay goes on.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    slow = SlowLoop()
    heard: list[Ping] = []

    async def handler(event: Ping) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    async def main() -> None:
        adding = asyncio.wrap_future(crew.run(lambda: emitter.on(Ping, handler, loop=slow)))
        await in_thread(crew, slow.stop_here.wait)  # 1
        task = asyncio.create_task(emitter.emit_async(Ping(2)))
        await rounds()
        assert not task.done()  # 2
        slow.stop_here.go()
        await adding
        assert not task.done()
        await in_thread(crew, slow.run_until_complete, reach(lambda: len(heard) == 2))
        await task

    run(main())
    slow.close()
    assert heard == [Ping(1), Ping(2)]


# emit_async
@also_debugging
def test_emit_async_returns_when_all_handlers_are_through(run: Run, side: Side) -> None:
    """Plain ones, and those on this and on another loop (G5, G13)."""
    order: list[str] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        here, there = Latch(), threading.Event()
        elsewhere = threading.Event()

        async def handler_here(_: Ping) -> None:
            await here()
            order.append("here")

        async def handler_there(_: Ping) -> None:
            elsewhere.set()
            await reach(there.is_set)
            order.append("there")

        emitter.on(Ping, handler_here)
        emitter.on(Ping, handler_there, loop=side.loop)
        emitter.on(Ping, lambda _: order.append("plain"))
        task = asyncio.create_task(emitter.emit_async(Ping()))
        await here.reached.wait()
        await reach(elsewhere.is_set)
        assert order == ["plain"]
        here.open.set()
        await rounds()
        assert order == ["plain", "here"]
        assert not task.done()
        there.set()
        await task
        assert_idle(emitter)

    run(main())
    assert order == ["plain", "here", "there"]


def test_emit_async_raises_one_group_of_all_failures(run: Run, side: Side) -> None:
    """Of plain and async handlers, on this loop and another, each with its note (G11)."""
    error = KeyError("in a plain handler")

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        def plain(_: Ping) -> None:
            raise error

        async def fail_here(_: Ping) -> None:
            await asyncio.sleep(0)
            raise ValueError("here")

        async def fail_there(_: Ping) -> None:
            raise OSError("there")

        emitter.on(Ping, fail_here)
        emitter.on(Ping, plain)
        emitter.on(Ping, fail_there, loop=side.loop)
        emitter.on(Ping, ignore_async)
        with pytest.raises(ExceptionGroup, match=r"^3 handlers of Ping raised") as caught:
            await emitter.emit_async(Ping(5))
        errors = caught.value.exceptions
        assert {type(each) for each in errors} == {KeyError, ValueError, OSError}
        for each, name in ((KeyError, "plain"), (ValueError, "fail_here"), (OSError, "fail_there")):
            [found] = [found for found in errors if isinstance(found, each)]
            [note] = found.__notes__
            assert name in note
            assert "Ping(number=5)" in note
        with pytest.raises(ExceptionGroup, match=r"^3 handlers"):
            await emitter.emit_async(Ping(6))
        assert_idle(emitter)

    run(main())


def test_emit_async_raises_nothing_where_on_error_is_told(run: Run, side: Side) -> None:
    """Each failure goes there once, and it still awaits all handlers (G11)."""
    failures: list[HandlerFailure] = []

    async def main() -> None:
        emitter = EventEmitter[Ping](on_error=failures.append)

        def plain(_: Ping) -> None:
            raise KeyError

        emitter.on(Ping, raise_gone)
        emitter.on(Ping, plain)
        emitter.on(Ping, raise_gone, loop=side.loop)
        await emitter.emit_async(Ping())

    run(main())
    assert sorted(type(failure.error).__name__ for failure in failures) == [
        "Gone",
        "Gone",
        "KeyError",
    ]


def test_emit_async_needs_no_listener(run: Run) -> None:
    """Nor one of this event type; and it refuses what `emit()` refuses."""

    class Declared(EventEmitter[Ping]):
        """Emits pings alone."""

    async def main() -> None:
        emitter = Declared()
        await emitter.emit_async(Ping())
        emitter.on(Ping, ignore).off()
        await emitter.emit_async(Ping())
        wrong: Any = Ping
        with pytest.raises(TypeError, match="pass an instance"):
            await emitter.emit_async(wrong)
        undeclared: Any = Pong()
        with pytest.raises(TypeError, match="declares Ping, not Pong"):
            await emitter.emit_async(undeclared)
        replaying = ReplayEventEmitter[Ping]()
        await replaying.emit_async(Ping(3))
        assert replaying.latest(Ping) == Ping(3)

    run(main())


def test_emit_async_does_not_block_its_loop(run: Run, crew: Crew, kind: type[Any]) -> None:
    """While another thread has the turn other tasks go on (G3).

    1 a thread delivers, 2 a task waits for its turn, 3 its loop goes on, 4 so does the thread.
    """
    emitter: EventEmitter[Any] = kind()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: in_line(channel_of(emitter, Ping), 1))  # 2
        await rounds()  # 3
        assert not task.done()
        assert heard == [Ping(0)]
        stop.go()  # 4
        await task
        return heard

    assert run(main()) == [Ping(0), Ping(1)]
    crew.join()
    assert_idle(emitter)


@also_debugging
def test_emit_async_keeps_its_place_in_line(run: Run, crew: Crew, kind: type[Any]) -> None:
    """With threads that wait in `emit()`, first come first served (G3).

    1 a thread delivers, 2 in line are a thread, a task, a thread and a task, 3 all go on.
    """
    emitter: EventEmitter[Any] = kind()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        channel = channel_of(emitter, Ping)
        threads: list[Future[None]] = []
        tasks: list[asyncio.Task[None]] = []
        for number in (1, 3):
            threads.append(crew.run(emitter.emit, Ping(number)))
            await reach(partial(in_line, channel, number))
            tasks.append(asyncio.create_task(emitter.emit_async(Ping(number + 1))))
            await reach(partial(in_line, channel, number + 1))  # 2
        stop.go()  # 3
        await asyncio.gather(*tasks, *map(asyncio.wrap_future, threads))
        return heard

    assert run(main()) == [Ping(number) for number in range(5)]
    crew.join()
    assert_idle(emitter)


def test_tasks_of_one_loop_get_their_turns_in_order(run: Run, crew: Crew) -> None:
    """Those that come while the first has not gone on yet line up behind it (G3).

    1 a thread delivers, 2 two tasks wait, 3 the first has got its turn but not gone on, 4 a third
    comes.
    """
    emitter = EventEmitter[Ping]()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        channel = channel_of(emitter, Ping)
        tasks: list[asyncio.Task[None]] = []
        for number in (1, 2):
            tasks.append(asyncio.create_task(emitter.emit_async(Ping(number))))
            await reach(partial(in_line, channel, number))  # 2
        stop.go()
        until(lambda: in_line(channel, 1))  # 3
        third = emitter.emit_async(Ping(3))
        tasks.append(asyncio.create_task(third))  # 4
        await asyncio.gather(*tasks)
        return heard

    assert run(main()) == [Ping(number) for number in range(4)]
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("granted", [False, True])
def test_plain_emit_where_a_task_of_its_loop_waits_does_not_deadlock(
    run: Run, crew: Crew, *, granted: bool
) -> None:
    """The task could not go on while the call waited for it: who has the turn delivers (G10).

    1 a thread delivers, 2 a task waits, perhaps has its turn, 3 its loop's thread emits.
    """
    emitter = EventEmitter[Ping]()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        channel = channel_of(emitter, Ping)
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: in_line(channel, 1))
        if granted:
            stop.go()
            until(lambda: in_line(channel, 0))  # 2
        emitter.emit(Ping(2))  # 3
        stop.go()
        await task
        await reach(lambda: len(heard) == 3)
        return heard

    heard = run(main())
    assert sorted(event.number for event in heard) == [0, 1, 2]
    crew.join()
    assert_idle(emitter)


@also_debugging
def test_emit_async_of_many_loops_and_threads_loses_nothing(
    run: Run, side: Side, crew: Crew, kind: type[Any]
) -> None:
    """All listeners see one order, and all calls return when their handlers are through (G3)."""
    emitter: EventEmitter[Any] = kind()
    plain: list[Ping] = []
    on_loop: list[Ping] = []
    early: list[Ping] = []
    emitter.on(Ping, plain.append)

    async def handler(event: Ping) -> None:
        await asyncio.sleep(0)
        on_loop.append(event)

    async def emit_async(base: int) -> None:
        for number in range(20):
            event = Ping(base + number)
            await emitter.emit_async(event)
            if event not in on_loop:
                early.append(event)

    def emit(base: int) -> None:
        for number in range(50):
            emitter.emit(Ping(base + number))

    async def main() -> None:
        emitter.on(Ping, handler)
        threads = [crew.run(emit, base) for base in (1000, 2000)]
        there = [side.do(emit_async(base)) for base in (3000, 4000)]
        here = [emit_async(base) for base in (5000, 6000)]
        await asyncio.gather(*here, *map(asyncio.wrap_future, threads + there))
        await reach(lambda: len(on_loop) == len(plain))

    run(main())
    assert len(set(plain)) == len(plain) == 180
    assert on_loop == plain
    assert early == []
    crew.join()
    assert_idle(emitter)


# emit_async cut short


@pytest.mark.parametrize("ending", ["cancelled", "closed", "collected"])
@pytest.mark.parametrize("granted", [False, True])
def test_wait_for_a_turn_that_is_cut_short_loses_nobodys_turn(
    run: Run, crew: Crew, ending: str, *, granted: bool
) -> None:
    """Its event was never emitted; all others are delivered, also those left to it (G10).

    1 a thread delivers, 2 a task waits and behind it a thread, 3 the task has perhaps got its turn,
    4 another thread leaves an event to whoever delivers, 5 the task's wait is cut short.
    """
    emitter = EventEmitter[Ping]()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        channel = channel_of(emitter, Ping)
        coroutine: Coroutine[Any, Any, None] | None = emitter.emit_async(Ping(1))
        task: asyncio.Task[None] | None = None
        if ending == "cancelled":
            assert coroutine is not None
            task = asyncio.create_task(coroutine)
            await rounds()
        else:
            assert coroutine is not None
            coroutine.send(None)
        assert in_line(channel, 1)
        last = crew.run(emitter.emit, Ping(3))
        await reach(lambda: in_line(channel, 2))  # 2
        if granted:
            stop.go()
            until(lambda: in_line(channel, 1))  # 3
        crew.run(emitter.emit_nowait, Ping(2)).result(PATIENCE)  # 4
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        elif ending == "closed":
            assert coroutine is not None
            coroutine.close()
        coroutine = None  # 5
        stop.go()
        await asyncio.wrap_future(last)
        await reach(lambda: len(heard) == 3)
        return heard

    heard = run(main())
    assert heard == [Ping(0), Ping(2), Ping(3)]
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("ending", ["cancelled", "closed"])
def test_turn_given_up_with_nobody_in_line_delivers_what_was_left_to_it(
    run: Run, crew: Crew, ending: str
) -> None:
    """No later emit is needed for it (G10).

    1 a thread delivers, 2 a task waits, 3 it has got its turn, but not gone on, 4 another thread
    leaves two events to it, 5 its wait is cut short.
    """
    emitter = EventEmitter[Ping]()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        channel = channel_of(emitter, Ping)
        coroutine = emitter.emit_async(Ping(1))
        task: asyncio.Task[None] | None = None
        if ending == "cancelled":
            task = asyncio.create_task(coroutine)
            await rounds()
        else:
            coroutine.send(None)
        assert in_line(channel, 1)  # 2
        stop.go()
        until(lambda: in_line(channel, 0))  # 3
        crew.run(emitter.emit_nowait, Ping(2)).result(PATIENCE)
        crew.run(emitter.emit_nowait, Ping(3)).result(PATIENCE)  # 4
        assert heard == [Ping(0)]
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        else:
            coroutine.close()  # 5
        return heard

    assert run(main()) == [Ping(0), Ping(2), Ping(3)]
    crew.join()
    assert_idle(emitter)


def test_cancelled_while_handlers_run_loses_no_event_and_no_failure(run: Run, side: Side) -> None:
    """The handlers go on, and what they raise goes to the loop (G11, G13)."""
    reports: Reports = []
    heard: list[str] = []
    error = KeyError("plain")

    async def main() -> None:
        listen_to_reports(reports)
        emitter = EventEmitter[Ping]()
        latch = Latch()

        def plain(_: Ping) -> None:
            raise error

        async def fail(_: Ping) -> None:
            await latch()
            raise ValueError("async")

        async def go_on(event: Ping) -> None:
            await latch()
            heard.append(f"async {event.number}")

        emitter.on(Ping, plain)
        emitter.on(Ping, fail)
        emitter.on(Ping, go_on)
        emitter.on(Ping, lambda event: heard.append(f"other {event.number}"), loop=side.loop)
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await latch.reached.wait()
        await reach(lambda: "other 1" in heard)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert [report["exception"] for report in reports] == [error]
        latch.open.set()
        await reach(lambda: len(reports) == 2)
        await reach(lambda: "async 1" in heard)
        emitter.remove_all_listeners()
        assert_idle(emitter)

    run(main())
    assert sorted(heard) == ["async 1", "other 1"]
    assert isinstance(reports[1]["exception"], ValueError)


def test_failures_are_reported_where_the_awaiting_coroutine_is_collected(
    new_loop: LoopFactory,
) -> None:
    """Though no loop runs where that happens: the failure goes to its own loop (G11)."""
    reports: Reports = []
    loop = new_loop()
    emitter = EventEmitter[Ping]()
    error = KeyError("plain")

    def plain(_: Ping) -> None:
        raise error

    async def main() -> list[Coroutine[Any, Any, None]]:
        listen_to_reports(reports)
        emitter.on(Ping, ignore_async)
        emitter.on(Ping, plain)
        coroutine = emitter.emit_async(Ping())
        coroutine.send(None)
        return [coroutine]

    coroutines = loop.run_until_complete(main())
    coroutines.pop().close()
    loop.run_until_complete(rounds())
    loop.close()
    assert [report["exception"] for report in reports] == [error]


def test_turn_of_a_task_whose_loop_is_closed_goes_on(new_loop: LoopFactory, crew: Crew) -> None:
    """To the next in line, and what was left to it is delivered (G10).

    1 a thread delivers, 2 a task waits and behind it a thread, 3 the task's loop is closed.
    """
    emitter = EventEmitter[Ping]()
    stop, heard = held_turn(crew, emitter)  # 1
    channel = channel_of(emitter, Ping)
    loop = new_loop()
    coroutine = emitter.emit_async(Ping(1))

    async def step() -> None:
        coroutine.send(None)

    loop.run_until_complete(step())
    assert in_line(channel, 1)
    crew.run(emitter.emit, Ping(2))
    until(lambda: in_line(channel, 2))  # 2
    loop.close()  # 3
    stop.go()
    crew.join()
    emitter.emit(Ping(3))
    assert heard == [Ping(0), Ping(2), Ping(3)]
    coroutine.close()
    assert_idle(emitter)


def test_what_was_left_to_a_task_whose_loop_is_closed_is_delivered(crew: Crew) -> None:
    """By the thread that finds it closed, and not only by the next emit (G5, G10).

    1 a thread delivers, 2 a task waits, 3 the thread has given it the turn and is about to tell its
    loop, 4 an event is left to the task, 5 the loop is closed.
    """
    emitter = EventEmitter[Ping]()
    stop, heard = held_turn(crew, emitter)  # 1
    loop = SlowLoop()
    coroutine = emitter.emit_async(Ping(1))

    async def step() -> None:
        coroutine.send(None)

    loop.run_until_complete(step())
    assert in_line(channel_of(emitter, Ping), 1)  # 2
    stop.go()
    loop.stop_here.wait()  # 3
    emitter.emit_nowait(Ping(2))  # 4
    assert heard == [Ping(0)]
    loop.close()  # 5
    loop.stop_here.go()
    crew.join()
    told = heard.copy()
    coroutine.close()
    assert told == [Ping(0), Ping(2)]
    assert_idle(emitter)


@pytest.mark.parametrize("waits_for", ["its turn", "a handler"])
def test_loops_are_woken_with_no_lock_held(crew: Crew, waits_for: str) -> None:
    """A loop is the user's own: what it does when it is woken may use the emitter (G6).

    1 a thread delivers, 2 a task waits, 3 the thread is about to wake its loop, 4 another thread
    uses the emitter.
    """
    emitter = EventEmitter[Ping]()
    stop, _ = held_turn(crew, emitter)  # 1
    (subscription,) = emitter.listeners(Ping)
    loop = SlowLoop()

    async def wait() -> None:
        if waits_for == "its turn":
            await emitter.emit_async(Ping(1))
        else:
            assert await subscription.off_and_wait_async()

    async def main() -> None:
        task = asyncio.create_task(wait())
        await rounds()  # 2
        stop.go()
        loop.stop_here.wait()  # 3
        crew.run(emitter.on, Ping, str).result(PATIENCE)  # 4
        loop.stop_here.go()
        await task

    try:
        loop.run_until_complete(main())
    finally:
        loop.stop_here.go()
        loop.close()
    crew.join()
    assert_idle(emitter)


def test_turn_given_to_a_task_goes_on_when_its_loop_is_closed(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """Though the task will never go on: the next emit finds that out (G10).

    1 a thread delivers, 2 a task waits, 3 it gets its turn, 4 its loop is closed without running.
    """
    emitter = EventEmitter[Ping]()
    stop, heard = held_turn(crew, emitter)  # 1
    channel = channel_of(emitter, Ping)
    loop = new_loop()
    coroutine = emitter.emit_async(Ping(1))

    async def step() -> None:
        coroutine.send(None)

    loop.run_until_complete(step())
    assert in_line(channel, 1)  # 2
    stop.go()
    crew.join()
    assert in_line(channel, 0)  # 3
    loop.close()  # 4
    emitting = crew.run(emitter.emit, Ping(2))
    try:
        emitting.result(PATIENCE)
    finally:
        coroutine.close()
    assert heard == [Ping(0), Ping(2)]
    assert_idle(emitter)


# From handlers on loops


def test_async_handler_that_awaits_its_own_event_type_does_not_deadlock(run: Run) -> None:
    """The event is next in its mailbox, which this call is in front of (G4, G13)."""
    steps: list[tuple[str, int]] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            steps.append(("begin", event.number))
            if event.number < 3:
                await emitter.emit_async(Ping(event.number + 1))
            steps.append(("end", event.number))

        emitter.on(Ping, handler)
        await emitter.emit_async(Ping(1))
        await reach(lambda: len(steps) == 6)
        assert_idle(emitter)

    run(main())
    assert steps == [(step, number) for number in (1, 2, 3) for step in ("begin", "end")]


def test_async_handler_awaits_the_other_handlers_of_its_own_event_type(run: Run) -> None:
    """It does not wait for itself, but does for all that do not wait for it (G10, G13)."""
    order: list[str] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(event: Ping) -> None:
            if event.number == 1:
                await emitter.emit_async(Ping(2))
                order.append("returned")

        async def other(event: Ping) -> None:
            await rounds()
            order.append(f"other {event.number}")

        emitter.on(Ping, handler)
        emitter.on(Ping, other)
        await emitter.emit_async(Ping(1))

    run(main())
    assert order == ["other 1", "other 2", "returned"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_async_handlers_that_await_each_other_do_not_deadlock(
    run: Run, side: Side, *, elsewhere: bool
) -> None:
    """On one loop or two: the last that would close the cycle does not wait (G10)."""

    async def main() -> None:
        left, right = EventEmitter[Ping](), EventEmitter[Pong]()
        began: list[str] = []
        ended: list[str] = []

        async def on_left(event: Ping) -> None:
            began.append("left")
            if event.number == 0:
                await reach(lambda: len(began) == 2)
                await right.emit_async(Pong(1))
            ended.append("left")

        async def on_right(event: Pong) -> None:
            began.append("right")
            if event.number == 0:
                await reach(lambda: len(began) == 2)
                await left.emit_async(Ping(1))
            ended.append("right")

        left.on(Ping, on_left)
        right.on(Pong, on_right, loop=side.loop if elsewhere else asyncio.get_running_loop())
        await asyncio.gather(left.emit_async(Ping(0)), right.emit_async(Pong(0)))
        await reach(lambda: len(ended) == 4)
        await rounds()
        assert_idle(left)
        assert_idle(right)

    run(main())


def test_async_handler_gathers_what_it_emits(run: Run, crew: Crew) -> None:
    """Tasks that it starts stand for it: they do not wait for it, nor it for ever (G10)."""
    heard: list[Ping] = []

    async def main() -> None:
        emitter, other = EventEmitter[Ping](), EventEmitter[Ping]()
        stop, delivered = held_turn(crew, other)

        async def handler(event: Ping) -> None:
            heard.append(event)
            if event.number == 0:
                await asyncio.gather(
                    *[emitter.emit_async(Ping(each)) for each in (1, 2)],
                    *[other.emit_async(Ping(each)) for each in (1, 2)],
                )

        emitter.on(Ping, handler)
        other.on(Ping, ignore_async)
        task = asyncio.create_task(emitter.emit_async(Ping(0)))
        await reach(lambda: in_line(channel_of(other, Ping), 2))
        stop.go()
        await task
        await reach(lambda: len(heard) == 3)
        assert delivered == [Ping(0), Ping(1), Ping(2)]
        await rounds()
        assert_idle(emitter)

    run(main())
    assert heard == [Ping(0), Ping(1), Ping(2)]


@pytest.mark.parametrize("call", ["emit_async", "off_and_wait_async"])
def test_task_that_outlives_the_call_that_started_it_waits_for_later_calls(
    run: Run, call: str
) -> None:
    """A later call of the handler does not wait for that task, so the task may wait for it (G9).

    1 a call starts a task and is over, 2 another call is under way, 3 the task waits for it.
    """

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        tasks: list[asyncio.Task[Any]] = []

        async def background() -> bool:
            await latch.reached.wait()
            if call == "emit_async":
                await emitter.emit_async(Ping(3))
                return heard[-1] == Ping(3)
            return await subscription.off_and_wait_async() and heard == [Ping(1), Ping(2)]

        heard: list[Ping] = []

        async def handler(event: Ping) -> None:
            if event.number == 1:
                tasks.append(asyncio.create_task(background()))  # 1
            if event.number == 2:
                await latch()  # 2
            heard.append(event)

        subscription = emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await latch.reached.wait()
        await rounds()  # 3
        assert not tasks[0].done()
        latch.open.set()
        assert await tasks[0]

    run(main())


def test_handler_does_not_await_its_own_end(run: Run) -> None:
    """Nor do tasks that it awaits: False at once, and the listener is removed (G10)."""
    waited: list[bool] = []

    async def main() -> None:
        emitter = EventEmitter[Ping]()

        async def handler(_: Ping) -> None:
            waited.append(await subscription.off_and_wait_async())
            waited.extend(await asyncio.gather(subscription.off_and_wait_async()))
            waited.append(subscription.off_and_wait())
            waited.append(emitter.remove_all_listeners_and_wait())

        subscription = emitter.on(Ping, handler)
        await emitter.emit_async(Ping())
        assert emitter.listener_count(Ping) == 0
        assert await subscription.off_and_wait_async()
        assert_idle(emitter)

    run(main())
    assert waited == [False] * 4


@pytest.mark.parametrize("elsewhere", [False, True])
def test_handlers_that_await_the_end_of_each_other_do_not_deadlock(
    run: Run, side: Side, *, elsewhere: bool
) -> None:
    """One of two is told False, and the other waits until that has ended (G10)."""

    async def main() -> list[bool]:
        emitter = EventEmitter[Ping | Pong]()
        waited: list[bool] = []
        began: list[int] = []

        async def on_ping(_: Ping) -> None:
            began.append(1)
            await reach(lambda: len(began) == 2)
            waited.append(await pong.off_and_wait_async())

        async def on_pong(_: Pong) -> None:
            began.append(2)
            await reach(lambda: len(began) == 2)
            waited.append(await ping.off_and_wait_async())

        ping = emitter.on(Ping, on_ping)
        pong = emitter.on(
            Pong, on_pong, loop=side.loop if elsewhere else asyncio.get_running_loop()
        )
        await asyncio.gather(emitter.emit_async(Ping()), emitter.emit_async(Pong()))
        assert_idle(emitter)
        return waited

    assert run(main()) == [False, True]


def test_handler_that_is_awaited_does_not_await_the_end_of_who_awaits_it(run: Run) -> None:
    """`emit_async` and `off_and_wait_async` in one cycle (G10)."""
    waited: list[bool] = []

    async def main() -> None:
        emitter = EventEmitter[Ping | Pong]()

        async def on_ping(_: Ping) -> None:
            await emitter.emit_async(Pong())

        async def on_pong(_: Pong) -> None:
            await rounds()
            waited.append(await subscription.off_and_wait_async())

        subscription = emitter.on(Ping, on_ping)
        emitter.on(Pong, on_pong)
        await emitter.emit_async(Ping())

    run(main())
    assert waited == [False]


# Cycles of threads and loops


def test_loop_that_emits_does_not_wait_for_a_thread_that_waits_for_its_handler(
    side: Side, crew: Crew
) -> None:
    """It leaves the event to that thread (G10).

    1 an async handler is under way, 2 a thread has the turn of another event type and waits for
    that handler, 3 the loop emits that event type.
    """
    emitter = EventEmitter[Ping | Pong]()
    reached, emit_now = threading.Event(), threading.Event()
    waited: list[bool] = []
    heard: list[Pong] = []

    async def on_ping(_: Ping) -> None:
        reached.set()
        await reach(emit_now.is_set)
        emitter.emit(Pong(2))  # 3

    def on_pong(event: Pong) -> None:
        heard.append(event)
        if event.number == 1:
            waited.append(subscription.off_and_wait())  # 2

    subscription = emitter.on(Ping, on_ping, loop=side.loop)
    emitter.on(Pong, on_pong)
    emitter.emit(Ping())
    assert reached.wait(PATIENCE)  # 1
    emitting = crew.run(emitter.emit, Pong(1))
    until(lambda: channel_of(emitter, Ping).watches)
    emit_now.set()
    emitting.result(PATIENCE)
    crew.join()
    assert waited == [True]
    assert heard == [Pong(1), Pong(2)]
    assert_idle(emitter)


def test_thread_does_not_wait_for_a_handler_whose_loop_waits_for_it(side: Side, crew: Crew) -> None:
    """`off_and_wait()` returns False (G10).

    1 a thread has the turn, 2 an async handler waits for it in `emit()`, 3 the thread waits for
    that handler.
    """
    emitter = EventEmitter[Ping | Pong]()
    stop = Stop()
    waited: list[bool] = []

    async def on_ping(_: Ping) -> None:
        emitter.emit(Pong(2))

    def on_pong(event: Pong) -> None:
        if event.number == 1:
            stop()
            waited.append(subscription.off_and_wait())  # 3

    subscription = emitter.on(Ping, on_ping, loop=side.loop)
    emitter.on(Pong, on_pong)
    crew.run(emitter.emit, Pong(1))
    stop.wait()  # 1
    emitter.emit(Ping())
    until(lambda: in_line(channel_of(emitter, Pong), 1))  # 2
    stop.go()
    crew.join()
    assert waited == [False]
    side.call(ignore, None)
    assert_idle(emitter)


@pytest.mark.parametrize("ran_before", [False, True])
@pytest.mark.parametrize("first", ["blocked", "awaited"])
def test_loop_does_not_wait_for_a_handler_that_awaits_one_of_its_own(
    run: Run, side: Side, first: str, *, ran_before: bool
) -> None:
    """Also where that one has never been called yet (G10).

    1 a handler on one loop is under way, 2 it awaits an event that another loop handles, 3 a
    callback of that loop waits for the first handler: before 2, or after.
    """

    async def main() -> None:
        emitter = EventEmitter[Ping | Pong]()
        go = asyncio.Event()
        reached = asyncio.Event()

        async def on_ping(_: Ping) -> None:
            reached.set()
            await go.wait()
            await emitter.emit_async(Pong(1))  # 2

        def callback() -> bool:
            here.call_soon_threadsafe(go.set if first == "awaited" else began.set)
            if first == "awaited":
                until(lambda: strand.call is not None and strand.call.waits)
            return subscription.off_and_wait(2 * PATIENCE)  # 3

        here = asyncio.get_running_loop()
        began = asyncio.Event()
        subscription = emitter.on(Ping, on_ping)
        [listener] = channel_of(emitter, Ping).active_listeners()
        mailbox = listener.relay
        assert isinstance(mailbox, Mailbox)
        strand = mailbox.strand
        emitter.on(Pong, ignore_async, loop=side.loop)
        if ran_before:
            await emitter.emit_async(Pong(0))
        emitting = asyncio.create_task(emitter.emit_async(Ping()))
        await reached.wait()  # 1

        async def call() -> bool:
            return callback()

        calling = asyncio.wrap_future(side.do(call()))
        if first == "blocked":
            await began.wait()
            await reach(lambda: channel_of(emitter, Ping).watches)
            go.set()
        waited = await calling
        await emitting
        assert waited == (first == "blocked")
        assert_idle(emitter)

    run(main())


def test_thread_leaves_its_event_where_the_turn_waits_for_its_loop(run: Run, crew: Crew) -> None:
    """A task in line goes on only when its loop's thread does (G10).

    1 a thread delivers, 2 a task waits for its turn, 3 its loop's thread waits in `emit()` for a
    second thread, 4 that emits what the task waits for.
    """
    emitter = EventEmitter[Any]()
    second = Stop()

    async def main() -> list[Ping]:
        stop, heard = held_turn(crew, emitter)  # 1
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: in_line(channel_of(emitter, Ping), 1))  # 2

        def on_pong(event: Pong) -> None:
            if event.number == 0:
                second()
                emitter.emit(Ping(2))  # 4

        emitter.on(Pong, on_pong)
        crew.run(emitter.emit, Pong(0))
        second.wait()

        def go_on() -> None:
            until(lambda: in_line(channel_of(emitter, Pong), 1))
            second.go()
            until(lambda: channel_of(emitter, Ping).queue)
            stop.go()

        crew.run(go_on)
        emitter.emit(Pong(1))  # 3
        await task
        return heard

    assert sorted(event.number for event in run(main())) == [0, 1, 2]
    crew.join()
    assert_idle(emitter)


def test_task_that_a_call_has_started_on_another_loop_needs_that_loop(
    run: Run, side: Side, crew: Crew
) -> None:
    """A thread does not wait for its turn behind a task of its own loop (G10).

    1 a thread delivers, 2 a task waits for its turn on another loop than that of the handler that
    has started it, 3 a callback of that loop emits.
    """
    emitter = EventEmitter[Any]()
    stop, heard = held_turn(crew, emitter)  # 1
    channel = channel_of(emitter, Ping)

    async def elsewhere() -> None:
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: in_line(channel, 1))  # 2
        emitter.emit(Ping(2))  # 3, and leaves that to the thread
        stop.go()
        await task

    async def handler(_: Pong) -> None:
        await asyncio.wrap_future(side.do(elsewhere()))

    async def main() -> None:
        emitter.on(Pong, handler)
        await emitter.emit_async(Pong())

    run(main())
    crew.join()
    assert heard == [Ping(0), Ping(2), Ping(1)]
    assert_idle(emitter)


def test_who_takes_a_turn_over_does_not_wait_for_who_awaits_its_events(
    run: Run, crew: Crew
) -> None:
    """An event that was left to a turn is delivered by whoever has that in the end (G10).

    1 a thread delivers on a follower, 2 a task and another thread wait there, 3 a handler awaits
    an event that is left to the task, whose turn it is, 4 the task is cancelled, 5 the thread
    waits for the handler.
    """
    source, target = EventEmitter[Ping | Pong](), EventEmitter[Ping]()
    stop, heard = held_turn(crew, target)  # 1
    target.follow(source, Ping)
    channel = channel_of(target, Ping)
    waited: list[bool] = []

    async def main() -> None:
        task = asyncio.create_task(target.emit_async(Ping(1)))
        await reach(lambda: in_line(channel, 1))
        crew.run(target.emit, Ping(3))
        await reach(lambda: in_line(channel, 2))  # 2

        async def handler(_: Pong) -> None:
            stop.go()
            until(lambda: in_line(channel, 1))
            task.cancel()
            await source.emit_async(Ping(2))  # 3, 4

        def on_ping(event: Ping) -> None:
            if event.number == 2:
                waited.append(subscription.off_and_wait())  # 5

        subscription = source.on(Pong, handler)
        target.on(Ping, on_ping)
        await source.emit_async(Pong())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    crew.join()
    assert waited == [False]
    assert heard == [Ping(0), Ping(2), Ping(3)]
    assert_idle(source)
    assert_idle(target)


async def await_who_waits(
    source: EventEmitter[Ping | Pong],
    target: EventEmitter[Ping],
    side: Side,
    last: Ping,
    stop: Stop,
) -> None:
    """Await an event that is left to a turn, and be waited for by who gets that turn.

    It is steps 2 to 5 of the next two tests: `stop` holds up the thread whose turn it is, and
    `last` is what the task of the other loop emits.
    """
    channel = channel_of(target, Ping)
    task = asyncio.wrap_future(side.do(target.emit_async(last)))
    await reach(lambda: in_line(channel, 1))  # 2

    async def handler(_: Pong) -> None:
        await source.emit_async(Ping(2))

    subscription = source.on(Pong, handler)
    emitting = asyncio.create_task(source.emit_async(Pong()))
    await reach(lambda: is_left(channel, Ping(2)))
    await rounds()  # 3

    async def wait() -> bool:
        return subscription.off_and_wait()

    waiting = asyncio.wrap_future(side.do(wait()))
    await reach(lambda: channel_of(source, Pong).watches)  # 4
    stop.go()  # 5
    await emitting
    assert await waiting
    await task


def test_event_is_awaited_no_more_when_its_turn_goes_to_who_waits_for_the_awaiting(
    run: Run, side: Side, crew: Crew
) -> None:
    """Also where all of them wait already (G10).

    1 a thread delivers on a follower, 2 a task of another loop waits there, 3 a handler awaits an
    event that is left to the thread, 4 the other loop's thread waits for that handler, 5 what is
    raised ends the thread, and the turn is the task's.
    """
    source, target = EventEmitter[Ping | Pong](), EventEmitter[Ping]()
    stop = Stop()
    heard: list[Ping] = []

    def on_ping(event: Ping) -> None:
        heard.append(event)
        if event.number == 0:
            stop()
            raise SystemExit

    def deliver() -> None:
        with pytest.raises(SystemExit):
            target.emit(Ping(0))

    target.on(Ping, on_ping)
    target.follow(source, Ping)
    crew.run(deliver)
    stop.wait()  # 1
    run(await_who_waits(source, target, side, Ping(3), stop))
    crew.join()
    assert heard == [Ping(0), Ping(2), Ping(3)]
    assert_idle(source)
    assert_idle(target)


def test_event_is_awaited_no_more_when_its_turn_was_given_up_without_a_lock(
    run: Run, side: Side, crew: Crew
) -> None:
    """As above, where `emit()` has gone the short way until then (G10).

    1 a thread is about to give the turn up, 2 a task of another loop waits for it, 3 a handler
    awaits an event that is left to the thread, 4 the other loop's thread waits for that handler,
    5 the thread gives the turn up.
    """
    source, target = EventEmitter[Ping | Pong](), EventEmitter[Ping]()
    heard: list[Ping] = []
    target.on(Ping, heard.append)
    target.emit(Ping(-1))
    channel = channel_of(target, Ping)
    assert channel.plain is not None
    stop = Stop()
    code = Channel.emit.__code__
    lines, first = inspect.getsourcelines(Channel.emit)
    place = first + [each.strip() for each in lines].index("self.holder = None")

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is code and event == "line" and frame.f_lineno == place:
            stop()
        return trace if frame.f_code is code else None

    def emit() -> None:
        sys.settrace(trace)
        try:
            target.emit(Ping(0))
        finally:
            sys.settrace(None)

    crew.run(emit)
    stop.wait()  # 1
    target.follow(source, Ping)

    run(await_who_waits(source, target, side, Ping(1), stop))
    crew.join()
    assert heard == [Ping(each) for each in (-1, 0, 2, 1)]
    assert_idle(target)


@pytest.mark.parametrize("late", [False, True])
def test_emit_async_in_a_loop_that_a_handler_runs_is_queued(crew: Crew, *, late: bool) -> None:
    """Whether that handler is called by an emit or by its replay (G4)."""
    emitter = ReplayEventEmitter[Ping]()
    heard: list[object] = []

    def handler(event: Ping) -> None:
        heard.append(event.number)
        if event.number == 0:
            asyncio.run(emitter.emit_async(Ping(1)))
            heard.append("returned")

    if late:
        emitter.emit(Ping(0))
        crew.run(emitter.on, Ping, handler)
    else:
        emitter.on(Ping, handler)
        crew.run(emitter.emit, Ping(0))
    crew.join()
    assert heard == [0, "returned", 1]
    assert_idle(emitter)


def test_loop_that_a_replay_runs_does_not_await_that_replay(crew: Crew) -> None:
    """Also where another thread leaves the event to it (G10).

    1 a replay has begun, 2 another thread delivers, 3 a loop in the replay awaits an event, which
    is left to that thread, and by it to the replay.
    """
    source, target = EventEmitter[Ping](), ReplayEventEmitter[Ping]()
    target.follow(source, Ping)
    stop = Stop()
    heard: list[int] = []

    def slow(event: Ping) -> None:
        if event.number == 1:
            stop()

    def go_on() -> None:
        until(lambda: is_left(channel_of(target, Ping), Ping(2)))
        stop.go()

    def handler(event: Ping) -> None:
        if event.number == 0:  # 1
            crew.run(target.emit, Ping(1))
            stop.wait()  # 2
            crew.run(go_on)
            asyncio.run(source.emit_async(Ping(2)))  # 3
        heard.append(event.number)

    target.on(Ping, slow)
    target.emit(Ping(0))
    crew.run(target.on, Ping, handler).result(PATIENCE)
    crew.join()
    assert heard == [0, 1, 2]
    assert_idle(target)


def test_emit_async_awaits_an_event_that_is_left_to_a_task_of_its_loop(
    run: Run, crew: Crew
) -> None:
    """The turn of that task has come, but it has not gone on: it does when this one awaits (G11).

    1 the loop's thread has waited before, 2 a thread delivers on a follower, 3 a task waits there,
    4 its turn has come, 5 another task emits at the source.
    """
    source, target = EventEmitter[Ping](), EventEmitter[Ping]()
    before = EventEmitter[Ping]()
    go_before, _ = held_turn(crew, before)
    stop, heard = held_turn(crew, target)  # 2
    target.follow(source, Ping)
    channel = channel_of(target, Ping)

    def go_on() -> None:
        until(lambda: in_line(channel_of(before, Ping), 1))
        go_before.go()

    async def fail(event: Ping) -> None:
        await asyncio.sleep(0)
        if event.number == 2:
            raise ValueError

    async def main() -> None:
        crew.run(go_on)
        before.emit(Ping(1))  # 1
        target.on(Ping, fail)
        task = asyncio.create_task(target.emit_async(Ping(1)))
        await reach(lambda: in_line(channel, 1))  # 3
        stop.go()
        until(lambda: in_line(channel, 0))  # 4
        with pytest.raises(ExceptionGroup, match="1 handler of Ping raised"):
            await source.emit_async(Ping(2))  # 5
        await task

    run(main())
    crew.join()
    assert heard == [Ping(0), Ping(2), Ping(1)]


@pytest.mark.parametrize("call", ["emit_async", "off_and_wait_async"])
def test_task_that_a_call_has_left_awaiting_holds_up_no_later_call(run: Run, call: str) -> None:
    """So whoever that task waits for may wait for a later call (G9).

    1 a call starts a task that awaits another handler, and is over, 2 another call is under way,
    3 that other handler waits for it.
    """

    async def main() -> None:
        emitter = EventEmitter[Ping | Pong]()
        began = asyncio.Event()
        latch = Latch()
        tasks: list[asyncio.Task[None]] = []
        heard: list[int] = []
        waited: list[bool] = []

        async def on_ping(event: Ping) -> None:
            if event.number == 1:
                tasks.append(asyncio.create_task(emitter.emit_async(Pong())))
                await began.wait()  # 1
            if event.number == 2:
                await latch()  # 2
            heard.append(event.number)

        async def on_pong(_: Pong) -> None:
            began.set()
            await latch.reached.wait()
            if call == "emit_async":
                await emitter.emit_async(Ping(3))  # 3
                waited.append(heard == [1, 2, 3])
            else:
                waited.append(await subscription.off_and_wait_async())  # 3

        subscription = emitter.on(Ping, on_ping)
        emitter.on(Pong, on_pong)
        await emitter.emit_async(Ping(1))
        emitter.emit(Ping(2))
        await latch.reached.wait()
        await rounds()
        assert not waited
        latch.open.set()
        await tasks[0]
        assert waited == [True]

    run(main())


@pytest.mark.parametrize("waits_for", ["its turn", "handlers", "a handler's end"])
def test_loop_does_not_wait_for_a_call_that_awaits_something_on_it(
    run: Run, side: Side, crew: Crew, waits_for: str
) -> None:
    """What a call has started on another loop cannot go on while that loop's thread waits (G10).

    1 a handler runs, 2 a call has another loop await it, or its turn behind it, 3 that loop's
    thread waits for the call.
    """
    emitter = EventEmitter[Ping | Pong]()
    third = Side(asyncio.new_event_loop)
    stop = Stop()

    async def slow_async(_: Ping) -> None:
        await asyncio.to_thread(stop)

    slow = (
        emitter.on(Ping, slow_async, loop=third.loop)
        if waits_for == "handlers"
        else emitter.on(Ping, stop)
    )

    async def await_it() -> None:
        if waits_for == "a handler's end":
            await slow.off_and_wait_async()
        else:
            await emitter.emit_async(Ping(1))

    async def handler(_: Pong) -> None:
        await asyncio.wrap_future(side.do(await_it()))

    async def main() -> bool:
        subscription = emitter.on(Pong, handler)
        if waits_for != "handlers":
            crew.run(emitter.emit, Ping(0))
            await in_thread(crew, stop.wait)  # 1
        task = asyncio.create_task(emitter.emit_async(Pong()))
        await in_thread(crew, stop.wait)
        channel = channel_of(emitter, Pong)
        await reach(lambda: channel.busy and channel.busy[0][1].call)
        await reach(lambda: channel.busy[0][1].call.waits)  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess] # 2

        async def wait() -> bool:
            return subscription.off_and_wait()

        waited = await asyncio.wrap_future(side.do(wait()))  # 3
        stop.go()
        await task
        return waited

    try:
        assert run(main()) is False
    finally:
        stop.go()
        third.close()
    crew.join()
    assert_idle(emitter)


def test_event_that_was_delivered_is_left_to_nobody(
    run: Run, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the next turn may wait for whoever has awaited it (G9).

    1 a thread delivers on a follower what a handler awaits, 2 it has passed the turn on and is
    about to tell that handler's loop, 3 the next in line waits for that handler.
    """
    source, target = EventEmitter[Ping | Pong](), EventEmitter[Ping]()
    stop, heard = held_turn(crew, target)
    target.follow(source, Ping)
    channel = channel_of(target, Ping)
    waited: list[bool] = []
    original = _sections.catch_up

    def catch_up(me: ThreadState) -> None:
        if heard[-1:] == [Ping(2)] and not channel.queue:  # 2
            until(lambda: waited or channel_of(source, Pong).watches)
        original(me)

    async def main() -> None:
        async def handler(_: Pong) -> None:
            await source.emit_async(Ping(2))

        def on_ping(event: Ping) -> None:
            if event.number == 3:
                waited.append(subscription.off_and_wait())  # 3

        subscription = source.on(Pong, handler)
        target.on(Ping, on_ping)
        task = asyncio.create_task(source.emit_async(Pong()))
        await reach(lambda: is_left(channel, Ping(2)))
        await rounds()
        crew.run(target.emit, Ping(3))
        await reach(lambda: in_line(channel, 1))
        monkeypatch.setattr(_sections, "catch_up", catch_up)
        stop.go()  # 1
        await task

    run(main())
    crew.join()
    assert waited == [True]
    assert_idle(source)
    assert_idle(target)


def cut_short(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    where: Callable[[Any, Any], object],
    *,
    behind: bool = True,
) -> list[type[BaseException]]:
    """Raise KeyboardInterrupt behind a method, or before it, the first time that `where` says so.

    Asked are what it returned, and its first argument. The list returned is empty from then on.
    """
    original = getattr(owner, name)
    signals: list[type[BaseException]] = [KeyboardInterrupt]

    def double(self: object, *args: Any) -> Any:
        result = original(self, *args) if behind else None
        for error in signals.copy() if where(result, args[0] if args else None) else []:
            signals.clear()
            raise error
        return result if behind else original(self, *args)

    monkeypatch.setattr(owner, name, double)
    return signals


def cut_short_telling(monkeypatch: pytest.MonkeyPatch, where: str) -> list[type[BaseException]]:
    """Raise KeyboardInterrupt there, the next time, as `cut_short` does."""
    if where == "expected":
        return cut_short(
            monkeypatch, Awaited, "expect", lambda _, part: isinstance(part[0], Mailbox)
        )
    if where == "posted":
        return cut_short(monkeypatch, Mailbox, "_post", lambda _result, _first: True)
    return cut_short(
        monkeypatch, LoopGate, "open", lambda _result, _first: this_thread().inside, behind=False
    )


@pytest.mark.parametrize("where", ["expected", "posted", "through"])
def test_event_that_is_awaited_elsewhere_is_not_for_ever_where_telling_is_cut_short(
    run: Run, side: Side, crew: Crew, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """G11: KeyboardInterrupt in the thread that delivers ends the wait of the other.

    1 a thread delivers on a follower, 2 a task awaits an event that is left to it, 3 the thread is
    interrupted as it leaves the event for a loop, or as it says that it is through.
    """
    source, target = EventEmitter[Ping](), EventEmitter[Ping]()
    calls = Calls()
    stop = Stop()

    def on_ping(event: Ping) -> None:
        if event.number == 0:
            stop()

    def emit() -> None:
        with pytest.raises(KeyboardInterrupt):
            target.emit(Ping(0))

    target.on(Ping, on_ping)
    delivering = crew.run(emit)
    stop.wait()  # 1
    if where != "through":
        target.on(Ping, calls, loop=side.loop)
    target.follow(source, Ping)

    async def main() -> None:
        task = asyncio.create_task(source.emit_async(Ping(1)))
        await reach(lambda: is_left(channel_of(target, Ping), Ping(1)))
        await rounds()  # 2
        signals = cut_short_telling(monkeypatch, where)
        stop.go()  # 3
        await asyncio.wrap_future(delivering)
        assert not signals
        target.emit(Ping(2))
        await task

    run(main())
    crew.join()
    side.call(ignore, None)
    assert_idle(target)


def test_event_that_a_replay_has_taken_is_not_awaited_for_ever(
    run: Run, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: KeyboardInterrupt ends the registration, and the wait of the other for its handler.

    1 a replay is stopped, 2 a task awaits an event that is left to it, 3 the thread that replays is
    interrupted as it takes that event.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(0))
    stop = Stop()

    def on() -> None:
        with pytest.raises(KeyboardInterrupt):
            emitter.on(Ping, stop)

    registering = crew.run(on)
    stop.wait()  # 1
    [listener] = channel_of(emitter, Ping).replaying

    async def main() -> None:
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: listener.replay and listener.replay.events)  # 2
        cut_short(
            monkeypatch, Channel, "_replayed_locked", lambda entry, _: entry and entry.receipt
        )
        stop.go()
        await asyncio.wrap_future(registering)  # 3
        await task

    run(main())
    crew.join()
    assert_idle(emitter)


def test_event_that_is_left_to_a_replay_is_not_awaited_for_ever(
    run: Run, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: the replay tells it, though KeyboardInterrupt came as it was left there.

    1 a replay is stopped, 2 another thread delivers, and is stopped, 3 a task awaits an event that
    is left to that, 4 which is interrupted as it leaves the event to the replay.
    """
    source, target = EventEmitter[Ping](), ReplayEventEmitter[Ping]()
    replaying, delivering = Stop(), Stop()
    heard: list[int] = []

    def first(event: Ping) -> None:
        if event.number == 1:
            delivering()

    def second(event: Ping) -> None:
        replaying()
        heard.append(event.number)

    def emit() -> None:
        with pytest.raises(KeyboardInterrupt):
            target.emit(Ping(1))

    target.on(Ping, first)
    target.follow(source, Ping)
    target.emit(Ping(0))
    crew.run(target.on, Ping, second)
    replaying.wait()  # 1
    emitting = crew.run(emit)
    delivering.wait()  # 2

    async def main() -> None:
        task = asyncio.create_task(source.emit_async(Ping(2)))
        await reach(lambda: is_left(channel_of(target, Ping), Ping(2)))  # 3
        cut_short(monkeypatch, Awaited, "expect", lambda _, part: isinstance(part[0], Listener))
        delivering.go()
        await asyncio.wrap_future(emitting)  # 4
        replaying.go()
        await task

    run(main())
    crew.join()
    assert heard == [0, 1, 2]
    assert_idle(target)


def test_task_is_woken_where_an_interruption_removes_what_it_awaits(
    run: Run, new_loop: LoopFactory, crew: Crew
) -> None:
    """G12: by its handler, where the interrupted call does only what was put aside.

    1 a task awaits a once-handler on a loop that does not run, 2 a call that interrupts one of
    another thread removes that handler.
    """
    emitter = EventEmitter[Ping]()
    calls = Calls()
    other = new_loop()
    emitter.once(Ping, calls, loop=other)

    def remove() -> bool:
        me = this_thread()
        with interrupting_section():
            removed = emitter.off(Ping, calls)
        if me.aside:  # as a short emit does
            catch_up(me)
        return removed

    async def main() -> None:
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(lambda: channel_of(emitter, Ping).told)
        await rounds()  # 1
        assert await in_thread(crew, remove)  # 2
        await task

    try:
        run(main())
    finally:
        other.close()
    crew.join()
    assert_idle(emitter)


@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("register", ["on", "once", "expect"])
def test_one_of_two_that_remove_at_once_has_removed_it(
    side: Side, crew: Crew, monkeypatch: pytest.MonkeyPatch, register: str, *, elsewhere: bool
) -> None:
    """G8: `off()` in the middle of `off()`, of another thread or of a signal handler."""
    emitter = EventEmitter[Ping]()
    kept: Any
    if register == "expect":
        kept = emitter.expect(Ping)
    else:
        kept = getattr(emitter, register)(Ping, ignore_async, loop=side.loop)
    [subscription] = emitter.listeners(Ping)
    owner, name = (Expectation, "_finish") if register == "expect" else (Mailbox, "removed")
    original = getattr(owner, name)
    removed: list[bool] = []

    def double(self: object, me: ThreadState) -> Any:
        result = original(self, me) if owner is Mailbox else None
        if not removed:
            removed.append(False)
            off = subscription.off
            removed[0] = crew.run(off).result(PATIENCE) if elsewhere else off()
        return result if owner is Mailbox else original(self, me)

    monkeypatch.setattr(owner, name, double)
    removed.append(subscription.off())
    assert sorted(removed) == [False, True]
    assert kept.cancelled() if register == "expect" else not kept.active
    assert_idle(emitter)


# Waiting for async handlers


def of_subscription(emitter: EventEmitter[Any], subscription: Subscription[Any]) -> bool:
    """Wait as the owner of the subscription does."""
    del emitter
    return subscription.off_and_wait()


def of_emitter(emitter: EventEmitter[Any], subscription: Subscription[Any]) -> bool:
    """Wait as the owner of the emitter does."""
    return emitter.off_and_wait(subscription)


def of_all(emitter: EventEmitter[Any], subscription: Subscription[Any]) -> bool:
    """Wait for all handlers."""
    del subscription
    return emitter.remove_all_listeners_and_wait()


all_ways = pytest.mark.parametrize("wait", [of_subscription, of_emitter, of_all])
Wait = Callable[[EventEmitter[Any], Subscription[Any]], bool]


@all_ways
def test_loop_does_not_block_for_a_handler_it_has_to_finish(
    run: Run, kind: type[Any], wait: Wait
) -> None:
    """It would hang: False at once; the listener is removed all the same (G10)."""

    async def main() -> None:
        emitter: EventEmitter[Any] = kind()
        latch = Latch()
        subscription = emitter.on(Ping, latch)
        emitter.emit(Ping())
        await latch.reached.wait()
        assert not wait(emitter, subscription)
        assert not subscription.active
        assert emitter.listener_count(Ping) == 0
        latch.open.set()
        assert await subscription.off_and_wait_async()
        assert wait(emitter, subscription)
        assert_idle(emitter)

    run(main())


@all_ways
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("ending", ["returns", "raises", "is cancelled"])
def test_other_threads_wait_until_the_loop_is_through(
    run: Run, crew: Crew, wait: Wait, ending: str, *, once: bool
) -> None:
    """For the call under way, and no other begins (G9).

    1 an async handler is under way, with another event behind it, 2 a thread waits for it, 3 it
    ends.
    """
    heard: list[str] = []

    async def main() -> None:
        listen_to_reports([])
        emitter = EventEmitter[Ping]()
        latch = Latch()

        async def handler(_: Ping) -> None:
            await latch()
            heard.append("handler")
            if ending == "raises":
                raise ValueError

        subscription = (emitter.once if once else emitter.on)(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await latch.reached.wait()  # 1

        def own() -> bool:
            waited = wait(emitter, subscription)
            heard.append("owner")
            return waited

        waiting = crew.run(own)
        await reach(lambda: channel_of(emitter, Ping).watches)  # 2
        await rounds()
        assert not waiting.done()
        if ending == "is cancelled":
            (await call_under_way()).cancel()
        else:
            latch.open.set()  # 3
        assert await asyncio.wrap_future(waiting)
        await rounds()
        assert_idle(emitter)

    run(main())
    assert heard == (["owner"] if ending == "is cancelled" else ["handler", "owner"])


def test_other_threads_wait_no_longer_than_they_were_told(run: Run, crew: Crew) -> None:
    """A call on a loop that takes too long is no reason to wait for ever (G9)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        subscription = emitter.on(Ping, latch)
        emitter.emit(Ping())
        await latch.reached.wait()
        assert not await in_thread(crew, subscription.off_and_wait, 0)
        latch.open.set()
        assert await in_thread(crew, subscription.off_and_wait)
        assert_idle(emitter)

    run(main())


@also_debugging
@pytest.mark.parametrize("elsewhere", [False, True])
def test_off_and_wait_async_waits_for_a_handler_on_a_loop(
    run: Run, side: Side, *, elsewhere: bool
) -> None:
    """On its own loop or another, without blocking its own (G9)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        reached, go = threading.Event(), threading.Event()
        heard: list[Ping] = []

        async def handler(event: Ping) -> None:
            reached.set()
            await reach(go.is_set)
            heard.append(event)

        loop = side.loop if elsewhere else asyncio.get_running_loop()
        subscription = emitter.on(Ping, handler, loop=loop)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await reach(reached.is_set)
        waiting = asyncio.create_task(subscription.off_and_wait_async())
        await rounds()
        assert not waiting.done()
        assert not subscription.active
        go.set()
        assert await waiting
        assert heard == [Ping(1)]
        assert_idle(emitter)

    run(main())
    side.call(ignore, None)


def test_off_and_wait_async_waits_for_a_handler_in_a_thread(
    run: Run, crew: Crew, kind: type[Any]
) -> None:
    """Its loop goes on meanwhile (G9)."""

    async def main() -> None:
        emitter: EventEmitter[Any] = kind()
        stop = Stop()
        subscription = emitter.on(Ping, stop)
        crew.run(emitter.emit, Ping())
        stop.wait()
        waiting = asyncio.create_task(subscription.off_and_wait_async())
        await rounds()
        assert not waiting.done()
        stop.go()
        assert await waiting
        crew.join()
        assert_idle(emitter)

    run(main())


def test_off_and_wait_async_returns_true_where_nothing_runs(run: Run) -> None:
    """And again; what waits in the mailbox is dropped, and not waited for (G8, G9)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        heard: list[Ping] = []
        subscription = emitter.on(Ping, heard.append, loop=asyncio.get_running_loop())
        emitter.emit(Ping())
        assert await subscription.off_and_wait_async()
        assert await subscription.off_and_wait_async()
        await rounds()
        assert heard == []
        assert_idle(emitter)

    run(main())


@pytest.mark.parametrize("ending", ["cancelled", "timed out", "closed"])
def test_off_and_wait_async_cut_short_leaves_nothing(run: Run, ending: str) -> None:
    """Nobody waits any more, and a later wait works (G9)."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        latch = Latch()
        subscription = emitter.on(Ping, latch)
        emitter.emit(Ping())
        await latch.reached.wait()
        channel = channel_of(emitter, Ping)
        match ending:
            case "cancelled":
                waiting = asyncio.create_task(subscription.off_and_wait_async())
                await reach(lambda: channel.watches)
                waiting.cancel()
                await asyncio.wait([waiting])
                assert waiting.cancelled()
            case "timed out":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await subscription.off_and_wait_async()
            case _:
                coroutine = subscription.off_and_wait_async()
                coroutine.send(None)
                assert channel.watches
                coroutine.close()
        assert channel.watches == []
        later = asyncio.create_task(subscription.off_and_wait_async())
        await rounds()
        latch.open.set()
        assert await later
        assert_idle(emitter)

    run(main())


def test_removing_all_waits_for_handlers_in_threads_and_on_loops(
    run: Run, crew: Crew, kind: type[Any]
) -> None:
    """Whichever is through first (G9).

    1 one handler runs on a loop, one in a thread, 2 another thread waits for all, 3 one ends, 4 the
    other ends.
    """

    async def main() -> None:
        emitter: EventEmitter[Any] = kind()
        latch, stop = Latch(), Stop()
        emitter.on(Ping, latch)
        emitter.on(Ping, stop)
        crew.run(emitter.emit, Ping())
        stop.wait()
        await latch.reached.wait()  # 1
        waiting = crew.run(emitter.remove_all_listeners_and_wait)
        await reach(lambda: channel_of(emitter, Ping).watches)  # 2
        stop.go()  # 3
        await reach(lambda: channel_of(emitter, Ping).holder is None)
        await rounds()
        assert not waiting.done()
        latch.open.set()  # 4
        assert await asyncio.wrap_future(waiting)
        crew.join()
        assert_idle(emitter)

    run(main())


class Endless:
    """A handler on a loop, whose calls do not end."""

    def __init__(self) -> None:
        self.latches: list[Latch] = []

    async def __call__(self, _: Ping) -> None:
        """Begin, and wait."""
        self.latches.append(Latch())
        await self.latches[0]()

    async def reached(self) -> None:
        """Let the loop go on until a call has begun."""
        await reach(lambda: self.latches)


def test_wait_for_a_call_whose_loop_was_closed_ends(new_loop: LoopFactory, crew: Crew) -> None:
    """Nobody will ever finish that call; so nobody runs it any more (G9, G13)."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    handler = Endless()
    subscription = emitter.on(Ping, handler, loop=loop)
    emitter.emit(Ping())
    loop.run_until_complete(handler.reached())
    loop.close()
    waiting = crew.run(subscription.off_and_wait, PATIENCE)
    assert waiting.result(PATIENCE * 2)
    assert loop not in _tasks


def test_call_that_a_closed_loop_never_ends_is_reported(
    new_loop: LoopFactory, run: Run, crew: Crew
) -> None:
    """To who awaits it on another loop, with the next event, though that loop's task never ends.

    1 a handler awaits on one loop, 2 a task of another awaits it, 3 the first is closed.
    """
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    handler = Endless()
    subscription = emitter.on(Ping, handler, loop=loop)

    async def main() -> None:
        task = asyncio.create_task(emitter.emit_async(Ping()))
        await rounds()
        await in_thread(crew, loop.run_until_complete, handler.reached())  # 1
        await rounds()
        assert not task.done()  # 2
        loop.close()  # 3
        emitter.emit(Ping())
        with pytest.raises(ExceptionGroup, match="1 handler of Ping raised") as caught:
            await task
        assert "is closed" in str(caught.value.exceptions[0])

    run(main())
    assert not subscription.active
    assert loop not in _tasks
    assert_idle(emitter)


def test_calls_that_a_closed_loop_never_ends_are_let_go_of(new_loop: LoopFactory) -> None:
    """With the next event that any loop is told (G14)."""
    failures: list[HandlerFailure] = []
    emitter = EventEmitter[Ping](on_error=failures.append)
    loop = new_loop()
    handler = Endless()
    emitter.on(Ping, handler, loop=loop)
    emitter.emit(Ping(1))
    loop.run_until_complete(handler.reached())
    loop.close()
    other = new_loop()
    another = EventEmitter[Ping]()
    another.on(Ping, ignore, loop=other)
    another.emit(Ping(2))
    other.run_until_complete(rounds())
    other.close()
    assert [(failure.event, failure.handler) for failure in failures] == [(Ping(1), handler)]
    assert loop not in _tasks


def test_loop_that_is_closed_while_it_is_told_loses_nothing(crew: Crew) -> None:
    """It looks whether it is closed, and only then keeps what it is told (G13).

    1 an emit is about to tell the loop, which has looked, 2 that is closed, 3 the emit goes on.
    """
    stop = Stop()

    class Slow(asyncio.SelectorEventLoop):
        """A loop that is told slowly."""

        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            stop()
            return asyncio.Handle(callback, args, self, context)  # kept by nobody

    emitter = EventEmitter[Ping]()
    loop = Slow()
    subscription = emitter.on(Ping, ignore_async, loop=loop)

    def emit() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            emitter.emit(Ping())
        assert "is closed" in str(caught.value.exceptions[0])

    crew.run(emit)
    stop.wait()  # 1
    loop.close()  # 2
    stop.go()  # 3
    crew.join()
    assert not subscription.active


def test_removing_all_does_not_wait_for_a_coroutine_function_that_comes_later(
    run: Run, crew: Crew
) -> None:
    """Not even where it waits for one of that event type (G9).

    1 a thread waits for a call on the loop, 2 another listener comes and is called, 3 the first
    call ends.
    """
    emitter = EventEmitter[Ping]()
    first, second = Latch(), Latch()

    async def main() -> None:
        emitter.on(Ping, first)
        emitter.emit(Ping())
        await first.reached.wait()
        waiting = crew.run(emitter.remove_all_listeners_and_wait)
        await reach(lambda: channel_of(emitter, Ping).watches)  # 1
        emitter.on(Ping, second)
        emitter.emit(Ping())
        await second.reached.wait()  # 2
        again = crew.run(emitter.remove_all_listeners_and_wait, Ping, 0)
        first.open.set()  # 3
        assert await asyncio.wrap_future(waiting)
        await asyncio.wrap_future(again)
        second.open.set()
        await rounds()

    run(main())


def test_task_in_line_whose_loop_moves_is_known_to_need_its_new_thread(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """G10: an emit in the thread without which the task does not go on does not wait for it.

    1 a thread delivers, 2 a task stands in line, 3 its loop goes on in another thread, 4 where an
    emit hands its event over.
    """
    emitter = EventEmitter[Ping]()
    stop, seen = Stop(), list[int]()

    def handle(event: Ping) -> None:
        seen.append(event.number)
        if event.number == 0:
            stop()

    emitter.on(Ping, handle)
    crew.run(emitter.emit, Ping(0))
    stop.wait()  # 1
    loop = new_loop()
    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        tasks.append(asyncio.create_task(emitter.emit_async(Ping(1))))
        await reach(lambda: channel_of(emitter, Ping).line)

    async def go_on() -> None:
        emitter.emit(Ping(2))  # 4
        stop.go()
        await tasks[0]

    loop.run_until_complete(begin())  # 2
    crew.run(loop.run_until_complete, go_on()).result(PATIENCE)  # 3
    crew.join()
    loop.close()
    assert sorted(seen) == [0, 1, 2]
    assert_idle(emitter)


@pytest.mark.parametrize("call", ["emit_async", "emit_nowait"])
def test_who_must_not_wait_does_not_for_an_event_that_was_left_to_it(
    run: Run, crew: Crew, call: str
) -> None:
    """What its own handler has emitted goes on to a follower whose turn another thread has.

    1 a thread has the turn there, 2 the call delivers both events, and hands them over there.
    """
    source, target = EventEmitter[Ping](), EventEmitter[Ping]()
    target.follow(source, Ping)
    stop = Stop()
    heard: list[int] = []

    def slow(event: Ping) -> None:
        heard.append(event.number)
        if event.number == 0:
            stop()

    target.on(Ping, slow)
    source.on(Ping, lambda event: source.emit(Ping(2)) if event.number == 1 else None)
    crew.run(target.emit, Ping(0))
    stop.wait()  # 1

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        if call == "emit_nowait":
            source.emit_nowait(Ping(1))
        else:
            tasks.append(asyncio.create_task(source.emit_async(Ping(1))))
            await reach(lambda: len(channel_of(target, Ping).queue) == 3)
        assert heard == [0]  # 2
        stop.go()
        await asyncio.gather(*tasks)

    run(main())
    crew.join()
    assert heard == [0, 1, 2]


def test_emit_async_awaits_a_plain_handler_in_its_replay(run: Run, crew: Crew) -> None:
    """Another thread tells it the event, after the latest one (G2)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    stop = Stop()
    seen: list[int] = []

    def handle(event: Ping) -> None:
        if event.number == 1:
            stop()
        seen.append(event.number)

    crew.run(emitter.on, Ping, handle)
    stop.wait()

    async def main() -> None:
        task = asyncio.create_task(emitter.emit_async(Ping(2)))
        await rounds()
        assert not task.done()
        stop.go()
        await task
        assert seen == [1, 2]

    run(main())


# Each call counts for itself


@pytest.mark.parametrize("way", ["twice", "diamond"])
def test_emit_async_awaits_each_call_of_a_handler(run: Run, way: str) -> None:
    """Also where an event comes to it on two ways: the failure of the second call is raised."""
    source, target = EventEmitter[Ping](), EventEmitter[Ping]()

    async def main() -> tuple[int, int]:
        if way == "twice":
            followed = [target.follow(source, Ping) for _ in range(2)]
        else:
            between = [EventEmitter[Ping]() for _ in range(2)]
            followed = [each.follow(source, Ping) for each in between]
            followed += [target.follow(each, Ping) for each in between]
        began = ended = 0

        async def handler(_: Ping) -> None:
            nonlocal began, ended
            began += 1
            await rounds()
            ended += 1
            if ended == 2:
                raise ValueError

        target.on(Ping, handler)
        with pytest.raises(ExceptionGroup) as raised:
            await source.emit_async(Ping(1))
        assert raised.group_contains(ValueError)
        for each in followed:
            each.off()
        return began, ended

    assert run(main()) == (2, 2)


def test_nobody_waits_for_a_loop_that_stops_between_two_calls(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """What is still in the mailbox is dropped; no call is running (G9)."""
    loop = new_loop()
    emitter = EventEmitter[Ping]()
    calls: list[Ping] = []

    def handler(event: Ping) -> None:
        calls.append(event)
        loop.stop()

    subscription = emitter.on(Ping, handler, loop=loop)
    for number in range(1_000):
        emitter.emit(Ping(number))
    loop.run_forever()
    assert 1 < len(calls) < 1_000
    assert crew.run(subscription.off_and_wait, PATIENCE).result(PATIENCE)
    assert subscription.off_and_wait(0)
    assert_idle(emitter)


def test_once_call_that_a_closed_loop_left_is_reported(new_loop: LoopFactory) -> None:
    """As it is closed, and neither event nor handler is kept (G11, G13, G14)."""
    failures: list[HandlerFailure] = []
    emitter = EventEmitter[Ping](on_error=failures.append)
    loop = new_loop()

    class Handler:
        async def __call__(self, event: Ping) -> None:
            """Do nothing."""

    handler = Handler()
    kept = weakref.ref(handler)
    emitter.once(Ping, handler, loop=loop)
    emitter.emit(Ping(1))
    loop.close()
    assert [(each.event, each.handler) for each in failures] == [(Ping(1), handler)]
    failures.clear()
    del handler
    assert kept() is None
    emitter.emit(Ping(2))
    assert not failures
    assert_idle(emitter)


def test_first_emit_async_of_a_type_does_not_block_its_loop(
    run: Run, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another thread registers and emits in the middle of it.

    1 a task emits what nobody has listened to, 2 a thread registers a handler and emits, 3 the
    handler waits for the loop of the task.
    """
    emitter = ReplayEventEmitter[Ping]()
    answered: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        inside = threading.Event()

        def handler(event: Ping) -> None:
            if event.number == 0:
                inside.set()
                waiting = asyncio.run_coroutine_threadsafe(rounds(1), loop)
                answered.append(waiting.result(PATIENCE))  # 3

        def use() -> None:
            emitter.on(Ping, handler)
            emitter.emit(Ping(0))

        first: Callable[..., Channel | None] = vars(EventEmitter)["_eventemitter_first"]

        def with_another(self: EventEmitter[Any], *args: Any) -> Channel | None:
            channel = first(self, *args)
            crew.run(use)
            assert inside.wait(PATIENCE)  # 2
            return channel

        with monkeypatch.context() as patch:
            patch.setattr(EventEmitter, "_eventemitter_first", with_another)
            await emitter.emit_async(Ping(1))  # 1

    run(main())
    crew.join()
    assert answered == [None]
    assert_idle(emitter)


def test_generator_exit_of_a_handler_is_reported(run: Run) -> None:
    """And the events behind it are told (G11)."""
    emitter = EventEmitter[Ping]()
    reports: list[Any] = []
    told: list[Ping] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reports.append(context["exception"])
        )

        async def handler(event: Ping) -> None:
            told.append(event)
            await rounds(1)
            if event.number == 1:
                raise GeneratorExit

        emitter.on(Ping, handler)
        emitter.emit(Ping(1))
        emitter.emit(Ping(2))
        await reach(lambda: len(told) == 2)
        await rounds()

    run(main())
    assert [type(each) for each in reports] == [GeneratorExit]


@pytest.mark.parametrize("on_its_loop", [False, True])
def test_wait_for_a_call_knows_the_thread_that_its_loop_has_moved_to(
    new_loop: LoopFactory, crew: Crew, *, on_its_loop: bool
) -> None:
    """G9, G10: it is refused on the loop that has to finish the call, and nowhere else.

    1. A handler is called in this thread, and waits. 2. Its loop goes on in another thread.
    """
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    latch = Latch()
    subscription = emitter.on(Ping, latch, loop=loop)
    emitter.emit(Ping(1))
    loop.run_until_complete(latch.reached.wait())
    running = crew.run(loop.run_forever)
    until(loop.is_running)
    if on_its_loop:
        over: Future[bool] = Future()
        loop.call_soon_threadsafe(lambda: over.set_result(subscription.off_and_wait()))
        assert not over.result(PATIENCE)
        loop.call_soon_threadsafe(latch.open.set)
    else:
        waiting = crew.run(subscription.off_and_wait)
        until(lambda: channel_of(emitter, Ping).watches or waiting.done())
        loop.call_soon_threadsafe(latch.open.set)
        assert waiting.result(PATIENCE)
        assert subscription.off_and_wait()
    loop.call_soon_threadsafe(loop.stop)
    running.result(PATIENCE)
    loop.run_until_complete(rounds())
    loop.close()
    assert_idle(emitter)


def test_thread_that_its_loop_came_from_may_wait_for_a_call(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """G9: once the loop runs elsewhere, the call goes on without it."""
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    latch = Latch()
    subscription = emitter.on(Ping, latch, loop=loop)
    emitter.emit(Ping(1))
    loop.run_until_complete(latch.reached.wait())
    running = crew.run(loop.run_forever)
    until(loop.is_running)

    def let_go() -> None:
        until(lambda: channel_of(emitter, Ping).watches)
        loop.call_soon_threadsafe(latch.open.set)

    crew.run(let_go)
    assert subscription.off_and_wait()
    loop.call_soon_threadsafe(loop.stop)
    running.result(PATIENCE)
    loop.run_until_complete(rounds())
    loop.close()


def test_emit_async_goes_on_in_the_thread_that_its_loop_has_moved_to(
    new_loop: LoopFactory, crew: Crew
) -> None:
    """G4: there, too, an emit in a handler of the same type is queued.

    1. Another thread delivers. 2. A task waits for its turn. 3. Its loop goes on in a third thread,
    which delivers its event; a handler emits.
    """
    emitter = EventEmitter[Ping]()
    loop = new_loop()
    stop, heard = held_turn(crew, emitter)
    emitter.on(Ping, lambda event: emitter.emit(Ping(9)) if event.number == 1 else None)

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(emitter.emit_async(Ping(1)))
        await reach(partial(in_line, channel_of(emitter, Ping), 1))
        return task

    task = loop.run_until_complete(begin())
    running = crew.run(loop.run_until_complete, task)
    stop.go()
    running.result(PATIENCE)
    loop.close()
    assert heard == [Ping(0), Ping(1), Ping(9)]
    assert_idle(emitter)


def test_emit_async_awaits_the_handlers_of_a_follower_that_is_busy(run: Run, crew: Crew) -> None:
    """G5: also where the thread that delivers there is left to tell them.

    1. Another thread delivers on the follower. 2. The source emits. 3. The other thread goes on.
    """
    source, follower = EventEmitter[Ping](), EventEmitter[Ping]()
    stop, heard = held_turn(crew, follower)
    follower.follow(source, Ping)

    async def main() -> None:
        task = asyncio.create_task(source.emit_async(Ping(1)))
        await reach(lambda: channel_of(follower, Ping).queue)
        await rounds()
        assert not task.done()
        stop.go()
        await task
        assert heard == [Ping(0), Ping(1)]

    run(main())
    crew.join()
    assert_idle(follower)


def test_emit_async_does_not_await_a_replay_that_has_ended_its_thread(run: Run, crew: Crew) -> None:
    """G10: what raises SystemExit there is over.

    1. A follower is replayed to in another thread. 2. The source emits. 3. The replay goes on to
    that event, and ends its thread.
    """
    source, follower = ReplayEventEmitter[Ping](), EventEmitter[Ping]()
    source.emit(Ping(1))
    stop = Stop()

    def handler(event: Ping) -> None:
        stop()
        if event.number == 2:
            raise SystemExit

    follower.on(Ping, handler)

    def follow() -> None:
        with pytest.raises(SystemExit):
            follower.follow(source, Ping)

    crew.run(follow)
    stop.wait()

    async def main() -> None:
        task = asyncio.create_task(source.emit_async(Ping(2)))
        await rounds()
        assert not task.done()
        stop.go()
        await task

    run(main())
    crew.join()
    assert_idle(source)


def test_off_by_handler_finds_a_once_handler_that_waits_for_its_loop(run: Run) -> None:
    """G8: its event has been emitted, but its call has not begun."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        calls = Calls()
        emitter.once(Ping, calls)
        emitter.emit(Ping(1))
        assert not emitter.off(Ping, ignore)
        assert emitter.off(Ping, calls)
        assert not emitter.off(Ping, calls)
        await rounds()
        assert not calls.made
        assert_idle(emitter)

    run(main())


@pytest.mark.parametrize("register", ["on", "once"])
def test_event_left_for_a_loop_wakes_it_though_that_is_cut_short(
    run: Run, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    """G7, G11: KeyboardInterrupt between leaving the event and waking the loop loses neither."""

    async def main() -> None:
        emitter = EventEmitter[Ping]()
        calls = Calls()
        getattr(emitter, register)(Ping, calls)

        original = asyncio.get_running_loop().call_soon_threadsafe
        signals = [KeyboardInterrupt]

        def call_soon(_: Mailbox, bell: Callable[[], None]) -> bool:
            for error in signals.copy():
                signals.clear()
                raise error
            original(bell)
            return True

        monkeypatch.setattr(Mailbox, "_call_soon", call_soon)
        with pytest.raises(KeyboardInterrupt):
            emitter.emit(Ping(1))
        await rounds()
        emitter.emit(Ping(2))
        await rounds()
        made = [event for event, *_ in calls.made]
        assert made == ([Ping(1)] if register == "once" else [Ping(1), Ping(2)])
        assert_idle(emitter)

    run(main())


@needs_eager_tasks
@pytest.mark.parametrize("new_loop", ["asyncio"], indirect=True)  # uvloop does not know them
def test_eager_task_of_a_handler_is_not_told_that_nobody_runs_it(run: Run) -> None:
    """G9: the handler is still on the stack, and its owner may not free what it uses."""

    async def main() -> None:
        factory: Any = vars(asyncio)["eager_task_factory"]
        asyncio.get_running_loop().set_task_factory(factory)
        emitter = EventEmitter[Ping]()
        found: list[bool] = []
        tasks: list[asyncio.Task[None]] = []

        async def stop() -> None:
            found.append(await subscription.off_and_wait_async())

        def handler(_: Ping) -> None:
            tasks.append(asyncio.create_task(stop()))

        subscription = emitter.on(Ping, handler)
        emitter.emit(Ping())
        await asyncio.gather(*tasks)
        assert found == [False]
        assert await subscription.off_and_wait_async()

    run(main())
