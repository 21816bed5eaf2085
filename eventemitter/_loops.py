"""The one crossing from threads into event loops, and what waits on a loop.

A listener whose handler runs on a loop is told events through its mailbox: a delivery puts the
event there and wakes the loop, whose own thread calls the handler (G13). What a thread and the loop
both use of a mailbox is one deque, so that it needs no lock.

Only who uses a loop imports this module, as it imports asyncio.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import weakref
from asyncio import AbstractEventLoop, CancelledError
from collections import deque
from collections.abc import Coroutine
from functools import partial
from inspect import isawaitable
from itertools import count
from typing import TypeAlias

from ._channel import Channel
from ._errors import (
    CallCancelled,
    HandlerFailure,
    annotated,
    cancelled_call,
    closed_loop,
    dropped_call,
    name_of,
    raise_failures,
    report_unraisable,
)
from ._listener import Entry, Handler, Listener, Relay, new_listener
from ._locks import proved
from ._sections import Doing, ThreadState, in_any_case, outside, section, this_thread, waits_lock
from ._turns import (
    Awaiter,
    Gate,
    HandlerWait,
    Strand,
    Turn,
    TurnWait,
    closes_cycle,
    discard,
    runner_of,
    running_loop,
)

_current: contextvars.ContextVar[Awaiter] = contextvars.ContextVar("eventemitter_call")
"""The call that the running task is, or was started by."""

_Calls: TypeAlias = "dict[asyncio.Task[None], tuple[Mailbox, Channel]]"
_tasks: dict[AbstractEventLoop, _Calls] = {}
"""The calls under way, by loop: that by itself holds its tasks but weakly. Only the loop changes
what is its own, or who finds it closed, in one step each."""


@atexit.register
def _close_calls() -> None:
    """Close what loops have left undone, which would be reported at the end of the program."""
    for calls in _tasks.copy().values():
        for task, (mailbox, channel) in calls.copy().items():
            _end(task, mailbox, channel)


def _end(task: asyncio.Task[None], mailbox: Mailbox, channel: Channel) -> None:
    try:
        if task.get_loop().is_closed():
            mailbox.lose(channel, this_thread())
        _close(task)
    except BaseException as error:
        report_unraisable(error)


def lose_calls(me: ThreadState) -> None:
    """Report what loops that were closed have left undone, and let go of it (G11, G14)."""
    for loop in _tasks.copy():
        if loop.is_closed():
            for mailbox, channel in _tasks.get(loop, {}).copy().values():
                mailbox.lose(channel, me)


def _forget(task: asyncio.Task[None]) -> bool:
    """Hold a task no longer; return whether it was held."""
    loop = task.get_loop()
    calls = _tasks.get(loop, {})
    held = calls.pop(task, None) is not None
    if not calls:
        _tasks.pop(loop, None)
    return held


def _close(task: asyncio.Task[None]) -> None:
    coroutine = task.get_coro()
    if isinstance(coroutine, Coroutine) and not task.get_loop().is_running():
        try:
            coroutine.close()
        except Exception as error:
            report_unraisable(error)


_ENDS_ALL = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What a loop does not survive: events that wait are kept until the next one is emitted."""

_AT_A_TIME = 100
"""How many events a mailbox hands out before its loop gets to do other things."""


def agent() -> Awaiter:
    """Return what an `await` of the running task holds up."""
    return _current.get(None) or Awaiter()


class LoopGate(Gate):
    """Holds one task up until another task or thread opens it; see `Gate`."""

    __slots__ = ("_future", "loop")

    def __init__(self) -> None:  # no lock, unlike other gates
        self.loop: AbstractEventLoop = asyncio.get_running_loop()
        self._future = self.loop.create_future()

    def open(self) -> None:
        """Let the waiting task go on; where a mutex is held, as soon as it is not any more (G6)."""
        me = this_thread()
        if me.inside:
            me.rings.append(lambda _: self.ring())
        else:
            self.ring()

    def ring(self) -> bool:
        """Let the waiting task go on; return False if it cannot be told, as its loop is closed."""
        try:
            self.loop.call_soon_threadsafe(self._answer)
        except RecursionError:
            raise
        except Exception as error:
            if not self.loop.is_closed():
                report_unraisable(error)  # others are still to be told
            return False
        return True

    def _answer(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait_async(self) -> None:
        """Wait until the gate is open."""
        await self._future
        self._future = self.loop.create_future()


class Bell:
    """Has a loop empty a mailbox, once; dropped without that, it sees to it all the same.

    A loop drops what it still has to call when it is closed.
    """

    __slots__ = ("_channel", "mailbox")

    def __init__(self, mailbox: Mailbox, channel: Channel) -> None:
        self._channel: Channel = channel
        self.mailbox: Mailbox | None = mailbox
        """None once it is not needed any more; nothing at all where this was cut short."""

    def __call__(self) -> None:
        """Empty the mailbox, on the loop's thread."""
        mailbox, self.mailbox = self.mailbox, None
        if mailbox is not None:
            mailbox.wake(self._channel)

    def __del__(self) -> None:
        mailbox: Mailbox | None = getattr(self, "mailbox", None)
        if mailbox is not None:
            outside(partial(mailbox.ring, self._channel))


class Mailbox(Relay):
    """What an event loop still has to tell a handler, one event after the other (G13).

    The loop holds a mailbox, and a task of it, while there is something in it. It holds neither a
    task nor its channel, so that no cycle keeps an emitter alive.
    """

    label = "handler on an event loop"

    def __init__(
        self, channel: Channel, handler: Handler, loop: AbstractEventLoop, *, once: bool
    ) -> None:
        self.listener = new_listener(handler, once=once)
        """The handler, for the loop to take or to look up; the channel has a listener of the
        mailbox."""
        self.strand = Strand(this_thread() if running_loop() is loop else None, loop)
        self._channel = weakref.ref(channel)
        self._loop = loop
        self._context = contextvars.copy_context()
        self._posts: deque[Entry] = deque()
        """What is still to be told. Who delivers appends; whoever takes one out sees to it."""
        self._running: object | None = None
        """Whether there is a task. Only the loop uses this field."""
        self._telling: tuple[Entry, Handler] | None = None
        """What is awaited. Only the loop uses this field, or who finds it closed."""

    @property
    def handler(self) -> Handler:
        """The handler, while it is still to be called."""
        handler = self.listener.handler
        return self if handler is None else handler

    def __call__(self, entry: Entry, /) -> None:
        """Leave an event for the loop."""
        channel = self._channel()
        if channel is None:
            return  # nobody delivers any more
        bell = Bell(self, channel)  # first: cut short anywhere below, it rings
        self._post(channel, entry)
        try:
            told = self._call_soon(bell)
        except Exception:
            if self._take_back(entry):
                if self.listener.once:
                    this_thread().aside.append(self.removed)
                raise
            return
        if not told:
            # Once this failure has been told: until then the handler has a name.
            this_thread().aside.append(partial(self.lose, channel))
            if self._take_back(entry):
                raise closed_loop(channel.event_type, self.handler)

    def _post(self, channel: Channel, entry: Entry) -> None:
        try:
            if entry.receipt is not None:
                entry.receipt.expect((self, entry), self.strand)
            if self.listener.once:
                channel.told[self] = None
            self._posts.append(entry)
        except BaseException:
            if entry not in self._posts:  # nobody will be told
                self._release(entry)
                channel.told.pop(self, None)
            raise

    def _take_back(self, entry: Entry) -> bool:
        """Take out an event that the loop cannot be told; return False if another sees to it."""
        try:
            self._posts.remove(entry)
        except ValueError:
            return False
        self._release(entry)
        return True

    def _call_soon(self, bell: Bell) -> bool:
        """Hand the bell to the loop; return False if that is closed, raise if it cannot be told."""
        try:
            self._loop.call_soon_threadsafe(bell)
        except Exception:
            if not self._loop.is_closed():
                bell.mailbox = None  # or it would try again, for ever
                raise
        if not self._loop.is_closed() or bell.mailbox is None:
            return True
        bell.mailbox = None  # closed before, or before it looked at what was left there
        return False

    def ring(self, channel: Channel, me: ThreadState) -> None:
        """Wake the loop, in place of a bell that was dropped; if it is closed, lose what waits."""
        if self._posts and not self._call_soon(Bell(self, channel)):
            self.lose(channel, me)

    @property
    def active(self) -> bool:
        """Whether it has not been removed, nor told the only event of a once-handler."""
        return self.listener.active

    @property
    def ended(self) -> bool:
        """Whether its calls will never go on, as the loop is closed."""
        return self._loop.is_closed()

    def removed(self, me: ThreadState) -> bool:
        """Drop what waits in the mailbox."""
        del me
        claimed = self.listener.claim() is not None
        channel = self._channel()
        if channel is not None:
            channel.told.pop(self, None)
        while (entry := self._next()) is not None:
            self._release(entry)
        return claimed

    def _next(self) -> Entry | None:
        try:
            return self._posts.popleft()
        except IndexError:
            return None

    def lose(self, channel: Channel, me: ThreadState) -> None:
        """Remove a listener whose loop is closed, and report what that loop has left undone."""
        handler = self.handler
        telling, self._telling = self._telling, None
        lost = [] if telling is None else [telling]
        while (entry := self._next()) is not None:
            lost.append((entry, handler))
        try:
            self._lose(channel, me, lost)
        except BaseException as error:
            self._posts.extendleft(entry for entry, _ in reversed(lost))
            if not isinstance(error, Exception):
                me.aside.append(partial(self.lose, channel))
            raise

    def _lose(self, channel: Channel, me: ThreadState, lost: list[tuple[Entry, Handler]]) -> None:
        # Loops in a function of their own, see `Channel._arrive`.
        for listener in channel.active_listeners():
            if listener.relay is self:
                channel.remove(listener)
        self.removed(me)
        while lost:  # only now, as whoever is told of it may emit
            entry, handler = lost.pop(0)
            self._failed(channel, entry, handler, closed_loop(channel.event_type, handler))
        for task, (mailbox, _) in _tasks.get(self._loop, {}).copy().items():
            if mailbox is self and _forget(task):
                try:
                    _close(task)
                finally:  # not sooner: it has run what the handler does at its end
                    channel.end_call((self, self.strand), me)

    # On the loop's thread

    def wake(self, channel: Channel) -> None:
        """Start a task that empties the mailbox, if there is none."""
        self.strand.known = this_thread()
        outside(lose_calls)
        if self._posts and not self._running:
            token = object()
            run = self._run(channel, token)
            try:
                self._running = token
                # Not `context=`, which a task factory may not know. ty cannot see through `run`.
                task: asyncio.Task[None] = self._context.copy().run(self._loop.create_task, run)  # ty: ignore[invalid-assignment]
            except BaseException:
                run.close()
                self._running = None
                self._release(*self._posts.copy())
                raise
            task.add_done_callback(partial(self._ended, channel, token))
            _tasks.setdefault(self._loop, {})[task] = self, channel
            task.set_name(f"handler {name_of(self.handler)}")
            # What a loop leaves undone at its end is not to be reported. As `asyncio.gather` does.
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 - it has no public name

    async def _run(self, channel: Channel, token: object) -> None:
        """Tell all that is in the mailbox."""
        call = (self, self.strand)
        channel.busy.append(call)  # before the handler is looked up, see `Channel.running`
        try:
            await self._tell_all(channel, call)
        except BaseException as error:
            if isinstance(error, _ENDS_ALL):
                self._release(*self._posts.copy())
            raise
        finally:
            try:
                if self._running is token:
                    self._running = None
                outside(partial(channel.end_call, call))
            except BaseException:
                if self._running is token:
                    self._running = None
                outside(partial(channel.end_call, call))  # again, as that was cut short
                raise

    async def _tell_all(self, channel: Channel, call: tuple[Relay, Strand]) -> None:
        # A loop in a function of its own, see `Channel._arrive`.
        for told in count(1):
            if (entry := self._next()) is None:
                break
            try:
                await self._tell(channel, entry)
            except BaseException:
                self._release(entry)
                raise
            if _is_cancelled():
                raise CancelledError  # whatever the handler has made of it
            if told % _AT_A_TIME == 0:
                outside(partial(channel.end_call, call))  # the loop may stop before it goes on
                await asyncio.sleep(0)
                channel.busy.append(call)

    async def _tell(self, channel: Channel, entry: Entry) -> None:
        """Call the handler, which has none of the package's locks to fear."""
        listener = self.listener
        handler: Handler = self
        self.strand.call = call = Awaiter()
        _current.set(call)
        try:
            result: object = None
            if listener.take is None:
                result = (handler := listener.call)(entry.event)
            else:
                proved(listener)
                for (handler,) in iter(listener.take, None): result = handler(entry.event)  # noqa: E701  # fmt: skip
            if isawaitable(result):
                self._telling = entry, handler
                await result
            self._release(entry)
        except CancelledError:
            error = cancelled_call(channel.event_type, handler)
            if not _is_cancelled():  # it awaited something else that was cancelled
                self._failed(channel, entry, handler, error)
                return
            if entry.receipt is not None:
                entry.receipt.done(
                    (self, entry), annotated(HandlerFailure(entry.event, handler, error))
                )
            raise
        except Exception as raised:
            self._failed(channel, entry, handler, raised)
        finally:
            if self.strand.call is call:
                self.strand.call = None
            self._telling = None
            channel.told.pop(self, None)

    def _ended(self, channel: Channel, token: object, task: asyncio.Task[None]) -> None:
        """Go on with what has come since the task has looked; drop it where that was cancelled."""
        _forget(task)
        if self._running is token:
            self._running = None
        channel.told.pop(self, None)
        if task.cancelled():
            for _ in range(len(self._posts)):  # not what is emitted meanwhile
                if (entry := self._next()) is None:
                    break
                if self.listener.active:
                    error = dropped_call(channel.event_type, self.handler)
                    self._failed(channel, entry, self.handler, error)
                else:
                    self._release(entry)
            return
        raised = task.exception()
        if isinstance(raised, (KeyboardInterrupt, SystemExit)):
            return  # the loop has raised it
        if raised is not None:
            report(self._loop, raised)
        self.wake(channel)

    def _failed(self, channel: Channel, entry: Entry, handler: Handler, error: Exception) -> None:
        """Tell `on_error`, whoever awaits the event, or the loop, of a failure (G11)."""
        # No local variable for a failure: its traceback may lead to this frame (G14).
        if channel.on_error is None:
            self._raise_elsewhere(entry, HandlerFailure(entry.event, handler, error))
            return
        try:
            proved(channel.on_error)(HandlerFailure(entry.event, handler, error))
        except Exception as second:
            self._raise_elsewhere(entry, HandlerFailure(entry.event, channel.on_error, second))
        finally:
            self._release(entry)

    def _raise_elsewhere(self, entry: Entry, failure: HandlerFailure) -> None:
        error = annotated(failure)
        if entry.receipt is None or not entry.receipt.done((self, entry), error):
            report(self._loop, error)

    def _release(self, *entries: Entry) -> None:
        """Have nobody await these any more."""
        for entry in entries:
            if entry.receipt is not None:
                entry.receipt.done((self, entry))


def _is_cancelled() -> bool:
    """Return whether somebody cancels the running task."""
    # In a function: the frame of a call that failed must not hold its task (G14).
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def report(loop: AbstractEventLoop, error: BaseException) -> None:
    """Hand a failure that no caller awaits to the exception handler of the loop (G11)."""
    message = getattr(error, "__notes__", ["a handler raised"])[-1]
    loop.call_exception_handler({"message": f"eventemitter: {message}", "exception": error})


class Awaited:
    """The handlers on event loops that one `emit_async` waits for: its receipt."""

    __slots__ = ("_closed", "_errors", "_parts", "_waiting", "gate")

    level = 0
    """An awaiter knows no nested waits."""

    def __init__(self) -> None:
        self.gate = LoopGate()
        # Of each of the two, one step decides which thread has a part or an error.
        self._parts: dict[object, Doing | Turn] = {}
        """What is waited for, and who does it: for what is left to a turn, whoever has that."""
        self._errors: dict[object, Exception] = {}
        """What has been raised, by part."""
        self._waiting = False
        """Whether the task waits already. Set before `_parts` is looked at, read after a change."""
        self._closed = False
        """Whether nobody waits any more. Set before `_parts` is cleared, read after it grew."""

    def expect(self, part: object, doer: Doing | Turn) -> None:
        """Wait for one more part."""
        self._parts[part] = doer
        if self._closed:
            self._parts.pop(part, None)
        elif self._waiting:
            self.gate.open()  # to look whether that one waits for it

    def look_again(self) -> None:
        """See whether somebody waits for it who has taken a turn over."""
        self.gate.open()  # `_waiting` or not, as the turn is passed on only now

    def done(self, part: object, error: Exception | None = None) -> bool:
        """Note that a part is through; return False if its failure is the caller's to report."""
        if error is not None:
            self._errors[part] = error
        found = self._parts.pop(part, None) is not None
        if self._waiting:
            self.gate.open()  # also where a call that was cut short has found it
        return found or error is None or self._errors.pop(part, None) is None

    def close(self) -> list[Exception]:
        """Wait for nothing more; return what has been raised."""
        self._closed = True
        self._waiting = False
        self._parts.clear()
        found: list[Exception] = []
        while self._errors:
            found.append(self._errors.popitem()[1])
        return found[::-1]

    def blockers(self) -> list[Doing]:
        """Return who does what is waited for."""
        return [each for doer in self._parts.copy().values() for each in _doing(doer)]

    async def wait(self, channel: Channel, who: Awaiter) -> None:
        """Wait until all is through that does not itself wait for `who`."""
        self._waiting = True
        try:
            await self._wait(channel, who)
        finally:
            outside(lambda me: section(me, channel.mutex, self._exit_locked, who))

    async def _wait(self, channel: Channel, who: Awaiter) -> None:
        while section(this_thread(), channel.mutex, self._enter_locked, who):
            await self.gate.wait_async()

    def _enter_locked(self, who: Awaiter) -> bool:
        with waits_lock:
            for part, doer in self._parts.copy().items():
                doing = _doing(doer)
                if any(_is_below(each) for each in doing) or closes_cycle(who, doing):
                    self._parts.pop(part, None)
            if self not in who.waits:
                who.waits.append(self)
        return bool(self._parts)

    def _exit_locked(self, who: Awaiter) -> None:
        with waits_lock:
            discard(who.waits, self)


def _doing(doer: Doing | Turn) -> list[Doing]:
    return doer.ahead(0) if isinstance(doer, Turn) else [doer]


def _is_below(doing: Doing) -> bool:
    """Return whether it goes on only when this call, in the same thread, has returned (G4)."""
    return doing.thread is this_thread() and not isinstance(doing, (Strand, LoopPlace))


class LoopPlace(TurnWait):
    """The place of a task in the line for a turn."""

    __slots__ = ("bell", "channel", "holding")

    def __init__(self, me: ThreadState, channel: Channel, who: Awaiter, bell: LoopGate) -> None:
        super().__init__(me, channel, who)
        self.since = 0  # the task goes on only when its thread is free
        self.channel = channel
        self.bell = bell
        self.holding = TurnWait(me, channel, me)
        """Holds the turn once the task goes on: until then others of its thread may line up."""

    def go_on_in(self, me: ThreadState) -> None:
        """Take note of the thread that runs the loop now: it may be another than before."""
        if self.me is not me:
            self.me, self.holding = me, TurnWait(me, self.channel, me)

    @property
    def thread(self) -> ThreadState:
        """The thread that runs the loop: it may have become another while the task waits."""
        return runner_of(self.bell.loop, self.me)

    @property
    def taken(self) -> TurnWait:
        """Who holds the turn that has been taken."""
        return self.holding

    def may_wait_for(self, holder: Doing) -> bool:
        """Return False if the holder goes on only when this call returns (G4)."""
        return isinstance(holder, LoopPlace) or super().may_wait_for(holder)

    def new_gate(self) -> LoopGate:
        """Return what lets the task go on."""
        return self.bell

    @property
    def ended(self) -> bool:
        """Whether the task will never go on, as the loop is closed."""
        return self.bell.loop.is_closed()

    def let_go_locked(self) -> None:
        """Let the task go on."""
        this_thread().rings.append(self._ring)

    def _ring(self, me: ThreadState) -> None:
        if not self.bell.ring():
            self.give_way(me)
            self.channel.flush(me)

    def give_way(self, me: ThreadState) -> None:
        """Leave the line, or give the turn up."""
        for holder in (self, self.holding):
            in_any_case(self.channel.abandon, me, holder, [])


async def emit_async(channel: Channel, event: object) -> None:
    """See `EventEmitter.emit_async`."""
    me = this_thread()
    if me.inside:
        channel.emit(event)
        return
    channel.pass_over(me)
    who = agent()
    receipt = Awaited()
    errors: list[Exception] = []
    try:
        entry = Entry(event, receipt=receipt)
        raised = await _deliver(channel, LoopPlace(me, channel, who, receipt.gate), entry)
        if raised is not None:
            errors = raised  # the same list: see `raise_failures`
            await receipt.wait(channel, who)
    except BaseException:
        errors += receipt.close()
        _report_all(receipt.gate.loop, errors)
        raise
    errors += receipt.close()
    if errors:
        raise_failures(channel.event_type, errors)


def _report_all(loop: AbstractEventLoop, errors: list[Exception]) -> None:
    while errors:
        # A call that was cancelled, as at the end of a loop, is known to who cancelled it.
        if not isinstance(errors[0], CallCancelled):
            report(loop, errors[0])
        del errors[0]


async def _deliver(channel: Channel, place: LoopPlace, entry: Entry) -> list[Exception] | None:
    """Deliver in turn; return what plain handlers raised, or None if another thread delivers."""
    errors: list[Exception] | None = None
    try:
        if await _arrive(channel, place, entry):
            errors = channel.errors
            channel.carry_on(this_thread(), wait=False)
    except (CancelledError, GeneratorExit):
        outside(place.give_way)
        outside(channel.flush)  # what others have left to whose turn it would have been
        raise
    except BaseException:
        outside(place.give_way)
        raise
    return errors


async def _arrive(channel: Channel, place: LoopPlace, entry: Entry) -> bool:
    mine = section(place.me, channel.mutex, channel.arrive_locked, place, entry)
    while mine is None:
        await place.bell.wait_async()
        place.go_on_in(this_thread())
        mine = section(place.me, channel.mutex, channel.resume_locked, place, entry)
    return mine


async def wait_for_async(channel: Channel, listener: Listener) -> bool:
    """Wait until nobody calls `listener`; see `Subscription.off_and_wait_async` (G9)."""
    me = this_thread()
    if me.inside:
        return False
    channel.pass_over(me)
    gate = LoopGate()
    watch = HandlerWait(me, agent(), gate, me.clock)
    try:
        over = await _watch(channel, watch, gate, listener)
        outside(lambda me: section(me, channel.mutex, channel.unwatch_locked, watch))
    except BaseException:
        outside(lambda me: section(me, channel.mutex, channel.unwatch_locked, watch))
        raise
    return over


async def _watch(channel: Channel, watch: HandlerWait, gate: LoopGate, listener: Listener) -> bool:
    over = section(watch.thread, channel.mutex, channel.watch_locked, watch, listener)
    while over is None:
        await gate.wait_async()
        over = section(this_thread(), channel.mutex, channel.over_locked, watch)
    return over
