"""An emitter as a base class, a mixin or an attribute, and what a copy of it is: section 2."""

from __future__ import annotations

import copy
import pickle
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from support import Ping, Pong, assert_idle

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter

Emitter = EventEmitter[Any]
Kind = type[EventEmitter[Any]]
Twin = Callable[[Any], Any]


class Base(EventEmitter[Ping]):
    """Has an __init__ that calls super()."""

    def __init__(self, name: str) -> None:
        """Call super().__init__()."""
        super().__init__()
        self.name = name


class ReplayBase(ReplayEventEmitter[Ping]):
    """Has an __init__ that calls super() with `on_error`."""

    def __init__(self, name: str, failures: list[HandlerFailure]) -> None:
        """Call super().__init__()."""
        super().__init__(on_error=failures.append)
        self.name = name


class Careless(EventEmitter[Ping]):
    """Never calls super().__init__()."""

    def __init__(self, name: str) -> None:
        """Forget it."""
        self.name = name


class CarelessReplay(ReplayEventEmitter[Ping]):
    """Never calls super().__init__()."""

    def __init__(self, name: str) -> None:
        """Forget it."""
        self.name = name


class Worker(threading.Thread, EventEmitter[Ping]):
    """A thread that emits."""

    def run(self) -> None:
        """Emit."""
        self.emit(Ping(1))


class EmittingWorker(EventEmitter[Ping], threading.Thread):
    """An emitter that is a thread."""

    def run(self) -> None:
        """Emit."""
        self.emit(Ping(1))


class Store(dict[str, int], EventEmitter[Ping]):
    """A dictionary that emits; false while it is empty, and not hashable."""


class EmittingStore(ReplayEventEmitter[Ping], dict[str, int]):
    """An emitter that is a dictionary."""


class Items(list[int], EventEmitter[Ping]):
    """A list that emits."""


class Failure(Exception, EventEmitter[Ping]):  # noqa: N818 - its name is no matter
    """An exception that emits."""


class Slotted(EventEmitter[Ping]):
    """Has slots of its own."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Fill the slot."""
        self.name = name


@dataclass
class Plain(EventEmitter[Ping]):
    """A dataclass, so comparable and not hashable."""

    name: str
    tags: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Frozen(EventEmitter[Ping]):
    """A dataclass that allows no assignment."""

    name: str


@dataclass(slots=True)
class WithSlots(ReplayEventEmitter[Ping]):
    """A dataclass with slots."""

    name: str


@dataclass(frozen=True, slots=True)
class FrozenWithSlots(EventEmitter[Ping]):
    """A dataclass with the `__getstate__` that dataclasses bring, which returns a list."""

    name: str
    number: int = 2


@dataclass(order=True, eq=True, kw_only=True)
class Ordered(ReplayEventEmitter[Ping]):
    """A dataclass with all comparisons."""

    name: str


class Guarded(EventEmitter[Ping]):
    """Allows no attribute to be set or looked up that it does not know."""

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse."""
        raise AttributeError(name)

    def __getattr__(self, name: str) -> Any:
        """Refuse."""
        raise AttributeError(name)


MAKERS: list[Callable[[], EventEmitter[Ping]]] = [
    EventEmitter,
    ReplayEventEmitter,
    EventEmitter[Ping],
    ReplayEventEmitter[Ping],
    lambda: Base("a"),
    lambda: ReplayBase("a", []),
    lambda: Careless("a"),
    lambda: CarelessReplay("a"),
    Worker,
    EmittingWorker,
    Store,
    EmittingStore,
    Items,
    Failure,
    lambda: Slotted("a"),
    lambda: Plain("a"),
    lambda: Frozen("a"),
    lambda: WithSlots("a"),
    lambda: FrozenWithSlots("a"),
    lambda: Ordered(name="a"),
    Guarded,
]
every_shape = pytest.mark.parametrize("make", MAKERS)


@every_shape
def test_an_emitter_of_any_shape_works(make: Callable[[], EventEmitter[Ping]]) -> None:
    """Section 2: base class, mixin, dataclass, with and without super().__init__()."""
    emitter = make()
    seen: list[Ping] = []
    with emitter.on(Ping, seen.append):
        emitter.once(Ping, seen.append)
        assert emitter.listener_count(Ping) == 2
        emitter.emit(Ping(1))
        emitter.emit_nowait(Ping(2))
    assert seen == [Ping(1), Ping(1), Ping(2)]
    late: list[Ping] = []
    emitter.on(Ping, late.append)
    assert late == ([Ping(2)] if isinstance(emitter, ReplayEventEmitter) else [])
    assert_idle(emitter)


@every_shape
def test_two_emitters_of_one_class_share_nothing(make: Callable[[], EventEmitter[Ping]]) -> None:
    """Section 2: also where __init__ was never called."""
    first, second = make(), make()
    seen: list[Ping] = []
    first.on(Ping, seen.append)
    second.emit(Ping())
    assert seen == []
    assert second.event_types() == ()


def test_an_emitter_works_as_an_attribute(kind: Kind) -> None:
    """Section 2: of an object that copies and pickles it with itself."""

    class Owner:
        def __init__(self) -> None:
            self.events = kind()

    owner = Owner()
    seen: list[Ping] = []
    owner.events.on(Ping, seen.append)
    owner.events.emit(Ping(1))
    twin = copy.deepcopy(owner)
    twin.events.emit(Ping(2))
    assert seen == [Ping(1)]


def test_a_thread_can_be_an_emitter() -> None:
    """Section 2: its __init__ takes the thread's arguments, where the class puts it first."""
    for worker in (Worker(name="worker"), EmittingWorker()):
        threads: list[threading.Thread] = []

        def note(_: Ping, threads: list[threading.Thread] = threads) -> None:
            threads.append(threading.current_thread())

        worker.on(Ping, note)
        worker.start()
        worker.join()
        assert threads == [worker]


def test_an_exception_can_be_an_emitter() -> None:
    """Section 2: it is raised and caught as any other."""
    seen: list[Ping] = []
    with pytest.raises(Failure, match="broken") as caught:
        raise Failure("broken")
    caught.value.on(Ping, seen.append)
    caught.value.emit(Ping())
    assert seen == [Ping()]


def test_listeners_do_not_change_what_a_dataclass_is() -> None:
    """Section 2: neither its equality nor its repr."""
    first, second = Plain("a"), Plain("a")
    first.on(Ping, print)
    assert first == second
    assert repr(first) == "Plain(name='a', tags=[])"
    frozen = Frozen("a")
    before = hash(frozen)
    frozen.on(Ping, print)
    assert hash(frozen) == before
    assert frozen == Frozen("a")


def test_a_subclass_keeps_its_on_error() -> None:
    """Section 2: `super().__init__(on_error=...)`."""
    failures: list[HandlerFailure] = []
    emitter = ReplayBase("a", failures)

    def fail(_: Ping) -> None:
        raise ValueError

    emitter.on(Ping, fail)
    emitter.emit(Ping())
    assert [failure.handler for failure in failures] == [fail]


def test_on_error_can_be_given_to_a_class_that_allows_no_assignment() -> None:
    """Section 2: as by the `__post_init__` of a frozen dataclass."""
    failures: list[HandlerFailure] = []
    emitter = Guarded(on_error=failures.append)

    def fail(_: Ping) -> None:
        raise ValueError

    emitter.on(Ping, fail)
    emitter.emit(Ping())
    assert [failure.handler for failure in failures] == [fail]


def test_calling_the_generic_alias_makes_an_emitter(kind: Any) -> None:
    """Section 2: `EventEmitter[Ping]()`, with arguments too."""
    failures: list[HandlerFailure] = []
    emitter = kind[Ping](on_error=failures.append)
    assert type(emitter) is kind

    def fail(_: Ping) -> None:
        raise ValueError

    emitter.on(Ping, fail)
    emitter.emit(Ping())
    assert len(failures) == 1


@every_shape
def test_an_emitter_can_be_referenced_weakly(make: Callable[[], EventEmitter[Ping]]) -> None:
    """Section 2: as objects of most classes can."""
    emitter = make()
    assert weakref.ref(emitter)() is emitter


# Copies


class OwnState(EventEmitter[Ping]):
    """Has a __getstate__ that leaves something out."""

    def __init__(self, name: str) -> None:
        """Hold what cannot be pickled."""
        self.name = name
        self.lock: object = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock."""
        state = self.__dict__.copy()
        del state["lock"]
        return state


class StateAndSlots(ReplayEventEmitter[Ping]):
    """Has slots, and a `__getstate__` that calls that of its base."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Fill the slot."""
        self.name = name

    def __getstate__(self) -> object:
        """Return the default."""
        return super().__getstate__()


class NestedState(EventEmitter[Ping]):
    """Has a __getstate__ that wraps the attributes, with a version say."""

    def __init__(self, name: str) -> None:
        """Have an attribute."""
        self.name = name

    def __getstate__(self) -> dict[str, Any]:
        """Wrap them."""
        return {"version": 1, "fields": self.__dict__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unwrap them."""
        self.__dict__.update(state["fields"])


class Reducing(EventEmitter[Ping]):
    """Has a __reduce__ of its own."""

    def __init__(self, name: str) -> None:
        """Have an attribute."""
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Call the class with the name."""
        return (Reducing, (self.name,), self.__dict__)


class Pair(NamedTuple):
    """A state of two fields."""

    first: dict[str, int]
    second: str


class PairState(EventEmitter[Ping]):
    """Has a __getstate__ that returns whatever it was given."""

    def __init__(self, state: Any) -> None:
        """Have a state."""
        self.state = state

    def __getstate__(self) -> Any:
        """Return it."""
        return self.state

    def __setstate__(self, state: Any) -> None:
        """Take it."""
        self.state = state


def named_store() -> Store:
    """Return a dictionary with a name, as an attribute."""
    store = Store(a=1)
    store.__dict__["name"] = "a"
    return store


def named(kind: Any) -> Callable[[], Any]:
    """Return what makes an emitter with a name, as an attribute."""

    def make() -> Any:
        emitter = kind()
        emitter.name = "a"
        return emitter

    return make


NAMED: list[Callable[[], Any]] = [
    named(EventEmitter),
    named(ReplayEventEmitter),
    named(EmittingStore),
    named(Items),
    named(Failure),
    named_store,
    lambda: Base("a"),
    lambda: Careless("a"),
    lambda: CarelessReplay("a"),
    lambda: Plain("a"),
    lambda: Frozen("a"),
    lambda: Ordered(name="a"),
    lambda: OwnState("a"),
    lambda: Reducing("a"),
]
SLOTTED: list[Callable[[], Any]] = [
    lambda: Slotted("a"),
    lambda: WithSlots("a"),
    lambda: FrozenWithSlots("a"),
    lambda: StateAndSlots("a"),
]


def through_pickle(protocol: int) -> Twin:
    """Return what pickles and unpickles its argument."""

    def twin(emitter: Any) -> Any:
        return pickle.loads(pickle.dumps(emitter, protocol))  # noqa: S301 - its own

    return twin


TWINS: list[Any] = [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    *(
        pytest.param(through_pickle(protocol), id=f"pickle-{protocol}")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]
# Without a __getstate__, Python pickles slots from protocol 2 on.
SLOT_TWINS = [each for each in TWINS if each.id not in {"pickle-0", "pickle-1"}]


def used(make: Callable[[], Any]) -> tuple[Any, list[Ping]]:
    """Return an emitter with listeners and, if it replays, a latest event; and what they saw."""
    emitter = make()
    seen: list[Ping] = []

    def cannot_be_pickled(event: Ping) -> None:
        seen.append(event)

    emitter.on(Ping, cannot_be_pickled)
    emitter.emit(Ping(1))
    emitter.once(Ping, cannot_be_pickled)
    return emitter, seen


def assert_fresh(twin: Any, emitter: Any, seen: list[Ping]) -> None:
    """Assert that `twin` has the class and the attribute, and no listeners or events."""
    assert type(twin) is type(emitter)
    assert twin is not emitter
    assert twin.name == "a"
    assert twin.event_types() == ()
    if issubclass(type(emitter), ReplayEventEmitter):
        assert twin.latest(Ping) is None
        assert emitter.latest(Ping) == Ping(1)
    seen.clear()
    twin.emit(Ping(2))
    assert seen == []
    own: list[Ping] = []
    twin.on(Ping, own.append)
    own.clear()
    twin.emit(Ping(3))
    assert own == [Ping(3)]
    emitter.emit(Ping(4))
    assert Ping(4) in seen
    assert own == [Ping(3)]


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("make", NAMED)
def test_a_copy_has_the_attributes_and_no_listeners(make: Callable[[], Any], twin: Twin) -> None:
    """Section 2: nor latest events; the original keeps both."""
    emitter, seen = used(make)
    assert_fresh(twin(emitter), emitter, seen)


@pytest.mark.parametrize("twin", TWINS[1:])
def test_a_deep_copy_of_a_nested_state_has_no_listeners(twin: Twin) -> None:
    """Section 2: wherever the subclass's `__getstate__` puts the attributes."""
    emitter, seen = used(lambda: NestedState("a"))
    assert_fresh(twin(emitter), emitter, seen)


@pytest.mark.parametrize("twin", SLOT_TWINS)
@pytest.mark.parametrize("make", SLOTTED)
def test_a_copy_of_an_emitter_with_slots_has_them(make: Callable[[], Any], twin: Twin) -> None:
    """Section 2: the same, by the state that Python makes of slots."""
    emitter, seen = used(make)
    assert_fresh(twin(emitter), emitter, seen)


@pytest.mark.parametrize("twin", TWINS)
def test_a_copy_of_an_unused_emitter_is_one(kind: Kind, twin: Twin) -> None:
    """Section 2: there is nothing to leave out."""
    emitter = twin(kind())
    assert type(emitter) is kind
    assert emitter.event_types() == ()


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("kind", [Store, EmittingStore])
def test_a_copy_of_a_dictionary_has_its_items(kind: Any, twin: Twin) -> None:
    """Section 2: what the other base class keeps is copied as ever."""
    emitter, _ = used(kind)
    emitter["a"] = 1
    assert twin(emitter) == {"a": 1}


@pytest.mark.parametrize("twin", TWINS)
def test_a_copy_of_a_list_has_its_items(twin: Twin) -> None:
    """Section 2: what the other base class keeps is copied as ever."""
    emitter, _ = used(Items)
    emitter.extend([1, 2])
    assert twin(emitter) == [1, 2]


@pytest.mark.parametrize("twin", TWINS)
def test_a_copy_of_an_exception_has_its_arguments(twin: Twin) -> None:
    """Section 2: what the other base class keeps is copied as ever."""
    emitter = Failure("broken", 3)
    emitter.on(Ping, print)
    assert twin(emitter).args == ("broken", 3)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize(
    "state",
    [
        Pair({"a": 1}, "b"),
        [{"a": 1}, "b"],
        [1, 2],
        ("a", "b"),
        ({"a": 1}, {"b": 2}),
        {"a": 1},
        "text",
        42,
    ],
    ids=str,
)
def test_a_state_of_the_users_own_arrives_as_it_was(state: Any, twin: Twin) -> None:
    """Section 2: of the same type, whatever `__getstate__` returned."""
    emitter = PairState(state)
    emitter.on(Ping, print)
    arrived = twin(emitter).state
    assert arrived == state
    assert type(arrived) is type(state)


def test_copying_does_not_touch_events_and_handlers(kind: Kind) -> None:
    """Section 2: what is left out is not copied first."""

    class Uncopyable:
        def __reduce_ex__(self, _: object) -> str:
            raise AssertionError("copied")

        def __call__(self, _: object) -> None:
            """Handle."""

    emitter = kind()
    emitter.on(Uncopyable, Uncopyable())
    emitter.emit(Uncopyable())
    emitter.on(Uncopyable, Uncopyable())
    copy.copy(emitter)
    copy.deepcopy(emitter)
    pickle.dumps(emitter)


def test_a_copy_keeps_on_error(kind: Kind) -> None:
    """Section 2: it is neither a listener nor an event."""
    failures: list[HandlerFailure] = []
    twin = copy.copy(kind(on_error=failures.append))

    def fail(_: Ping) -> None:
        raise ValueError

    twin.on(Ping, fail)
    twin.emit(Ping())
    assert len(failures) == 1


def test_a_copy_made_in_a_handler_is_not_in_the_middle_of_a_delivery(emitter: Emitter) -> None:
    """Section 2, G4: an emit on the copy is the outermost of its own."""
    trace: list[str] = []

    def handle(_: Ping) -> None:
        twin = copy.copy(emitter)
        twin.on(Ping, lambda _: trace.append("twin"))
        twin.emit(Ping())
        trace.append("emitted")

    emitter.on(Ping, handle)
    emitter.emit(Ping())
    assert trace == ["twin", "emitted"]
    assert_idle(emitter)


def test_a_subscription_of_the_original_is_foreign_to_the_copy(emitter: Emitter) -> None:
    """Section 5: it has another emitter's registrations, none at first."""
    subscription = emitter.on(Pong, print)
    with pytest.raises(ValueError, match="belongs to another emitter"):
        copy.copy(emitter).off(subscription)
    assert subscription.active
