"""The requests that are tried: one row of :data:`OPERATIONS` for each."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gobbler.errors import Code
from gobbler.registry.discarded import FEW_ENTRIES

from .serving import Service
from .world import World

OTHER = "gtalice"
"""An account that is not the service's."""

Tree = dict[str, "bytes | Path | None"]
"""Content of files, targets of links (``Path``), directories (``None``), by path."""


def nothing(world: World) -> None:
    """Nothing needs to be prepared."""


@dataclass(frozen=True)
class Operation:
    """One request, and what has to be prepared for it.

    ``done``: what the service says when it is asked again for what has been done.
    ``logs_again``: asked again, it is done, and logged, again. ``mends``: what is prepared
    is wrong, and put right by the request. ``pooled``: a local pool does the batches.
    """

    name: str
    action: str
    request: dict[str, Any]
    prepare: Callable[[World], None] = nothing
    done: Code | None = None
    consumes: bool = False
    logs_again: bool = False
    mends: bool = False
    foreign: bool = False
    pooled: bool = False

    @property
    def uid(self) -> int | None:
        """The account that asks, if it is another than the present one."""
        return pwd.getpwnam(OTHER).pw_uid if self.foreign else None


SOURCE = "source"

PLAIN: Tree = {"x.csv": b"one,two", "d/y.csv": b"three", "d/e/z.bin": b"\0" * 99, "empty": None}
CHANGED: Tree = {"x.csv": b"one,two", "d/y.csv": b"another", "new.csv": b"5"}
LINKED: Tree = {
    "x.csv": b"one,two",
    "d/renamed.csv": b"5",
    "own.csv": b"own",
    "near": Path("own.csv"),
    "d/nearer": Path("../near"),
    "far": Path("../../registry/p/a/1/d/y.csv"),
    "farther": Path("../../registry/p/a/2/x.csv"),
    "d/kept": Path("../../../../archive/old.csv"),
}


LARGE: Tree = {**CHANGED, "large.bin": b"\1" * (9 << 20), "kept": Path("../../../archive/old.csv")}
"""Too much to be done at once: batches of files go to an executor."""

POOLED_TREE: Tree = {
    **PLAIN,
    "d/y.csv": b"again another",
    "d/e/new.csv": b"6",
    **{f"link{n}": Path("../../registry/p/a/1/x.csv") for n in range(3)},
}
"""Files that are new, changed, or in version ``p/a/2`` already, and links."""

HASHED = {"project": "hashed", "asset": "a", "version": "1"}
"""A version for which the service has to hash a file on its executor. Nothing changes it."""


def plant(directory: Path, tree: Tree) -> None:
    """Make ``directory`` with the content of ``tree``."""
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


def make_template(world: World, archive: Path) -> None:
    """A registry in which every operation can be done."""
    archive.mkdir()
    (archive / "old.csv").write_bytes(b"from the archive")
    (archive.parent / "whitelist").write_text(f"{archive}\n")
    world.make()
    service = Service(world, f"--whitelist={archive.parent / 'whitelist'}")
    try:
        for project in ("p", "q", "doomed", "hashed"):
            _succeed(service, "create_project", {"project": project})
        everyone = {"project": "q", "permissions": {"global_write": True}}
        _succeed(service, "set_permissions", everyone)
        permissions = {"uploaders": [{"id": OTHER, "trusted": True}]}
        _succeed(service, "set_permissions", {"project": "p", "permissions": permissions})
        for number, (address, tree, options) in enumerate(EXISTING):
            plant(world.staging / f"s{number}", tree)
            fields = {**_of(address), "source": f"s{number}", **options}
            _succeed(service, "upload", fields)
            shutil.rmtree(world.staging / f"s{number}")
    finally:
        service.kill()


EXISTING: list[tuple[str, Tree, dict[str, bool]]] = [
    ("p/a/1", PLAIN, {}),
    ("p/a/2", CHANGED, {}),
    ("p/a/3", {**CHANGED, "more.csv": b"more"}, {"on_probation": True}),
    ("p/b/1", {"own": b"1", "far": Path("../../registry/p/a/1/x.csv")}, {}),
    ("p/gone/1", PLAIN, {}),
    ("p/gone/2", CHANGED, {}),
    ("q/c/1", {"far": Path("../../registry/p/b/1/far"), "same": Path("far")}, {}),
    ("doomed/a/1", PLAIN, {}),
    ("q/probation/1", {"x": b"1"}, {"on_probation": True}),
    ("p/only/1", {"own": b"1"}, {}),
    ("hashed/a/1", {"kept": Path("../../../archive/old.csv")}, {}),
]


def _succeed(service: Service, action: str, request: dict[str, Any]) -> None:
    answer = service.ask(action, request)
    assert answer is not None
    assert not answer.reason, answer


def _of(address: str) -> dict[str, Any]:
    return dict(zip(("project", "asset", "version"), address.split("/"), strict=False))


def _staged(tree: Tree, *, foreign: bool = False) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        top = world.staging / SOURCE
        plant(top, tree)
        if foreign:
            for path in (top, *top.rglob("*")):
                os.chown(path, pwd.getpwnam(OTHER).pw_uid, -1, follow_symlinks=False)

    return prepare


def _upload(
    name: str,
    address: str,
    tree: Tree,
    *,
    foreign: bool = False,
    pooled: bool = False,
    **options: bool,
) -> Operation:
    return Operation(
        name,
        "upload",
        {**_of(address), "source": SOURCE, **options},
        _staged(tree, foreign=foreign),
        done=Code.VERSION_EXISTS,
        consumes=options.get("consume", False),
        foreign=foreign,
        pooled=pooled,
    )


def _permissions(name: str, address: str) -> Operation:
    given = {"owners": ["someone"], "uploaders": [{"id": "another"}]}
    return Operation(name, "set_permissions", {**_of(address), "permissions": given})


def _wrong(path: str, content: dict[str, Any] | None) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        if content is None:
            (world.registry / path).unlink()
        else:
            (world.registry / path).write_text(json.dumps(content, indent=4))

    return prepare


def _files_by_hand(world: World) -> None:
    version = world.registry / "p/a/2"
    archived = world.top.parent / "archive/old.csv"
    (version / "kept").symlink_to(archived)
    usage = world.recorded("p/..usage")["total"] + archived.stat().st_size
    _wrong("p/..usage", {"total": usage})(world)  # who adds files has to see to that
    (version / "d/by-hand").write_bytes(b"")
    (version / "d/linked.csv").symlink_to("../../1/d/y.csv")
    (version / "..links").unlink()


MANY = "p/many/1"
"""A version on probation of so many files that they are removed after the answer."""


def _many_files(world: World) -> None:
    version = world.registry / MANY
    version.mkdir(parents=True)
    names = [f"{number:03d}" for number in range(FEW_ENTRIES + 1)]
    for name in names:
        (version / name).write_text(name)
    entries = {
        name: {"md5sum": hashlib.md5(name.encode()).hexdigest(), "size": len(name)}
        for name in names
    }
    _wrong(f"{MANY}/..manifest", entries)(world)
    moment = "2026-11-28T09:00:00+00:00"
    summary = {"on_probation": True, "upload_finish": moment, "upload_start": moment}
    _wrong(f"{MANY}/..summary", {**summary, "upload_user_id": "someone"})(world)
    total = world.recorded("p/..usage")["total"] + sum(map(len, names))
    _wrong("p/..usage", {"total": total})(world)


OPERATIONS = [
    _upload("upload-new", "p/new/1", PLAIN),
    _upload("upload-links", "p/a/4", LINKED),
    _upload("upload-probation", "p/a/4", CHANGED, on_probation=True),
    _upload("consume-own", "p/a/4", PLAIN, consume=True),
    _upload("consume-other", "p/a/4", PLAIN, consume=True, foreign=True),
    _upload("upload-large", "p/a/4", LARGE),
    _upload("upload-by-anyone", "q/new/1", PLAIN, foreign=True),
    _upload("consume-large", "p/a/4", LARGE, consume=True),
    Operation(
        "create-project",
        "create_project",
        {"project": "n", "permissions": {"owners": ["someone"]}},
        done=Code.PROJECT_EXISTS,
    ),
    _permissions("permissions-project", "p"),
    _permissions("permissions-asset", "p/a"),
    _permissions("permissions-new-asset", "p/fresh"),
    Operation("approve", "approve_probation", _of("p/a/3"), done=Code.NOT_ON_PROBATION),
    Operation("reject", "reject_probation", _of("p/a/3"), done=Code.VERSION_NOT_FOUND),
    Operation(
        "reject-many", "reject_probation", _of(MANY), _many_files, done=Code.VERSION_NOT_FOUND
    ),
    Operation("delete-project", "delete_project", _of("doomed")),
    Operation("delete-asset", "delete_asset", _of("p/gone")),
    Operation("delete-version", "delete_version", _of("p/gone/2")),
    Operation("delete-only-version", "delete_version", _of("p/only/1")),
    Operation(
        "refresh-latest", "refresh_latest", _of("p/a"), _wrong("p/a/..latest", None), mends=True
    ),
    Operation(
        "refresh-no-latest",
        "refresh_latest",
        _of("q/probation"),
        _wrong("q/probation/..latest", {"version": "1"}),
        mends=True,
    ),
    Operation(
        "refresh-usage", "refresh_usage", _of("p"), _wrong("p/..usage", {"total": 7}), mends=True
    ),
    Operation(
        "reindex", "reindex_version", _of("p/a/2"), _files_by_hand, logs_again=True, mends=True
    ),
    _upload("upload-in-pool", "p/a/4", POOLED_TREE, pooled=True),
    _upload("consume-own-in-pool", "p/a/4", PLAIN, consume=True, pooled=True),
    _upload("consume-other-in-pool", "p/a/4", POOLED_TREE, consume=True, foreign=True, pooled=True),
    Operation(
        "reindex-in-pool",
        "reindex_version",
        _of("p/a/2"),
        _files_by_hand,
        logs_again=True,
        mends=True,
        pooled=True,
    ),
    Operation("reroute", "reroute_links", {"to_delete": [_of("p/a/1")]}),
]
