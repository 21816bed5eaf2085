"""Ask all libraries the same question, each in a process of its own, in rounds.

A round measures every library once, in turn, so that a machine that becomes slower or busier does
so for all of them; each round begins with another one. No two are measured at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from benchmarks import Pause, progress
from benchmarks.figures import Case, Results, tables

T = TypeVar("T")

_ROOT: Final = Path(__file__).parent.parent
_PATIENCE: Final = 60.0  # seconds after which a process that does not answer is given up
_GLANCE: Final = 0.1  # seconds between two looks at Ctrl-C


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    """How long a sample should take."""
    most_seconds: float
    """After how long on one case a library is asked for no further sample of it."""


class Worker:
    """A process that measures one library; started anew where it has ended or does not answer."""

    def __init__(self, module: str, library: str) -> None:
        """Start it."""
        self.library = library
        self._command = [sys.executable, "-m", "benchmarks.worker", module, library]
        self._start()

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = threading.Thread(target=_read, args=(self._process, self._lines))
        self._reader.start()

    def ask(self, case: Case, seconds: float, pause: Pause) -> dict[str, Any]:
        """Have a case measured once."""
        if self._process.poll() is not None:
            self.end()
            self._start()
            greeting = self.hear(pause)
            if "ready" not in greeting:
                return greeting
        request = json.dumps({"case": case.key, "seconds": seconds})
        assert self._process.stdin is not None  # noqa: S101 - for type checkers
        try:
            print(request, file=self._process.stdin, flush=True)
        except OSError:
            pass  # its end is what is heard next
        return self.hear(pause)

    def hear(self, pause: Pause) -> dict[str, Any]:
        """Wait for an answer, listening for Ctrl-C."""
        waited = 0.0
        while waited < _PATIENCE:
            try:
                line = self._lines.get(timeout=_GLANCE)
            except Empty:
                waited += _GLANCE
                pause(0)
                continue
            if not line:
                return {"why_not": f"failed: its process ended with {self._process.wait()}"}
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.kill()
        self._process.wait()
        return {"why_not": f"failed: no answer within {_PATIENCE:g} s"}

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101 - for type checkers
            try:
                pipe.close()
            except OSError:
                pass  # what it has not read any more


def _read(process: subprocess.Popen[str], lines: SimpleQueue[str]) -> None:
    """Pass lines on, and at the end an empty one."""
    assert process.stdout is not None  # noqa: S101 - for type checkers
    for line in process.stdout:
        lines.put(line)
    lines.put("")


@contextmanager
def _workers(question: Question, results: Results, pause: Pause) -> Generator[dict[str, Worker]]:
    """Start all processes, and wait until each has loaded and checked its library."""
    with ExitStack() as stack:
        started: list[Worker] = []
        for library in results.libraries:
            worker = Worker(question.module, library)
            stack.callback(worker.end)
            started.append(worker)
        ready: dict[str, Worker] = {}
        for worker in started:
            answer = worker.hear(pause)
            if "ready" in answer:
                ready[worker.library] = worker
                continue
            for case in question.cases:
                results.leave_out(case, worker.library, answer["why_not"])
        yield ready


def _measure(
    question: Question,
    results: Results,
    effort: Effort,
    pause: Pause,
    step: Callable[[], object],
) -> None:
    """Fill the results, case by case, round by round, library by library."""
    with _workers(question, results, pause) as workers:
        for case in question.cases:
            spent = dict.fromkeys(workers, 0.0)
            for number in range(effort.rounds):
                for library, worker in _rotated(list(workers.items()), number):
                    pause(0)
                    step()
                    if results.left_out(case, library) or spent[library] > effort.most_seconds:
                        continue
                    started = time.monotonic()
                    answer = worker.ask(case, effort.seconds, pause)
                    if number:  # getting ready does not count
                        spent[library] += time.monotonic() - started
                    if "sample" in answer:
                        results.add(case, library, answer["sample"])
                    else:
                        results.leave_out(case, library, answer["why_not"])


def _rotated(items: list[T], by: int) -> list[T]:
    start = by % max(1, len(items))
    return items[start:] + items[:start]


@dataclass(frozen=True)
class Question:
    """A benchmark that compares all libraries."""

    name: str
    module: str
    """Where `prepare` is, for the processes that measure."""
    title: str
    legend: str
    cases: tuple[Case, ...]
    full: Effort
    quick: Effort

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add none: the options that all comparisons share are the command's."""

    def run(self, options: argparse.Namespace, pause: Pause) -> int:
        """Measure, print, and leave the results to the command; return 1 if anything failed."""
        effort = self.quick if options.quick else self.full
        results = self.measure(options.libraries, effort, pause)
        options.results[self.name] = results
        print(f"{self.name}: {self.title}")
        for table in tables(results):
            print(f"\n{table}")
        print(f"\n{self.legend}\n{LEGEND}")
        for failure in results.failures():
            print(failure)
        return 1 if results.failures() else 0

    def measure(self, libraries: Sequence[str], effort: Effort, pause: Pause) -> Results:
        """Ask all libraries."""
        results = Results(self.cases, libraries)
        steps = len(self.cases) * len(libraries) * effort.rounds
        with progress(self.name, steps, "samples") as step:
            _measure(self, results, effort, pause, step)
        return results


LEGEND: Final = """\
±: half the distance between the quartiles of the rounds, as a part of the median before it;
   of what takes very long there are fewer rounds
x: how many times as good ours is, by the medians; replaying libraries are compared with
   ReplayEventEmitter, all others with EventEmitter"""
