"""The README's examples run, and its commands are there to be found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parent.parent / "README.md"
_README = _PATH.read_text(encoding="utf-8") if _PATH.exists() else ""
_EXAMPLES = re.findall(
    r"^```python\n(?P<code>.*?)^```\n(?:\n*```text\n(?P<output>.*?)^```\n)?",
    _README,
    re.MULTILINE | re.DOTALL,
)

pytestmark = pytest.mark.skipif(not _README, reason="the README does not lie beside the tests")


@pytest.mark.parametrize(("code", "output"), _EXAMPLES)
def test_example_runs_and_prints_what_the_readme_shows(
    code: str, output: str, tmp_path: Path
) -> None:
    """A reader who saves an example as a file and runs it sees the text block that follows it."""
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", script],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (run.stderr, run.stdout) == ("", output)


def test_readme_has_examples() -> None:
    """The pattern above still finds them."""
    assert _EXAMPLES


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
