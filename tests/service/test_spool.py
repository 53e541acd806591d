"""Everything through files only: a worker, real accounts, shell commands, no HTTP."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from .processes import Place, public_place, upload_of, wait_for
from .spools import (
    ALICE,
    BOB,
    SERVICE,
    Workers,
    answer_of,
    ask,
    hall,
    in_jobs,
    own_name,
    shell,
    spool,
    staffed,
    state_of,
    submit,
    uid_of,
)

__all__ = ["hall", "public_place", "staffed"]

FILES: dict[str, bytes | int] = {"f": b"content", "d/g": b"more"}


def project_of(place: Place, user: str) -> None:
    payload = {"project": "p", "permissions": {"owners": [user]}}
    assert ask(place, None, "create_project", payload) == {"status": "SUCCESS", "http_status": 200}


def test_publishing_approving_and_deleting_without_http(staffed: Place) -> None:
    project_of(staffed, ALICE)
    uploaders = {"uploaders": [{"id": BOB}]}
    payload: dict[str, object] = {"project": "p", "permissions": uploaders}
    assert ask(staffed, BOB, "set_permissions", payload)["http_status"] == 403
    assert ask(staffed, ALICE, "set_permissions", payload)["status"] == "SUCCESS"
    assert staffed.read("p/..permissions")["uploaders"] == [{"id": BOB}]

    for version in ("1", "2"):
        shell(BOB, f"mkdir s{version}; echo data {version} >s{version}/f", staffed)
        assert ask(staffed, BOB, "upload", upload_of(f"s{version}", version))["http_status"] == 200
        summary = staffed.read(f"p/a/{version}/..summary")
        assert summary["upload_user_id"] == BOB
        assert summary["on_probation"]
    first = {"project": "p", "asset": "a", "version": "1"}
    assert ask(staffed, BOB, "approve_probation", first)["http_status"] == 403
    assert ask(staffed, ALICE, "approve_probation", first)["http_status"] == 200
    assert staffed.read("p/a/..latest") == {"version": "1"}
    assert ask(staffed, BOB, "reject_probation", {**first, "version": "2"})["http_status"] == 200
    assert not (staffed.registry / "p/a/2").exists()
    assert ask(staffed, None, "validate_version", first)["http_status"] == 200
    assert ask(staffed, ALICE, "delete_version", first)["http_status"] == 403
    assert (staffed.registry / "p/a/1/f").read_text() == "data 1\n"
    assert ask(staffed, None, "delete_version", first)["http_status"] == 200
    assert not (staffed.registry / "p/a/1").exists()
    assert staffed.read("p/..usage") == {"total": 0}
    wait_for("nothing that is left behind", lambda: not staffed.incoming())


def test_the_example_of_the_guide(staffed: Place) -> None:
    (staffed.top / "results").mkdir()
    (staffed.top / "results/f").write_text("from a shell")
    payload = {"project": "weather", "permissions": {"owners": [ALICE]}}
    assert ask(staffed, None, "create_project", payload)["http_status"] == 200
    guide = (Path(__file__).parents[2] / "docs/spool.md").read_text()
    example = guide.partition("```sh\n")[2].partition("```")[0]
    assert "mv ..spool/tmp" in example
    here = example.replace("/data/staging", str(staffed.staging))
    said = shell(ALICE, here.replace("~/results", f"{staffed.top}/results"), staffed)
    assert json.loads(said) == {"status": "SUCCESS", "http_status": 200}
    assert (staffed.registry / "weather/stations/1.3/f").read_text() == "from a shell"


def test_the_request_goes_and_the_answer_stays_for_its_owner(staffed: Place) -> None:
    job = submit(staffed, ALICE, "health_check", {})
    assert answer_of(staffed, job, ALICE) == {"status": "SUCCESS", "http_status": 200}
    state = state_of(staffed, job)
    assert (state["state"], state["user"], state["action"]) == ("done", ALICE, "health_check")
    assert list((spool(staffed) / "new").iterdir()) == []
    assert not (spool(staffed) / "cur" / job).exists() or in_jobs(staffed)


def test_identity_is_the_owner_of_the_file_and_nothing_else(staffed: Place) -> None:
    project_of(staffed, ALICE)
    owned = {"project": "p", "permissions": {"owners": [BOB]}}
    forged = {**owned, "user": ALICE, "uid": uid_of(ALICE), "requester": own_name()}
    assert ask(staffed, BOB, "set_permissions", forged)["http_status"] == 403
    pretended = f"{uid_of(ALICE)}-request-set_permissions-x"
    # `mv` keeps the owner, regardless of the name of the file.
    script = f"echo '{{}}' >..spool/tmp/{pretended}; mv ..spool/tmp/{pretended} ..spool/new/"
    shell(BOB, script, staffed)
    refused = answer_of(staffed, f"{uid_of(BOB)}-{pretended}")
    assert refused["http_status"] == 400
    assert staffed.read("p/..permissions")["owners"] == [ALICE]


def test_another_users_source_is_not_published(staffed: Place) -> None:
    project_of(staffed, ALICE)
    source = staffed.stage(FILES, uid_of(BOB))
    assert ask(staffed, ALICE, "upload", upload_of(source))["http_status"] == 403
    assert not (staffed.registry / "p/a").exists()


def test_jobs_are_listed_for_their_owner(staffed: Place) -> None:
    mine = submit(staffed, ALICE, "health_check", {})
    answer_of(staffed, mine)
    answer_of(staffed, submit(staffed, BOB, "health_check", {}))
    listed = ask(staffed, ALICE, "list_jobs", {})["jobs"]
    assert mine in {job["job"] for job in listed}
    assert {job["user"] for job in listed} == {ALICE}
    assert ask(staffed, ALICE, "list_jobs", {"all": True})["http_status"] == 403
    all_users = ask(staffed, None, "list_jobs", {"all": True})["jobs"]
    assert {ALICE, BOB} <= {job["user"] for job in all_users}


def test_a_list_of_jobs_has_no_answers(staffed: Place) -> None:
    """Lists that hold earlier lists would grow as fast as they can be asked for."""
    wrong = submit(staffed, ALICE, "upload", {"project": "x" * 1000})
    answer_of(staffed, wrong)
    first = ask(staffed, ALICE, "list_jobs", {})
    for _ in range(12):
        listed = ask(staffed, ALICE, "list_jobs", {})
    assert first["left_out"] == listed["left_out"] == 0
    assert len(listed["jobs"]) == len(first["jobs"]) + 12
    assert not any("answer" in job for job in listed["jobs"])
    assert len(json.dumps(listed)) < 1000 * len(listed["jobs"])
    failed = next(job for job in listed["jobs"] if job["job"] == wrong)
    assert (failed["state"], failed["code"]) == ("failed", "malformed-request")
    assert "asset" in failed["reason"]


def test_nobody_sees_changes_or_fakes_what_is_anothers(staffed: Place) -> None:
    """What Bob can do with a job of Alice's, the name of which he does not know, or does."""
    secret = f"request-upload-{secrets.token_hex(8)}"
    job = submit(staffed, ALICE, "upload", {"whose": "alice's"}, secret)
    answer_of(staffed, job)
    for directory in ("tmp", "new", "cur", "jobs"):
        assert "Permission denied" in shell(BOB, f"ls ..spool/{directory}", staffed)
        assert secret not in shell(BOB, f"ls -R ..spool/{directory}; echo ..spool/*/*", staffed)
    cur = f"..spool/cur/{job}"
    for script in (
        f"echo fake >{cur}.answer",
        f"rm -f {cur}.answer",
        f"mv {cur}.answer /tmp",
        f"echo x >..spool/cur/{uid_of(ALICE)}-request-y-1.answer",
        "mv ..spool/new ..spool/old",
        "mv ..spool mine",
        "rmdir ..spool/tmp",
    ):
        said = shell(BOB, script, staffed)
        assert "ermi" in said, f"{script}: {said}"
    answer = answer_of(staffed, job)
    assert answer["http_status"] == 400
    assert "project" in answer["reason"]


def test_what_waits_is_its_owners(hall: Place) -> None:
    """No worker runs yet: the request lies in ``new``, and Bob knows its name."""
    with Workers(hall, user=SERVICE) as workers:
        first = workers.start()
        workers.ready(first)
        first.terminate()
        assert first.wait(30) == 0
        job = submit(hall, ALICE, "health_check", {}, "request-health_check-known")
        new = "..spool/new/request-health_check-known"
        other = "echo '{}' >..spool/tmp/mine;"
        for script in (
            f"rm -f {new}",
            f"mv {new} ..spool/tmp",
            f"{other} mv -f ..spool/tmp/mine {new}",
        ):
            assert "not permitted" in shell(BOB, script, hall), script
        assert "ermi" in shell(BOB, f"echo x >>{new}", hall)
        workers.start()
        assert answer_of(hall, job)["status"] == "SUCCESS"


def test_only_its_owner_or_an_administrator_cancels_a_job(staffed: Place) -> None:
    project_of(staffed, ALICE)
    long = submit(
        staffed, ALICE, "upload", upload_of(staffed.stage({"large": 40 << 30}, uid_of(ALICE)))
    )
    wait_until_it_runs(staffed, long)
    for name in (long, long.partition("-")[2]):
        refused = ask(staffed, BOB, "cancel_job", {"job": name})
        assert refused["http_status"] in (403, 404), refused
    assert ask(staffed, BOB, "cancel_job", {"job": long})["http_status"] == 403
    assert state_of(staffed, long)["state"] == "running"
    assert ask(staffed, ALICE, "cancel_job", {"job": long})["http_status"] == 200
    answer = answer_of(staffed, long)
    assert (answer["status"], answer["http_status"]) == ("ERROR", 409)
    assert "the job was cancelled" in answer["reason"]
    assert state_of(staffed, long)["state"] == "cancelled"
    assert not (staffed.registry / "p/a").exists()
    wait_for("nothing is left", lambda: staffed.incoming() == [] and in_jobs(staffed) == [])


def wait_until_it_runs(place: Place, job: str) -> None:
    wait_for("it runs", lambda: state_of(place, job).get("state") == "running")


def test_a_worker_does_not_start_with_a_spool_that_everybody_can_change(hall: Place) -> None:
    with Workers(hall, user=SERVICE) as workers:
        first = workers.start()
        workers.ready(first)
        first.terminate()
        first.wait(30)
        for name, mode in (("new", 0o777), ("cur", 0o777), ("jobs", 0o777), ("tmp", 0o777)):
            path = spool(hall) / name
            right = path.stat().st_mode & 0o7777
            path.chmod(mode)
            refused = workers.start()
            assert refused.wait(30) != 0
            said = workers.log(len(workers.processes) - 1)
            assert f"chmod {right:04o} {path}" in said
            assert "Traceback" not in said
            path.chmod(right)
        theirs = Path(spool(hall) / "new")
        theirs.rmdir()
        theirs.mkdir()
        os.chown(theirs, uid_of(BOB), -1)
        refused = workers.start()
        assert refused.wait(30) != 0
        assert "not a directory of the service's own account" in workers.output()
