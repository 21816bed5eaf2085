"""A future for the next event of a type, for threads and for asyncio."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from functools import partial
from logging import getLogger
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import shown
from ._listener import Entry, Relay
from ._locks import Rank, new_lock
from ._sections import ThreadState, in_any_case, outside, section
from ._subscription import Subscription, deadline_of
from ._turns import Gate, discard

if TYPE_CHECKING:
    from ._loops import LoopGate  # which imports asyncio

T = TypeVar("T")


_RESULT, _FAILURE, _CANCELLED = "done", "failed", "cancelled"


def _nothing() -> None:
    """Stand in for a weak reference to nothing."""


class Wish(Relay):
    """What an expectation waits for: offers it events until it is done."""

    __slots__ = ("end", "event_type", "gates", "kept", "over", "subscription", "where")
    label = "expectation"

    def __init__(self, event_type: type, where: Callable[[Any], object] | None) -> None:
        self.event_type: type = event_type
        self.where: Callable[[Any], object] | None = where
        self.end: Callable[[], Callable[[str, object], bool] | None] = _nothing
        """A weak reference to what ends the expectation in some way, and returns whether it was not
        done. Weak, as nobody waits for an expectation that nobody holds."""
        self.kept: Expectation[Any] | None = None
        """The expectation, where somebody is to be called when it is done."""
        self.subscription: Subscription[Any] | None = None
        """What to end when it is done. None once it is."""
        self.over: bool = False
        """Whether it is decided how it ends."""
        self.gates: list[Gate] = []
        """Who waits. Each adds and removes its own, in one step of the list."""

    def __call__(self, entry: Entry, /) -> None:
        """Offer an event."""
        # The traceback of a predicate that fails is kept in the expectation, and leads to this
        # frame: no local variable may lead back, or they were a cycle (G14).
        try:
            wanted = self._wants(entry.event)
        except Exception as error:
            self._end(_FAILURE, error)
        else:
            if wanted:
                self._end(_RESULT, entry.event)

    def _wants(self, event: object) -> bool:
        where = self.where  # read once: it goes when the expectation is cancelled
        return where is None or bool(where(event))

    def _end(self, how: str, outcome: object) -> None:
        end = self.end()
        try:
            if end is not None:
                end(how, outcome)
            else:  # its finalizer was cut short, or another thread is about to end it
                self.forsake()
        finally:
            del end, outcome

    def forsake(self) -> None:
        """Leave nothing registered for an expectation that nobody holds."""
        subscription = self.subscription  # read once: another thread may end it
        if subscription is not None:
            subscription.off()

    def removed(self, me: ThreadState) -> bool:
        """Cancel the expectation; return whether it was not done yet."""
        del me
        end = self.end()
        return end is not None and not self.over and end(_CANCELLED, None)


class Expectation(Future[T]):
    """Wait for the next event of a type, in a thread or by `await`.

    `expect()` makes it, armed: nothing that is emitted from then on is missed. It is a
    `concurrent.futures.Future`, and several threads and tasks may wait for it. In asyncio, limit
    the wait with `asyncio.timeout` or `asyncio.wait_for`.

    Cancelling it leaves nothing registered; so does cancelling the last task that awaits it, as
    `asyncio.wait_for` does when its time is up, where nobody else waits. As a context manager it is
    cancelled on leaving. Where its listener is removed it is cancelled, so that nobody waits for
    ever. Where nobody holds it any more, and nobody is to be called when it is done, it is gone.

    Example:
        >>> emitter = EventEmitter()
        >>> with emitter.expect(str) as expected:
        ...     emitter.emit("hello")
        ...     print(expected.result(timeout=5))
        hello
    """

    # The base class serves `concurrent.futures.wait` and the like. It holds a lock while it changes
    # its state, and is not made to be interrupted: so what is asked here is answered here.

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self._wish = wish
        self._outcome: dict[str, tuple[str, Any]] = {}
        """How it ended, and with what. The first comer decides, in one step of the dictionary."""
        self._callbacks: dict[object, tuple[Callable[[Future[T]], object]]] = {}
        """Whom to call when it is done. Whoever takes one out calls it."""
        self._mutex = new_lock(Rank.STREAM, "an expectation")
        wish.end = weakref.WeakMethod(self._end)

    def __del__(self) -> None:
        wish: Wish | None = getattr(self, "_wish", None)
        if wish is not None:
            wish.forsake()

    def __repr__(self) -> str:
        how, outcome = self._outcome.get("end", ("pending", None))
        end = "" if outcome is None else f", {shown(outcome)}"
        return f"<Expectation of {self._wish.event_type.__qualname__}: {how}{end}>"

    def _end(self, how: str, outcome: object = None) -> bool:
        """End in this way if it has not ended; return whether it had not.

        Whoever comes later helps to do what is to be done then, so that it is done on return.
        """
        end = (how, outcome)
        try:
            decided = self._outcome.setdefault("end", end) is end
            self._wish.over = True
            outside(self._finish)
            return decided  # noqa: TRY300 - nothing may come between
        except BaseException:
            if self._outcome:
                outside(self._finish)  # again, as that may have been cut short
            raise
        finally:
            del end, outcome  # the traceback of a failure may lead here: else a cycle (G14)

    def _finish(self, me: ThreadState) -> None:
        in_any_case(self._finish_once, me)

    def _finish_once(self, me: ThreadState) -> None:
        """Leave nothing registered, and let go on whoever waits. Done again, do what is left."""
        subscription = self._wish.subscription
        if subscription is not None:
            subscription.off()
        for gate in self._wish.gates.copy():
            gate.ring()
        section(me, self._mutex, self._tell_base_locked)
        self._wish.end = _nothing
        self._wish.kept = self._wish.subscription = self._wish.where = None
        for key in self._callbacks.copy():
            self._call_one(partial(self._callbacks.pop, key, None))

    def _tell_base_locked(self) -> None:
        # Where that was cut short, the base class is not told again what it knows: it would put
        # this object into words, and with it the event (G6).
        how, outcome = self._outcome["end"]
        try:
            if super().done():
                pass
            elif how is _CANCELLED:
                super().cancel()
            elif how is _FAILURE:
                super().set_exception(outcome)
            else:
                super().set_result(outcome)
            if self._state == "CANCELLED":
                super().set_running_or_notify_cancel()
        finally:
            del outcome

    def _call_one(self, take: Callable[[], tuple[Callable[[Future[T]], object]] | None]) -> None:
        try:
            # On one line, as in `Channel._deliver`.
            for (callback,) in iter(take, None): callback(self)  # noqa: E701  # fmt: skip
        except Exception:
            getLogger("concurrent.futures").exception("exception calling callback for %r", self)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn` called with the expectation when it is done, at once if it is.

        It runs in the thread that ends the expectation. What it raises is logged, as by any
        `concurrent.futures.Future`.

        Args:
            fn: Called with this expectation.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str)
            >>> expected.add_done_callback(lambda done: print("got", done.result()))
            >>> emitter.emit("it")
            got it
        """
        self._wish.kept = self
        self._callbacks[object()] = (fn,)
        if self._outcome:
            outside(self._finish)

    def done(self) -> bool:
        """Return whether it has its event, has failed, or was cancelled.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str)
            >>> expected.done()
            False
        """
        return bool(self._outcome)

    def cancelled(self) -> bool:
        """Return whether it was cancelled, or its listener removed.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str)
            >>> emitter.remove_all_listeners()
            >>> expected.cancelled()
            True
        """
        return self.done() and self._outcome["end"][0] is _CANCELLED

    def result(self, timeout: float | None = None) -> T:
        """Return the event, waiting for it at most `timeout` seconds.

        It blocks the thread. On an event loop, await the expectation instead.

        Args:
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Raises:
            TimeoutError: The time was up. The expectation stays armed.
            concurrent.futures.CancelledError: It was cancelled, or its listener removed.
            Exception: What the predicate raised.
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is NaN.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str)
            >>> emitter.emit("hello")
            >>> expected.result(timeout=5)
            'hello'
        """
        error = None
        try:
            self._wait(timeout)
            error = self._failure()
            if error is not None:
                raise error
            event: T = self._outcome["end"][1]
            return event
        finally:
            del self, error  # the traceback of a failure leads here: else a cycle (G14)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the predicate raised, or None, waiting as `result()` does.

        Args:
            timeout: How many seconds to wait at the most; None for as long as it takes, 0 to not
                wait.

        Raises:
            TimeoutError: The time was up. The expectation stays armed.
            concurrent.futures.CancelledError: It was cancelled, or its listener removed.
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is NaN.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str, where=lambda text: text[0] == "a")
            >>> emitter.emit("")
            >>> expected.exception(timeout=5)
            IndexError('string index out of range')
        """
        self._wait(timeout)
        return self._failure()

    def _failure(self) -> BaseException | None:
        if not self._outcome:
            raise TimeoutError
        if self.cancelled():
            raise CancelledError
        how, outcome = self._outcome["end"]
        return outcome if how is _FAILURE else None

    def _wait(self, timeout: float | None) -> None:
        # Not on the condition of the base class: a signal handler that emits between its look at
        # the state and its wait would go unnoticed there (G12).
        deadline = deadline_of(timeout)
        gate = Gate()
        self._wish.gates.append(gate)
        try:
            self._wait_at(gate, deadline)
        finally:
            discard(self._wish.gates, gate)

    def _wait_at(self, gate: Gate, deadline: float | None) -> None:
        # A loop in a function of its own, see `Channel._arrive`.
        while not self.done():
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return
            gate.wait(left)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the event on an event loop; raise as `result()` does.

        Raises:
            asyncio.CancelledError: It was cancelled, or its listener removed.
        """
        return self._wait_async().__await__()

    async def _wait_async(self) -> T:
        from asyncio import CancelledError  # noqa: PLC0415 - as next

        from ._loops import LoopGate  # noqa: PLC0415 - it imports asyncio

        gate = LoopGate()
        self._wish.gates.append(gate)
        try:
            await self._await_at(gate)
        except BaseException:
            discard(self._wish.gates, gate)
            if not (self._wish.gates or self._callbacks or self._waiters):
                cancel = self.cancel
                outside(lambda _: cancel())
            raise
        discard(self._wish.gates, gate)
        if self.cancelled():
            raise CancelledError
        try:
            return self.result(0)
        finally:
            del self  # as in `result`

    async def _await_at(self, gate: LoopGate) -> None:
        while not self.done():
            await gate.wait_async()

    def cancel(self) -> bool:
        """Cancel the expectation, and remove its listener.

        Whoever waits for it gets a `CancelledError`. Calling it again does no harm.

        Returns:
            True if it is cancelled now. False if it has its event already, or has failed.

        Example:
            >>> emitter = EventEmitter()
            >>> expected = emitter.expect(str)
            >>> expected.cancel(), emitter.listener_count(str)
            (True, 0)
        """
        self._end(_CANCELLED)
        return self.cancelled()

    def __enter__(self) -> Expectation[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
