"""Scenarios for the explorer: threads against each other, and what must hold in every order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from explorer import Event, pause
from support import Ping, Pong, assert_idle, channel_of

from eventemitter import EventEmitter, ReplayEventEmitter, StreamOverflow, Subscription
from eventemitter._channel import Herald
from eventemitter._sections import section, this_thread

Emitter = type[EventEmitter[Any]]
Threads = list[Callable[[], object]]


class Explored:
    """An emitter with one steady listener, and what its listeners have seen.

    Subclasses say in `threads` what runs at the same time. What holds for all of them is asserted
    here, what holds for one in its `check`.
    """

    def __init__(self, kind: Emitter) -> None:
        self.emitter: EventEmitter[Any] = kind()
        self.replays = issubclass(kind, ReplayEventEmitter)
        self.steady: list[int] = []
        self.late: list[list[int]] = []
        self.listen(self.steady)
        self.threads: Threads = []
        self.prepare()
        for name in ("emitter", "other", "target"):
            if name in vars(self):
                warm(vars(self)[name])
        for emitter in vars(self).get("ring", ()):
            warm(emitter)

    def prepare(self) -> None:
        """Set up `threads`."""
        raise NotImplementedError

    def listen(self, seen: list[int]) -> Subscription[Ping]:
        """Register a listener that notes in `seen` what it is told."""
        return self.emitter.on(Ping, lambda event: seen.append(event.number))

    def join(self) -> Subscription[Ping]:
        """Register a late listener."""
        self.late.append([])
        return self.listen(self.late[-1])

    def emits(self, *numbers: int) -> Callable[[], None]:
        """Return what emits these events."""

        def emit() -> None:
            for number in numbers:
                self.emitter.emit(Ping(number))

        return emit

    def check(self) -> None:
        """Assert that all agree on one order without gap or repeat, and that nothing is left."""
        assert_idle(self.emitter)
        for seen in self.late:
            start = self.steady.index(seen[0]) if seen else len(self.steady)
            assert seen == self.steady[start:], f"{seen} is no end of {self.steady}"


def warm(emitter: EventEmitter[Any]) -> None:
    """Make the emitter what it is after an event, where the next takes the shortest way."""
    me = this_thread()
    for event_type in emitter.event_types():
        channel = channel_of(emitter, event_type)
        section(me, channel.mutex, channel.rest_locked)


def chain(emitter: EventEmitter[Any], event: object) -> Callable[[Any], None]:
    """Return a handler that emits `event` when it is told the event number 1."""

    def handle(cause: Any) -> None:
        if cause.number == 1:
            emitter.emit(event)

    return handle


class OnAgainstEmit(Explored):
    """G1: the listener gets the event live or by replay: exactly once."""

    def prepare(self) -> None:
        self.threads = [self.join, self.emits(1)]

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        (seen,) = self.late
        assert seen == [1] if self.replays else seen in ([], [1])


class TwoEmitsInOneOrder(Explored):
    """G3: two listeners see the events of two threads in the same order."""

    def prepare(self) -> None:
        self.second: list[int] = []
        self.listen(self.second)
        self.threads = [self.emits(1), self.emits(2)]

    def check(self) -> None:
        super().check()
        assert sorted(self.steady) == [1, 2]
        assert self.second == self.steady


class ReplayThatWaitsForAnotherThread(Explored):
    """G6: a handler that is replayed to may wait for a thread that uses the same event type."""

    def prepare(self) -> None:
        self.emitter.emit(Ping(0))
        looked = Event()

        def look() -> None:
            self.emitter.listener_count(Ping)
            looked.set()

        self.threads = [lambda: self.emitter.on(Ping, lambda _: looked.wait()), look]

    def check(self) -> None:
        super().check()
        assert self.emitter.listener_count(Ping) == 2


class OnceAgainstTwoEmits(Explored):
    """G7: whoever comes first, one of the two calls it, once."""

    def prepare(self) -> None:
        self.seen: list[int] = []
        self.once = self.emitter.once(Ping, lambda event: self.seen.append(event.number))
        self.threads = [self.emits(1), self.emits(2)]

    def check(self) -> None:
        super().check()
        assert sorted(self.steady) == [1, 2]
        assert self.seen == self.steady[:1]
        assert not self.once.active


class OnceAgainstEmitAgainstOff(Explored):
    """G7, G8: either it is called, or off() returns True."""

    def prepare(self) -> None:
        self.seen: list[int] = []
        self.removed: list[bool] = []
        once = self.emitter.once(Ping, lambda event: self.seen.append(event.number))
        self.threads = [self.emits(1), lambda: self.removed.append(once.off())]

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert len(self.seen) + sum(self.removed) == 1


class OffOfOneToComeAgainstEmit(Explored):
    """G8: no call begins after off() has returned."""

    def prepare(self) -> None:
        self.gone = False
        self.calls_after = 0
        victim = self.emitter.on(Ping, self.note)

        def off() -> None:
            assert victim.off()
            self.gone = True

        self.threads = [self.emits(1), off]

    def note(self, _: object) -> None:
        """Count a call that comes too late."""
        self.calls_after += self.gone

    def check(self) -> None:
        super().check()
        assert self.calls_after == 0
        assert self.emitter.listener_count(Ping) == 1


class OffOfOneWithAHeraldAgainstEmit(OffOfOneToComeAgainstEmit):
    """G8: the same where the delivery is to tell somebody before that call."""

    def emits(self, *numbers: int) -> Callable[[], None]:
        emit = super().emits(*numbers)

        def divert_and_emit() -> None:
            channel = channel_of(self.emitter, Ping)
            listener = [*channel.listeners][-1]
            listener.divert(Herald(channel))
            emit()

        return divert_and_emit


class OnDuringTwoEmits(Explored):
    """G2: replay first, then everything newer, once, whatever is under way."""

    def prepare(self) -> None:
        self.threads = [self.join, self.emits(1), self.emits(2)]

    def check(self) -> None:
        super().check()
        assert sorted(self.steady) == [1, 2]
        if self.replays:
            assert self.late[0][-1:] == self.steady[-1:]


class OnDuringTwoEmitsOfOneThread(Explored):
    """G2: the same with a thread that emits twice."""

    def prepare(self) -> None:
        self.threads = [self.join, self.emits(1, 2)]

    def check(self) -> None:
        super().check()
        assert self.steady == [1, 2]
        if self.replays:
            assert self.late[0][-1:] == [2]


class TwoEmitsAgainstOnAndOff(Explored):
    """G2, G8: a listener that comes and goes sees a stretch of the one order."""

    def prepare(self) -> None:
        self.short: list[int] = []

        def come_and_go() -> None:
            with self.listen(self.short):
                pass

        self.threads = [self.emits(1, 2), come_and_go]

    def check(self) -> None:
        super().check()
        assert self.steady == [1, 2]
        assert self.short in ([], [1], [2], [1, 2])
        assert self.emitter.listener_count(Ping) == 1


class ReentrantEmitAgainstEmit(Explored):
    """G4: what a handler emits is delivered before its emit() returns, in one order for all."""

    def prepare(self) -> None:
        self.second: list[int] = []
        self.emitter.on(Ping, self.again)
        self.listen(self.second)
        self.threads = [self.chain, self.emits(2)]

    def again(self, event: Ping) -> None:
        """Emit another."""
        if event.number == 1:
            self.emitter.emit(Ping(10))
            assert 10 not in self.steady

    def chain(self) -> None:
        """Emit, and see that all of it has been delivered."""
        self.emitter.emit(Ping(1))
        assert 10 in self.second

    def check(self) -> None:
        super().check()
        assert self.second == self.steady
        assert sorted(self.steady) == [1, 2, 10]
        assert self.steady.index(1) < self.steady.index(10)


class EmitNowaitAgainstEmit(Explored):
    """G3: nothing is lost, and one order holds, where one of two emits may not wait."""

    def prepare(self) -> None:
        self.second: list[int] = []
        self.listen(self.second)
        self.threads = [self.emits(1), lambda: self.emitter.emit_nowait(Ping(2))]

    def check(self) -> None:
        super().check()
        assert self.second == self.steady
        assert sorted(self.steady) == [1, 2]


class OffAndWaitAgainstEmit(Explored):
    """G9: after off_and_wait() returned True no call is running."""

    def prepare(self) -> None:
        self.freed = False
        self.owner = self.emitter.on(Ping, self.use)
        self.threads = [self.emits(1), self.free]

    def use(self, _: Ping) -> None:
        """Use what the owner frees."""
        assert not self.freed
        pause()
        assert not self.freed

    def free(self) -> None:
        """Free it."""
        assert self.owner.off_and_wait()
        self.freed = True

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert self.freed


class OffAndWaitForThatHandlerAlone(OffAndWaitAgainstEmit):
    """G9: the wait ends when the handler is through, though the next one waits for that."""

    def prepare(self) -> None:
        super().prepare()
        self.block_the_last()

    def block_the_last(self) -> None:
        """Have the last handler wait until the owner is through."""
        self.through = Event()
        self.emitter.on(Ping, lambda _: self.through.wait())

    def free(self) -> None:
        super().free()
        self.through.set()


class OffAndWaitAgainstOffOfTheNext(OffAndWaitForThatHandlerAlone):
    """G8, G9: the same, where the handler called next is removed meanwhile."""

    def prepare(self) -> None:
        self.gone = False
        self.calls_after = 0
        OffAndWaitAgainstEmit.prepare(self)
        self.following = self.emitter.on(Ping, self.note)
        self.block_the_last()
        self.threads.append(self.off)

    def note(self, _: object) -> None:
        """Count a call that comes too late."""
        self.calls_after += self.gone

    def off(self) -> None:
        """Remove the next one."""
        assert self.following.off()
        self.gone = True

    def check(self) -> None:
        super().check()
        assert self.calls_after == 0


class TwoEmittersInACycle(Explored):
    """G10: two handlers that emit each other's event neither deadlock nor lose one."""

    def prepare(self) -> None:
        self.other: EventEmitter[Any] = type(self.emitter)()
        self.pongs: list[int] = []
        self.other.on(Pong, lambda event: self.pongs.append(event.number))
        self.emitter.on(Ping, chain(self.other, Pong(2)))
        self.other.on(Pong, chain(self.emitter, Ping(2)))
        self.threads = [self.emits(1), lambda: self.other.emit(Pong(1))]

    def check(self) -> None:
        super().check()
        assert_idle(self.other)
        assert sorted(self.steady) == [1, 2]
        assert sorted(self.pongs) == [1, 2]


class ThreeEmittersInACycle(Explored):
    """G10: the same with three emitters and three threads."""

    def prepare(self) -> None:
        self.ring: list[EventEmitter[Any]] = [self.emitter, *(type(self.emitter)() for _ in "12")]
        self.seen: list[list[int]] = [[], [], []]
        for place, emitter in enumerate(self.ring):
            self.link(emitter, self.ring[(place + 1) % 3], self.seen[place])
        self.threads = [self.starts(emitter) for emitter in self.ring]

    def link(
        self, emitter: EventEmitter[Any], following: EventEmitter[Any], seen: list[int]
    ) -> None:
        """Have a first event of `emitter` make `following` emit a second."""
        emitter.on(Ping, chain(following, Ping(2)))
        emitter.on(Ping, lambda event: seen.append(event.number))

    def starts(self, emitter: EventEmitter[Any]) -> Callable[[], None]:
        """Return what emits the first event of `emitter`."""
        return lambda: emitter.emit(Ping(1))

    def check(self) -> None:
        super().check()
        for emitter, seen in zip(self.ring, self.seen, strict=True):
            assert_idle(emitter)
            assert sorted(seen) == [1, 2]


class TwoHandlersThatRemoveEachOther(Explored):
    """G10: waits of handlers for each other end: at least one of them is told that it would not."""

    def prepare(self) -> None:
        self.results: list[bool] = []
        self.ping = self.emitter.on(Ping, self.remove_pong)
        self.pong = self.emitter.on(Pong, self.remove_ping)
        self.threads = [self.emits(1), lambda: self.emitter.emit(Pong(1))]

    def remove_pong(self, _: Ping) -> None:
        """Wait for the other."""
        self.results.append(self.pong.off_and_wait())

    def remove_ping(self, _: Pong) -> None:
        """Wait for the other."""
        self.results.append(self.ping.off_and_wait())

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert 1 <= len(self.results) <= 2
        assert len(self.results) == 1 or not all(self.results)


class WaitForTurnAgainstWaitForHandler(Explored):
    """G10: one thread waits for a turn, the other for a handler: one gives way, nothing is lost."""

    def prepare(self) -> None:
        self.results: list[bool] = []
        self.pongs: list[int] = []
        self.ping = self.emitter.on(Ping, lambda _: self.emitter.emit(Pong(2)))
        self.emitter.on(Pong, self.remove)
        self.emitter.on(Pong, lambda event: self.pongs.append(event.number))
        self.threads = [self.emits(1), lambda: self.emitter.emit(Pong(1))]

    def remove(self, event: Pong) -> None:
        """Wait for the handler that emits this type."""
        if event.number == 1:
            self.results.append(self.ping.off_and_wait())

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert len(self.results) == 1
        assert sorted(self.pongs) in ([1], [1, 2])


class ReplayThatRemovesItself(Explored):
    """G2, G8: a listener that removes itself in its replay sees nothing after that."""

    def prepare(self) -> None:
        self.emitter.emit(Ping(0))
        self.short: list[int] = []
        self.threads = [self.come_and_go, self.emits(1)]

    def come_and_go(self) -> None:
        """Register a handler that removes itself by its event type."""

        def handler(event: Ping) -> None:
            self.short.append(event.number)
            assert self.emitter.off(Ping, handler)

        self.emitter.on(Ping, handler)

    def check(self) -> None:
        super().check()
        assert self.steady == [0, 1]
        assert len(self.short) == 1 if self.replays else len(self.short) <= 1
        assert self.emitter.listener_count(Ping) == (1 if self.short else 2)


class ForgetAgainstOn(Explored):
    """G1: the listener is told the latest event, or it was forgotten: one of the two."""

    def prepare(self) -> None:
        self.emitter.emit(Ping(0))
        emitter = self.emitter
        forget = emitter.forget if isinstance(emitter, ReplayEventEmitter) else lambda: None
        self.threads = [self.join, forget, self.emits(1)]

    def check(self) -> None:
        super().check()
        assert self.steady == [0, 1]
        if self.replays:
            assert self.late[0] in ([0, 1], [1], [])


class ForgetAgainstEmit(Explored):
    """G1: a late listener is told the event, or it was forgotten; an older one never comes back."""

    def prepare(self) -> None:
        self.emitter.remove_all_listeners()
        self.emitter.emit(Ping(0))
        self.emitted = self.forgotten = False
        self.threads = [self.forget, self.emit]

    def forget(self) -> None:
        """Forget, and note whether the event had been emitted before."""
        self.forgets_it = self.emitted
        if isinstance(self.emitter, ReplayEventEmitter):
            self.emitter.forget()
        self.forgotten = True

    def emit(self) -> None:
        """Emit, and note whether all had been forgotten before."""
        self.emits_after = self.forgotten
        self.emitter.emit(Ping(1))
        self.emitted = True

    def check(self) -> None:
        super().check()
        self.join()
        (seen,) = self.late
        assert seen in ([], [1])
        assert not (seen and self.forgets_it)
        assert seen or not (self.replays and self.emits_after)


class RemoveAllAgainst(Explored):
    """G8: after remove_all_listeners() nobody is called who was registered before it."""

    def prepare(self) -> None:
        self.gone = False
        self.calls_after = 0
        self.emitter.on(Ping, self.note)
        self.emitter.once(Pong, self.note)

        def remove_all() -> None:
            self.emitter.remove_all_listeners(Ping)
            self.gone = True

        self.threads = [remove_all, self.against()]

    def against(self) -> Callable[[], object]:
        """Return what runs at the same time."""
        return self.emits(1)

    def note(self, _: object) -> None:
        """Count a call that comes too late."""
        self.calls_after += self.gone

    def check(self) -> None:
        super().check()
        assert self.calls_after == 0


class RemoveAllAgainstOn(RemoveAllAgainst):
    """G8: the new listener goes or stays, and is called if it stays."""

    def against(self) -> Callable[[], object]:
        return self.join

    def check(self) -> None:
        super().check()
        count = self.emitter.listener_count(Ping)
        self.emitter.emit(Ping(5))
        assert self.late == [[5] * count]


class RemoveAllAgainstOff(RemoveAllAgainst):
    """G8: either removes it; off() says whether it was off()."""

    def against(self) -> Callable[[], object]:
        self.victim = self.listen([])
        return self.victim.off

    def check(self) -> None:
        super().check()
        assert not self.victim.active
        assert self.emitter.listener_count(Ping) == 0


class ExpectAgainstEmit(Explored):
    """G1: an expectation gets the event live or by replay, or is registered for the next."""

    def prepare(self) -> None:
        self.threads = [self.expect, self.emits(1)]

    def expect(self) -> None:
        """Expect an event."""
        self.expectation = self.emitter.expect(Ping)

    def check(self) -> None:
        super().check()
        done = self.expectation.done()
        assert done or not self.replays
        assert self.emitter.listener_count(Ping) == (1 if done else 2)
        self.emitter.emit(Ping(5))
        assert self.expectation.result(0) == Ping(1 if done else 5)
        assert self.emitter.listener_count(Ping) == 1


class ExpectAgainstTwoEmits(Explored):
    """G7: an expectation gets the first of two events."""

    def prepare(self) -> None:
        self.expectation = self.emitter.expect(Ping)
        self.threads = [self.emits(1), self.emits(2)]

    def check(self) -> None:
        super().check()
        assert self.expectation.result(0) == Ping(self.steady[0])
        assert self.emitter.listener_count(Ping) == 1


class ExpectAgainstEmitAgainstCancel(Explored):
    """G7: an expectation gets the event or is cancelled, one of the two."""

    def prepare(self) -> None:
        self.expectation = self.emitter.expect(Ping)
        self.threads = [self.emits(1), self.cancel]

    def cancel(self) -> None:
        """Cancel it, and note whether that was too late."""
        self.cancelled = self.expectation.cancel()
        assert self.expectation.done()
        assert self.emitter.listener_count(Ping) == 1

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert self.expectation.cancelled() == self.cancelled
        assert self.cancelled or self.expectation.result(0) == Ping(1)
        assert self.emitter.listener_count(Ping) == 1


class ExpectAgainstEmitAgainstOff(Explored):
    """G8: an expectation whose listener is removed gets the event or is cancelled: it ends."""

    def prepare(self) -> None:
        self.expectation = self.emitter.expect(Ping)
        _, listener = self.emitter.listeners(Ping)
        self.threads = [self.emits(1), listener.off]

    def check(self) -> None:
        super().check()
        assert self.steady == [1]
        assert self.expectation.cancelled() or self.expectation.result(0) == Ping(1)
        assert self.emitter.listener_count(Ping) == 1


class StreamAgainstTwoEmits(Explored):
    """G1, G2: a stream has the latest event and all newer ones, once each."""

    def prepare(self) -> None:
        self.threads = [self.open, self.emits(1, 2)]

    def open(self) -> None:
        """Open a stream."""
        self.stream = self.emitter.stream(Ping)

    def check(self) -> None:
        self.stream.close()
        self.late.append([event.number for event in self.stream])
        super().check()
        assert self.steady == [1, 2]
        assert self.late[0][-1:] == [2] or not self.replays


class StreamOfTwoTypes(Explored):
    """G3: a stream has the events of each type in the one order, and each thread's in its order."""

    def prepare(self) -> None:
        self.pongs: list[int] = []
        self.emitter.on(Pong, lambda event: self.pongs.append(event.number))
        self.stream = self.emitter.stream(Ping, Pong)
        self.threads = [lambda: self.both(Ping(1), Pong(2)), lambda: self.both(Pong(3), Ping(4))]

    def both(self, *events: object) -> None:
        """Emit an event of each type."""
        for event in events:
            self.emitter.emit(event)

    def check(self) -> None:
        super().check()
        self.stream.close()
        events = list(self.stream)
        assert [event.number for event in events if isinstance(event, Ping)] == self.steady
        assert [event.number for event in events if isinstance(event, Pong)] == self.pongs
        assert len(events) == 4
        assert events.index(Ping(1)) < events.index(Pong(2))
        assert events.index(Pong(3)) < events.index(Ping(4))


class StreamOfTwoTypesDuringTwoEmits(Explored):
    """G1, G2: what a stream has had replayed or live comes in the order in which it was emitted."""

    def prepare(self) -> None:
        self.threads = [self.open, self.emit]

    def open(self) -> None:
        """Open a stream, which asks for one type after the other."""
        self.stream = self.emitter.stream(Ping, Pong)

    def emit(self) -> None:
        """Emit an event of each type, the other way round."""
        self.emitter.emit(Pong(1))
        self.emitter.emit(Ping(2))

    def check(self) -> None:
        super().check()
        assert_idle(self.emitter)
        self.stream.close()
        events = list(self.stream)
        assert events == [Pong(1), Ping(2)] or not self.replays
        assert events in ([], [Ping(2)], [Pong(1), Ping(2)])


class StreamCloseAgainstReader(Explored):
    """G10: a reader ends when its stream is closed, and has what was emitted before."""

    def prepare(self) -> None:
        self.stream = self.emitter.stream(Ping)
        self.read: list[int] = []
        self.threads = [self.reads, self.ends]

    def reads(self) -> None:
        """Read to the end."""
        self.read.extend(event.number for event in self.stream)

    def ends(self) -> None:
        """Emit, and close the stream."""
        self.emitter.emit(Ping(1))
        self.stream.close()

    def check(self) -> None:
        super().check()
        assert self.read == [1]
        assert self.emitter.listener_count(Ping) == 1


class StreamCloseAgainstEmitAgainstReader(StreamCloseAgainstReader):
    """G1, G10: the same where another thread closes it; emitted before means that it is read."""

    def prepare(self) -> None:
        super().prepare()
        self.emitted = self.closing_after = False
        self.threads = [self.reads, self.emit, self.close]

    def emit(self) -> None:
        """Emit, and note that it is done."""
        self.emitter.emit(Ping(1))
        self.emitted = True

    def close(self) -> None:
        """Close the stream, and note whether the event had been emitted before."""
        self.closing_after = self.emitted
        self.stream.close()

    def check(self) -> None:
        Explored.check(self)
        assert self.read == [1] if self.closing_after else self.read in ([], [1])
        assert self.emitter.listener_count(Ping) == 1


class OverflowAgainstTwoEmits(Explored):
    """G3: a full stream has the first event, says that it has lost the second, and is closed."""

    def prepare(self) -> None:
        self.stream = self.emitter.stream(Ping, maxsize=1)
        self.threads = [self.emits(1), self.emits(2)]

    def check(self) -> None:
        super().check()
        assert self.emitter.listener_count(Ping) == 1
        assert next(self.stream) == Ping(self.steady[0])
        try:
            lost = next(self.stream, None)
        except StreamOverflow:
            lost = None
        else:
            raise AssertionError(f"not told of an overflow: {lost}")
        assert next(self.stream, None) is None
        assert self.stream.dropped == 1


class FollowAgainstEmit(Explored):
    """G1: who follows emits the event again, live or by replay, once."""

    def prepare(self) -> None:
        self.target = type(self.emitter)()
        self.late.append([])
        self.target.on(Ping, lambda event: self.late[0].append(event.number))
        self.threads = [lambda: self.target.follow(self.emitter, Ping), self.emits(1)]

    def check(self) -> None:
        super().check()
        assert_idle(self.target)
        assert self.steady == [1]
        assert self.late[0] == [1] if self.replays else self.late[0] in ([], [1])


class TwoEmittersThatFollowEachOther(Explored):
    """G10: each event comes to both, once, and two threads that emit do not wait for ever."""

    def prepare(self) -> None:
        self.other = type(self.emitter)()
        self.seen: list[int] = []
        self.other.on(Ping, self.note)
        self.other.follow(self.emitter, Ping)
        self.emitter.follow(self.other, Ping)
        self.threads = [self.emits(1), lambda: self.other.emit(Ping(2))]

    def note(self, event: Ping) -> None:
        """Note an event, and end what goes round and round."""
        self.seen.append(event.number)
        if len(self.seen) > 2:
            raise SystemExit("an event has come back")

    def check(self) -> None:
        super().check()
        assert_idle(self.other)
        assert sorted(self.steady) == [1, 2]
        assert sorted(self.seen) == [1, 2]
