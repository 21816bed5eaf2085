"""Faults put into the package on purpose: the explorer must find each of them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import schedules
from explorer import Points, ScheduleError, explore
from schedules import Emitter, Explored

from eventemitter import (
    EventEmitter,
    ReplayEventEmitter,
    _channel,
    _follow,
    _listener,
    _turns,
)

_emitter = import_module("eventemitter._emitter")
_stream = import_module("eventemitter._stream")


@dataclass(frozen=True)
class Edit:
    """One piece of source text of a function, and what stands there in the mutant."""

    module: ModuleType
    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A fault, and the walk that finds it."""

    fault: str
    edits: list[Edit]
    scenario: type[Explored]
    points: Points
    preemptions: int | None
    kind: Emitter = EventEmitter


def in_channel(method: str, old: str, new: str) -> Edit:
    """Edit a method of Channel."""
    return Edit(_channel, f"Channel.{method}", old, new)


def in_buffer(method: str, old: str, new: str) -> Edit:
    """Edit a method of Buffer."""
    return Edit(_stream, f"Buffer.{method}", old, new)


MUTANTS = [
    Mutant(
        "the latest event is stored outside the mutex",
        [
            in_channel("emit", "_old, self.latest = self.latest, event", "pass"),
            in_channel(
                "emit",
                "                if plain is not None:\n                    # Not",
                "                if self.replays:\n                    self.latest = event\n"
                "                if plain is not None:\n                    # Not",
            ),
        ],
        schedules.OnAgainstEmit,
        "lines",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "the snapshot is taken before the mutex",
        [
            in_channel("emit", "call: Any = None\n", "call: Any = None; early = self.plain\n"),
            in_channel("emit", "plain = self.plain\n", "plain = early\n"),
        ],
        schedules.OnDuringTwoEmitsOfOneThread,
        "locks",
        2,
        ReplayEventEmitter,
    ),
    Mutant(
        "a once-listener is called without being claimed",
        [
            in_channel("_deliver", "iter(listener.take, None)", "listener.cell.copy().values()"),
        ],
        schedules.OnceAgainstTwoEmits,
        "locks",
        1,
    ),
    Mutant(
        "the replay runs under the mutex",
        [
            in_channel(
                "_replayed_locked",
                "return replay.events.popleft()",
                "listener.call(replay.events.popleft())",
            )
        ],
        schedules.ReplayThatWaitsForAnotherThread,
        "locks",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "the next in line is woken before the turn is given up, and not after",
        [
            Edit(_turns, "Turn.pass_on_locked", "first.let_go_locked()", "pass"),
            in_channel(
                "_deliver",
                "        call: Handler",
                "        if self.line:\n            self.line[0].let_go_locked()\n"
                "        call: Handler",
            ),
        ],
        schedules.TwoEmitsInOneOrder,
        "lines",
        1,
    ),
    Mutant(
        "the next in line is not woken",
        [Edit(_turns, "Turn.pass_on_locked", "first.let_go_locked()", "pass")],
        schedules.TwoEmitsInOneOrder,
        "lines",
        1,
    ),
    Mutant(
        "the queue is not looked at again when the turn is given up",
        [
            in_channel("_commit_locked", "self.plain = None\n", "pass\n"),
            in_channel("arrive_locked", "self.plain = None\n", "pass\n"),
        ],
        schedules.EmitNowaitAgainstEmit,
        "lines",
        1,
    ),
    Mutant(
        "the line is not looked at when the turn is given up",
        [in_channel("arrive_locked", "self.plain = None\n", "pass\n")],
        schedules.TwoEmitsInOneOrder,
        "lines",
        1,
    ),
    Mutant(
        "who waits for a handler is not looked at when the turn is given up",
        [
            in_channel(
                "emit",
                "self.plain is not plain:\n                        errors",
                "0:\n                        errors",
            ),
            in_channel(
                "emit",
                "self.plain is not plain:\n                            self",
                "0:\n                            self",
            ),
            in_channel("_send_herald_locked", "if running and", "if False and"),
        ],
        schedules.OffAndWaitAgainstEmit,
        "locks",
        2,
    ),
    Mutant(
        "the cycle is looked for without the lock of the graph",
        [
            Edit(
                _turns,
                "Turn.line_up_locked",
                "with waits_lock:\n            if closes_cycle(wait.agent, "
                "self.ahead(len(self.line))):\n                return False\n",
                "if closes_cycle(wait.agent, self.ahead(len(self.line))):\n"
                "            return False\n        with waits_lock:\n",
            )
        ],
        schedules.TwoEmittersInACycle,
        "locks",
        3,
    ),
    Mutant(
        "no cycle is ever found",
        [
            Edit(
                _turns,
                "closes_cycle",
                "call):\n            return True",
                "call):\n            return False",
            )
        ],
        schedules.ThreeEmittersInACycle,
        "locks",
        2,
    ),
    Mutant(
        "waits for handlers are not entered in the graph",
        [in_channel("watch_locked", "watch.agent.waits.append(watch)", "pass")],
        schedules.WaitForTurnAgainstWaitForHandler,
        "locks",
        2,
    ),
    Mutant(
        "an event that is handed over is dropped",
        [
            in_channel(
                "arrive_locked", "if entry is not None:", "if entry is not None and not holder:"
            )
        ],
        schedules.TwoEmittersInACycle,
        "locks",
        2,
    ),
    Mutant(
        "the turn is not taken",
        [in_channel("emit", "self.holder = me", "pass")],
        schedules.TwoEmitsInOneOrder,
        "lines",
        2,
    ),
    Mutant(
        "a removed listener is called by deliveries under way",
        [
            Edit(
                _listener,
                "Listener.claim",
                "        self.call = removed\n        handler",
                "        handler",
            ),
            Edit(_listener, "Listener.claim", "        self.call = removed  # again", "        # "),
        ],
        schedules.OffOfOneToComeAgainstEmit,
        "locks",
        1,
    ),
    Mutant(
        "off_and_wait does not wait",
        [in_channel("watch_locked", "return None", "return True")],
        schedules.OffAndWaitAgainstEmit,
        "locks",
        2,
    ),
    Mutant(
        "who waits for a handler sends its herald after having looked who runs it",
        [
            in_channel("watch_locked", "self._send_herald_locked()", "pass"),
            in_channel(
                "watch_locked",
                "watch.agent.waits.append(watch)",
                "watch.agent.waits.append(watch)\n            self._send_herald_locked()",
            ),
        ],
        schedules.OffAndWaitForThatHandlerAlone,
        "lines",
        2,
    ),
    Mutant(
        "a delivery goes on without a word to who waits",
        [in_channel("_send_herald_locked", "if running and", "if False and")],
        schedules.OffAndWaitForThatHandlerAlone,
        "locks",
        1,
    ),
    Mutant(
        "a herald is removed with its listener, and not sent again",
        [in_channel("_settle_locked", "self.herald in (None, item)", "not self.watches")],
        schedules.OffAndWaitAgainstOffOfTheNext,
        "locks",
        1,
    ),
    Mutant(
        "a herald is sent again to where the delivery has come past",
        [in_channel("_settle_locked", "self._tell_locked()", "pass")],
        schedules.OffAndWaitAgainstOffOfTheNext,
        "locks",
        2,
    ),
    Mutant(
        "who waits brings back a handler that was removed",
        [Edit(_listener, "Listener.divert", "if not self.cell:", "if call is None:")],
        schedules.OffOfOneWithAHeraldAgainstEmit,
        "lines",
        1,
    ),
    Mutant(
        "an event emitted during a replay is delivered at once",
        [in_channel("_keep_locked", "return True", "return False")],
        schedules.OnDuringTwoEmitsOfOneThread,
        "lines",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "a stream takes an event after the commit",
        [
            in_channel("_commit_locked", "if self.keeps:", "if self.replays:"),
            in_channel("_keep_latest_locked", "in self.taps:", "in ():"),
            in_channel(
                "emit",
                "                if plain is not None:\n                    # Not",
                "                for tap in self.taps:\n"
                "                    tap.relay.take_locked(me, perf_counter_ns(), event)\n"
                "                if plain is not None:\n                    # Not",
            ),
            in_channel(
                "_deliver",
                "        call: Handler",
                "        for tap in self.taps:\n"
                "            tap.relay.take_locked(me, perf_counter_ns(), event)\n"
                "        call: Handler",
            ),
        ],
        schedules.StreamAgainstTwoEmits,
        "locks",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "a stream opens without putting its events in order",
        [in_buffer("_open_locked", "sorted(self._events, key=itemgetter(0))", "[*self._events]")],
        schedules.StreamOfTwoTypesDuringTwoEmits,
        "locks",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "a stream that overflows does not say so",
        [in_buffer("_put_locked", "self._closed = self._broken = True", "self._closed = True")],
        schedules.OverflowAgainstTwoEmits,
        "locks",
        0,
    ),
    Mutant(
        "closing a stream wakes no reader",
        [in_buffer("_close_locked", "self._wake_locked()", "pass")],
        schedules.StreamCloseAgainstReader,
        "locks",
        1,
    ),
    Mutant(
        "a reader registers its gate after it has looked at the buffer",
        [
            in_buffer(
                "next",
                "return section(me, self._mutex, self._next_locked, gate)",
                "found = section(me, self._mutex, self._next_locked, None)\n"
                "        if found is None and gate is not None:\n"
                "            self._gates.append(gate)\n"
                "        return found",
            )
        ],
        schedules.StreamCloseAgainstReader,
        "locks",
        1,
    ),
    Mutant(
        "an expectation is registered after the latest event was looked at",
        [
            Edit(
                _emitter,
                "EventEmitter.expect",
                "return register([(channel, listener)], expectation.pop)",
                "latest = channel.latest\n"
                "        made = register([(channel, listener)], expectation.pop)\n"
                "        if latest is not NOTHING:\n"
                "            made.set_result(latest)\n"
                "        return made",
            ),
            Edit(_channel, "Channel._register_locked", "if self.latest is NOTHING", "if True"),
        ],
        schedules.ExpectAgainstEmit,
        "lines",
        1,
        ReplayEventEmitter,
    ),
    Mutant(
        "a follower does not look where an event has been",
        [Edit(_follow, "Forward.__call__", "weakref.ref(self.target) not in route", "route")],
        schedules.TwoEmittersThatFollowEachOther,
        "locks",
        0,
    ),
    Mutant(
        "a follower forgets where an event has been",
        [Edit(_follow, "Forward.__call__", "emit_along(entry, route)", "emit(entry.event)")],
        schedules.TwoEmittersThatFollowEachOther,
        "locks",
        0,
    ),
]


@contextmanager
def applied(mutant: Mutant) -> Generator[None]:
    """Put the fault in, by compiling the edited source in the place of the original."""
    sources: dict[str, tuple[ModuleType, str, int]] = {}
    for edit in mutant.edits:
        if edit.name not in sources:
            lines, start = inspect.getsourcelines(_find(edit.module, edit.name))
            sources[edit.name] = edit.module, textwrap.dedent("".join(lines)), start
        module, source, start = sources[edit.name]
        indented = textwrap.indent(source, "    " if "." in edit.name else "")
        assert indented.count(edit.old) == 1, f"{edit.name} has changed: mend {mutant.fault!r}"
        edited = textwrap.dedent(indented.replace(edit.old, edit.new))
        sources[edit.name] = module, edited, start
    patches = [
        patch.object(*_owner(module, name), _compiled(module, source, start))
        for name, (module, source, start) in sources.items()
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def _find(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _owner(module: ModuleType, name: str) -> tuple[Any, str]:
    *owner, attribute = name.split(".")
    return _find(module, owner[0]) if owner else module, attribute


def _compiled(module: ModuleType, source: str, start: int) -> Any:
    tree = ast.increment_lineno(ast.parse(source), start - 1)
    names: dict[str, Any] = {}
    # In the file of the original, so that the explorer takes its lines for the package's.
    exec(  # noqa: S102 - the package's own source
        compile(tree, str(module.__file__), "exec", dont_inherit=True),
        vars(module),
        names,
    )
    (function,) = names.values()
    return function


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.fault for each in MUTANTS])
def test_the_explorer_finds_the_fault(mutant: Mutant) -> None:
    """Each walk that passes on the package fails on the mutant."""
    with applied(mutant), pytest.raises(ScheduleError):
        explore(
            lambda: mutant.scenario(mutant.kind),
            points=mutant.points,
            preemptions=mutant.preemptions,
            cap=20_000,
        )
