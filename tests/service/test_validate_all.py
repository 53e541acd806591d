"""Verifying all versions, with real services that go away, and commands that are killed."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gobbler.client import Budget, Client, RequestFailed, scrub
from gobbler.client.ledger import Ledger
from gobbler.client.sweep import Unseen
from gobbler.client.testing import TestService
from gobbler.errors import Fault, Forbidden, Missing, Refused

from .processes import Place, Running, public_place, wait_for

__all__ = ["public_place"]

COUNT = 6


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def published(client, project, source):
    """Versions 1 to 3 of the assets ``a`` and ``b``; 2 and 3 are links to 1."""
    for asset in "ab":
        for version in "123":
            client.upload(project, asset, version, source)
    yield project
    # Nobody else's listing of the registry should meet what was damaged.
    client.delete_project(project)


@pytest.fixture(params=["local", "remote"])
def reader(request, client, remote, service) -> Client:
    if request.param == "local":
        return client
    return Client(service.url, staging=service.staging, force_remote=True)


def damage(service: TestService, version: str) -> None:
    Path(service.registry, version, "foo").write_text("quite another size")


class Notes(Unseen):
    """Progress that is looked at."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.told = [0, 0, 0]
        self.expected: tuple[int, int | None] | None = None

    def expect(self, tasks, size):
        self.expected = tasks, size

    def advance(self, tasks, files, size):
        self.told = [a + b for a, b in zip(self.told, (tasks, files, size), strict=True)]

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("parallel", [1, 3])
def test_all_are_verified_and_what_is_wrong_is_told(reader, service, published, parallel):
    damage(service, f"{published}/b/1")
    Path(service.registry, published, "a", "2", "..summary").write_text("{")
    Path(service.registry, published, "a", "3", "..manifest").write_text("[")
    progress = Notes()
    sweep = reader.validate_all(published, parallel=parallel, progress=progress)
    assert sweep.tasks == tuple(f"{published}/{a}/{v}" for a in "ab" for v in "123")
    assert (sweep.resumed, sweep.left) == (None, COUNT)
    found = {result.address: result for result in sweep}
    assert list(found) == list(sweep.tasks) or parallel > 1
    assert sorted(found) == list(sweep.tasks)
    assert sweep.left == 0
    wrong = {address[-3:]: one.problems for address, one in found.items() if not one.is_valid}
    assert sorted(wrong) == ["a/2", "a/3", "b/1"]
    assert "..summary is damaged" in wrong["a/2"][0]
    assert "..manifest is damaged" in wrong["a/3"][0]
    assert "foo" in wrong["b/1"][0]
    hashed = {address[-3:]: (one.files, one.bytes) for address, one in found.items()}
    assert hashed == {
        **dict.fromkeys(("a/2", "a/3", "b/2", "b/3"), (0, 0)),  # nothing but links, or unknown
        **dict.fromkeys(("a/1", "b/1"), (3, 19)),
    }
    assert (progress.told, progress.expected) == ([6, 6, 38], (6, 38))
    known = reader.last_verified(published)
    assert known == {result.address: result for result in found.values()}


def test_the_one_that_was_verified_the_longest_ago_is_first(client, published):
    assert [client.last_verified(published)[f"{published}/a/1"]] == [None]
    assert len(list(client.validate_all(published, "b"))) == 3
    first = list(client.last_verified(published))
    assert first == [f"{published}/{a}/{v}" for a in "ab" for v in "123"]
    now = dt.datetime.now().astimezone()
    assert client.validate_all(published, since=now - dt.timedelta(hours=1)).tasks == tuple(
        first[:3]
    )
    assert client.validate_all(published, since=now).tasks == tuple(first)
    assert len(list(client.validate_all(published, "a"))) == 3
    assert list(client.last_verified(published)) == first[3:] + first[:3]
    with pytest.raises(Refused):
        client.validate_all(published, since=now, restart=True)


def test_it_is_gone_on_with(client, published):
    for result in client.validate_all(published):
        if result.address.endswith("a/3"):
            break
    # Of another part, what was done does not count.
    assert len(client.validate_all(published, "a").tasks) == 3
    sweep = client.validate_all(published)
    assert sweep.resumed is not None
    assert (sweep.done_before, sweep.tasks) == (3, tuple(f"{published}/b/{v}" for v in "123"))
    assert len(client.validate_all(published, restart=True).tasks) == COUNT
    assert len(list(sweep)) == 3
    again = client.validate_all(published)
    assert (again.resumed, len(again.tasks)) == (None, COUNT)


def test_nothing_is_lost_when_it_is_ended_early(client, service, published):
    results = iter(client.validate_all(published, parallel=3))
    first = next(results)
    results.close()
    known = {address for address, last in client.last_verified(published).items() if last}
    assert first.address in known
    with Ledger(service.url, service.registry) as ledger:
        assert ledger.holders() == set()
    assert len(client.validate_all(published).tasks) == COUNT - len(known)


def test_begun_anew(client, published):
    next(iter(client.validate_all(published)))
    begun = dt.datetime.now().astimezone()
    next(iter(client.validate_all(published, restart=True)))
    sweep = client.validate_all(published)
    assert sweep.resumed is not None
    assert sweep.resumed > begun
    assert sweep.done_before == 1


def test_budgets(client, published):
    for budget in (Budget(bytes=1), Budget(seconds=1e-9)):
        sweep = client.validate_all(published, budget=budget, restart=True)
        found = list(sweep)
        assert sweep.is_used_up
        assert sweep.left == len(sweep.tasks) - len(found)
        assert len(found) == (1 if budget.bytes else 0)
    assert len(list(client.validate_all(published, budget=Budget(3600, 1 << 40)))) == COUNT


def test_what_was_published_anew_is_another_version(client, published, source):
    assert len(list(client.validate_all(published))) == COUNT
    old = client.summary(published, "b", "1").upload_finish
    client.delete_version(published, "b", "1")

    def publish() -> bool:
        """As a later second than the first time: the records have no finer times."""
        client.upload(published, "b", "1", source)
        if client.summary(published, "b", "1").upload_finish != old:
            return True
        client.delete_version(published, "b", "1")
        return False

    wait_for("another second", publish)
    assert client.last_verified(published)[f"{published}/b/1"] is None
    hour = dt.datetime.now().astimezone() - dt.timedelta(hours=1)
    assert client.validate_all(published, since=hour).tasks == (f"{published}/b/1",)


def test_what_is_deleted_meanwhile_is_left_out(client, published):
    sweep = client.validate_all(published)
    results = iter(sweep)
    first = next(results)
    client.delete_asset(published, "b")
    assert [first.address, *(result.address for result in results)] == [
        f"{published}/a/{version}" for version in "123"
    ]
    assert sweep.left == 0
    assert list(client.last_verified(published)) == [f"{published}/a/{v}" for v in "123"]


def test_names_that_can_be_none_are_told(client, service, published):
    Path(service.registry, published, "a", "back\\slash").mkdir()
    os.mkdir(os.fsencode(f"{service.registry}/{published}/a/") + b"\xff")
    found = {result.address: result for result in client.validate_all(published, "a")}
    assert len(found) == 5
    assert "UTF-8" in found[f"{published}/a/\\udcff"].problems[0]
    (problem,) = found[f"{published}/a/back\\slash"].problems
    assert "backslash" in problem


def test_who_may_not_is_told_at_once(service, published):
    powerless = TestService(service.staging, service.registry, admin=[])
    try:
        client = Client(powerless.url, staging=service.staging)
        with pytest.raises(Forbidden):
            list(client.validate_all(published))
        assert set(client.last_verified(published).values()) == {None}
    finally:
        powerless.stop()
    with pytest.raises(Missing):
        Client(service.url, registry=service.registry).validate_all("no-such-project")


def test_an_empty_mount_is_not_all_well(service, published, tmp_path):
    client = Client(service.url, staging=service.staging, registry=service.registry)
    assert len(list(client.validate_all(published))) == COUNT
    (tmp_path / "mount" / published).mkdir(parents=True)
    unmounted = Client(service.url, staging=service.staging, registry=tmp_path / "mount")
    with pytest.raises(Fault, match="6 were verified before"):
        unmounted.validate_all(published)


def test_large_versions_are_jobs(client, published, monkeypatch):
    monkeypatch.setattr(scrub, "takes_long", lambda files, size: True)
    damage_one = Path(client.registry, published, "a", "1", "whee2")
    damage_one.write_text("another size")
    progress = Notes()
    found = list(client.validate_all(published, parallel=2, progress=progress))
    assert len(found) == COUNT
    assert [r.address for r in found if not r.is_valid] == [f"{published}/a/1"]
    assert progress.told == [6, 6, 38]


def test_an_interrupted_job_is_cancelled(client, project, tmp_path, monkeypatch):
    monkeypatch.setattr(scrub, "takes_long", lambda files, size: True)
    large = tmp_path / "large"
    large.mkdir()
    with (large / "zeros").open("wb") as file:
        file.truncate(128 << 20)
    client.upload(project, "a", "1", large)

    class Interrupted(Notes):
        def advance(self, tasks, files, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(client.validate_all(project, progress=Interrupted()))
    (job,) = [job for job in client.jobs() if job.action == "validate_version"][-1:]
    assert wait_for("the job's end", lambda: client.job(job.job).state().is_final)
    assert client.last_verified(project) == {f"{project}/a/1": None}
    client.delete_project(project)


ONE_BY_ONE = """
    import sys
    from gobbler.client import Client

    for result in Client(sys.argv[1], staging=sys.argv[2]).validate_all():
        print(result.address, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def eight(public_place: Place, source):
    """A service of its own that has eight versions."""
    with Running(public_place) as running:
        client = Client(running.url, staging=public_place.staging)
        client.create_project("p")
        for number in range(8):
            client.upload("p", f"a{number}", "1", source)
        yield running


def validations(running: Running) -> list[str]:
    """How each request to validate has ended, as the service has logged it."""
    lines = [line for line in running.output().splitlines() if "request-validate_version" in line]
    return [line for line in lines if ": 200 in" in line]


def test_killed_in_the_middle(eight: Running, public_place: Place):
    """Nothing is verified twice but what was under way."""
    command = [sys.executable, "-c", textwrap.dedent(ONE_BY_ONE), eight.url]
    with subprocess.Popen(
        [*command, str(public_place.staging)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as walker:
        assert walker.stdout is not None
        assert walker.stdin is not None
        done = [walker.stdout.readline()]
        for _ in range(2):
            walker.stdin.write("\n")
            walker.stdin.flush()
            done.append(walker.stdout.readline())
        # The service stands still, so that the next is under way when the walker is killed.
        stopped = eight.processes()
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            walker.stdin.write("\n")
            walker.stdin.flush()
            of = (eight.url, str(public_place.registry))
            with Ledger(*of) as ledger:
                wait_for("the next one", ledger.holders)
            walker.kill()
            walker.wait()
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)
    command = [sys.executable, "-m", "gobbler", "validate", "--all", "--json", "--url", eight.url]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert len({line for line in done if line}) == 3
    assert (told["verified"], told["not_due"], told["remaining"]) == (5, 3, 0)
    assert told["resumed"] is not None
    assert 8 <= len(validations(eight)) <= 9


def test_two_commands_at_once(client, service, published):
    command = [sys.executable, "-m", "gobbler", "validate", "--all", published, "--json"]
    both = [
        subprocess.Popen([*command, "--url", service.url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    # More only if one had ended before the other began.
    assert sum(each["verified"] for each in told) in (COUNT, 2 * COUNT)
    assert None not in client.last_verified(published).values()


def test_what_another_is_at_is_left_to_it(client, published):
    one = iter(client.validate_all(published))
    first = next(one)
    other = client.validate_all(published)
    found = [result.address for result in other]
    assert first.address not in found
    assert len(found) == COUNT - 1
    assert other.left == 0
    assert list(one) == []


@pytest.fixture
def own(tmp_path, source):
    """A service that can be started anew at its port, with six versions."""
    made = TestService()
    client = Client(made.url, staging=made.staging, registry=made.registry)
    client.create_project("p")
    for version in "123456":
        client.upload("p", f"a{version}", version, source)
    running = [made]

    def restart() -> None:
        running.append(TestService(made.staging, made.registry, made.port))

    yield made, client, restart
    running[-1].stop()
    made.stop()


def stop_only(service: TestService) -> None:
    """End the service; its directories stay."""
    kept, service._own = service._own, []
    service.stop()
    service._own = kept


def test_a_service_that_is_started_anew(own):
    made, client, restart = own
    progress = Notes()
    results = iter(client.validate_all(progress=progress))
    found = [next(results)]
    stop_only(made)
    later = threading.Timer(0.3, restart)
    later.start()
    found += results
    later.join()
    assert len({result.address for result in found}) == len(found) == 6
    assert all(result.is_valid for result in found)
    assert len(progress.notes) >= 1
    assert "trying again" in progress.notes[0]


def test_a_service_that_stays_away(own, run, monkeypatch, state):
    """What was found is told, and that it can be gone on with."""
    made, _, restart = own
    damage(made, "p/a1/1")
    monkeypatch.setenv("GOBBLER_URL", made.url)
    monkeypatch.setitem(Client.validate_all.__kwdefaults__, "patience", 0.0)
    ask = scrub.Carrier.request
    asked = []

    def request(self, *words, **fields):
        asked.append(fields)
        if len(asked) == 3:
            stop_only(made)
        return ask(self, *words, **fields)

    monkeypatch.setattr(scrub.Carrier, "request", request)
    code, out, err = run("validate", "--all")
    assert code == 6
    assert [line.split("\t")[0] for line in out.splitlines()] == ["p/a1/1"]
    assert "verified   2 versions" in err
    assert "remaining  4" in err
    assert "the same command goes on with the rest" in err
    # When it is not there to begin with, that is told without patience.
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    code, out, err = run("validate", "--all", "--url", made.url)
    assert (code, out) == (6, "")
    restart()
    code, out, err = run("validate", "--all", "--json", "--url", made.url)
    assert (code, err) == (3, "")
    told = json.loads(out)
    assert (told["verified"], told["remaining"]) == (4, 0)
    assert [one["asset"] for one in told["wrong"]] == ["a1"]


def test_the_command(run, service, published):
    code, out, err = run("validate", "--all", published)
    assert (code, out) == (0, "")
    assert err.startswith("verified  6 versions in ")
    assert err.rstrip().endswith(": 6 files, 38 bytes")
    damage(service, f"{published}/b/1")
    Path(service.registry, published, "a", "3", "..manifest").write_text("[")
    code, out, err = run("validate", "--all", f"{published}/", "--parallel", "2")
    assert code == 3
    a, b = f"{published}/a/3", f"{published}/b/1"
    rows = [line.split("\t") for line in sorted(out.splitlines())]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        (a, "1", f"gobbler reindex {a} && gobbler validate {a}"),
        (b, "1", f"gobbler validate {b}"),
    ]
    assert err.endswith("error: 2 versions have problems\n")
    code, out, _ = run("validate", "--all", f"{published}/b", "--json")
    assert code == 3
    told = json.loads(out)
    assert [one["version"] for one in told["wrong"]] == ["1"]
    assert "foo" in told["wrong"][0]["problems"][0]


def test_what_is_wrong_is_told_until_it_is_well(run, as_json, client, service, published):
    damage(service, f"{published}/b/1")
    assert run("validate", "--all", published)[0] == 3
    code, out, err = run("validate", "--all", published, "--since", "1h")
    assert (code, [line.split("\t")[0] for line in out.splitlines()]) == (3, [f"{published}/b/1"])
    assert "verified  0 versions" in err
    assert "before    6, which are not due" in err
    client.reindex_version(published, "b", "1")
    assert run("validate", f"{published}/b/1")[0] == 0
    assert run("validate", "--all", published, "--since", "1h")[:2] == (0, "")
    # What a version alone is found to be counts, too.
    damage(service, f"{published}/a/1")
    assert run("validate", f"{published}/a/1")[0] == 3
    (wrong,) = client.validate_all(
        published, since=dt.datetime.now().astimezone() - dt.timedelta(hours=1)
    ).known_wrong
    assert (wrong.address, wrong.files, wrong.bytes) == (f"{published}/a/1", 3, 19)
    assert list(client.last_verified(published))[-1] == f"{published}/a/1"


def test_where_nothing_can_be_kept(run, published, state):
    state.write_text("a file")
    code, out, err = run("validate", f"{published}/a/1")
    assert (code, out) == (0, f"valid {published}/a/1\n")
    assert err.startswith("warning: what was done can't be kept in")
    code, out, err = run("validate", "--all", published)
    assert (code, out) == (1, "")
    assert "XDG_STATE_HOME" in err


def test_a_budget_on_the_command_line(run, as_json, client, project, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for version in "123":
        (files / "data").write_bytes(version.encode() * 2000)
        client.upload(project, "a", version, files)
    told = as_json("validate", "--all", project, "--budget", "3KB")
    assert (told["verified"], told["remaining"], told["budget_used_up"]) == (2, 1, True)
    assert (told["files"], told["bytes"]) == (2, 4000)
    code, _, err = run("validate", "--all", project, "--budget", "3KB")
    assert code == 0
    assert "going on with what was begun at" in err
    assert "2 done, 1 to go" in err
    assert "remaining" not in err
    code, _, err = run("validate", "--all", project, "--budget", "3KB")
    assert "remaining  1: the budget is used up; the same command goes on" in err


def test_status(run, as_json, service, published):
    rows = [
        line.split("\t") for line in run("validate", "--all", published, "--status")[1].splitlines()
    ]
    assert [row[:2] for row in rows] == [
        [f"{published}/{a}/{v}", "never"] for a in "ab" for v in "123"
    ]
    damage(service, f"{published}/a/1")
    run("validate", "--all", f"{published}/a")
    told = as_json("validate", "--all", published, "--status")["versions"]
    assert [one["asset"] for one in told] == ["b"] * 3 + ["a"] * 3
    assert told[0] == {"project": published, "asset": "b", "version": "1", "verified": None}
    assert dt.datetime.fromisoformat(told[3]["verified"]).tzinfo is not None
    assert "foo" in told[3]["problems"][0]
    _, out, _ = run("validate", "--all", f"{published}/a", "--status")
    assert [line.split("\t")[2] for line in out.splitlines()] == ["1 problem", "valid", "valid"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "--all"),
        (["weather", "--since", "1d"], 2, "--since goes with --all"),
        (["weather", "--budget", "1h"], 2, "--budget goes with --all"),
        (["weather/a/1", "--parallel", "2"], 2, "--parallel goes with --all"),
        (["weather/a/1", "--status"], 2, "--status goes with --all"),
        (["weather"], 3, "gobbler validate --all weather"),
        (["weather/a"], 3, "gobbler validate --all weather/a"),
        (["--all", "weather/a/1"], 3, "not the address"),
        (["--all", "--budget", "5"], 2, "no budget"),
        (["--all", "--restart", "--since", "1d"], 2, "--restart makes no sense"),
        (["--all", "--since", "soon"], 2, "neither an age nor a date"),
    ],
)
def test_what_is_meant_is_to_be_said(run, words, code, told):
    ended = run("validate", *words)
    assert (ended[0], ended[1]) == (code, "")
    assert told in ended[2]


def test_through_the_spool_alone(service, published):
    client = Client(staging=service.staging, registry=service.registry)
    assert client.url is None
    damage(service, f"{published}/a/1")
    found = list(client.validate_all(published, parallel=2))
    assert [result.address for result in found if not result.is_valid] == [f"{published}/a/1"]
    assert len(found) == COUNT
    with pytest.raises(RequestFailed):
        client.validate_version(published, "a", "1")
    assert time.time() - found[0].finished.timestamp() < 600


def test_interrupted(run, service, published, monkeypatch):
    """What was found is told, and that it can be gone on with."""
    damage(service, f"{published}/a/1")
    ask = scrub.Carrier.request

    def request(self, *words, **fields):
        if fields["version"] == "3":
            raise KeyboardInterrupt
        return ask(self, *words, **fields)

    monkeypatch.setattr(scrub.Carrier, "request", request)
    code, out, err = run("validate", "--all", published)
    assert code == 130
    assert [line.split("\t")[0] for line in out.splitlines()] == [f"{published}/a/1"]
    assert "remaining  4" in err
    assert "the same command goes on with the rest" in err
