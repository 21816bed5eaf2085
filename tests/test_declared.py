"""What a subclass declares by its parameter, and what that refuses at run time: section 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import ModuleType, new_class
from typing import Annotated, Any, Generic, NewType, Protocol, TypeAlias, TypeVar, Union

import pytest
from support import Ping, Pong

from eventemitter import EventEmitter, ReplayEventEmitter

Kind = type[EventEmitter[Any]]
T = TypeVar("T")
U = TypeVar("U")
Events: TypeAlias = Ping | Pong


class Other:
    """An event that is not declared."""


class LoudPing(Ping):
    """A subclass of a declared event type."""


class Message(Generic[T]):
    """A generic event."""


class Speaks(Protocol):
    """A protocol, which no event is an instance of at run time."""

    def speak(self) -> None:
        """Speak."""


def declaring(base: Any, *parameters: Any) -> Any:
    """Return a subclass of `base[parameters]`, as a class statement in this module makes it."""

    def fill(names: dict[str, Any]) -> None:
        names["__module__"] = __name__

    return new_class("Link", (base[parameters],), exec_body=fill)


def accepted(cls: Any, *among: type) -> set[type]:
    """Return which of the classes an instance of `cls` accepts, asked in two ways."""
    found: set[type] = set()
    for event_type in among or (Ping, Pong, Other, LoudPing, Message):
        try:
            cls().on(event_type, print)
        except TypeError:
            with pytest.raises(TypeError, match="declares"):
                cls().emit(event_type())
        else:
            cls().emit(event_type())
            found.add(event_type)
    return found


ANYTHING = {Ping, Pong, Other, LoudPing, Message}


class Link(EventEmitter[Ping | Pong]):
    """Declares a union, as the README does."""


class ReplayLink(ReplayEventEmitter[Ping | Pong]):
    """Declares a union and replays."""


class Bare(EventEmitter):
    """Declares nothing."""


class BareReplay(ReplayEventEmitter):
    """Declares nothing and replays."""


class Later(EventEmitter["Late | Ping"]):
    """Declares by a name that is bound further down."""


class Late:
    """An event that is defined after its emitter."""


@pytest.mark.parametrize("cls", [Link, ReplayLink])
def test_a_subclass_refuses_what_it_does_not_declare(cls: Any) -> None:
    """Section 2: also a subclass of what it declares, as listeners are found by exact class."""
    assert accepted(cls) == {Ping, Pong}


@pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
@pytest.mark.parametrize(
    ("parameter", "declared"),
    [
        (Ping, {Ping}),
        (Ping | Pong, {Ping, Pong}),
        (Union[Ping, Pong], {Ping, Pong}),  # noqa: UP007 - what is tested
        (Events, {Ping, Pong}),
        (Events | Other, {Ping, Pong, Other}),
        (Annotated[Ping | Pong, "about them"], {Ping, Pong}),
        (Annotated[Ping, "one"] | Annotated[Pong, "two"], {Ping, Pong}),
        (Union["Ping", Pong], {Ping, Pong}),
        ("Ping", {Ping}),
        ("Ping | Pong", {Ping, Pong}),
        ("Events", {Ping, Pong}),
        ("Union[Ping, 'Pong']", {Ping, Pong}),
        (Message[int], {Message}),
        (Message[int] | Ping, {Message, Ping}),
    ],
)
def test_every_way_to_name_classes_declares_them(
    kind: Any, parameter: Any, declared: set[type]
) -> None:
    """Section 2: unions, a single class, aliases, forward references, annotations, generics."""
    assert accepted(declaring(kind, parameter)) == declared


@pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
@pytest.mark.parametrize(
    "parameter",
    [
        Any,
        T,
        object,
        Ping | Any,
        Ping | T,
        Speaks,
        NewType("NewPing", Ping),
        "OnlyForCheckers",
        "Ping | OnlyForCheckers",
        "sys.OnlyForCheckers",
    ],
    ids=str,
)
def test_what_no_class_can_be_read_from_declares_nothing(kind: Any, parameter: Any) -> None:
    """Section 2: then every class is accepted."""
    assert accepted(declaring(kind, parameter)) == ANYTHING


@pytest.mark.parametrize("cls", [EventEmitter, ReplayEventEmitter, Bare, BareReplay])
def test_a_bare_emitter_declares_nothing(cls: Any) -> None:
    """Section 2: nor does the class itself."""
    assert accepted(cls) == ANYTHING


@pytest.mark.parametrize("kind", [EventEmitter, ReplayEventEmitter])
def test_the_parameter_of_an_attribute_is_for_type_checkers(kind: Any) -> None:
    """Section 2: at run time a *subclass* refuses."""
    assert accepted(kind[Ping]) == ANYTHING


def test_a_forward_reference_is_read_at_first_use() -> None:
    """Section 2: when the name is bound."""
    assert accepted(Later, Late, Ping, Other) == {Late, Ping}


# Subclasses of subclasses


class Plain(Link):
    """Adds nothing."""


class Mixed(dict[str, int], Plain):
    """Has another base in front."""


class Base(EventEmitter[T]):
    """Leaves its parameter to its subclasses."""


class ReplayBase(ReplayEventEmitter[T]):
    """Leaves its parameter to its subclasses, and replays."""


class Keyed(EventEmitter[T], Generic[U, T]):
    """Has two parameters, and declares the second."""


class Half(EventEmitter[T | Ping]):
    """Declares one class, and leaves another to its subclasses."""


class Whole(Half[T]):
    """Hands a parameter on."""


class Listed(Base[Message[T]]):
    """Declares a generic event of its parameter."""


class Labelled(Generic[T], EventEmitter[Ping]):  # noqa: PYI059 - what is tested
    """Has a parameter that has nothing to do with what it declares."""


@pytest.mark.parametrize("cls", [Plain, Mixed])
def test_a_subclass_of_a_subclass_declares_the_same(cls: Any) -> None:
    """Section 2: and its refusal names the subclass."""
    assert accepted(cls) == {Ping, Pong}
    with pytest.raises(TypeError, match=f"^{cls.__name__} declares Ping | Pong, not Other"):
        cls().on(Other, print)


@pytest.mark.parametrize(
    ("base", "parameters", "declared"),
    [
        (Base, [Ping], {Ping}),
        (Base, [Ping | Pong], {Ping, Pong}),
        (ReplayBase, [Ping | Pong], {Ping, Pong}),
        (Base, ["Ping | Pong"], {Ping, Pong}),
        (Keyed, [Other, Ping], {Ping}),
        (Half, [Pong], {Ping, Pong}),
        (Whole, [Pong | Other], {Ping, Pong, Other}),
        (Listed, [Ping], {Message}),
        (Labelled, [Other], {Ping}),
        (Base, [Any], ANYTHING),
        (Base, [T], ANYTHING),
        (Whole, [Any], ANYTHING),
    ],
)
def test_a_generic_base_declares_what_its_subclass_gives_it(
    base: Any, parameters: list[Any], declared: set[type]
) -> None:
    """Section 2: through any number of bases, wherever its TypeVar stands."""
    cls = declaring(base, *parameters)
    assert accepted(cls) == declared
    assert accepted(new_class("Below", (cls,))) == declared


@pytest.mark.parametrize("cls", [Base, ReplayBase, Keyed, Whole])
def test_a_generic_base_by_itself_declares_nothing(cls: Any) -> None:
    """Section 2: a TypeVar accepts every class, also in part of a union."""
    assert accepted(cls) == ANYTHING


def test_a_base_that_declares_nothing_hides_none_that_does() -> None:
    """In whatever order they stand."""

    class Bare(EventEmitter[Any]):
        """It emits anything."""

    class Link(EventEmitter[Ping]):
        """It does not."""

    class Mixin(EventEmitter[T]):
        """It leaves that open."""

    class Late(Bare, Mixin, Link):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """It inherits all."""

    class Named(Bare, ReplayEventEmitter[Ping]):
        """It names a parameter of its own."""

    for cls in (Late, Named):
        emitter: Any = cls()
        with pytest.raises(TypeError, match="declares Ping, not Pong"):
            emitter.emit(Pong())


class Speaking(EventEmitter[Other]):
    """Another of two bases."""


class Narrow(EventEmitter[Ping]):
    """One of two bases."""


def test_bases_that_declare_each_have_their_say() -> None:
    """Section 2: what a method of either base emits is an event of their common subclass."""
    # Two of four type checkers reject it as a class statement.
    wide = new_class("Wide", (Narrow, EventEmitter[Pong]))
    both = new_class("Both", (Narrow, Speaking))
    assert accepted(wide, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(both, Ping, Pong, Other) == {Ping, Other}


def test_subclasses_do_not_share_what_they_declare() -> None:
    """Section 2: nor does the order matter in which they are used."""
    first, second = declaring(Base, Ping), declaring(Base, Pong)
    assert accepted(Base) == ANYTHING
    assert accepted(first) == {Ping}
    assert accepted(second) == {Pong}
    assert accepted(Base) == ANYTHING


# In modules of their own

Write = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a module and imports it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(name: str, source: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return write


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax came with Python 3.12")
def test_a_type_statement_declares_what_it_names(write: Write) -> None:
    """Section 2: a type alias, in its new form; also a generic one, and one of another."""
    module = write(
        "typestatement",
        """
        from eventemitter import EventEmitter, ReplayEventEmitter
        from support import Ping, Pong
        from test_declared import Message, Other

        type Events = Ping | Pong
        type More = Events | Other
        type With[T] = T | Ping
        type Swapped[K, V] = V | Message[K]
        type Unused[K, V] = V | Pong
        type Phantom[K] = Ping
        type Just[T] = T

        class First(EventEmitter[Events]): ...
        class Second(ReplayEventEmitter[More]): ...
        class Third(EventEmitter[With[Pong]]): ...
        class Base[T](EventEmitter[T]): ...
        class Fourth(Base[Events]): ...
        class Fifth(Base["Events"]): ...
        class Sixth(EventEmitter[Swapped[int, Ping]]): ...
        class Seventh(EventEmitter[Unused[int, Ping]]): ...
        class Eighth(EventEmitter[Phantom[int]]): ...
        class Ninth(EventEmitter[Just[Pong]]): ...
        """,
    )
    assert accepted(module.First, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(module.Second, Ping, Pong, Other) == {Ping, Pong, Other}
    assert accepted(module.Third, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(module.Fourth, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(module.Fifth, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(module.Sixth, Ping, Pong, Message) == {Ping, Message}
    assert accepted(module.Seventh, Ping, Pong, Other) == {Ping, Pong}
    assert accepted(module.Eighth, Ping, Pong, Other) == {Ping}
    assert accepted(module.Ninth, Ping, Pong, Other) == {Pong}
    assert accepted(module.Base) == ANYTHING


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax came with Python 3.12")
def test_a_type_statement_of_what_only_checkers_see_declares_nothing(write: Write) -> None:
    """Section 2: its value is evaluated late, and may fail."""
    module = write(
        "checkersonly",
        """
        from eventemitter import EventEmitter
        from support import Ping

        type Events = Ping | OnlyForCheckers

        class Link(EventEmitter[Events]): ...
        """,
    )
    assert accepted(module.Link) == ANYTHING


def test_a_forward_reference_is_read_where_it_was_written(write: Write) -> None:
    """Section 2: not where a subclass stands, in whose module the name is another's or no one's."""
    write(
        "declaringbase",
        """
        from eventemitter import EventEmitter
        from support import Ping as Hidden
        from support import Pong as Shared

        class Base(EventEmitter["Hidden | Shared"]): ...
        """,
    )
    module = write(
        "declaringbelow",
        """
        from declaringbase import Base
        from test_declared import Other as Shared

        class Below(Base): ...
        """,
    )
    assert accepted(module.Below, Ping, Pong, Other) == {Ping, Pong}
