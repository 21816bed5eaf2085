"""Everything public says what it does, and its examples run."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
from collections.abc import Iterator
from typing import Any

import pytest

import eventemitter

PUBLIC: dict[str, Any] = {name: getattr(eventemitter, name) for name in eventemitter.__all__}
_SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Example:")


def _own(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class defines itself."""
    for name, value in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


MEMBERS = {f"{owner}.{name}": value for owner, cls in PUBLIC.items() for name, value in _own(cls)}
EVERYTHING = {**PUBLIC, **MEMBERS}
EXAMPLES = {
    test.name: test
    for name, thing in EVERYTHING.items()
    for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs=PUBLIC)
    if test.examples
}


@pytest.fixture(params=EVERYTHING)
def documented(request: pytest.FixtureRequest) -> Any:
    """Return something public; the test runs once with each."""
    return EVERYTHING[request.param]


def test_first_line_is_a_sentence_that_says_what_to_expect(documented: Any) -> None:
    """It ends with a period, and stands alone, as editors show it."""
    first, *rest = _lines(documented)
    assert re.fullmatch(r"[A-Z][^.]*\S\.", first)
    assert rest[:1] in ([], [""])


def test_sections_come_in_one_order(documented: Any) -> None:
    """Whoever has read one docstring knows where to look in the next."""
    found = [line for line in _lines(documented) if line in _SECTIONS]
    assert found == [each for each in _SECTIONS if each in found]


@pytest.mark.parametrize("name", MEMBERS)
def test_every_argument_is_explained(name: str) -> None:
    """By its name, under `Args:`, or where the docstring sends its reader for that."""
    lines = _lines(MEMBERS[name])
    if "Arguments, result and exceptions are those of" in " ".join(lines):
        return
    if not isinstance(MEMBERS[name], property):
        _self, *arguments = inspect.signature(MEMBERS[name]).parameters
        missing = [each for each in arguments if f"    {each}:" not in " ".join(lines)]
        assert missing == []


@pytest.mark.parametrize("name", MEMBERS)
def test_timeouts_have_a_unit(name: str) -> None:
    """Seconds, as everywhere in Python; a reader need not guess."""
    value = MEMBERS[name]
    if inspect.isfunction(value) and "timeout" in inspect.signature(value).parameters:
        explained = " ".join(_lines(value)).partition("    timeout:")[2]
        assert "seconds" in explained.partition("Returns:")[0].partition("Raises:")[0]


def test_some_timeouts_are_looked_at() -> None:
    """The test above still finds them."""
    found = [name for name in MEMBERS if "timeout: How many" in " ".join(_lines(MEMBERS[name]))]
    assert len(found) == 5


def test_everything_has_an_example(documented: Any) -> None:
    """One that runs, and is short."""
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(documented) or "")
    assert examples
    assert sum(each.source.count("\n") for each in examples) <= 9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_prints_what_it_shows(name: str) -> None:
    """By itself, with nothing but the public names of the package."""
    printed: list[str] = []
    test = EXAMPLES[name]
    test.globs = dict(PUBLIC)
    result = doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert (result.failed, "".join(printed)) == (0, "")


def test_guarantees_that_are_cited_exist() -> None:
    """G1 to G15."""
    cited = {
        int(number)
        for thing in EVERYTHING.values()
        for number in re.findall(r"\bG(\d+)\b", inspect.getdoc(thing) or "")
    }
    assert cited <= set(range(1, 16))


@pytest.mark.parametrize("name", PUBLIC)
def test_help_shows_no_addresses(name: str) -> None:
    """A default that stands for "left out" is shown as dots."""
    text = pydoc.plain(pydoc.render_doc(PUBLIC[name]))
    assert not re.search(r" at 0x[0-9a-f]+", text)


def _lines(thing: Any) -> list[str]:
    return (inspect.getdoc(thing) or "").splitlines()
