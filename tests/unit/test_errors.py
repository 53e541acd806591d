"""Every error has what users and programs need."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gobbler
from gobbler import errors
from gobbler.errors import MAX_QUOTED, GobblerError, quoted

DOCUMENTED = {
    row[0]: (row[1], int(row[2]))
    for row in re.findall(r"^(\w+) +(\d+|-) +(\d+) +\w", errors.__doc__ or "", re.MULTILINE)
}


def classes() -> dict[str, type[GobblerError]]:
    found = (value for value in vars(errors).values() if isinstance(value, type))
    return {c.__name__: c for c in found if GobblerError in c.__bases__}


def test_every_error_is_documented_with_its_status_and_exit_code() -> None:
    actual = {
        name: ("-" if name == "Unreachable" else str(c.status), c.exit_code)
        for name, c in classes().items()
    }
    assert actual == DOCUMENTED


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [c.exit_code for c in classes().values()]
    assert len(set(codes)) == len(codes)
    assert not {0, 2} & set(codes), "0 is success, and 2 is a wrong command line"


def test_errors_elsewhere_keep_to_these_exit_codes() -> None:
    for module in pkgutil.walk_packages(gobbler.__path__, "gobbler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting, seen = [GobblerError], set()
    while waiting:
        found = waiting.pop()
        seen.add(found)
        waiting += found.__subclasses__()
    own = set(classes().values())
    assert own < seen
    for error in seen - own:
        assert error.exit_code in {c.exit_code for c in own}, error


def test_an_error_reads_as_its_reason_and_the_hint_stands_apart() -> None:
    error = errors.Refused("the reason", hint="The hint.")
    assert (str(error), error.reason, error.hint) == ("the reason", "the reason", "The hint.")
    assert errors.Missing("gone").hint == ""


@given(st.text() | st.binary())
def test_what_is_quoted_is_one_printable_line(name: str | bytes) -> None:
    shown = quoted(name)
    assert shown.isprintable()
    assert shown[0] == shown[-1] == '"'
    assert not re.search(r'(?<!\\)(\\\\)*"', shown[1:-1]), "a quote inside is escaped"


@given(st.text(), st.text())
def test_names_that_differ_are_quoted_differently(one: str, other: str) -> None:
    assert (quoted(one) == quoted(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 日", '"plain é 日"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("new\nline", '"new\\x0aline"'),
        ("esc\x1b[2J", '"esc\\x1b[2J"'),
        (b"\xff.txt", '"\\xff.txt"'),
        ("\udcff.txt", '"\\xff.txt"'),
        ("right\u202eto left", '"right\\u202eto left"'),
    ],
)
def test_what_a_terminal_should_not_see_is_escaped(name: str | bytes, shown: str) -> None:
    assert quoted(name) == shown


@pytest.mark.parametrize(
    "name",
    ["n" * 10**6, "\u202e" * 10**6, b"\xff" * 10**6, "é\n" * 10**5, "日" * 10**6, b"a" * 1601],
    ids=lambda name: repr(name[:4]),
)
def test_a_long_name_is_cut_in_the_middle(name: str | bytes) -> None:
    shown = quoted(name)
    assert MAX_QUOTED - 20 <= len(shown) <= MAX_QUOTED + 2
    assert "…" in shown
    assert shown[:3] == quoted(name[:12])[:3]
    assert shown[-3:] == quoted(name[-12:])[-3:]


def test_a_name_that_just_fits_is_shown_whole() -> None:
    assert quoted("a" * MAX_QUOTED) == f'"{"a" * MAX_QUOTED}"'
    assert "…" in quoted("a" * (MAX_QUOTED + 1))
