"""Requests that change little, one after the other and many at a time; links."""

from __future__ import annotations

import threading

from bench import data
from bench.cases.base import Case, numbers
from bench.peers import Peer


class SmallRequests(Case):
    """Requests that do next to nothing (``health_check``), one after the other."""

    title = "small requests, one after the other"
    unit = "requests"
    clients = 1

    def prepare(self) -> None:
        self.amount = self.scaled(1_000)

    def work(self) -> None:
        each = self.amount // self.clients
        threads = [
            threading.Thread(target=self._many, args=(each, client))
            for client in range(self.clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _many(self, requests: int, client: int) -> None:
        peer = self.peer.again()
        for _ in range(requests):
            self.one(peer, client)

    def one(self, peer: Peer, client: int) -> None:
        """One request, of one of the clients."""
        del client
        peer.ask("health_check")


class RefreshLatest(SmallRequests):
    """``refresh_latest`` of an asset with one version, which changes nothing."""

    title = "300 small requests (`refresh_latest`), one after the other"
    goal = 1.2

    def prepare(self) -> None:
        self.amount = self.scaled(300)
        source = data.small_files(self.staged(), 1, 100)
        self.peer.upload(f"{self.project}/asset/1", source)

    def one(self, peer: Peer, client: int) -> None:
        del client
        peer.ask("refresh_latest", project=self.project, asset="asset")


class SmallRequestsFromMany(SmallRequests):
    """The same from 16 clients at a time."""

    title = "small requests from 16 clients"
    clients = 16


class SmallChanges(SmallRequests):
    """Permissions of as many projects as there are clients, by one client."""

    title = "set_permissions, one after the other"

    def prepare(self) -> None:
        self.amount = self.scaled(500)
        self.projects = [self.peer.project() for _ in range(self.clients)]

    def one(self, peer: Peer, client: int) -> None:
        permissions = {"uploaders": [{"id": "nobody"}]}
        peer.ask("set_permissions", project=self.projects[client], permissions=permissions)


class SmallChangesFromMany(SmallChanges):
    """The same by 16 clients at a time, each of a project of its own."""

    title = "set_permissions from 16 clients"
    clients = 16


class NewProjects(SmallRequests):
    """New projects, by one client."""

    title = "create_project, one after the other"

    def prepare(self) -> None:
        self.amount = self.scaled(320)

    def one(self, peer: Peer, client: int) -> None:
        del client
        peer.project()


class NewProjectsFromMany(NewProjects):
    """The same by 16 clients at a time."""

    title = "create_project from 16 clients"
    clients = 16


class Publications(SmallRequests):
    """Versions of one small file, from 16 clients into one asset."""

    title = "small versions from 16 clients into one asset"
    unit = "versions"
    clients = 16

    def prepare(self) -> None:
        self.amount = self.scaled(480)
        self.source = data.small_files(self.staged(), 1, 100)

    def one(self, peer: Peer, client: int) -> None:
        del client
        peer.upload(f"{self.project}/asset/{next(numbers)}", self.source)


class Reroute(Case):
    """The root of a chain of three versions of 10,000 files is to be deleted."""

    title = "reroute, 10,000-file root of a chain"
    unit = "links"

    def prepare(self) -> None:
        files = self.scaled(10_000)
        self.amount = 2 * files
        self.source = data.small_files(self.staged(), files, 64)

    def before(self) -> None:
        self.asset = f"asset-{next(numbers)}"
        for version in "123":
            self.peer.upload(f"{self.project}/{self.asset}/{version}", self.source)

    def work(self) -> None:
        doomed = {"project": self.project, "asset": self.asset, "version": "1"}
        changes = self.peer.ask("reroute_links", to_delete=[doomed])["changes"]
        assert isinstance(changes, list)
        assert len(changes) == self.amount


class RerouteChain(Case):
    """The root of a chain of 1,000 versions of 3 files is to be deleted."""

    title = "reroute, chain of 1,000 versions"
    unit = "versions"

    def prepare(self) -> None:
        self.amount = self.scaled(1_000)
        self.source = data.small_files(self.staged(), 3, 64)

    def before(self) -> None:
        self.asset = f"asset-{next(numbers)}"
        for version in range(self.amount):
            self.peer.upload(f"{self.project}/{self.asset}/{version}", self.source)

    def work(self) -> None:
        doomed = {"project": self.project, "asset": self.asset, "version": "0"}
        self.peer.ask("reroute_links", to_delete=[doomed])


class DeleteVersion(Case):
    """A version of 10,000 files of 4 KiB, that no other links to."""

    title = "delete a version of 10,000 files"
    goal = 2.0

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = self.session.small_files(self.peer)

    def before(self) -> None:
        self.asset = f"asset-{next(numbers)}"
        self.peer.upload(f"{self.project}/{self.asset}/1", self.source)

    def work(self) -> None:
        self.peer.ask("delete_version", project=self.project, asset=self.asset, version="1")


class RefreshUsage(Case):
    """``refresh_usage`` of a project of five versions of 10,000 files, four of them of links."""

    title = "refresh_usage"
    unit = "entries"
    goal = 2.0

    def prepare(self) -> None:
        source = self.session.small_files(self.peer)
        self.amount = 5 * self.scaled(10_000)
        for version in "12345":
            self.peer.upload(f"{self.project}/asset/{version}", source)

    def work(self) -> None:
        self.peer.ask("refresh_usage", project=self.project)
