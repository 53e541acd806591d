"""Reading over HTTP, with load generators that take next to no time themselves."""

from __future__ import annotations

import subprocess
from typing import ClassVar

from bench import data
from bench.cases.base import Case, run


def get(url: str) -> None:
    """Read all of ``url``, and throw it away."""
    run("curl", "-s", "-f", "-o", "/dev/null", url)


class ListFiles(Case):
    """``/list`` of a version of 10,000 files, recursive."""

    title = "recursive list of 10,000"
    goal = 2.0
    unit = "entries"
    yardstick_title = "find"
    needs = "curl"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.address = f"{self.project}/asset/1"
        self.peer.upload(self.address, self.session.small_files(self.peer))

    def work(self) -> None:
        get(f"{self.peer.url}/list?path={self.address}&recursive=true")

    def yardstick(self) -> None:
        run("find", self.peer.registry / self.address)


class FetchSmall(Case):
    """``/fetch`` of a file of 4 KiB, over and over, over 16 connections."""

    title = "GET of 4 KiB, 16 connections"
    goal = 1.1
    unit = "GETs"
    needs = "h2load"  # of Debian's nghttp2-client

    def prepare(self) -> None:
        self.amount = self.scaled(50_000)
        source = data.small_files(self.staged(), 1, 4096)
        self.peer.upload(f"{self.project}/asset/1", source)
        self.url = f"{self.peer.url}/fetch/{self.project}/asset/1/d0/f0"

    def work(self) -> None:
        words = ["h2load", "--h1", "-t1", "-c16", f"-n{self.amount}", self.url]
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert f"{self.amount} succeeded" in told, told


class FetchLarge(Case):
    """``/fetch`` of one file of 1 GiB."""

    title = "GET of 1 GiB"
    goal: ClassVar[float | None] = 1.0
    unit = "MB"
    yardstick_title = "cat"
    needs = "curl"

    def prepare(self) -> None:
        source = self.session.large_file(self.peer)
        self.amount = (source / "file").stat().st_size // 10**6
        self.peer.upload(f"{self.project}/asset/1", source)

    def work(self) -> None:
        get(f"{self.peer.url}/fetch/{self.project}/asset/1/file")

    def yardstick(self) -> None:
        run("sh", "-c", f"cat '{self.peer.registry}/{self.project}/asset/1/file' | cat")


class ArchiveLarge(FetchLarge):
    """The same file in an archive."""

    title = "/archive of 1 GiB"
    goal = None
    yardstick_title = "tar"

    def work(self) -> None:
        get(f"{self.peer.url}/archive/{self.project}/asset/1.tar")

    def yardstick(self) -> None:
        run("sh", "-c", f"tar c -C '{self.peer.registry}' {self.project}/asset/1 | cat")


class ArchiveSmall(ArchiveLarge):
    """An archive of 10,000 files of 4 KiB."""

    title = "/archive of 10,000 files of 4 KiB"
    unit = "files"

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.peer.upload(f"{self.project}/asset/1", self.session.small_files(self.peer))
