"""What the package is to its importer: its names, its cost, its types."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest
from support import Ping, channel_of

import eventemitter
from eventemitter import EventEmitter, _channel, _sections, _turns

PUBLIC = [
    "EventEmitter",
    "EventStream",
    "Expectation",
    "HandlerFailure",
    "LockOrderError",
    "ReplayEventEmitter",
    "StreamOverflow",
    "Subscription",
]


def test_importing_does_not_import_asyncio() -> None:
    """Issue 2: who has threads only does not pay for loops."""
    program = "import sys, eventemitter; print(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )
    modules = run.stdout.split()
    assert "eventemitter" in modules
    assert "asyncio" not in modules


def test_the_public_names_are_exactly_these() -> None:
    """Section 2: nothing else is exported."""
    assert eventemitter.__all__ == PUBLIC
    assert [name for name in sorted(vars(eventemitter)) if not name.startswith("_")] == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_has_a_docstring(name: str) -> None:
    """Section 2: each class, and each of its methods and properties, says what it promises."""
    thing: type = getattr(eventemitter, name)
    assert inspect.getdoc(thing)
    documented = 0
    for member, value in vars(thing).items():
        if not member.startswith("_") and (
            inspect.isfunction(value) or isinstance(value, property)
        ):
            assert value.__doc__, f"{name}.{member}"
            documented += 1
    assert documented or name in {"HandlerFailure", "LockOrderError", "StreamOverflow"}


@pytest.mark.parametrize(
    "name", ["EventEmitter", "ReplayEventEmitter", "Subscription", "Expectation", "EventStream"]
)
def test_the_methods_are_exactly_those_of_the_contract(name: str) -> None:
    """Section 2: no helper of the package shows up in an editor's list."""
    expected = {
        "EventEmitter": {
            "on", "once", "off", "off_and_wait", "remove_all_listeners",
            "remove_all_listeners_and_wait", "listener_count", "listeners", "event_types", "emit",
            "emit_nowait", "emit_async", "expect", "stream", "follow",
        },
        "ReplayEventEmitter": {"latest", "forget"},
        "Subscription": {
            "active", "event_type", "handler", "off", "off_and_wait", "off_and_wait_async",
        },
        "Expectation": {  # as any future has them
            "result", "exception", "cancel", "cancelled", "done", "add_done_callback",
        },
        "EventStream": {"close", "dropped"},
    }  # fmt: skip
    cls: type = getattr(eventemitter, name)
    internal = {"parts"}  # a slot of Subscription
    assert {each for each in vars(cls) if not each.startswith("_")} - internal == expected[name]


def test_the_package_is_marked_as_typed() -> None:
    """Section 2: type checkers read its annotations."""
    assert (Path(inspect.getfile(eventemitter)).parent / "py.typed").is_file()


class NoLock:
    """A lock that must not be taken."""

    def acquire(self) -> NoReturn:
        """Fail."""
        raise AssertionError("a lock was taken")

    def release(self) -> NoReturn:
        """Fail as a lock does that was not taken."""
        raise RuntimeError

    def __enter__(self) -> NoReturn:
        """Fail."""
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Fail."""
        self.release()


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
def test_emit_without_listeners_takes_no_lock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 2: on a plain emitter, also where there have been listeners."""
    for module in (_channel, _sections, _turns):
        monkeypatch.setattr(module, "waits_lock", NoLock())
    emitter: EventEmitter[Ping] = EventEmitter()
    emitter.on(Ping, print).off()
    emitter.once(Ping, lambda _: None)
    emitter.emit(Ping())
    channel = channel_of(emitter, Ping)
    channel.mutex = NoLock()
    getattr(emitter, name)(Ping())
    with pytest.raises(AssertionError, match="a lock was taken"):
        emitter.listener_count(Ping)


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
def test_emit_before_the_first_listener_makes_nothing(name: str) -> None:
    """Issue 2: there is nothing yet that could be locked."""
    emitter: EventEmitter[Ping] = EventEmitter()
    getattr(emitter, name)(Ping())
    assert vars(emitter) == {}
