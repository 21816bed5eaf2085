"""What type checkers are shown in `typing/` works, and the README tells what they see there."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

TYPING = Path(__file__).parent / "typing"
README = TYPING.parent.parent / "README.md"
CHECKERS = {"mypy": "type", "pyright": "pyright", "ty": "ty", "pyrefly": "pyrefly"}
"""Each checker, and how its ignores begin."""


@pytest.mark.parametrize(
    "name",
    [
        "accepted",
        pytest.param(
            "python_3_12",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="its syntax is newer"),
        ),
    ],
)
def test_what_type_checkers_accept_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Habit 12: each function of real usage runs."""
    monkeypatch.setattr(sys, "path", [str(TYPING), *sys.path])
    usage = vars(import_module(name))
    accepted = [usage[each] for each in usage if each.startswith("accepts_")]
    assert len(accepted) > 1
    for each in accepted:
        each()


def ignores_in(file: str) -> dict[str, list[set[str]]]:
    """Return by its docstring, for each function in `file`, who has an ignore on its lines."""
    source = (TYPING / file).read_text(encoding="utf-8")
    lines = source.splitlines()
    shown: dict[str, list[set[str]]] = {}
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            ignores = [
                set(re.findall(r"# (\w+): ignore\[", line))
                for line in lines[function.lineno : function.end_lineno]
            ]
            shown[(ast.get_docstring(function) or "").removesuffix(".")] = ignores
    return shown


def test_every_function_of_rejected_lines_holds_one() -> None:
    """And each of its ignores is for all four: what one of them accepts belongs to the gaps."""
    for what, ignores in ignores_in("rejected.py").items():
        assert any(ignores), what
        assert {frozenset(each) for each in ignores if each} == {frozenset(CHECKERS.values())}


@pytest.mark.skipif(not README.exists(), reason="the README does not lie beside the tests")
def test_the_readme_tells_what_each_type_checker_sees() -> None:
    """Its table names every gap, and says of each checker what the checked files prove."""
    seen = {
        what: set[str]().union(*ignores)
        for file in ("rejected.py", "gaps.py")
        for what, ignores in ignores_in(file).items()
    }
    readme = README.read_text(encoding="utf-8")
    head = "| " + " | ".join(["what is wrong", *CHECKERS]) + " |\n"
    table = re.findall(f"^{re.escape(head)}.*\n((?:\\|.*\n)+)", readme, re.MULTILINE)
    assert len(table) == 1
    told: dict[str, set[str]] = {}
    for row in table[0].splitlines():
        what, *answers = [cell.strip() for cell in row.strip("|").split("|")]
        told[what] = {
            begin
            for begin, answer in zip(CHECKERS.values(), answers, strict=True)
            if answer == "error"
        }
    assert told == {what: seen.get(what) for what in told}
    assert told.keys() >= ignores_in("gaps.py").keys()
