"""Use everything at once, for minutes, and count what went wrong.

Threads and tasks on two event loops emit numbered events in every way there is, while listeners of
every kind come and go. Listeners that stay for the whole run check each event as it comes; they
keep counts and hashes, never events, so that memory that grows is the package's.

How this can mislead: a fault whose moment never came is not seen. What can be forced is forced by
the tests; this looks for what nobody has thought of.
"""

# ruff: noqa: D107 - what an object is made of, its class says

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import faulthandler
import gc
import io
import math
import random
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, NoReturn, TypeAlias, get_args

from benchmarks import Pause, progress
from eventemitter import (
    EventEmitter,
    EventStream,
    HandlerFailure,
    ReplayEventEmitter,
    StreamOverflow,
    Subscription,
)

_MINUTES: Final = 10.0
_QUICK_MINUTES: Final = 0.1
_PATIENCE: Final = 30.0  # seconds without any step after which an actor is taken for deadlocked
_GLANCE: Final = 0.02  # seconds between two looks at the actors
_LONGEST_LINGER: Final = 0.003  # seconds that a listener that comes and goes stays
_MOST_BEHIND: Final = 32  # events by which a sender may be ahead of a listener
_LOSSLESS: Final = 100_000  # what a stream holds that must never be full
_BLOCK: Final = 500  # events whose order is compared at once
_MOST_MISSING: Final = 10_000  # numbers of events of which a listener remembers that it lacks them
_MOST_CANCELLED: Final = 32  # the same, of cancelled ones
_ECHOED: Final = 16  # one event of so many is answered by a handler
_ECHOED_ASYNC: Final = 64  # the same, where the handler is a coroutine function
_ECHOES: Final = ("plain echo", "async echo")
_HOPS: Final = 3  # how often an event crosses between two emitters
_GROWTH_ALLOWED: Final = 256 * 1024  # bytes; a leak of one object a listener is far more
_STORIES: Final = 5  # how many faults of a kind are told in words

Emitter: TypeAlias = EventEmitter[Any]
Overflow: TypeAlias = Literal["raise", "drop_oldest", "drop_newest"]
_POLICIES: Final[tuple[Overflow, ...]] = ("raise", "drop_oldest", "drop_newest")
FaultKind: TypeAlias = Literal[
    "lost",
    "twice",
    "out of order",
    "not there when emit returned",
    "called after off_and_wait",
    "two calls at once",
    "wrong answer",
    "raised",
    "left registered",
    "turns left taken",
    "tasks left",
    "threads left",
    "memory grew",
    "stuck",
]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with the number that its sender gave it."""

    sender: int
    number: int
    """Among the events of its type that the sender emitted on this emitter."""
    serial: int = 0
    """Among all events that the sender emitted on this emitter."""
    hops: int = 0


class Tick(Numbered):
    """What most listeners listen to."""

    __slots__ = ()


class Tock(Numbered):
    """Another event type."""

    __slots__ = ()


class Call(Numbered):
    """What its sender expects itself."""

    __slots__ = ()


class Maybe(Numbered):
    """What is emitted by tasks that are cancelled meanwhile."""

    __slots__ = ()


class Note(Numbered):
    """What only one thread emits, replays and forgets."""

    __slots__ = ()


class Never(Numbered):
    """What nobody emits."""

    __slots__ = ()


Kind: TypeAlias = type[Numbered]
KINDS: Final[tuple[Kind, ...]] = (Tick, Tock, Call, Maybe, Note, Never)


class Deliberate(Exception):  # noqa: N818 - it is no error
    """What some handlers and predicates raise."""


class Stuck(Exception):  # noqa: N818 - a verdict
    """Nothing has advanced for too long."""


# What checks


class Faults:
    """Counts faults; remembers the first of each kind in words."""

    def __init__(self) -> None:
        self.counts: Counter[FaultKind] = Counter()
        self.stories: dict[FaultKind, list[str]] = {}
        self._lock = threading.Lock()

    def note(self, kind: FaultKind, story: str, count: int = 1) -> None:
        """Count a fault."""
        with self._lock:
            self.counts[kind] += count
            stories = self.stories.setdefault(kind, [])
            if len(stories) < _STORIES:
                stories.append(story)

    def unless(self, right: object, story: str) -> None:
        """Count a wrong answer unless `right`."""
        if not right:
            self.note("wrong answer", story)


class Total:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Add one."""
        with self._lock:
            self.value += 1


@dataclass
class _Block:
    digest: int | None = None
    reported: int = 0


class Order:
    """Compares the order in which several listeners see the same events, a block at a time."""

    def __init__(self, faults: Faults) -> None:
        self.members = 0
        self._faults = faults
        self._lock = threading.Lock()
        self._blocks: dict[int, _Block] = {}
        """The blocks that some have reported, and some have not."""

    def compare(self, place: int, digest: int | None, name: str) -> None:
        """Compare the digest of one block; None if events that lack or repeat have shifted it."""
        with self._lock:
            block = self._blocks.setdefault(place, _Block())
            block.reported += 1
            block.digest = digest if block.digest is None else block.digest
            differs = digest not in {None, block.digest}
            if block.reported == self.members:
                del self._blocks[place]
        if differs:
            self._faults.note("out of order", f"{name}: differs from others after event {place}")


class Witness:
    """A listener that checks what it sees, and keeps none of it.

    Called by one thread at a time, as the guarantees have it. One that comes late takes the first
    event of each sender for the first there is.
    """

    def __init__(
        self, name: str, faults: Faults, *, late: bool = False, gaps: bool = False
    ) -> None:
        self.name = name
        self.faults = faults
        self.late = late
        self.gaps = gaps
        """Whether events may lack."""
        self.last: dict[int, int] = {}
        """The highest number of each sender."""
        self.missing: set[tuple[int, int]] = set()
        self.seen = 0
        self.gone = False
        """Whether it must not be called any more."""
        self.order: Order | None = None
        self._digest = 0
        self._shifted = False
        self._busy = False

    def __call__(self, event: Numbered) -> None:
        """See an event."""
        if self.gone:
            self.faults.note("called after off_and_wait", f"{self.name}: {event}")
        sender, number = event.sender, event.number
        last = self.last.get(sender, number - 1 if self.late else 0)
        if number > last:
            if number > last + 1:
                self._skip(sender, last + 1, number)
            self.last[sender] = number
        else:
            self._see_again(event)
        self.seen += 1
        if self.order is not None:
            self._digest = hash((self._digest, sender, number))
            if self.seen % _BLOCK == 0:
                self._compare(self.order, self.seen)

    async def hear(self, event: Numbered) -> None:
        """See an event, on an event loop."""
        if self._busy:
            self.faults.note("two calls at once", f"{self.name}: {event}")
        self._busy = True
        self(event)
        await asyncio.sleep(0)
        self._busy = False

    def _skip(self, sender: int, first: int, end: int) -> None:
        self._shifted |= not self.gaps
        if self.gaps and self.order is not None and len(self.missing) > _MOST_CANCELLED:
            self.missing.clear()  # none of them comes any more
        room = _MOST_MISSING - len(self.missing)
        self.missing.update((sender, number) for number in range(first, min(end, first + room)))
        if end - first > room and not self.gaps:
            self.faults.note("lost", f"{self.name}: very many of {sender}", end - first - room)

    def _see_again(self, event: Numbered) -> None:
        if (event.sender, event.number) in self.missing:
            self.missing.discard((event.sender, event.number))
            self.faults.note("out of order", f"{self.name}: {event} came late")
        else:
            self._shifted = True
            self.faults.note("twice", f"{self.name}: {event}")

    def _compare(self, order: Order, place: int) -> None:
        order.compare(place, None if self._shifted else self._digest, self.name)
        self._digest = 0

    def finish(self, numbers: dict[int, int] | None = None) -> None:
        """Count what lacks, given the last number of each sender."""
        for sender, number in (numbers or {}).items():
            last = self.last.get(sender, 0)
            if last < number:
                self._skip(sender, last + 1, number + 1)
        if self.missing and not self.gaps:
            some = sorted(self.missing)[:3]
            self.faults.note("lost", f"{self.name}: of (sender, number) {some}", len(self.missing))
        if self.order is not None:
            self._compare(self.order, -1)


class StreamWitness:
    """A reader that checks what it reads of several event types."""

    def __init__(
        self, name: str, faults: Faults, *, late: bool = False, gaps: bool = False
    ) -> None:
        self.name = name
        self.faults = faults
        self.kinds: dict[Kind, Witness] = {
            kind: Witness(f"{name} of {kind.__name__}", faults, late=late, gaps=gaps)
            for kind in (Tick, Tock)
        }
        self._serials: dict[int, int] = {}

    def __call__(self, event: Numbered) -> None:
        """See an event."""
        if event.serial <= self._serials.get(event.sender, 0):
            self.faults.note("out of order", f"{self.name}: {event} after a later one")
        self._serials[event.sender] = event.serial
        self.kinds[type(event)](event)

    @property
    def seen(self) -> int:
        """How many events it has seen."""
        return sum(witness.seen for witness in self.kinds.values())

    def finish(self, dropped: int) -> None:
        """Count what lacks beyond what the stream has dropped."""
        missing = sum(len(witness.missing) for witness in self.kinds.values())
        if missing > dropped:
            self.faults.note("lost", f"{self.name}: without being counted", missing - dropped)


# Who acts


class Actor:
    """A thread or a task that acts until it is told to stop, a step at a time."""

    def __init__(self, name: str, stopping: threading.Event) -> None:
        self.name = name
        self.stopping = stopping
        self.steps = 0
        self.tally: Counter[str] = Counter()
        self.random = random.Random(name)  # noqa: S311 - no secret
        self.done: Future[None] = Future()
        self._stream: EventStream[Any] | None = None
        self._slowest: tuple[Witness, int] | None = None

    def go_on(self) -> bool:
        """Take note of a step; return False when it is time to stop."""
        self.steps += 1
        return not self.stopping.is_set()

    def waits(self, course: Course, event: Numbered) -> bool:
        """Return whether a witness is too far behind; each event that it sees is a step, too."""
        witness, behind = course.slowest(event)
        if (witness, witness.seen) != self._slowest:
            self._slowest = witness, witness.seen
            self.steps += 1
        return behind > _MOST_BEHIND and not self.stopping.is_set()

    def linger(self) -> None:
        """Let some events come, in a thread."""
        time.sleep(self.random.random() * _LONGEST_LINGER)

    async def linger_async(self) -> None:
        """Let some events come, in a task."""
        await asyncio.sleep(self.random.random() * _LONGEST_LINGER)

    def reads(self, stream: EventStream[Any]) -> None:
        """Have the stream closed when it is time to stop, so that its reader goes on."""
        self._stream = stream
        if self.stopping.is_set():
            stream.close()

    def stop(self) -> None:
        """Close what it reads. `stopping` is set."""
        if self._stream is not None:
            self._stream.close()

    def leaves(self, witness: Witness | StreamWitness, kind: str) -> None:
        """Count a listener that is gone, and what it has seen."""
        self.tally["listeners that came and went"] += 1
        self.tally[f"to {kind}"] += witness.seen


Body: TypeAlias = Callable[[Actor, "Stage"], None]
AsyncBody: TypeAlias = Callable[[Actor, "Stage"], Coroutine[Any, Any, None]]


class Sender:
    """Numbers the events that one actor, or one handler, emits on one emitter."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.numbers: Counter[Kind] = Counter()
        self._serial = 0

    def make(self, kind: Kind, hops: int = 0) -> Numbered:
        """Return the next event."""
        self.numbers[kind] += 1
        self._serial += 1
        return kind(self.ident, self.numbers[kind], self._serial, hops)


class Course:
    """One event type of one emitter, and the witnesses that must see all of it."""

    def __init__(self, emitter: Emitter, kind: Kind) -> None:
        self.emitter = emitter
        self.kind = kind
        self.prompt: list[Witness] = []
        """Who has seen an event when `emit()` returns."""
        self.awaited: list[Witness] = []
        """Who has seen it when `emit_async()` returns, besides."""
        self.reading: list[Witness] = []
        """Who sees it some time later."""

    @property
    def witnesses(self) -> list[Witness]:
        """All who must see every event."""
        return [*self.prompt, *self.awaited, *self.reading]

    def slowest(self, event: Numbered) -> tuple[Witness, int]:
        """Return who is behind most, and by how many events of that sender."""
        slowest = min(self.witnesses, key=lambda each: each.last.get(event.sender, 0))
        return slowest, event.number - slowest.last.get(event.sender, 0)

    def check(self, event: Numbered, witnesses: Iterable[Witness]) -> None:
        """Note who has not seen an event yet."""
        for witness in witnesses:
            if witness.last.get(event.sender, 0) < event.number:
                witness.faults.note("not there when emit returned", f"{witness.name}: {event}")


class Senders:
    """Who emits on an emitter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Sender] = {}

    def get(self, name: str) -> Sender:
        """Return the sender of that name, which only one thread at a time may use."""
        with self._lock:
            return self._found.setdefault(name, Sender(len(self._found) + 1))

    def numbers(self, kind: Kind) -> dict[int, int]:
        """Return the last number of each sender."""
        return {each.ident: each.numbers[kind] for each in self._found.values()}

    def emitted(self, name: str) -> int:
        """Return how many events those senders have emitted whose names contain `name`."""
        return sum(each.numbers.total() for found, each in self._found.items() if name in found)


class Side:
    """An emitter, and the senders that use it."""

    def __init__(self, name: str, emitter: Emitter, kinds: Sequence[Kind]) -> None:
        self.name = name
        self.emitter = emitter
        self.courses: dict[Kind, Course] = {kind: Course(emitter, kind) for kind in kinds}
        self.maybe = Course(emitter, Maybe)
        """Not one of `courses`, as only what is not cancelled is sure to come."""
        self.senders = Senders()
        self.sender = self.senders.get


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self, name: str, faults: Faults) -> None:
        self.loop: AbstractEventLoop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self._raised(faults, context))
        self.thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self.thread.start()

    @staticmethod
    def _raised(faults: Faults, context: dict[str, Any]) -> None:
        faults.note("raised", f"{context.get('message')}: {context.get('exception')!r}")

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are there. From any thread, roughly; exactly when all is quiet."""
        return [task for task in asyncio.all_tasks(self.loop) if not task.done()]

    def stop(self, patience: float) -> None:
        """End it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(patience)
        if not self.thread.is_alive():
            self.loop.close()


# The stage, and who is on it all the time


@dataclass
class Plan:
    """How long to run what."""

    minutes: float = _MINUTES
    patience: float = _PATIENCE
    plain: type[EventEmitter[Any]] = EventEmitter
    replaying: type[ReplayEventEmitter[Any]] = ReplayEventEmitter


class Stage:
    """All emitters, and the listeners that are registered for the whole run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.faults = Faults()
        self.tally: Counter[str] = Counter()
        self.raised, self.reported = Total(), Total()
        """What handlers have raised, and what `on_error` was told."""
        self.loop_threads = [LoopThread(f"soak loop {n}", self.faults) for n in (1, 2)]
        self.loops = [each.loop for each in self.loop_threads]
        both: list[tuple[str, type[Emitter]]] = [
            ("EventEmitter", plan.plain),
            ("ReplayEventEmitter", plan.replaying),
        ]
        self.sides = [Side(name, kind(), (Tick, Tock)) for name, kind in both]
        self.ring = [Side(f"ring, {name}", kind(), (Tick,)) for name, kind in both]
        self.crossing = [Side(f"crossing, {name}", kind(), (Tick,)) for name, kind in both]
        self.yard = [kind(on_error=self._report) for _, kind in both]
        self.subscriptions: list[tuple[Emitter, Subscription[Any]]] = []
        self.streams: list[EventStream[Any]] = []
        self.readers: list[Future[None]] = []
        self.stream_witnesses: list[StreamWitness] = []
        self.faces: list[Emitter] = []

    def _report(self, failure: HandlerFailure) -> None:
        self.reported.add()
        if not isinstance(failure.error, Deliberate):
            self.faults.note("raised", f"{failure.handler}: {failure.error!r}")

    @property
    def emitters(self) -> list[Emitter]:
        """All there are."""
        sides = [*self.sides, *self.ring, *self.crossing]
        return [*(side.emitter for side in sides), *self.yard, *self.faces]

    def courses(self) -> list[tuple[Side, Course]]:
        """Return what witnesses must see all of."""
        sides = [*self.sides, *self.ring, *self.crossing]
        sure = [(side, course) for side in sides for course in side.courses.values()]
        return sure + [(side, side.maybe) for side in self.sides]

    def occupy(self) -> None:
        """Register who stays."""
        for side in self.sides:
            for course in side.courses.values():
                self._listen(side, course)
                self._read(side, course)
                self._add_echo(side, course)
            self._read_both(side)
            self._add_face(side)
            self._listen_to_maybe(side)
            for course in (*side.courses.values(), side.maybe):
                order = Order(self.faults)
                for witness in course.witnesses:
                    witness.order = order
                    order.members += 1
        self._close_ring()
        self._cross()

    def witness(self, side: Side, what: str) -> Witness:
        """Return a witness of all events."""
        return Witness(f"{side.name}: {what}", self.faults)

    def _stay(self, emitter: Emitter, subscription: Subscription[Any]) -> None:
        self.subscriptions.append((emitter, subscription))

    def _listen(self, side: Side, course: Course) -> None:
        name = course.kind.__name__
        for number in (1, 2):
            prompt = self.witness(side, f"handler {number} of {name}")
            course.prompt.append(prompt)
            self._stay(side.emitter, side.emitter.on(course.kind, prompt))
        for number, loop in enumerate(self.loops, 1):
            awaited = self.witness(side, f"coroutine handler {number} of {name}")
            course.awaited.append(awaited)
            self._stay(side.emitter, side.emitter.on(course.kind, awaited.hear, loop=loop))
        awaited = self.witness(side, f"handler of {name} on a loop")
        course.awaited.append(awaited)
        self._stay(side.emitter, side.emitter.on(course.kind, awaited, loop=self.loops[0]))

    def _read(self, side: Side, course: Course) -> None:
        """Read one event type, in a thread."""
        witness = self.witness(side, f"stream of {course.kind.__name__}")
        course.reading.append(witness)
        stream = side.emitter.stream(course.kind, maxsize=_LOSSLESS)
        self.streams.append(stream)
        self.readers.append(in_thread(witness.name, read, stream, witness))

    def _read_both(self, side: Side) -> None:
        """Read both event types, on a loop."""
        witness = StreamWitness(f"{side.name}: stream of both", self.faults)
        for kind, course in side.courses.items():
            course.reading.append(witness.kinds[kind])
        stream = side.emitter.stream(Tick, Tock, maxsize=_LOSSLESS)
        self.streams.append(stream)
        self.stream_witnesses.append(witness)
        reading = read_async(stream, witness)
        self.readers.append(asyncio.run_coroutine_threadsafe(reading, self.loops[1]))

    def _add_echo(self, side: Side, course: Course) -> None:
        """Have handlers emit events of the type they handle; those of Tick emit Tock besides."""
        kind = course.kind
        plain, on_loop = (side.sender(f"{what} of {kind.__name__}") for what in _ECHOES)
        beside = side.sender("echo as Tock")
        idents = {plain.ident, on_loop.ident, beside.ident}
        # It takes its time: who emits must not be too far ahead of it.
        witness = self.witness(side, f"echo of {kind.__name__}")
        course.awaited.append(witness)

        def echo(event: Numbered) -> None:
            if event.sender not in idents and event.number % _ECHOED == 0:
                side.emitter.emit(plain.make(kind))
                if kind is Tick:
                    side.emitter.emit(beside.make(Tock))

        async def echo_async(event: Numbered) -> None:
            witness(event)
            if event.sender not in idents and event.number % _ECHOED_ASYNC == 0:
                await side.emitter.emit_async(on_loop.make(kind))

        self._stay(side.emitter, side.emitter.on(kind, echo))
        self._stay(side.emitter, side.emitter.on(kind, echo_async, loop=self.loops[0]))

    def _add_face(self, side: Side) -> None:
        """Have another emitter follow this one, with a witness there."""
        face: Emitter = self.plan.replaying()
        self.faces.append(face)
        self._stay(face, face.follow(side.emitter, *side.courses))
        for kind, course in side.courses.items():
            witness = self.witness(side, f"follower of {kind.__name__}")
            course.prompt.append(witness)
            self._stay(face, face.on(kind, witness))

    def _listen_to_maybe(self, side: Side) -> None:
        """Have handlers make others wait; what one of them sees the others see."""
        course = side.maybe
        names = ("handler of Maybe", "coroutine handler 1 of Maybe", "coroutine handler 2 of Maybe")
        witnesses = [Witness(f"{side.name}: {name}", self.faults, gaps=True) for name in names]
        course.prompt += witnesses[:1]
        course.awaited += witnesses[1:]

        def hesitate(event: Numbered) -> None:
            witnesses[0](event)
            time.sleep(0.0002)

        self._stay(side.emitter, side.emitter.on(Maybe, hesitate))
        for witness, loop in zip(course.awaited, self.loops, strict=True):
            self._stay(side.emitter, side.emitter.on(Maybe, witness.hear, loop=loop))

    def _close_ring(self) -> None:
        """Have two emitters follow each other: what one emits both emit, once."""
        for side in self.ring:
            witness = self.witness(side, "handler")
            side.courses[Tick].prompt.append(witness)
            self._stay(side.emitter, side.emitter.on(Tick, witness))
        one, other = (side.emitter for side in self.ring)
        self._stay(one, one.follow(other, Tick))
        self._stay(other, other.follow(one, Tick))
        self.ring[1].senders = self.ring[0].senders
        self.ring[1].sender = self.ring[0].sender

    def _cross(self) -> None:
        """Have the handlers of two emitters emit on each other, from both ends."""
        for side, other in zip(self.crossing, self.crossing[::-1], strict=True):
            witness = self.witness(side, "handler")
            side.courses[Tick].prompt.append(witness)
            self._stay(side.emitter, side.emitter.on(Tick, witness))
            self._stay(side.emitter, side.emitter.on(Tick, partial(_hop, other)))


def _hop(other: Side, event: Numbered) -> None:
    if event.hops:
        other.emitter.emit(other.sender("hop").make(Tick, event.hops - 1))


def read(stream: EventStream[Any], witness: Callable[[Numbered], None]) -> None:
    """Read to the end, in a thread."""
    for event in stream:
        witness(event)


async def read_async(stream: EventStream[Any], witness: Callable[[Numbered], None]) -> None:
    """Read to the end, in a task that loses its patience now and then."""
    while True:
        try:
            witness(await asyncio.wait_for(anext(stream), 0.01))
        except TimeoutError:
            continue
        except StopAsyncIteration:
            return


def in_thread(name: str, function: Callable[..., None], *arguments: object) -> Future[None]:
    """Call a function in a thread of its own; return a future of its end."""
    future: Future[None] = Future()

    def work() -> None:
        try:
            function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=work, name=f"soak {name}", daemon=True).start()
    return future


# Who emits


def emit(actor: Actor, stage: Stage) -> None:
    """Emit in a thread."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        course = side.courses[actor.random.choice((Tick, Tock))]
        event = side.sender(actor.name).make(course.kind)
        side.emitter.emit(event)
        course.check(event, course.prompt)
        actor.tally["by emit"] += 1
        while actor.waits(course, event):
            time.sleep(0.001)


def emit_nowait(actor: Actor, stage: Stage) -> None:
    """Emit in a thread, without waiting for others."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        course = side.courses[actor.random.choice((Tick, Tock))]
        event = side.sender(actor.name).make(course.kind)
        side.emitter.emit_nowait(event)
        actor.tally["by emit_nowait"] += 1
        while actor.waits(course, event):
            time.sleep(0.001)


async def emit_async(actor: Actor, stage: Stage) -> None:
    """Emit in a task, mostly with `emit_async`."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        course = side.courses[actor.random.choice((Tick, Tock))]
        event = side.sender(actor.name).make(course.kind)
        way = actor.random.choice(("emit", "emit_nowait", "emit_async", "emit_async"))
        if way == "emit_async":
            await side.emitter.emit_async(event)
            course.check(event, [*course.prompt, *course.awaited])
        elif way == "emit":
            side.emitter.emit(event)
        else:
            side.emitter.emit_nowait(event)
        actor.tally[f"by {way}"] += 1
        await asyncio.sleep(0)
        while actor.waits(course, event):  # noqa: ASYNC110 - witnesses set no event
            await asyncio.sleep(0.001)


async def emit_and_cancel(actor: Actor, stage: Stage) -> None:
    """Cancel what waits in `emit_async`: for its turn, or for handlers."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        event = side.sender(actor.name).make(Maybe)
        task = asyncio.ensure_future(side.emitter.emit_async(event))
        await asyncio.sleep(actor.random.choice((0, 0.0001, 0.001)))
        task.cancel()
        await asyncio.wait([task])
        actor.tally["emit_async cancelled" if task.cancelled() else "by emit_async"] += 1
        if not task.cancelled():
            task.result()
            side.maybe.check(event, side.maybe.witnesses)


def emit_maybe(actor: Actor, stage: Stage) -> None:
    """Compete with those that are cancelled, for their turn."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        event = side.sender(actor.name).make(Maybe)
        side.emitter.emit(event)
        side.maybe.check(event, side.maybe.prompt)
        actor.tally["by emit"] += 1
        while actor.waits(side.maybe, event):
            time.sleep(0.001)


def ring_round(actor: Actor, stage: Stage) -> None:
    """Emit on either emitter of the ring; each emits all of it once."""
    side = stage.ring[0 if actor.name.endswith("1") else 1]
    while actor.go_on():
        side.emitter.emit(side.sender(actor.name).make(Tick))
        actor.tally["by emit"] += 1
        actor.linger()


def _remove_other(pair: list[Subscription[Any]], which: int, _: Numbered) -> None:
    if len(pair) == 2:  # noqa: PLR2004 - both are registered
        pair[which].off_and_wait()


def cross(actor: Actor, stage: Stage) -> None:
    """Emit what crosses over, while two handlers remove each other and wait for each other."""
    here, there = stage.crossing if actor.name.endswith("1") else stage.crossing[::-1]
    while actor.go_on():
        pair: list[Subscription[Any]] = []
        pair.append(here.emitter.on(Tick, partial(_remove_other, pair, 1)))
        pair.append(there.emitter.on(Tick, partial(_remove_other, pair, 0)))
        here.emitter.emit(here.sender(actor.name).make(Tick, _HOPS))
        actor.tally["by emit"] += 1
        for subscription in pair:
            subscription.off_and_wait()
            stage.faults.unless(not subscription.active, "removed, and active")
        actor.tally["listeners that came and went"] += len(pair)
        pair.clear()
        actor.linger()


# Who listens for a while


def _enter(
    actor: Actor, stage: Stage, emitter: Emitter, kind: Kind, witness: Witness
) -> tuple[Subscription[Any], Callable[[Any], object], str]:
    """Register in one of the ways there are."""
    loop = actor.random.choice(stage.loops)
    way = actor.random.randrange(5)
    handler: Callable[[Any], object] = witness
    if way == 0:
        return emitter.on(kind, handler), handler, "handlers"
    if way == 1:
        emitter.on(kind)(handler)
        found = (each for each in emitter.listeners(kind) if each.handler is handler)
        return next(found), handler, "handlers"
    if way == 2:  # noqa: PLR2004 - the third way
        return emitter.on(kind, handler, loop=loop), handler, "handlers on loops"
    handler = witness.hear if way == 3 else partial(witness.hear)  # noqa: PLR2004
    return emitter.on(kind, handler, loop=loop), handler, "coroutine handlers"


def _leave(
    actor: Actor, emitter: Emitter, subscription: Subscription[Any], handler: Any
) -> bool | None:
    """Remove a listener in one of the ways there are; return what that said, or None."""
    match actor.random.randrange(4):
        case 0:
            return subscription.off()
        case 1:
            return emitter.off(subscription)
        case 2:
            return emitter.off(subscription.event_type, handler)
        case _:
            with subscription:
                return None


def _check_gone(
    stage: Stage, emitter: Emitter, kind: Kind, subscription: Subscription[Any]
) -> None:
    if subscription.active or subscription in emitter.listeners(kind):
        stage.faults.note("left registered", f"after off: {subscription}")
    else:
        stage.faults.unless(subscription.off() is False, "off() of what is removed was not False")


def come_and_go(actor: Actor, stage: Stage) -> None:
    """Listen for a while, from a thread."""
    while actor.go_on():
        emitter = actor.random.choice(stage.sides).emitter
        kind = actor.random.choice((Tick, Tock))
        witness = Witness(actor.name, stage.faults, late=True)
        subscription, handler, way = _enter(actor, stage, emitter, kind, witness)
        actor.linger()
        if actor.random.random() < 0.5:  # noqa: PLR2004 - in half of the cases
            said = _leave(actor, emitter, subscription, handler)
            stage.faults.unless(said is not False, "off() removed nothing")
        else:
            if actor.random.random() < 0.5:  # noqa: PLR2004
                waited = emitter.off_and_wait(subscription)
            else:
                waited = subscription.off_and_wait(stage.plan.patience)
            witness.gone = True
            stage.faults.unless(waited, f"off_and_wait() of {way} gave up")
        _check_gone(stage, emitter, kind, subscription)
        witness.finish()
        actor.leaves(witness, way)


async def come_and_go_async(actor: Actor, stage: Stage) -> None:
    """Listen for a while, from a task."""
    while actor.go_on():
        emitter = actor.random.choice(stage.sides).emitter
        kind = actor.random.choice((Tick, Tock))
        witness = Witness(actor.name, stage.faults, late=True)
        subscription, handler, way = _enter(actor, stage, emitter, kind, witness)
        await actor.linger_async()
        choice = actor.random.randrange(3)
        if choice == 0:
            said = _leave(actor, emitter, subscription, handler)
            stage.faults.unless(said is not False, "off() removed nothing")
        elif choice == 1:
            # Says False where the handler is under way on this very loop, but never hangs.
            witness.gone = subscription.off_and_wait()
        else:
            witness.gone = await subscription.off_and_wait_async()
            stage.faults.unless(witness.gone, f"off_and_wait_async() of {way} gave up")
        _check_gone(stage, emitter, kind, subscription)
        witness.finish()
        actor.leaves(witness, way)


def _check_once(stage: Stage, witness: Witness, removed: bool, name: str) -> None:  # noqa: FBT001
    """Check that a once-handler that is through was called once, or removed before."""
    expected = 0 if removed else 1
    if witness.seen > expected:
        stage.faults.note("twice", f"{name}: {witness.seen} calls, removed before: {removed}")
    if witness.seen < expected:
        stage.faults.note("lost", f"{name}: neither called nor removed")


def listen_once(actor: Actor, stage: Stage) -> None:
    """Listen once, from a thread."""
    while actor.go_on():
        emitter = actor.random.choice(stage.sides).emitter
        kind = actor.random.choice((Tick, Tock))
        witness = Witness(actor.name, stage.faults, late=True)
        loop = actor.random.choice((None, *stage.loops))
        handler = witness if loop is None else actor.random.choice((witness, witness.hear))
        subscription = emitter.once(kind, handler, loop=loop)
        actor.linger()
        removed = subscription.off()
        witness.gone = subscription.off_and_wait()
        stage.faults.unless(witness.gone, "off_and_wait() of a once-handler gave up")
        _check_once(stage, witness, removed, actor.name)
        actor.leaves(witness, "once-handlers")


async def listen_once_async(actor: Actor, stage: Stage) -> None:
    """Listen once, from a task."""
    while actor.go_on():
        emitter = actor.random.choice(stage.sides).emitter
        kind = actor.random.choice((Tick, Tock))
        witness = Witness(actor.name, stage.faults, late=True)
        subscription = emitter.once(kind, witness.hear)
        await actor.linger_async()
        removed = emitter.off(subscription)
        witness.gone = await subscription.off_and_wait_async()
        stage.faults.unless(witness.gone, "off_and_wait_async() of a once-handler gave up")
        _check_once(stage, witness, removed, actor.name)
        actor.leaves(witness, "once-handlers")


# Who expects


def expect(actor: Actor, stage: Stage) -> None:
    """Wait for events in a thread."""
    scenes = (_expect_call, _expect_never, _expect_tick, _expect_either, _expect_failing)
    while actor.go_on():
        actor.random.choice(scenes)(actor, stage, actor.random.choice(stage.sides))
        actor.tally["listeners that came and went"] += 1


def _expect_call(actor: Actor, stage: Stage, side: Side) -> None:
    call = side.sender(actor.name).make(Call)
    with side.emitter.expect(Call, where=lambda event: event is call) as expectation:
        if actor.random.random() < 0.5:  # noqa: PLR2004
            side.emitter.emit(call)
            actor.tally["by emit"] += 1
            patience = 0.0
        else:
            side.emitter.emit_nowait(call)
            actor.tally["by emit_nowait"] += 1
            patience = stage.plan.patience
        try:
            stage.faults.unless(expectation.result(patience) is call, "another event")
            actor.tally["to expectations"] += 1
        except TimeoutError:
            stage.faults.note("lost", f"expected: {call}")


def _expect_never(actor: Actor, stage: Stage, side: Side) -> None:
    with side.emitter.expect(Never) as expectation:
        try:
            event = expectation.result(actor.random.choice((0, 0.001)))
            stage.faults.unless(False, f"{event} came of nothing")  # noqa: FBT003
        except TimeoutError:
            pass
    stage.faults.unless(expectation.cancelled(), "left, and not cancelled")


def _expect_tick(actor: Actor, stage: Stage, side: Side) -> None:
    chosen = Total()

    def where(event: Numbered) -> bool:
        if event.number % 5:
            return False
        chosen.add()
        return True

    with side.emitter.expect(Tick, where=where) as expectation:
        try:
            event = expectation.result(0.005)
            stage.faults.unless(not event.number % 5, f"{event} was not wanted")
            actor.tally["to expectations"] += 1
        except TimeoutError:
            pass
    if chosen.value > 1:
        stage.faults.note("twice", f"a predicate said yes {chosen.value} times")


def _expect_either(actor: Actor, stage: Stage, side: Side) -> None:
    futures = [side.emitter.expect(kind) for kind in (Tick, Tock, Never)]
    done, _ = concurrent.futures.wait(futures, 0.005, concurrent.futures.FIRST_COMPLETED)
    actor.tally["to expectations"] += len(done)
    for future in futures:
        future.cancel()
    stage.faults.unless(futures[2].cancelled(), "cancelled, and is not")


def _expect_failing(actor: Actor, stage: Stage, side: Side) -> None:
    def where(_: Numbered) -> bool:
        raise Deliberate

    call = side.sender(actor.name).make(Call)
    expectation = side.emitter.expect(Call, where=where)
    side.emitter.emit(call)
    stage.faults.unless(isinstance(expectation.exception(0), Deliberate), "did not fail")


async def expect_async(actor: Actor, stage: Stage) -> None:
    """Wait for events in a task."""
    scenes = (_await_call, _await_never, _await_tick, _await_two, _await_cancelled)
    while actor.go_on():
        await actor.random.choice(scenes)(actor, stage, actor.random.choice(stage.sides))
        actor.tally["listeners that came and went"] += 1
        await asyncio.sleep(0)


async def _await_call(actor: Actor, stage: Stage, side: Side) -> None:
    call = side.sender(actor.name).make(Call)
    with side.emitter.expect(Call, where=lambda event: event is call) as expectation:
        await side.emitter.emit_async(call)
        actor.tally["by emit_async"] += 1
        stage.faults.unless(expectation.done(), "emitted, and not done")
        try:
            event = await asyncio.wait_for(expectation, stage.plan.patience)
            stage.faults.unless(event is call, "another event")
            actor.tally["to expectations"] += 1
        except TimeoutError:
            stage.faults.note("lost", f"awaited: {call}")


async def _await_never(actor: Actor, stage: Stage, side: Side) -> None:
    expectation = side.emitter.expect(Never)
    try:
        if actor.random.random() < 0.5:  # noqa: PLR2004
            await asyncio.wait_for(expectation, 0.001)
        else:
            async with asyncio.timeout(0.001):
                await expectation
        stage.faults.unless(False, "it came of nothing")  # noqa: FBT003
    except TimeoutError:
        pass
    stage.faults.unless(expectation.cancelled(), "timed out, and not cancelled")


async def _await_tick(actor: Actor, stage: Stage, side: Side) -> None:
    expectation = side.emitter.expect(Tick, where=lambda event: not event.number % 5)
    try:
        event = await asyncio.wait_for(expectation, 0.005)
        stage.faults.unless(not event.number % 5, f"{event} was not wanted")
        actor.tally["to expectations"] += 1
    except TimeoutError:
        pass
    stage.faults.unless(expectation.done(), "timed out, and not done")


async def _await_two(actor: Actor, stage: Stage, side: Side) -> None:
    with side.emitter.expect(Tick) as tick, side.emitter.expect(Tock) as tock:
        try:
            async with asyncio.timeout(0.01):
                events = await asyncio.gather(tick, tock, tick)
            stage.faults.unless(events[0] is events[2], "two results of one expectation")
            actor.tally["to expectations"] += 2
        except TimeoutError:
            pass


async def _await_cancelled(actor: Actor, stage: Stage, side: Side) -> None:
    expectation = side.emitter.expect(Never)

    async def wait() -> None:
        await expectation

    tasks = [asyncio.ensure_future(wait()) for _ in (1, 2)]
    await actor.linger_async()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    stage.faults.unless(all(task.cancelled() for task in tasks), "cancelled, and went on")
    stage.faults.unless(expectation.cancelled(), "nobody waits, and it is not cancelled")


# Who reads, follows, looks


def _open(actor: Actor, emitter: Emitter) -> tuple[EventStream[Any], str]:
    overflow: Overflow = actor.random.choice(_POLICIES)
    kinds: tuple[Kind, ...] = actor.random.choice(((Tick,), (Tick, Tock), (Tock, Tick, Tock)))
    size = actor.random.choice((1, 8, 64))
    return emitter.stream(*kinds, maxsize=size, overflow=overflow), overflow


def _check_stream(
    stage: Stage, stream: EventStream[Any], overflow: str, witness: StreamWitness, *, broke: bool
) -> None:
    """Check a stream that is read to its end."""
    witness.finish(0 if overflow == "raise" else stream.dropped)
    stage.faults.unless(broke == (overflow == "raise" and stream.dropped > 0), "wrong overflow")
    stage.faults.unless(next(stream, None) is None, "an event after the last")


def read_a_while(actor: Actor, stage: Stage) -> None:
    """Read a little of a small stream, in a thread."""
    while actor.go_on():
        stream, overflow = _open(actor, actor.random.choice(stage.sides).emitter)
        witness = StreamWitness(f"{actor.name}, {overflow}", stage.faults, late=True, gaps=True)
        actor.reads(stream)
        wanted = actor.random.randrange(1, 30)
        broke = False
        try:
            for event in stream:
                witness(event)
                if witness.seen == wanted:
                    actor.linger()  # in which it may overflow
                    stream.close()
        except StreamOverflow:
            broke = True
        _check_stream(stage, stream, overflow, witness, broke=broke)
        actor.leaves(witness, "streams")


async def read_a_while_async(actor: Actor, stage: Stage) -> None:
    """Read a little of a small stream, in a task that loses its patience now and then."""
    while actor.go_on():
        stream, overflow = _open(actor, actor.random.choice(stage.sides).emitter)
        witness = StreamWitness(f"{actor.name}, {overflow}", stage.faults, late=True, gaps=True)
        actor.reads(stream)
        wanted = actor.random.randrange(1, 30)
        broke = False
        try:
            while witness.seen < wanted and not actor.stopping.is_set():
                try:
                    witness(await asyncio.wait_for(anext(stream), 0.002))
                except TimeoutError:
                    await actor.linger_async()
            stream.close()
            async for event in stream:
                witness(event)
        except StopAsyncIteration:
            pass
        except StreamOverflow:
            broke = True
        _check_stream(stage, stream, overflow, witness, broke=broke)
        actor.leaves(witness, "streams")


def follow(actor: Actor, stage: Stage) -> None:
    """Have a short-lived emitter follow another."""
    while actor.go_on():
        side = actor.random.choice(stage.sides)
        face = actor.random.choice((stage.plan.plain, stage.plan.replaying))()
        witness = Witness(actor.name, stage.faults, late=True)
        early = actor.random.random() < 0.5  # noqa: PLR2004
        if early:
            face.on(Tick, witness)
        following = face.follow(side.emitter, Tick, Tock)
        if not early:
            face.on(Tick, witness)
        actor.linger()
        if early:
            witness.gone = following.off_and_wait()
        else:
            witness.gone = face.remove_all_listeners_and_wait()
        stage.faults.unless(witness.gone, "off_and_wait() of a follower gave up")
        following.off()
        stage.faults.unless(not following.active, "a follower is removed, and active")
        witness.finish()
        actor.leaves(witness, "followers")


def look_back(actor: Actor, stage: Stage) -> None:
    """Look at the latest event, replay it, and forget it."""
    side = stage.sides[1]
    emitter = side.emitter
    if not isinstance(emitter, ReplayEventEmitter):
        raise TypeError(emitter)
    rising: dict[int, int] = {}
    while actor.go_on():
        tick = emitter.latest(Tick)
        if tick is not None:
            stage.faults.unless(rising.get(tick.sender, 0) <= tick.number, "latest() went back")
            rising[tick.sender] = tick.number
        note = side.sender(actor.name).make(Note)
        emitter.emit(note)
        actor.tally["by emit"] += 1
        stage.faults.unless(emitter.latest(Note) is note, "latest() is another")
        witness = Witness(actor.name, stage.faults, late=True)
        with emitter.on(Note, witness):
            stage.faults.unless(witness.seen == 1, f"replayed {witness.seen} times")
        emitter.forget(actor.random.choice((Note, None)))
        stage.faults.unless(emitter.latest(Note) is None, "forgotten, and there")
        stage.faults.unless(emitter.expect(Note).cancel(), "forgotten, and replayed")
        actor.leaves(witness, "replays")
        actor.linger()


# The yard, where everybody is sent away now and then


def stir(actor: Actor, stage: Stage) -> None:
    """Emit in the yard."""
    senders = [Sender(1), Sender(2)]
    while actor.go_on():
        for sender, emitter in zip(senders, stage.yard, strict=True):
            emitter.emit(sender.make(actor.random.choice((Tick, Tock))))
            emitter.emit_nowait(sender.make(actor.random.choice((Tick, Tock))))
        actor.tally["by emit"] += 2
        actor.tally["by emit_nowait"] += 2
        actor.linger()


def clear_out(actor: Actor, stage: Stage) -> None:
    """Register in many ways in the yard, then send all away."""
    while actor.go_on():
        emitter = actor.random.choice(stage.yard)
        witnesses = [Witness(f"yard {n}", stage.faults, late=True) for n in range(3)]
        subscriptions: list[Subscription[Any]] = [
            emitter.on(Tick, witnesses[0]),
            emitter.on(Tock, witnesses[1].hear, loop=actor.random.choice(stage.loops)),
            emitter.once(Tick, witnesses[2]),
            emitter.on(Tick, partial(_raise, stage)),
            emitter.on(Tock, partial(_raise_async, stage), loop=actor.random.choice(stage.loops)),
        ]
        expectation = emitter.expect(Never)
        stream = emitter.stream(Tick, Tock, maxsize=8, overflow="drop_oldest")
        actor.linger()
        _send_away(actor, stage, emitter, witnesses)
        for subscription in subscriptions:
            stage.faults.unless(not subscription.active, "sent away, and active")
        stage.faults.unless(expectation.cancelled(), "sent away, and not cancelled")
        for _ in stream:  # which ends
            actor.tally["to streams"] += 1
        for witness in witnesses:
            actor.leaves(witness, "handlers in the yard")
        actor.tally["listeners that came and went"] += 4


def _send_away(actor: Actor, stage: Stage, emitter: Emitter, witnesses: Sequence[Witness]) -> None:
    match actor.random.randrange(3):
        case 0:
            emitter.remove_all_listeners()
        case 1:
            for kind in KINDS:
                emitter.remove_all_listeners(kind)
        case _:
            waited = emitter.remove_all_listeners_and_wait()
            stage.faults.unless(waited, "remove_all_listeners_and_wait() gave up")
            for witness in witnesses:
                witness.gone = waited


def _raise(stage: Stage, _: Numbered) -> None:
    stage.raised.add()
    raise Deliberate


async def _raise_async(stage: Stage, _: Numbered) -> None:
    stage.raised.add()
    raise Deliberate


async def _leave_oneself(stage: Stage, own: list[Subscription[Any]], _: Numbered) -> None:
    waited = await own[0].off_and_wait_async()
    stage.faults.unless(waited is False, "a handler waited for its own end")


async def visit(actor: Actor, stage: Stage) -> None:
    """Register a handler in the yard that removes itself, and waits for itself."""
    while actor.go_on():
        emitter = actor.random.choice(stage.yard)
        own: list[Subscription[Any]] = []
        own.append(emitter.on(Tick, partial(_leave_oneself, stage, own)))
        await actor.linger_async()
        over = await own[0].off_and_wait_async()
        stage.faults.unless(over, "off_and_wait_async() in the yard gave up")
        actor.tally["listeners that came and went"] += 1


# The run

_THREADS: Final[tuple[tuple[str, Body], ...]] = (
    ("emit 1", emit),
    ("emit 2", emit),
    ("emit_nowait", emit_nowait),
    ("emit, competing", emit_maybe),
    ("ring 1", ring_round),
    ("ring 2", ring_round),
    ("cross 1", cross),
    ("cross 2", cross),
    ("come and go 1", come_and_go),
    ("come and go 2", come_and_go),
    ("once", listen_once),
    ("expect", expect),
    ("read", read_a_while),
    ("follow", follow),
    ("look back", look_back),
    ("stir", stir),
    ("clear out", clear_out),
)
_TASKS: Final[tuple[tuple[str, AsyncBody], ...]] = (
    ("emit_async 1", emit_async),
    ("emit_async 2", emit_async),
    ("emit_async 3", emit_async),
    ("emit and cancel", emit_and_cancel),
    ("come and go", come_and_go_async),
    ("once", listen_once_async),
    ("expect", expect_async),
    ("read", read_a_while_async),
    ("visit", visit),
)


@dataclass
class Report:
    """What came of a run."""

    faults: Faults
    seconds: float = 0.0
    tally: Counter[str] = field(default_factory=Counter[str])
    memory: list[int] = field(default_factory=list[int])
    """Bytes after the warm-up and at the end."""
    interrupted: bool = False


class Run:
    """One soak from its beginning to its end."""

    def __init__(self, plan: Plan, pause: Pause, step: Callable[[], object]) -> None:
        self.plan = plan
        self.threads = set(threading.enumerate())
        self.stage = Stage(plan)
        self.report = Report(self.stage.faults, tally=self.stage.tally)
        self._pause = pause
        self._step = step
        self._started = time.monotonic()
        self._stepped = 0
        self._actors: list[Actor] = []

    def go(self) -> None:
        """Warm up for a quarter of the time, take the rest, and look whether all is as it was."""
        seconds = self.plan.minutes * 60
        self.stage.occupy()
        try:
            for part in (0.25, 0.75):
                if not self.report.interrupted:
                    self._act(part * seconds)
                    self._settle()
                    self.report.memory.append(memory_in_use())
            self._end()
        except Stuck as stuck:
            self.stage.faults.note("stuck", str(stuck))
        finally:
            self.report.seconds = time.monotonic() - self._started

    def _act(self, seconds: float) -> None:
        """Have all actors act for so long."""
        stopping = threading.Event()
        self._actors = [*self._start_threads(stopping), *self._start_tasks(stopping)]
        end = time.monotonic() + seconds
        seen: dict[Actor, tuple[int, float]] = {}
        try:
            while not self.report.interrupted and (now := time.monotonic()) < end:
                self._glance(seen, now)
        finally:
            self._stop(stopping)
        while not all(actor.done.done() for actor in self._actors):
            self._glance(seen, time.monotonic())
        for actor in self._actors:
            self._tell(actor.name, actor.done)
            self.stage.tally += actor.tally

    def _stop(self, stopping: threading.Event) -> None:
        stopping.set()
        for actor in self._actors:
            actor.stop()

    def _start_threads(self, stopping: threading.Event) -> list[Actor]:
        actors = [Actor(name, stopping) for name, _ in _THREADS]
        for actor, (name, body) in zip(actors, _THREADS, strict=True):
            actor.done = in_thread(name, body, actor, self.stage)
        return actors

    def _start_tasks(self, stopping: threading.Event) -> list[Actor]:
        actors: list[Actor] = []
        for number, loop in enumerate(self.stage.loops, 1):
            for name, body in _TASKS:
                actor = Actor(f"{name} on loop {number}", stopping)
                acting = body(actor, self.stage)
                actor.done = asyncio.run_coroutine_threadsafe(acting, loop)
                actors.append(actor)
        return actors

    def _glance(self, seen: dict[Actor, tuple[int, float]], now: float) -> None:
        """Wait a little; raise Stuck if an actor has not made a step for too long."""
        self._wait_a_little()
        for actor in self._actors:
            steps, since = seen.get(actor, (-1, now))
            if steps != actor.steps or actor.done.done():
                seen[actor] = (actor.steps, now)
            elif now - since > self.plan.patience:
                self._stuck(f"{actor.name} has made no step for {self.plan.patience:g} s")

    def _stuck(self, what: str) -> NoReturn:
        """Show what everybody is at, before any of them is told to stop."""
        print_stacks(self.stage)
        raise Stuck(what)

    def _wait_a_little(self) -> None:
        """Take note of Ctrl-C, and move the bar."""
        try:
            self._pause(_GLANCE)
        except KeyboardInterrupt:
            if self.report.interrupted:
                raise
            self.report.interrupted = True
        while time.monotonic() - self._started > self._stepped + 1:
            self._stepped += 1
            self._step()

    def _until(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait until something is reached; raise Stuck if that takes too long."""
        end = time.monotonic() + self.plan.patience
        while not reached():
            if time.monotonic() > end:
                self._stuck(what)
            self._wait_a_little()

    def _finish(self, what: str, future: Future[None]) -> None:
        self._until(what, future.done)
        self._tell(what, future)

    def _tell(self, what: str, future: Future[None]) -> None:
        error = future.exception(0)
        if error is not None:
            trace = "".join(traceback.format_exception(error, limit=-6))
            self.stage.faults.note("raised", f"{what}: {trace}")

    # Between the acts, and at the end

    def _settle(self) -> None:
        """Wait until all that was emitted is handled; no turn may be left taken."""
        for side, course in self.stage.courses():
            sender = side.sender("closing")
            closing = in_thread("closing", self._close, sender, course)
            try:
                self._finish(f"a last emit of {course.kind.__name__} on {side.name}", closing)
            except Stuck:
                self.stage.faults.note("turns left taken", side.name)
                raise
            for loop in self.stage.loops:
                event = sender.make(course.kind)
                emitting = course.emitter.emit_async(event)
                future = asyncio.run_coroutine_threadsafe(emitting, loop)
                self._finish(f"a last emit_async on {side.name}", future)
                self._drain(course, event)

    def _close(self, sender: Sender, course: Course) -> None:
        event = sender.make(course.kind)
        course.emitter.emit(event)
        for witness in course.prompt:
            if witness.last.get(sender.ident) != event.number:
                self.stage.faults.note("turns left taken", f"{witness.name}: not called at the end")

    def _drain(self, course: Course, event: Numbered) -> None:
        """Wait for those who read; what does not come is found to be lost later."""
        end = time.monotonic() + min(self.plan.patience / 4, 5)
        while course.slowest(event)[1] and time.monotonic() < end:
            self._wait_a_little()

    def _end(self) -> None:
        """Send away who stayed, and look whether anything is left."""
        for stream in self.stage.streams:
            stream.close()
        for reader in self.stage.readers:
            self._finish("a reader of a closed stream", reader)
        self._finish("removing who stayed", in_thread("removing", self._remove))
        for side, course in self.stage.courses():
            for witness in course.witnesses:
                witness.finish(side.senders.numbers(course.kind))
        self._count_steady()
        self._look_for_leftovers()
        self._compare_memory()

    def _remove(self) -> None:
        for number, (emitter, subscription) in enumerate(self.stage.subscriptions):
            way = (subscription.off_and_wait, partial(emitter.off_and_wait, subscription))
            self.stage.faults.unless(way[number % 2](), "off_and_wait() at the end gave up")

    def _count_steady(self) -> None:
        tally = self.stage.tally
        for _, course in self.stage.courses():
            tally["to handlers"] += sum(each.seen for each in course.prompt)
            for each in course.awaited:
                way = "handlers on loops" if "on a loop" in each.name else "coroutine handlers"
                tally[f"to {way}"] += each.seen
            tally["to streams"] += sum(each.seen for each in course.reading)
        for side in [*self.stage.sides, *self.stage.crossing]:
            tally["by emit in handlers"] += side.senders.emitted(_ECHOES[0])
            tally["by emit in handlers"] += side.senders.emitted("echo as Tock")
            tally["by emit in handlers"] += side.senders.emitted("hop")
            tally["by emit_async in handlers"] += side.senders.emitted(_ECHOES[1])

    def _look_for_leftovers(self) -> None:
        stage = self.stage
        for emitter in stage.emitters:
            left = sum(emitter.listener_count(kind) for kind in KINDS)
            found = [each for kind in KINDS for each in emitter.listeners(kind)]
            if left or found or emitter.event_types():
                story = f"{type(emitter).__name__}: {found[:3]} of {emitter.event_types()}"
                stage.faults.note("left registered", story, max(left, len(found), 1))
        stage.faults.unless(
            stage.raised.value == stage.reported.value,
            f"{stage.raised.value} handlers raised, on_error got {stage.reported.value}",
        )
        for each in stage.loop_threads:
            self._until_no_task(each)
            each.stop(self.plan.patience)
        left_threads = set(threading.enumerate()) - self.threads
        for thread in left_threads:
            thread.join(min(1.0, self.plan.patience))
            if thread.is_alive():
                stage.faults.note("threads left", thread.name)

    def _until_no_task(self, loop_thread: LoopThread) -> None:
        end = time.monotonic() + min(1.0, self.plan.patience)
        while (tasks := loop_thread.tasks()) and time.monotonic() < end:
            self._wait_a_little()
        if tasks:
            self.stage.faults.note("tasks left", repr(tasks[:3]), len(tasks))

    def _compare_memory(self) -> None:
        before, after = self.report.memory[0], self.report.memory[-1]
        if after - before > _GROWTH_ALLOWED:
            story = f"by {after - before:,} bytes; {_GROWTH_ALLOWED:,} are allowed"
            self.stage.faults.note("memory grew", story)


def memory_in_use() -> int:
    """Return how many bytes Python objects take up."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def print_stacks(stage: Stage) -> None:
    """Print what every thread and every task is at."""
    print("stuck", file=sys.stderr, flush=True)
    try:
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
    except (io.UnsupportedOperation, AttributeError):  # standard error is no file
        with tempfile.TemporaryFile("w+") as stacks:
            faulthandler.dump_traceback(stacks, all_threads=True)
            stacks.seek(0)
            print(stacks.read(), file=sys.stderr)
    for loop in stage.loops:
        for task in asyncio.all_tasks(loop):
            task.print_stack(file=sys.stderr)


@contextmanager
def traced_memory() -> Generator[None]:
    """Have Python take note of every allocation."""
    before = tracemalloc.is_tracing()
    if not before:
        tracemalloc.start()
    try:
        yield
    finally:
        if not before:
            tracemalloc.stop()


def soak(plan: Plan, pause: Pause, step: Callable[[], object] = lambda: None) -> Report:
    """Run; whatever is wrong is in the report. If Ctrl-C ended it early, the report says so."""
    with traced_memory():
        run = Run(plan, pause, step)
        run.go()
    return run.report


# The command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `soak` can be told."""
    group = parser.add_argument_group("soak", "whether all holds when everything is used at once")
    group.add_argument(
        "--minutes",
        type=_positive,
        metavar="M",
        help=f"how long (default: {_MINUTES:g}, quick: {_QUICK_MINUTES:g})",
    )


def run(options: argparse.Namespace, pause: Pause) -> int:
    """Run, print what happened, and return 1 if anything was wrong."""
    minutes: float = options.minutes or (_QUICK_MINUTES if options.quick else _MINUTES)
    plan = Plan(minutes, _PATIENCE, EventEmitter, ReplayEventEmitter)
    print(
        f"soak: {minutes:g} minutes, {len(_THREADS)} threads that act,"
        f" {len(_TASKS)} tasks on each of two event loops",
        flush=True,
    )
    with progress("soak", math.ceil(minutes * 60), "seconds") as step:
        report = soak(plan, pause, step)
    print(table(report), flush=True)
    if report.interrupted:
        raise KeyboardInterrupt
    return 1 if report.faults.counts else 0


def table(report: Report) -> str:
    """Return the report as people read it."""
    rows: list[tuple[str, str]] = [("minutes", f"{report.seconds / 60:.2f}")]
    for title, beginning in (("events emitted", "by "), ("events delivered", "to ")):
        found = {key: n for key, n in report.tally.items() if key.startswith(beginning)}
        rows += [("", ""), (title, f"{sum(found.values()):,}")]
        rows += [(f"  {key}", f"{found[key]:,}") for key in sorted(found)]
    others = ("listeners that came and went", "emit_async cancelled")
    rows += [("", ""), *((key, f"{report.tally[key]:,}") for key in others), ("", "")]
    rows += [(kind, f"{report.faults.counts[kind]:,}") for kind in FAULT_KINDS]
    rows += [("", ""), *_memory_rows(report.memory)]
    lines = [f"{name:32}{value:>16}".rstrip() for name, value in rows]
    for kind, stories in report.faults.stories.items():
        lines += ["", *(f"{kind}: {story}" for story in stories)]
    return "\n".join(lines)


def _memory_rows(memory: Sequence[int]) -> list[tuple[str, str]]:
    texts = [f"{size / 1024:,.0f} KiB" for size in memory] + ["-"] * (2 - len(memory))
    ratio = f"{memory[1] / memory[0]:.3f}" if len(memory) > 1 else "-"
    return [
        ("memory at 25 %", texts[0]),
        ("memory at the end", texts[1]),
        ("  ratio", ratio),
        ("  growth allowed", f"{_GROWTH_ALLOWED / 1024:,.0f} KiB"),
    ]


def _positive(text: str) -> float:
    message = f"{text!r} is not a number of minutes above 0"
    try:
        minutes = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not 0 < minutes < math.inf:  # so also if it is not a number
        raise argparse.ArgumentTypeError(message)
    return minutes
