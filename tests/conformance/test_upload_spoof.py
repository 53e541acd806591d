"""Acting for another user in an upload (protocol, sections 3 and 8)."""

from __future__ import annotations

import pytest

from .accounts import ALICE, BOB, CAROL
from .conftest import SPOOF, OwnService
from .launch import present_user
from .service import Service

pytestmark = pytest.mark.usefixtures("accounts")


def test_the_version_is_the_other_users(own: OwnService) -> None:
    service = own.service
    project = service.new_project(owners=[ALICE])
    service.upload(f"{project}/asset/1", {"a": b"a"}, BOB, spoof=ALICE)
    summary = service.read(f"{project}/asset/1/..summary")
    assert summary["upload_user_id"] == ALICE
    assert "on_probation" not in summary


def test_the_other_users_rights_count_and_not_ones_own(own: OwnService) -> None:
    service = own.service
    project = service.new_project(owners=[BOB], uploaders=[{"id": ALICE, "asset": "A"}])
    service.upload(f"{project}/A/1", {"a": b"a"}, BOB, spoof=ALICE)
    assert service.read(f"{project}/A/1/..summary")["on_probation"] is True
    payload = service.upload_of(f"{project}/B/1", {"a": b"a"}, BOB, spoof=ALICE)
    service.refuse("upload", payload, ALICE, status=403, user=BOB)


def test_the_source_is_the_spoofing_accounts(own: OwnService) -> None:
    service = own.service
    project = service.new_project(owners=[ALICE])
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, ALICE, spoof=ALICE)
    service.refuse("upload", payload, "source", status=403, user=BOB)


# The file of the service under test says who may act for whom.
assert SPOOF.splitlines() == [f"{BOB}:{CAROL}", f"{BOB}:{ALICE}", f"{BOB}:", f"{CAROL}:*,-{BOB}"]


@pytest.mark.parametrize(
    ("user", "spoofed", "allowed"),
    [
        pytest.param(BOB, ALICE, True, id="a later line replaces an earlier one"),
        pytest.param(BOB, CAROL, False, id="an earlier line is replaced"),
        pytest.param(CAROL, ALICE, True, id="a star stands for everyone"),
        pytest.param(CAROL, "nobody-at-all", True, id="a star stands for unknown users too"),
        pytest.param(CAROL, BOB, False, id="a minus takes one out of the star"),
        pytest.param(ALICE, BOB, False, id="no line, no right"),
        pytest.param(BOB, "*", False, id="a star is no user"),
        pytest.param(BOB, "", False, id="nobody is no user"),
        pytest.param(BOB, f"-{ALICE}", False, id="a minus is no user"),
    ],
)
def test_the_spoof_file_says_who_may_act_for_whom(
    own: OwnService, user: str, spoofed: str, allowed: bool
) -> None:
    service = own.service
    project = service.new_project(owners=[spoofed])
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, user, spoof=spoofed)
    if allowed:
        service.succeed("upload", payload, user)
    else:
        service.refuse("upload", payload, status=403, user=user)


def test_nobody_spoofs_an_administrator_without_leave(own: OwnService) -> None:
    service = own.service
    project = service.new_project()
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, BOB, spoof=present_user())
    service.refuse("upload", payload, BOB, status=403, user=BOB)


def test_create_project_knows_no_spoofing(own: OwnService) -> None:
    payload = {"project": own.service.unique(), "spoof": present_user()}
    own.service.refuse("create_project", payload, CAROL, status=403, user=CAROL)


def test_spoofing_without_leave_is_not_allowed_anywhere(service: Service) -> None:
    project = service.new_project(owners=[ALICE])
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, ALICE, spoof=BOB)
    service.refuse("upload", payload, ALICE, status=403, user=ALICE)
