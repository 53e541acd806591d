"""Locks shared with other services (protocol, section 7)."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .addresses import naming, project_of
from .checks import check_usage
from .service import Service, successful

pytestmark = pytest.mark.usefixtures("writable_registry")

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX
MODES = {SHARED: "shared", EXCLUSIVE: "exclusive"}

A_WHILE = 0.25
"""Seconds in which a service that does not wait would have been done."""


@contextmanager
def held(path: Path, operation: int) -> Iterator[None]:
    """Hold a lock as another service would."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """An asset with versions 1 and beta, which is on probation."""
    service.upload(f"{project}/asset/1", {"f": b"f"})
    service.upload(f"{project}/asset/beta", {"b": b"b"}, on_probation=True)
    return f"{project}/asset"


Ask = Callable[[Service, str], tuple[str, dict[str, Any]]]
"""An action and its payload, for an asset."""


def of(action: str, address: str = "", **fields: Any) -> Ask:
    """``address`` is below the asset; ``..`` stands for its project."""

    def ask(_: Service, asset: str) -> tuple[str, dict[str, Any]]:
        at = project_of(asset) if address == ".." else asset + address
        return action, naming(at, **fields)

    return ask


def repairing(record: str, action: str, address: str = "") -> Ask:
    """``record``, a path from the asset, is made wrong, so that there is something to change."""

    def ask(service: Service, asset: str) -> tuple[str, dict[str, Any]]:
        path = service.registry / asset / record
        path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), WRONG[action])))
        return of(action, address)(service, asset)

    return ask


WRONG: dict[str, object] = {"refresh_latest": "0", "refresh_usage": 1}


def upload(address: str) -> Ask:
    return lambda s, asset: ("upload", s.upload_of(asset + address, {"new": b"new"}))


OWNERS = {"permissions": {"owners": ["somebody"]}}

ASKED: dict[str, Ask] = {
    "create_project": lambda s, _: ("create_project", {"project": s.unique()}),
    "delete_project": of("delete_project", ".."),
    "reroute_links": lambda s, asset: (
        s.upload(f"{asset}/2", {"f": b"f"})
        and ("reroute_links", {"to_delete": [naming(f"{asset}/1")]})
    ),
    "set_permissions": of("set_permissions", "..", **OWNERS),
    "set_permissions of an asset": of("set_permissions", **OWNERS),
    "set_permissions of a new asset": of("set_permissions", "-new", **OWNERS),
    "upload": upload("/2"),
    "upload of a new asset": upload("-new/1"),
    "approve_probation": of("approve_probation", "/beta"),
    "reject_probation": of("reject_probation", "/beta"),
    "delete_asset": of("delete_asset"),
    "delete_version": of("delete_version", "/1"),
    "refresh_latest": repairing("..latest", "refresh_latest"),
    "refresh_usage": repairing("../..usage", "refresh_usage", ".."),
    "reindex_version": of("reindex_version", "/1"),
}

OF_REGISTRY = {"create_project", "delete_project", "reroute_links"}
OF_PROJECT = {"set_permissions", "delete_asset"}
OF_NEW_ASSET = {"set_permissions of a new asset", "upload of a new asset"}
OF_USAGE = {"upload", "reject_probation", "delete_version", "delete_asset", "refresh_usage"}
OF_ASSET = {
    "set_permissions of an asset",
    "upload",
    "approve_probation",
    "reject_probation",
    "delete_version",
    "refresh_latest",
    "reindex_version",
}

# The lock that another service holds (its directory is the registry, the project or the
# asset), how, and what must wait for it.
WAITING = [
    ("registry", "..LOCK", SHARED, OF_REGISTRY),
    ("registry", "..LOCK", EXCLUSIVE, set(ASKED)),
    ("project", "..LOCK", SHARED, OF_PROJECT),
    ("project", "..LOCK", EXCLUSIVE, set(ASKED) - OF_REGISTRY),
    ("project", "..LOCK_NEWDIR", SHARED, OF_NEW_ASSET),
    ("asset", "..LOCK", SHARED, OF_ASSET),
    ("asset", "..LOCK", EXCLUSIVE, OF_ASSET),
]

# The Go service creates a project under ..LOCK alone, and takes ..LOCK_USAGE after it has
# changed the versions.
WAITING_BEYOND = [
    ("registry", "..LOCK_NEWDIR", SHARED, {"create_project"}),
    ("project", "..LOCK_USAGE", EXCLUSIVE, OF_USAGE),
]

# What goes on beside another service that holds its locks shared: it relies on the same
# entries, or works on something else.
BESIDE = [
    (("registry",), set(ASKED) - OF_REGISTRY),
    (("registry", "project"), set(ASKED) - OF_REGISTRY - OF_PROJECT - {"refresh_usage"}),
]


def place(service: Service, asset: str, where: str) -> Path:
    names = {"registry": "", "project": project_of(asset), "asset": asset}
    return service.registry / names[where]


def label(value: object) -> str | None:
    return MODES.get(value) if isinstance(value, int) else None


@pytest.mark.parametrize(
    ("where", "lock", "mode", "what"),
    [
        *((where, lock, mode, w) for where, lock, mode, some in WAITING for w in sorted(some)),
        *(
            pytest.param(where, lock, mode, w, marks=pytest.mark.beyond)
            for where, lock, mode, some in WAITING_BEYOND
            for w in sorted(some)
        ),
    ],
    ids=label,
)
def test_a_change_waits_for_another_service(
    service: Service, asset: str, where: str, lock: str, mode: int, what: str
) -> None:
    action, payload = ASKED[what](service, asset)
    project = project_of(asset)
    with ThreadPoolExecutor(1) as pool:
        with held(place(service, asset, where) / lock, mode):
            before = service.snapshot(project)
            response = pool.submit(service.submit, action, payload)
            time.sleep(A_WHILE)
            assert not response.done()
            assert service.snapshot(project) == before
        successful(response.result(30))
    if what != "delete_project":
        check_usage(service, project)


@pytest.mark.parametrize(
    ("places", "what"), [(places, what) for places, some in BESIDE for what in sorted(some)]
)
def test_a_change_goes_on_beside_another_service(
    service: Service, asset: str, places: tuple[str, ...], what: str
) -> None:
    action, payload = ASKED[what](service, asset)
    with ExitStack() as stack:
        for where in places:
            stack.enter_context(held(place(service, asset, where) / "..LOCK", SHARED))
        service.succeed(action, payload)


@pytest.mark.parametrize("what", sorted(OF_ASSET))
def test_a_change_does_not_wait_for_one_of_another_asset(
    service: Service, asset: str, what: str
) -> None:
    service.upload(f"{asset}-other/1", {"x": b"x"})
    action, payload = ASKED[what](service, asset)
    with ExitStack() as stack:
        for where in ("registry", "project"):
            stack.enter_context(held(place(service, asset, where) / "..LOCK", SHARED))
        other = place(service, f"{asset}-other", "asset")
        stack.enter_context(held(other / "..LOCK", EXCLUSIVE))
        service.succeed(action, payload)


@contextmanager
def all_held(service: Service, asset: str) -> Iterator[None]:
    """Every lock is held by another service."""
    with ExitStack() as stack:
        for where in ("registry", "project", "asset"):
            for lock in ("..LOCK", "..LOCK_NEWDIR"):
                stack.enter_context(held(place(service, asset, where) / lock, EXCLUSIVE))
        yield


def test_nobody_is_locked_out_from_reading(service: Service, asset: str) -> None:
    with all_held(service, asset):
        assert service.fetch(f"{asset}/1/f").content == b"f"
        assert service.list(asset, recursive=True).status_code == 200
        service.succeed("health_check", {})


@pytest.mark.beyond
@pytest.mark.parametrize("action", ["validate_version", "reroute_links"])
def test_a_look_waits_for_nobody(service: Service, asset: str, action: str) -> None:
    payload = naming(f"{asset}/1")
    if action == "reroute_links":
        payload = {"to_delete": [payload], "dry_run": True}
    with all_held(service, asset):
        service.succeed(action, payload)


@pytest.mark.parametrize("what", sorted(ASKED))
def test_no_lock_is_left_behind(service: Service, asset: str, what: str) -> None:
    action, payload = ASKED[what](service, asset)
    service.succeed(action, payload)
    for where in ("registry", "project", "asset"):
        for path in place(service, asset, where).glob("..LOCK*"):
            with path.open("r+b") as lock:
                fcntl.flock(lock, EXCLUSIVE | fcntl.LOCK_NB)
