"""The events and emitters of the files beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from eventemitter import EventEmitter, ReplayEventEmitter

T = TypeVar("T")


@dataclass(frozen=True)
class Connected:
    """An event."""

    peer: str


@dataclass(frozen=True)
class Disconnected:
    """An event."""

    graceful: bool


@dataclass(frozen=True)
class Lost(Disconnected):
    """An event that is a kind of another."""

    after: float


@dataclass(frozen=True)
class Changed(Generic[T]):
    """An event that is generic."""

    value: T


@dataclass(frozen=True)
class Stranger:
    """An event that nobody declares."""


class Link(EventEmitter[Connected | Disconnected]):
    """Declares a union."""


class Pending(ReplayEventEmitter[Connected | Disconnected]):
    """Declares a union and replays."""


class Server(EventEmitter[Connected]):
    """Declares a single class."""


class Topic(EventEmitter[T]):
    """Leaves its parameter to whoever makes one."""
