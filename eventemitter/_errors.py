"""Every failure and exception of the package, and the sentences its users see."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_origin

_repr = reprlib.Repr()
_repr.maxother = 100  # an event in full, and the name of a coroutine


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """Describe one call of a handler that raised.

    `on_error` receives it.

    Attributes:
        event: What was delivered.
        handler: What was called.
        error: What it raised.

    Example:
        >>> emitter = EventEmitter(on_error=lambda failure: print(repr(failure.error)))
        >>> subscription = emitter.on(str, int)
        >>> emitter.emit("seven")
        ValueError("invalid literal for int() with base 10: 'seven'")
    """

    event: object
    handler: Callable[[Any], object]
    error: Exception


class LockOrderError(RuntimeError):
    """Report a lock about to be taken against the documented order, or user code run under a lock.

    Raised only while the lock order is checked (`EVENTEMITTER_CHECK_LOCKS=1` or `python -X dev`).
    It reports a fault of this package, not of its caller.

    Example:
        >>> emitter = EventEmitter()
        >>> try:
        ...     emitter.emit("hello")
        ... except LockOrderError as fault:
        ...     print("please report this:", fault)
    """


class StreamOverflow(RuntimeError):  # noqa: N818 - what it is called everywhere
    """Tell the reader of a stream that its buffer was full when an event came.

    Raised where the stream's `overflow` is "raise": once, after the events that were buffered. Then
    the stream is at its end.

    Example:
        >>> emitter = EventEmitter()
        >>> events = emitter.stream(str, maxsize=1)
        >>> emitter.emit("kept")
        >>> emitter.emit("lost")
        >>> try:
        ...     print(*events)
        ... except StreamOverflow:
        ...     print("events were lost:", events.dropped)
        events were lost: 1
    """


class CallCancelled(RuntimeError):  # noqa: N818 - as CancelledError of asyncio
    """A call of a handler on an event loop was cancelled."""


def name_of(thing: object) -> str:
    """Name a class or a handler as its author would."""
    try:
        name = getattr(thing, "__qualname__", None)
    except Exception:
        name = None
    return name if isinstance(name, str) else shown(thing)


def shown(thing: object) -> str:
    """Show a value in a message, whatever its `__repr__` does."""
    try:
        return _repr.repr(thing)
    except Exception:  # it goes by the name of the class, which may be that of a built-in one
        return object.__repr__(thing)


def annotated(failure: HandlerFailure) -> Exception:
    """Return the error of `failure`, with a note that names handler and event."""
    try:
        note = f"raised by handler {name_of(failure.handler)} for event {shown(failure.event)}"
        failure.error.add_note(note)
    except Exception:  # noqa: S110 - a frozen one, say; raised all the same, as the error it is
        pass
    return failure.error


def raise_failures(event_type: type, errors: list[Exception]) -> None:
    """Raise everything that handlers of one event type raised, as one group (G11).

    Leaves `errors` empty: each error leads, by its traceback, to frames that hold that list, and
    full it would close a reference cycle (G14). So would the group, held by this frame.
    """
    count = "1 handler" if len(errors) == 1 else f"{len(errors)} handlers"
    group = ExceptionGroup(f"{count} of {event_type.__qualname__} raised", [*errors])
    try:
        raise group
    except ExceptionGroup:
        errors.clear()
        raise
    finally:
        del group


class _Unraisable:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __del__(self) -> None:
        error = self.error
        del self.error
        try:
            raise error
        finally:
            del error


def report_unraisable(error: BaseException) -> None:
    """Report an error that no caller can be given, through `sys.unraisablehook`.

    The hook's argument cannot be made in Python; an error leaving a finalizer reaches it.
    """
    unraisable = _Unraisable(error)
    # The traceback of what is raised leads to these frames, which must not lead back (G14).
    del error
    del unraisable


def not_a_class(call: str, value: Any) -> TypeError:
    said = f"{call}: the event type must be a class, not {shown(value)}"
    name, origin, module = call.removesuffix("()"), get_origin(value), type(value).__module__
    way = "pass the class whose instances are emitted"
    if isinstance(value, (tuple, list, set, frozenset)) or origin in (Union, UnionType):
        each = "pass each class as an argument of its own"
        way = each if name in ("stream", "follow") else f"call {call} for each class"
    elif isinstance(origin, type) and origin.__module__ != "typing":
        way = f"pass {origin.__qualname__}, the class of its instances at run time"
    elif module not in ("types", "typing", "typing_extensions"):  # where a TypeVar is from, say
        if callable(value) and name in ("on", "once", "off"):
            decorated = "" if name == "off" else f" or @emitter.{name}(Event)"
            way = f"pass the class first, as in {name}(Event, handler){decorated}"
        elif module.startswith(f"{__package__}."):
            way = "a subscription goes alone, to off() or off_and_wait()"
        elif module != "builtins":
            way = f"pass its class, {type(value).__qualname__}"
    return TypeError(f"{said}; {way}")


def metaclass_as_event_type(call: str, event_type: type) -> TypeError:
    return TypeError(
        f"{call}: {event_type.__qualname__} is a class of classes, and a class is never an event; "
        "pass the class whose instances are emitted"
    )


def typed_dict_as_event_type(call: str, event_type: type) -> TypeError:
    return TypeError(
        f"{call}: {event_type.__qualname__} is a TypedDict, of which there are no instances but "
        "plain dicts; pass a class of its own, such as a dataclass"
    )


def undeclared(emitter: type, event_type: type, declared: frozenset[type]) -> TypeError:
    names = " | ".join(sorted(each.__qualname__ for each in declared))
    return TypeError(
        f"{emitter.__qualname__} declares {names}, not {event_type.__qualname__}; add it to the "
        f"parameter of its base class, as in EventEmitter[{names} | {event_type.__qualname__}]"
    )


def class_as_event(call: str, event: object) -> TypeError:
    name = name_of(event)
    return TypeError(
        f"{call}({name}) was given the class; pass an instance, as in {call}({name}(...))"
    )


def not_a_handler(call: str, event_type: type, handler: object, made: str = "") -> TypeError:
    kind = event_type.__qualname__
    way = f"pass the function itself, not a call of it, as in {call}({kind}, handler)"
    if made:
        way = f"write one without `yield`, or iterate over stream({kind})"
    return TypeError(
        f"{call}({kind}, {_given(handler, made)}): the handler must be callable with one "
        f"argument, the event{_unlike(made)}; {way}"
    )


def not_an_error_handler(value: object, made: str) -> TypeError:
    return TypeError(
        f"on_error={_given(value, made)}: must be None or a plain function of one argument, the "
        f"failure{_unlike(made)}"
    )


def _given(function: object, made: str) -> str:
    return name_of(function) if made else shown(function)


def _unlike(made: str) -> str:
    return f"; this is a {made} function, and calling it runs none of its code" if made else ""


def no_loop(call: str, event_type: type, handler: object) -> RuntimeError:
    return RuntimeError(
        f"{call}({event_type.__qualname__}, {name_of(handler)}): the handler is a coroutine "
        "function, and no event loop is running to run it on; register it in a coroutine, or pass "
        "the loop, as in loop=asyncio.get_running_loop()"
    )


def not_a_loop(call: str, event_type: type, loop: object) -> TypeError:
    return TypeError(
        f"{call}({event_type.__qualname__}, ..., loop={shown(loop)}): the loop must be None or an "
        "event loop of asyncio"
    )


def closed_loop(event_type: type, handler: object) -> RuntimeError:
    return RuntimeError(
        f"the event loop of handler {name_of(handler)} for {event_type.__qualname__} is closed; "
        "call off() before the loop is closed"
    )


def loop_closed_before(call: str, event_type: type, handler: object) -> RuntimeError:
    return RuntimeError(
        f"{call}({event_type.__qualname__}, {name_of(handler)}): the event loop that the handler "
        "would run on is closed; pass one that is open, as in loop=asyncio.get_running_loop()"
    )


def cancelled_call(event_type: type, handler: object) -> CallCancelled:
    return CallCancelled(
        f"handler {name_of(handler)} was cancelled while it handled {event_type.__qualname__}"
    )


def dropped_call(event_type: type, handler: object) -> RuntimeError:
    return RuntimeError(
        f"handler {name_of(handler)} was not told of {event_type.__qualname__}, as the task that "
        "calls it was cancelled"
    )


def not_a_predicate(event_type: type, where: object, made: str) -> TypeError:
    return TypeError(
        f"expect({event_type.__qualname__}, where={_given(where, made)}): must be None or a plain "
        f"function of the event that returns whether it is the one{_unlike(made)}"
    )


def no_event_types(call: str) -> TypeError:
    return TypeError(f"{call} was given no event type; name at least one class of events")


def not_an_emitter(source: object) -> TypeError:
    return TypeError(f"follow() takes the emitter to follow first, not {shown(source)}")


def follows_itself(emitter: object) -> ValueError:
    return ValueError(f"{shown(emitter)} cannot follow itself; follow another emitter")


def bad_maxsize(maxsize: object) -> Exception:
    kind = ValueError if isinstance(maxsize, int) else TypeError
    return kind(f"maxsize must be a whole number of events, 1 or more, not {shown(maxsize)}")


def bad_overflow(overflow: object, policies: tuple[str, ...]) -> ValueError:
    known = ", ".join(repr(each) for each in policies)
    return ValueError(f"overflow must be one of {known}, not {shown(overflow)}")


def overflowed(maxsize: int) -> StreamOverflow:
    return StreamOverflow(
        f"more than {maxsize} events came before they were read; read faster, raise maxsize, or "
        'choose overflow="drop_oldest" or "drop_newest"'
    )


def read_while_interrupting() -> RuntimeError:
    return RuntimeError(
        "a stream was read by code that interrupts this package, a signal handler or a finalizer; "
        "read it in a thread or a task"
    )


def not_a_subscription(call: str, value: object) -> TypeError:
    also = way = ""
    if call == "off()":
        also = ", or an event type and a handler as in off(Event, handler)"
        if isinstance(value, type):
            way = f"; to remove every listener, call remove_all_listeners({value.__qualname__})"
    said = f"{call} takes the subscription that on() returned{also}, not {shown(value)}"
    return TypeError(f"{said}{way}")


def foreign_subscription(call: str, subscription: object) -> ValueError:
    return ValueError(
        f"{call} was given {subscription!r}, which belongs to another emitter; "
        "call its own off() or ask the emitter that made it"
    )


def not_a_timeout(timeout: object) -> Exception:
    kind = ValueError if isinstance(timeout, (int, float)) else TypeError
    return kind(
        f"timeout must be None or a number of seconds, 0 meaning do not wait, not {shown(timeout)}"
    )
