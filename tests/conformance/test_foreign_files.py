"""What only some may read is published for nobody who may not give it away.

The service under test may read everything, or files with an ACL for it. Files of BOB that are in a
source of ALICE, or that her links lead to, are hers to publish only if everybody may read them.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, CAROL
from .conftest import OwnService
from .launch import present_user
from .service import Service, Symlink, build, give, plain

pytestmark = [pytest.mark.beyond, pytest.mark.usefixtures("accounts")]

CONTENT = b"BOB's data"


def restrict(path: Path, mode: int, acl: str = "") -> None:
    """Give ``path`` to BOB with a ``mode`` and an ``acl`` as setfacl takes it."""
    os.chown(path, *pwd.getpwnam(BOB)[2:4])
    path.chmod(mode)
    if acl:
        subprocess.run(["setfacl", "-m", acl.format(service=present_user()), path], check=True)


def source_of_alice(service: Service, *, directory_mode: int = 0o755) -> tuple[str, Path]:
    """A source of ALICE with a directory of BOB, which holds a file of his that all may read."""
    name = service.stage({"own": b"own", "d/theirs": CONTENT}, ALICE)
    top = service.staging / name
    restrict(top / "d", directory_mode)
    restrict(top / "d/theirs", 0o644)
    return name, top


def upload_fields(service: Service, source: str, **fields: object) -> dict[str, object]:
    project = service.new_project(owners=[ALICE])
    return {"project": project, "asset": "a", "version": "1", "source": source, **fields}


RESTRICTED_FILES = {
    "0600": (0o600, ""),
    "0640": (0o640, ""),
    "0604: not the group": (0o604, ""),
    "0004": (0o004, ""),
    "0711": (0o711, ""),
    "an ACL for the service": (0o600, "u:{service}:r"),
    "an ACL for ALICE": (0o600, f"u:{ALICE}:r"),
    "an ACL against CAROL": (0o644, f"u:{CAROL}:-"),
    "an ACL against a group": (0o644, "g:daemon:-"),
    "a mask": (0o644, f"u:{CAROL}:r,m::-"),
    "the group, behind a mask": (0o644, f"g::-,u:{CAROL}:r,m::r"),
}


@pytest.mark.parametrize(("mode", "acl"), RESTRICTED_FILES.values(), ids=RESTRICTED_FILES)
class TestAFileOfAnotherUser:
    def test_that_not_everybody_may_read_is_refused(
        self, service: Service, mode: int, acl: str
    ) -> None:
        source, top = source_of_alice(service)
        restrict(top / "d/theirs", mode, acl)
        service.refuse("upload", upload_fields(service, source), "d/theirs", status=400, user=ALICE)

    def test_is_its_owners_to_publish(self, service: Service, mode: int, acl: str) -> None:
        name = service.stage({"d/theirs": CONTENT}, BOB)
        restrict(service.staging / name / "d/theirs", mode, acl)
        project = service.new_project(owners=[BOB])
        fields = {"project": project, "asset": "a", "version": "1", "source": name}
        service.succeed("upload", fields, BOB)


@pytest.mark.parametrize(
    ("mode", "acl"),
    [(0o644, ""), (0o666, ""), (0o444, ""), (0o600, f"u:{CAROL}:r,g::r,o::r")],
    ids=["0644", "0666", "0444", "an ACL that lets everybody read"],
)
def test_a_file_of_another_user_that_everybody_may_read_is_taken(
    service: Service, mode: int, acl: str
) -> None:
    source, top = source_of_alice(service)
    restrict(top / "d/theirs", mode, acl)
    fields = upload_fields(service, source)
    service.succeed("upload", fields, ALICE)
    manifest = service.read(f"{fields['project']}/a/1/..manifest")
    assert manifest == {"own": plain(b"own"), "d/theirs": plain(CONTENT)}


@pytest.mark.parametrize(
    ("mode", "acl"),
    [
        *((mode, "") for mode in (0o700, 0o711, 0o744, 0o750, 0o705, 0o1700)),
        (0o700, "u:{service}:rx"),
        (0o755, f"u:{CAROL}:-"),
    ],
)
def test_a_directory_of_another_user_must_be_open_to_everybody(
    service: Service, mode: int, acl: str
) -> None:
    source, top = source_of_alice(service)
    restrict(top / "d", mode, acl)
    service.refuse("upload", upload_fields(service, source), '"d"', status=400, user=ALICE)


def test_an_own_file_in_a_closed_directory_of_another_user_is_refused_with_it(
    service: Service,
) -> None:
    source, top = source_of_alice(service, directory_mode=0o700)
    os.chown(top / "d/theirs", *pwd.getpwnam(ALICE)[2:4])
    service.refuse("upload", upload_fields(service, source), '"d"', status=400, user=ALICE)


def test_the_owner_of_the_source_counts_and_not_the_user_acted_for(own: OwnService) -> None:
    service = own.service
    source = service.stage({"d/theirs": CONTENT}, CAROL)
    theirs = service.staging / source / "d/theirs"
    os.chown(theirs, *pwd.getpwnam(ALICE)[2:4])
    theirs.chmod(0o600)
    fields = upload_fields(service, source, spoof=ALICE)
    service.refuse("upload", fields, "d/theirs", status=400, user=CAROL)


def test_consume_removes_nothing_from_a_directory_of_another_user(service: Service) -> None:
    source, top = source_of_alice(service)
    service.succeed("upload", upload_fields(service, source, consume=True), ALICE)
    assert (top / "d/theirs").read_bytes() == CONTENT
    assert not (top / "own").exists()


class TestAFileOfAWhitelistedDirectory:
    @pytest.fixture
    def place(self, own: OwnService) -> Path:
        """A directory of BOB below a whitelisted one, with a file that all may read."""
        place = own.whitelisted / own.service.unique()
        build(place, {"d/theirs": CONTENT})
        give(place, BOB)
        return place

    def fields(self, service: Service, target: Path) -> dict[str, object]:
        return upload_fields(service, service.stage({"l": Symlink(target)}, ALICE))

    @pytest.mark.parametrize(("mode", "acl"), RESTRICTED_FILES.values(), ids=RESTRICTED_FILES)
    def test_is_refused_unless_everybody_may_read_it(
        self, own: OwnService, place: Path, mode: int, acl: str
    ) -> None:
        restrict(place / "d/theirs", mode, acl)
        fields = self.fields(own.service, place / "d/theirs")
        own.service.refuse("upload", fields, '"l"', status=400, user=ALICE)

    @pytest.mark.parametrize("closed", ["", "d"])
    @pytest.mark.parametrize(
        ("mode", "acl"), [(0o700, ""), (0o750, ""), (0o700, "u:{service}:rx"), (0o744, "")]
    )
    def test_is_refused_unless_everybody_may_enter_its_directories(
        self, own: OwnService, place: Path, closed: str, mode: int, acl: str
    ) -> None:
        restrict(place / closed, mode, acl)
        fields = self.fields(own.service, place / "d/theirs")
        own.service.refuse("upload", fields, '"l"', status=400, user=ALICE)

    def test_need_not_be_listed_by_everybody(self, own: OwnService, place: Path) -> None:
        restrict(place, 0o711)
        own.service.succeed("upload", self.fields(own.service, place / "d/theirs"), ALICE)

    @pytest.mark.parametrize("closed", ["d", "d/theirs"])
    def test_is_served_as_long_as_everybody_may_read_it(
        self, own: OwnService, place: Path, closed: str
    ) -> None:
        fields = self.fields(own.service, place / "d/theirs")
        own.service.succeed("upload", fields, ALICE)
        link = f"{fields['project']}/a/1/l"
        assert own.service.fetch(link).content == CONTENT
        restrict(place / closed, 0o700)
        refused = own.service.fetch(link)
        assert refused.status_code == 404
        assert CONTENT not in refused.content
        archive = own.service.get(f"/archive/{fields['project']}/a/1.tar")
        assert CONTENT not in archive.content

    def test_is_reindexed_by_the_same_rule(self, own: OwnService, place: Path) -> None:
        address = f"{own.service.new_project()}/a/1"
        own.service.upload(address, {"own": b"own"})
        (own.service.registry / address / "l").symlink_to(place / "d/theirs")
        restrict(place / "d/theirs", 0o600)
        names = dict(zip(("project", "asset", "version"), address.split("/"), strict=True))
        own.service.refuse("reindex_version", names, '"l"', status=400)


class TestAVersionInAClosedProject:
    """An administrator has closed the project to others by the mode of its directory."""

    @pytest.fixture
    def closed(self, service: Service) -> str:
        project = service.new_project()
        service.upload(f"{project}/a/1", {"secret": CONTENT})
        return project

    @pytest.mark.parametrize("mode", [0o700, 0o750, 0o745])
    @pytest.mark.parametrize("inner", ["", "a", "a/1"])
    def test_is_linked_to_by_none_that_is_open(
        self, service: Service, closed: str, mode: int, inner: str
    ) -> None:
        (service.registry / closed / inner).chmod(mode)
        tree = {"l": Symlink(service.registry / closed / "a/1/secret")}
        fields = upload_fields(service, service.stage(tree, ALICE))
        service.refuse("upload", fields, '"l"', status=400, user=ALICE)

    @pytest.mark.parametrize("mode", [0o700, 0o750])
    def test_is_linked_to_within_it(self, service: Service, closed: str, mode: int) -> None:
        (service.registry / closed).chmod(mode)
        tree = {"l": Symlink(service.registry / closed / "a/1/secret"), "own": b"own"}
        service.upload(f"{closed}/a/2", tree)
        assert service.read(f"{closed}/a/2/..manifest")["l"]["link"]["version"] == "1"
