"""The lines of the spoof file (protocol, section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Refused
from gobbler.rules.permissions import may_spoof, parse_spoofing


@pytest.mark.parametrize(
    ("lines", "other", "may"),
    [
        (["u:a,b"], "a", True),
        (["u:a,b"], "b", True),
        (["u:a,b"], "c", False),
        (["u:a,b"], "u", False),
        (["u:*"], "anyone", True),
        (["u:*,-a"], "a", False),
        (["u:-a,*"], "a", False),
        (["u:*,-a"], "b", True),
        (["u:-a"], "b", False),
        (["u:*,-a,a"], "a", True),
        (["u:a", "u:b"], "a", False),
        (["u:a", "u:b"], "b", True),
        (["u:a", "u:"], "a", True),
        (["u:a", "u: , ,"], "a", True),
        (["u:"], "a", False),
        (["", "  ", " u : a , b "], "b", True),
        (["v:a"], "a", False),
        ([], "a", False),
    ],
)
def test_the_file_says_who_may_act_for_whom(lines: list[str], other: str, may: bool) -> None:
    assert may_spoof("u", other, parse_spoofing(lines), ()) == may


@pytest.mark.parametrize(
    ("line", "user", "may"),
    [
        ("u:*", "u", False),
        ("u:*,-a", "u", False),
        ("u:*,root", "u", True),
        ("u:root,a", "u", True),
        ("u:*,-root,root", "u", True),
        ("u:a", "u", False),
        ("admin:*", "admin", True),
        ("admin:*,-root", "admin", False),
    ],
)
def test_a_star_makes_nobody_an_administrator(line: str, user: str, may: bool) -> None:
    assert may_spoof(user, "root", parse_spoofing([line]), {"root", "admin"}) == may


@pytest.mark.parametrize("line", ["u", ":a", " :a", "u a"])
def test_a_line_that_can_not_be_read_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(Refused, match="line 3"):
        parse_spoofing(["u:a", "", line])


names = st.text("abc", min_size=1, max_size=2)


@given(st.lists(st.tuples(names, st.lists(names)), max_size=4), names, names)
def test_nobody_acts_for_one_that_no_line_names(
    rules: list[tuple[str, list[str]]], user: str, other: str
) -> None:
    spoofing = parse_spoofing([f"{name}:{','.join(others)}" for name, others in rules])
    last = next((others for name, others in reversed(rules) if name == user and others), [])
    assert may_spoof(user, other, spoofing, ()) == (other in last)
