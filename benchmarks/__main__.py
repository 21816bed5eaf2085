"""The command line: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from benchmarks import Pause, handshake, interrupts, progress_bars_available

_DISTRIBUTION: Final = "replay-eventemitter"
_INTERRUPTED: Final = 130  # what a shell reports for a command that Ctrl-C ended


class Benchmark(Protocol):
    """What a module here offers to the command line."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add an argument group of its own."""

    def run(self, options: argparse.Namespace, pause: Pause, /) -> None:
        """Measure and print, calling `pause()` often enough for Ctrl-C to be heard."""


BENCHMARKS: Final[dict[str, Benchmark]] = {"handshake": handshake}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments name; return the exit code."""
    names, options = _parse(arguments)
    with interrupts() as pause:
        try:
            print(_surroundings())
            for name in names:
                print(flush=True)
                BENCHMARKS[name].run(options, pause)
            pause(0)
        except KeyboardInterrupt:
            print("Interrupted. The lines above are complete.", file=sys.stderr)
            return _INTERRUPTED
    return 0


def _parse(arguments: Sequence[str] | None) -> tuple[list[str], argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure eventemitter on this machine.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to run: {', '.join(BENCHMARKS)} (default: all)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run, good for a first look, not for numbers"
    )
    for benchmark in BENCHMARKS.values():
        benchmark.add_options(parser)
    options = parser.parse_args(arguments)
    names: list[str] = options.names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is named {name!r}; there are: {', '.join(BENCHMARKS)}")
    return names, options


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
    ]
    if sys.stderr.isatty() and not progress_bars_available():
        lines.append(f"no progress bar: pip install '{_DISTRIBUTION}[bench]' brings it")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
