"""Users who mean harm (protocol, section 9, numbers 6 to 8, 10 and 11)."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, NOBODYS_UID
from .service import Service, build, give, plain, refused

pytestmark = pytest.mark.beyond

PROMPT = 5.0
"""Seconds within which what could block for ever must have been refused."""

ROUNDS = 60
"""How often a race is run."""


@contextlib.contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Repeat ``act`` in the background."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            act()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Swapper:
    """Puts now one thing, now another at ``place``, each by an atomic rename."""

    def __init__(self, place: Path, aside: Path, *makers: Callable[[Path], None]) -> None:
        self._place, self._aside, self._makers, self._turn = place, aside, makers, 0

    def __call__(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._aside.unlink()
        self._makers[self._turn % len(self._makers)](self._aside)
        self._aside.rename(self._place)
        self._turn += 1


@pytest.fixture
def assets(service: Service, accounts: None) -> str:
    """A project of BOB that has an asset already."""
    project = service.new_project(owners=[BOB])
    service.upload(f"{project}/asset/0", {"zero": b"0"}, BOB)
    return project


class TestInASource:
    @pytest.fixture(autouse=True)
    def _asset(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/0", {"zero": b"0"})

    def refuse(self, service: Service, project: str, odd: Callable[[Path], object]) -> str:
        """Upload a source in which ``odd`` has put something; the reason of the refusal."""
        payload = service.upload_of(f"{project}/asset/1", {"a": b"a", "d/b": b"b"})
        odd(service.staging / payload["source"] / "d")
        before = service.snapshot(project)
        name = service.write_request("upload", payload)
        reason = refused(service.post(name, timeout=PROMPT), status=400)
        assert service.snapshot(project) == before
        return reason

    def test_a_fifo_is_refused_at_once(self, service: Service, project: str) -> None:
        assert "d/pipe" in self.refuse(service, project, lambda d: os.mkfifo(d / "pipe"))

    def test_a_socket_is_refused_at_once(self, service: Service, project: str) -> None:
        def listen(directory: Path) -> None:
            descriptor = os.open(directory, os.O_RDONLY)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"/proc/self/fd/{descriptor}/plug")
            os.close(descriptor)

        assert "d/plug" in self.refuse(service, project, listen)

    def test_a_device_is_refused_at_once(self, service: Service, project: str) -> None:
        def device(directory: Path) -> None:
            try:
                os.mknod(directory / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root can make a device")

        assert "d/zero" in self.refuse(service, project, device)

    def test_a_link_to_a_fifo_is_refused_at_once(self, service: Service, project: str) -> None:
        def linked(directory: Path) -> None:
            pipe = service.staging / service.unique()
            os.mkfifo(pipe)
            (directory / "link").symlink_to(pipe)

        assert "d/link" in self.refuse(service, project, linked)

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (b"\xff\xfe.txt", "xff"),
            (b"latin-\xe4", "latin-"),
            (b"surrogate-\xed\xa0\x80", "surrogate-"),
            (b"new\nline", "line"),
            (b"esc\x1b[2J", "esc"),
            (b"bell\x07", "bell"),
            (b"del\x7f", "del"),
            (b"c1-\xc2\x85", "c1-"),
        ],
    )
    @pytest.mark.parametrize("kind", ["file", "directory", "link"])
    def test_a_name_that_no_terminal_should_see_is_refused(
        self, service: Service, project: str, kind: str, name: bytes, shown: str
    ) -> None:
        def odd(directory: Path) -> None:
            path = os.path.join(os.fsencode(directory), name)
            if kind == "directory":
                os.mkdir(path)
            elif kind == "link":
                os.symlink(b"b", path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))

        reason = self.refuse(service, project, odd)
        assert shown in reason
        assert reason.isprintable()

    def test_such_a_name_does_not_matter_where_it_is_left_out(
        self, service: Service, project: str
    ) -> None:
        payload = service.upload_of(f"{project}/asset/1", {"a": b"a", "..x/b": b"b"})
        source = os.fsencode(service.staging / payload["source"])
        os.close(os.open(source + b"/..x/\xff", os.O_CREAT | os.O_WRONLY))
        service.succeed("upload", payload)
        assert set(service.read(f"{project}/asset/1/..manifest")) == {"a"}

    def test_a_file_that_the_service_can_not_read_is_refused(
        self, service: Service, project: str
    ) -> None:
        if os.getuid() == 0:
            pytest.skip("the service of root can read everything")
        reason = self.refuse(service, project, lambda d: (d / "b").chmod(0))
        assert "d/b" in reason

    def test_a_directory_that_the_service_can_not_read_is_refused(
        self, service: Service, project: str
    ) -> None:
        if os.getuid() == 0:
            pytest.skip("the service of root can read everything")
        closed = []

        def close(directory: Path) -> None:
            directory.chmod(0)
            closed.append(directory)

        try:
            assert '"d"' in self.refuse(service, project, close)
        finally:
            closed[0].chmod(0o755)


class TestAnOwnerWithoutAnAccount:
    def test_of_a_request_is_not_allowed(self, service: Service, assets: str) -> None:
        payload = service.upload_of(f"{assets}/asset/1", {"a": b"a"}, BOB)
        name = service.write_request("upload", payload)
        os.chown(service.staging / name, NOBODYS_UID, NOBODYS_UID)
        refused(service.post(name), str(NOBODYS_UID), status=403)
        service.succeed("health_check", {})

    def test_of_a_source_is_not_allowed(self, service: Service, assets: str) -> None:
        payload = service.upload_of(f"{assets}/asset/1", {"a": b"a"}, BOB)
        os.chown(service.staging / payload["source"], NOBODYS_UID, NOBODYS_UID)
        service.refuse("upload", payload, status=403, user=BOB)
        service.succeed("health_check", {})


class TestARace:
    def test_for_the_request_file_gains_nothing(self, service: Service, accounts: None) -> None:
        stolen = service.unique()
        theirs = service.staging / service.write_request("x", {"project": stolen})
        name = f"request-create_project-{service.unique()}"
        uid = pwd.getpwnam(BOB).pw_uid

        def mine(path: Path) -> None:
            path.write_text(json.dumps({"project": stolen}))
            os.chown(path, uid, -1)

        swap = Swapper(
            service.staging / name,
            service.staging / service.unique(),
            mine,
            lambda path: path.symlink_to(theirs),
        )
        swap()
        with meanwhile(swap):
            for _ in range(ROUNDS * 5):
                assert service.post(name).status_code in (400, 403)
        assert not (service.registry / stolen).exists()

    def test_for_a_file_of_the_source_gains_nothing(
        self, service: Service, assets: str, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"only the service may read this")
        secret.chmod(0o600)
        source = service.stage({"d/a": b"mine", "b": b"b" * 100_000}, BOB)
        uid = pwd.getpwnam(BOB).pw_uid

        def mine(path: Path) -> None:
            path.write_bytes(b"mine")
            os.chown(path, uid, -1)

        swap = Swapper(
            service.staging / source / "d/a",
            service.staging / service.unique(),
            mine,
            lambda path: path.symlink_to(secret),
        )
        self.run(service, assets, source, swap)
        for path in (service.registry / assets / "asset").glob("*/d/a"):
            assert path.read_bytes() == b"mine"

    def test_for_a_directory_of_the_source_gains_nothing(
        self, service: Service, assets: str, tmp_path: Path
    ) -> None:
        build(tmp_path / "secret", {"a": b"only the service may read this"})
        (tmp_path / "secret").chmod(0o700)
        source = service.stage({"d/a": b"mine"}, BOB)
        place = service.staging / source / "d"
        aside = service.staging / service.unique()

        def swap() -> None:
            place.rename(aside)
            place.symlink_to(tmp_path / "secret")
            place.unlink()
            aside.rename(place)

        self.run(service, assets, source, swap)
        for path in (service.registry / assets / "asset").glob("*/d/a"):
            assert path.read_bytes() == b"mine"

    def test_for_the_source_itself_gains_nothing(
        self, service: Service, assets: str, tmp_path: Path
    ) -> None:
        build(tmp_path / "secret", {"d/a": b"only the service may read this"})
        build(service.staging / service.unique(), {"d/a": b"of alice"}, ALICE)
        source = service.stage({"d/a": b"mine"}, BOB)
        place = service.staging / source
        aside = service.staging / service.unique()

        def swap() -> None:
            place.rename(aside)
            place.symlink_to(tmp_path / "secret")
            place.unlink()
            aside.rename(place)

        self.run(service, assets, source, swap)
        for path in (service.registry / assets / "asset").glob("*/d/a"):
            assert path.read_bytes() == b"mine"

    def run(self, service: Service, project: str, source: str, swap: Callable[[], None]) -> None:
        """Upload again and again while ``swap`` changes the source."""
        with meanwhile(swap):
            for i in range(1, ROUNDS):
                payload = {"project": project, "asset": "asset", "version": f"r{i}"}
                response = service.submit("upload", {**payload, "source": source}, BOB)
                assert response.status_code in (200, 400, 403), response.text

    def test_leaves_a_service_that_works(self, service: Service, assets: str) -> None:
        source = service.stage({"a": b"a"}, ALICE)
        give(service.staging / source, BOB)
        payload = {"project": assets, "asset": "asset", "version": "1", "source": source}
        service.succeed("upload", payload, BOB)
        assert service.read(f"{assets}/asset/1/..manifest") == {"a": plain(b"a")}
