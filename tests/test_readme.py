"""The README's examples run, its tables and links are true, and its commands are to be found."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import eventemitter
from eventemitter import EventEmitter

_PATH = Path(__file__).parent.parent / "README.md"
_README = _PATH.read_text(encoding="utf-8") if _PATH.exists() else ""
_EXAMPLES = re.findall(
    r"^```python\n(?P<code>.*?)^```\n(?:\n*```text\n(?P<output>.*?)^```\n)?"
    r"(?:(?:(?!^```|^#).)*?^```pytb\n(?P<errors>.*?)^```\n)?",
    _README,
    re.MULTILINE | re.DOTALL,
)
_PACKAGE = Path(inspect.getfile(eventemitter)).parent

pytestmark = pytest.mark.skipif(not _README, reason="the README does not lie beside the tests")


@pytest.mark.parametrize(("code", "output", "errors"), _EXAMPLES)
def test_example_runs_and_prints_what_the_readme_shows(
    code: str, output: str, errors: str, tmp_path: Path
) -> None:
    """A reader who saves an example as a file and runs it sees the blocks that follow it."""
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", script],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_PACKAGE.parent)},  # the one that is tested here
        capture_output=True,
        text=True,
    )
    assert (_own_frames(run.stderr, script), run.stdout) == (errors, output)
    assert run.returncode == (1 if errors else 0)


def _own_frames(traceback: str, script: Path) -> str:
    """Leave out the frames of the package, and the marks under lines that newer Pythons print."""
    frames = re.compile(
        rf'^[ |]*File "{re.escape(str(_PACKAGE))}.*\n(?:[ |]*    (?!.*File ").*\n)*', re.MULTILINE
    )
    marks = re.compile(r"^[ |]*[~^]+\n", re.MULTILINE)
    return marks.sub("", frames.sub("", traceback)).replace(str(script), script.name)


def test_every_code_block_is_run_or_shown_as_the_output_of_one_that_is() -> None:
    """Commands apart: one test looks at each of these."""
    kinds = re.findall(r"^```(\w+)$", _README, re.MULTILINE)
    assert _EXAMPLES
    assert kinds.count("python") == len(_EXAMPLES)
    assert kinds.count("text") == sum(bool(output) for _, output, _ in _EXAMPLES)
    assert kinds.count("pytb") == sum(bool(errors) for _, _, errors in _EXAMPLES) == 1
    assert set(kinds) == {"python", "text", "pytb", "sh"}


def test_first_example_fits_on_the_first_screen() -> None:
    """It is below twenty lines, and so is what comes before it."""
    code, output, _ = _EXAMPLES[0]
    assert code.count("\n") < 20
    assert output
    assert _README.index(code) < _README.index("\n## ")


def test_commands_are_those_that_are_looked_at_elsewhere() -> None:
    """None of them runs here: each one installs, so it needs a network. `.ci/run` runs one."""
    install, *environments = re.findall(r"^```sh\n(.*?)\n```", _README, re.MULTILINE | re.DOTALL)
    assert install == "python3 -m pip install ."
    assert len(environments) == 2
    assert all(each.startswith("python3 -m venv ") for each in environments)


def test_readme_marks_exactly_one_test_command() -> None:
    """`.ci/run` runs what is marked, so the mark stands at the only command that runs pytest."""
    marked = re.findall(
        r"^<!-- test command[^\n]*-->\n+```sh\n(.*?)^```", _README, re.MULTILINE | re.DOTALL
    )
    every = [line for line in _README.splitlines() if line.endswith("-m pytest")]
    assert [command.rstrip("\n") for command in marked] == every
    assert len(every) == 1


def test_readme_has_two_set_up_commands() -> None:
    """One runs the main job and one the tests, each in a virtual environment of its own."""
    environments = re.findall(r"^python3 -m venv (\S+) && ", _README, re.MULTILINE)
    assert len(environments) == len(set(environments)) == 2


# Links


_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _without_code(markdown: str) -> str:
    return re.sub(r"`[^`\n]+`", "", _BLOCK.sub("", markdown))


def _anchors(markdown: str) -> list[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", markdown), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]


_LINKS = sorted(
    {link for link in re.findall(r"\]\(([^)\s]+)\)", _without_code(_README)) if "://" not in link}
)


@pytest.mark.parametrize("link", _LINKS)
def test_link_leads_somewhere(link: str) -> None:
    """To a heading of this page, or to a file, or to a heading of that."""
    path, _, anchor = link.partition("#")
    target = _PATH.parent / path if path else _PATH
    if not target.exists() and not (_PATH.parent / "benchmarks").is_dir():
        pytest.skip("the checkout does not lie beside the tests")
    assert target.is_file()
    if anchor:
        assert anchor in _anchors(target.read_text(encoding="utf-8"))


def test_headings_have_names_of_their_own() -> None:
    """A link to one of two would lead to the first."""
    anchors = _anchors(_README)
    assert len(anchors) == len(set(anchors))


def test_there_are_links() -> None:
    """The pattern above still finds them."""
    assert {"#faults", "#locks-and-you", "tests/test_races.py"} <= {*_LINKS}


# Who comes from elsewhere


def _rows(library: str) -> list[tuple[str, str]]:
    """Return the rows of the table under a heading: their line and ours, or "" for words."""
    section = _README.partition(f"\n### {library}\n")[2].partition("\n#")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [(_code(theirs), _code(ours)) for theirs, ours in cells[2:]]


def _code(cell: str) -> str:
    return cell.strip("`") if cell.startswith("`") else ""


class Side:
    """One column of a table, run from top to bottom; counts the calls of its handlers."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.calls = 0
        self.names = names
        for name in ("handler", "first", "slot", "report", "decorated"):
            self.names[name] = self.counted()
        self.names["fetch"] = self.names["store"] = self.counted_on_loop()

    def counted(self) -> Callable[..., None]:
        """Return a handler, another each time."""

        def handler(*_: object, **__: object) -> None:
            self.calls += 1

        return handler

    def counted_on_loop(self) -> Callable[..., Any]:
        """Return a coroutine function, another each time."""

        async def handler(*_: object, **__: object) -> None:
            self.calls += 1

        return handler

    async def run(self, line: str) -> None:
        """Run a line, with what has to follow it."""
        rest = ""
        if line.startswith("@"):
            rest = "\ndef other(*args, **kwargs): decorated(*args, **kwargs)"
        elif line.startswith("async for"):
            rest = " break"
        elif line.endswith(":"):
            rest = " pass"
        code: CodeType = compile(
            line + rest, line, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        result = eval(code, self.names)  # noqa: S307 - a line of our own README
        if inspect.isawaitable(result):
            await result


class _Event:
    def __init__(self, number: int) -> None:
        self.number = number


def _ours(*events: str) -> Side:
    """Return our column, with these event types."""
    classes: dict[str, Any] = {each: type(each, (_Event,), {}) for each in events}
    emitters = {"EventEmitter": EventEmitter, "node": EventEmitter()}
    return Side({"asyncio": asyncio, **emitters, **classes})


def _compare(library: str, theirs: Side, ours: Side, probes: tuple[str, str]) -> None:
    """Run both columns row by row; after each, an event reaches as many handlers of either."""

    async def compare() -> None:
        sides = (theirs, ours)
        for side in sides:
            side.names["loop"] = asyncio.get_running_loop()
        for lines in _rows(library):
            for side, line, probe in zip(sides, lines, probes, strict=True):
                await side.run(line)
                with suppress(NameError):  # in the first rows there is nothing that could emit
                    await side.run(probe)
            for _ in range(10):  # what runs on the loop has its handlers called by then
                await asyncio.sleep(0)
            assert theirs.calls == ours.calls, lines
        assert theirs.calls > 1

    asyncio.run(compare())


def test_lines_of_pyee_do_what_ours_do() -> None:
    """Row by row, the handlers are called as often."""
    pyee = pytest.importorskip("pyee")
    on_loop = pytest.importorskip("pyee.asyncio").AsyncIOEventEmitter
    theirs = Side({"EventEmitter": pyee.EventEmitter, "AsyncIOEventEmitter": on_loop})
    _compare("pyee", theirs, _ours("Data"), ('ee.emit("data", 7)', "emitter.emit(Data(7))"))


def test_lines_of_blinker_do_what_ours_do() -> None:
    """As above. A sender is an emitter of its own."""
    signal = pytest.importorskip("blinker").Signal

    class Node:
        """A sender."""

    theirs = Side({"Signal": signal, "fetched": signal(), "node": Node()})
    probes = ("ready.send(node, number=7)", "emitter.emit(Ready(7)); node.emit(Ready(7))")
    _compare("blinker", theirs, _ours("Ready", "Fetched"), probes)


def test_lines_of_psygnal_do_what_ours_do() -> None:
    """As above."""
    theirs = Side({"Signal": pytest.importorskip("psygnal").Signal})
    probes = ("model.changed.emit(7)", "model.emit(Changed(7))")
    _compare("psygnal", theirs, _ours("Changed"), probes)


@contextmanager
def _emitting(emit: Callable[[], None]) -> Generator[None]:
    """Emit again and again in another thread, so that whoever waits gets an event."""
    over = threading.Event()

    def emit_until_over() -> None:
        while not over.wait(0.001):
            emit()

    thread = threading.Thread(target=emit_until_over, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("platform", "event"), [("Node", "Data"), ("Qt", "Changed")])
def test_lines_for_those_of_other_languages_run(platform: str, event: str) -> None:
    """Ours do; theirs have no place in these tests."""

    async def run() -> None:
        side = _ours(event)
        side.names["loop"] = asyncio.get_running_loop()

        def emit() -> None:
            emitter: EventEmitter[Any] = side.names.get("model") or side.names["emitter"]
            emitter.emit(side.names[event](7))

        for _, line in _rows(platform):
            if "expect(" in line or "stream(" in line:
                with _emitting(emit):
                    await side.run(line)
            else:
                await side.run(line)
        assert side.calls > 1

    asyncio.run(run())


def test_every_library_that_one_comes_from_has_its_table() -> None:
    """The headings above are still those of the README."""
    assert all(len(_rows(each)) > 5 for each in ("pyee", "blinker", "psygnal", "Node", "Qt"))
