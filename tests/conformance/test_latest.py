"""Which version is the latest (protocol, section 2; section 9, number 5)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .addresses import naming, project_of
from .checks import latest_of, set_finish
from .service import Service


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(project: str) -> str:
    """The address of an asset that does not exist yet."""
    return f"{project}/asset"


def put(service: Service, asset: str, version: str, *, on_probation: bool = False) -> None:
    service.upload(f"{asset}/{version}", {"f": version.encode()}, on_probation=on_probation)


def test_what_ended_probation_counts_from_its_upload(service: Service, asset: str) -> None:
    put(service, asset, "beta", on_probation=True)
    time.sleep(1.1)  # so that the two finish in different seconds
    put(service, asset, "1")
    service.succeed("approve_probation", naming(f"{asset}/beta"))
    assert latest_of(service, asset) == "1"


@pytest.mark.beyond
class TestWithinOneSecond:
    """Uploads here take some milliseconds, so most of these finish in the same second."""

    @pytest.mark.parametrize("order", ["ab", "ba", "abc", "cba", "bac", "cab"])
    def test_the_one_published_last_is_latest(
        self, service: Service, asset: str, order: str
    ) -> None:
        for version in order:
            put(service, asset, version)
            assert latest_of(service, asset) == version
        assert service.succeed("refresh_latest", naming(asset))["version"] == order[-1]

    @pytest.mark.parametrize(("early", "late"), ["ab", "ba"])
    def test_approving_an_earlier_one_does_not_take_it_from_a_later_one(
        self, service: Service, asset: str, early: str, late: str
    ) -> None:
        put(service, asset, early, on_probation=True)
        put(service, asset, late)
        service.succeed("approve_probation", naming(f"{asset}/{early}"))
        assert latest_of(service, asset) == late
        last = [entry for entry in service.logs(project_of(asset)) if entry["version"] == early]
        assert [entry["latest"] for entry in last] == [False]
        assert service.succeed("refresh_latest", naming(asset))["version"] == late

    @pytest.mark.parametrize(("early", "late"), ["ab", "ba"])
    def test_approving_a_later_one_takes_it(
        self, service: Service, asset: str, early: str, late: str
    ) -> None:
        put(service, asset, early)
        put(service, asset, late, on_probation=True)
        service.succeed("approve_probation", naming(f"{asset}/{late}"))
        assert latest_of(service, asset) == late
        assert service.succeed("refresh_latest", naming(asset))["version"] == late

    def test_two_approved_ones_keep_the_order_of_their_uploads(
        self, service: Service, asset: str
    ) -> None:
        for version in ("b", "a"):
            put(service, asset, version, on_probation=True)
        for version in ("a", "b"):
            service.succeed("approve_probation", naming(f"{asset}/{version}"))
            assert latest_of(service, asset) == "a"

    def test_reindexing_an_earlier_one_does_not_make_it_latest(
        self, service: Service, asset: str
    ) -> None:
        for version in ("b", "a"):
            put(service, asset, version)
        service.succeed("reindex_version", naming(f"{asset}/b"))
        assert latest_of(service, asset) == "a"
        assert service.succeed("refresh_latest", naming(asset))["version"] == "a"


FUTURE, PAST = "2099-01-01T00:00:00Z", "2000-01-01T00:00:00Z"


class TestWhateverTheClocksSay:
    """``..latest`` follows the order of publication; recomputing it goes by the clocks."""

    @pytest.mark.parametrize("present", [FUTURE, PAST, "no time"])
    def test_a_new_version_is_the_latest(
        self, service: Service, asset: str, writable_registry: Path, present: str
    ) -> None:
        put(service, asset, "old")
        set_finish(service, f"{asset}/old", present)
        put(service, asset, "new")
        assert latest_of(service, asset) == "new"
        put(service, asset, "newer")
        assert latest_of(service, asset) == "newer"
        assert [
            entry["latest"]
            for entry in service.logs(project_of(asset))
            if entry["version"] in ("new", "newer")
        ] == [True, True]

    @pytest.mark.beyond
    @pytest.mark.parametrize("gone", ["..summary", "..manifest"])
    def test_a_new_version_is_the_latest_when_a_record_is_gone(
        self, service: Service, asset: str, writable_registry: Path, gone: str
    ) -> None:
        put(service, asset, "old")
        os.unlink(writable_registry / asset / "old" / gone)
        put(service, asset, "new")
        assert latest_of(service, asset) == "new"

    def test_recomputing_takes_the_greatest_time(
        self, service: Service, asset: str, writable_registry: Path
    ) -> None:
        for version in ("1", "2", "3"):
            put(service, asset, version)
        set_finish(service, f"{asset}/1", FUTURE)
        put(service, asset, "4")
        assert service.succeed("refresh_latest", naming(asset))["version"] == "1"
        assert latest_of(service, asset) == "1"

    @pytest.mark.beyond
    def test_one_that_is_approved_is_not_behind_the_future(
        self, service: Service, asset: str, writable_registry: Path
    ) -> None:
        put(service, asset, "1")
        put(service, asset, "beta", on_probation=True)
        set_finish(service, f"{asset}/1", FUTURE)
        service.succeed("approve_probation", naming(f"{asset}/beta"))
        assert latest_of(service, asset) == "beta"

    def test_one_that_is_approved_is_behind_a_later_one(
        self, service: Service, asset: str, writable_registry: Path
    ) -> None:
        put(service, asset, "1")
        put(service, asset, "beta", on_probation=True)
        set_finish(service, f"{asset}/beta", PAST)
        service.succeed("approve_probation", naming(f"{asset}/beta"))
        assert latest_of(service, asset) == "1"


def test_a_version_on_probation_never_is(service: Service, asset: str) -> None:
    put(service, asset, "beta", on_probation=True)
    service.succeed("reindex_version", naming(f"{asset}/beta"))
    service.succeed("validate_version", naming(f"{asset}/beta"))
    assert latest_of(service, asset) is None
    assert "version" not in service.succeed("refresh_latest", naming(asset))
