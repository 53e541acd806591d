"""Several services of one registry, as an account without privileges, under load."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .processes import Place, Running, account, public_place, upload_of, wait_for

__all__ = ["public_place"]

SERVICE = "gtservice"
USERS = ("gtalice", "gtbob")
CLIENTS = 16
MIB = 1 << 20


@pytest.fixture
def services(public_place: Place) -> Iterator[tuple[Running, Running]]:
    """Two services, as an account of their own, with one staging directory and registry."""
    place = public_place
    uid = account(SERVICE)
    for path in (place.staging, place.registry):
        os.chown(path, uid, -1)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(Running(place, "--workers=2", user=SERVICE)) for _ in range(2)
        )
        one.succeed("create_project", {"project": "p", "permissions": {"owners": list(USERS)}})
        yield one, other


def manifest_usage(manifest: dict[str, Any]) -> int:
    return sum(entry["size"] for entry in manifest.values() if "link" not in entry)


def test_nothing_is_lost_when_many_publish_through_two_services(
    services: tuple[Running, Running],
) -> None:
    place = services[0].place

    def publish(number: int) -> None:
        user = account(USERS[number % 2])
        files: dict[str, bytes | int] = {
            "same": b"the same in all",
            f"d/{number}": os.urandom(1000 + number),
        }
        asset = f"a{number % 4}"
        payload = {**upload_of(place.stage(files, user), f"v{number}"), "asset": asset}
        services[number % 3 % 2].succeed("upload", payload, user)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(publish, range(4 * CLIENTS)))

    total = 0
    logged = [
        place.read(f"..logs/{name}") for name in sorted(os.listdir(place.registry / "..logs"))
    ]
    assert len(logged) == 4 * CLIENTS
    for i in range(4):
        versions = {f"v{n}" for n in range(4 * CLIENTS) if n % 4 == i}
        asset = place.registry / "p" / f"a{i}"
        assert {p.name for p in asset.iterdir() if not p.name.startswith("..")} == versions
        of_asset = [entry["version"] for entry in logged if entry["asset"] == f"a{i}"]
        assert sorted(of_asset) == sorted(versions)
        assert place.read(f"p/a{i}/..latest") == {"version": of_asset[-1]}
        for version in versions:
            manifest = place.read(f"p/a{i}/{version}/..manifest")
            total += manifest_usage(manifest)
            for path, entry in manifest.items():
                found = asset / version / path
                assert found.stat().st_size == entry["size"]
                assert found.is_symlink() == ("link" in entry)
    assert place.read("p/..usage") == {"total": total}
    assert place.incoming() == []


def test_all_of_the_registry_belongs_to_the_service_and_can_be_read_by_all(
    services: tuple[Running, Running],
) -> None:
    place, user = services[0].place, account(USERS[0])
    source = place.stage({"f": b"x", "d/g": b"y"}, user)
    os.chmod(place.staging / source / "f", 0o604)
    services[0].succeed("upload", upload_of(source), user)
    for path in (place.registry / "p/a").rglob("*"):
        status = path.stat()
        assert status.st_uid == account(SERVICE)
        if "..LOCK" not in path.name:
            assert status.st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize(("path", "mode"), [("d/secret", 0o600), ("d", 0o700), ("", 0o700)])
def test_what_the_service_can_not_read_is_refused_with_its_path(
    services: tuple[Running, Running], path: str, mode: int
) -> None:
    place, user = services[0].place, account(USERS[0])
    source = place.stage({"f": b"x", "d/secret": b"y"}, user)
    os.chmod(place.staging / source / path, mode)
    response = services[0].ask("upload", upload_of(source), user)
    assert response.status_code == 400
    assert (path or source) in response.json()["reason"]
    assert re.search("can't be read|may not read", response.json()["reason"])
    assert not (place.registry / "p/a").exists()


def test_a_request_that_the_service_can_not_read_is_refused(
    services: tuple[Running, Running],
) -> None:
    place = services[0].place
    name = place.write_request("health_check", {}, account(USERS[0]))
    os.chmod(place.staging / name, 0o600)
    response = services[0].post(name)
    assert response.status_code == 400
    assert name in response.json()["reason"]


def test_files_of_others_are_consumed_as_far_as_they_can_be_removed(
    services: tuple[Running, Running],
) -> None:
    place, user = services[0].place, account(USERS[0])
    source = place.stage({"f": b"x", "open/g": b"y"}, user)
    os.chmod(place.staging / source / "open", 0o777)
    services[0].succeed("upload", upload_of(source, consume=True), user)
    assert set(place.read("p/a/1/..manifest")) == {"f", "open/g"}
    assert (place.staging / source / "f").exists()
    assert not (place.staging / source / "open/g").exists()


def test_slow_readers_of_large_files_cost_no_memory(public_place: Place) -> None:
    with Running(public_place) as service:
        service.succeed("create_project", {"project": "p"})
        with (public_place.registry / "p/large").open("wb") as handle:
            handle.truncate(4096 * MIB)
        before = service.memory()
        target = urlsplit(service.url)
        readers = []
        for _ in range(8):
            reader = socket.create_connection((target.hostname, target.port), timeout=30)
            reader.sendall(b"GET /fetch/p/large HTTP/1.1\r\nHost: x\r\n\r\n")
            readers.append(reader)
        for _ in range(20):
            for reader in readers:
                assert reader.recv(65536)
            service.succeed("health_check", {})
        assert service.memory() - before < 8 * 16 * MIB
        for reader in readers:
            reader.close()
        wait_for(
            "nobody keeps the file open",
            lambda: (
                not any(
                    os.path.basename(os.readlink(path)) == "large"
                    for process in service.processes()
                    for path in Path(f"/proc/{process}/fd").iterdir()
                    if os.path.islink(path)
                )
            ),
        )
        service.succeed("health_check", {})
        assert service.terminate() == 0
