"""What type checkers make of the syntax of Python 3.12: `type` statements and type parameters.

Checked for Python 3.13, as all else here is checked once more, and run where Python knows it.
"""

from __future__ import annotations

from typing import assert_type

from emitters import Changed, Connected, Disconnected, Stranger

from eventemitter import EventEmitter, ReplayEventEmitter, Subscription

type Events = Connected | Disconnected
type More = Events | Changed[int]


class Link(ReplayEventEmitter[Events]):
    """Declares an alias."""


class Bus(EventEmitter[More]):
    """Declares an alias of an alias."""


class Topic[T](EventEmitter[T]):
    """Leaves its parameter to whoever makes one."""


def accepts_a_type_statement() -> None:
    """It declares what the union behind it does."""
    link, bus = Link(), Bus()
    assert_type(link.on(Connected, lambda event: event.peer), Subscription[Connected])
    assert_type(link.latest(Disconnected), Disconnected | None)
    link.emit(Connected("a"))
    bus.emit(Connected("a"))
    bus.emit(Changed(42))
    union: EventEmitter[Connected | Disconnected] = bus
    union.emit(Disconnected(graceful=True))

    def tell(emitter: EventEmitter[Events], event: Events) -> None:
        emitter.emit(event)

    tell(link, Connected("a"))
    tell(bus, Disconnected(graceful=True))


def accepts_type_parameters() -> None:
    """Of a class and of a function."""

    def topic_of[T](event_type: type[T]) -> Topic[T]:
        del event_type
        return Topic[T]()

    topic = topic_of(Connected)
    assert_type(topic, Topic[Connected])
    topic.emit(Connected("a"))
    assert_type(topic.once(Connected, lambda event: event.peer), Subscription[Connected])


def rejects_an_event_that_is_not_in_the_alias(link: Link, bus: Bus) -> None:
    """`emit()` of an event that the alias does not name."""
    link.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    bus.emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    bus.emit(Changed("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    Topic[Connected]().emit(Stranger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
