"""What the documentation of each library promises, or does not, about each fault.

A cell that has a note here and goes wrong is no fault of the library: it never offered that. The
table says so, says what happens all the same, and links to the words. A cell without a note that
goes wrong is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True)
class Note:
    """Why a library cannot be blamed, and where that is written."""

    words: str
    url: str


_PYEE: Final = "https://github.com/jfhbrook/pyee/blob/main/pyee/base.py"
_NODE: Final = "https://nodejs.org/api/events.html#emitterremovelistenereventname-listener"
_BLINKER: Final = "https://blinker.readthedocs.io"
_BLINKER_ON_THREADS: Final = "https://groups.google.com/g/discorporate-tools/c/08noJKADLwM"
_PSYGNAL: Final = "https://psygnal.readthedocs.io/en/latest/API/"
_PSYGNAL_USAGE: Final = "https://psygnal.readthedocs.io/en/latest/usage/"
_RX: Final = "https://www.reactivex.io/documentation/contract.html"
_RXPY: Final = "https://rxpy.readthedocs.io/en/latest/"
_PYMITTER: Final = "https://pypi.org/project/pymitter/"
_EVENTS: Final = "https://github.com/pyeve/events"
_PYDISPATCHER: Final = "https://mcfletch.github.io/pydispatcher/"
_AIOSIGNAL: Final = "https://aiosignal.readthedocs.io/"
_BUBUS: Final = "https://github.com/browser-use/bubus"
_ASYNCIO: Final = (
    "https://docs.python.org/3/library/asyncio-dev.html#concurrency-and-multithreading"
)

_ONCE: Final = ("once-threads", "once-reentrant")
_REPLAY: Final = ("late", "replay-race")
_ORDER: Final = ("order-threads", "order-reentrant")
_INTERRUPTING: Final = ("signal", "finalizer")

_Notes: TypeAlias = Sequence[tuple[Sequence[str], Note]]


def _no_once(url: str) -> tuple[Sequence[str], Note]:
    return _ONCE, Note("There are no listeners for one event.", url)


def _no_replay(url: str) -> tuple[Sequence[str], Note]:
    return _REPLAY, Note("Events are not kept for those who come late.", url)


def _no_waiting(call: str, url: str) -> tuple[Sequence[str], Note]:
    return ("waiting",), Note(f"`{call}` is not said to wait for a running handler.", url)


def _no_threads(url: str) -> tuple[Sequence[str], Note]:
    return (
        ("once-threads", "order-threads", "crossing", "registering"),
        Note("Nothing is said of threads.", url),
    )


def _no_interrupting(url: str) -> tuple[Sequence[str], Note]:
    return _INTERRUPTING, Note("Nothing is said of signal handlers and finalizers.", url)


def _one_after_the_other(words: str, url: str) -> tuple[Sequence[str], Note]:
    return ("order-reentrant",), Note(words, url)


_OF_RX: Final[_Notes] = (
    (
        _ORDER,
        Note(
            "Notifications must be issued serially, so it is on the caller not to call `on_next()`"
            " while it runs.",
            _RX,
        ),
    ),
    (("raises",), Note("Nothing is said of an observer that raises.", _RX)),
    _no_waiting("dispose()", _RXPY),
    _no_interrupting(_RXPY),
)

_FOR_ASYNCIO: Final = (
    ("order-threads", "crossing", "registering", *_INTERRUPTING),
    Note("It is for asyncio, whose objects belong to one thread.", _ASYNCIO),
)

_NOTES: Final[Mapping[str, _Notes]] = {
    "EventEmitter": (
        (
            _REPLAY,
            Note(
                "An `EventEmitter` keeps no event, a `ReplayEventEmitter` does.",
                "#what-it-guarantees",
            ),
        ),
    ),
    "pyee": (
        _no_replay(_PYEE),
        (
            _ORDER,
            Note("Handlers are called in a synchronous, blocking manner, as in Node.js.", _PYEE),
        ),
        (
            ("removed",),
            Note("It is similar to Node.js, where a removal spares the emit in progress.", _NODE),
        ),
        _no_waiting("remove_listener()", _PYEE),
        (("raises",), Note("Exceptions are for the handlers themselves to catch.", _PYEE)),
        _no_interrupting(_PYEE),
    ),
    "blinker": (
        _no_once(_BLINKER),
        _no_replay(_BLINKER),
        (
            _ORDER,
            Note("Threads may send in tandem; no order is promised.", _BLINKER_ON_THREADS),
        ),
        (
            ("removed",),
            Note(
                "Threads may send in tandem with disconnects; that no call begins after one by"
                " another thread is not promised (one by a receiver takes effect at once).",
                _BLINKER_ON_THREADS,
            ),
        ),
        _no_waiting("disconnect()", _BLINKER),
        (
            ("raises",),
            Note("An exception propagates; receivers are assumed not to raise.", _BLINKER),
        ),
        _no_interrupting(_BLINKER),
    ),
    "psygnal": (
        _no_once(_PSYGNAL),
        _no_replay(_PSYGNAL),
        _no_waiting("disconnect()", _PSYGNAL),
        (
            ("raises",),
            Note(
                "An exception in a callback is raised at once, as an `EmitLoopError`.",
                _PSYGNAL_USAGE,
            ),
        ),
        _no_interrupting(_PSYGNAL),
    ),
    "RxPY Subject": (*_OF_RX, _no_replay(_RXPY)),
    "RxPY BehaviorSubject": _OF_RX,
    "RxPY ReplaySubject": _OF_RX,
    "pymitter": (
        _no_replay(_PYMITTER),
        _no_threads(_PYMITTER),
        _one_after_the_other("`emit()` invokes the functions, in their order.", _PYMITTER),
        (
            ("removed",),
            Note("It is a port from Node.js, where a removal spares the emit in progress.", _NODE),
        ),
        _no_waiting("off()", _PYMITTER),
        (("raises",), Note("Nothing is said of functions that raise.", _PYMITTER)),
        _no_interrupting(_PYMITTER),
    ),
    "Events": (
        _no_once(_EVENTS),
        _no_replay(_EVENTS),
        _no_threads(_EVENTS),
        _one_after_the_other("Firing an event invokes its handlers in sequence.", _EVENTS),
        _no_waiting("-=", _EVENTS),
        (("raises",), Note("Nothing is said of handlers that raise.", _EVENTS)),
        _no_interrupting(_EVENTS),
    ),
    "PyDispatcher": (
        _no_once(_PYDISPATCHER),
        _no_replay(_PYDISPATCHER),
        _no_threads(_PYDISPATCHER),
        _one_after_the_other("`send()` calls each receiver.", _PYDISPATCHER),
        _no_waiting("disconnect()", _PYDISPATCHER),
        _no_interrupting(_PYDISPATCHER),
    ),
    "aiosignal": (
        _no_once(_AIOSIGNAL),
        (
            (*_REPLAY, "removed", "waiting"),
            Note(
                "A signal is frozen before it is sent; then callbacks neither come nor go.",
                _AIOSIGNAL,
            ),
        ),
        _FOR_ASYNCIO,
        (
            ("order-reentrant", "raises"),
            Note("`send()` calls the callbacks one by one; no more is said.", _AIOSIGNAL),
        ),
    ),
    "bubus": (
        (_ONCE, Note("There is `expect()`, which is awaited, and takes no handler.", _BUBUS)),
        (_REPLAY, Note("There is a history of events, which handlers are not told.", _BUBUS)),
        (("removed", "waiting"), Note("There is no call that removes a handler.", _BUBUS)),
        _FOR_ASYNCIO,
    ),
}


SETTINGS: Final[Mapping[str, Note]] = {
    "psygnal": Note(
        'It runs with `reemission="queued"`, and uncompiled, so that it can be stopped.', _PSYGNAL
    ),
    "RxPY Subject": Note("`take(1)` stands for once.", _RXPY),
    "PyDispatcher": Note("Events are sent with `sendRobust()`.", _PYDISPATCHER),
}
"""What a library is asked to do that is not what it does by default."""


def note_of(library: str, fault: str) -> Note | None:
    """Return what is known of a cell."""
    for faults, note in _NOTES.get(library, ()):
        if fault in faults:
            return note
    return None
