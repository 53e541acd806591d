"""The operations that change what has been published: one entry for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .operations import BUILDING, Operation, clear, of_version, plant
from .world import ADMIN, OWNER, STRANGER, World


def _probation(world: World) -> None:
    plant(world.staging / "source", {"f": b"on probation", "same.csv": b"always the same"})
    world.act("upload", {**of_version("9"), "source": "source"}, STRANGER)
    clear(world.staging / "source")


def _only_probation(world: World) -> None:
    plant(world.staging / "source", {"f": b"on probation"})
    request = {**of_version("9"), "asset": "b", "source": "source", "on_probation": True}
    world.act("upload", request, OWNER)
    clear(world.staging / "source")
    _spoiled("p/b/..latest", {"version": "9"})(world)


def _spoiled(path: str, content: object) -> Callable[[World], object]:
    def spoil(world: World) -> None:
        (world.registry / path).write_text(json.dumps(content))

    return spoil


def _gone(path: str) -> Callable[[World], bool]:
    return lambda world: not (world.registry / path).exists()


def _holds(path: str, check: Callable[[Any], bool]) -> Callable[[World], bool]:
    return lambda world: check(json.loads((world.registry / path).read_bytes()))


def _is_linked(manifest: Any) -> bool:
    return "link" in manifest["same.csv"]


P: dict[str, Any] = {"project": "p"}
A = {**P, "asset": "a"}
NEW_OWNERS = {"permissions": {"owners": [OWNER, "another"]}}


def _owned_by_another(permissions: Any) -> bool:
    return "another" in permissions["owners"]


def _change(
    name: str,
    action: str,
    request: dict[str, Any],
    done: Callable[[World], bool],
    *,
    user: str = ADMIN,
    first: Callable[[World], object] = lambda world: None,
    in_steps: bool = False,
) -> Operation:
    return Operation(
        name, action, request, "", user, done_when=done, first=first, in_steps=in_steps
    )


CHANGING = [
    _change("delete_version", "delete_version", of_version("1"), _gone("p/a/1")),
    _change(
        "delete_version on probation",
        "delete_version",
        of_version("9"),
        _gone("p/a/9"),
        first=_probation,
    ),
    _change("delete_asset", "delete_asset", A, _gone("p/a")),
    _change("delete_project", "delete_project", P, _gone("p")),
    _change(
        "approve_probation",
        "approve_probation",
        of_version("9"),
        _holds("p/a/9/..summary", lambda summary: "on_probation" not in summary),
        user=OWNER,
        first=_probation,
        in_steps=True,
    ),
    _change(
        "reject_probation",
        "reject_probation",
        of_version("9"),
        _gone("p/a/9"),
        user=STRANGER,
        first=_probation,
    ),
    _change(
        "set_permissions of a project",
        "set_permissions",
        {**P, **NEW_OWNERS},
        _holds("p/..permissions", _owned_by_another),
        user=OWNER,
    ),
    _change(
        "set_permissions of a new asset",
        "set_permissions",
        {**P, "asset": "new", **NEW_OWNERS},
        lambda world: (world.registry / "p/new/..permissions").exists(),
        user=OWNER,
    ),
    _change(
        "set_permissions of an asset",
        "set_permissions",
        {**A, **NEW_OWNERS},
        lambda world: (world.registry / "p/a/..permissions").exists(),
        user=OWNER,
    ),
    _change(
        "refresh_usage",
        "refresh_usage",
        P,
        _holds("p/..usage", lambda usage: usage["total"] != 1),
        first=_spoiled("p/..usage", {"total": 1}),
    ),
    _change(
        "refresh_latest",
        "refresh_latest",
        A,
        _holds("p/a/..latest", lambda latest: latest["version"] == "1"),
        first=_spoiled("p/a/..latest", {"version": "0"}),
    ),
    _change(
        "refresh_latest where there is none",
        "refresh_latest",
        {**P, "asset": "b"},
        _gone("p/b/..latest"),
        first=_only_probation,
    ),
    _change(
        "reindex_version",
        "reindex_version",
        of_version("1"),
        _holds("p/a/1/..manifest", lambda manifest: "added" in manifest),
        first=lambda world: (world.registry / "p/a/1/added").symlink_to("own"),
        in_steps=True,
    ),
    _change(
        "reroute_links",
        "reroute_links",
        {"to_delete": [of_version("0")]},
        _holds("p/a/1/..manifest", lambda manifest: not _is_linked(manifest)),
        in_steps=True,
    ),
]

OPERATIONS = [*BUILDING, *CHANGING]
