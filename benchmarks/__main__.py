"""The command line: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks import (
    Pause,
    emit,
    faults,
    handshake,
    interrupts,
    listen,
    loops,
    progress_bars_available,
    soak,
    threads,
)
from benchmarks.rivals import RIVALS, Ours, version_of

_DISTRIBUTION: Final = "replay-eventemitter"
_INTERRUPTED: Final = 130  # what a shell reports for a command that Ctrl-C ended


class Benchmark(Protocol):
    """What a module here offers to the command line."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add an argument group of its own."""

    def run(self, options: argparse.Namespace, pause: Pause, /) -> int | None:
        """Measure and print, calling `pause()` often enough for Ctrl-C to be heard.

        What is to be found in `--json` and drawn by `--plot` goes to `options.results`.

        Returns:
            An exit code other than 0 if what was measured is wrong.
        """


class Result(Protocol):
    """What a benchmark leaves in `options.results`, by its name."""

    def as_json(self) -> object:
        """Return it as JSON can say it."""


BENCHMARKS: Final[dict[str, Benchmark]] = {
    "handshake": handshake,
    "emit": emit.QUESTION,
    "listen": listen.QUESTION,
    "threads": threads.QUESTION,
    "asyncio": loops.QUESTION,
    "faults": faults,
    "soak": soak,
}
_ON_REQUEST: Final = frozenset({"soak"})
"""What takes so long that it only runs where it is named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments name; return the exit code."""
    names, options = _parse(arguments)
    code = 0
    with interrupts() as pause:
        try:
            print(_surroundings())
            for name in names:
                print(flush=True)
                code = BENCHMARKS[name].run(options, pause) or code
            pause(0)
        except KeyboardInterrupt:
            print("Interrupted. The lines above are complete.", file=sys.stderr)
            code = _INTERRUPTED
    _keep(options)
    return code


def _keep(options: argparse.Namespace) -> None:
    """Write what was measured to where the options say."""
    results: Mapping[str, Result] = options.results
    if options.json:
        found = {name: result.as_json() for name, result in results.items()}
        text = json.dumps(_surroundings_as_json(options) | {"results": found}, indent=1)
        Path(options.json).write_text(f"{text}\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw_all  # noqa: PLC0415 - needs matplotlib, which is optional

        draw_all(results, Path(options.plot))


def _parse(arguments: Sequence[str] | None) -> tuple[list[str], argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure eventemitter on this machine.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to run: {', '.join(BENCHMARKS)} (default: all but soak)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run, good for a first look, not for numbers"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file, too")
    parser.add_argument(
        "--plot", metavar="DIR", help="draw the figures into SVG files in this directory"
    )
    parser.add_argument(
        "--library",
        action="append",
        dest="libraries",
        choices=list(RIVALS),
        metavar="NAME",
        help=f"compare with this library alone; may be repeated: {', '.join(RIVALS)}",
    )
    for benchmark in BENCHMARKS.values():
        benchmark.add_options(parser)
    options = parser.parse_args(arguments)
    _complete(parser, options)
    names: list[str] = options.names or [name for name in BENCHMARKS if name not in _ON_REQUEST]
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is named {name!r}; there are: {', '.join(BENCHMARKS)}")
    return names, options


def _complete(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what would fail at the end of a long run; add what benchmarks share."""
    if options.json and not Path(options.json).absolute().parent.is_dir():
        parser.error(f"the directory of {options.json!r} does not exist")
    if options.plot and not find_spec("matplotlib"):
        parser.error(f"--plot needs matplotlib: pip install '{_DISTRIBUTION}[bench]' brings it")
    options.libraries = options.libraries or list(RIVALS)
    options.results = {}


def _surroundings() -> str:
    """Return what the numbers depend on."""
    try:
        package = f"{_DISTRIBUTION} {version(_DISTRIBUTION)}"
    except PackageNotFoundError:
        package = f"{_DISTRIBUTION}, not installed: run from its sources"
    lines = [
        package,
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{platform.platform()}, CPUs: {os.cpu_count()}",
        "compared: " + ", ".join(f"{name} {found}" for name, found in _versions().items()),
    ]
    if os.environ.get("EVENTEMITTER_CHECK_LOCKS") == "1" or sys.flags.dev_mode:
        lines.append("lock checking is on: no figure of time means anything")
    if sys.stderr.isatty() and not progress_bars_available():
        lines.append(f"no progress bar: pip install '{_DISTRIBUTION}[bench]' brings it")
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    """Return the version of every distribution that is not ours."""
    return {
        kind.distribution: version_of(kind)
        for kind in RIVALS.values()
        if kind.distribution != Ours.distribution
    }


def _surroundings_as_json(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the numbers depend on, for machines to read."""
    return {
        "quick": options.quick,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": {Ours.distribution: version_of(Ours)} | _versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
