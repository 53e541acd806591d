"""What is removed by itself: old staging files and logs, expired probation (protocol, section 8;
section 9, number 17)."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .addresses import project_of
from .checks import check_usage, check_valid, latest_of
from .conftest import OwnService
from .launch import PATIENCE, Process, new_directories
from .service import Service, Symlink, build

pytestmark = pytest.mark.beyond

DAY = 86_400.0


@pytest.fixture
def stopped(own: OwnService, tmp_path: Path) -> Iterator[Service]:
    """Staging and registry of a service that is not running."""
    client = Service("", *new_directories(tmp_path / "own"))
    (client.registry / "..logs").mkdir()
    yield client
    client.close()


def age(place: Path, days: float) -> None:
    """Let ``place`` and everything below it be as old as that."""
    moment = time.time() - days * DAY
    for path in [place, *place.rglob("*")]:
        os.utime(path, (moment, moment), follow_symlinks=False)


def touch(place: Path, days: float) -> None:
    moment = time.time() - days * DAY
    os.utime(place, (moment, moment))


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def run_until(
    client: Service,
    done: Callable[[], bool],
    *flags: str,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Run the service until ``done``, and a round of housekeeping is over; ``then`` use it."""
    marker = client.registry / "..logs" / "2000-01-01T00:00:00Z_000000"
    marker.write_text('{"type": "delete-project", "project": "marker"}')
    age(marker, 1000)
    with Process(client.staging, client.registry, flags=flags) as process:
        await_that(lambda: done() and not marker.exists())
        client.url = process.url
        then()


class TestStaging:
    """What goes is tested in tests/unit/test_staging_cleanup.py: nobody can set a change time."""

    @pytest.mark.parametrize("days", [0, 6.9, 8, 100])
    def test_keeps_fresh_copies_of_old_files(self, stopped: Service, days: float) -> None:
        staging = stopped.staging
        (staging / "request-upload-new").write_text("{}")
        build(staging / "source", {"a": b"a", "d/e": None})
        for path in staging.iterdir():
            age(path, days)
        run_until(stopped, lambda: True)
        assert (staging / "request-upload-new").exists()
        assert (staging / "source/a").read_bytes() == b"a"


def test_logs_older_than_seven_days_go(stopped: Service) -> None:
    logs = stopped.registry / "..logs"
    kept, gone = {}, []
    for days in (0, 1, 6.9, 7.1, 8, 400):
        path = logs / f"2024-01-01T00:00:00+01:00_{int(days * 10):06}"
        path.write_text(json.dumps({"type": "delete-project", "project": str(days)}))
        age(path, days)
        if days < 7:
            kept[path] = path.read_text()
        else:
            gone.append(path)
    run_until(stopped, lambda: not any(path.exists() for path in gone))
    assert {path: path.read_text() for path in logs.iterdir()} == kept


class Prepared(NamedTuple):
    """A registry that no service uses, and an asset in it."""

    registry: Path
    asset: str


@pytest.fixture(scope="module")
def prepared(own: OwnService, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """An asset with versions final or on probation, each some days old; to be copied."""
    client = Service("", *new_directories(tmp_path_factory.mktemp("prepared")))
    with Process(client.staging, client.registry) as process:
        client.url = process.url
        asset = f"{client.new_project()}/asset"
        for version in ("final-10", "beta-10", "beta-3", "beta-1"):
            tree = {"f": version.encode(), "same": b"same", "l": Symlink("f")}
            on_probation = version.startswith("beta")
            client.upload(f"{asset}/{version}", tree, on_probation=on_probation)
    client.close()
    for version in ("final-10", "beta-10", "beta-3", "beta-1"):
        finish = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=int(version.split("-")[1]))
        path = client.registry / asset / version / "..summary"
        summary = {
            **json.loads(path.read_bytes()),
            "upload_finish": finish.isoformat("T", "seconds"),
        }
        path.write_text(json.dumps(summary))
    return Prepared(client.registry, asset)


class TestProbation:
    @pytest.fixture
    def asset(self, stopped: Service, prepared: Prepared) -> str:
        shutil.copytree(prepared.registry, stopped.registry, symlinks=True, dirs_exist_ok=True)
        return prepared.asset

    def versions(self, client: Service, asset: str) -> set[str]:
        names = (path.name for path in (client.registry / asset).iterdir())
        return {name for name in names if not name.startswith("..")}

    @pytest.mark.parametrize(
        ("days", "left"),
        [
            (2, {"final-10", "beta-1"}),
            (5, {"final-10", "beta-1", "beta-3"}),
            (0, {"final-10"}),
        ],
    )
    def test_ends_by_removing_the_version(
        self, stopped: Service, asset: str, days: int, left: set[str]
    ) -> None:
        project = project_of(asset)
        before = stopped.logs(project)
        run_until(
            stopped,
            lambda: self.versions(stopped, asset) == left,
            f"--probation={days}",
            then=lambda: check_valid(stopped, project),
        )
        assert stopped.logs(project) == before
        assert latest_of(stopped, asset) == "final-10"
        check_usage(stopped, project)

    @pytest.mark.parametrize("flags", [(), ("--probation=-1",), ("--probation=30",)])
    def test_goes_on_while_it_may(
        self, stopped: Service, asset: str, flags: tuple[str, ...]
    ) -> None:
        run_until(stopped, lambda: True, *flags)
        assert self.versions(stopped, asset) == {"final-10", "beta-10", "beta-3", "beta-1"}

    def test_of_one_whose_summary_is_damaged_holds_up_nobody(
        self, stopped: Service, asset: str
    ) -> None:
        (stopped.registry / asset / "beta-10/..summary").write_bytes(b"oops")
        left = {"final-10", "beta-1", "beta-10"}
        run_until(stopped, lambda: self.versions(stopped, asset) == left, "--probation=2")
