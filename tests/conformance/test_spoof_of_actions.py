"""Acting for another user in the actions that allow it, and the spoof file (sections 3 and 8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, CAROL
from .addresses import naming
from .conftest import SPOOF, OwnService
from .launch import Process, new_directories, present_user
from .service import Service

pytestmark = pytest.mark.usefixtures("accounts")

ACTIONS = ("set_permissions", "approve_probation", "reject_probation")

# The file of the service under test: BOB may act for ALICE, CAROL for all but BOB.
assert SPOOF.splitlines()[1:] == [f"{BOB}:{ALICE}", f"{BOB}:", f"{CAROL}:*,-{BOB}"]


def payload_for(service: Service, action: str, owner: str, **fields: object) -> dict[str, object]:
    """What ``owner``, and nobody else, may ask for."""
    project = service.new_project(owners=[owner])
    if action == "set_permissions":
        return naming(project, permissions={"uploaders": []}, **fields)
    service.upload(f"{project}/asset/1", {"a": b"a"}, on_probation=True)
    return naming(f"{project}/asset/1", **fields)


@pytest.mark.parametrize("action", ACTIONS)
class TestEveryAction:
    def test_can_be_asked_for_another(self, own: OwnService, action: str) -> None:
        payload = payload_for(own.service, action, ALICE, spoof=ALICE)
        own.service.succeed(action, payload, BOB)

    def test_is_forbidden_without_leave(self, own: OwnService, action: str) -> None:
        payload = payload_for(own.service, action, CAROL, spoof=CAROL)
        own.service.refuse(action, payload, BOB, status=403, user=BOB)

    def test_is_forbidden_with_ones_own_rights(self, own: OwnService, action: str) -> None:
        payload = payload_for(own.service, action, BOB, spoof=ALICE)
        own.service.refuse(action, payload, ALICE, status=403, user=BOB)

    def test_is_open_to_oneself_without_the_word(self, own: OwnService, action: str) -> None:
        payload = payload_for(own.service, action, BOB, spoof=None)
        own.service.succeed(action, payload, BOB)

    def test_is_forbidden_for_an_administrator_without_leave(
        self, own: OwnService, action: str
    ) -> None:
        payload = payload_for(own.service, action, "nobody-here", spoof=present_user())
        own.service.refuse(action, payload, BOB, status=403, user=BOB)

    @pytest.mark.beyond
    def test_is_forbidden_for_an_administrator_with_a_star(
        self, own: OwnService, action: str
    ) -> None:
        payload = payload_for(own.service, action, "nobody-here", spoof=present_user())
        own.service.refuse(action, payload, CAROL, status=403, user=CAROL)

    def test_takes_nobody_for_a_user(self, own: OwnService, action: str) -> None:
        for nobody in ("", "*", f"-{ALICE}"):
            payload = payload_for(own.service, action, nobody, spoof=nobody)
            own.service.refuse(action, payload, BOB, status=403, user=BOB)


@pytest.mark.beyond
def test_rejecting_ones_own_version_can_be_asked_for_another(own: OwnService) -> None:
    service = own.service
    project = service.new_project(uploaders=[{"id": ALICE}])
    service.upload(f"{project}/asset/1", {"a": b"a"}, ALICE)
    service.succeed("reject_probation", naming(f"{project}/asset/1", spoof=ALICE), BOB)


@pytest.mark.parametrize(
    ("action", "address"),
    [
        ("delete_project", ""),
        ("delete_asset", "/asset"),
        ("delete_version", "/asset/1"),
        ("refresh_latest", "/asset"),
        ("refresh_usage", ""),
        ("reindex_version", "/asset/1"),
        ("validate_version", "/asset/1"),
    ],
)
def test_other_actions_know_no_spoofing(own: OwnService, action: str, address: str) -> None:
    project = own.service.new_project()
    own.service.upload(f"{project}/asset/1", {"a": b"a"})
    payload = naming(project + address, spoof=present_user())
    own.service.refuse(action, payload, CAROL, status=403, user=CAROL)


FILE = f"""
daemon:*,{present_user()}
{ALICE}:{BOB}

{ALICE}:{CAROL},{BOB}
{BOB}:*
{BOB}:

{CAROL}:*,-{ALICE},-{BOB}
{CAROL}:{BOB}
"""


@pytest.fixture(scope="module")
def configured(own: OwnService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with that file."""
    directory = tmp_path_factory.mktemp("spoof")
    staging, registry = new_directories(directory)
    (directory / "spoof").write_text(FILE)
    with Process(staging, registry, flags=[f"--spoof={directory / 'spoof'}"]) as process:
        client = Service(process.url, staging, registry)
        yield client
        client.close()


@pytest.mark.parametrize(
    ("user", "other", "allowed"),
    [
        pytest.param(ALICE, BOB, True, id="one of several"),
        pytest.param(ALICE, CAROL, True, id="a later line counts"),
        pytest.param(ALICE, "somebody", False, id="nobody else"),
        pytest.param(BOB, "somebody", True, id="a star is not undone by a line without names"),
        pytest.param(CAROL, BOB, True, id="a later line replaces exclusions"),
        pytest.param(CAROL, "somebody", False, id="a later line replaces a star"),
    ],
)
def test_the_lines_of_the_file_are_read_as_they_stand(
    configured: Service, user: str, other: str, allowed: bool
) -> None:
    payload = payload_for(configured, "set_permissions", other, spoof=other)
    if allowed:
        configured.succeed("set_permissions", payload, user)
    else:
        configured.refuse("set_permissions", payload, user, status=403, user=user)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_administrator_that_is_named_may_be_acted_for(configured: Service, action: str) -> None:
    payload = payload_for(configured, action, "nobody-here", spoof=present_user())
    configured.succeed(action, payload, "daemon")


def test_an_empty_file_allows_nothing(own: OwnService, tmp_path: Path) -> None:
    staging, registry = new_directories(tmp_path / "own")
    (tmp_path / "spoof").write_text("\n")
    with Process(staging, registry, flags=[f"--spoof={tmp_path / 'spoof'}"]) as process:
        client = Service(process.url, staging, registry)
        payload = payload_for(client, "approve_probation", BOB, spoof=BOB)
        client.refuse("approve_probation", payload, ALICE, status=403, user=ALICE)
        client.close()
