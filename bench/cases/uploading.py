"""Uploads, and what reads all bytes of a version."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import data
from bench.cases.base import Case, md5sum, numbers, run


class Upload(Case):
    """The base of uploads of ``source``, each as the first version of an asset."""

    source: Path

    def before(self) -> None:
        self.address = f"{self.project}/asset-{next(numbers)}/1"

    def work(self) -> None:
        self.peer.upload(self.address, self.source)

    def after(self) -> None:
        if self.unit == "MB":
            project, asset, _ = self.address.split("/")
            self.peer.ask("delete_asset", project=project, asset=asset)


class SmallFiles(Upload):
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


class LargeFile(Upload):
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
        self.version = str(next(numbers))
        (self.source / "d0/f0").write_text(self.version)

    def work(self) -> None:
        self.peer.upload(f"{self.project}/asset/{self.version}", self.source)

    yardstick = SmallFiles.yardstick


class Clone(Upload):
    """A directory of 10,000 links into the registry."""

    title = "upload of a clone, registry links"
    unit = "links"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        first = data.small_files(self.staged(), self.amount, 64)
        address = f"{self.project}/origin/1"
        self.peer.upload(address, first)
        self.source = data.clone(self.staged(), self.peer.registry / address)


class Consume(Upload):
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
    """The same, created again."""

    title = "reindex, 4 KiB files"
    action = "reindex_version"
