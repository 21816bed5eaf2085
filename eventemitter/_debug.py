"""What the package tells the logger "eventemitter" at level DEBUG. While that is off, nothing.

Loggers run code of users and take locks: nothing is told with a lock held (G6), nor inside (see
`_sections`), so what interrupts this package there goes untold. What logging raises goes to
`sys.unraisablehook`.

A thread that tells something may hold the lock of a logging handler, which others may want. So
what that handler calls waits for no turn and for no handler (see `closes_cycle`). Nor is anything
told of it: that would go on for ever.
"""

from __future__ import annotations

import threading
from logging import DEBUG, getLogger
from time import monotonic
from typing import TYPE_CHECKING

from ._errors import name_of, report_unraisable
from ._listener import Handler, Listener, is_relay
from ._locks import proved
from ._sections import Doing, ThreadState
from ._turns import HandlerWait, Strand, TurnWait

if TYPE_CHECKING:
    from ._channel import Channel  # which imports this

log = getLogger("eventemitter")

PERIOD = 1.0
"""How many seconds a wait may last without being told."""


def tell(channel: Channel, me: ThreadState, message: str) -> None:
    """Tell something, and nothing of what logging does then."""
    if proved(me).telling:
        return
    try:
        try:
            me.telling = True
            log.debug("%s: %s", channel.event_type.__qualname__, message)
        except Exception as error:
            report_unraisable(error)
        finally:
            me.telling = False
    finally:
        me.telling = False  # again, as that may have been cut short itself


def came(channel: Channel, listener: Listener, me: ThreadState) -> None:
    """Tell that a listener was added, unless the latest event is its only one."""
    if log.isEnabledFor(DEBUG) and (listener.replay is None or not listener.once):
        tell(channel, me, f"{'once-' * listener.once}listener {named(listener)} added")


def handed_over(channel: Channel, me: ThreadState) -> None:
    """Tell that an emit leaves its event to the thread whose turn it is, if that is another."""
    holder = channel.holder
    if holder is None or holder.thread is not me:
        tell(channel, me, f"{_name(me)} hands its event over to {_name(holder)}")


def opens_soon(
    channel: Channel, wait: TurnWait | HandlerWait, until: float | None, listener: Listener | None
) -> bool:
    """Where waits are told, wait for a PERIOD, and tell of a longer one; return if it was opened.

    `emit()` waits for its turn, `off_and_wait()` for calls of `listener`, or of any if it is None.
    """
    if not log.isEnabledFor(DEBUG) or (until is not None and until - monotonic() <= PERIOD):
        return False
    if wait.gate.wait(PERIOD):
        return True
    calls = wait.calls if isinstance(wait, HandlerWait) else [(channel.running, channel.holder)]
    for called, caller in calls:
        found = listener or called
        name = named(found) if isinstance(found, Listener) else found or "no handler"
        waits = f"{_name(wait.thread)} has waited {PERIOD:g} s for {_name(caller)}"
        if caller is not wait:  # else its turn has just come
            tell(channel, wait.thread, f"{waits}, which calls {name}")
    return False


def named(listener: Listener, handler: Handler | None = None) -> str:
    """Name the handler, and note its name: once it is removed nobody holds it any more (G14)."""
    handler = listener.handler if handler is None else handler
    if handler is not None:
        listener.name = proved(name_of)(handler.handler if is_relay(handler) else handler)
    return getattr(listener, "name", "a handler")


def _name(doing: Doing | None) -> str:
    names = {each.ident: repr(each.name) for each in threading.enumerate()}
    # For a handler on a loop, the thread that called it: the wait graph may know it by another.
    thread = doing.thread if doing is not None else None
    if isinstance(doing, Strand):
        thread = doing.known
    return "another thread" if thread is None else names.get(thread.ident, "another thread")
