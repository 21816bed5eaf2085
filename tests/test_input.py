"""Bad input is refused at the call that is wrong: section 5, each message in full."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import EnumMeta
from functools import partial
from typing import Any

import pytest
from support import Ping, Pong, assert_idle

from eventemitter import EventEmitter, ReplayEventEmitter

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]


def ignore(_: object) -> None:
    """Do nothing."""


def raises(kind: type[Exception], message: str) -> pytest.RaisesExc[Exception]:
    """Expect exactly this message."""
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


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
NO_CLASSES = [
    ("connected", "'connected'"),
    (42, "42"),
    (Ping(1), "Ping(number=1)"),
    (list[int], "list[int]"),
    (Ping | Pong, "support.Ping | support.Pong"),
    ("a" * 100, "'aaaaaaaaaaaa...aaaaaaaaaaaaa'"),
]


@pytest.mark.parametrize(("value", "shown"), NO_CLASSES)
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_an_event_type_must_be_a_class(
    emitter: Emitter, name: str, call: Callable[[Any, Any], object], value: object, shown: str
) -> None:
    """Section 5: at every call that takes one; nothing is registered."""
    with raises(
        TypeError,
        f"{name}: the event type must be a class, not {shown}; "
        "pass the class whose instances are emitted",
    ):
        call(emitter, value)
    assert emitter.event_types() == ()


@pytest.mark.parametrize(("value", "shown"), NO_CLASSES)
@pytest.mark.parametrize(("name", "call"), REPLAY_CALLS)
def test_an_event_type_must_be_a_class_for_replay_too(
    name: str, call: Callable[[Any, Any], object], value: object, shown: str
) -> None:
    """Section 5: at the calls that only a ReplayEventEmitter has."""
    with raises(
        TypeError,
        f"{name}: the event type must be a class, not {shown}; "
        "pass the class whose instances are emitted",
    ):
        call(ReplayEventEmitter(), value)


def test_none_is_no_event_type(emitter: Emitter) -> None:
    """Section 5: it means all types only where that is offered."""
    with raises(
        TypeError,
        "on(): the event type must be a class, not None; "
        "pass the class whose instances are emitted",
    ):
        emitter.on(None, ignore)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("metaclass", [type, EnumMeta])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_class_of_classes_is_no_event_type(
    emitter: Emitter, name: str, call: Callable[[Any, Any], object], metaclass: type
) -> None:
    """Section 5: its instances are classes, and emit() refuses those."""
    with raises(
        TypeError,
        f"{name}: {metaclass.__name__} is a class of classes, and a class is never an event; "
        "pass the class whose instances are emitted",
    ):
        call(emitter, metaclass)


@pytest.mark.parametrize(
    ("handler", "shown"), [(None, "None"), (42, "42"), ("handle", "'handle'"), ([], "[]")]
)
@pytest.mark.parametrize("name", ["on", "once", "off"])
def test_a_handler_must_be_callable(
    emitter: Emitter, name: str, handler: object, shown: str
) -> None:
    """Section 5: None is no handler; nothing is registered."""
    with raises(
        TypeError,
        f"{name}(Ping, {shown}): the handler must be callable with one argument, the event",
    ):
        getattr(emitter, name)(Ping, handler)
    assert emitter.event_types() == ()


@pytest.mark.parametrize("name", ["on", "once"])
def test_what_is_decorated_must_be_callable(emitter: Emitter, name: str) -> None:
    """Section 5: the decorator says so as the call does."""
    with raises(
        TypeError, f"{name}(Ping, None): the handler must be callable with one argument, the event"
    ):
        getattr(emitter, name)(Ping)(None)


async def coroutine_handler(_: object) -> None:
    """Do nothing, on a loop."""


class AsyncHandler:
    """An object whose __call__ is a coroutine function."""

    def __repr__(self) -> str:
        """Say what it is."""
        return "AsyncHandler()"

    async def __call__(self, _: object) -> None:
        """Do nothing, on a loop."""


@pytest.mark.parametrize("name", ["on", "once"])
@pytest.mark.parametrize(
    ("handler", "shown"),
    [
        (coroutine_handler, "coroutine_handler"),
        (AsyncHandler(), "AsyncHandler()"),
        (partial(coroutine_handler), None),
        (partial(partial(AsyncHandler()), 1), None),
    ],
)
def test_a_coroutine_function_without_a_loop_is_refused(
    emitter: Emitter, name: str, handler: object, shown: str | None
) -> None:
    """Section 5: rather than never awaited, in silence."""
    with pytest.raises(RuntimeError) as caught:
        getattr(emitter, name)(Ping, handler)
    if shown is not None:
        assert str(caught.value) == (
            f"{name}(Ping, {shown}): the handler is a coroutine function, and no event loop is "
            "running to run it on; register it in a coroutine, or pass the loop, as in "
            "loop=asyncio.get_running_loop()"
        )
    assert emitter.event_types() == ()


@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
@pytest.mark.parametrize("listening", [False, True])
def test_emit_asks_for_an_instance_when_given_the_class(
    emitter: Emitter, name: str, *, listening: bool
) -> None:
    """Section 5: the parentheses that are easily forgotten."""
    if listening:
        emitter.on(Ping, ignore)
    with raises(
        TypeError, f"{name}(Ping) was given the class; pass an instance, as in {name}(Ping(...))"
    ):
        getattr(emitter, name)(Ping)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(42, "42"), (None, "None"), (ignore, None), (Ping, "<class 'support.Ping'>")],
)
def test_off_takes_a_subscription_or_a_type_and_a_handler(
    emitter: Emitter, value: Any, shown: str | None
) -> None:
    """Section 5: also where the handler was forgotten, which must not remove all."""
    subscription = emitter.on(Ping, ignore)
    with pytest.raises(TypeError) as caught:
        emitter.off(value)
    if shown is not None:
        assert str(caught.value) == (
            "off() takes the subscription that on() returned or an event type and a handler, "
            f"not {shown}"
        )
    assert subscription.active


@pytest.mark.parametrize("value", [42, None, Ping])
def test_off_and_wait_takes_a_subscription(emitter: Emitter, value: Any) -> None:
    """Section 5: as off() does."""
    with raises(
        TypeError,
        f"off_and_wait() takes the subscription that on() returned, not {value!r}",
    ):
        emitter.off_and_wait(value)


@pytest.mark.parametrize("name", ["off", "off_and_wait"])
@pytest.mark.parametrize("used", [False, True])
def test_the_subscription_of_another_emitter_is_refused(
    kind: Kind, name: str, *, used: bool
) -> None:
    """Section 5: ValueError, and no listener of either is removed."""
    emitter, other = kind(), kind()
    own = emitter.on(Ping, ignore) if used else None
    foreign = other.on(Ping, ignore)
    with raises(
        ValueError,
        f"{name}() was given <Subscription to Ping: calls ignore>, which belongs to another "
        "emitter; call its own off() or ask the emitter that made it",
    ):
        getattr(emitter, name)(foreign)
    assert foreign.active
    assert own is None or own.active


def test_the_ended_subscription_of_another_emitter_is_refused_too(kind: Kind) -> None:
    """Section 5: the mistake is the same."""
    foreign = kind().on(Ping, ignore)
    foreign.off()
    with raises(
        ValueError,
        "off() was given <Subscription to Ping: inactive>, which belongs to another emitter; "
        "call its own off() or ask the emitter that made it",
    ):
        kind().off(foreign)


@pytest.mark.parametrize(
    ("timeout", "error", "shown"),
    [
        ("soon", TypeError, "'soon'"),
        ([], TypeError, "[]"),
        (1j, TypeError, "1j"),
        (float("nan"), ValueError, "nan"),
    ],
)
@pytest.mark.parametrize("name", ["off_and_wait", "remove_all", "subscription"])
def test_a_timeout_must_be_none_or_a_number(
    emitter: Emitter, name: str, timeout: Any, error: type[Exception], shown: str
) -> None:
    """Section 5: refused before anything is removed."""
    subscription = emitter.on(Ping, ignore)
    with raises(
        error,
        f"timeout must be None or a number of seconds, 0 meaning do not wait, not {shown}",
    ):
        match name:
            case "off_and_wait":
                emitter.off_and_wait(subscription, timeout)
            case "remove_all":
                emitter.remove_all_listeners_and_wait(Ping, timeout)
            case _:
                subscription.off_and_wait(timeout)
    assert subscription.active
    assert_idle(emitter)


@pytest.mark.parametrize(
    "timeout", [-1, -0.5, float("-inf"), float("inf"), 10**9, pytest.param(10**400, id="huge")]
)
def test_any_number_is_a_timeout(emitter: Emitter, timeout: float) -> None:
    """Section 5: a negative one means do not wait, a huge one for as long as it takes."""
    assert emitter.on(Ping, ignore).off_and_wait(timeout) is True
    emitter.on(Ping, ignore)
    assert emitter.remove_all_listeners_and_wait(Ping, timeout) is True


@pytest.mark.parametrize(("value", "shown"), [(42, "42"), ("log", "'log'"), (False, "False")])
def test_on_error_must_be_callable(kind: Kind, value: Any, shown: str) -> None:
    """Section 5: it would be found out when a handler fails, which is too late."""
    with raises(
        TypeError, f"on_error={shown}: must be None or callable with one argument, the failure"
    ):
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


UNDECLARED = (
    "{} declares Ping | Pong, not int; add it to the parameter of its base class, "
    "as in EventEmitter[Ping | Pong | int]"
)


@pytest.mark.parametrize("cls", [Link, ReplayLink])
@pytest.mark.parametrize(("_", "call"), CALLS)
def test_an_undeclared_event_type_is_refused(
    _: str, call: Callable[[Any, Any], object], cls: Kind
) -> None:
    """Section 5: by a TypeError that names what is declared."""
    emitter = cls()
    with raises(TypeError, UNDECLARED.format(cls.__name__)):
        call(emitter, int)
    assert emitter.event_types() == ()


@pytest.mark.parametrize(("_", "call"), REPLAY_CALLS)
def test_an_undeclared_event_type_has_no_latest(_: str, call: Callable[[Any, Any], object]) -> None:
    """Section 5: as for on()."""
    with raises(TypeError, UNDECLARED.format("ReplayLink")):
        call(ReplayLink(), int)


@pytest.mark.parametrize("cls", [Link, ReplayLink])
@pytest.mark.parametrize("name", ["emit", "emit_nowait"])
def test_an_undeclared_event_is_refused(cls: Kind, name: str) -> None:
    """Section 5: also where nobody listens."""
    with raises(TypeError, UNDECLARED.format(cls.__name__)):
        getattr(cls(), name)(42)


@pytest.mark.parametrize("on_error", [coroutine_handler, AsyncHandler(), partial(AsyncHandler())])
def test_on_error_must_not_be_a_coroutine_function(kind: type[Emitter], on_error: Any) -> None:
    """Section 5: nobody would await it."""
    with pytest.raises(TypeError, match=r"on_error=.* is a coroutine function.*pass a plain"):
        kind(on_error=on_error)
