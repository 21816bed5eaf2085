"""Every failure and exception of the package, and the sentences its users see."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """Describe one call of a handler that raised.

    `on_error` receives it: `event` is what was delivered, `handler` what was called, `error` what
    it raised.
    """

    event: object
    handler: Callable[[Any], object]
    error: Exception


class LockOrderError(RuntimeError):
    """A lock was about to be taken against the documented order, or user code run under a lock.

    Raised only while the lock order is checked (`EVENTEMITTER_CHECK_LOCKS=1` or `python -X dev`).
    It reports a fault of this package, not of its caller.
    """


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
        return reprlib.repr(thing)
    except Exception:  # it goes by the name of the class, which may be that of a built-in one
        return object.__repr__(thing)


def annotated(failure: HandlerFailure) -> Exception:
    """Return the error of `failure`, with a note that names handler and event."""
    note = f"raised by handler {name_of(failure.handler)} for event {shown(failure.event)}"
    try:
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


def not_a_class(call: str, value: object) -> TypeError:
    return TypeError(
        f"{call}: the event type must be a class, not {shown(value)}; "
        "pass the class whose instances are emitted"
    )


def metaclass_as_event_type(call: str, event_type: type) -> TypeError:
    return TypeError(
        f"{call}: {event_type.__qualname__} is a class of classes, and a class is never an event; "
        "pass the class whose instances are emitted"
    )


def undeclared(emitter: type, event_type: type, declared: frozenset[type]) -> TypeError:
    names = " | ".join(sorted(each.__qualname__ for each in declared))
    return TypeError(
        f"{emitter.__qualname__} declares {names}, not {event_type.__qualname__}; add it to the "
        f"parameter of its base class, as in EventEmitter[{names} | {event_type.__qualname__}]"
    )


def class_as_event(call: str, event: type) -> TypeError:
    name = event.__qualname__
    return TypeError(
        f"{call}({name}) was given the class; pass an instance, as in {call}({name}(...))"
    )


def not_callable(call: str, event_type: type, handler: object) -> TypeError:
    return TypeError(
        f"{call}({event_type.__qualname__}, {shown(handler)}): the handler must be "
        "callable with one argument, the event"
    )


def not_an_error_handler(value: object) -> TypeError:
    return TypeError(
        f"on_error={shown(value)}: must be None or callable with one argument, the failure"
    )


def coroutine_handler(call: str, event_type: type, handler: object) -> TypeError:
    return TypeError(
        f"{call}({event_type.__qualname__}, {name_of(handler)}): the handler is a coroutine "
        "function, which emit() could not await; pass a plain function, one that starts a task say"
    )


def not_a_subscription(call: str, value: object) -> TypeError:
    also = " or an event type and a handler" if call == "off()" else ""
    return TypeError(f"{call} takes the subscription that on() returned{also}, not {shown(value)}")


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
