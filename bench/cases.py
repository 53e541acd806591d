"""The cases: what is prepared, what is measured, and the yardstick that it is measured by.

Each case is made for one peer. ``before`` prepares a run, ``work`` is what is measured,
``after`` clears away; ``yardstick`` does the least that anybody would have to do.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import data
from bench.peers import Peer

_numbers = itertools.count(1)


class Case:
    """The base: a project of its own, and a fresh version name for each run."""

    title = ""
    unit = "files"
    amount = 0
    yardstick_title = ""
    work: Callable[[], None]

    def __init__(self, peer: Peer, scale: float) -> None:
        self.peer = peer
        self.scale = scale
        self.project = peer.project()
        self.prepare()

    def scaled(self, number: int) -> int:
        """``number``, made smaller for a quick look."""
        return max(1, int(number * self.scale))

    def staged(self) -> Path:
        """A path in staging where nothing stands."""
        return self.peer.staging / f"bench-{os.getpid()}-{next(_numbers)}"

    def prepare(self) -> None:
        """What all runs need."""

    def before(self) -> None:
        """What one run needs."""

    def after(self) -> None:
        """Clear away after a run."""

    def yardstick(self) -> None:
        """What it is compared with."""

    def finish(self) -> None:
        """Clear away in the end."""
        self.peer.remove(self.project)
        for path in self.peer.staging.glob(f"bench-{os.getpid()}-*"):
            shutil.rmtree(path, ignore_errors=True)


def run(*words: object) -> None:
    """Run a command."""
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def md5sum(top: Path) -> None:
    """Hash every file below ``top``."""
    run("sh", "-c", f"find '{top}' -type f -print0 | xargs -0 md5sum")


class _Upload(Case):
    def before(self) -> None:
        self.address = f"{self.project}/asset-{next(_numbers)}/1"

    def work(self) -> None:
        self.peer.upload(self.address, self.source)

    def after(self) -> None:
        project, asset, _ = self.address.split("/")
        self.peer.ask("delete_asset", project=project, asset=asset)


class SmallFiles(_Upload):
    """10,000 files of 4 KiB, for the first time."""

    title = "first upload, 4 KiB files"
    yardstick_title = "cp -r and md5sum"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = data.small_files(self.staged(), self.amount, 4096)

    def yardstick(self) -> None:
        copy = self.staged()
        run("cp", "-r", self.source, copy)
        md5sum(copy)
        shutil.rmtree(copy)


class LargeFile(_Upload):
    """One file of 1 GiB, for the first time."""

    title = "first upload, one file of 1 GiB"
    unit = "MB"
    yardstick_title = "md5sum"

    def prepare(self) -> None:
        size = self.scaled(1024) << 20
        self.amount = size // 10**6
        self.source = data.one_file(self.staged(), size)

    def yardstick(self) -> None:
        run("md5sum", self.source / "file")


class Again(Case):
    """The same 10,000 files again but for one: all linked to the latest version."""

    title = "the same again, one file changed"
    yardstick_title = "cp -r and md5sum"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = data.small_files(self.staged(), self.amount, 4096)
        self.peer.upload(f"{self.project}/asset/0", self.source)

    def before(self) -> None:
        self.version = str(next(_numbers))
        (self.source / "d0/f0").write_text(self.version)

    def work(self) -> None:
        self.peer.upload(f"{self.project}/asset/{self.version}", self.source)

    yardstick = SmallFiles.yardstick


class Clone(_Upload):
    """A directory of 10,000 links into the registry."""

    title = "upload of a clone, registry links"
    unit = "links"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        first = data.small_files(self.staged(), self.amount, 64)
        address = f"{self.project}/origin/1"
        self.peer.upload(address, first)
        self.source = data.clone(self.staged(), self.peer.registry / address)


class Consume(_Upload):
    """A file of 1 GiB that belongs to the service and may be moved."""

    title = "consume of 1 GiB of the service's own"
    unit = "MB"
    yardstick_title = "md5sum"

    def prepare(self) -> None:
        self.size = self.scaled(1024) << 20
        self.amount = self.size // 10**6
        self.reference = data.one_file(self.staged(), self.size)

    def before(self) -> None:
        super().before()
        self.source = self.staged()
        shutil.copytree(self.reference, self.source)
        (self.source / "file").chmod(0o644)

    def work(self) -> None:
        self.peer.upload(self.address, self.source, consume=True)

    def after(self) -> None:
        super().after()
        shutil.rmtree(self.source)

    def yardstick(self) -> None:
        run("md5sum", self.reference / "file")


class Validate(Case):
    """A version of 10,000 files of 4 KiB."""

    title = "validate, 4 KiB files"
    action = "validate_version"
    yardstick_title = "md5sum"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        source = data.small_files(self.staged(), self.amount, 4096)
        self.peer.upload(f"{self.project}/asset/1", source)

    def work(self) -> None:
        self.peer.ask(self.action, project=self.project, asset="asset", version="1")

    def yardstick(self) -> None:
        md5sum(self.peer.registry / self.project / "asset/1")


class Reindex(Validate):
    """The same, made anew."""

    title = "reindex, 4 KiB files"
    action = "reindex_version"


class ListFiles(Case):
    """``/list`` of a version of 10,000 files, recursive."""

    title = "/list, recursive"
    unit = "entries"
    yardstick_title = "find"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        source = data.small_files(self.staged(), self.amount, 16)
        self.address = f"{self.project}/asset/1"
        self.peer.upload(self.address, source)

    def work(self) -> None:
        query = {"path": self.address, "recursive": "true"}
        response = self.peer.session.get(f"{self.peer.url}/list", params=query)
        assert len(response.json()) >= self.amount

    def yardstick(self) -> None:
        run("find", self.peer.registry / self.address)


class SmallRequests(Case):
    """Requests that do next to nothing, one after the other."""

    title = "small requests, one after the other"
    unit = "requests"
    clients = 1

    def prepare(self) -> None:
        self.amount = self.scaled(1_000)

    def work(self) -> None:
        each = self.amount // self.clients
        threads = [threading.Thread(target=self._many, args=(each,)) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _many(self, requests: int) -> None:
        peer = Peer("client", self.peer.url, self.peer.staging, self.peer.registry)
        for _ in range(requests):
            peer.ask("health_check")


class SmallRequestsFromMany(SmallRequests):
    """The same from 16 clients at a time."""

    title = "small requests from 16 clients"
    clients = 16


class Publications(SmallRequests):
    """Versions of one small file, from 16 clients into one asset."""

    title = "small versions from 16 clients into one asset"
    unit = "versions"
    clients = 16

    def prepare(self) -> None:
        self.amount = self.scaled(480)
        self.source = data.small_files(self.staged(), 1, 100)

    def _many(self, requests: int) -> None:
        peer = Peer("client", self.peer.url, self.peer.staging, self.peer.registry)
        for _ in range(requests):
            peer.upload(f"{self.project}/asset/{next(_numbers)}", self.source)


class Reroute(Case):
    """The root of a chain of three versions of 10,000 files is to be deleted."""

    title = "reroute, 10,000-file root of a chain"
    unit = "links"

    def prepare(self) -> None:
        files = self.scaled(10_000)
        self.amount = 2 * files
        self.source = data.small_files(self.staged(), files, 64)

    def before(self) -> None:
        self.asset = f"asset-{next(_numbers)}"
        for version in "123":
            self.peer.upload(f"{self.project}/{self.asset}/{version}", self.source)

    def work(self) -> None:
        doomed = {"project": self.project, "asset": self.asset, "version": "1"}
        changes = self.peer.ask("reroute_links", to_delete=[doomed])["changes"]
        assert isinstance(changes, list)
        assert len(changes) == self.amount

    def after(self) -> None:
        self.peer.ask("delete_asset", project=self.project, asset=self.asset)


class RerouteChain(Case):
    """The root of a chain of 1,000 versions of 3 files is to be deleted."""

    title = "reroute, chain of 1,000 versions"
    unit = "versions"

    def prepare(self) -> None:
        self.amount = self.scaled(1_000)
        self.source = data.small_files(self.staged(), 3, 64)

    def before(self) -> None:
        self.asset = f"asset-{next(_numbers)}"
        for version in range(self.amount):
            self.peer.upload(f"{self.project}/{self.asset}/{version}", self.source)

    def work(self) -> None:
        doomed = {"project": self.project, "asset": self.asset, "version": "0"}
        self.peer.ask("reroute_links", to_delete=[doomed])

    after = Reroute.after


class DuringAnUpload(Case):
    """``create_project`` and ``set_permissions`` while 1 GiB is uploaded: the longest."""

    title = "set_permissions during a long upload (longest)"
    unit = "requests"
    amount = 1

    def prepare(self) -> None:
        self.source = data.one_file(self.staged(), self.scaled(2048) << 20)

    def before(self) -> None:
        self.version = str(next(_numbers))
        address = f"{self.project}/asset/{self.version}"
        busy = Peer("busy", self.peer.url, self.peer.staging, self.peer.registry)
        self.upload = threading.Thread(target=busy.upload, args=(address, self.source))
        self.upload.start()
        time.sleep(0.3)
        self.longest = 0.0
        while self.upload.is_alive():
            self.longest = max(self.longest, _seconds(self._set), _seconds(self._create))
            time.sleep(0.05)
        self.upload.join()

    def _set(self) -> None:
        self.peer.ask(
            "set_permissions", project=self.project, permissions={"uploaders": [{"id": "nobody"}]}
        )

    def _create(self) -> None:
        self.peer.remove(self.peer.project())

    def work(self) -> None:
        time.sleep(self.longest)

    def after(self) -> None:
        self.peer.ask("delete_asset", project=self.project, asset="asset")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


CASES: tuple[type[Case], ...] = (
    SmallFiles,
    LargeFile,
    Again,
    Clone,
    Consume,
    Validate,
    Reindex,
    ListFiles,
    SmallRequests,
    SmallRequestsFromMany,
    Publications,
    Reroute,
    RerouteChain,
    DuringAnUpload,
)
