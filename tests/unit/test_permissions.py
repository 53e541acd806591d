"""Who may do what: every sentence of section 4 of the protocol, then what always holds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from gobbler.model.names import VersionKey
from gobbler.model.records import LoosePermissions, LooseUploader, Permissions, Uploader
from gobbler.rules.permissions import (
    UploadRight,
    first_match,
    is_asset_owner,
    is_project_owner,
    may_reject,
    updated,
    upload_right,
)

from .strategies import permissions, uploaders, users

KEY = VersionKey("p", "a", "1")
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.timezone.utc)
LATER, EARLIER = "2026-11-20T12:00:01Z", "2026-11-20T11:59:59Z"

TRUSTED, UNTRUSTED = UploadRight(trusted=True), UploadRight(trusted=False)
NEW_OWNER = UploadRight(trusted=True, makes_owner=True)


def right(
    user: str,
    project: Permissions,
    asset: Permissions | None = None,
    *,
    admins: tuple[str, ...] = (),
    exists: bool = True,
    key: VersionKey = KEY,
) -> UploadRight | None:
    return upload_right(
        user, key, admins=admins, project=project, asset=asset, asset_exists=exists, now=NOW
    )


def lets(*entries: Uploader) -> Permissions:
    return Permissions(("owner",), entries)


@dataclass(frozen=True)
class Case:
    rule: str
    expected: UploadRight | None
    project: Permissions
    asset: Permissions | None = None
    user: str = "u"
    exists: bool = True
    admins: tuple[str, ...] = field(default=())


CASES = [
    Case("an administrator does everything", TRUSTED, Permissions(), user="r", admins=("r",)),
    Case("a project's owner uploads to it", TRUSTED, Permissions(("u",))),
    Case("an asset's owner uploads to it", TRUSTED, lets(), Permissions(("u",))),
    Case("anybody else does not", None, lets(), lets()),
    Case("an owner of nothing does not", None, Permissions(), Permissions()),
    Case("an uploader uploads on probation", UNTRUSTED, lets(Uploader("u"))),
    Case("a trusted one does not need to", TRUSTED, lets(Uploader("u", trusted=True))),
    Case("trusted: false is not trusted", UNTRUSTED, lets(Uploader("u", trusted=False))),
    Case("another user's entry is of no use", None, lets(Uploader("v", trusted=True))),
    Case("the asset matches", UNTRUSTED, lets(Uploader("u", asset="a"))),
    Case("another asset does not", None, lets(Uploader("u", asset="b"))),
    Case("the version matches", UNTRUSTED, lets(Uploader("u", version="1"))),
    Case("another version does not", None, lets(Uploader("u", version="2"))),
    Case("both must match", None, lets(Uploader("u", asset="a", version="2"))),
    Case("an empty asset is no asset", None, lets(Uploader("u", asset=""))),
    Case("in the asset's own it is ignored", UNTRUSTED, lets(), lets(Uploader("u", asset="b"))),
    Case("so is the right one there", UNTRUSTED, lets(), lets(Uploader("u", asset="a"))),
    Case("and an empty one", UNTRUSTED, lets(), lets(Uploader("u", asset=""))),
    Case("the version still counts there", None, lets(), lets(Uploader("u", "b", "2"))),
    Case("it lies in the future", UNTRUSTED, lets(Uploader("u", until=LATER))),
    Case("it lies in the past", None, lets(Uploader("u", until=EARLIER))),
    Case("now is not the future", None, lets(Uploader("u", until="2026-11-20T12:00:00Z"))),
    Case("offsets count", UNTRUSTED, lets(Uploader("u", until="2026-11-20T12:00:01+00:00"))),
    Case("offsets count backwards", None, lets(Uploader("u", until="2026-11-20T12:59:59+01:00"))),
    Case("what is no time never matches", None, lets(Uploader("u", until="soon"))),
    Case("the first match counts", UNTRUSTED, lets(Uploader("u"), Uploader("u", trusted=True))),
    Case(
        "what does not match is passed over",
        TRUSTED,
        lets(Uploader("u", asset="b"), Uploader("u", until=EARLIER), Uploader("u", trusted=True)),
    ),
    Case("an asset's own uploader", UNTRUSTED, lets(), lets(Uploader("u"))),
    Case(
        "the project's come first",
        UNTRUSTED,
        lets(Uploader("u")),
        lets(Uploader("u", trusted=True)),
    ),
    Case(
        "the asset's come after them",
        TRUSTED,
        lets(Uploader("u", asset="b")),
        lets(Uploader("u", trusted=True)),
    ),
    Case(
        "global write opens an asset that does not exist, and gives it away",
        NEW_OWNER,
        Permissions(global_write=True),
        exists=False,
    ),
    Case("but none that does", None, Permissions(global_write=True)),
    Case("and not if it is false", None, Permissions(global_write=False), exists=False),
    Case(
        "it trusts an uploader who else would not be trusted",
        NEW_OWNER,
        Permissions((), (Uploader("u"),), global_write=True),
        exists=False,
    ),
    Case(
        "an asset's own global write means nothing",
        None,
        Permissions(),
        Permissions(global_write=True),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_who_may_upload(case: Case) -> None:
    assert (
        right(case.user, case.project, case.asset, admins=case.admins, exists=case.exists)
        == case.expected
    )


@pytest.mark.parametrize(
    ("user", "of_project", "of_asset"),
    [("admin", True, True), ("po", True, True), ("ao", False, True), ("u", False, False)],
)
def test_owners_of_a_project_own_its_assets_and_administrators_own_all(
    user: str, of_project: bool, of_asset: bool
) -> None:
    project = Permissions(("po",), (Uploader("u", trusted=True),), global_write=True)
    asset = Permissions(("ao",), (Uploader("u"),))
    assert is_project_owner(user, {"admin"}, project) == of_project
    assert is_asset_owner(user, {"admin"}, project, asset) == of_asset
    assert is_asset_owner(user, {"admin"}, project, None) == of_project


@pytest.mark.parametrize(
    ("user", "may"),
    [("admin", True), ("po", True), ("ao", True), ("who", True), ("u", False), ("", False)],
)
def test_a_version_is_rejected_by_its_owners_or_who_uploaded_it(user: str, may: bool) -> None:
    project, asset = Permissions(("po",), (Uploader("u", trusted=True),)), Permissions(("ao",))
    assert may_reject(user, {"admin"}, project, asset, "who") == may
    assert may_reject(user, {"admin"}, project, asset, None) == (may and user != "who")


@given(users, permissions, st.none() | permissions, st.booleans())
def test_an_administrator_may_always_and_is_always_trusted(
    user: str, project: Permissions, asset: Permissions | None, exists: bool
) -> None:
    given_right = right(user, project, asset, admins=(user,), exists=exists)
    assert given_right is not None
    assert given_right.trusted


@given(users, permissions, st.none() | permissions)
def test_who_is_neither_owner_nor_uploader_may_not(
    user: str, project: Permissions, asset: Permissions | None
) -> None:
    known = [project, *([asset] if asset else [])]
    named = {name for p in known for name in (*p.owners, *(e.id for e in p.uploaders))}
    if user not in named:
        assert right(user, project, asset) is None


@given(users, st.lists(uploaders, max_size=4), uploaders)
def test_an_entry_behind_a_match_changes_nothing(
    user: str, entries: list[Uploader], more: Uploader
) -> None:
    found = first_match(user, KEY, entries, NOW)
    if found is not None:
        assert first_match(user, KEY, [*entries, more], NOW) == found
        assert found.id == user


@given(uploaders)
def test_a_narrower_entry_matches_no_more(entry: Uploader) -> None:
    for narrower in (
        replace(entry, asset="z" if entry.asset is UNSET else entry.asset),
        replace(entry, version="z" if entry.version is UNSET else entry.version),
        replace(entry, until=EARLIER),
    ):
        if first_match(entry.id, KEY, [narrower], NOW):
            assert first_match(entry.id, KEY, [entry], NOW)


@given(permissions, st.booleans())
def test_nothing_asked_changes_nothing(stored: Permissions, of_asset: bool) -> None:
    changed = updated(stored, LoosePermissions(), is_asset=of_asset)
    assert changed.owners == stored.owners
    if of_asset:
        assert changed.global_write is UNSET
    else:
        assert changed == stored


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (LoosePermissions(owners=()), Permissions((), (Uploader("u"),), True)),
        (LoosePermissions(owners=("n",)), Permissions(("n",), (Uploader("u"),), True)),
        (LoosePermissions(uploaders=()), Permissions(("o",), (), True)),
        (
            LoosePermissions(uploaders=(LooseUploader("x", asset="a"),)),
            Permissions(("o",), (Uploader("x", asset="a"),), True),
        ),
        (LoosePermissions(global_write=False), Permissions(("o",), (Uploader("u"),), False)),
    ],
)
def test_each_given_property_replaces_the_stored_one(
    asked: LoosePermissions, expected: Permissions
) -> None:
    assert updated(Permissions(("o",), (Uploader("u"),), True), asked) == expected


def test_an_assets_uploaders_lose_their_asset_and_it_has_no_global_write() -> None:
    asked = LoosePermissions(uploaders=(LooseUploader("x", "a", "1"),), global_write=True)
    changed = updated(Permissions(("o",)), asked, is_asset=True)
    assert changed == Permissions(("o",), (Uploader("x", version="1"),))
