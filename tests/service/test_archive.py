"""Archives of the real service: what readers get, and what is left when they go."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from .processes import Place, Running, public_place, upload_of, wait_for

__all__ = ["public_place"]

MIB = 1 << 20


@pytest.fixture
def running(public_place: Place) -> Iterator[Running]:
    with Running(public_place, "--workers=1") as service:
        service.succeed("create_project", {"project": "p"})
        yield service


def publish(running: Running, version: str = "1", **files: bytes | int) -> Path:
    place = running.place
    source = place.stage({name.replace("__", "/"): content for name, content in files.items()})
    running.succeed("upload", upload_of(source, version))
    return place.registry / "p/a" / version


def tree(top: Path) -> dict[str, bytes | None]:
    """Content by path, links followed; None for a directory."""
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes()
        for path in top.rglob("*")
    }


def reader(running: Running, path: str, protocol: str = "1.1", query: str = "") -> socket.socket:
    """A connection on which the archive of ``path`` was asked for and is not read."""
    target = urlsplit(running.url)
    connection = socket.create_connection((target.hostname, target.port), timeout=30)
    asked = f"GET /archive/{path}.tar{query} HTTP/{protocol}\r\nHost: x\r\n\r\n"
    connection.sendall(asked.encode())
    return connection


def open_files(running: Running, below: Path) -> list[str]:
    """What the service has open below a directory."""
    found = []
    for process in running.processes():
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = os.readlink(link)
            except FileNotFoundError:
                continue
            if target.startswith(f"{below}/"):
                found.append(target)
    return found


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("tar")), reason="no curl, no tar")
@pytest.mark.parametrize("links", ["files", "links"])
def test_curl_and_tar_get_what_is_there(running: Running, tmp_path: Path, links: str) -> None:
    files: dict[str, bytes | int] = {"a": b"1", "d__b": b"22", "d__" + "l" * 200: b"", "ä": b"x"}
    first = publish(running, "1", **files)
    second = publish(running, "2", **files)
    assert (second / "d/b").is_symlink()
    for version in ("1", "2"):
        url = f"{running.url}/archive/p/a/{version}.tar?links={links}"
        command = f"set -o pipefail; curl -sf '{url}' | tar x -C '{tmp_path}'"
        subprocess.run(["bash", "-c", command], check=True)
    assert tree(tmp_path / "p/a/1") == tree(first)
    assert tree(tmp_path / "p/a/2") == tree(second)
    assert (tmp_path / "p/a/2/d/b").is_symlink() == (links == "links")


def test_a_part_of_a_version_that_is_on_probation(running: Running, tmp_path: Path) -> None:
    source = running.place.stage({"d/b": b"22", "a": b"1"})
    running.succeed("upload", upload_of(source, on_probation=True))
    got = requests.get(f"{running.url}/archive/p/a/1/d.tar", timeout=60)
    (tmp_path / "d.tar").write_bytes(got.content)
    with tarfile.open(tmp_path / "d.tar") as archive:
        for member in archive:
            (tmp_path / "to" / member.name).parent.mkdir(parents=True, exist_ok=True)
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                (tmp_path / "to" / member.name).write_bytes(content.read())
    assert tree(tmp_path / "to/p/a/1") == {"d": None, "d/b": b"22"}


def test_what_is_not_there_is_reported_as_json(running: Running) -> None:
    for method in ("GET", "HEAD"):
        answer = requests.request(method, f"{running.url}/archive/p/a/1.tar", timeout=60)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
    assert requests.post(f"{running.url}/archive/p/a/1.tar", timeout=60).status_code in (404, 405)


@pytest.mark.parametrize("to", ["{top}/secret", "../../../../secret", "/etc/passwd", "{top}/fifo"])
def test_a_link_that_leads_out_is_never_followed(running: Running, to: str) -> None:
    place = running.place
    (place.top / "secret").write_text("top secret")
    os.mkfifo(place.top / "fifo")
    (publish(running, a=b"1") / "link").symlink_to(to.format(top=place.top))
    for links in ("files", "links"):
        url = f"{running.url}/archive/p/a/1.tar?links={links}"
        answer = requests.get(url, timeout=60)
        assert answer.status_code == 404
        assert "p/a/1/link" in answer.json()["reason"]


@pytest.mark.parametrize("protocol", ["1.0", "1.1"])
def test_the_archive_of_a_version_that_goes_breaks_off(running: Running, protocol: str) -> None:
    publish(running, **{f"f{i}": 8 * MIB for i in range(8)})
    with reader(running, "p/a/1", protocol) as connection:
        got = connection.recv(65536)
        running.succeed("delete_version", {"project": "p", "asset": "a", "version": "1"})
        while part := connection.recv(MIB):
            got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
    assert len(body) < int(length.split()[1])
    wait_for("it is logged", lambda: "breaks off" in running.output())


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_an_archive_of_untold_length_breaks_off_as_well(running: Running, tmp_path: Path) -> None:
    version = publish(running, **{f"f{i}": 8 * MIB for i in range(8)})
    url = f"{running.url}/archive/p/a/1.tar?length=false"
    command = ["curl", "-s", "-o", str(tmp_path / "archive"), url]
    assert subprocess.run(command, check=False).returncode == 0
    whole = (tmp_path / "archive").stat().st_size
    assert whole > 8 * 8 * MIB
    with reader(running, "p/a/1", "1.1", query="?length=false") as connection:
        got = connection.recv(65536)
        os.rename(version / "f7", version / "f8")
        while part := connection.recv(MIB):
            got += part
    assert b"chunked" in got.partition(b"\r\n\r\n")[0]
    assert not got.endswith(b"0\r\n\r\n"), "it looks whole"
    wait_for("it is logged", lambda: "breaks off" in running.output())


def test_readers_that_go_away_free_all_they_had(running: Running) -> None:
    version = publish(running, a=b"1")
    with (version / "large").open("wb") as handle:
        handle.truncate(4096 * MIB)
    before = running.memory()
    readers = [reader(running, "p/a/1") for _ in range(8)]
    for connection in readers:
        assert connection.recv(65536)
    wait_for("the file is being read", lambda: len(open_files(running, version)) >= 8)
    for _ in range(10):
        running.succeed("health_check", {})
    assert running.memory() - before < 8 * 16 * MIB
    for connection in readers:
        connection.close()
    gone = time.monotonic()
    wait_for("nothing is open any more", lambda: not open_files(running, version))
    print(f"freed after {time.monotonic() - gone:.2f} s")
    running.succeed("health_check", {})
    assert running.terminate() == 0
