"""A process that measures one library: `python -m benchmarks.worker MODULE LIBRARY`.

It reads what to measure from standard input and answers on standard output, one JSON object a line.
It ends with its standard input, so also when whoever started it is gone.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol

from benchmarks.figures import NOT_OFFERED
from benchmarks.rivals import NotInstalledError, NotOfferedError, Rival, load
from benchmarks.timing import NoFigureError, Sample


class Asked(Protocol):
    """What the module of a question offers to the process that measures."""

    def prepare(self, rival: Rival, case: str, seconds: float, /) -> Sample:
        """Get ready to measure a case, a sample of which should take so long.

        Raises:
            NotOfferedError: The library has nothing of the kind.
            NoFigureError: It has, but a figure would take too long, or tell nothing.
        """
        ...


class Desk:
    """Answers the requests, and keeps the preparations of one case for its rounds."""

    def __init__(self, asked: Asked, rival: Rival) -> None:
        """Be ready for the first case."""
        self._asked = asked
        self._rival = rival
        self._case: str | None = None
        self._sample: Sample | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a sample, or why there is none."""
        try:
            return {"sample": self._measure(request["case"], request["seconds"])}
        except NotOfferedError:
            return {"why_not": NOT_OFFERED}
        except NoFigureError as error:
            return {"why_not": str(error)}
        except Exception as error:
            return {"why_not": f"failed: {type(error).__name__}: {error}"}

    def _measure(self, case: str, seconds: float) -> Sequence[float]:
        if self._case != case or self._sample is None:
            self._sample = None
            gc.unfreeze()
            gc.collect()
            self._sample = self._asked.prepare(self._rival, case, seconds)
            self._case = case
            gc.collect()
            # What was prepared is not garbage: there is no need to look through it each time.
            gc.freeze()
        gc.collect()
        return self._sample()


def main(module: str, library: str) -> None:
    """Answer until standard input ends."""
    # Ctrl-C in a terminal reaches all processes; who started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not come among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        asked: Any = importlib.import_module(module)
        try:
            rival = load(library)
        except NotInstalledError:
            print(json.dumps({"why_not": "not installed"}), file=answers)
            return
        except Exception as error:
            why = f"failed: {type(error).__name__}: {error}"
            print(json.dumps({"why_not": why}), file=answers)
            return
        with closing(rival):
            print(json.dumps({"ready": library}), file=answers)
            desk = Desk(asked, rival)
            for line in sys.stdin:
                print(json.dumps(desk.answer(json.loads(line))), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
