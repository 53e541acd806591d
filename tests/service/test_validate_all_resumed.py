"""Verifying all versions while commands are killed, share the work, and services go away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from gobbler.client import Admin, Client
from gobbler.client.bulk import validate
from gobbler.client.bulk.ledger import Ledger
from gobbler.client.testing import TestService

from .bulk import COUNT, Notes, damage, published, state
from .processes import Place, Running, public_place, wait_for

__all__ = ["public_place", "published", "state"]


ONE_BY_ONE = """
    import sys
    from gobbler.client import Client

    for result in Client(sys.argv[1], staging=sys.argv[2]).admin.validate_all():
        print(result.address, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def eight(public_place: Place, source):
    """A service of its own that has eight versions."""
    with Running(public_place) as running:
        client = Client(running.url, staging=public_place.staging)
        client.admin.create_project("p")
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
    reported = json.loads(ended.stdout)
    assert len({line for line in done if line}) == 3
    assert (reported["verified"], reported["not_due"], reported["remaining"]) == (5, 3, 0)
    assert reported["resumed"] is not None
    assert 8 <= len(validations(eight)) <= 9


def test_two_commands_at_once(client, service, published):
    command = [sys.executable, "-m", "gobbler", "validate", "--all", published, "--json"]
    both = [
        subprocess.Popen([*command, "--url", service.url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reported = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    # More only if one had ended before the other began.
    assert sum(each["verified"] for each in reported) in (COUNT, 2 * COUNT)
    assert None not in client.admin.last_verified(published).values()


def test_what_another_is_at_is_left_to_it(client, published):
    one = iter(client.admin.validate_all(published))
    first = next(one)
    other = client.admin.validate_all(published)
    found = [result.address for result in other]
    assert first.address not in found
    assert len(found) == COUNT - 1
    assert other.left == 0
    assert list(one) == []


@pytest.fixture
def own(tmp_path, source):
    """A service that can be restarted at its port, with six versions."""
    made = TestService()
    client = Client(made.url, staging=made.staging, registry=made.registry)
    client.admin.create_project("p")
    for version in "123456":
        client.upload("p", f"a{version}", version, source)
    running = [made]

    def restart() -> None:
        running.append(TestService(made.staging, made.registry, made.port))

    yield made, client, restart
    running[-1].stop()
    made.stop()


def stop_only(service: TestService) -> None:
    """End the service; its directories stay, and nobody else gets its port."""
    kept, service._own = service._own, []
    reserved, service._reserved = service._reserved, None
    service.stop()
    service._own, service._reserved = kept, reserved


def test_a_service_that_is_restarted(own):
    made, client, restart = own
    progress = Notes()
    results = iter(client.admin.validate_all(progress=progress))
    found = [next(results)]
    stop_only(made)
    later = threading.Timer(0.3, restart)
    later.start()
    found += results
    later.join()
    assert len({result.address for result in found}) == len(found) == 6
    assert all(result.is_valid for result in found)
    assert len(progress.notes) >= 1
    assert "retrying" in progress.notes[0]


def test_a_service_that_stays_away(own, run, monkeypatch, state):
    """The command reports its findings, and that it can be resumed."""
    made, _, restart = own
    damage(made, "p/a1/1")
    monkeypatch.setenv("GOBBLER_URL", made.url)
    monkeypatch.setitem(Admin.validate_all.__kwdefaults__, "retry_seconds", 0.0)
    ask = validate.BulkRequester.request
    asked = []

    def request(self, *words, **fields):
        asked.append(fields)
        if len(asked) == 3:
            stop_only(made)
        return ask(self, *words, **fields)

    monkeypatch.setattr(validate.BulkRequester, "request", request)
    code, out, err = run("validate", "--all")
    assert code == 6
    assert [line.split("\t")[0] for line in out.splitlines()] == ["p/a1/1"]
    assert "verified   2 versions" in err
    assert "remaining  4" in err
    assert "The same command continues with the rest" in err
    # When it is not there to begin with, that is reported at once.
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    code, out, err = run("validate", "--all", "--url", made.url)
    assert (code, out) == (6, "")
    restart()
    code, out, err = run("validate", "--all", "--json", "--url", made.url)
    assert (code, err) == (3, "")
    reported = json.loads(out)
    assert (reported["verified"], reported["remaining"]) == (4, 0)
    assert [one["asset"] for one in reported["wrong"]] == ["a1"]
