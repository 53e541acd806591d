"""What goes on for long."""

from __future__ import annotations

import itertools
import threading
import time

from bench import data
from bench.cases.base import Case, numbers, seconds


class DuringAnUpload(Case):
    """``create_project`` and ``set_permissions`` while 1 GiB is uploaded: the longest."""

    title = "set_permissions during a long upload (longest)"
    unit = "requests"
    amount = 1

    def prepare(self) -> None:
        self.source = data.one_file(self.staged(), self.scaled(2048) << 20)

    def before(self) -> None:
        self.version = str(next(numbers))
        address = f"{self.project}/asset/{self.version}"
        self.upload = threading.Thread(target=self.peer.again().upload, args=(address, self.source))
        self.upload.start()
        time.sleep(0.3)
        self.longest = 0.0
        while self.upload.is_alive():
            self.longest = max(self.longest, seconds(self._set), seconds(self._create))
            self.peer.remove(self.made)  # a deletion is not measured here
            time.sleep(0.05)
        self.upload.join()

    def _set(self) -> None:
        self.peer.ask(
            "set_permissions", project=self.project, permissions={"uploaders": [{"id": "nobody"}]}
        )

    def _create(self) -> None:
        self.made = self.peer.project()

    def work(self) -> None:
        time.sleep(self.longest)

    def after(self) -> None:
        self.peer.ask("delete_asset", project=self.project, asset="asset")


class Million(Case):
    """A million files of 100 bytes in 1,000 directories, as a job whose progress is read."""

    title = "first upload, 1,000,000 files of 100 bytes"
    by_name = True

    def prepare(self) -> None:
        self.amount = self.scaled(1_000_000)
        self.source = data.small_files(self.staged(), self.amount, 100)

    def work(self) -> None:
        address = f"{self.project}/asset/1"
        seen = [(time.monotonic(), 0)]
        for state in self.peer.follow("upload", address, self.source):
            if state != seen[-1][1]:
                seen.append((time.monotonic(), state))
        stops = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(seen)]
        self.found["longest time without progress"] = max(stops)


class RerouteInMany(Case):
    """One version that one other links to, in a registry of 10,000 versions."""

    title = "reroute of one version among 10,000"
    unit = "versions"
    by_name = True

    def prepare(self) -> None:
        self.amount = self.scaled(10_000)
        self.source = data.small_files(self.staged(), 3, 64)
        self.assets = [f"asset-{next(numbers)}" for _ in range(self.amount // 2)]
        waiting = iter(self.assets)
        guard = threading.Lock()

        def many() -> None:
            peer = self.peer.again()
            while True:
                with guard:
                    asset = next(waiting, None)
                if asset is None:
                    return
                for version in "12":
                    peer.upload(f"{self.project}/{asset}/{version}", self.source)

        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._reroute(self.assets.pop())  # an index is warm now

    def work(self) -> None:
        self._reroute(self.assets.pop())

    def _reroute(self, asset: str) -> None:
        doomed = {"project": self.project, "asset": asset, "version": "1"}
        changes = self.peer.ask("reroute_links", to_delete=[doomed])["changes"]
        assert isinstance(changes, list)
        assert len(changes) == 3
