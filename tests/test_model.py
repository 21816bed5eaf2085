"""Random programs, run by the package and by a model that is short enough to be seen to be right.

A program is a sequence of calls, and a few scripts of calls, one of which each handler makes when
it is called. The package and the model must tell the same story of it, line by line: who is called
with what in which order, what each call returns, and what it raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from support import Ping, Pong, assert_idle, both_kinds

from eventemitter import EventEmitter, HandlerFailure, ReplayEventEmitter

Emitter = type[EventEmitter[Any]]
Handler = Callable[[Any], object]
ErrorHandler = Callable[[HandlerFailure], object]

FREQUENT = ["on", "once", "off", "off_by_handler", "emit", "emit_nowait"]
RARE = ["remove_all_listeners", "forget", "latest", "listener_count"]
SCRIPTS = 3
CALLS_BY_HANDLERS = 12
"""So many calls all handlers together make in the course of one call of the program."""

exactly_repeatable = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no failure
)

set_hypothesis_home_dir(os.devnull)  # nothing is to be left in the working directory


# The model


@dataclass(eq=False)
class Registration:
    """What the model knows of a listener, which is active while it is in `Model.registered`."""

    event_type: type
    handler: Handler
    once: bool
    replay: list[object] | None = None


class Model:
    """What an emitter does where there are no other threads and no interruptions."""

    def __init__(self, *, replays: bool, on_error: ErrorHandler | None) -> None:
        self.replays, self.on_error = replays, on_error
        self.registered: dict[type, list[Registration]] = {Ping: [], Pong: []}
        self.events: dict[type, object] = {}
        self.queues: dict[type, list[tuple[object, list[Registration]]]] = {}

    def on(self, event_type: type, handler: Handler, *, once: bool = False) -> Registration:
        new, errors = Registration(event_type, handler, once), list[Exception]()
        replayed = event_type in self.events
        if not (replayed and once):
            self.registered[event_type].append(new)
        if replayed:
            new.replay = [self.events[event_type]]
            while new.replay and not errors and (once or self.active(new)):
                self.call(handler, new.replay.pop(0), errors)
            new.replay = None
        if errors:
            self.off(new)
            raise ExceptionGroup("", errors)
        return new

    def once(self, event_type: type, handler: Handler) -> Registration:
        return self.on(event_type, handler, once=True)

    def emit(self, event: object) -> None:
        event_type, errors = type(event), list[Exception]()
        if self.replays:
            self.events[event_type] = event
        committed = (event, self.registered[event_type].copy())
        if event_type in self.queues:
            self.queues[event_type].append(committed)
            return
        queue = self.queues[event_type] = [committed]
        while queue:
            event, snapshot = queue.pop(0)
            for listener in snapshot:
                if self.active(listener) and listener.replay is not None:
                    listener.replay.append(event)
                elif self.active(listener):
                    if listener.once:
                        self.off(listener)
                    self.call(listener.handler, event, errors)
        del self.queues[event_type]
        if errors:
            raise ExceptionGroup("", errors)

    emit_nowait = emit

    def call(self, handler: Handler, event: object, errors: list[Exception]) -> None:
        try:
            handler(event)
        except Exception as error:
            if self.on_error is None:
                errors.append(error)
            else:
                self.on_error(HandlerFailure(event, handler, error))

    def off(self, which: Registration | type, handler: Handler | None = None) -> bool:
        if isinstance(which, Registration):
            found = [which] if self.active(which) else []
        else:
            found = [each for each in self.registered[which] if each.handler == handler]
        if found:
            self.registered[found[-1].event_type].remove(found[-1])
        return bool(found)

    def active(self, listener: Registration) -> bool:
        return listener in self.registered[listener.event_type]

    def remove_all_listeners(self, event_type: type | None = None) -> None:
        for each in (Ping, Pong) if event_type is None else (event_type,):
            self.registered[each].clear()

    def forget(self, event_type: type | None = None) -> None:
        for each in (Ping, Pong) if event_type is None else (event_type,):
            self.events.pop(each, None)

    def latest(self, event_type: type) -> object:
        return self.events.get(event_type)

    def listeners(self, event_type: type) -> list[Registration]:
        return self.registered[event_type]

    def listener_count(self, event_type: type) -> int:
        return len(self.registered[event_type])


# The programs


@dataclass(frozen=True)
class Step:
    """A call. `number` chooses the script of a new handler, or which subscription to end."""

    name: str
    event_type: type[Ping | Pong]
    number: int


@dataclass(frozen=True)
class Script:
    """What a handler does: its calls, and whether it then raises, or lets through what they do."""

    steps: list[Step]
    raises: bool


@dataclass(frozen=True)
class Program:
    """The calls made from outside, the scripts of the handlers, and whether there is `on_error`."""

    steps: list[Step]
    scripts: list[Script]
    on_error: bool


steps = st.builds(
    Step,
    st.sampled_from(FREQUENT + FREQUENT + RARE),
    st.sampled_from([Ping, Ping, Pong]),
    st.integers(0, 2 * SCRIPTS - 1),
)
scripts = st.builds(Script, st.lists(steps, max_size=5), st.sampled_from([False, False, True]))
programs = st.builds(
    Program,
    st.lists(steps, min_size=2, max_size=12),
    st.lists(scripts, min_size=SCRIPTS, max_size=SCRIPTS),
    st.sampled_from([False, False, True]),
)


class ScriptError(Exception):
    """A handler raises it."""


class Scripted:
    """A handler that makes the calls of its script; equal to every other one of the same script."""

    def __init__(self, stage: Stage, listener: int, script: int) -> None:
        self.stage = stage
        self.listener = listener
        self.script = script

    def __call__(self, event: Ping | Pong) -> None:
        self.stage.play(self, event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scripted) and self.script == other.script

    def __hash__(self) -> int:
        return hash(self.script)


class Stage:
    """Where the program runs, on an emitter or on the model; it writes the story down."""

    def __init__(self, kind: Emitter, program: Program, *, model: bool) -> None:
        self.replays = issubclass(kind, ReplayEventEmitter)
        self.program = program
        on_error = self.failed if program.on_error else None
        self.emitter: Any = (
            Model(replays=self.replays, on_error=on_error) if model else kind(on_error=on_error)
        )
        self.story: list[str] = []
        self.depth = 0
        self.calls_left = 0
        self.listeners = 0
        self.emitted = 0
        self.subscriptions: list[Any] = []

    def tell(self, line: object) -> None:
        """Add a line to the story."""
        self.story.append(f"{'  ' * self.depth}{line}")

    def run(self) -> list[str]:
        """Run the program, and return the story. It ends with who is registered then."""
        for step in self.program.steps:
            self.calls_left = CALLS_BY_HANDLERS
            try:
                self.make(step)
            except ExceptionGroup:
                pass  # the story says so
        for event_type in (Ping, Pong):
            left = [each.handler.listener for each in self.emitter.listeners(event_type)]
            self.tell(f"{event_type.__name__} is left to {left}")
        return self.story

    def make(self, step: Step) -> None:
        """Make one call, and tell what comes of it."""
        if step.name in {"forget", "latest"} and not self.replays:
            return
        self.tell(f"{step.name} {step.event_type.__name__} {step.number}")
        self.depth += 1
        try:
            result = getattr(self, step.name)(step.event_type, step.number)
            self.tell(f"returns {result}")
        except ExceptionGroup as error:
            self.tell(f"raises {told(error)}")
            raise
        finally:
            self.depth -= 1

    def play(self, handler: Scripted, event: Ping | Pong) -> None:
        """Do what a handler does when it is called."""
        self.tell(f"listener {handler.listener} is called with {event}")
        self.depth += 1
        script = self.program.scripts[handler.script]
        try:
            for step in script.steps:
                if self.calls_left > 0:
                    self.calls_left -= 1
                    self.make(step)
        except ExceptionGroup:
            if script.raises:
                raise
        finally:
            self.depth -= 1
        if script.raises:
            raise ScriptError(f"{handler.listener} at {event}")

    def failed(self, failure: HandlerFailure) -> None:
        """Tell what `on_error` has received."""
        assert isinstance(failure.handler, Scripted)
        self.tell(
            f"on_error: {failure.event}, listener {failure.handler.listener}, {told(failure.error)}"
        )

    def handler(self, number: int) -> Scripted:
        """Return a new handler."""
        self.listeners += 1
        return Scripted(self, self.listeners, number % SCRIPTS)

    def event(self, event_type: type[Ping | Pong]) -> Ping | Pong:
        """Return a new event."""
        self.emitted += 1
        return event_type(self.emitted)

    # The calls. What they return is told.

    def on(self, event_type: type, number: int) -> None:
        """Register a handler."""
        self.subscriptions.append(self.emitter.on(event_type, self.handler(number)))

    def once(self, event_type: type, number: int) -> None:
        """Register a handler for one call."""
        self.subscriptions.append(self.emitter.once(event_type, self.handler(number)))

    def off(self, _: type, number: int) -> object:
        """End one of the last subscriptions."""
        last = self.subscriptions[-2 * SCRIPTS :]
        return self.emitter.off(last[number % len(last)]) if last else "nothing"

    def off_by_handler(self, event_type: type, number: int) -> object:
        """Remove the newest listener with this script."""
        return self.emitter.off(event_type, Scripted(self, 0, number % SCRIPTS))

    def emit(self, event_type: type[Ping | Pong], _: int) -> object:
        """Emit an event."""
        return self.emitter.emit(self.event(event_type))

    def emit_nowait(self, event_type: type[Ping | Pong], _: int) -> object:
        """Emit an event."""
        return self.emitter.emit_nowait(self.event(event_type))

    def remove_all_listeners(self, event_type: type, number: int) -> object:
        """Remove the listeners of one event type or of both."""
        return self.emitter.remove_all_listeners(event_type if number else None)

    def forget(self, event_type: type, number: int) -> object:
        """Forget the latest event of one event type or of both."""
        return self.emitter.forget(event_type if number else None)

    def latest(self, event_type: type, _: int) -> object:
        """Look at the latest event."""
        return self.emitter.latest(event_type)

    def listener_count(self, event_type: type, _: int) -> object:
        """Count the listeners."""
        return self.emitter.listener_count(event_type)


def told(error: BaseException) -> str:
    """Return an error as the story tells it: a group as what is in it, in order."""
    group: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    return str(error) if group is None else f"[{', '.join(map(told, group))}]"


def assert_told_alike(kind: Emitter, program: Program) -> None:
    """Run the program on an emitter and on the model, and compare."""
    stage = Stage(kind, program, model=False)
    assert stage.run() == Stage(kind, program, model=True).run()
    if "_eventemitter_channels" in stage.emitter.__dict__:
        assert_idle(stage.emitter)


@both_kinds
@settings(exactly_repeatable, max_examples=300)
@given(program=programs)
def test_a_random_program_runs_as_in_the_model(kind: Emitter, program: Program) -> None:
    """G1, G2, G4, G5, G7, G8 and G11 on one thread: calls, order, results and failures."""
    assert_told_alike(kind, program)


@pytest.mark.deep
@pytest.mark.timeout(900)
@both_kinds
@settings(exactly_repeatable, max_examples=4_000)
@given(program=programs)
def test_many_random_programs_run_as_in_the_model(kind: Emitter, program: Program) -> None:
    """The same, for as many programs as there is time for."""
    assert_told_alike(kind, program)
