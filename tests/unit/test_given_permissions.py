"""Permissions that a user gives: what is not understood is refused, because it widens rights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Refused
from gobbler.model.records import Uploader
from gobbler.rules.given_permissions import (
    FIELDS,
    check_entries,
    check_owners,
    decode_uploader,
)

FULL = {
    "id": "ada",
    "asset": "a",
    "version": "1",
    "until": "2027-01-01T00:00:00Z",
    "trusted": True,
}


def refusal(entry: object, *, asset: str | None = None, force: bool = False) -> Refused:
    with pytest.raises(Refused) as caught:
        check_entries([{"id": "bob"}, entry], (), asset=asset, force=force)  # type: ignore[list-item]
    assert "uploaders[1]" in caught.value.reason
    return caught.value


@pytest.mark.parametrize(
    "entry",
    [
        FULL,
        {"id": "ada"},
        {"id": "ada", "asset": None, "until": None, "trusted": None},
        {"id": "LAB\\ada lovelace"},
        {"id": "ada@example.org"},
        {"id": "ü"},
        Uploader("ada", asset="a"),
    ],
)
def test_what_is_meant_is_taken(entry: dict[str, object]) -> None:
    check_entries([entry], (), asset=None, force=False)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("untill", "until"), ("Until", "until"), ("until ", "until"), ("unitl", "until")),
        *(("trusted ", "trusted"), ("Trusted", "trusted"), ("trustd", "trusted")),
        *(("ID", "id"), ("assets", "asset"), ("\tasset", "asset"), ("versions", "version")),
    ],
)
def test_a_misspelt_field_is_refused_with_the_one_that_was_meant(key: str, meant: str) -> None:
    for force in (False, True):
        assert f"`{meant}`" in refusal({"id": "ada", key: "x"}, force=force).hint


@given(st.text(max_size=8).filter(lambda key: key not in FIELDS), st.booleans())
def test_any_other_field_is_refused(key: str, force: bool) -> None:
    assert "no field" in refusal({"id": "ada", key: None}, force=force).reason


def test_a_field_that_is_no_text_is_refused() -> None:
    assert "no field" in refusal({"id": "ada", 1: True}).reason


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"asset": "a"},
        {"id": None},
        {"id": 1},
        {"id": "ada", "trusted": "true"},
        {"id": "ada", "trusted": 1},
        {"id": "ada", "asset": ["a"]},
        {"id": "ada", "until": 2027},
        {"id": "ada", "until": ""},
        {"id": "ada", "until": "2027-01-01"},
        {"id": "ada", "until": "2027-01-01T00:00:00"},
        {"id": "ada", "asset": ""},
        {"id": "ada", "asset": "a/b"},
        {"id": "ada", "version": ".."},
        "ada",
        ["ada"],
        None,
    ],
)
def test_a_wrong_value_is_refused(entry: object) -> None:
    refusal(entry, force=True)


@pytest.mark.parametrize("user", ["ada,grace", " ada", "ada ", "a\nb", "a:b", "a/b", ","])
def test_a_name_that_no_user_has_can_be_insisted_on(user: str) -> None:
    refusal({"id": user})
    check_entries([{"id": user}], (), asset=None, force=True)
    with pytest.raises(Refused, match=r"owners\[1\]"):
        check_owners(["ada", user], (), force=False)
    check_owners(["ada", user], (), force=True)
    check_owners(["ada", user], [user], force=False)  # it is stored already


def test_several_users_in_one_are_named_each() -> None:
    with pytest.raises(Refused) as caught:
        check_owners(["ada,grace"], (), force=False)
    assert '"ada", "grace"' in caught.value.hint


def test_an_empty_name_is_never_a_user() -> None:
    refusal({"id": ""}, force=True)
    with pytest.raises(Refused):
        check_owners([""], (), force=True)


@pytest.mark.parametrize("owners", ["ada", b"ada", {"ada": 1}, 1, [1], [None]])
def test_owners_are_a_list_of_texts(owners: object) -> None:
    with pytest.raises(Refused):
        check_owners(owners, (), force=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("uploaders", ["ada", {"id": "ada"}])
def test_uploaders_are_a_list(uploaders: object) -> None:
    with pytest.raises(Refused, match="must be a list"):
        check_entries(uploaders, (), asset=None, force=True)  # type: ignore[arg-type]


def test_another_asset_in_the_permissions_of_an_asset_is_refused() -> None:
    assert '"b"' in refusal({"id": "ada", "asset": "b"}, asset="a", force=True).reason
    check_entries([{"id": "ada", "asset": "a"}], (), asset="a", force=False)
    stored = Uploader("ada", asset="b")
    check_entries([stored], [stored], asset="a", force=False)


def test_an_entry_is_decoded_from_json() -> None:
    assert decode_uploader('{"id": "ada", "asset": null, "trusted": true}') == Uploader(
        "ada", trusted=True
    )
    for text in ("{", "[]", '{"id": 1}', '{"id": "a", "untill": "x"}', '{"id": "a"} x'):
        with pytest.raises(Refused):
            decode_uploader(text)


@pytest.mark.parametrize("key", ["asset", "\\u0061sset"])
def test_a_field_that_occurs_twice_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="twice"):
        decode_uploader(f'{{"id": "a", "asset": "b", "{key}": "c"}}')
