"""What people get wrong, and what they are told: every message in full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import Enum, EnumMeta
from functools import partial
from typing import Annotated, Any, Generic, NewType, TypeAlias, TypedDict, TypeVar, Union

import pytest
from support import Ping, Pong

from eventemitter import EventEmitter, ReplayEventEmitter

Emitter = EventEmitter[Any]
T = TypeVar("T")


class Link(EventEmitter[Ping | Pong]):
    """Declares two event types."""


class Single(ReplayEventEmitter[Ping]):
    """Declares one, and replays."""


class Message(Generic[T]):
    """A generic event."""


@dataclass(frozen=True)
class Progress:
    """An event of several fields."""

    task: str
    done: int
    total: int


class Settings(TypedDict):
    """What looks like a class of events."""

    name: str


class Color(Enum):
    """Events that are members of an enumeration."""

    RED = 1


Events: TypeAlias = Ping | Pong
NewPing = NewType("NewPing", Ping)


def handle(_: object) -> None:
    """Do nothing."""


async def handle_async(_: object) -> None:
    """Do nothing, on a loop."""


def generate(event: object) -> Iterator[object]:
    """Make a generator."""
    yield event


async def generate_async(event: object) -> AsyncIterator[object]:
    """Make an async generator."""
    yield event


class Generates:
    """Makes generators, in a method and when called."""

    def __repr__(self) -> str:
        return "Generates()"

    def __call__(self, event: object) -> Iterator[object]:
        yield event

    def method(self, event: object) -> Iterator[object]:
        yield event


def closed_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that is closed."""
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


LINK = Link()
NOTED: Any = Annotated[Ping, "noted"]
OLD: Any = Union["Ping", "Pong"]
ITS_CLASS = "pass the class whose instances are emitted"
ITSELF = "pass each class as an argument of its own"
PINGS = "support.Ping | support.Pong"
PING = "Ping(number=1)"
BOTH = "<class 'support.Ping'>, <class 'support.Pong'>"
NO_HANDLER = (
    "{0}(Ping, {1}): the handler must be callable with one argument, the event; pass the function "
    "itself, not a call of it, as in {0}(Ping, handler)"
)
GENERATOR = (
    "{}(Ping, {}): the handler must be callable with one argument, the event; this is a generator "
    "function, and calling it runs none of its code; write one without `yield`, or iterate over "
    "stream(Ping)"
)
NO_LOOP = (
    "{}(Ping, {}): the handler is a coroutine function, and no event loop is running to run it on; "
    "register it in a coroutine, or pass the loop, as in loop=asyncio.get_running_loop()"
)
NO_SUBSCRIPTION = (
    "off() takes the subscription that on() returned, or an event type and a handler as in "
    "off(Event, handler), not {}"
)
FOREIGN = (
    "{}() was given <Subscription to Ping: {}>, which belongs to another emitter; call its own "
    "off() or ask the emitter that made it"
)
NO_PREDICATE = (
    "expect(Ping, where={}): must be None or a plain function of the event that returns whether it "
    "is the one"
)
NO_ERROR_HANDLER = "on_error={}: must be None or a plain function of one argument, the failure"
NOT_RUN = "; this is a {} function, and calling it runs none of its code"
NO_TIMEOUT = "timeout must be None or a number of seconds, 0 meaning do not wait, not {}"
NO_MAXSIZE = "maxsize must be a whole number of events, 1 or more, not {}"

CLOSED_LOOP = (
    "{}(Ping, {}): the event loop that the handler would run on is closed; pass one that is open, "
    "as in loop=asyncio.get_running_loop()"
)
ALONE = "a subscription goes alone, to off() or off_and_wait()"
NONE_GIVEN = "{}() was given no event type; name at least one class of events"
METACLASS = (
    "{}(): {} is a class of classes, and a class is never an event; "
    "pass the class whose instances are emitted"
)
TYPED_DICT = (
    "{}(): {} is a TypedDict, of which there are no instances but plain dicts; "
    "pass a class of its own, such as a dataclass"
)
UNDECLARED = (
    "{0} declares {1}, not {2}; add it to the parameter of its base class, "
    "as in EventEmitter[{1} | {2}]"
)


def no_class(call: str, shown: str, way: str = ITS_CLASS) -> str:
    """Return what is said of what is no event type."""
    return f"{call}(): the event type must be a class, not {shown}; {way}"


def handler_first(call: str, handler: object) -> str:
    """Return what is said of a handler in the place of the event type."""
    way = f"pass the class first, as in {call}(Event, handler) or @emitter.{call}(Event)"
    return no_class(call, repr(handler), way)


MISTAKES: list[tuple[str, type[Exception], str]] = [
    # No event type
    ("emitter.on('connected', handle)", TypeError, no_class("on", "'connected'")),
    ("@emitter.on('connected')", TypeError, no_class("on", "'connected'")),
    ("emitter.once('a' * 99, handle)", TypeError, no_class("once", f"'{'a' * 12}...{'a' * 13}'")),
    ("emitter.on(None, handle)", TypeError, no_class("on", "None")),
    ("emitter.on(Any, handle)", TypeError, no_class("on", "typing.Any")),
    ("emitter.on(T, handle)", TypeError, no_class("on", "~T")),
    ("emitter.on(NewPing, handle)", TypeError, no_class("on", "test_messages.NewPing")),
    ("emitter.on(NOTED, handle)", TypeError, no_class("on", repr(NOTED))),
    ("emitter.off(42, handle)", TypeError, no_class("off", "42")),
    ("emitter.listener_count(42)", TypeError, no_class("listener_count", "42")),
    ("emitter.listeners(handle)", TypeError, no_class("listeners", repr(handle))),
    ("emitter.remove_all_listeners('x')", TypeError, no_class("remove_all_listeners", "'x'")),
    (
        "emitter.remove_all_listeners_and_wait(5)",
        TypeError,
        no_class("remove_all_listeners_and_wait", "5"),
    ),
    ("emitter.expect('x')", TypeError, no_class("expect", "'x'")),
    ("emitter.stream(Ping, 100)", TypeError, no_class("stream", "100")),
    ("emitter.follow(LINK, Ping, 'x')", TypeError, no_class("follow", "'x'")),
    ("ReplayEventEmitter().latest('x')", TypeError, no_class("latest", "'x'")),
    ("ReplayEventEmitter().forget('x')", TypeError, no_class("forget", "'x'")),
    ("emitter.stream()", TypeError, NONE_GIVEN.format("stream")),
    ("emitter.follow(LINK)", TypeError, NONE_GIVEN.format("follow")),
    # An event in its place
    ("emitter.on(Ping(1), handle)", TypeError, no_class("on", PING, "pass its class, Ping")),
    ("emitter.expect(Ping(1))", TypeError, no_class("expect", PING, "pass its class, Ping")),
    (
        "emitter.on(Color.RED, handle)",
        TypeError,
        no_class("on", "<Color.RED: 1>", "pass its class, Color"),
    ),
    (
        "ReplayEventEmitter().latest(Ping(1))",
        TypeError,
        no_class("latest", PING, "pass its class, Ping"),
    ),
    # A handler in its place
    ("@emitter.on", TypeError, handler_first("on", handle)),
    ("@emitter.once", TypeError, handler_first("once", handle)),
    ("emitter.on(handle_async)", TypeError, handler_first("on", handle_async)),
    ("emitter.on(handle, Ping)", TypeError, handler_first("on", handle)),
    ("emitter.on(partial(handle))", TypeError, handler_first("on", partial(handle))),
    (
        "emitter.off(handle, Ping)",
        TypeError,
        no_class("off", repr(handle), "pass the class first, as in off(Event, handler)"),
    ),
    # Several in its place
    (
        "emitter.on(Ping | Pong, handle)",
        TypeError,
        no_class("on", PINGS, "call on() for each class"),
    ),
    ("@emitter.once(Events)", TypeError, no_class("once", PINGS, "call once() for each class")),
    (
        "emitter.on(OLD, handle)",
        TypeError,
        no_class("on", repr(OLD), "call on() for each class"),
    ),
    (
        "emitter.on((Ping, Pong), handle)",
        TypeError,
        no_class("on", f"({BOTH})", "call on() for each class"),
    ),
    (
        "emitter.remove_all_listeners({Ping})",
        TypeError,
        no_class(
            "remove_all_listeners",
            "{<class 'support.Ping'>}",
            "call remove_all_listeners() for each class",
        ),
    ),
    ("emitter.stream([Ping, Pong])", TypeError, no_class("stream", f"[{BOTH}]", ITSELF)),
    ("emitter.follow(LINK, Ping | Pong)", TypeError, no_class("follow", PINGS, ITSELF)),
    # A generic class with its parameter
    (
        "emitter.on(list[int], handle)",
        TypeError,
        no_class("on", "list[int]", "pass list, the class of its instances at run time"),
    ),
    (
        "emitter.expect(Message[int])",
        TypeError,
        no_class(
            "expect",
            "test_messages.Message[int]",
            "pass Message, the class of its instances at run time",
        ),
    ),
    # A class that has no events
    ("emitter.on(type, handle)", TypeError, METACLASS.format("on", "type")),
    ("emitter.expect(EnumMeta)", TypeError, METACLASS.format("expect", EnumMeta.__name__)),
    ("emitter.on(Settings, handle)", TypeError, TYPED_DICT.format("on", "Settings")),
    # Not declared
    ("LINK.on(int, handle)", TypeError, UNDECLARED.format("Link", "Ping | Pong", "int")),
    ("LINK.emit('connected')", TypeError, UNDECLARED.format("Link", "Ping | Pong", "str")),
    ("Single().emit(Pong())", TypeError, UNDECLARED.format("Single", "Ping", "Pong")),
    # No handler
    ("emitter.on(Ping, None)", TypeError, NO_HANDLER.format("on", "None")),
    ("emitter.on(Ping, handle(Ping()))", TypeError, NO_HANDLER.format("on", "None")),
    ("emitter.on(Ping)(None)", TypeError, NO_HANDLER.format("on", "None")),
    ("emitter.once(Ping, 'handle')", TypeError, NO_HANDLER.format("once", "'handle'")),
    ("emitter.off(Ping, None)", TypeError, NO_HANDLER.format("off", "None")),
    # Its code would never run
    ("emitter.on(Ping, generate)", TypeError, GENERATOR.format("on", "generate")),
    ("emitter.on(Ping)(generate_async)", TypeError, GENERATOR.format("on", "generate_async")),
    ("emitter.once(Ping, Generates())", TypeError, GENERATOR.format("once", "Generates()")),
    (
        "emitter.on(Ping, Generates().method)",
        TypeError,
        GENERATOR.format("on", "Generates.method"),
    ),
    (
        "emitter.on(Ping, partial(generate))",
        TypeError,
        GENERATOR.format("on", repr(partial(generate))),
    ),
    ("emitter.on(Ping, generate, loop=None)", TypeError, GENERATOR.format("on", "generate")),
    # No event loop
    ("emitter.on(Ping, handle_async)", RuntimeError, NO_LOOP.format("on", "handle_async")),
    ("emitter.once(Ping)(handle_async)", RuntimeError, NO_LOOP.format("once", "handle_async")),
    (
        "emitter.on(Ping, handle_async, loop='main')",
        TypeError,
        "on(Ping, ..., loop='main'): the loop must be None or an event loop of asyncio",
    ),
    (
        "emitter.on(Ping, handle_async, loop=closed_loop())",
        RuntimeError,
        CLOSED_LOOP.format("on", "handle_async"),
    ),
    (
        "emitter.once(Ping, handle, loop=closed_loop())",
        RuntimeError,
        CLOSED_LOOP.format("once", "handle"),
    ),
    # No event
    (
        "emitter.emit(Ping)",
        TypeError,
        "emit(Ping) was given the class; pass an instance, as in emit(Ping(...))",
    ),
    (
        "emitter.emit_nowait(Ping)",
        TypeError,
        "emit_nowait(Ping) was given the class; pass an instance, as in emit_nowait(Ping(...))",
    ),
    (
        "emitter.emit_async(Ping).send(None)",
        TypeError,
        "emit_async(Ping) was given the class; pass an instance, as in emit_async(Ping(...))",
    ),
    (
        "LINK.emit(Ping)",
        TypeError,
        "emit(Ping) was given the class; pass an instance, as in emit(Ping(...))",
    ),
    (
        "LINK.emit(Message[int])",
        TypeError,
        "emit(Message) was given the class; pass an instance, as in emit(Message(...))",
    ),
    # A subscription and more
    (
        "emitter.off(ended(emitter.on(Ping, handle)), handle)",
        TypeError,
        no_class("off", "<Subscription to Ping: inactive>", ALONE),
    ),
    (
        "emitter.remove_all_listeners(ended(emitter.on(Ping, handle)))",
        TypeError,
        no_class("remove_all_listeners", "<Subscription to Ping: inactive>", ALONE),
    ),
    # No subscription
    ("emitter.off(42)", TypeError, NO_SUBSCRIPTION.format("42")),
    ("emitter.off(None)", TypeError, NO_SUBSCRIPTION.format("None")),
    ("emitter.off(handle)", TypeError, NO_SUBSCRIPTION.format(handle)),
    (
        "emitter.off(Ping)",
        TypeError,
        NO_SUBSCRIPTION.format("<class 'support.Ping'>")
        + "; to remove every listener, call remove_all_listeners(Ping)",
    ),
    (
        "emitter.off_and_wait(handle)",
        TypeError,
        f"off_and_wait() takes the subscription that on() returned, not {handle}",
    ),
    (
        "emitter.off_and_wait(Ping)",
        TypeError,
        "off_and_wait() takes the subscription that on() returned, not <class 'support.Ping'>",
    ),
    (
        "emitter.off(EventEmitter().on(Ping, handle))",
        ValueError,
        FOREIGN.format("off", "calls handle"),
    ),
    (
        "emitter.off_and_wait(ended(EventEmitter().on(Ping, handle)))",
        ValueError,
        FOREIGN.format("off_and_wait", "inactive"),
    ),
    # No emitter to follow
    (
        "emitter.follow(Ping, LINK)",
        TypeError,
        "follow() takes the emitter to follow first, not <class 'support.Ping'>",
    ),
    (
        "LINK.follow(LINK, Ping)",
        ValueError,
        f"{LINK!r} cannot follow itself; follow another emitter",
    ),
    # No function
    ("emitter.expect(Ping, where=True)", TypeError, NO_PREDICATE.format("True")),
    (
        "emitter.expect(Ping, where=handle_async)",
        TypeError,
        NO_PREDICATE.format("handle_async") + NOT_RUN.format("coroutine"),
    ),
    (
        "emitter.expect(Ping, where=generate)",
        TypeError,
        NO_PREDICATE.format("generate") + NOT_RUN.format("generator"),
    ),
    ("type(emitter)(on_error='log')", TypeError, NO_ERROR_HANDLER.format("'log'")),
    ("type(emitter)(on_error=False)", TypeError, NO_ERROR_HANDLER.format("False")),
    (
        "type(emitter)(on_error=handle_async)",
        TypeError,
        NO_ERROR_HANDLER.format("handle_async") + NOT_RUN.format("coroutine"),
    ),
    (
        "type(emitter)(on_error=generate)",
        TypeError,
        NO_ERROR_HANDLER.format("generate") + NOT_RUN.format("generator"),
    ),
    # No number, or no such word
    ("EventEmitter().expect(Ping).result('5')", TypeError, NO_TIMEOUT.format("'5'")),
    (
        "EventEmitter().on(Ping, handle).off_and_wait('5')",
        TypeError,
        NO_TIMEOUT.format("'5'"),
    ),
    (
        "emitter.remove_all_listeners_and_wait(Ping, float('nan'))",
        ValueError,
        NO_TIMEOUT.format("nan"),
    ),
    ("emitter.stream(Ping, maxsize=0)", ValueError, NO_MAXSIZE.format("0")),
    ("emitter.stream(Ping, maxsize=-1)", ValueError, NO_MAXSIZE.format("-1")),
    ("emitter.stream(Ping, maxsize=1e3)", TypeError, NO_MAXSIZE.format("1000.0")),
    ("emitter.stream(Ping, maxsize=None)", TypeError, NO_MAXSIZE.format("None")),
    (
        "emitter.stream(Ping, overflow='drop')",
        ValueError,
        "overflow must be one of 'raise', 'drop_oldest', 'drop_newest', not 'drop'",
    ),
]


def ended(subscription: Any) -> object:
    """Return the subscription, ended."""
    subscription.off()
    return subscription


def make(mistake: str, emitter: Emitter) -> None:
    """Run the code of a mistake; a line with an `@` decorates `handle`."""
    code = f"({mistake.removeprefix('@')})(handle)" if mistake.startswith("@") else mistake
    eval(code, globals(), {"emitter": emitter})  # noqa: S307 - the lines above


@pytest.mark.parametrize(
    ("mistake", "error", "message"), MISTAKES, ids=[mistake for mistake, _, _ in MISTAKES]
)
def test_a_mistake_is_refused_where_it_is_made(
    emitter: Emitter, mistake: str, error: type[Exception], message: str
) -> None:
    """Section 5: in words that say what was done, with which value, and what to do instead."""
    with pytest.raises(error) as caught:
        make(mistake, emitter)
    assert type(caught.value) is error
    assert str(caught.value) == message
    assert emitter.event_types() == ()


def test_a_coroutine_is_no_handler(emitter: Emitter) -> None:
    """Section 5: `on(Ping, handle_async(...))`, a call where the function is wanted."""
    coroutine: Any = handle_async(Ping())
    with pytest.raises(TypeError) as caught:
        emitter.on(Ping, coroutine)
    coroutine.close()
    assert str(caught.value) == NO_HANDLER.format("on", coroutine)
    assert emitter.event_types() == ()


# What Python itself says

PYTHON_SAYS: list[tuple[str, type[Exception], str]] = [
    ("emitter.emit()", TypeError, r"emit\(\) missing 1 required positional argument: 'event'"),
    ("emitter.emit(Ping, 1)", TypeError, r"emit\(\) takes 2 positional arguments but 3 were given"),
    ("@emitter.once()", TypeError, r"once\(\) missing 1 .* argument: 'event_type'"),
    ("emitter.on(Ping, handle, LINK)", TypeError, r"on\(\) takes from 2 to 3 positional arguments"),
    ("emitter.expect(Ping, handle)", TypeError, r"expect\(\) takes 2 positional arguments"),
    ("EventEmitter().expect(Ping, timeout=5)", TypeError, "unexpected keyword argument 'timeout'"),
    ("type(emitter)(handle)", TypeError, r"__init__\(\) takes 1 positional argument"),
    (
        "EventEmitter().expect(Ping).number",
        AttributeError,
        "'Expectation' object has no attribute 'number'",
    ),
    ("EventEmitter().on(Ping, handle)()", TypeError, "'Subscription' object is not callable"),
    ("list(EventEmitter().expect(Ping))", TypeError, "'Expectation' object is not iterable"),
    ("enter(emitter.on)", TypeError, "'method' object does not support the context manager"),
    ("enter(emitter.on(Ping))", TypeError, "object does not support the context manager"),
    ("enter(emitter.emit(Ping()))", TypeError, "'NoneType' object does not support the context"),
    ("wait_for(emitter.emit(Ping()))", TypeError, "NoneType.* can't be (used in 'await'|awaited)"),
    ("wait_for(EventEmitter().stream(Ping))", TypeError, "EventStream.* can't be "),
]


def enter(value: Any) -> None:
    """Use a value in a `with` statement."""
    with value:
        pass


def wait_for(value: Any) -> None:
    """Use a value in an `await` expression."""

    async def main() -> None:
        await value

    main().send(None)


@pytest.mark.parametrize(
    ("mistake", "error", "words"), PYTHON_SAYS, ids=[mistake for mistake, _, _ in PYTHON_SAYS]
)
def test_python_refuses_a_mistake(
    emitter: Emitter, mistake: str, error: type[Exception], words: str
) -> None:
    """Section 5: where the package has nothing to say, there is an exception, and at once."""
    with pytest.raises(error, match=words):
        make(mistake, emitter)
    assert emitter.event_types() == ()


def none() -> None:
    """Take no event."""


def two(event: object, more: object) -> None:
    """Take more than an event."""


class Owner:
    """Has a method that is registered without an object."""

    def method(self, event: object) -> None:
        """Take an event."""


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (none, "none() takes 0 positional arguments but 1 was given"),
        (two, "two() missing 1 required positional argument: 'more'"),
        (Owner.method, "Owner.method() missing 1 required positional argument: 'event'"),
    ],
    ids=["none", "two", "Owner.method"],
)
@pytest.mark.parametrize("when", ["live", "replay"])
def test_a_handler_of_another_number_of_arguments_is_named(
    handler: Callable[..., None], says: str, when: str
) -> None:
    """G11: together with the event, at the emit or at the replay that calls it."""
    emitter: ReplayEventEmitter[Ping] = ReplayEventEmitter()
    if when == "replay":
        emitter.emit(Ping(1))
        with pytest.raises(ExceptionGroup) as caught:
            emitter.on(Ping, handler)
    else:
        emitter.on(Ping, handler)
        with pytest.raises(ExceptionGroup) as caught:
            emitter.emit(Ping(1))
    assert caught.value.message == "1 handler of Ping raised"
    [error] = caught.value.exceptions
    assert type(error) is TypeError
    assert str(error) == says
    assert error.__notes__ == [f"raised by handler {handler.__qualname__} for event Ping(number=1)"]


def test_a_note_shows_an_event_of_several_fields_in_full() -> None:
    """G11: it is what tells this call of the handler from the others."""
    emitter: Emitter = EventEmitter()
    emitter.on(Progress, two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ExceptionGroup) as caught:
        emitter.emit(Progress("nightly backup", 17, 230))
    assert caught.value.exceptions[0].__notes__ == [
        "raised by handler two for event Progress(task='nightly backup', done=17, total=230)"
    ]


def test_an_emit_async_that_is_not_awaited_is_warned_of(emitter: Emitter) -> None:
    """Section 5: by Python, when the coroutine goes; nobody is told the event."""
    emitter.on(Ping, two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.warns(RuntimeWarning, match="emit_async' was never awaited"):
        emitter.emit_async(Ping())  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


def test_a_coroutine_that_a_plain_handler_returns_is_warned_of(emitter: Emitter) -> None:
    """Section 5: by Python; a lambda around a coroutine function needs `loop=`."""
    emitter.on(Ping, lambda event: handle_async(event))  # noqa: PLW0108 - what is tested
    with pytest.warns(RuntimeWarning, match="'handle_async' was never awaited"):
        emitter.emit(Ping())
