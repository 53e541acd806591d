"""The action ``delete_version`` (protocol, section 4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .addresses import naming
from .checks import check_usage, check_valid, latest_of, set_dates, unchanged
from .service import Service


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """An asset with versions 1, 2, 3 and one on probation, none linked to another."""
    for version in ("1", "2", "3"):
        service.upload(f"{project}/asset/{version}", {"f": version.encode() * int(version)})
    service.upload(f"{project}/asset/beta", {"b": b"beta"}, on_probation=True)
    return f"{project}/asset"


def delete_version(asset: str, version: str, *, latest: bool) -> dict[str, object]:
    """What the log says of a version that was deleted."""
    return {**naming(f"{asset}/{version}"), "type": "delete-version", "latest": latest}


@pytest.mark.parametrize("force", [None, False, True])
def test_the_version_is_gone(
    service: Service, project: str, asset: str, force: bool | None
) -> None:
    set_dates(service, asset, "1", "2", "3")
    before = service.snapshot(project)
    answer = service.succeed("delete_version", naming(f"{asset}/2", force=force))
    assert answer == {"status": "SUCCESS"}
    after = service.snapshot(project)
    assert set(before) - set(after) == {
        path for path in before if f"{path}/".startswith(f"{asset}/2/")
    }
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {f"{project}/..usage", "..logs"}
    check_usage(service, project)


@pytest.mark.parametrize(("version", "left"), [("1", 9), ("2", 8), ("3", 7), ("beta", 6)])
def test_usage_goes_down(
    service: Service, project: str, asset: str, version: str, left: int
) -> None:
    service.succeed("delete_version", naming(f"{asset}/{version}"))
    assert service.read(f"{project}/..usage") == {"total": left}


@pytest.mark.parametrize(("version", "was_latest"), [("1", False), ("2", False), ("3", True)])
def test_it_is_logged(
    service: Service, project: str, asset: str, version: str, was_latest: bool
) -> None:
    before = service.logs(project)
    service.succeed("delete_version", naming(f"{asset}/{version}"))
    entries = service.logs(project)
    assert len(entries) == len(before) + 1
    assert delete_version(asset, version, latest=was_latest) in entries


def test_nothing_is_logged_of_a_version_on_probation(
    service: Service, project: str, asset: str
) -> None:
    before = service.logs(project)
    service.succeed("delete_version", naming(f"{asset}/beta"))
    assert service.logs(project) == before
    assert latest_of(service, asset) == "3"


def test_without_the_latest_the_one_before_it_is_latest(service: Service, asset: str) -> None:
    set_dates(service, asset, "1", "2", "3")
    for version, latest in (("3", "2"), ("2", "1"), ("1", None)):
        service.succeed("delete_version", naming(f"{asset}/{version}"))
        assert latest_of(service, asset) == latest


@pytest.mark.beyond
def test_that_holds_within_one_second_too(service: Service, project: str) -> None:
    order = ["b", "a", "d", "c"]
    for version in order:
        service.upload(f"{project}/asset/{version}", {"f": version.encode()})
    while order:
        assert latest_of(service, f"{project}/asset") == order[-1]
        service.succeed("delete_version", naming(f"{project}/asset/{order.pop()}"))
    assert latest_of(service, f"{project}/asset") is None


def test_without_the_last_final_version_none_is_latest(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"})
    service.upload(f"{project}/asset/beta", {"b": b"b"}, on_probation=True)
    service.succeed("delete_version", naming(f"{project}/asset/1"))
    assert latest_of(service, f"{project}/asset") is None


def test_its_name_is_free_again(service: Service, project: str, asset: str) -> None:
    set_dates(service, asset, "1", "2", "3")
    service.succeed("delete_version", naming(f"{asset}/2"))
    manifest = service.upload(f"{asset}/2", {"new": b"new", "f": b"333"})
    assert manifest["f"]["link"]["version"] == "3"
    assert latest_of(service, asset) == "2"
    check_usage(service, project)
    check_valid(service, project)


def test_one_that_went_already_is_a_success_that_is_not_logged(
    service: Service, project: str, asset: str
) -> None:
    service.succeed("delete_version", naming(f"{asset}/2"))
    with unchanged(service, project):
        service.succeed("delete_version", naming(f"{asset}/2"))
        service.succeed("delete_version", naming(f"{asset}/2", force=True))


@pytest.mark.usefixtures("writable_registry")
@pytest.mark.parametrize("content", [b"", b'{"a": ', b'{"f": 5, "upload_user_id": 5}'])
@pytest.mark.parametrize("record", ["..manifest", "..summary"])
class TestARecordThatCanNotBeRead:
    @pytest.fixture(autouse=True)
    def _spoil(self, service: Service, asset: str, record: str, content: bytes) -> None:
        (service.registry / asset / "3" / record).write_bytes(content)

    @pytest.mark.parametrize("force", [None, False])
    def test_is_in_the_way(self, service: Service, asset: str, force: bool | None) -> None:
        service.refuse("delete_version", naming(f"{asset}/3", force=force))

    def test_is_no_obstacle_with_force(self, service: Service, asset: str) -> None:
        service.succeed("delete_version", naming(f"{asset}/3", force=True))
        assert not (service.registry / asset / "3").exists()

    @pytest.mark.beyond
    def test_leaves_the_right_usage_and_latest_with_force(
        self, service: Service, project: str, asset: str
    ) -> None:
        service.succeed("delete_version", naming(f"{asset}/3", force=True))
        check_usage(service, project)
        assert latest_of(service, asset) == "2"


@pytest.mark.beyond
@pytest.mark.parametrize("record", ["..usage", "asset/..latest"])
def test_force_puts_a_damaged_record_right(
    service: Service, project: str, asset: str, writable_registry: Path, record: str
) -> None:
    (writable_registry / project / record).write_bytes(b"oops")
    service.refuse("delete_version", naming(f"{asset}/3"), record)
    service.succeed("delete_version", naming(f"{asset}/3", force=True))
    check_usage(service, project)
    assert latest_of(service, asset) == "2"
