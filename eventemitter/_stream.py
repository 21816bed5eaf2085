"""An iterator over events, for threads and for asyncio."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import Any, Generic, Literal, TypeVar, get_args

from ._errors import bad_maxsize, bad_overflow, overflowed, read_while_interrupting
from ._listener import Entry, Tap
from ._locks import Rank, new_lock
from ._sections import ThreadState, outside, section, this_thread
from ._subscription import Subscription
from ._turns import Gate, discard

T = TypeVar("T")
Overflow = Literal["raise", "drop_oldest", "drop_newest"]
_POLICIES: tuple[str, ...] = get_args(Overflow)


class Buffer:
    """What a stream has not been read of yet, and who waits for more."""

    def __init__(self, maxsize: int, overflow: Overflow) -> None:
        if not isinstance(maxsize, int) or maxsize < 1:
            raise bad_maxsize(maxsize)
        if overflow not in _POLICIES:
            raise bad_overflow(overflow, _POLICIES)
        self._maxsize = maxsize
        self._overflow = overflow
        # The mutex of the stream guards what is changed below; one field is read without it. It may
        # be taken with that of an event type held, as events come in the section that commits them.
        self._mutex = new_lock(Rank.STREAM, "an event stream")
        self._events: deque[tuple[int, Any]] = deque()
        """What has not been read, each event with its stamp (see `Channel.stamp`)."""
        self.dropped: int = 0
        self._opening = True
        """Whether not all event types are registered yet: the buffer is in no order till then."""
        self._closed = False
        self._broken = False
        """Whether a reader still has to be told of an overflow."""
        self._gates: list[Gate] = []
        """Who waits for an event."""
        self._subscriptions: list[Subscription[Any]] = []
        """Only `open` adds; any thread may end them."""

    def __repr__(self) -> str:
        buffered = f"{len(self._events)} of {self._maxsize} buffered"
        return f"{'closed' if self._closed else 'open'}, {buffered}, {self.dropped} dropped"

    def open(self, subscriptions: list[Subscription[Any]]) -> None:
        """Put in order what has come while the event types were registered."""
        self._subscriptions += subscriptions
        outside(lambda me: section(me, self._mutex, self._open_locked, me))

    def _open_locked(self, me: ThreadState) -> None:
        if self._opening:
            found = sorted(self._events, key=itemgetter(0))
            more = max(0, len(found) - self._maxsize)
            kept = found[more:] if self._overflow == "drop_oldest" else found[: self._maxsize]
            events = deque(kept)
            me.litter += (found, kept, self._events)
            broken = more > 0 and self._overflow == "raise"
            dropped = self.dropped + (1 if broken else more)
            # In one step, with no call in it, so that it can be done again.
            self._events = events; self.dropped = dropped; self._broken = broken; self._closed |= broken; self._opening = False  # noqa: E501, E702  # fmt: skip
        # They may have been removed already, or it may be full: then it has yet to be ended.
        me.aside.append(self._end if self._closed else self.forsaken)

    def take_locked(self, me: ThreadState, stamp: int, event: Any, tap: StreamTap) -> None:
        """Take an event in the section that commits it."""
        me.inner = self._mutex
        with self._mutex:
            if tap.stamp != stamp and not self._closed:
                self._put_locked(me, stamp, event, tap)

    def _put_locked(self, me: ThreadState, stamp: int, event: Any, tap: StreamTap) -> None:
        self._wake_locked()  # first, as in `_close_locked`
        # In one step each, with no call in it, so that it can be done again and is not.
        if self._opening or len(self._events) < self._maxsize:
            self._events += ((stamp, event),); tap.stamp = stamp  # noqa: E702  # fmt: skip
        elif self._overflow == "drop_oldest":
            me.litter.append(self._events[0])
            del self._events[0]; self._events += ((stamp, event),); tap.stamp = stamp; self.dropped += 1  # noqa: E501, E702  # fmt: skip
        elif self._overflow == "drop_newest":
            tap.stamp = stamp; self.dropped += 1  # noqa: E702  # fmt: skip
        else:
            tap.stamp = stamp; self.dropped += 1; self._closed = self._broken = True; me.aside.append(self._end)  # noqa: E501, E702  # fmt: skip

    def _wake_locked(self) -> None:
        for gate in self._gates:
            gate.open()

    def close(self, me: ThreadState) -> None:
        """End the iteration after the buffered events."""
        section(me, self._mutex, self._close_locked)
        self._end(me)

    def _close_locked(self) -> None:
        self._wake_locked()  # first: nobody looks before the mutex is free
        self._closed = True

    def _end(self, me: ThreadState) -> None:
        """Register for nothing more."""
        del me
        for subscription in self._subscriptions.copy():
            subscription.off()
        self._subscriptions.clear()  # last, so that it can be done again

    def forsaken(self, me: ThreadState) -> None:
        """Close once no listener is left."""
        if self._opening or self._closed:
            return
        if not [each for each in self._subscriptions.copy() if each.active]:
            self.close(me)

    def next(self, gate: Gate | None) -> tuple[int, Any] | None:
        """Return the next event; None if there is none yet: then `gate` opens when there may be."""
        me = this_thread()
        if me.inside:
            raise read_while_interrupting()
        return section(me, self._mutex, self._next_locked, gate)

    def _next_locked(self, gate: Gate | None) -> tuple[int, Any] | None:
        if self._events:
            return self._events.popleft()
        if self._broken:
            self._broken = False
            raise overflowed(self._maxsize)
        if self._closed:
            raise StopIteration
        if gate is not None:
            self._gates.append(gate)
        return None

    def leave(self, gate: Gate) -> None:
        """Wait no more."""
        outside(lambda me: section(me, self._mutex, discard, self._gates, gate))


class StreamTap(Tap):
    """Where one event type flows into a stream."""

    __slots__ = ("buffer", "stamp")
    label = "stream"

    def __init__(self, buffer: Buffer) -> None:
        self.buffer: Buffer = buffer
        self.stamp: int = -1
        """Of the event that it took last. Guarded by the mutex of the stream."""

    def __call__(self, entry: Entry, /) -> None:
        """Do nothing: the event was taken when it was committed."""

    def take_locked(self, me: ThreadState, stamp: int, event: object) -> None:
        """Put an event into the stream."""
        self.buffer.take_locked(me, stamp, event, self)

    def removed(self, me: ThreadState) -> None:
        """Close the stream if this was its last event type."""
        del me
        outside(self.buffer.forsaken)


class EventStream(Generic[T]):
    """Iterate over the events of one or more types, in the order in which they were emitted.

    `stream()` makes it. It collects from then on until it is closed, in a buffer of at most
    `maxsize` events, and never holds up who emits. `for` waits in a thread, `async for` on an event
    loop; where several read, each event goes to one of them. Closing it ends the iteration after
    the buffered events, and so does removing its listeners. As a context manager, `with` or `async
    with`, it is closed on leaving. Where nobody holds it any more it is closed, too.

    Where events come faster than they are read, `overflow` decides; the default raises a
    `StreamOverflow` in the reader.

    Example:
        >>> emitter = EventEmitter()
        >>> with emitter.stream(str) as events:
        ...     emitter.emit("one")
        ...     print(next(events))
        one
    """

    __slots__ = ("__weakref__", "_buffer", "_event_types")

    def __init__(self, buffer: Buffer, event_types: tuple[type, ...]) -> None:
        self._buffer = buffer
        self._event_types = event_types

    def __del__(self) -> None:
        if hasattr(self, "_buffer"):
            self.close()  # a listener holds the buffer, and its events would be kept (G14)

    def __repr__(self) -> str:
        names = " | ".join(each.__qualname__ for each in self._event_types)
        return f"<EventStream of {names}: {self._buffer!r}>"

    @property
    def dropped(self) -> int:
        """Return how many events were lost as the buffer was full.

        Example:
            >>> emitter = EventEmitter()
            >>> events = emitter.stream(str, maxsize=1, overflow="drop_newest")
            >>> emitter.emit("kept")
            >>> emitter.emit("lost")
            >>> events.dropped
            1
        """
        return self._buffer.dropped

    def close(self) -> None:
        """End the iteration after the buffered events.

        From any thread, and as often as you like. Whoever waits for the next event wakes up.

        Example:
            >>> emitter = EventEmitter()
            >>> events = emitter.stream(str)
            >>> emitter.emit("buffered")
            >>> events.close()
            >>> list(events)
            ['buffered']
        """
        outside(self._buffer.close)

    def __iter__(self) -> EventStream[T]:
        return self

    def __next__(self) -> T:
        """Return the next event, waiting for it; on an event loop, use `async for`.

        Raises:
            StopIteration: The stream is closed, and its buffer empty.
            StreamOverflow: Events were lost, and `overflow` is "raise".
            RuntimeError: A signal handler or a finalizer that interrupts this package reads.
        """
        found = self._buffer.next(None)
        while found is None:
            gate = Gate()
            try:
                found = self._buffer.next(gate)
                if found is None:
                    gate.wait()
            finally:
                self._buffer.leave(gate)
        event: T = found[1]
        return event

    def __aiter__(self) -> EventStream[T]:
        return self

    async def __anext__(self) -> T:
        """Return the next event, awaiting it; raise as `next()` does, but StopAsyncIteration."""
        from ._loops import LoopGate  # noqa: PLC0415 - it imports asyncio

        try:
            found = self._buffer.next(None)
            while found is None:
                gate = LoopGate()
                try:
                    found = self._buffer.next(gate)
                    if found is None:
                        await gate.wait_async()
                finally:
                    self._buffer.leave(gate)
        except StopIteration:
            raise StopAsyncIteration from None
        event: T = found[1]
        return event

    def __enter__(self) -> EventStream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> EventStream[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
