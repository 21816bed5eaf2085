"""The lock order is enforced where checking is on, costs nothing where it is off, and is kept.

Tests of the order are named `permitted` or `forbidden`.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support import PATIENCE, Crew, Ping, Stop, assert_idle

from eventemitter import EventEmitter, HandlerFailure, LockOrderError, ReplayEventEmitter
from eventemitter import _locks as locks
from eventemitter._channel import Channel
from eventemitter._listener import CheckedListener
from eventemitter._locks import CheckedLock, Rank, new_lock, proved
from eventemitter._sections import this_thread

EmitterType = type[EventEmitter[Any]]
both_emitters = pytest.mark.parametrize("emitter_type", [EventEmitter, ReplayEventEmitter])
every_rank = pytest.mark.parametrize("rank", list(Rank))


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the locks and listeners that the test makes."""
    monkeypatch.setattr(locks, "CHECKING", True)
    monkeypatch.setattr("eventemitter._emitter.new_listener", CheckedListener)


def ignore(event: object) -> None:
    """Do nothing."""


def line_here() -> int:
    """Return the number of the line that calls."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# Permitted


@every_rank
def test_permitted_one_lock_of_any_rank(rank: Rank) -> None:
    """Also again, once it has been given back (section 4)."""
    lock = CheckedLock(rank, "it")
    for _ in range(2):
        with lock:
            pass


def test_permitted_locks_in_the_order_of_the_table() -> None:
    """From the lowest rank to the highest, given back in any order (section 4)."""
    in_order = [CheckedLock(rank, rank.name) for rank in sorted(Rank)]
    for given_back in (in_order, in_order[::-1]):
        for lock in in_order:
            lock.acquire()
        for lock in given_back:
            lock.release()


@every_rank
def test_permitted_same_rank_one_after_the_other(rank: Rank) -> None:
    """They are not held together (section 4)."""
    for lock in (CheckedLock(rank, "first"), CheckedLock(rank, "second")):
        with lock:
            pass


@every_rank
def test_permitted_same_rank_on_two_threads(crew: Crew, rank: Rank) -> None:
    """The order is one of each thread (section 4)."""

    def take() -> None:
        with CheckedLock(rank, "theirs"):
            pass

    with CheckedLock(rank, "mine"):
        crew.run(take).result(PATIENCE)


def test_permitted_user_code_after_the_last_lock_was_given_back() -> None:
    """It comes out of the proof as it went in (G6)."""
    with CheckedLock(Rank.EVENT_TYPE, "it"):
        pass
    assert proved(ignore) is ignore


def test_permitted_user_code_while_another_thread_holds_a_lock(crew: Crew) -> None:
    """Only this thread's locks matter (G6)."""
    stop = Stop()

    def hold() -> None:
        with CheckedLock(Rank.EVENT_TYPE, "theirs"):
            stop()

    crew.run(hold)
    stop.wait()
    assert proved(ignore) is ignore
    stop.go()


# Forbidden


def test_forbidden_lower_rank_after_higher() -> None:
    """Each pair that is not in the order of the table (section 4)."""
    ranks = sorted(Rank)
    for place, low in enumerate(ranks):
        for high in ranks[place + 1 :]:
            with CheckedLock(high, "held"), pytest.raises(LockOrderError):
                CheckedLock(low, "wanted").acquire()


@every_rank
def test_forbidden_same_rank_twice(rank: Rank) -> None:
    """Two locks of one rank are never held together (section 4)."""
    wanted = CheckedLock(rank, "wanted")
    with CheckedLock(rank, "held"), pytest.raises(LockOrderError):
        wanted.acquire()
    with wanted:
        pass  # it was not taken above, and can be now


@every_rank
def test_forbidden_same_lock_twice(rank: Rank) -> None:
    """Re-entrant for its release alone: a critical section is never entered twice (section 4)."""
    lock = CheckedLock(rank, "it")
    with lock, pytest.raises(LockOrderError):
        lock.acquire()


def test_forbidden_order_is_reported_before_the_lock_could_block(crew: Crew) -> None:
    """The order is proved on one thread, without waiting for the deadlock (section 4).

    1 another thread holds the lock, 2 this one wants it against the order.
    """
    wanted, stop = CheckedLock(Rank.EVENT_TYPE, "wanted"), Stop()

    def hold() -> None:
        with wanted:
            stop()

    crew.run(hold)
    stop.wait()  # 1
    with CheckedLock(Rank.WAITS, "held"), pytest.raises(LockOrderError):
        wanted.acquire()  # 2
    stop.go()


def test_forbidden_order_leaves_the_locks_that_are_held() -> None:
    """Those are given back by who took them, and then everything is permitted again (section 4)."""
    held, wanted = CheckedLock(Rank.WAITS, "held"), CheckedLock(Rank.EVENT_TYPE, "wanted")
    with held:
        for _ in range(2):
            with pytest.raises(LockOrderError):
                wanted.acquire()
    with wanted, held:
        pass


@every_rank
def test_forbidden_user_code_under_a_lock(rank: Rank) -> None:
    """Also a listener does not let its handler be looked up then (G6)."""
    listener = CheckedListener(ignore, once=False)
    with CheckedLock(rank, "it"):
        with pytest.raises(LockOrderError):
            proved(ignore)
        with pytest.raises(LockOrderError):
            _ = listener.call
    assert listener.call is ignore


@both_emitters
def test_forbidden_handler_under_the_mutex_of_its_channel(
    checking: None, emitter_type: EmitterType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that delivered under its mutex would be caught by the first handler (G6)."""
    del checking
    emitter = emitter_type()
    called: list[Ping] = []
    emitter.on(Ping, called.append)
    deliver: Callable[..., None] = vars(Channel)["_deliver"]

    def deliver_under_the_mutex(self: Channel, *args: Any) -> None:
        with self.mutex:
            deliver(self, *args)

    monkeypatch.setattr(Channel, "_deliver", deliver_under_the_mutex)
    with pytest.raises((LockOrderError, ExceptionGroup)) as raised:
        emitter.emit(Ping())
    assert LockOrderError.__name__ in "".join(traceback.format_exception(raised.value))
    assert called == []
    assert_idle(emitter, queue=False)


@both_emitters
def test_forbidden_emit_while_a_lock_of_the_package_is_held(
    checking: None, emitter_type: EmitterType
) -> None:
    """An emitter's own mutex is a lock of the order (section 4)."""
    del checking
    emitter = emitter_type()
    emitter.on(Ping, ignore)
    with CheckedLock(Rank.EVENT_TYPE, "it"), pytest.raises(LockOrderError):
        emitter.emit(Ping())
    assert_idle(emitter)


# The report


def test_report_names_thread_held_locks_wanted_lock_and_order(crew: Crew) -> None:
    """It says all that is needed to find the fault, and where (section 4)."""
    first = CheckedLock(Rank.EVENT_TYPE, "Connected")
    second = CheckedLock(Rank.WAITS, "the wait graph")
    wanted = CheckedLock(Rank.EVENT_TYPE, "Disconnected")
    lines: list[int] = []

    def take_wrongly() -> str:
        threading.current_thread().name = "node-7"
        with first:
            lines.append(line_here() - 1)
            with second:
                lines.append(line_here() - 1)
                with pytest.raises(LockOrderError) as raised:
                    wanted.acquire()
                lines.append(line_here() - 1)
        return str(raised.value)

    report = crew.run(take_wrongly).result(PATIENCE)
    places = [f"{__file__}:{line} in take_wrongly" for line in lines]
    assert report == (
        "thread 'node-7' wants EVENT_TYPE lock of Disconnected\n"
        f"  at {places[2]}\n"
        f"  holds EVENT_TYPE lock of Connected, taken at {places[0]}\n"
        f"  holds WAITS lock of the wait graph, taken at {places[1]}\n"
        "  the order is EVENT_TYPE before WAITS before STREAM, one of each, and none while user "
        "code runs"
    )


def test_report_of_user_code_under_a_lock_names_the_code() -> None:
    """And the lock, with the place where it was taken (G6)."""
    with CheckedLock(Rank.EVENT_TYPE, "Connected"):
        taken = line_here() - 1
        with pytest.raises(LockOrderError) as raised:
            proved(ignore)
        called = line_here() - 1
    report = str(raised.value)
    name = test_report_of_user_code_under_a_lock_names_the_code.__name__
    assert report.startswith(
        f"thread {threading.current_thread().name!r} is about to run user code"
    )
    assert repr(ignore) in report
    assert f"at {__file__}:{called} in {name}\n" in report
    assert f"holds EVENT_TYPE lock of Connected, taken at {__file__}:{taken} in {name}\n" in report
    assert report.endswith(
        "EVENT_TYPE before WAITS before STREAM, one of each, and none while user code runs"
    )


def test_report_names_the_line_of_the_package_that_took_the_mutex(
    checking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of the helper which takes locks for others (section 4)."""
    del checking
    emitter = EventEmitter[Ping]()
    emitter.on(Ping, ignore)

    def call_out(_self: Channel) -> tuple[()]:
        proved(ignore)
        return ()

    monkeypatch.setattr(Channel, "_snapshot_locked", call_out)
    with pytest.raises(LockOrderError) as raised:
        emitter.listener_count(Ping)
    [held] = [line for line in str(raised.value).splitlines() if "holds" in line]
    assert held.startswith("  holds EVENT_TYPE lock of Ping, taken at ")
    assert "_channel.py:" in held
    assert held.endswith(" in active_listeners")


# Giving back


@every_rank
def test_checked_lock_is_not_given_back_by_a_thread_that_does_not_hold_it(
    crew: Crew, rank: Rank
) -> None:
    """RuntimeError, as from the bare lock, and it stays with its owner (section 4)."""
    lock, stop = CheckedLock(rank, "it"), Stop()

    def hold() -> None:
        with lock:
            stop()
            with pytest.raises(LockOrderError):
                lock.acquire()  # it is still known to be held

    with pytest.raises(RuntimeError):
        lock.release()
    crew.run(hold)
    stop.wait()
    with pytest.raises(RuntimeError):
        lock.release()
    stop.go()
    crew.join()
    with lock:
        pass


@every_rank
def test_checked_lock_keeps_other_threads_out(crew: Crew, rank: Rank) -> None:
    """It is a lock, after all.

    1 a thread holds it, 2 another wants it, 3 the first gives it back.
    """
    lock, stop = CheckedLock(rank, "it"), Stop()
    order: list[str] = []

    def hold() -> None:
        with lock:
            stop()
            order.append("first")

    def want() -> None:
        with lock:
            order.append("second")

    crew.run(hold)
    stop.wait()  # 1
    crew.run(want)  # 2
    stop.go()  # 3
    crew.join()
    assert order == ["first", "second"]


# On and off


def run_python(code: str, *options: str, check_locks: str | None = None) -> str:
    """Run `code` in an interpreter of its own, and return what it prints."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"EVENTEMITTER_CHECK_LOCKS", "PYTHONDEVMODE"}
    }
    if check_locks is not None:
        environment["EVENTEMITTER_CHECK_LOCKS"] = check_locks
    run = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.stderr == ""
    return run.stdout


KINDS = """
    import threading
    from eventemitter import EventEmitter, ReplayEventEmitter
    from eventemitter._listener import CheckedListener, Listener
    from eventemitter._locks import Rank, CheckedLock, new_lock
    from eventemitter._sections import waits_lock

    def handler(event): pass

    emitters = EventEmitter(), ReplayEventEmitter()
    for emitter in emitters:
        emitter.on(int, handler)
        assert emitter.listeners(int)[0].handler is handler
    channels = [emitter._eventemitter_channels[int] for emitter in emitters]
    locks = [new_lock(rank, "") for rank in Rank] + [channel.mutex for channel in channels]
    [lock] = {type(lock) for lock in [*locks, waits_lock]}
    [listener] = {type(listener) for channel in channels for listener in channel.listeners}
    bare = lock is type(threading.RLock()), listener is Listener
    print(*bare, lock is CheckedLock, listener is CheckedListener)
"""


@pytest.mark.parametrize("value", [None, "", "0"])
def test_off_a_lock_is_the_bare_one_and_a_listener_has_its_handler(value: str | None) -> None:
    """Off, checking costs nothing (section 4)."""
    assert run_python(KINDS, check_locks=value) == "True True False False\n"


def test_environment_variable_switches_checking_on() -> None:
    """Every lock of the package is a checked one (section 4)."""
    assert run_python(KINDS, check_locks="1") == "False False True True\n"


def test_dev_mode_switches_checking_on() -> None:
    """As it does all checks that are too slow for production (section 4)."""
    assert run_python(KINDS, "-X", "dev") == "False False True True\n"


@pytest.mark.parametrize("check_locks", [None, "1"])
def test_violation_is_reported_where_checking_is_on_alone(check_locks: str | None) -> None:
    """The same program, with and without (section 4)."""
    code = """
        from eventemitter import LockOrderError
        from eventemitter._locks import Rank, new_lock
        with new_lock(Rank.WAITS, "held"):
            try:
                with new_lock(Rank.EVENT_TYPE, "wanted"):
                    print("taken")
            except LockOrderError:
                print("refused")
    """
    printed = run_python(code, check_locks=check_locks)
    assert printed == ("taken\n" if check_locks is None else "refused\n")


def test_new_lock_makes_what_the_switch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in one process (section 4)."""
    monkeypatch.setattr(locks, "CHECKING", False)
    assert type(new_lock(Rank.WAITS, "it")) is type(threading.RLock())
    monkeypatch.setattr(locks, "CHECKING", True)
    assert type(new_lock(Rank.WAITS, "it")) is CheckedLock


# G6: no lock is held while user code runs


class Witness:
    """User code that finds out whether its thread is in a critical section."""

    def __init__(self, emitter: EventEmitter[Any], crew: Crew) -> None:
        """Look at the event type Ping of `emitter`."""
        self._emitter = emitter
        self._crew = crew
        self.seen: list[bool] = []

    def __call__(self, *_: object) -> None:
        """Have another thread use the emitter, which takes its mutex."""
        self.seen.append(this_thread().inside)
        if not this_thread().inside:
            self._crew.run(self._emitter.listener_count, Ping).result(PATIENCE)


@both_emitters
@pytest.mark.parametrize("register", ["on", "once"])
def test_handler_runs_with_no_lock_held(
    crew: Crew, emitter_type: EmitterType, register: str
) -> None:
    """Called live, also with events from the queue (G6)."""
    emitter = emitter_type()
    witness = Witness(emitter, crew)
    getattr(emitter, register)(Ping, witness)

    def once_more(event: Ping) -> None:
        if event.number == 0:
            getattr(emitter, register)(Ping, witness)
            emitter.emit(Ping(1))

    emitter.on(Ping, once_more)
    emitter.emit(Ping(0))
    assert len(witness.seen) >= 2
    assert not any(witness.seen)


@pytest.mark.parametrize("register", ["on", "once"])
def test_replayed_handler_runs_with_no_lock_held(crew: Crew, register: str) -> None:
    """A replay under the mutex would deadlock against a user's own lock (G6)."""
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping())
    witness = Witness(emitter, crew)
    getattr(emitter, register)(Ping, witness)
    assert witness.seen == [False]


def test_replay_and_emit_may_want_one_lock_of_the_user(crew: Crew) -> None:
    """A replay under the mutex would deadlock here (G6).

    1 a thread takes its own lock, 2 a replayed handler on another thread wants that lock, 3 the
    first uses the emitter, and gives its lock back.
    """
    emitter = ReplayEventEmitter[Ping]()
    emitter.emit(Ping(1))
    lock, wants = threading.Lock(), threading.Event()
    heard: list[Ping] = []

    def handler(event: Ping) -> None:
        wants.set()
        with lock:
            heard.append(event)

    with lock:  # 1
        crew.run(emitter.on, Ping, handler)
        assert wants.wait(PATIENCE)  # 2
        emitter.emit(Ping(2))  # 3
        emitter.once(Ping, ignore)
        assert emitter.listener_count(Ping) == 1
    crew.join()
    assert heard == [Ping(1), Ping(2)]


@both_emitters
def test_on_error_runs_with_no_lock_held(crew: Crew, emitter_type: EmitterType) -> None:
    """Also for what a replayed handler raised (G6, G11)."""
    failures: list[HandlerFailure] = []

    def on_error(failure: HandlerFailure) -> None:
        failures.append(failure)
        witness()

    def fail(event: Ping) -> None:
        raise ValueError(event.number)

    emitter = emitter_type(on_error=on_error)
    witness = Witness(emitter, crew)
    emitter.on(Ping, fail)
    emitter.emit(Ping())
    emitter.on(Ping, fail)
    assert witness.seen == [False] * (2 if emitter_type is ReplayEventEmitter else 1)
    assert len(failures) == len(witness.seen)


class Comparing:
    """A handler with an `__eq__` of its own."""

    def __init__(self, compared: Callable[[], object]) -> None:
        """Call `compared` on each comparison."""
        self._compared = compared

    def __call__(self, event: Ping) -> None:
        """Do nothing."""

    def __eq__(self, other: object) -> bool:
        """Equal whatever there is."""
        self._compared()
        return True

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


@both_emitters
def test_eq_of_a_handler_runs_with_no_lock_held(crew: Crew, emitter_type: EmitterType) -> None:
    """By off(event_type, handler), which looks for a handler that is equal (G6)."""
    emitter = emitter_type()
    witness = Witness(emitter, crew)
    emitter.on(Ping, Comparing(witness))
    assert emitter.off(Ping, ignore)
    assert emitter.listener_count(Ping) == 0
    assert witness.seen
    assert not any(witness.seen)


@both_emitters
@pytest.mark.parametrize("register", ["on", "once"])
def test_eq_of_a_handler_is_not_asked_where_its_subscription_is_removed(
    emitter_type: EmitterType, register: str
) -> None:
    """A handler that equals everything, None too, is removed as any other (G6, G8)."""
    emitter = emitter_type()
    compared: list[bool] = []
    handler = Comparing(lambda: compared.append(True))
    subscription = getattr(emitter, register)(Ping, handler)
    assert subscription.off()
    assert not subscription.off()
    getattr(emitter, register)(Ping, handler)
    emitter.remove_all_listeners()
    assert emitter.listener_count(Ping) == 0
    assert compared == []


class Mortal:
    """An event or a handler with a finalizer."""

    def __init__(self, finalizer: Callable[[], object]) -> None:
        """Call `finalizer` in the end."""
        self._finalizer = finalizer

    def __call__(self, event: object) -> None:
        """Do nothing."""

    def __del__(self) -> None:
        """Say so."""
        self._finalizer()


@both_emitters
@pytest.mark.parametrize("register", ["on", "once"])
def test_finalizer_of_a_handler_runs_with_no_lock_held(
    crew: Crew, emitter_type: EmitterType, register: str
) -> None:
    """However the emitter lets go of it (G6, G14)."""
    emitter = emitter_type()
    witness = Witness(emitter, crew)
    getattr(emitter, register)(Ping, Mortal(witness)).off()
    getattr(emitter, register)(Ping, Mortal(witness))
    emitter.remove_all_listeners()
    emitter.once(Ping, Mortal(witness))
    emitter.emit(Ping())
    assert witness.seen == [False] * 3


def test_finalizer_of_an_event_runs_with_no_lock_held(crew: Crew) -> None:
    """Of a latest event that is replaced or forgotten (G6, G14)."""
    emitter = ReplayEventEmitter[Mortal]()
    witness = Witness(emitter, crew)
    for _ in range(2):
        emitter.emit(Mortal(witness))
    emitter.on(Mortal, ignore)
    emitter.emit(Mortal(witness))
    emitter.forget()
    assert witness.seen == [False] * 3


@pytest.mark.parametrize("listeners", [0, 1])
def test_finalizer_of_a_queued_event_runs_with_no_lock_held(crew: Crew, listeners: int) -> None:
    """Of an event that was handed to the thread that delivers, to listeners or none (G6, G14)."""
    emitter = EventEmitter[Mortal]()
    witness = Witness(emitter, crew)
    stop = Stop()
    subscription = emitter.on(Mortal, stop)
    crew.run(emitter.emit, Mortal(witness))
    stop.wait()
    if not listeners:
        subscription.off()
        emitter.once(Mortal, ignore)
        emitter.emit_nowait(Mortal(witness))
        emitter.remove_all_listeners()
    emitter.emit_nowait(Mortal(witness))
    emitter.emit_nowait(Mortal(witness))
    stop.go()
    crew.join()
    assert witness.seen == [False] * (3 if listeners else 4)


def test_finalizer_of_an_event_that_a_replay_left_over_runs_with_no_lock_held(crew: Crew) -> None:
    """Of an event that was kept for a listener that went before it was told (G6, G14).

    1 a replay is stopped in its handler, 2 two events are kept for it, the first of which nobody
    else keeps, 3 the listener is removed, 4 the replay goes on, and ends.
    """
    emitter = ReplayEventEmitter[Mortal]()
    witness = Witness(emitter, crew)
    emitter.emit(Mortal(ignore_nothing))
    stop = Stop()

    def handler(_: Mortal) -> None:
        stop()

    crew.run(emitter.on, Mortal, handler)
    stop.wait()  # 1
    emitter.emit(Mortal(witness))
    emitter.emit(Mortal(ignore_nothing))  # 2
    emitter.remove_all_listeners()  # 3
    stop.go()  # 4
    crew.join()
    assert witness.seen == [False]


def ignore_nothing() -> None:
    """Do nothing."""
