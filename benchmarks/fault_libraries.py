"""The columns of the `faults` table: each library with its safest documented settings.

The adapters are those of `rivals`, which choose what is faster, so some things are different here.
A library is only imported when its column is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any, Final

from benchmarks import rivals
from benchmarks.fault_cells import Handler, Library, Offer

KINDS: Final[dict[str, type[rivals.Rival]]] = {
    name: kind for name, kind in rivals.RIVALS.items() if kind is not rivals.BareLoop
}
"""The adapters by the headings of their columns."""

OURS: Final = tuple(name for name, kind in KINDS.items() if issubclass(kind, rivals.Ours))


def offers(kind: type[rivals.Rival]) -> frozenset[Offer]:
    """Return what a library offers, without importing it."""
    offered = {
        Offer.ONCE: kind.once is not rivals.Rival.once,
        Offer.REPLAY: kind.replays,
        Offer.OFF: kind.off is not rivals.Rival.off and not kind.freezes,
        Offer.WAIT: issubclass(kind, rivals.Ours),
        Offer.ANYWHERE: not kind.awaited,
    }
    return frozenset(offer for offer, there in offered.items() if there)


def load(name: str) -> Library:
    """Import a library; prove that its adapter does what it should.

    Raises:
        rivals.NotInstalledError: It is not there.
        rivals.AdapterError: Its adapter does something else.
    """
    kind = KINDS[name]
    if kind is rivals.Psygnal:
        # Compiled code cannot be stopped, so the same modules are run from their sources, which
        # the wheel holds, too: they are what runs where there is no compiled wheel.
        sys.path_hooks.insert(0, _sources_of("psygnal"))
    if kind is rivals.Bubus:
        warnings.simplefilter("ignore")  # it warns of handlers of one name
        logging.disable()
    rival = kind()
    rivals.check(rival)
    library = _library(rival)
    change = _CHANGES.get(kind)
    return change(rival, library) if change else library


def _library(rival: rivals.Rival) -> Library:
    def on(emitter: Any, handler: Handler) -> Any:
        return rival.on(emitter, _listener(handler))

    def once(emitter: Any, handler: Handler) -> Any:
        return rival.once(emitter, _listener(handler))

    def emit(emitter: Any, number: int) -> Any:
        return rival.emitter_of(emitter)(rival.event(number))

    file = import_module(rival.module.partition(".")[0]).__file__
    assert file  # noqa: S101 - none is a namespace package
    return Library(
        name=rival.name,
        code=[Path(file).parent],
        make=rival.make,
        on=on,
        off=rival.off,
        emit=emit,
        once=once if Offer.ONCE in offers(type(rival)) else None,
    )


def _is_real(event: object) -> bool:
    return event is not rivals.NOTHING


def _listener(handler: Handler) -> Callable[[Any], None]:
    def listener(event: Any) -> None:
        if _is_real(event):
            handler(event.number)

    return listener


# What is different from the adapters


def _waiting(_: rivals.Rival, library: Library) -> Library:
    def off_and_wait(emitter: Any, token: Any) -> bool:
        waited: bool = emitter.off_and_wait(token)
        return waited

    return replace(library, off_and_wait=off_and_wait)


def _sources_of(package: str) -> Callable[[str], FileFinder]:
    """Return a path hook that finds the Python files of a package, not its compiled modules."""

    def find(path: str) -> FileFinder:
        if Path(path).name != package:
            raise ImportError
        return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))

    return find


def _queued(rival: rivals.Rival, library: Library) -> Library:
    """Choose psygnal's setting for callbacks that emit."""

    def make() -> Any:
        return rival.library.SignalInstance((object,), reemission="queued")

    return replace(library, make=make)


def _first_real_one(rival: rivals.Rival, library: Library) -> Library:
    """Take the first event after the value that a BehaviorSubject begins with."""
    operators: Any = import_module("reactivex.operators")

    def once(emitter: Any, handler: Handler) -> Any:
        return rival.once(emitter.pipe(operators.filter(_is_real)), _listener(handler))

    return replace(library, once=once)


def _robust(rival: rivals.Rival, library: Library) -> Library:
    """Send with PyDispatcher's function that collects what receivers raise."""
    send: Any = import_module("pydispatch.robust").sendRobust

    def emit(emitter: Any, number: int) -> object:
        answers = send("happened", emitter, rival.event(number))
        return [answer for _, answer in answers if isinstance(answer, Exception)]

    return replace(library, emit=emit)


def _driven(rival: rivals.Rival, library: Library) -> Library:
    """Run aiosignal's coroutine where it is made, also in a handler, which would await it."""

    def emit(emitter: Any, number: int) -> None:
        sending: Coroutine[Any, Any, object] = rival.emitter_of(emitter)(rival.event(number))
        with suppress(StopIteration):
            sending.send(None)
            raise RuntimeError("it waits")

    return replace(library, emit=emit)


def _looped(rival: rivals.Rival, library: Library) -> Library:
    """Dispatch on bubus's loop, and outside of handlers wait until all is handled."""
    assert isinstance(rival, rivals.Bubus)  # noqa: S101 - see `_CHANGES`

    async def dispatch(bus: Any, number: int) -> bool:
        event = await bus.dispatch(rival.event(number))
        await bus.wait_until_idle()
        return any(result.error for result in event.event_results.values())

    def emit(bus: Any, number: int) -> object:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return rival.run(dispatch(bus, number))
        bus.dispatch(rival.event(number))
        return False

    return replace(library, emit=emit)


_CHANGES: Final[dict[type[rivals.Rival], Callable[[Any, Library], Library]]] = {
    rivals.Ours: _waiting,
    rivals.OursReplaying: _waiting,
    rivals.Psygnal: _queued,
    rivals.RxBehaviorSubject: _first_real_one,
    rivals.PyDispatcher: _robust,
    rivals.Aiosignal: _driven,
    rivals.Bubus: _looped,
}
