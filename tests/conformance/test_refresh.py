"""The actions ``refresh_latest`` and ``refresh_usage`` (protocol, section 4)."""

from __future__ import annotations

import json

import pytest

from .addresses import naming
from .checks import latest_of, unchanged, usage_of
from .service import Service, Symlink

pytestmark = pytest.mark.usefixtures("writable_registry")


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """An asset with versions 1 to 3, the second latest by its summary, and one on probation."""
    for version, day in (("1", 1), ("2", 3), ("3", 2), ("beta", 4)):
        at = f"{project}/asset/{version}"
        tree = {"f": version.encode() * day, "same": b"same", "l": Symlink("f")}
        service.upload(at, tree, on_probation=version == "beta")
        path = service.registry / at / "..summary"
        summary = {**json.loads(path.read_bytes()), "upload_finish": f"2024-01-0{day}T00:00:00Z"}
        path.write_text(json.dumps(summary))
    return f"{project}/asset"


WRONG = {
    "absent": None,
    "right": b'{"version": "2"}',
    "wrong": b'{"version": "1"}',
    "on probation": b'{"version": "beta"}',
    "not there": b'{"version": "5"}',
    "empty": b"",
    "no JSON": b"oops",
    "without a version": b"{}",
    "a list": b"[]",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_latest_is_found_again(service: Service, asset: str, content: bytes | None) -> None:
    record = service.registry / asset / "..latest"
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    answer = service.succeed("refresh_latest", naming(asset))
    assert answer == {"status": "SUCCESS", "version": "2"}
    assert service.read(f"{asset}/..latest") == {"version": "2"}


@pytest.mark.parametrize("content", [None, b'{"version": "1"}', b"oops"])
def test_latest_is_removed_where_every_version_is_on_probation(
    service: Service, project: str, content: bytes | None
) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"}, on_probation=True)
    if content is not None:
        (service.registry / project / "asset/..latest").write_bytes(content)
    assert service.succeed("refresh_latest", naming(f"{project}/asset")) == {"status": "SUCCESS"}
    assert latest_of(service, f"{project}/asset") is None


def test_latest_of_an_asset_without_versions_is_nothing(service: Service, project: str) -> None:
    permissions = {"owners": ["somebody"]}
    service.succeed("set_permissions", naming(f"{project}/asset", permissions=permissions))
    assert service.succeed("refresh_latest", naming(f"{project}/asset")) == {"status": "SUCCESS"}


def test_latest_changes_that_record_alone(service: Service, project: str, asset: str) -> None:
    before = service.snapshot(project)
    service.succeed("refresh_latest", naming(asset))
    after = service.snapshot(project)
    assert after.pop(f"{asset}/..latest") != before.pop(f"{asset}/..latest")
    assert after == before


def test_latest_goes_by_the_instant_and_not_the_text(service: Service, asset: str) -> None:
    for version, finish in (
        ("1", "2024-06-01T10:00:00+12:00"),
        ("2", "2024-06-01T09:00:00+01:00"),
        ("3", "2024-06-01T01:30:00-07:00"),
    ):
        path = service.registry / asset / version / "..summary"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "upload_finish": finish}))
    assert service.succeed("refresh_latest", naming(asset))["version"] == "3"


@pytest.mark.parametrize(
    "content",
    [None, b'{"total": 5}', b'{"total": -1}', b"", b"oops", b"{}", b'{"total": "5"}', b"[5]"],
)
def test_usage_is_counted_again(
    service: Service, project: str, asset: str, content: bytes | None
) -> None:
    record = service.registry / project / "..usage"
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    service.upload_of(f"{project}/other/1", {"unpublished": b"what is not published"})
    expected = usage_of(service, project)
    assert expected == 1 + 3 + 2 + 4 * len("beta") + len("same")
    answer = service.succeed("refresh_usage", naming(project))
    assert answer["total"] == expected
    assert service.read(f"{project}/..usage") == {"total": expected}


@pytest.mark.beyond
def test_usage_is_reported_by_two_names(service: Service, project: str, asset: str) -> None:
    expected = usage_of(service, project)
    answer = service.succeed("refresh_usage", naming(project))
    assert answer == {"status": "SUCCESS", "total": expected, "usage": expected}


def test_usage_changes_that_record_alone(service: Service, project: str, asset: str) -> None:
    with unchanged(service, project):
        service.succeed("refresh_usage", naming(project))


def test_usage_of_a_project_without_assets_is_nothing(service: Service, project: str) -> None:
    (service.registry / project / "..usage").write_bytes(b'{"total": 100}')
    assert service.succeed("refresh_usage", naming(project))["total"] == 0


def test_usage_goes_by_the_manifests(service: Service, project: str, asset: str) -> None:
    before = service.succeed("refresh_usage", naming(project))["total"]
    added = service.registry / asset / "1/by hand"
    added.write_bytes(b"12345")
    assert service.succeed("refresh_usage", naming(project))["total"] == before
    service.succeed("reindex_version", naming(f"{asset}/1"))
    assert service.succeed("refresh_usage", naming(project))["total"] == before + 5
