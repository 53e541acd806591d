"""Fields of a request that the service does not know."""

from __future__ import annotations

import json

import msgspec
import pytest

from gobbler.actions import ACTIONS
from gobbler.model.ignored import MAX_IGNORED, ignored_fields
from gobbler.model.requests import CreateProject, RerouteLinks, SetPermissions, Upload


def ignored(kind: type[msgspec.Struct], value: object) -> list[str]:
    return ignored_fields(json.dumps(value).encode(), kind)


@pytest.mark.parametrize(
    ("kind", "value", "places"),
    [
        (Upload, {"project": "p", "on_probaton": True}, ["$.on_probaton"]),
        (SetPermissions, {"permissions": {"uploaders": [{"id": "a"}]}}, []),
        (
            SetPermissions,
            {"permissions": {"uploaders": [{"id": "a"}, {"id": "b", "untill": "x"}]}},
            ["$.permissions.uploaders[1].untill"],
        ),
        (
            SetPermissions,
            {"permissions": {"asset": "a", "Owners": [], "uploaders": None}},
            ["$.permissions.asset", "$.permissions.Owners"],
        ),
        (CreateProject, {"permissions": None, "owners": [{"x": {"y": 1}}]}, ["$.owners"]),
        (
            CreateProject,
            {"permissions": {"uploaders": [{"trusted ": 1}]}},
            ["$.permissions.uploaders[0].trusted "],
        ),
        (RerouteLinks, {"to_delete": [{"project": "p", "assets": "a"}]}, ["$.to_delete[0].assets"]),
    ],
)
def test_each_is_named_by_its_place(
    kind: type[msgspec.Struct], value: object, places: list[str]
) -> None:
    assert ignored(kind, value) == places


@pytest.mark.parametrize("action", ACTIONS)
def test_no_known_field_is_named(action: str) -> None:
    kind = ACTIONS[action].request
    assert ignored(kind, dict.fromkeys(kind.__struct_fields__)) == []
    assert ignored(kind, {"unknown": 1}) == ["$.unknown"]


def test_only_the_first_are_named_and_long_ones_are_cut() -> None:
    found = ignored(Upload, {f"{n}{'x' * 10_000}": n for n in range(100)})
    assert len(found) == MAX_IGNORED
    assert max(map(len, found)) < 500
