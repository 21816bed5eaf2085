"""Every schedule of small programs, up to a stated bound (see README.md beside this file)."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from schedules import Emitter
from test_mutants import MUTANTS
from walks import PROGRAMS, WALKS, Program, Walk, table

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("walk", "program", "kind"),
    [
        pytest.param(
            walk,
            program,
            kind,
            marks=[pytest.mark.deep, pytest.mark.timeout(900)] if walk.deep else [],
            id=f"{walk.bound}-{program.__name__}-{kind.__name__}",
        )
        for walk in WALKS
        for program in walk.programs
        for kind in walk.kinds
    ],
)
def test_guarantees_hold_in_every_schedule(walk: Walk, program: Program, kind: Emitter) -> None:
    """Whatever the order of the threads, up to the bound: at these points, so many preemptions."""
    assert walk.count(program, kind) > 1


def test_the_readme_has_a_number_of_schedules_for_each_walk() -> None:
    """Its table has a row a program, a column a bound, and numbers for what is walked."""
    heading, *rows = table(lambda _walk, _program, _kind: 0)
    start = README.index(heading) + 1
    assert [re.sub(r"\d+", "0", line) for line in README[start : README.index("", start)]] == rows


def test_the_readme_has_programs_and_mutants_for_each_guarantee() -> None:
    """It leaves none out, invents none, and has each mutant beside the program that finds it."""
    rows = [re.split(r" ?\| ?", line)[1:-1] for line in README if line.startswith("| G")]
    assert [row[0] for row in rows] == [f"G{number}" for number in (*range(1, 13), 14)]
    explores: set[tuple[str, str]] = set()
    kills: set[tuple[str, str]] = set()
    for guarantee, programs, faults, others in rows:
        explores |= {(guarantee, program) for program in programs.split(", ") if program}
        kills |= set(product(programs.split(", "), filter(None, faults.split("; "))))
        assert all((HERE / f"{each}.py").exists() for each in re.findall(r"\btest_\w+", others))
    assert {program for _, program in explores} == {program.__name__ for program in PROGRAMS}
    assert explores >= {
        (guarantee, program.__name__)
        for program in PROGRAMS
        for guarantee in re.findall(r"\bG\d+", program.__doc__ or "")
    }
    assert {fault for _, fault in kills} == {mutant.fault for mutant in MUTANTS}
    assert kills >= {(mutant.scenario.__name__, mutant.fault) for mutant in MUTANTS}
