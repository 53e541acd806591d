"""The action ``reject_probation`` (protocol, section 4)."""

from __future__ import annotations

import pytest

from .accounts import ALICE
from .addresses import naming
from .checks import check_usage, check_valid, latest_of, unchanged
from .service import Service, Symlink, refused


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def beta(service: Service, project: str) -> str:
    """A version on probation beside a final one, and in part linked to it."""
    service.upload(f"{project}/asset/1", {"a": b"a"})
    tree = {"a": b"a", "b": b"bb", "l": Symlink("b"), "d/e": None}
    service.upload(f"{project}/asset/beta", tree, on_probation=True)
    return f"{project}/asset/beta"


@pytest.mark.parametrize("force", [None, False, True])
def test_the_version_is_gone(service: Service, project: str, beta: str, force: bool | None) -> None:
    before = service.snapshot(project)
    answer = service.succeed("reject_probation", naming(beta, force=force))
    assert answer == {"status": "SUCCESS"}
    after = service.snapshot(project)
    gone = set(before) - set(after)
    assert gone == {path for path in before if path == beta or path.startswith(beta + "/")}
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {f"{project}/..usage"}  # and nothing is logged


def test_usage_goes_down_by_what_was_not_linked(service: Service, project: str, beta: str) -> None:
    assert service.read(f"{project}/..usage") == {"total": 3}
    service.succeed("reject_probation", naming(beta))
    assert service.read(f"{project}/..usage") == {"total": 1}


def test_its_name_is_free_again(service: Service, project: str, beta: str) -> None:
    service.succeed("reject_probation", naming(beta))
    manifest = service.upload(beta, {"new": b"new"})
    assert set(manifest) == {"new"}
    assert latest_of(service, f"{project}/asset") == "beta"
    check_usage(service, project)
    check_valid(service, project)


def test_the_only_version_can_be_rejected(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"}, on_probation=True)
    service.succeed("reject_probation", naming(f"{project}/asset/1"))
    assert latest_of(service, f"{project}/asset") is None
    assert service.read(f"{project}/..usage") == {"total": 0}
    service.upload(f"{project}/asset/1", {"a": b"b"})
    assert latest_of(service, f"{project}/asset") == "1"


@pytest.mark.parametrize("force", [False, True])
def test_a_version_that_is_not_on_probation_is_refused(
    service: Service, project: str, beta: str, force: bool
) -> None:
    payload = naming(f"{project}/asset/1", force=force)
    service.refuse("reject_probation", payload, "probation")


def test_an_approved_version_can_not_be_rejected_any_more(service: Service, beta: str) -> None:
    service.succeed("approve_probation", naming(beta))
    service.refuse("reject_probation", naming(beta), "probation")


def test_rejecting_twice_is_refused(service: Service, beta: str) -> None:
    service.succeed("reject_probation", naming(beta))
    service.refuse("reject_probation", naming(beta), "beta", status=404)


SPOILT = [
    "..manifest",
    pytest.param("..summary", marks=pytest.mark.beyond),
]


@pytest.mark.usefixtures("writable_registry")
@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b'{"a": 5}'])
@pytest.mark.parametrize("record", SPOILT)
class TestARecordThatCanNotBeRead:
    @pytest.fixture(autouse=True)
    def _spoil(self, service: Service, beta: str, record: str, content: bytes | None) -> None:
        path = service.registry / beta / record
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    @pytest.mark.parametrize("force", [None, False])
    def test_is_in_the_way(
        self, service: Service, project: str, beta: str, record: str, force: bool | None
    ) -> None:
        if record == "..manifest" and not (service.registry / beta / record).exists():
            pytest.skip("whether that is in the way is not said")
        with unchanged(service, project):
            refused(service.submit("reject_probation", naming(beta, force=force)))

    def test_is_no_obstacle_with_force(
        self, service: Service, beta: str, record: str, content: bytes | None
    ) -> None:
        service.succeed("reject_probation", naming(beta, force=True))
        assert not (service.registry / beta).exists()

    @pytest.mark.beyond
    def test_leaves_the_right_usage_with_force(
        self, service: Service, project: str, beta: str, record: str
    ) -> None:
        service.succeed("reject_probation", naming(beta, force=True))
        check_usage(service, project)


@pytest.mark.beyond
@pytest.mark.usefixtures("accounts", "writable_registry")
def test_who_uploaded_a_version_must_be_known_to_reject_ones_own(
    service: Service, project: str
) -> None:
    payload = naming(project, permissions={"uploaders": [{"id": ALICE}]})
    service.succeed("set_permissions", payload)
    service.upload(f"{project}/asset/1", {"a": b"a"}, ALICE)
    (service.registry / project / "asset/1/..summary").write_bytes(b"")
    payload = naming(f"{project}/asset/1", force=True)
    service.refuse("reject_probation", payload, ALICE, status=403, user=ALICE)
