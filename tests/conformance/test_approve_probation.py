"""The action ``approve_probation`` (protocol, section 4)."""

from __future__ import annotations

import pytest

from .addresses import naming
from .checks import check_usage, check_valid, latest_of, set_finish
from .service import Service, Symlink, link, linked


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def beta(service: Service, project: str) -> str:
    """A version on probation, the only one of its asset."""
    service.upload(f"{project}/asset/beta", {"a": b"a", "d/b": b"bb"}, on_probation=True)
    return f"{project}/asset/beta"


def add_version(project: str, version: str, *, latest: bool) -> dict[str, object]:
    """What the log says of a new version of ``asset``."""
    names = {"project": project, "asset": "asset", "version": version}
    return {"type": "add-version", **names, "latest": latest}


def test_the_version_is_not_on_probation_any_more(service: Service, beta: str) -> None:
    before = service.read(f"{beta}/..summary")
    answer = service.succeed("approve_probation", naming(beta))
    assert answer == {"status": "SUCCESS"}
    assert before.pop("on_probation") is True
    assert service.read(f"{beta}/..summary") == before


def test_nothing_else_of_the_version_changes(service: Service, project: str, beta: str) -> None:
    before = service.snapshot(project)
    service.succeed("approve_probation", naming(beta))
    after = service.snapshot(project)
    changed = {path for path in after if after[path] != before.get(path)} - {"..logs"}
    assert changed == {f"{beta}/..summary", f"{project}/asset/..latest"}
    assert set(before) <= set(after)
    check_usage(service, project)
    check_valid(service, project)


def test_the_first_version_becomes_latest_and_is_logged(
    service: Service, project: str, beta: str
) -> None:
    service.succeed("approve_probation", naming(beta))
    assert latest_of(service, f"{project}/asset") == "beta"
    assert service.logs(project) == [add_version(project, "beta", latest=True)]


def test_a_version_that_is_not_on_probation_is_refused(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"})
    service.refuse("approve_probation", naming(f"{project}/asset/1"), "probation")


def test_approving_twice_is_refused(service: Service, beta: str) -> None:
    service.succeed("approve_probation", naming(beta))
    service.refuse("approve_probation", naming(beta), "probation")


@pytest.mark.beyond
@pytest.mark.parametrize("action", ["approve_probation", "reject_probation"])
def test_that_is_the_clients_mistake(service: Service, project: str, action: str) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"})
    service.refuse(action, naming(f"{project}/asset/1"), f"{project}/asset/1", status=400)


def test_an_approved_version_may_be_linked_to(service: Service, project: str, beta: str) -> None:
    target = service.registry / beta / "a"
    payload = service.upload_of(f"{project}/other/1", {"l": Symlink(target)})
    service.refuse("upload", payload, "l")
    service.succeed("approve_probation", naming(beta))
    service.succeed("upload", payload)
    manifest = service.read(f"{project}/other/1/..manifest")
    assert manifest == {"l": linked(b"a", link(f"{beta}/a"))}


def test_an_approved_version_is_deduplicated_against(
    service: Service, project: str, beta: str
) -> None:
    assert "link" not in service.upload(f"{project}/asset/1", {"x": b"a"})["x"]
    set_finish(service, beta, "2098-01-01T00:00:00Z")
    service.succeed("approve_probation", naming(beta))
    assert service.upload(f"{project}/asset/2", {"x": b"a"})["x"]["link"] == link(f"{beta}/a")


@pytest.mark.parametrize(
    ("finish", "becomes_latest"),
    [
        ("2024-06-01T12:00:01+02:00", True),
        ("2024-06-01T11:59:59+02:00", False),
        ("2024-06-01T11:00:00Z", True),
        ("2024-06-01T13:00:00+05:00", False),
        ("2024-06-01T06:00:00-07:00", True),
        ("2023-12-31T23:59:59Z", False),
    ],
)
@pytest.mark.usefixtures("writable_registry")
def test_it_becomes_latest_if_it_was_finished_later(
    service: Service, project: str, beta: str, finish: str, becomes_latest: bool
) -> None:
    service.upload(f"{project}/asset/1", {"a": b"1"})
    set_finish(service, f"{project}/asset/1", "2024-06-01T12:00:00+02:00")
    set_finish(service, beta, finish)
    service.succeed("approve_probation", naming(beta))
    assert latest_of(service, f"{project}/asset") == ("beta" if becomes_latest else "1")
    expected = add_version(project, "beta", latest=becomes_latest)
    assert [entry for entry in service.logs(project) if entry["version"] == "beta"] == [expected]


def test_only_the_one_is_approved(service: Service, project: str, beta: str) -> None:
    service.upload(f"{project}/asset/gamma", {"g": b"g"}, on_probation=True)
    before = service.read(f"{project}/asset/gamma/..summary")
    service.succeed("approve_probation", naming(beta))
    assert service.read(f"{project}/asset/gamma/..summary") == before
