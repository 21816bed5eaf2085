"""Emit events exactly: typed, replaying, safe under threads, asyncio, signals and finalizers."""

from ._emitter import EventEmitter, ReplayEventEmitter
from ._errors import HandlerFailure, LockOrderError, StreamOverflow
from ._expectation import Expectation
from ._stream import EventStream
from ._subscription import Subscription

__all__ = [
    "EventEmitter",
    "EventStream",
    "Expectation",
    "HandlerFailure",
    "LockOrderError",
    "ReplayEventEmitter",
    "StreamOverflow",
    "Subscription",
]
