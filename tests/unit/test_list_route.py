"""The answers of ``/list`` (protocol, section 8)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import GobblerError, Missing, Refused
from gobbler.service.registry_files import registry_path
from gobbler.service.routes import list as listing
from gobbler.service.routes.list import list_directory


@pytest.fixture
def registry(tmp_path: Path) -> str:
    top = tmp_path / "registry"
    for path in ("p/a/1/d/f", "p/a/1/..manifest", "p/..usage", "..logs/x", "..incoming/j/tree/f"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("")
    (top / "p/a/1/empty/deeper").mkdir(parents=True)
    (top / "p/a/1/link").symlink_to("d/f")
    (top / "p/a/1/out").symlink_to("/etc")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_text("")
    (top / "p/a/1/sly").symlink_to(tmp_path / "secret")
    return str(top)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ["..logs/", "p/"]),
        (".", ["..logs/", "p/"]),
        ("p", ["..usage", "a/"]),
        ("p/", ["..usage", "a/"]),
        ("p//a/../a", ["1/"]),
        ("p/a/1", ["..manifest", "d/", "empty/", "link", "out", "sly"]),
        ("p/a/1/empty/deeper", []),
        ("..logs", ["x"]),
    ],
)
def test_entries_are_listed_with_a_slash_after_directories(
    registry: str, path: str, expected: list[str]
) -> None:
    assert list_directory(registry, path, recursive=False) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "",
            [
                "..logs/x",
                "p/..usage",
                "p/a/1/..manifest",
                "p/a/1/d/f",
                "p/a/1/empty/deeper/",
                "p/a/1/link",
                "p/a/1/out",
                "p/a/1/sly",
            ],
        ),
        ("p/a/1/d", ["f"]),
        ("p/a/1/empty", ["deeper/"]),
        ("p/a/1/empty/deeper", []),
    ],
)
def test_every_file_below_is_listed_and_empty_directories(
    registry: str, path: str, expected: list[str]
) -> None:
    assert list_directory(registry, path, recursive=True) == expected


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("x", Missing),
        ("p/x", Missing),
        ("p/..usage/x", Missing),
        ("..incoming", Missing),
        ("..incoming/j", Missing),
        ("p/../..incoming/j", Missing),
        ("p/..usage", Refused),
        ("..", Refused),
        ("p/../..", Refused),
        ("../registry", Refused),
        ("/", Refused),
        ("/etc", Refused),
        ("//etc", Refused),
        ("a\0b", Refused),
        ("p/a/1/sly", Refused),
        ("p/a/1/out", Refused),
        ("p/a/1/out/ssh", Refused),
        ("p/a/1/link", Refused),
        ("x" * 300, Refused),
    ],
)
def test_what_can_not_be_listed_is_the_clients_mistake(
    registry: str, path: str, error: type[GobblerError], recursive: bool
) -> None:
    with pytest.raises(error):
        list_directory(registry, path, recursive=recursive)


@given(st.text(st.sampled_from("./ab\0"), max_size=12))
def test_a_path_never_leads_out_of_the_registry(path: str) -> None:
    try:
        plain = registry_path(path)
    except GobblerError:
        return
    assert not plain.startswith("/")
    assert os.path.normpath(f"/r/{plain}") in ("/r", f"/r/{plain}")


def test_a_version_that_vanishes_in_mid_walk_is_not_half_listed(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vanish: list[Callable[[], None]] = [
        lambda: os.rename(f"{registry}/p/a/1/d", f"{registry}/p/a/1/e"),
    ]
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/1/d") and vanish:
            vanish.pop()()
        return real(path)

    monkeypatch.setattr(listing.os, "scandir", scandir)
    found = list_directory(registry, "p", recursive=True)
    assert "a/1/e/f" in found
    assert not any(path.startswith("a/1/d") for path in found)


def test_a_directory_that_vanishes_itself_is_missing(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/empty"):
            os.rename(f"{registry}/p", f"{registry}/q")
        return real(path)

    monkeypatch.setattr(listing.os, "scandir", scandir)
    with pytest.raises(Missing):
        list_directory(registry, "p", recursive=True)
