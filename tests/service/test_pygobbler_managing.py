"""Permissions, review, removal and repair with pygobbler, against the real service."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

import pygobbler as pyg
from gobbler.client import Client, RequestFailed
from gobbler.client.handle import names_of
from gobbler.client.testing import TestService
from gobbler.errors import Forbidden, Missing

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")

UNTIL = "2999-01-01T00:00:00Z"


@pytest.fixture
def to(service: TestService) -> dict[str, str]:
    """The arguments of the calls that change something."""
    return {"staging": service.staging, "url": service.url}


@pytest.fixture
def at(service: TestService) -> dict[str, str]:
    """The arguments of the calls that read."""
    return {"registry": service.registry, "url": service.url}


@pytest.fixture
def published(project: str, source: Path, to) -> str:
    """A project with the asset ``a`` in the versions 1 to 3; 2 and 3 are links to 1."""
    for version in "123":
        pyg.upload_directory(project, "a", version, str(source), **to)
    return project


@pytest.fixture
def powerless(service: TestService):
    """A second service for the same directories, without an administrator."""
    running = TestService(service.staging, service.registry, admin=[])
    yield running
    running.stop()


def test_permissions_of_a_project(project, to, at, service):
    def stored():
        return pyg.fetch_permissions(project, **at)

    owner = stored()["owners"][0]
    where = {**to, "registry": service.registry}
    alan = {"id": "alan", "until": UNTIL}
    pyg.set_permissions(project, owners=["ada", owner], uploaders=[alan], **where)
    assert stored() == {"owners": [owner, "ada"], "uploaders": [alan]}
    pyg.set_permissions(project, uploaders=[{"id": "bob", "trusted": True}], **where)
    assert [uploader["id"] for uploader in stored()["uploaders"]] == ["alan", "bob"]
    pyg.set_permissions(project, uploaders=[], append=False, global_write=True, **where)
    assert stored() == {"owners": [owner, "ada"], "uploaders": [], "global_write": True}
    would = pyg.set_permissions(project, owners=["grace"], dry_run=True, **where)
    assert would == {"owners": [owner, "ada", "grace"]}
    assert stored()["owners"] == [owner, "ada"]
    # As release 0.1.1 was called.
    pyg.set_permissions(project, service.registry, *to.values(), [owner], [alan], False, False)
    assert stored() == {"owners": [owner], "uploaders": [alan], "global_write": False}


def test_permissions_of_an_asset(project, to, at, service):
    where = {**to, "registry": service.registry, "asset": "a"}
    pyg.set_permissions(project, owners=["ada"], **where)
    pyg.set_permissions(project, owners=["grace"], uploaders=[{"id": "alan"}], **where)
    assert pyg.fetch_permissions(project, asset="a", **at) == {
        "owners": ["ada", "grace"],
        "uploaders": [{"id": "alan"}],
    }
    assert "ada" not in pyg.fetch_permissions(project, **at)["owners"]


def test_permissions_that_are_refused(project, to, at, service):
    where = {**to, "registry": service.registry}
    before = pyg.fetch_permissions(project, **at)
    for uploader in ({"asset": "a"}, {"id": "alan", "until": "tomorrow"}):
        with pytest.raises(requests.HTTPError, match=r"uploaders\[0\]"):
            pyg.set_permissions(project, uploaders=[uploader], **where)
    with pytest.raises(Missing, match="no-such"):
        pyg.set_permissions("no-such", owners=["ada"], **where)
    assert pyg.fetch_permissions(project, **at) == before


def test_probation(project, source, to, at):
    for version in ("good", "bad"):
        pyg.upload_directory(project, "a", version, str(source), probation=True, **to)
    assert pyg.fetch_latest(project, "a", **at) is None
    pyg.approve_probation(project, "a", "good", **to)
    assert "on_probation" not in pyg.fetch_summary(project, "a", "good", **at)
    assert pyg.fetch_latest(project, "a", **at) == "good"
    pyg.reject_probation(project, "a", "bad", **to)
    assert pyg.list_versions(project, "a", **at) == ["good"]
    with pytest.raises(requests.HTTPError, match="not on probation"):
        pyg.reject_probation(project, "a", "good", force=True, **to)
    with pytest.raises(requests.HTTPError, match="bad"):
        pyg.approve_probation(project, "a", "bad", **to)
    with pytest.raises(Forbidden, match="act for"):
        pyg.approve_probation(project, "a", "good", spoof="somebody", **to)


def test_rejecting_what_is_damaged(project, source, to, service):
    pyg.upload_directory(project, "a", "1", str(source), probation=True, **to)
    version = Path(service.registry, project, "a", "1")
    (version / "..manifest").write_text("{")
    with pytest.raises(requests.HTTPError, match="manifest"):
        pyg.reject_probation(project, "a", "1", **to)
    pyg.reject_probation(project, "a", "1", force=True, **to)
    assert not version.exists()


def test_removal(published, to, at):
    pyg.remove_version(published, "a", "3", **to)
    assert pyg.list_versions(published, "a", **at) == ["1", "2"]
    assert pyg.fetch_latest(published, "a", **at) == "2"
    pyg.remove_asset(published, "a", **to)
    assert pyg.list_assets(published, **at) == []
    assert pyg.fetch_usage(published, **at) == 0
    pyg.remove_project(published, **to)
    assert published not in pyg.list_projects(**at)
    # What is not there is a success.
    pyg.remove_version(published, "a", "3", **to)
    pyg.remove_asset(published, "a", **to)
    pyg.remove_project(published, **to)


def test_removing_what_is_damaged(published, to, service):
    Path(service.registry, published, "a", "3", "..summary").write_text("{")
    with pytest.raises(requests.HTTPError, match="summary"):
        pyg.remove_version(published, "a", "3", **to)
    pyg.remove_version(published, "a", "3", force=True, **to)
    Path(service.registry, published, "a", "2", "..manifest").write_text("{")
    with pytest.raises(requests.HTTPError, match="manifest"):
        pyg.remove_asset(published, "a", **to)
    pyg.remove_asset(published, "a", force=True, **to)
    assert not Path(service.registry, published, "a").exists()


def test_refreshing(published, to, at, service):
    Path(service.registry, published, "a", "..latest").unlink()
    assert pyg.refresh_latest(published, "a", **to) == "3"
    assert pyg.fetch_latest(published, "a", **at) == "3"
    Path(service.registry, published, "..usage").write_text("{")
    assert pyg.refresh_usage(published, **to) == 19
    assert pyg.fetch_usage(published, **at) == 19
    for version in "123":
        pyg.remove_version(published, "a", version, **to)
    assert pyg.refresh_latest(published, "a", **to) is None


def test_validating_and_reindexing(published, to, at, service):
    version = Path(service.registry, published, "a", "1")
    pyg.validate_version(published, "a", "1", **to)
    (version / "more").write_text("more")
    (version / "whee2").write_text("shorter")
    with pytest.raises(requests.HTTPError, match="extra file") as caught:
        pyg.validate_version(published, "a", "1", **to)
    assert isinstance(caught.value, RequestFailed)
    assert len(caught.value.problems) == 2
    assert all(any(name in each for each in caught.value.problems) for name in ("more", "whee2"))
    pyg.reindex_version(published, "a", "1", **to)
    pyg.validate_version(published, "a", "1", **to)
    assert pyg.fetch_manifest(published, "a", "1", **at)["more"]["size"] == 4
    with pytest.raises(requests.HTTPError, match="missing-one"):
        pyg.reindex_version(published, "a", "missing-one", **to)


def test_rerouting(published, to, at, service):
    going = [{"project": published, "asset": "a", "version": "1"}]
    second = Path(service.registry, published, "a", "2", "foo")
    planned = pyg.reroute_links(going, dry_run=True, **to)
    assert planned[0] == {
        "path": f"{published}/a/2/foo",
        "copy": True,
        "source": f"{published}/a/1/foo",
        "usage": 3,
    }
    assert [change["copy"] for change in planned] == [True] * 3 + [False] * 3
    assert second.is_symlink()
    assert pyg.reroute_links(going, **to) == planned
    assert not second.is_symlink()
    assert pyg.reroute_links(going, **to) == []
    pyg.remove_version(published, "a", "1", **to)
    for version in "23":
        pyg.validate_version(published, "a", version, **to)
    assert pyg.fetch_usage(published, **at) == 19
    with pytest.raises(requests.HTTPError, match="does not exist"):
        pyg.reroute_links(going, **to)


def test_what_only_administrators_may(published, powerless):
    to = {"staging": powerless.staging, "url": powerless.url}
    for call in (
        lambda: pyg.remove_project(published, **to),
        lambda: pyg.remove_asset(published, "a", force=True, **to),
        lambda: pyg.remove_version(published, "a", "1", **to),
        lambda: pyg.refresh_latest(published, "a", **to),
        lambda: pyg.refresh_usage(published, **to),
        lambda: pyg.reindex_version(published, "a", "1", **to),
        lambda: pyg.validate_version(published, "a", "1", **to),
        lambda: pyg.reroute_links([{"project": published}], dry_run=True, **to),
    ):
        with pytest.raises(requests.HTTPError, match="only administrators may") as caught:
            call()
        assert isinstance(caught.value, Forbidden)
    client = Client(powerless.url)
    assert names_of(client.asset(published, "a").versions()) == ["1", "2", "3"]
