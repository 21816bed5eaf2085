"""What all tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from support import Crew

from eventemitter import EventEmitter, ReplayEventEmitter


def pytest_collection_finish() -> None:
    """Spare `gc.collect()` what the tests themselves are made of: many call it."""
    gc.collect()
    gc.freeze()


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
