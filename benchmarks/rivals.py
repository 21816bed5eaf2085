"""One adapter a library, so that every benchmark asks all libraries the same.

An adapter uses a library as its documentation shows, with one kind of event. Whatever a library
lets its users choose, an adapter chooses what is faster for the library: strong references to the
handlers, for one. A library is imported only when its adapter is made, so that a process that
measures one library has no other in it.

Handlers are plain functions of one argument, the event, each with a `__name__` of its own: the
libraries that count a function registered twice as one, or warn of a name that comes twice, are
then no special case.
"""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

T = TypeVar("T")

Handler: TypeAlias = Callable[[Any], object]
CoroutineHandler: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
Emit: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Happened:
    """The event."""

    number: int = 0


NOTHING: Final = Happened(-1)
"""What a library that cannot be without a latest event has before the first one."""


class NotInstalledError(Exception):
    """A library cannot be measured, as it is not installed."""


class NotOfferedError(Exception):
    """A library has nothing of the kind."""


class AdapterError(Exception):
    """A library did not do what its adapter was asked for, so its figures would mean nothing."""


class Rival(ABC):
    """A library as the benchmarks use it."""

    name: ClassVar[str]
    """What the tables call it."""

    distribution: ClassVar[str]
    """What pip calls it."""

    module: ClassVar[str]
    """What Python calls it."""

    replays: ClassVar[bool] = False
    """Whether a listener that comes late gets the latest event."""

    thread_safe: ClassVar[bool] = False
    """Whether listeners may come, and events be emitted, on several threads at a time."""

    awaited: ClassVar[bool] = False
    """Whether emitting is to be awaited, on an event loop."""

    reuses_events: ClassVar[bool] = True
    """Whether an event may be emitted more than once."""

    freezes: ClassVar[bool] = False
    """Whether listeners can no longer come or go after the first event."""

    starts_with_nothing: ClassVar[bool] = False
    """Whether a listener that comes before the first event is called with `NOTHING`."""

    def __init__(self) -> None:
        """Import the library.

        Raises:
            NotInstalledError: There is none of that name.
        """
        try:
            self.library: Any = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise NotInstalledError(self.name) from error

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what the adapter itself holds."""

    def event(self, number: int) -> Any:
        """Return an event."""
        return Happened(number)

    @abstractmethod
    def make(self) -> Any:
        """Return an emitter without listeners."""

    @abstractmethod
    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register a handler; return what `off` wants to have."""

    def once(self, emitter: Any, handler: Handler) -> Any:
        """Register a handler for one event; return what `off` wants to have."""
        raise NotOfferedError("once")

    def off(self, emitter: Any, token: Any) -> None:
        """Remove a handler."""
        raise NotOfferedError("off")

    @abstractmethod
    def emitter_of(self, emitter: Any) -> Emit:
        """Return what emits, as a user of the library would call it; it may have to be awaited."""

    def emit(self, emitter: Any, event: Any) -> None:
        """Emit, and return when the handlers have run."""
        self.emitter_of(emitter)(event)

    # With coroutine functions as handlers. All of these are called on a running loop.

    async def make_on_loop(self) -> Any:
        """Return an emitter whose handlers run on the running loop."""
        raise NotOfferedError("coroutine functions as handlers")

    async def end_on_loop(self, emitter: Any) -> None:  # noqa: B027 - most have nothing
        """End what an emitter has running on the loop."""

    def on_coroutine(self, emitter: Any, handler: CoroutineHandler) -> None:
        """Register a coroutine function."""
        self.on(emitter, handler)

    def emitter_on_loop(self, emitter: Any) -> Emit:
        """Return what emits from the loop itself; it may have to be awaited."""
        return self.emitter_of(emitter)

    def emitter_elsewhere(self, emitter: Any) -> Emit:
        """Return what emits from another thread."""
        raise NotOfferedError("emitting from another thread")

    def next_event(self, emitter: Any) -> Awaitable[Any]:
        """Return the next event, to be awaited."""
        raise NotOfferedError("awaiting an event")


class AwaitedRival(Rival):
    """A library whose events are emitted by a coroutine.

    The adapter has an event loop of its own. `emit` starts and stops it for one event; `run` is
    for those who measure, as inside it emitting costs what it costs in a program that runs anyway.
    """

    awaited = True

    def __init__(self) -> None:
        """Import the library, and make a loop."""
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Close the loop."""
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop."""
        return self.loop.run_until_complete(coroutine)

    def emit(self, emitter: Any, event: Any) -> None:
        """Emit on the loop, and return when the handlers have run."""

        async def emit() -> None:
            await self.emitter_of(emitter)(event)

        self.run(emit())


# Ours


class Ours(Rival):
    """`EventEmitter`."""

    name = "EventEmitter"
    distribution = "replay-eventemitter"
    module = "eventemitter"
    thread_safe = True

    def make(self) -> Any:
        """Return an emitter of any events."""
        return self.library.EventEmitter()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register."""
        return emitter.on(Happened, handler)

    def once(self, emitter: Any, handler: Handler) -> Any:
        """Register for one event."""
        return emitter.once(Happened, handler)

    def off(self, emitter: Any, token: Any) -> None:
        """Remove."""
        emitter.off(token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method."""
        emit: Emit = emitter.emit
        return emit

    async def make_on_loop(self) -> Any:
        """Return the same as anywhere."""
        return self.make()

    def emitter_elsewhere(self, emitter: Any) -> Emit:
        """Return the same as anywhere."""
        return self.emitter_of(emitter)

    def next_event(self, emitter: Any) -> Awaitable[Any]:
        """Expect it."""
        expectation: Awaitable[Any] = emitter.expect(Happened)
        return expectation


class OursReplaying(Ours):
    """`ReplayEventEmitter`."""

    name = "ReplayEventEmitter"
    replays = True

    def make(self) -> Any:
        """Return an emitter of any events."""
        return self.library.ReplayEventEmitter()


# The rivals


class Pyee(Rival):
    """pyee: named events, a lock around the table of handlers."""

    name = "pyee"
    distribution = "pyee"
    module = "pyee"
    thread_safe = True

    def make(self) -> Any:
        """Return an emitter without a scheduler of its own."""
        return self.library.EventEmitter()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register."""
        return emitter.add_listener("happened", handler)

    def once(self, emitter: Any, handler: Handler) -> Any:
        """Register for one event."""
        return emitter.once("happened", handler)

    def off(self, emitter: Any, token: Any) -> None:
        """Remove."""
        emitter.remove_listener("happened", token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method with the name of the event."""
        return partial(emitter.emit, "happened")

    async def make_on_loop(self) -> Any:
        """Return an emitter that makes tasks of coroutines."""
        loop = asyncio.get_running_loop()
        return importlib.import_module("pyee.asyncio").AsyncIOEventEmitter(loop)


class Blinker(Rival):
    """blinker: signals with senders.

    The event is sent as the sender, which every receiver is called with anyway.
    """

    name = "blinker"
    distribution = "blinker"
    module = "blinker"

    def make(self) -> Any:
        """Return an anonymous signal."""
        return self.library.Signal()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Connect."""
        return emitter.connect(handler, weak=False)

    def off(self, emitter: Any, token: Any) -> None:
        """Disconnect."""
        emitter.disconnect(token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method."""
        send: Emit = emitter.send
        return send

    async def make_on_loop(self) -> Any:
        """Return the same as anywhere."""
        return self.make()

    def emitter_on_loop(self, emitter: Any) -> Emit:
        """Return the method that awaits its receivers."""
        send: Emit = emitter.send_async
        return send


class Psygnal(Rival):
    """psygnal: compiled by mypyc where a wheel is installed; a lock held while handlers run."""

    name = "psygnal"
    distribution = "psygnal"
    module = "psygnal"
    thread_safe = True

    def make(self) -> Any:
        """Return a signal of one argument."""
        return self.library.SignalInstance((object,))

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Connect."""
        return emitter.connect(handler)

    def off(self, emitter: Any, token: Any) -> None:
        """Disconnect."""
        emitter.disconnect(token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method: `emit_fast` is quicker, but takes no lock."""
        emit: Emit = emitter.emit
        return emit

    async def make_on_loop(self) -> Any:
        """Return a signal, having started what runs coroutines."""
        backend = self.library.set_async_backend("asyncio")
        await backend.running.wait()
        return self.make()


class RxSubject(Rival):
    """RxPY's `Subject`, which tells its observers."""

    name = "RxPY Subject"
    distribution = "reactivex"
    module = "reactivex"
    thread_safe = True

    def __init__(self) -> None:
        """Import the library."""
        super().__init__()
        self.subject: Any = importlib.import_module("reactivex.subject")
        self.operators: Any = importlib.import_module("reactivex.operators")

    def make(self) -> Any:
        """Return a subject."""
        return self.subject.Subject()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Subscribe."""
        return emitter.subscribe(handler)

    def once(self, emitter: Any, handler: Handler) -> Any:
        """Subscribe by way of `take(1)`."""
        return emitter.pipe(self.operators.take(1)).subscribe(handler)

    def off(self, emitter: Any, token: Any) -> None:
        """Dispose of the subscription."""
        token.dispose()

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method."""
        on_next: Emit = emitter.on_next
        return on_next

    def next_event(self, emitter: Any) -> Awaitable[Any]:
        """Take the first of what is to come."""
        first: Awaitable[Any] = emitter.pipe(self.operators.first())
        return first


class RxBehaviorSubject(RxSubject):
    """RxPY's `BehaviorSubject`, which always has a latest event."""

    name = "RxPY BehaviorSubject"
    replays = True
    starts_with_nothing = True

    def make(self) -> Any:
        """Return a subject whose latest event is none of ours."""
        return self.subject.BehaviorSubject(NOTHING)


class RxReplaySubject(RxSubject):
    """RxPY's `ReplaySubject`, told to keep the latest event."""

    name = "RxPY ReplaySubject"
    replays = True

    def make(self) -> Any:
        """Return a subject."""
        return self.subject.ReplaySubject(1)


class Pymitter(Rival):
    """pymitter: named events in a tree, with wildcards."""

    name = "pymitter"
    distribution = "pymitter"
    module = "pymitter"

    def make(self) -> Any:
        """Return an emitter without wildcards."""
        return self.library.EventEmitter()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register."""
        return emitter.on("happened", handler)

    def once(self, emitter: Any, handler: Handler) -> Any:
        """Register for one event."""
        return emitter.once("happened", handler)

    def off(self, emitter: Any, token: Any) -> None:
        """Remove."""
        emitter.off("happened", token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method with the name of the event."""
        return partial(emitter.emit, "happened")

    async def make_on_loop(self) -> Any:
        """Return the same as anywhere."""
        return self.make()

    def emitter_on_loop(self, emitter: Any) -> Emit:
        """Return the method that awaits its handlers, with the name of the event."""
        return partial(emitter.emit_async, "happened")


class Events(Rival):
    """Events: a list of targets that is called."""

    name = "Events"
    distribution = "Events"
    module = "events"

    def make(self) -> Any:
        """Return what has events, the first use of whose names makes them."""
        return self.library.Events()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register."""
        emitter.happened += handler
        return handler

    def off(self, emitter: Any, token: Any) -> None:
        """Remove."""
        emitter.happened -= token

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the event, which is called."""
        happened: Emit = emitter.happened
        return happened


class Sender:
    """What PyDispatcher, whose tables are global, looks a connection up by."""


class PyDispatcher(Rival):
    """PyDispatcher: global tables of signals and senders."""

    name = "PyDispatcher"
    distribution = "PyDispatcher"
    module = "pydispatch.dispatcher"

    def make(self) -> Any:
        """Return a sender."""
        return Sender()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Connect."""
        self.library.connect(handler, "happened", emitter, weak=False)
        return handler

    def off(self, emitter: Any, token: Any) -> None:
        """Disconnect."""
        self.library.disconnect(token, "happened", emitter, weak=False)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the function with signal and sender."""
        return partial(self.library.send, "happened", emitter)


class Aiosignal(AwaitedRival):
    """aiosignal: a list of coroutine functions that is frozen before it is sent to.

    A handler is called by a coroutine function, the only thing that can be registered.
    """

    name = "aiosignal"
    distribution = "aiosignal"
    module = "aiosignal"
    freezes = True

    def make(self) -> Any:
        """Return a signal that is not yet frozen."""
        return self.library.Signal(self)

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Append."""

        async def receiver(event: Any) -> None:
            handler(event)

        emitter.append(receiver)
        return receiver

    def off(self, emitter: Any, token: Any) -> None:
        """Remove, which only works before the signal is frozen."""
        emitter.remove(token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Freeze the signal; return the coroutine function that sends."""
        emitter.freeze()
        send: Emit = emitter.send
        return send

    async def make_on_loop(self) -> Any:
        """Return the same as anywhere."""
        return self.make()

    def on_coroutine(self, emitter: Any, handler: CoroutineHandler) -> None:
        """Append it as it is."""
        emitter.append(handler)


class Bubus(AwaitedRival):
    """bubus: pydantic events, queued on a loop and kept in a history; its listeners stay.

    An event can be dispatched once only.
    """

    name = "bubus"
    distribution = "bubus"
    module = "bubus"
    reuses_events = False

    def __init__(self) -> None:
        """Import the library, and make the class of the event, a pydantic model."""
        super().__init__()
        model: Any = self.library.BaseEvent
        fields = {"__annotations__": {"number": int}, "__module__": __name__}
        self._event: Any = type(model)("BusHappened", (model,), fields)

    def event(self, number: int) -> Any:
        """Return an event."""
        return self._event(number=number)

    def make(self) -> Any:
        """Return a bus, which starts with its first event."""
        return self.library.EventBus()

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Register."""
        emitter.on(self._event, handler)
        return handler

    def emitter_of(self, emitter: Any) -> Emit:
        """Return the method: what it returns is awaited until all handlers have run."""
        dispatch: Emit = emitter.dispatch
        return dispatch

    async def make_on_loop(self) -> Any:
        """Return the same as anywhere."""
        return self.make()

    async def end_on_loop(self, emitter: Any) -> None:
        """Stop the bus, which would not let itself be cancelled."""
        await emitter.stop(clear=True)

    def next_event(self, emitter: Any) -> Awaitable[Any]:
        """Expect it."""
        expectation: Awaitable[Any] = emitter.expect(self._event)
        return expectation


class BareLoopOnLoop:
    """What asyncio itself offers: a task for one handler, an `asyncio.Event` for one who waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have no handler yet."""
        self.handler: CoroutineHandler | None = None
        self._loop = loop
        self._latest: Any = None
        self._waited_for = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, event: Any) -> None:
        """Emit from the loop itself."""
        self._latest = event
        self._waited_for.set()
        if self.handler:
            task = self._loop.create_task(self.handler(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def emit_elsewhere(self, event: Any) -> None:
        """Emit from another thread."""
        if self.handler:
            asyncio.run_coroutine_threadsafe(self.handler(event), self._loop)

    async def following(self) -> Any:
        """Return the next event."""
        self._waited_for.clear()
        await self._waited_for.wait()
        return self._latest


class BareLoop(Rival):
    """No library: a list of functions, called one after another. The floor."""

    name = "bare loop"
    distribution = "replay-eventemitter"  # the loop is in this very file
    module = "builtins"

    def make(self) -> Any:
        """Return a list."""
        handlers: list[Handler] = []
        return handlers

    def on(self, emitter: Any, handler: Handler) -> Any:
        """Append."""
        emitter.append(handler)
        return handler

    def off(self, emitter: Any, token: Any) -> None:
        """Remove."""
        emitter.remove(token)

    def emitter_of(self, emitter: Any) -> Emit:
        """Return a function that loops."""

        def emit(event: Any) -> None:
            for handler in emitter:
                handler(event)

        return emit

    async def make_on_loop(self) -> Any:
        """Return what asyncio offers."""
        return BareLoopOnLoop(asyncio.get_running_loop())

    def on_coroutine(self, emitter: Any, handler: CoroutineHandler) -> None:
        """Have one handler."""
        emitter.handler = handler

    def emitter_on_loop(self, emitter: Any) -> Emit:
        """Return what makes a task of the handler, and wakes who waits."""
        emit: Emit = emitter.emit
        return emit

    def emitter_elsewhere(self, emitter: Any) -> Emit:
        """Return what makes a task of the handler from another thread."""
        emit: Emit = emitter.emit_elsewhere
        return emit

    def next_event(self, emitter: Any) -> Awaitable[Any]:
        """Wait for an `asyncio.Event`."""
        following: Awaitable[Any] = emitter.following()
        return following


RIVALS: Final[dict[str, type[Rival]]] = {
    rival.name: rival
    for rival in (
        Ours,
        OursReplaying,
        Pyee,
        Blinker,
        Psygnal,
        RxSubject,
        RxBehaviorSubject,
        RxReplaySubject,
        Pymitter,
        Events,
        PyDispatcher,
        Aiosignal,
        Bubus,
        BareLoop,
    )
}
"""All adapters by name, ours first and the floor last."""


def installed(kind: type[Rival]) -> bool:
    """Tell whether a library can be imported, without doing so."""
    return find_spec(kind.module.partition(".")[0]) is not None


def version_of(kind: type[Rival]) -> str:
    """Return the version of a library, or that it is not installed."""
    if kind is BareLoop:
        return ""
    if not installed(kind):
        return "not installed"
    try:
        return version(kind.distribution)
    except PackageNotFoundError:
        return "run from its sources"


# What makes a figure mean something


class Counted:
    """A listener for a measurement: it does next to nothing, but it counts."""

    def __init__(self, number: int) -> None:
        """Make a handler with a name of its own."""
        calls = 0
        last: Any = None

        def handler(event: Any) -> None:
            nonlocal calls, last
            calls += 1
            last = event

        def seen() -> tuple[int, Any]:
            return calls, last

        handler.__name__ = f"handler_{number}"
        self.handler: Handler = handler
        self.seen: Callable[[], tuple[int, Any]] = seen
        """Returns the number of calls, and the event of the last one."""


def expect(rival: Rival, what: str, got: object, wanted: object) -> None:
    """Raise if a library did something else than it should.

    Raises:
        AdapterError: It did.
    """
    if got != wanted:
        raise AdapterError(f"{rival.name}: {what}: {got!r} instead of {wanted!r}")


def check(rival: Rival) -> None:
    """Prove that handlers run as often as they should, with what was sent.

    Raises:
        AdapterError: They do not.
    """
    _check_emit(rival)
    _check_off(rival)
    _check_once(rival)
    _check_replay(rival)


def _check_emit(rival: Rival) -> None:
    emitter = rival.make()
    listeners = [Counted(number) for number in range(3)]
    for listener in listeners:
        rival.on(emitter, listener.handler)
    for calls in (1, 2):
        before = [listener.seen()[0] for listener in listeners]
        event = rival.event(calls)
        rival.emit(emitter, event)
        for listener, earlier in zip(listeners, before, strict=True):
            count, last = listener.seen()
            expect(rival, "calls of a listener by an event", count - earlier, 1)
            expect(rival, "what was sent", last is event, wanted=True)


def _check_off(rival: Rival) -> None:
    emitter = rival.make()
    staying, leaving = Counted(1), Counted(2)
    rival.on(emitter, staying.handler)
    token = rival.on(emitter, leaving.handler)
    if not rival.freezes:
        rival.emit(emitter, rival.event(1))
    before = staying.seen()[0], leaving.seen()[0]
    try:
        rival.off(emitter, token)
    except NotOfferedError:
        return
    rival.emit(emitter, rival.event(2))
    after = staying.seen()[0], leaving.seen()[0]
    expect(rival, "calls after off", (after[0] - before[0], after[1] - before[1]), (1, 0))


def _check_once(rival: Rival) -> None:
    emitter = rival.make()
    listener = Counted(1)
    try:
        rival.once(emitter, listener.handler)
    except NotOfferedError:
        return
    for number in (1, 2, 3):
        rival.emit(emitter, rival.event(number))
    expect(rival, "calls of a once-listener", listener.seen()[0], 1)


def _check_replay(rival: Rival) -> None:
    if rival.freezes:
        return
    emitter = rival.make()
    event = rival.event(1)
    rival.emit(emitter, event)
    late = Counted(1)
    rival.on(emitter, late.handler)
    wanted = (1, event) if rival.replays else (0, None)
    expect(rival, "calls of a listener that came late", late.seen(), wanted)


def load(name: str) -> Rival:
    """Return the adapter of a library, which has passed its check.

    Raises:
        NotInstalledError: The library is not installed.
        AdapterError: It did not do what it was asked for.
    """
    rival = RIVALS[name]()
    try:
        check(rival)
    except BaseException:
        rival.close()
        raise
    return rival
