"""One event type of one emitter: its listeners, its latest event, its turn and its queue.

How an event travels. `emit` enters a critical section and there, in one step for all others, stores
the event as the latest and takes a snapshot of the listeners: the event is *committed*. In the same
section it takes the turn, if that is free. Then it calls the handlers, outside, and gives the turn
up in a second section. Where the turn is taken by another thread it waits in line and commits when
its turn comes. Where it must not wait (its own thread has the turn, waiting would close a cycle, or
`emit_nowait`), it commits at once and leaves the event in the queue of the holder, who delivers all
of its queue before it gives the turn up. So the order of commits is the order of deliveries (G3).

Every critical section starts with the inbox, where calls that interrupted one have left their
requests (see `_sections`). A method whose name ends in `_locked` runs as the step of a section.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from time import monotonic
from typing import Any, Final

from ._errors import HandlerFailure, annotated, raise_failures, report_unraisable
from ._listener import Handler, Listener, Replay
from ._locks import Rank, new_lock, proved
from ._sections import Doing, ThreadState, catch_up, leave, section, this_thread, waits_lock
from ._turns import HandlerWait, Turn, TurnWait, closes_cycle, discard

NOTHING: Final = object()
"""In the place of an event: there is none. In the inbox: forget the latest event."""


class Entry:
    """An event on its way, and who is to be told. The snapshot is empty once that has begun."""

    __slots__ = ("event", "snapshot")

    def __init__(self, event: object) -> None:
        self.event = event
        self.snapshot: tuple[Listener, ...] = ()


class Channel(Turn):
    """Delivers the events of one type, in one order, to the listeners of that type."""

    __slots__ = (
        "errors",
        "event_type",
        "inbox",
        "latest",
        "listeners",
        "mutex",
        "on_error",
        "queue",
        "replaying",
        "replays",
        "running",
        "snapshot",
        "watches",
    )

    def __init__(self, event_type: type, *, replays: bool, on_error: Handler | None) -> None:
        super().__init__()
        self.event_type = event_type
        self.replays = replays
        self.on_error = on_error
        # The mutex of this event type guards every field below, but for what is said there. It is
        # only taken inside (see `_sections`), and no user code runs while it is held (G6): old
        # values are put in `litter` and dropped outside, as dropping them may run finalizers.
        self.mutex = new_lock(Rank.EVENT_TYPE, event_type.__qualname__)
        self.listeners: dict[Listener, None] = {}
        """In the order of registration. Anybody may see, unlocked, that it is empty."""
        self.snapshot: tuple[Listener, ...] | None = None
        """The listeners, or None if they have changed since. Immutable and replaced whole."""
        self.latest: Any = NOTHING
        """The latest event, where `replays`. Anybody may read it unlocked."""
        self.queue: deque[Entry] = deque()
        """Committed events that the holder of the turn is to deliver. Only a holder removes."""
        self.inbox: deque[Listener | Entry | object] = deque()
        """Requests of interrupting calls. Anybody appends, unlocked; only a section removes."""
        self.replaying: list[Listener] = []
        """The listeners whose replay is under way."""
        self.watches: list[HandlerWait] = []
        """Who waits until a handler is through."""
        self.running: Listener | None = None
        """Whom the holder of the turn calls now. Only the holder writes it, unlocked.

        The holder writes `running` and then reads `call` and `watches`; who waits for a handler
        writes those and then reads `running`. One of the two sees what the other wrote, as long as
        no store is overtaken by a later load of the same thread. The GIL grants that, and on
        free-threaded builds the lock of the object that each store to an attribute takes."""
        self.errors: list[Exception] = []
        """What handlers have raised during this turn. Only the holder of the turn uses it."""

    # Emitting

    def emit(self, event: object, *, wait: bool = True) -> None:  # noqa: C901, PLR0912
        """Deliver `event`, or leave it with the thread that delivers now where it must not wait."""
        if not (self.listeners or self.inbox or self.queue or self.replays):
            return
        me = this_thread()
        if me.inside or self.holder is not None or me.waits:
            self._emit_in_line(me, Entry(event), wait=wait)
            return
        # The uncontended case: `_emit_in_line` with its two sections written out, as calls and
        # branches saved here are what an emitter's speed is made of.
        snapshot = None
        errors: list[Exception] = []
        try:
            try:
                me.inside = True
                self.mutex.acquire()
                if self.holder is None and not self.queue and not self.inbox:
                    snapshot = self.snapshot
                    if snapshot is None:
                        snapshot = self.snapshot = tuple(self.listeners)
                    if self.replays:
                        _old, self.latest = self.latest, event
                    if snapshot:
                        self.holder = me
                self.mutex.release()
                me.inside = False
                if me.aside or me.litter:
                    catch_up(me)
                if snapshot:
                    self._deliver(me, event, snapshot)
                    me.inside = True
                    self.mutex.acquire()
                    if not (self.queue or self.line or self.inbox or self.watches or self.errors):
                        self.holder = None
                    self.mutex.release()
                    me.inside = False
                    if me.aside or me.litter:
                        catch_up(me)
                    if self.holder is me:
                        errors = self.errors
                        self._carry_on(me)
            except BaseException:
                self._abandon(me, me, errors, sys.getrecursionlimit())
                raise
            if errors:
                raise_failures(self.event_type, errors)
        except BaseException:
            # Again, as that may have been cut short itself.
            self._abandon(me, me, errors, sys.getrecursionlimit())
            raise
        if snapshot is None:
            self._emit_in_line(me, Entry(event), wait=wait)

    def flush(self, me: ThreadState) -> None:
        """Deliver what interrupting calls have emitted, unless another thread delivers anyway."""
        self._emit_in_line(me, None, wait=False)

    def _emit_in_line(self, me: ThreadState, entry: Entry | None, *, wait: bool) -> None:
        if me.inside:
            if entry is not None:
                self.inbox.append(entry)
            me.aside.append(self.flush)
            return
        errors: list[Exception] = []
        place = TurnWait(me, self)
        try:
            try:
                mine = section(me, self.mutex, self._arrive_locked, place, entry, wait=wait)
                while mine is None:
                    place.gate.wait()
                    mine = section(me, self.mutex, self._resume_locked, place, entry)
                if mine:
                    errors = self.errors
                    self._carry_on(me)
            except BaseException:
                self._abandon(me, place, errors, sys.getrecursionlimit())
                raise
            if errors:
                raise_failures(self.event_type, errors)
        except BaseException:
            # Again, as that may have been cut short itself.
            self._abandon(me, place, errors, sys.getrecursionlimit())
            raise

    def _arrive_locked(self, place: TurnWait, entry: Entry | None, *, wait: bool) -> bool | None:
        """Return True if the turn is ours now, False if its holder delivers, None to wait."""
        self._settle_locked(place.thread)
        holder = self.holder
        if holder is None:
            self.holder = place
        elif wait and holder.thread is not place.thread and self.line_up_locked(place):
            return None
        if entry is not None:
            self._commit_locked(place.thread, entry)
        return holder is None

    def _resume_locked(self, place: TurnWait, entry: Entry | None) -> bool | None:
        """Take up the turn if it has come: return as `_arrive_locked` does."""
        self._settle_locked(place.thread)
        if self.holder is not place:
            return None
        self.step_out_locked(place)
        if entry is not None:
            self._commit_locked(place.thread, entry)
        return True

    def _commit_locked(self, me: ThreadState, entry: Entry) -> None:
        """Make `entry` the latest event, to be delivered to the listeners of this moment (G1).

        Cut short at any line it can be done again: what is queued already is last in the queue.
        """
        if self.queue and self.queue[-1] is entry:
            return
        entry.snapshot = self._snapshot_locked()
        if self.replays:
            me.litter.append(self.latest)
            self.latest = entry.event
        self.queue.append(entry)

    def _snapshot_locked(self) -> tuple[Listener, ...]:
        snapshot = self.snapshot
        if snapshot is None:
            snapshot = self.snapshot = tuple(self.listeners)
        return snapshot

    # Delivering, in turn

    def _carry_on(self, me: ThreadState) -> None:
        """Deliver the queue, then give the turn up."""
        while (entry := section(me, self.mutex, self._next_locked, me)) is not None:
            self._deliver(me, entry.event, entry.snapshot, entry)

    def _next_locked(self, me: ThreadState) -> Entry | None:
        """Return the next event to deliver, or give the turn up and return None."""
        self._settle_locked(me)
        self._tell_locked()
        while self.queue:
            entry = self.queue[0]
            if entry.snapshot:
                return entry
            me.litter.append(self.queue.popleft())
        self.errors = []
        self.pass_on_locked()
        return None

    def _deliver(  # noqa: C901
        self,
        me: ThreadState,
        event: object,
        snapshot: tuple[Listener, ...],
        entry: Entry | None = None,
    ) -> None:
        """Call the listeners of `snapshot`. The turn is ours.

        A KeyboardInterrupt ends the delivery. If it has called no handler yet, `entry` keeps its
        snapshot and its place in the queue (G11): so `call` is set on the very line that calls.
        """
        call: Handler | None = None
        try:
            for listener in snapshot:
                self.running = listener
                if self.watches:
                    section(me, self.mutex, self._tell_locked)
                try:
                    if not listener.special:
                        (call := listener.call)(event)
                    elif listener.take is not None:
                        proved(listener)
                        # The iterator takes it out, not a call, after which a signal could come.
                        for call in iter(listener.take, None): call(event)  # noqa: E701  # fmt: skip
                    elif not section(me, self.mutex, self._keep_locked, listener, event, entry):
                        (call := listener.call)(event)
                except Exception as error:
                    self._failed(call, event, error, self.errors)
                if listener.take is not None:
                    self.inbox.append(listener)
                if entry is not None:
                    entry.snapshot = ()
                call = None  # let go of here, not between the look-up and the call of the next
        except BaseException:
            if entry is not None and call is not None:
                entry.snapshot = ()
            raise
        self.running = None

    def _keep_locked(self, listener: Listener, event: object, entry: Entry | None) -> bool:
        """Leave `event` to the thread that still replays to `listener`, if one does (G2)."""
        replay = listener.replay
        if replay is None or not listener.active:
            return False
        entry = entry or Entry(event)
        # In one step, with no call in it: what is kept has begun.
        replay.events += (event,); entry.snapshot = ()  # noqa: E702  # fmt: skip
        return True

    def _failed(
        self, handler: Handler | None, event: object, error: Exception, errors: list[Exception]
    ) -> None:
        """Tell `on_error` what a handler raised, or add it to `errors`, to be raised (G11)."""
        if handler is None:
            raise error  # not a handler's: the lock order was violated on the way to it
        failure = HandlerFailure(event, handler, error)
        if self.on_error is None:
            errors.append(annotated(failure))
            return
        try:
            proved(self.on_error)(failure)
        except Exception as second:
            errors.append(annotated(HandlerFailure(event, self.on_error, second)))

    def _abandon(
        self,
        me: ThreadState,
        holder: ThreadState | TurnWait,
        errors: list[Exception],
        limit: int,
    ) -> None:
        """Leave the line or give the turn up, where what was raised ends this call early.

        Done twice it does what is left. It may need more stack than what has failed, as where a
        handler recurses without end: hence the room above the recursion limit.
        """
        sys.setrecursionlimit(limit + 100)
        try:
            leave(me, self.mutex)
            left = section(me, self.mutex, self._abandon_locked, holder)
            for each in (left, errors):
                while each:
                    report_unraisable(each.pop(0))
        finally:
            sys.setrecursionlimit(limit)

    def _abandon_locked(self, holder: ThreadState | TurnWait) -> list[Exception]:
        if isinstance(holder, TurnWait):
            self.step_out_locked(holder)
        if self.holder is not holder:
            return []
        errors, self.errors = self.errors, []
        self.running = None
        self._tell_locked()
        self.pass_on_locked()
        return errors

    # Listening

    def add(self, listener: Listener) -> None:
        """Register `listener`, and replay the latest event to it."""
        me = this_thread()
        if self.replays:
            listener.replay = Replay(me)
            listener.special = True
        self.inbox.append(listener)
        if not me.inside:
            self._join(listener, me)
        elif self.replays:
            me.aside.append(partial(self._join, listener))

    def _join(self, listener: Listener, me: ThreadState) -> None:
        """See to it that `listener` is registered and has had its replay; remove it on failure."""
        try:
            section(me, self.mutex, self._settle_locked, me)
            if listener.replay is not None:
                self._replay(listener, me)
        except BaseException:
            self.withdraw(listener)
            raise

    def withdraw(self, listener: Listener) -> None:
        """Remove a listener whose registration failed, with its replay."""
        me = this_thread()
        self.remove(listener)
        if not me.inside:
            section(me, self.mutex, self._end_replay_locked, me, listener)

    def _settle_locked(self, me: ThreadState) -> None:
        """Do what the inbox asks for, in order. Cut short at any line it can be done again."""
        while self.inbox:
            item = self.inbox[0]
            me.litter.append(item)
            if isinstance(item, Entry):
                self._commit_locked(me, item)
            elif not isinstance(item, Listener):
                me.litter.append(self.latest)
                self.latest = NOTHING
            elif item.active:
                self._register_locked(me, item)
            elif item in self.listeners:
                self._changed_locked(me)
                del self.listeners[item]
            self.inbox.popleft()

    def _changed_locked(self, me: ThreadState) -> None:
        me.litter.append(self.snapshot)
        self.snapshot = None

    def _register_locked(self, me: ThreadState, listener: Listener) -> None:
        """Look at the latest event and register, in one step for all others (G1)."""
        replay = listener.replay
        if listener in self.listeners or listener in self.replaying:
            return
        if replay is not None and self.latest is NOTHING:
            listener.replay = None
            listener.special = listener.once
        elif replay is not None:
            replay.events = deque([self.latest])
            self.replaying.append(listener)
            if listener.once:
                return  # the replay is its only event (G7): it is never registered
        self._changed_locked(me)
        self.listeners[listener] = None

    def _replay(self, listener: Listener, me: ThreadState) -> None:
        """Tell a new listener the latest event, and what was emitted meanwhile (G2)."""
        errors: list[Exception] = []
        handler: Handler | None = None
        while not errors:
            event = section(me, self.mutex, self._replayed_locked, me, listener)
            if event is NOTHING:
                return
            try:
                if listener.take is None:
                    (handler := listener.call)(event)
                else:
                    proved(listener)
                    for handler in iter(listener.take, None): handler(event)  # noqa: E701  # fmt: skip
            except Exception as error:
                self._failed(handler, event, error, errors)
            handler = None
        raise_failures(self.event_type, errors)

    def _replayed_locked(self, me: ThreadState, listener: Listener) -> Any:
        """Return the next event of a replay, or end the replay and return NOTHING."""
        self._settle_locked(me)
        replay = listener.replay
        if replay is not None and replay.events and listener.active:
            return replay.events.popleft()
        self._end_replay_locked(me, listener)
        return NOTHING

    def _end_replay_locked(self, me: ThreadState, listener: Listener) -> None:
        me.litter.append(listener.replay)
        listener.replay = None
        listener.special = listener.once
        discard(self.replaying, listener)
        self._tell_locked()

    def remove(self, *listeners: Listener) -> bool:
        """Remove listeners; return False if all were removed, or had their only call, before."""
        me = this_thread()
        try:
            claims = [each.claim() for each in listeners]
            claimed = [each for each in claims if each is not None]
            self.inbox.extend(listeners)
            if me.inside:
                me.litter.extend(claimed)
            else:
                section(me, self.mutex, self._settle_locked, me)
        except BaseException:
            # Whatever cut this short, the listeners go.
            for each in listeners:
                each.claim()
            self.inbox.extend(listeners)
            raise
        return bool(claimed)

    def active_listeners(self) -> tuple[Listener, ...]:
        """Return the listeners that are registered now, in the order of registration."""
        me = this_thread()
        if not me.inside:
            found = section(me, self.mutex, self._active_locked, me)
        else:
            asked = [each for each in self.inbox.copy() if isinstance(each, Listener)]
            found = tuple(self.listeners.copy() | dict.fromkeys(asked))
        return tuple([each for each in found if each.active])

    def _active_locked(self, me: ThreadState) -> tuple[Listener, ...]:
        self._settle_locked(me)
        return self._snapshot_locked()

    # The latest event

    def get_latest(self) -> Any:
        """Return the latest event, or NOTHING."""
        me = this_thread()
        if self.inbox and not me.inside:
            section(me, self.mutex, self._settle_locked, me)
        return self.latest

    def forget(self) -> None:
        """Drop the latest event."""
        me = this_thread()
        self.inbox.append(NOTHING)
        if not me.inside:
            section(me, self.mutex, self._settle_locked, me)

    # Waiting for handlers

    def wait_for(self, listener: Listener | None, deadline: float | None) -> bool:
        """Wait until no other thread calls `listener` (None: anyone); see `off_and_wait` (G9)."""
        me = this_thread()
        if me.inside:
            return False
        watch = HandlerWait(me)
        try:
            over = section(me, self.mutex, self._watch_locked, watch, listener)
            while over is None:
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    over = False
                    break
                watch.gate.wait(left)
                over = section(me, self.mutex, self._over_locked, watch)
            section(me, self.mutex, self._unwatch_locked, watch)
        except BaseException:
            section(me, self.mutex, self._unwatch_locked, watch)
            raise
        return over

    def _calls_locked(self) -> list[tuple[Listener, Doing]]:
        """Return the calls of handlers under way, each with who calls."""
        calls: list[tuple[Listener, Doing]] = [
            (each, each.replay) for each in self.replaying if each.replay is not None
        ]
        running, holder = self.running, self.holder
        if running is not None and holder is not None:
            calls.append((running, holder))
        return calls

    def _watch_locked(self, watch: HandlerWait, listener: Listener | None) -> bool | None:
        """Return True if nothing is to wait for, False if the wait would deadlock, None to wait."""
        self.watches.append(watch)  # before `running` is read, see there
        with waits_lock:
            watch.calls = [
                (each, caller)
                for each, caller in self._calls_locked()
                if (listener is None or each is listener) and caller.thread is not watch.thread
            ]
            if not watch.calls:
                return True
            if closes_cycle(watch.thread, watch.blockers()):
                return False
            watch.thread.waits.append(watch)
            watch.thread.clock += 1
        return None

    def _over_locked(self, watch: HandlerWait) -> bool | None:
        return None if watch.calls else True

    def _unwatch_locked(self, watch: HandlerWait) -> None:
        with waits_lock:
            discard(self.watches, watch)
            discard(watch.thread.waits, watch)

    def _tell_locked(self) -> None:
        """Let go on whoever waits for calls that are over."""
        if not self.watches:
            return
        calls = self._calls_locked()
        with waits_lock:
            for watch in self.watches:
                watch.calls = [call for call in watch.calls if call in calls]
                if not watch.calls:
                    watch.gate.open()
