"""Emit events exactly: typed, replaying, safe under threads, signals and finalizers."""

from ._emitter import EventEmitter, ReplayEventEmitter
from ._errors import HandlerFailure, LockOrderError
from ._subscription import Subscription

__all__ = [
    "EventEmitter",
    "HandlerFailure",
    "LockOrderError",
    "ReplayEventEmitter",
    "Subscription",
]
