"""The recipes of the manual for backups, as another account and while versions come and go."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gobbler.client import Client

from .documented import ROOT, examples
from .processes import Place, Running, account, identity, own_name, public_place

__all__ = ["public_place"]

READER = "gtalice"

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")


def recipes(place: Place, copy: Path) -> dict[str, str]:
    """The blocks of the section on backups by their first words, for these directories."""
    found = [
        example.code.replace("/data/registry", str(place.registry))
        .replace("-C /data registry", f"-C {place.top} registry")
        .replace("/backup/registry", str(copy))
        for example in examples(ROOT / "docs/administrators.md")
        if example.section == "Move and back up a registry"
    ]
    return {code.split()[0]: code for code in found}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def copy(public_place: Place) -> Path:
    path = public_place.top / "backup"
    path.mkdir()
    os.chown(path, account(READER), -1)
    return path


def publish(service: Running, version: str, content: bytes) -> None:
    files = {"old": b"the same in all", "own": content, "d/same": b"x" * 1000}
    service.succeed(
        "upload",
        {
            "project": "p",
            "asset": "a",
            "version": version,
            "source": service.place.stage(files),
        },
    )


def run(code: str, top: Path, user: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", code], cwd=top, capture_output=True, text=True, **identity(user)
    )


@pytest.mark.parametrize("number", range(4))
def test_another_account_can_read_what_is_published(
    public_place: Place, copy: Path, number: int
) -> None:
    with Running(public_place) as service:
        service.succeed("create_project", {"project": "p"})
        publish(service, "1", b"1")
        command = recipes(public_place, copy)["find"].splitlines()[number]
        command = command.replace("registry.tar", f"{copy}/registry.tar")
        done = run(command, public_place.top, READER)
        assert (done.returncode, done.stderr) == (0, ""), command
        if command.startswith("tar"):
            names = run(f"tar -tf {copy}/registry.tar", copy, READER).stdout
            assert "registry/p/a/1/d/same" in names


@contextmanager
def traffic(service: Running) -> Iterator[list[int]]:
    """Versions are published, approved, rejected and deleted during the block."""
    done = [0]
    ended = threading.Event()

    def work() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            names = {"project": "p", "asset": "a"}
            publish(service, f"v{number}", b"%d" % number)
            beta = {**names, "version": f"beta{number}"}
            source = service.place.stage({"f": b"beta"})
            service.succeed("upload", {**beta, "source": source, "on_probation": True})
            service.succeed("reject_probation" if number % 2 else "approve_probation", beta)
            if number % 3 == 2:  # nothing links to its own file
                service.succeed("delete_version", {**names, "version": f"v{number}"})
            done[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def test_a_copy_made_under_traffic_is_valid(public_place: Place, copy: Path) -> None:
    account(READER)
    with Running(public_place) as service:
        service.succeed("create_project", {"project": "p"})
        publish(service, "1", b"1")
        with traffic(service) as done:
            for _ in range(3):
                before = done[0]
                made = run(recipes(public_place, copy)["#!/bin/bash"], public_place.top, READER)
                assert made.returncode == 0, made.stderr
                while done[0] == before:  # it was not idle
                    ended = service.process.poll()
                    assert ended is None
    top = copy.parent / "restored"
    top.mkdir()
    other = Place(top)
    restore = recipes(other, copy)["systemctl"].replace("-o gobbler -g gobbler ", "")
    restore = restore.replace("gobbler:gobbler", own_name())
    stop, *moves, start, refresh, validate = restore.splitlines()
    other.registry.mkdir(exist_ok=True)
    (other.registry / "damaged").touch()
    for command in moves:
        assert run(command, other.top, None).returncode == 0, command
    assert not (other.registry / "damaged").exists()
    with Running(other) as service:
        client = Client(service.url, staging=other.staging, registry=other.registry)
        assert [each.problem for each in client.admin.refresh_all() if each.problem] == []
        results = list(client.admin.validate_all())
        assert [(each.address, each.problems) for each in results if each.problems] == []
        assert len(results) > 3
    assert [line.split()[0] for line in (stop, start)] == ["systemctl", "systemctl"]
    assert refresh == "sudo -u gobbler gobbler refresh --all"
    assert validate == "sudo -u gobbler gobbler validate --all"
