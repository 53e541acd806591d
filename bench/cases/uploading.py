"""Uploads, and what reads all bytes of a version."""

from __future__ import annotations

import os
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
            self._delete_asset()

    def _delete_asset(self) -> None:
        project, asset, _ = self.address.split("/")
        self.peer.ask("delete_asset", project=project, asset=asset)

    def least(self) -> list[str] | None:
        return ["copy", str(self.source), str(self.session.place())]


class SmallFiles(Upload):
    """10,000 files of 4 KiB, for the first time."""

    title = "first upload, 10,000 files of 4 KiB"
    yardstick_title = "cp -r and md5sum"
    goal = 2.5

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = self.session.small_files(self.peer)

    def yardstick(self) -> None:
        copy = self.session.place()
        run("cp", "-r", self.source, copy)
        md5sum(copy)


class LargeFile(Upload):
    """One file of 1 GiB, for the first time."""

    title = "first upload, one file of 1 GiB"
    unit = "MB"
    yardstick_title = "md5sum"
    goal = 2.2

    def prepare(self) -> None:
        self.source = self.session.large_file(self.peer)
        self.amount = (self.source / "file").stat().st_size // 10**6

    def yardstick(self) -> None:
        run("md5sum", self.source / "file")


class AgainAll(SmallFiles):
    """The same 10,000 files again, right after the first upload: all linked to it."""

    title = "the same again, all deduplicated"
    goal = 2.0

    def prepare(self) -> None:
        super().prepare()
        self.peer.upload(f"{self.project}/asset/0", self.source)

    def before(self) -> None:
        self.address = f"{self.project}/asset/{next(numbers)}"

    def least(self) -> list[str] | None:
        first = self.peer.registry / self.project / "asset/0"
        return ["compare", str(self.source), str(self.session.place()), str(first)]


class Again(AgainAll):
    """The same again but for one file."""

    title = "the same, one changed"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = data.small_files(self.staged(), self.amount, 4096)
        self.peer.upload(f"{self.project}/asset/0", self.source)

    def before(self) -> None:
        super().before()
        (self.source / "d0/f0").write_text(self.address)

    def least(self) -> list[str] | None:
        return None  # that of "all deduplicated"


class LargeAgain(LargeFile):
    """The same file of 1 GiB again, right after its first upload."""

    title = "1 GiB again, deduplicated"
    goal = 3.0

    def before(self) -> None:
        super().before()
        self.peer.upload(self.address, self.source)
        self.first = self.peer.registry / self.address
        self.address = self.address[:-1] + "2"

    def least(self) -> list[str] | None:
        # The version is gone by now; its content is that of the source.
        return ["compare", str(self.source), str(self.session.place()), str(self.source)]


class Clone(Upload):
    """A directory of 10,000 links into the registry."""

    title = "clone of 10,000 links"
    unit = "links"
    goal = 2.0

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        first = data.small_files(self.staged(), self.amount, 64)
        address = f"{self.project}/origin/1"
        self.peer.upload(address, first)
        self.source = data.clone(self.staged(), self.peer.registry / address)

    def least(self) -> list[str] | None:
        return ["clone", str(self.source), str(self.session.place())]


class ConsumeSmall(SmallFiles):
    """10,000 files of 4 KiB that belong to the service and may be moved."""

    title = "`consume` of 10,000 small files"
    yardstick_title = "md5sum"
    goal = 2.0

    def prepare(self) -> None:
        super().prepare()
        self.reference = self.source

    def before(self) -> None:
        super().before()
        self.source = self.staged()
        shutil.copytree(self.reference, self.source)
        for path in self.source.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def work(self) -> None:
        self.peer.upload(self.address, self.source, consume=True)

    def yardstick(self) -> None:
        md5sum(self.reference)

    def least(self) -> list[str] | None:
        links = self.session.place()
        shutil.copytree(self.reference, links, copy_function=os.link)
        return ["consume", str(links), str(self.session.place())]


class Consume(ConsumeSmall):
    """A file of 1 GiB that belongs to the service and may be moved."""

    title = "`consume` of 1 GiB"
    unit = "MB"
    goal = 1.1

    def prepare(self) -> None:
        self.reference = self.session.large_file(self.peer)
        self.amount = (self.reference / "file").stat().st_size // 10**6

    def after(self) -> None:
        self._delete_asset()
        shutil.rmtree(self.source)


class Validate(Case):
    """A version of 10,000 files of 4 KiB."""

    title = "validate 10,000"
    action = "validate_version"
    yardstick_title = "md5sum"
    goal = 2.0

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.peer.upload(f"{self.project}/asset/1", self.session.small_files(self.peer))

    def work(self) -> None:
        self.peer.ask(self.action, project=self.project, asset="asset", version="1")

    def yardstick(self) -> None:
        md5sum(self.peer.registry / self.project / "asset/1")

    def least(self) -> list[str] | None:
        return ["hash", str(self.peer.registry / self.project / "asset/1")]


class Reindex(Validate):
    """The same, created again."""

    title = "reindex 10,000"
    action = "reindex_version"
