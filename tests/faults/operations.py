"""The changes that are tried, and those that build something: one entry for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .world import ADMIN, NEWCOMER, OWNER, STRANGER, UNOBSERVED, Observer, World

OTHER_UID = 54_321
"""The owner of a source that is not the service's."""

Tree = dict[str, "bytes | Path | str | None"]
"""Content of files, targets of links (``Path``), directories (``None``), by path."""


@dataclass(frozen=True)
class Operation:
    """One request, by whom, and on what.

    ``makes`` is the path in the registry that shows by being there whether it has been
    done, unless ``done_when`` tells that. ``content`` is what a published version holds,
    ``mode`` that of the source's files. ``first`` prepares what only this one needs.
    ``in_steps``: readers may see a part of it until recovery has done the rest.
    """

    name: str
    action: str
    request: dict[str, Any]
    makes: str
    user: str = OWNER
    uid: int | None = None
    source: Tree = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    mode: int = 0o644
    done_when: Callable[[World], bool] | None = None
    first: Callable[[World], object] = lambda world: None
    in_steps: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def prepare(self, world: World) -> None:
        """Put into ``world`` what the request needs."""
        world.make()
        owners = {"owners": [OWNER], "uploaders": [{"id": STRANGER}]}
        world.act("create_project", {"project": "p", "permissions": owners}, ADMIN)
        shared = {"owners": [OWNER], "global_write": True}
        world.act("create_project", {"project": "shared", "permissions": shared}, ADMIN)
        for version, tree in EXISTING.items():
            plant(world.staging / "source", tree)
            world.act("upload", {**of_version(version), "source": "source"}, OWNER)
            clear(world.staging / "source")
        self.first(world)
        if self.action == "upload":
            plant(world.staging / "source", self.source)
            for path in (world.staging / "source", *(world.staging / "source").rglob("*")):
                if self.uid is not None:
                    os.chown(path, self.uid, -1, follow_symlinks=False)
                if path.is_file() and not path.is_symlink():
                    path.chmod(self.mode)

    def run(
        self, world: World, observer: Observer = UNOBSERVED, *, workspace: str = ""
    ) -> dict[str, object]:
        return world.act(self.action, self.request, self.user, self.uid, observer, workspace)

    def done(self, world: World) -> bool:
        if self.done_when is not None:
            return self.done_when(world)
        return (world.registry / self.makes).exists()


def of_version(version: str) -> dict[str, Any]:
    return {"project": "p", "asset": "a", "version": version}


def plant(directory: Path, tree: Tree) -> None:
    directory.mkdir()
    for path, content in tree.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir()
        elif isinstance(content, bytes):
            place.write_bytes(content)
        else:
            place.symlink_to(content)


def clear(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    directory.rmdir()


EXISTING: dict[str, Tree] = {
    "0": {"same.csv": b"always the same", "d/moved.csv": b"at another place"},
    "1": {"same.csv": b"always the same", "d/moved.csv": b"at another place", "own": b"1"},
}

PLAIN: dict[str, bytes] = {"x.csv": b"one,two", "d/y.csv": b"three", "d/e/z.bin": b"\0" * 99}
PLAIN_SOURCE: Tree = {**PLAIN, "empty": None}


def upload(
    name: str,
    address: str,
    source: Tree,
    content: dict[str, bytes],
    *,
    user: str = OWNER,
    uid: int | None = None,
    mode: int = 0o644,
    **options: bool,
) -> Operation:
    project, asset, version = address.split("/")
    request = {"project": project, "asset": asset, "version": version, "source": "source"}
    return Operation(
        name, "upload", {**request, **options}, address, user, uid, source, content, mode
    )


def _project(name: str, **permissions: object) -> Operation:
    request = {"project": "new", "permissions": {"owners": [OWNER], **permissions}}
    return Operation(name, "create_project", request, "new", ADMIN)


BUILDING = [
    _project("create_project", uploaders=[{"id": "u", "trusted": True}]),
    upload("upload of a new asset", "p/new/1", PLAIN_SOURCE, PLAIN),
    upload(
        "upload with deduplication",
        "p/a/2",
        {"same.csv": b"always the same", "e/renamed.csv": b"at another place", "new": b"2"},
        {"same.csv": b"always the same", "e/renamed.csv": b"at another place", "new": b"2"},
    ),
    upload(
        "upload with links",
        "p/a/2",
        {
            "f": b"file",
            "near": "f",
            "d/nearer": "../near",
            "far": "../../registry/p/a/0/same.csv",
            "farther": "../../registry/p/a/1/same.csv",
            "d/kept": "../../../archive/old.csv",
        },
        {
            "f": b"file",
            "near": b"file",
            "d/nearer": b"file",
            "far": b"always the same",
            "farther": b"always the same",
            "d/kept": b"from the archive",
        },
    ),
    upload("upload that consumes own files", "p/a/2", PLAIN_SOURCE, PLAIN, consume=True),
    upload(
        "upload that consumes own private files",
        "p/a/2",
        PLAIN_SOURCE,
        PLAIN,
        consume=True,
        mode=0o600,
    ),
    upload(
        "upload that consumes files of others",
        "p/a/2",
        PLAIN_SOURCE,
        PLAIN,
        uid=OTHER_UID,
        consume=True,
    ),
    upload("upload by anyone", "shared/new/1", PLAIN_SOURCE, PLAIN, user=NEWCOMER),
    upload("upload on probation", "p/a/2", PLAIN_SOURCE, PLAIN, user=STRANGER),
]
