"""``GET /health`` says whether the service can work now."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from gobbler.service import health
from gobbler.service.health import Health

from .processes import Place, Running, account, public_place, upload_of, wait_for
from .test_server_stopping import built, held

__all__ = ["public_place"]


def asked(service: Running) -> tuple[int, dict[str, Any]]:
    response = requests.get(f"{service.url}/health", timeout=30)
    assert response.headers["access-control-allow-origin"] == "*"
    return response.status_code, response.json()


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For mounts."""
    return removed_by_us


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    command = ["mount", *options, str(directory)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a filesystem")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_service_that_works(place: Place) -> None:
    with Running(place, "--prefix=p", prefix="/p") as service:
        status, found = asked(service)
    assert status == 200
    assert found["status"] == "SUCCESS"
    assert set(found["checks"]) == {"registry", "staging", "spool"}
    assert all(check["usable"] for check in found["checks"].values())
    assert found["checks"]["registry"]["free_bytes"] > 0
    assert place.incoming() == []


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("registry", "registry"),
        ("staging", "staging"),
        ("staging/..spool/cur", "spool"),
        ("registry/..incoming", "registry"),
    ],
)
def test_a_directory_that_is_gone(place: Place, gone: str, named: str) -> None:
    with Running(place, "--jobs=0") as service:
        (place.top / gone).rename(place.top / "elsewhere")
        status, found = asked(service)
        assert status == 503
        assert found["code"] == "unhealthy"
        assert named in found["reason"]
        assert found["checks"][named]["usable"] is False
        assert found["checks"][named]["code"] == "io-error"
        (place.top / "elsewhere").rename(place.top / gone)
        wait_for("it works again", lambda: asked(service)[0] == 200)


def test_what_the_account_may_not_do(public_place: Place) -> None:
    uid = account("gobbler-service")
    for path in (public_place.staging, public_place.registry):
        os.chown(path, uid, -1)
    with Running(public_place, "--jobs=0", user="gobbler-service") as service:
        assert asked(service)[0] == 200
        incoming = public_place.registry / "..incoming"
        os.chown(incoming, 0, 0)
        status, found = wait_for("it is found", lambda: found_unusable(service))
        assert status == 503
        assert "Permission denied" in found["checks"]["registry"]["reason"]


def found_unusable(service: Running) -> tuple[int, dict[str, Any]] | None:
    status, found = asked(service)
    return None if status == 200 else (status, found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a filesystem")
def test_the_service_need_not_list_staging(public_place: Place) -> None:
    os.chown(public_place.registry, account("gtservice"), -1)
    with Running(public_place, user="gtservice") as service:
        assert asked(service)[0] == 200
        public_place.staging.chmod(0o1700)
        status, found = wait_for("it is found", lambda: found_unusable(service))
        assert (status, found["checks"]["staging"]["usable"]) == (503, False)


def test_a_full_disk_and_one_that_became_read_only(place: Place) -> None:
    disk = mounted(place.registry, "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs")
    with disk, Running(place, "--jobs=0") as service:
        with pytest.raises(OSError, match="No space"):
            (place.registry / "..large").write_bytes(bytes(2 << 20))
        status, found = wait_for("it is found", lambda: found_unusable(service))
        assert (status, found["checks"]["registry"]["code"]) == (503, "disk-full")
        (place.registry / "..large").unlink()
        wait_for("it works again", lambda: asked(service)[0] == 200)
        subprocess.run(["mount", "-o", "remount,ro", place.registry], check=True)
        status, found = wait_for("it is found", lambda: found_unusable(service))
        assert (status, found["checks"]["registry"]["code"]) == (503, "read-only")
        assert f"{place.registry}/..incoming" in found["checks"]["registry"]["reason"]
        assert found["checks"]["staging"]["usable"]


def test_a_mount_that_hangs_holds_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    probes: list[str] = []

    def hang(directory: str) -> None:
        probes.append(directory)
        assert hangs.wait(30)

    for name in ("..incoming",):
        (place.registry / name).mkdir()
    for name in ("..spool/new", "..spool/cur", "..requests"):
        (place.staging / name).mkdir(parents=True)
    checked = Health(str(place.staging), str(place.registry), f"{place.staging}/..requests")
    monkeypatch.setattr(health, "PROBE_TIMEOUT", 0.05)
    with monkeypatch.context() as hanging:
        hanging.setattr(health, "probe_reading", hang)
        hanging.setattr(health, "probe_searching", hang)
        for _ in range(3):
            found = checked.check()
            assert [part.code for part in found.values()] == ["timeout"] * 3
            assert "has not answered" in found["registry"].reason
    assert len(probes) == 3  # one each, however many ask
    hangs.set()
    monkeypatch.setattr(health, "PROBE_TIMEOUT", 30.0)
    assert all(part.usable for part in checked.check().values())


def test_a_service_that_is_stopping_answers_503(place: Place) -> None:
    with Running(place, "--grace=30") as service:
        service.succeed("create_project", {"project": "p"})
        request = place.write_request("upload", upload_of(place.stage({"f": b"x"})))
        with held(place.registry / "p/..LOCK"):
            upload = service.begin(request)
            wait_for("the version is built", lambda: built(place))
            service.process.send_signal(signal.SIGTERM)
            wait_for("it says so", lambda: asked(service)[0] == 503)
            assert asked(service)[1]["code"] == "stopping"
            for answer in (
                requests.get(f"{service.url}/info", timeout=30),
                service.ask("health_check", {}),
            ):
                assert answer.status_code == 503
                assert answer.json()["code"] == "stopping"
                assert int(answer.headers["retry-after"]) > 0
                assert answer.headers["connection"] == "close"
            assert requests.get(f"{service.url}/metrics", timeout=30).ok
        assert upload.getresponse().status == 200
        upload.close()
        assert service.process.wait(30) == 0
