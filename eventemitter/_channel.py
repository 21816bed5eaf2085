"""One event type of one emitter: its listeners, its latest event, its turn and its queue.

How an event travels. `emit` enters a critical section and there, in one step for all others, stores
the event as the latest and takes a snapshot of the listeners: the event is *committed*. In the same
section it takes the turn, if that is free. Then it calls the handlers, outside, and gives the turn
up. Where the turn is taken by another thread it waits in line and commits when its turn comes.
Where it must not wait (its own thread has the turn, waiting would close a cycle, or `emit_nowait`),
it commits at once and leaves the event in the queue of the holder, who delivers all of its queue
before it gives the turn up. So the order of commits is the order of deliveries (G3).

A critical section that looks at the listeners or commits an event starts with the inbox, where
calls that interrupted one have left their requests (see `_sections`). A method whose name ends in
`_locked` runs as the step of a section.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from functools import partial
from logging import DEBUG
from operator import attrgetter
from time import monotonic, perf_counter_ns
from typing import Any, Final, cast

from ._debug import handed_over, log, named, opens_soon, tell
from ._errors import HandlerFailure, annotated, raise_failures, report_unraisable
from ._listener import Entry, Handler, Listener, Relay, Replay, Tap, is_relay, removed
from ._locks import Rank, new_lock, proved
from ._sections import (
    Doing,
    ThreadState,
    catch_up,
    in_any_case,
    leave,
    local,
    outside,
    section,
    this_thread,
    waits_lock,
)
from ._turns import Gate, HandlerWait, Strand, Turn, TurnWait, closes_cycle, discard

NOTHING: Final = object()
"""In the place of an event: there is none. In the inbox: forget the latest event."""


def _is_awaited(called: Listener | Relay, listener: Listener | None) -> bool:
    """Return whether who waits for `listener`, or for all removed ones, waits for a call."""
    if listener is None:
        return not called.active
    return called is listener or called is listener.relay


def _active(listeners: Iterable[Listener]) -> tuple[Listener, ...]:
    """Return those that are active, and see that no call of another begins from now on."""
    for each in listeners:
        if not each.active:
            each.call = removed  # who takes it out may not have come so far, see `Listener.claim`
    return tuple([each for each in listeners if each.active])


def _in_order(listeners: Iterable[Listener]) -> list[Listener]:
    """Return them in the order of registration."""
    return sorted(listeners, key=attrgetter("number"))


def _is_same(found: Handler | None, handler: Handler) -> bool:
    return found is handler or found == handler


class Herald(Relay):
    """Stands in for the handler that is called next, to say first that the one before is through.

    Whoever waits for that one sends it; so no delivery need look whether anybody waits. It stays
    until it is called: only a delivery, which alone calls the listener, may put the handler back.
    Else one that was removed at that moment could be called (G8).
    """

    __slots__ = ("_channel", "called")

    def __init__(self, channel: Channel) -> None:
        self._channel = weakref.ref(channel)  # no cycle, should it never be called
        self.called: Handler | None = None
        """The handler, once its call has begun."""

    @property
    def handler(self) -> Handler:
        """Whose an exception is."""
        if self.called is not None:
            return self.called
        channel = self._channel()
        running = None if channel is None else channel.running
        handler = None if running is None else running.handler
        return self if handler is None else handler

    def __call__(self, event: Any, /) -> None:
        """Tell those who wait, step back, and call whatever the listener calls then."""
        channel = self._channel()
        listener = None if channel is None else channel.running
        if channel is None or listener is None:
            return  # nobody delivers any more
        try:
            channel.tell(this_thread())
        except RecursionError:
            pass  # the end of the delivery tells them, too
        listener.recall()
        # On one line, see `Listener.call`.
        self.called = call = listener.call; call(event)  # noqa: E702  # fmt: skip


def _has_begun(call: Handler | None) -> bool:
    """Return whether a handler was called, not just a herald on the way to it."""
    if issubclass(type(call), Herald):
        return cast("Herald", call).called is not None
    return call is not None and call is not removed


class Channel(Turn):
    """Delivers the events of one type, in one order, to the listeners of that type."""

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
        self.registered = 0
        """How many have been in there."""
        self.snapshot: tuple[Listener, ...] | None = None
        """The listeners, or None if they have changed since. Immutable and replaced whole."""
        self.plain: tuple[Listener, ...] | None = None
        """The same where a delivery has only to call them: none is special, there is no tap, nobody
        waits, and `queue`, `told` and `busy` are empty. Else None, and not renewed at once."""
        self.simple = False
        """Whether no listener of the snapshot is special, and there is no tap."""
        self.keeps = replays
        """Whether a commit does more than take the turn. Anybody may read it unlocked."""
        self.latest: Any = NOTHING
        """The latest event, where `replays`. Anybody may read it unlocked."""
        self.stamp = 0
        """When the latest event was committed: its place among those of other types, which have
        other mutexes. Any clock will do that ticks between an emit and a later one."""
        self.route: tuple[int, frozenset[object]] = (0, frozenset())
        """Through which channels the event with that stamp was followed."""
        self.taps: tuple[Listener, ...] = ()
        """The listeners that are told in the commit. Immutable and replaced whole."""
        self.queue: deque[Entry] = deque()
        """Committed events that the holder of the turn is to deliver. Only a holder removes."""
        self.inbox: deque[Listener | Entry | object] = deque()
        """Requests of interrupting calls. Anybody appends, unlocked; only a section removes."""
        self.replaying: list[Listener] = []
        """The listeners whose replay is under way."""
        self.busy: list[tuple[Relay, Strand]] = []
        """Whom event loops call now. Anybody appends, unlocked; only a section removes."""
        self.told: dict[Relay, None] = {}
        """The once-listeners whose only event waits for a loop. Each adds and removes itself."""
        self.watches: list[HandlerWait] = []
        """Who waits until a handler is through."""
        self.running: Listener | None = None
        """Whom the holder of the turn calls now. Only the holder writes it, unlocked.

        The holder writes `running` and then reads `call` and `watches`; who waits for a handler
        writes those and then reads `running`. One of the two sees what the other wrote, as long as
        no store is overtaken by a later load of the same thread. The GIL grants that, and on
        free-threaded builds the lock of the object that each store to an attribute takes."""
        self.herald: Listener | None = None
        """The listener that a `Herald` has been sent to, while somebody waits."""
        self.errors: list[Exception] = []
        """What handlers have raised during this turn. Only the holder of the turn uses it."""

    # Emitting

    @property
    def wanted(self) -> bool:
        """Whether an event makes any difference. Anybody may ask, unlocked."""
        return bool(
            self.listeners or self.keeps or self.inbox or self.queue or self.told or self.busy
        )

    def emit(self, event: object) -> None:  # noqa: C901, PLR0912, PLR0915 - as a call costs time
        """Deliver `event`, or leave it with the thread that delivers now where it must not wait."""
        try:
            me = local.state
        except AttributeError:
            me = this_thread()
        if me.inside or me.waits:
            self.emit_in_line(me, Entry(event))
            return
        # The uncontended case: `emit_in_line` with its section and `_deliver` written out, and no
        # second section: the turn is given up without the mutex. Whoever leaves something to the
        # holder makes `plain` None and then looks whether there is a holder; here it is the other
        # way round. So one of the two sees what the other wrote, as for `running`.
        errors: list[Exception] | None = None
        plain: tuple[Any, ...] | None = None
        call: Any = None
        try:
            try:
                me.inside = True
                self.mutex.acquire()
                if self.holder is None and not self.inbox:
                    plain = self.plain
                    if plain is not None:
                        self.holder = me
                        if self.replays:
                            self.stamp = perf_counter_ns()
                            _old, self.latest = self.latest, event
                self.mutex.release()
                me.inside = False
                if me.aside:
                    catch_up(me)
                if plain is not None:
                    # Not a word of `watches`: whoever waits leaves a `Herald` on the way.
                    for call in plain:
                        self.running = call
                        # One variable for both: the handler before is let go of by the `for`, and
                        # not between the look-up and the call of the next.
                        (call := call.call)(event)
                    call = self.running = None
                    if self.plain is not plain:
                        errors = self.errors
                        self.carry_on(me)
                    else:
                        self.holder = None
                        if self.plain is not plain:
                            self._look_again(me)
            except Exception as error:
                # Not in the loop, as the first instruction of a `try` is covered by no `except`.
                if plain is None or call is None or issubclass(type(call), Listener):
                    in_any_case(self.abandon, me, None if plain is None else me, errors or [])
                    raise
                errors = self.errors
                self._deliver_rest(me, event, plain, cast("Handler", call), error)
            except BaseException:
                in_any_case(self.abandon, me, None if plain is None else me, errors or [])
                raise
            if errors:
                raise_failures(self.event_type, errors)
        except BaseException:
            # Again, as that may have been cut short itself.
            try:
                in_any_case(self.abandon, me, None if plain is None else me, errors or [])
            except RecursionError:
                # The stack is so full that this can call nothing: whoever comes next goes on.
                try:
                    self.mutex.release()
                except RuntimeError:
                    pass  # it was not held
                me.inside = False
                if plain is not None and self.holder is me:
                    self.running = None
                    me.aside.append(self.flush)
                    self.holder = None
            raise
        if plain is None:
            self.emit_in_line(me, Entry(event))

    def _deliver_rest(
        self,
        me: ThreadState,
        event: object,
        plain: tuple[Listener, ...],
        handler: Handler,
        error: Exception,
    ) -> None:
        """Go on behind the listener whose handler has just raised `error`."""
        try:
            rest = plain[plain.index(self.running) + 1 :] if self.running else ()
            self._failed(handler, event, error, self.errors)
            self._deliver(me, event, rest)
            self.carry_on(me)
        except BaseException:
            in_any_case(self.abandon, me, me, [])
            raise
        finally:
            del error  # its traceback leads to the caller (G14)

    def emit_along(self, cause: Entry, route: frozenset[object]) -> None:
        """Deliver an event that came this way from other emitters."""
        if self.wanted:
            # An event loop whose task awaits the event must not be blocked.
            wait = cause.wait and cause.receipt is None
            entry = Entry(cause.event, receipt=cause.receipt, route=route, wait=wait)
            self.emit_in_line(this_thread(), entry)

    def flush(self, me: ThreadState) -> None:
        """Deliver what interrupting calls have emitted, unless another thread delivers anyway."""
        self.emit_in_line(me, None)

    def _look_again(self, me: ThreadState) -> None:
        """See to what came while the turn was given up without the mutex."""
        self.tell(me)
        self.flush(me)

    def emit_in_line(self, me: ThreadState, entry: Entry | None) -> None:
        """Deliver an event, waiting for the turn if it may; None for those left by others."""
        if me.inside:
            if entry is not None:
                self.inbox.append(entry)
            me.aside.append(self.flush)
            return
        self.pass_over(me)
        errors: list[Exception] = []
        place = TurnWait(me, self, me)
        try:
            try:
                if self._arrive(me, place, entry):
                    errors = self.errors
                    self.carry_on(me, wait=entry is None or entry.wait)
            except BaseException:
                in_any_case(self.abandon, me, place, errors)
                raise
            if errors:
                raise_failures(self.event_type, errors)
        except BaseException:
            # Again, as that may have been cut short itself.
            in_any_case(self.abandon, me, place, errors)
            raise

    def _arrive(self, me: ThreadState, place: TurnWait, entry: Entry | None) -> bool:
        # No loop where an `except` or `finally` is relied on, here and elsewhere: the jump back,
        # after which signals are handled, is covered by none where the body ends in an `if` or is
        # that of a `while` (CPython 3.12 and 3.13). A call is.
        mine = section(me, self.mutex, self.arrive_locked, place, entry)
        if mine is None and opens_soon(self, place, None, None):
            mine = section(me, self.mutex, self.resume_locked, place, entry)
        while mine is None:
            place.gate.wait()
            mine = section(me, self.mutex, self.resume_locked, place, entry)
        # Its own thread has it, mostly, and then there is nothing to tell.
        if not mine and entry is not None and self.holder is not me and log.isEnabledFor(DEBUG):
            handed_over(self, me)
        return mine

    def pass_over(self, me: ThreadState) -> None:
        """Wait for nobody whose event loop was closed before he was through, and report him."""
        holder = self.holder
        if isinstance(holder, TurnWait) and holder.ended:
            holder.give_way(me)
        for call in self.busy.copy():
            if call[0].ended:
                call[0].lose(self, me)
        for relay in self.told.copy():
            if relay.ended:
                relay.lose(self, me)

    def arrive_locked(self, place: TurnWait, entry: Entry | None) -> bool | None:
        """Return True if the turn is ours now, False if its holder delivers, None to wait."""
        me = place.me
        self._settle_locked(me)
        self.plain = None
        if self.holder is None:
            self.pass_on_locked()  # its last holder has not looked yet who is in line
        holder = self.holder
        if (
            holder is not None
            and entry is not None
            and entry.wait
            and place.may_wait_for(holder)
            and not self._replays_on_locked(me)
            and self.line_up_locked(place)
        ):
            if self.holder is None:
                self.pass_on_locked()
            return None
        if entry is not None:
            self._commit_locked(me, entry)
        # Only now: the holder gives the turn up and then looks for what is left to it.
        if self.holder is None:
            self.holder = place.taken
            return True
        if entry is not None and entry.receipt is not None:
            entry.receipt.expect((self, entry), self)
        return False

    def _replays_on_locked(self, me: ThreadState) -> bool:
        """Return whether this comes from a handler of this event type, in its replay (G4)."""
        replays = [each.replay for each in self.replaying]
        return me in [each.thread for each in replays if each is not None and each.telling]

    def resume_locked(self, place: TurnWait, entry: Entry | None) -> bool | None:
        """Take up the turn if it has come: return as `arrive_locked` does."""
        self._settle_locked(place.me)
        if self.holder is not place:
            return None
        self.step_out_locked(place)
        self.holder = place.taken
        if entry is not None:
            self._commit_locked(place.me, entry)
        return True

    def _commit_locked(self, me: ThreadState, entry: Entry) -> None:
        """Make `entry` the latest event, to be delivered to the listeners of this moment (G1).

        Cut short at any line it can be done again: what is queued already is last in the queue.
        """
        if self.queue and self.queue[-1] is entry:
            return
        entry.snapshot = self._snapshot_locked()
        if self.keeps:
            entry.stamp = entry.stamp or perf_counter_ns()
            if entry.route:
                self.route = entry.stamp, entry.route
            me.litter.append(self._keep_latest_locked(me, entry.event, entry.stamp))
        self.plain = None
        self.queue.append(entry)

    def _keep_latest_locked(self, me: ThreadState, event: object, stamp: int) -> object:
        """Tell the taps, and keep the event where `replays`; return the one kept before."""
        for listener in self.taps:
            if isinstance(listener.relay, Tap):
                listener.relay.take_locked(me, stamp, event)
        if not self.replays:
            return None
        self.stamp = stamp  # first, as a stream takes no event of a stamp that it has seen
        old, self.latest = self.latest, event
        return old

    def _snapshot_locked(self) -> tuple[Listener, ...]:
        snapshot = self.snapshot
        if snapshot is None:
            snapshot = tuple(self.listeners)
            self.simple = not self.taps and not [each for each in snapshot if each.special]
            self.snapshot = snapshot  # last: cut short before, it is done again
        return snapshot

    # Delivering, in turn

    def carry_on(self, me: ThreadState, *, wait: bool = True) -> None:
        """Deliver the queue, then give the turn up; `wait` says whether this call may wait."""
        while (entry := section(me, self.mutex, self._next_locked, me)) is not None:
            entry.wait = entry.wait and wait
            self._deliver(me, entry.event, entry.snapshot, entry)

    def _next_locked(self, me: ThreadState) -> Entry | None:
        """Return the next event to deliver, or give the turn up and return None."""
        self._settle_locked(me)
        self._tell_locked()
        while self.queue:
            entry = self.queue[0]
            if entry.snapshot:
                return entry
            self._drop_first_locked(me)
        self.errors = []
        self.pass_on_locked()
        self.rest_locked()
        return None

    def _drop_first_locked(self, me: ThreadState) -> None:
        """Take an event that has been delivered out of the queue."""
        entry = self.queue[0]
        if entry.receipt is not None:
            entry.receipt.done((self, entry))  # before another has the turn
        me.litter.append(entry)
        self.queue.popleft()

    def pass_on_locked(self) -> None:
        """Give the turn to the first in line, with what is in the queue, or set it free."""
        for entry in self.queue:
            if entry.receipt is not None:
                entry.receipt.look_again()  # when the mutex is free, and another has the turn
        super().pass_on_locked()

    def rest_locked(self) -> None:
        """Have the next delivery do no more than call, where there is no more to do."""
        waiting = self.queue or self.watches or self.told or self.busy
        if self.simple and self.holder is None and not waiting:
            self.plain = self.snapshot

    def _deliver(  # noqa: C901, PLR0912
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
                    self.tell(me)
                try:
                    if not listener.special:
                        (call := listener.call)(event)
                    else:
                        told = event if listener.relay is None else entry or Entry(event)
                        if listener.take is not None:
                            proved(listener)
                            # The iterator takes it out, not a call, after which signals come.
                            for (call,) in iter(listener.take, None): call(told)  # noqa: E701  # fmt: skip
                        elif not section(me, self.mutex, self._keep_locked, listener, event, entry):
                            (call := listener.call)(told)
                except Exception as error:
                    self._failed(call, event, error, self.errors)
                if listener.take is not None:
                    self.inbox.append(listener)
                    if call is not None and log.isEnabledFor(DEBUG):
                        tell(self, me, f"listener {named(listener, call)} removed")
                if entry is not None and _has_begun(call):
                    entry.snapshot = ()
                call = None  # let go of here, not between the look-up and the call of the next
        except BaseException:
            if entry is not None and _has_begun(call):
                entry.snapshot = ()
            raise
        self.running = None
        if entry is not None:
            entry.snapshot = ()

    def _keep_locked(self, listener: Listener, event: object, entry: Entry | None) -> bool:
        """Leave `event` to the thread that still replays to `listener`, if one does (G2)."""
        replay = listener.replay
        if replay is None or not listener.active:
            return False
        entry = entry or Entry(event)
        # In one step, with no call in it: what is kept has begun.
        replay.events += (entry,); entry.snapshot = ()  # noqa: E702  # fmt: skip
        if entry.receipt is not None:  # after that: cut short between, nobody waits in vain
            entry.receipt.expect((listener, entry), replay)
        return True

    def _failed(
        self, handler: Handler | None, event: object, error: Exception, errors: list[Exception]
    ) -> None:
        """Tell `on_error` what a handler raised, or add it to `errors`, to be raised (G11)."""
        if handler is None:
            raise error  # not a handler's: the lock order was violated on the way to it
        if is_relay(handler):
            handler = handler.handler
        failure = HandlerFailure(event, handler, error)
        if self.on_error is None:
            errors.append(annotated(failure))
            return
        try:
            proved(self.on_error)(failure)
        except Exception as second:
            errors.append(annotated(HandlerFailure(event, self.on_error, second)))

    def abandon(
        self, me: ThreadState, holder: ThreadState | TurnWait | None, errors: list[Exception]
    ) -> None:
        """Leave the line or give the turn up, where what was raised ends this call early.

        `holder` is None where the turn was not this call's, but perhaps one's that it came from.
        Done twice it does what is left.
        """
        leave(me, self.mutex)
        left = section(me, self.mutex, self._abandon_locked, me, holder)
        for each in (left, errors):
            while each:
                report_unraisable(each.pop(0))

    def _abandon_locked(
        self, me: ThreadState, holder: ThreadState | TurnWait | None
    ) -> list[Exception]:
        if isinstance(holder, TurnWait):
            self.step_out_locked(holder)
        errors: list[Exception] = []
        if holder is not None and self.holder is holder:
            errors, self.errors = self.errors, errors
            self.running = None
            while self.queue and not self.queue[0].snapshot:
                self._drop_first_locked(me)
        if self.holder in (holder, None):
            self.pass_on_locked()
        self._tell_locked()
        return errors

    # Listening

    def ask(self, listener: Listener, me: ThreadState) -> None:
        """Leave the request to register `listener` in the inbox."""
        if self.replays and not isinstance(listener.relay, Tap):
            listener.replay = Replay(me, 0)
            listener.special = True
        self.inbox.append(listener)

    def withdraw(self, listener: Listener) -> None:
        """Remove a listener whose registration failed, with its replay."""
        me = this_thread()
        self.remove(listener)
        if me.inside:
            me.aside.append(partial(self._end_replay, listener))
        else:
            self._end_replay(listener, me)

    def settle(self, me: ThreadState) -> None:
        """Do what the inbox asks for."""
        section(me, self.mutex, self._settle_locked, me)

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
                if self.watches and self.herald in (None, item):
                    self._send_herald_locked()
                    self._tell_locked()  # the holder may have come past this one meanwhile
                del self.listeners[item]
            elif item in self.taps:
                self._set_taps_locked(me, [each for each in self.taps if each is not item])
            self.inbox.popleft()

    def _changed_locked(self, me: ThreadState) -> None:
        me.litter.append(self.snapshot)
        self.plain = self.snapshot = None

    def _register_locked(self, me: ThreadState, listener: Listener) -> None:
        """Look at the latest event and register, in one step for all others (G1)."""
        replay = listener.replay
        if listener in self.listeners or listener in self.taps:
            return
        listener.number = self.registered = self.registered + 1
        if isinstance(listener.relay, Tap):
            if self.latest is not NOTHING:
                listener.relay.take_locked(me, self.stamp, self.latest)
            self._set_taps_locked(me, [*self.taps, listener])
            return
        if replay is not None and listener not in self.replaying:
            if self.latest is NOTHING:
                listener.replay = replay = None
                listener.special = listener.always_special
            else:
                came, route = self.route
                followed = route if came == self.stamp else frozenset[object]()
                replay.events = deque([Entry(self.latest, route=followed)])
                replay.stamp = self.stamp
                self.replaying.append(listener)
        if replay is not None and listener.once:
            return  # the replay is its only event (G7): it is never registered
        self._changed_locked(me)
        self.listeners[listener] = None

    def _set_taps_locked(self, me: ThreadState, taps: list[Listener]) -> None:
        self._changed_locked(me)
        me.litter.append(self.taps)
        self.keeps = self.replays or bool(taps)
        self.taps = tuple(taps)

    def replay(self, listener: Listener, me: ThreadState, *, just_one: bool = False) -> None:
        """Tell a new listener the latest event, and what was emitted meanwhile (G2)."""
        errors: list[Exception] = []
        handler: Handler | None = None
        while not errors:
            entry = section(me, self.mutex, self._replayed_locked, me, listener)
            if entry is None:
                return
            told = entry.event if listener.relay is None else entry
            try:
                if listener.take is None:
                    (handler := listener.call)(told)
                else:
                    proved(listener)
                    for (handler,) in iter(listener.take, None): handler(told)  # noqa: E701  # fmt: skip
            except Exception as error:
                self._failed(handler, entry.event, error, errors)
            finally:
                if entry.receipt is not None:
                    entry.receipt.done((listener, entry))
            handler = None
            if just_one and not errors:
                section(me, self.mutex, self._pause_replay_locked, listener)
                return
        raise_failures(self.event_type, errors)

    def _replayed_locked(self, me: ThreadState, listener: Listener) -> Entry | None:
        """Return the next event of a replay, or end the replay and return None."""
        self._settle_locked(me)
        replay = listener.replay
        if replay is not None and replay.events and listener.active:
            replay.begun = True
            replay.telling = replay.events[0]  # first, so that its receipt is seen to in any case
            return replay.events.popleft()
        self._end_replay_locked(me, listener)
        return None

    def _pause_replay_locked(self, listener: Listener) -> None:
        """Take note that no call of a replay runs, while those of other event types do."""
        if listener.replay is not None:
            listener.replay.telling = None
        self._tell_locked()

    def _end_replay(self, listener: Listener, me: ThreadState) -> None:
        section(me, self.mutex, self._end_replay_locked, me, listener)

    def _end_replay_locked(self, me: ThreadState, listener: Listener) -> None:
        replay = listener.replay
        if replay is not None:
            me.litter.append(replay)
            for entry in (replay.telling, *replay.events):
                if entry is not None and entry.receipt is not None:
                    entry.receipt.done((listener, entry))
            self._changed_locked(me)  # it may be a plain one from now on
        discard(self.replaying, listener)
        self._tell_locked()
        listener.special = listener.always_special
        listener.replay = None  # last: cut short before, it has begun, and is withdrawn

    def remove(self, *listeners: Listener) -> bool:
        """Remove listeners; return False if all were removed, or had their only call, before."""
        try:
            return self._remove(this_thread(), listeners)
        except BaseException:
            # Whatever cut this short, the listeners go.
            for each in listeners:
                each.claim()
                if each.relay is not None:
                    each.relay.removed(this_thread())
            self.inbox.extend(listeners)
            raise

    def _remove(self, me: ThreadState, listeners: tuple[Listener, ...]) -> bool:
        if not me.inside and log.isEnabledFor(DEBUG):
            for each in [each for each in listeners if each.active]:
                tell(self, me, f"listener {named(each)} removed")
        # First, so that who finds none to claim any more knows that nothing begins.
        ended = [each.relay and each.relay.removed(me) for each in listeners]
        claims = [each.claim() for each in listeners]
        self.inbox.extend(listeners)
        if me.inside:
            me.litter.extend(claims)
            me.aside.append(self.settle)
        else:
            section(me, self.mutex, self._settle_locked, me)
        for each in listeners:
            if isinstance(each.relay, Tap):
                each.relay.removed(me)  # now that it is inactive: a stream may have no other
        return any(
            claim is not None if end is None else end
            for end, claim in zip(ended, claims, strict=True)
        )

    def remove_newest(self, handler: Handler) -> bool:
        """Remove the newest listener that calls `handler`; return whether there was one."""
        for listener in reversed(self.active_listeners()):
            if _is_same(listener.handler, handler) and self.remove(listener):
                return True
        for relay in reversed(self.told.copy()):  # once-handlers that their loops still call
            if _is_same(relay.handler, handler) and relay.removed(this_thread()):
                outside(self.settle)  # which rings, where whoever awaits it is on a loop
                return True
        return False

    def remove_all(self) -> None:
        """Remove all listeners, those too whose only event waits for their loop."""
        self.remove(*self.active_listeners())
        me = this_thread()
        for relay in self.told.copy():
            relay.removed(me)

    def active_listeners(self) -> tuple[Listener, ...]:
        """Return the listeners that are registered now, in the order of registration."""
        me = this_thread()
        if me.inside:
            return self.seen()
        return _active(section(me, self.mutex, self._active_locked, me))

    def seen(self) -> tuple[Listener, ...]:
        """Return the same as it looks to who takes no lock, and so waits for nobody."""
        asked = [each for each in self.inbox.copy() if isinstance(each, Listener)]
        known = self.listeners.copy() | dict.fromkeys(self.replaying.copy())
        return _active(dict.fromkeys([*_in_order(known), *self.taps, *asked]))

    def _active_locked(self, me: ThreadState) -> tuple[Listener, ...]:
        self._settle_locked(me)
        # A once-listener that is replayed to is in the list of those alone.
        replaying = [each for each in self.replaying if each.once]
        return (*_in_order([*self._snapshot_locked(), *replaying]), *self.taps)

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
        """Wait until no other thread calls `listener`, or any removed one; see `off_and_wait`."""
        me = this_thread()
        if me.inside:
            return False
        self.pass_over(me)
        watch = HandlerWait(me, me, Gate(), me.clock)
        try:
            over = self._watch(me, watch, listener, deadline)
            section(me, self.mutex, self.unwatch_locked, watch)
        except BaseException:
            in_any_case(section, me, self.mutex, self.unwatch_locked, watch)
            raise
        return over

    def _watch(
        self, me: ThreadState, watch: HandlerWait, listener: Listener | None, deadline: float | None
    ) -> bool:
        over = section(me, self.mutex, self.watch_locked, watch, listener)
        if over is None and opens_soon(self, watch, deadline, listener):
            over = section(me, self.mutex, self.over_locked, watch)
        while over is None:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            watch.gate.wait(left)
            over = section(me, self.mutex, self.over_locked, watch)
        return over

    def end_call(self, call: tuple[Relay, Strand], me: ThreadState) -> None:
        """Take note that an event loop has called a handler."""
        section(me, self.mutex, self._end_call_locked, call)

    def _end_call_locked(self, call: tuple[Relay, Strand]) -> None:
        discard(self.busy, call)
        self._tell_locked()

    def _calls_locked(self) -> list[tuple[Listener | Relay, Doing]]:
        """Return the calls of handlers under way: of which listener or relay, and who calls."""
        calls: list[tuple[Listener | Relay, Doing]] = [
            (each, each.replay)
            for each in self.replaying
            if each.replay is not None and each.replay.telling
        ]
        calls += self.busy
        running, holder = self.running, self.holder
        if running is not None and holder is not None:
            calls.append((running, holder))
        return calls

    def watch_locked(self, watch: HandlerWait, listener: Listener | None) -> bool | None:
        """Return True if nothing is to wait for, False if the wait would deadlock, None to wait."""
        self.plain = None  # or the holder would not look who waits
        self.watches.append(watch)  # before `running` is read, see there
        if self.holder is not None and self.holder.thread is not watch.thread:
            self._send_herald_locked()
        with waits_lock:
            calls = [call for call in self._calls_locked() if _is_awaited(call[0], listener)]
            watch.calls = [
                (each, caller)
                for each, caller in calls
                if isinstance(caller, Strand) or caller.thread is not watch.thread
            ]
            if watch.agent is not watch.thread and len(watch.calls) < len(calls):
                return False  # a task that this thread's handler has started cannot wait for it
            if not watch.calls:
                return True
            if closes_cycle(watch.agent, watch.blockers()):
                return False
            watch.agent.waits.append(watch)
            watch.thread.clock += 1
        return None

    def _send_herald_locked(self) -> None:
        """See that the holder tells who waits before it calls another listener (G9).

        Where listeners are special it looks who waits by itself, see `_deliver`. What is waited for
        is running already if it ever will: it has been removed.
        """
        self.herald = None
        running = self.running
        for listener in self.listeners:
            if running and listener.number > running.number and listener.active:
                if not listener.special:
                    self.herald = listener
                    listener.divert(Herald(self))
                break

    def tell(self, me: ThreadState) -> None:
        """Let go on whoever waits for calls that are over."""
        section(me, self.mutex, self._tell_locked)

    def over_locked(self, watch: HandlerWait) -> bool | None:
        return None if watch.calls else True

    def unwatch_locked(self, watch: HandlerWait) -> None:
        """Do not wait any more."""
        with waits_lock:
            if watch in self.watches:
                self.watches.remove(watch)
            if watch in watch.agent.waits:
                watch.agent.waits.remove(watch)
        if not self.watches:
            self.herald = None

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
