"""An approval is for what was reviewed, whatever its uploader does meanwhile."""

from __future__ import annotations

import hashlib
import threading

import pytest

from .accounts import ALICE
from .addresses import naming
from .checks import latest_of
from .service import Service, refused

pytestmark = [pytest.mark.beyond, pytest.mark.usefixtures("accounts")]

ROUNDS = 25


def digest_of(service: Service, address: str) -> str:
    """The digest as the manual says it."""
    version = service.registry / address
    records = [(version / name).read_bytes() for name in ("..summary", "..manifest")]
    return hashlib.sha256(b"".join(records)).hexdigest()


@pytest.fixture
def beta(service: Service) -> str:
    """A version on probation that ALICE has uploaded."""
    project = service.new_project(uploaders=[{"id": ALICE}])
    service.upload(f"{project}/asset/beta", {"a": b"what is reviewed"}, ALICE)
    return f"{project}/asset/beta"


def upload_again(service: Service, address: str, content: bytes) -> None:
    service.succeed("reject_probation", naming(address), ALICE)
    service.upload(address, {"a": content}, ALICE)


def test_the_version_that_was_reviewed_is_approved(service: Service, beta: str) -> None:
    digest = digest_of(service, beta)
    service.succeed("approve_probation", naming(beta, reviewed=digest))
    assert "on_probation" not in service.read(f"{beta}/..summary")
    assert latest_of(service, beta.rpartition("/")[0]) == "beta"


def test_upper_case_is_as_good(service: Service, beta: str) -> None:
    service.succeed("approve_probation", naming(beta, reviewed=digest_of(service, beta).upper()))


@pytest.mark.parametrize("reviewed", [{}, {"reviewed": None}])
def test_a_client_that_knows_no_digest_is_answered_as_before(
    service: Service, beta: str, reviewed: dict[str, None]
) -> None:
    service.succeed("approve_probation", naming(beta, **reviewed))


def test_another_version_of_that_name_is_refused(service: Service, beta: str) -> None:
    digest = digest_of(service, beta)
    upload_again(service, beta, b"what nobody saw!")
    response = service.submit("approve_probation", naming(beta, reviewed=digest))
    assert digest_of(service, beta) in refused(response, beta, status=400)
    assert response.json()["code"] == "not-reviewed"
    assert service.read(f"{beta}/..summary")["on_probation"] is True
    assert latest_of(service, beta.rpartition("/")[0]) is None
    service.succeed("approve_probation", naming(beta, reviewed=digest_of(service, beta)))


def test_the_summary_counts_as_well(service: Service, beta: str) -> None:
    """A manifest knows files by their MD5, which can be forged; times can't."""
    summary = service.registry / beta / "..summary"
    digest = digest_of(service, beta)
    summary.write_bytes(summary.read_bytes().replace(b"T", b"t", 1))
    service.refuse("approve_probation", naming(beta, reviewed=digest), "digest", status=400)


@pytest.mark.parametrize("reviewed", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 32, "\u0660" * 64])
def test_what_is_no_digest_is_refused(service: Service, beta: str, reviewed: str) -> None:
    service.refuse("approve_probation", naming(beta, reviewed=reviewed), "`reviewed`", status=400)


@pytest.mark.parametrize("reviewed", [1, True, [], {}])
def test_another_type_is_refused(service: Service, beta: str, reviewed: object) -> None:
    service.refuse("approve_probation", naming(beta, reviewed=reviewed), "reviewed", status=400)


def test_a_digest_gives_no_right(service: Service, beta: str) -> None:
    payload = naming(beta, reviewed=digest_of(service, beta))
    service.refuse("approve_probation", payload, ALICE, status=403, user=ALICE)


def test_a_digest_of_a_final_version_is_of_no_use(service: Service, beta: str) -> None:
    service.succeed("approve_probation", naming(beta))
    payload = naming(beta, reviewed=digest_of(service, beta))
    service.refuse("approve_probation", payload, "not on probation", status=400)


def test_uploads_that_race_with_the_approval_are_never_approved(service: Service) -> None:
    project = service.new_project(uploaders=[{"id": ALICE}])
    outcomes = set()
    for number in range(ROUNDS):
        at = f"{project}/asset/{number}"
        service.upload(at, {"a": b"what is reviewed"}, ALICE)
        digest = digest_of(service, at)
        other = Service(service.url, service.staging, service.registry)
        replacing = threading.Thread(
            target=lambda at=at, other=other: (
                other.submit("reject_probation", naming(at), ALICE),
                other.submit("upload", other.upload_of(at, {"a": b"evil"}, ALICE), ALICE),
            )
        )
        replacing.start()
        answer = service.submit("approve_probation", naming(at, reviewed=digest))
        replacing.join()
        other.close()
        outcomes.add(answer.status_code)
        if answer.status_code == 200:
            assert (service.registry / at / "a").read_bytes() == b"what is reviewed"
        elif (service.registry / at).exists():
            assert service.read(f"{at}/..summary")["on_probation"] is True
    assert outcomes <= {200, 400, 404}
