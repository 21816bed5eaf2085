"""Benchmarks of `eventemitter`, one module a question: `python -m benchmarks --help` lists them.

Here is what they share: a progress bar, and a Ctrl-C that never comes at a bad moment.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from typing import TypeAlias

Pause: TypeAlias = Callable[[float], None]
"""Waits that many seconds, or raises `KeyboardInterrupt` if Ctrl-C was or is pressed."""


@contextmanager
def interrupts() -> Generator[Pause]:
    """Put off Ctrl-C to the next `pause()`, so that it cuts nothing short that owns a resource.

    By default `KeyboardInterrupt` may come up on any line, also between the one that starts a
    thread and the one that sees to its end. Only the main thread may enter this.
    """
    # The handler may interrupt `pause()` inside `get()`: a `SimpleQueue` allows a `put()` there,
    # an `Event` would deadlock.
    presses: SimpleQueue[int] = SimpleQueue()

    def pause(seconds: float) -> None:
        try:
            presses.get(timeout=seconds)
        except Empty:
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, lambda number, _frame: presses.put(number))
    try:
        yield pause
    finally:
        signal.signal(signal.SIGINT, before)


def progress_bars_available() -> bool:
    """Tell whether tqdm is installed, which is optional: without it there is no bar."""
    return find_spec("tqdm") is not None


@contextmanager
def progress(label: str, total: int, unit: str) -> Generator[Callable[[], object]]:
    """Show a bar of `total` steps that goes away at the end; yield what to call after a step.

    Nothing is shown where standard error is not a terminal.
    """
    if not progress_bars_available():
        yield lambda: None
        return
    from tqdm import tqdm  # noqa: PLC0415 - optional, see above

    # Its monitor is a thread that outlives the bar.
    tqdm.monitor_interval = 0
    with tqdm(total=total, desc=label, unit=f" {unit}", disable=None, leave=False) as bar:
        yield bar.update
