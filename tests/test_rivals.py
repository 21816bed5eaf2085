"""Each adapter has its library do what the benchmarks ask, and its check sees where it does not."""

# ruff: noqa: E402 - where the benchmarks are missing, the import of them must not be reached

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent
if not (_ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks do not lie beside the tests", allow_module_level=True)

from benchmarks.rivals import (
    NOTHING,
    RIVALS,
    AdapterError,
    BareLoop,
    Bubus,
    Counted,
    Emit,
    Handler,
    NotInstalledError,
    NotOfferedError,
    Ours,
    Rival,
    check,
    load,
    version_of,
)

WITHOUT_ONCE = {"blinker", "psygnal", "Events", "PyDispatcher", "aiosignal", "bubus", "bare loop"}
WITH_REPLAY = {"ReplayEventEmitter", "RxPY BehaviorSubject", "RxPY ReplaySubject"}
WITH_COROUTINES = {
    *("EventEmitter", "ReplayEventEmitter", "pyee", "blinker", "psygnal", "pymitter"),
    *("aiosignal", "bubus", "bare loop"),
}
EMITTING_ELSEWHERE = {"EventEmitter", "ReplayEventEmitter", "bare loop"}
WITH_AWAITED_EVENTS = {"EventEmitter", "RxPY Subject", "bubus", "bare loop"}


@pytest.fixture(params=RIVALS)
def rival(request: pytest.FixtureRequest) -> Iterator[Rival]:
    """Return the adapter of a library; the test runs once with each."""
    with closing(load(request.param)) as rival:
        yield rival


def _listener(rival: Rival, emitter: Any, number: int = 0) -> tuple[Counted, Any]:
    listener = Counted(number)
    return listener, rival.on(emitter, listener.handler)


def _calls(*listeners: Counted) -> list[int]:
    return [listener.seen()[0] for listener in listeners]


def test_every_library_is_there() -> None:
    """Ours first and the floor last."""
    assert list(RIVALS) == [
        *("EventEmitter", "ReplayEventEmitter", "pyee", "blinker", "psygnal"),
        *("RxPY Subject", "RxPY BehaviorSubject", "RxPY ReplaySubject"),
        *("pymitter", "Events", "PyDispatcher", "aiosignal", "bubus", "bare loop"),
    ]


def test_emit_reaches_every_listener_of_this_emitter_alone(rival: Rival) -> None:
    """Each is called once an event, with the very event, whichever way it is emitted."""
    emitter, other = rival.make(), rival.make()
    listeners = [_listener(rival, emitter, number)[0] for number in range(3)]
    elsewhere, _ = _listener(rival, other)
    before = _calls(*listeners, elsewhere)
    first, second = rival.event(1), rival.event(2)
    rival.emit(emitter, first)
    assert all(listener.seen()[1] is first for listener in listeners)
    rival.emit(emitter, second)
    assert all(listener.seen()[1] is second for listener in listeners)
    after = _calls(*listeners, elsewhere)
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2, 2, 0]


def test_off_removes_one_listener(rival: Rival) -> None:
    """The others stay. bubus alone has no way to remove one."""
    emitter = rival.make()
    (staying, _), (leaving, token) = (_listener(rival, emitter, number) for number in range(2))
    before = _calls(staying, leaving)
    if isinstance(rival, Bubus):
        with pytest.raises(NotOfferedError):
            rival.off(emitter, token)
        return
    rival.off(emitter, token)
    rival.emit(emitter, rival.event(1))
    assert _calls(staying, leaving) == [before[0] + 1, before[1]]


def test_once_is_called_once_or_not_offered(rival: Rival) -> None:
    """Several events make no difference."""
    emitter, listener = rival.make(), Counted(0)
    if rival.name in WITHOUT_ONCE:
        with pytest.raises(NotOfferedError):
            rival.once(emitter, listener.handler)
        return
    rival.once(emitter, listener.handler)
    rival.emit(emitter, rival.event(1))
    rival.emit(emitter, rival.event(2))
    assert _calls(listener) == [1]


def test_late_listener_gets_what_the_adapter_says(rival: Rival) -> None:
    """Where a library replays, the latest event; elsewhere nothing."""
    assert rival.replays == (rival.name in WITH_REPLAY)
    if rival.freezes:
        return
    emitter = rival.make()
    rival.emit(emitter, rival.event(1))
    latest = rival.event(2)
    rival.emit(emitter, latest)
    late, _ = _listener(rival, emitter)
    assert late.seen() == ((1, latest) if rival.replays else (0, None))


def test_first_listener_gets_nothing_or_what_stands_for_it(rival: Rival) -> None:
    """Only a BehaviorSubject has a latest event before there is one."""
    listener, _ = _listener(rival, rival.make())
    assert listener.seen() == ((1, NOTHING) if rival.starts_with_nothing else (0, None))


def test_frozen_listeners_cannot_change(rival: Rival) -> None:
    """What says that it freezes raises after the first event; all others accept."""
    emitter = rival.make()
    _listener(rival, emitter, 0)
    rival.emit(emitter, rival.event(1))
    if rival.freezes:
        with pytest.raises(RuntimeError):
            _listener(rival, emitter, 1)
    else:
        _listener(rival, emitter, 1)


def test_coroutine_handlers_run_or_are_not_offered(rival: Rival) -> None:
    """On the loop that emits, with the very event."""

    async def listen() -> tuple[list[Any], Any]:
        emitter = await rival.make_on_loop()
        seen: list[Any] = []
        handled = asyncio.Event()

        async def handler(event: Any) -> None:
            seen.append(event)
            handled.set()

        rival.on_coroutine(emitter, handler)
        event = rival.event(1)
        emitting = rival.emitter_on_loop(emitter)(event)
        if rival.awaited or rival.name in {"blinker", "pymitter"}:
            await emitting
        await handled.wait()
        await rival.end_on_loop(emitter)
        return seen, event

    if rival.name in WITH_COROUTINES:
        seen, event = asyncio.run(listen())
        assert len(seen) == 1
        assert seen[0] is event
    else:
        with pytest.raises(NotOfferedError):
            asyncio.run(listen())


def test_coroutine_handlers_are_reached_from_another_thread_or_not_offered(rival: Rival) -> None:
    """Without help of a `call_soon_threadsafe` of the caller."""

    async def listen() -> None:
        emitter = await rival.make_on_loop()
        handled = asyncio.Event()

        async def handler(_event: Any) -> None:
            handled.set()

        rival.on_coroutine(emitter, handler)
        try:
            emit = rival.emitter_elsewhere(emitter)
            await asyncio.to_thread(emit, rival.event(1))
            await handled.wait()
        finally:
            await rival.end_on_loop(emitter)

    if rival.name in EMITTING_ELSEWHERE:
        asyncio.run(listen())
    else:
        with pytest.raises(NotOfferedError):
            asyncio.run(listen())


def test_next_event_can_be_awaited_or_is_not_offered(rival: Rival) -> None:
    """It is the very event."""

    async def wait() -> None:
        emitter = rival.make() if "RxPY" in rival.name else await rival.make_on_loop()
        try:
            following = rival.next_event(emitter)
            event = rival.event(1)
            asyncio.get_running_loop().call_soon(rival.emitter_on_loop(emitter), event)
            assert await following is event
        finally:
            await rival.end_on_loop(emitter)

    if rival.name in WITH_AWAITED_EVENTS:
        asyncio.run(wait())
    elif not rival.replays:
        with pytest.raises(NotOfferedError):
            asyncio.run(wait())


def test_version_is_that_of_the_distribution(rival: Rival) -> None:
    """What runs from its sources has none, and neither has the floor."""
    found = version_of(type(rival))
    if isinstance(rival, BareLoop):
        assert found == ""
    elif found != "run from its sources":
        assert found == version(rival.distribution)


def test_library_that_is_not_installed_says_so() -> None:
    """It is neither left out nor taken for one that fails."""

    class Missing(Ours):
        name = "missing"
        distribution = "eventemitter-that-nobody-wrote"
        module = "eventemitter_that_nobody_wrote"

    assert version_of(Missing) == "not installed"
    with pytest.raises(NotInstalledError, match="missing"):
        Missing()


# An adapter that is wrong


def _loses_every_second(emit: Emit) -> Emit:
    count = 0

    def lossy(event: Any) -> None:
        nonlocal count
        count += 1
        if count % 2:
            emit(event)

    return lossy


def _sends_something_else(emit: Emit) -> Emit:
    return lambda event: emit(type(event)(event.number))


def _emits_twice(emit: Emit) -> Emit:
    def twice(event: Any) -> None:
        emit(event)
        emit(event)

    return twice


@pytest.mark.parametrize("spoil", [_loses_every_second, _sends_something_else, _emits_twice])
def test_check_finds_an_adapter_that_emits_wrongly(spoil: Callable[[Emit], Emit]) -> None:
    """Its figures would be those of something else."""

    class Spoiled(BareLoop):
        def __init__(self) -> None:
            super().__init__()
            self._spoiled: dict[int, Emit] = {}

        def emitter_of(self, emitter: Any) -> Emit:
            emit = super().emitter_of(emitter)
            return self._spoiled.setdefault(id(emitter), spoil(emit))

    with pytest.raises(AdapterError, match="bare loop"):
        check(Spoiled())


class _NeverOff(BareLoop):
    def off(self, emitter: Any, token: Any) -> None:
        """Do nothing."""


class _AlwaysOn(BareLoop):
    def once(self, emitter: Any, handler: Handler) -> Any:
        return self.on(emitter, handler)


class _SaysItReplays(BareLoop):
    replays = True


class _RegistersTwice(BareLoop):
    def on(self, emitter: Any, handler: Handler) -> Any:
        super().on(emitter, handler)
        return super().on(emitter, handler)


@pytest.mark.parametrize("kind", [_NeverOff, _AlwaysOn, _SaysItReplays, _RegistersTwice])
def test_check_finds_an_adapter_that_listens_wrongly(kind: type[Rival]) -> None:
    """As above."""
    with pytest.raises(AdapterError, match="bare loop"):
        check(kind())
