"""Bad input is refused at every call it may be given to, and changes nothing: section 5.

What the messages say is tested in test_messages.py.
"""

from __future__ import annotations

import re
from asyncio import new_event_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import EnumMeta
from functools import partial
from typing import Any, TypedDict
from unittest.mock import MagicMock, Mock

import pytest
from support import Ping, Pong

from eventemitter import EventEmitter, ReplayEventEmitter

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]


def ignore(_: object) -> None:
    """Do nothing."""


CALLS: list[tuple[str, Callable[[Any, Any], object]]] = [
    ("on()", lambda emitter, which: emitter.on(which, ignore)),
    ("on()", lambda emitter, which: emitter.on(which)),
    ("once()", lambda emitter, which: emitter.once(which, ignore)),
    ("once()", lambda emitter, which: emitter.once(which)),
    ("off()", lambda emitter, which: emitter.off(which, ignore)),
    ("listener_count()", lambda emitter, which: emitter.listener_count(which)),
    ("listeners()", lambda emitter, which: emitter.listeners(which)),
    ("remove_all_listeners()", lambda emitter, which: emitter.remove_all_listeners(which)),
    (
        "remove_all_listeners_and_wait()",
        lambda emitter, which: emitter.remove_all_listeners_and_wait(which, 1),
    ),
]
REPLAY_CALLS: list[tuple[str, Callable[[Any, Any], object]]] = [
    ("latest()", lambda emitter, which: emitter.latest(which)),
    ("forget()", lambda emitter, which: emitter.forget(which)),
]
NO_CLASSES = ["connected", 42, Ping(1), list[int], Ping | Pong, (Ping, Pong), Any]


@pytest.mark.parametrize("value", NO_CLASSES, ids=repr)
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_an_event_type_must_be_a_class(
    emitter: Emitter, name: str, call: Callable[[Any, Any], object], value: object
) -> None:
    """Section 5: at every call that takes one; nothing is registered."""
    with pytest.raises(TypeError, match=f"^{re.escape(name)}: the event type must be a class"):
        call(emitter, value)
    assert emitter.event_types() == ()


@pytest.mark.parametrize("value", NO_CLASSES, ids=repr)
@pytest.mark.parametrize(("name", "call"), REPLAY_CALLS)
def test_an_event_type_must_be_a_class_for_replay_too(
    name: str, call: Callable[[Any, Any], object], value: object
) -> None:
    """Section 5: at the calls that only a ReplayEventEmitter has."""
    with pytest.raises(TypeError, match=f"^{re.escape(name)}: the event type must be a class"):
        call(ReplayEventEmitter(), value)


@pytest.mark.parametrize("metaclass", [type, EnumMeta])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_class_of_classes_is_no_event_type(
    emitter: Emitter, name: str, call: Callable[[Any, Any], object], metaclass: type
) -> None:
    """Section 5: its instances are classes, and emit() refuses those."""
    with pytest.raises(TypeError, match=f"^{re.escape(name)}: .* is a class of classes"):
        call(emitter, metaclass)


class Settings(TypedDict):
    """What looks like a class of events."""

    name: str


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_typed_dict_is_no_event_type(
    emitter: Emitter, name: str, call: Callable[[Any, Any], object]
) -> None:
    """Section 5: what it makes are plain dicts, of which its listeners would never be told."""
    with pytest.raises(TypeError, match=f"^{re.escape(name)}: Settings is a TypedDict"):
        call(emitter, Settings)


def test_a_mock_is_what_it_stands_for(kind: type[Emitter]) -> None:
    """Section 2: one of a function or a method, which claims to be of its class, is called."""
    for stands_for in (noted, Notes().note):
        for mock in (Mock(spec=stands_for), MagicMock(spec=stands_for)):
            emitter = kind(on_error=mock)
            emitter.expect(Ping, where=mock).cancel()
            emitter.on(Ping, mock)
            emitter.emit(Ping())
            mock.assert_called_once_with(Ping())


def noted(event: object) -> None:
    """Be a function."""


class Notes:
    """Has a method."""

    def note(self, event: object) -> None:
        """Be a method."""


@pytest.mark.parametrize("handler", [None, 42, "handle", []])
@pytest.mark.parametrize("name", ["on", "once", "off"])
def test_a_handler_must_be_callable(emitter: Emitter, name: str, handler: object) -> None:
    """Section 5: None is no handler; nothing is registered."""
    with pytest.raises(TypeError, match="the handler must be callable"):
        getattr(emitter, name)(Ping, handler)
    assert emitter.event_types() == ()


def generate(event: object) -> Generator[object]:
    """Make a generator."""
    yield event


async def coroutine_handler(_: object) -> None:
    """Do nothing, on a loop."""


class AsyncHandler:
    """An object whose __call__ is a coroutine function."""

    def __repr__(self) -> str:
        """Say what it is."""
        return "AsyncHandler()"

    async def __call__(self, _: object) -> None:
        """Do nothing, on a loop."""


def test_a_generator_function_is_refused_with_a_loop_too(emitter: Emitter) -> None:
    """Section 5: a loop could not run one either."""
    loop = new_event_loop()
    with pytest.raises(TypeError, match="this is a generator function"):
        emitter.on(Ping, generate, loop=loop)
    loop.close()
    assert emitter.event_types() == ()


def test_a_function_that_returns_a_generator_is_a_handler(emitter: Emitter) -> None:
    """Section 5: its own code does run, as that of a decorator such as `contextmanager` does."""
    emitter.on(Ping, contextmanager(generate))
    emitter.on(Ping, lambda event: generate(event))  # noqa: PLW0108 - what is tested
    emitter.emit(Ping())
    assert emitter.listener_count(Ping) == 2


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
@pytest.mark.parametrize("listening", [False, True])
def test_emit_asks_for_an_instance_when_given_the_class(
    emitter: Emitter, name: str, *, listening: bool
) -> None:
    """Section 5: the parentheses that are easily forgotten."""
    if listening:
        emitter.on(Ping, ignore)
    with pytest.raises(TypeError, match="pass an instance"):
        getattr(emitter, name)(Ping)


@pytest.mark.parametrize("value", [42, None, ignore, Ping])
@pytest.mark.parametrize("name", ["off", "off_and_wait"])
def test_what_is_no_subscription_removes_nothing(emitter: Emitter, name: str, value: Any) -> None:
    """Section 5: an event type without a handler must not remove all, nor the other way round."""
    subscription = emitter.on(Ping, ignore)
    with pytest.raises(TypeError, match=r"takes the subscription that on\(\) returned"):
        getattr(emitter, name)(value)
    assert subscription.active


@pytest.mark.parametrize("name", ["off", "off_and_wait"])
@pytest.mark.parametrize("used", [False, True])
def test_the_subscription_of_another_emitter_is_refused(
    kind: Kind, name: str, *, used: bool
) -> None:
    """Section 5: ValueError, and no listener of either is removed."""
    emitter, other = kind(), kind()
    own = emitter.on(Ping, ignore) if used else None
    foreign = other.on(Ping, ignore)
    with pytest.raises(ValueError, match="which belongs to another emitter"):
        getattr(emitter, name)(foreign)
    assert foreign.active
    assert own is None or own.active


def test_the_ended_subscription_of_another_emitter_is_refused_too(kind: Kind) -> None:
    """Section 5: the mistake is the same."""
    foreign = kind().on(Ping, ignore)
    foreign.off()
    with pytest.raises(ValueError, match="which belongs to another emitter"):
        kind().off(foreign)


@pytest.mark.parametrize(
    "timeout", [-1, -0.5, float("-inf"), float("inf"), 10**9, pytest.param(10**400, id="huge")]
)
def test_any_number_is_a_timeout(emitter: Emitter, timeout: float) -> None:
    """Section 5: a negative one means do not wait, a huge one for as long as it takes."""
    assert emitter.on(Ping, ignore).off_and_wait(timeout) is True
    emitter.on(Ping, ignore)
    assert emitter.remove_all_listeners_and_wait(Ping, timeout) is True


@pytest.mark.parametrize("value", [42, "log", False])
def test_on_error_must_be_callable(kind: Kind, value: Any) -> None:
    """Section 5: it would be found out when a handler fails, which is too late."""
    with pytest.raises(TypeError, match=r"^on_error=.*: must be None or a plain function"):
        kind(on_error=value)
    assert kind(on_error=None).event_types() == ()


def test_on_error_is_a_keyword(kind: Kind) -> None:
    """Section 2: so that nobody passes an event type there."""
    maker: Any = kind
    with pytest.raises(TypeError):
        maker(print)


class Link(EventEmitter[Ping | Pong]):
    """Declares two event types."""


class ReplayLink(ReplayEventEmitter[Ping | Pong]):
    """Declares two event types and replays."""


@pytest.mark.parametrize("cls", [Link, ReplayLink])
@pytest.mark.parametrize(("_", "call"), CALLS)
def test_an_undeclared_event_type_is_refused(
    _: str, call: Callable[[Any, Any], object], cls: Kind
) -> None:
    """Section 5: by a TypeError that names what is declared."""
    emitter = cls()
    with pytest.raises(TypeError, match=f"^{cls.__name__} declares Ping [|] Pong, not int;"):
        call(emitter, int)
    assert emitter.event_types() == ()


@pytest.mark.parametrize(("_", "call"), REPLAY_CALLS)
def test_an_undeclared_event_type_has_no_latest(_: str, call: Callable[[Any, Any], object]) -> None:
    """Section 5: as for on()."""
    with pytest.raises(TypeError, match=r"^ReplayLink declares Ping [|] Pong, not int;"):
        call(ReplayLink(), int)


@pytest.mark.parametrize("cls", [Link, ReplayLink])
@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
def test_an_undeclared_event_is_refused(cls: Kind, name: str) -> None:
    """Section 5: also where nobody listens."""
    with pytest.raises(TypeError, match=f"^{cls.__name__} declares Ping [|] Pong, not int;"):
        getattr(cls(), name)(42)


@pytest.mark.parametrize("on_error", [coroutine_handler, AsyncHandler(), partial(AsyncHandler())])
def test_on_error_must_not_be_a_coroutine_function(kind: type[Emitter], on_error: Any) -> None:
    """Section 5: nobody would await it."""
    with pytest.raises(TypeError, match=r"a plain function.* is a coroutine function"):
        kind(on_error=on_error)
