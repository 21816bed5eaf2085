"""What is wrong, and yet some type checker accepts it.

A line carries an ignore for each checker that rejects it, and none for one that does not. An idle
ignore and an ignore that is missing are errors both, so this is exactly what each checker sees.
README.md quotes the first lines of the functions.
"""

from __future__ import annotations

from functools import partial

from emitters import Changed, Connected, Disconnected, Link, Lost, Server, Stranger

from eventemitter import EventEmitter


def accepts_a_partial_of_another_type(link: Link) -> None:
    """A `functools.partial` of a handler of another event type."""

    class Screen:
        def show(self, colour: str, event: Stranger) -> None:
            del colour, event

    def show(colour: str, event: Stranger) -> None:
        del colour, event

    link.on(Connected, partial(Screen().show, "red"))  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]
    link.on(Connected, partial(show, "red"))  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]  # pyrefly: ignore[bad-argument-type]


def accepts_a_union_as_an_event_type(link: Link) -> None:
    """A union instead of an event type."""
    link.on(Connected | Disconnected, print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]


def accepts_nothing_to_wait_for(link: Link) -> None:
    """`stream()` or `follow()` without an event type."""
    link.stream()
    link.follow(Server())


def accepts_an_undeclared_event_type(link: Link) -> None:
    """An event type that the emitter does not declare, in `on()` and the like."""
    link.on(Stranger, print)
    link.expect(Stranger)
    Server().listener_count(Disconnected)


def accepts_following_what_is_not_emitted_there(link: Link, server: Server) -> None:
    """`follow()` of event types that the source does not declare."""
    link.follow(server, Disconnected)


def accepts_decorated_handlers_of_another_type(link: Link) -> None:
    """A decorated handler of another event type."""

    @link.on(Connected)
    def handle(event: Stranger) -> None:
        del event

    handle(Stranger())


def accepts_an_event_of_a_subclass() -> None:
    """`emit()` of a subclass of a declared event type."""
    EventEmitter[Disconnected]().emit(Lost(graceful=True, after=1.5))


def accepts_a_generic_event_of_another_parameter() -> None:
    """A handler of another parameter of a generic event."""

    def note(change: Changed[str]) -> None:
        del change

    EventEmitter[Changed[int]]().on(Changed, note)
