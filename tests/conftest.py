"""What all tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import injection
import pytest
from support import Crew

from eventemitter import EventEmitter, ReplayEventEmitter


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what `walks` into the deep part, too."""
    if config.getoption("markexpr") == "deep":
        for item in items:
            if item.get_closest_marker("walks"):
                item.add_marker("deep")


@pytest.fixture(autouse=True)
def _share(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the fast part, interrupt at every third point only."""
    fast = request.config.getoption("markexpr") == "not deep"
    if fast and request.node.get_closest_marker("walks"):
        monkeypatch.setattr(injection, "share", injection.THIRD)


def pytest_collection_finish() -> None:
    """Spare `gc.collect()` what the tests themselves are made of: many call it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Let objects go by reference counting alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Run functions in threads; fail the test with what they raise, or if one never ends."""
    crew = Crew()
    yield crew
    crew.join()


@pytest.fixture(params=[EventEmitter, ReplayEventEmitter])
def kind(request: pytest.FixtureRequest) -> type[EventEmitter[Any]]:
    """Run the test once with each class of emitter."""
    kind: type[EventEmitter[Any]] = request.param
    return kind


@pytest.fixture
def emitter(kind: type[EventEmitter[Any]]) -> EventEmitter[Any]:
    """Return an emitter of any events; the test runs once with each class of emitter."""
    return kind()
