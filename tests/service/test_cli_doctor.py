"""``gobbler doctor``, as a person and as a script runs it; and a service that heeds it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.cli import main

from .processes import ATTENTIVE, Place, Running, account, public_place, wait_for

__all__ = ["public_place"]

FAULT = 1


def doctor(place: Place, *flags: str) -> list[str]:
    command = [sys.executable, "-m", "gobbler", "doctor", *flags]
    return [*command, "--staging", str(place.staging), "--registry", str(place.registry)]


def examined(place: Place, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        doctor(place, *flags), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def test_good_directories_are_fit(public_place: Place) -> None:
    ended = examined(public_place)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [line.split("\t") for line in ended.stdout.splitlines()]
    assert {len(row) for row in rows} == {5}
    assert ["ok", "registry", "locks", "flock excludes other processes", ""] in rows
    assert not any(row[0] == "fault" for row in rows)
    assert os.listdir(public_place.staging) == os.listdir(public_place.registry) == []


def test_one_document_for_scripts(public_place: Place) -> None:
    public_place.staging.chmod(0o777)
    ended = examined(public_place, "--json")
    assert (ended.returncode, ended.stderr) == (FAULT, "")
    reported = json.loads(ended.stdout)
    findings = reported.pop("findings")
    assert reported.pop("account")
    assert reported == {
        "staging": str(public_place.staging),
        "registry": str(public_place.registry),
        "verdict": "fault",
    }
    assert {tuple(f) for f in findings} == {
        ("where", "what", "verdict", "sentence", "remedy", "refused")
    }
    (fault,) = (f for f in findings if f["verdict"] == "fault")
    assert (fault["where"], fault["what"], fault["refused"]) == ("staging", "sticky bit", False)
    assert fault["remedy"] == f"chmod +t {public_place.staging}"


def test_a_table_on_terminal(public_place: Place) -> None:
    public_place.registry.chmod(0o777)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        doctor(public_place),
        stdout=theirs,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while part := _read(ours):
        shown += part
    os.close(ours)
    assert running.wait(60) == FAULT
    text = shown.decode()
    assert "is writable by everybody" in text
    assert f"→ Only the service may write to it: chmod o-w {public_place.registry}" in text
    assert "1 fault, " in text
    assert "gobbler serve does not start" in text
    assert "sticky bit" in text, "what is well is shown, too"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_missing_directories(run, tmp_path: Path) -> None:
    code, out, err = run("doctor", "--staging", tmp_path / "s", "--registry", tmp_path / "r")
    assert (code, err) == (FAULT, "")
    for name, mode in (("s", "1733"), ("r", "0755")):
        assert f"mkdir -m {mode} {tmp_path / name}" in out


@pytest.fixture
def run(capsys):
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


def test_directories_are_those_of_the_environment(
    run, public_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOBBLER_STAGING", str(public_place.staging))
    monkeypatch.setenv("GOBBLER_REGISTRY", str(public_place.registry))
    monkeypatch.chdir(public_place.top)
    assert run("doctor")[0] == 0
    code, out, _ = run("doctor", "--staging", "registry", "--json")
    assert code == FAULT, "nested"
    assert json.loads(out)["staging"] == str(public_place.registry)


def test_help_teaches_with_an_example(run) -> None:
    code, out, _ = run("doctor", "--help")
    assert code == 0
    assert "Example" in out
    assert "gobbler doctor --user gobbler" in out
    code, _, err = run("doctor", "--staging", "/tmp")
    assert (code, "--registry" in err) == (2, True)


@pytest.fixture
def services_place(public_place: Place) -> Place:
    """Directories of an account of the service's own."""
    os.chown(public_place.registry, account("gtservice"), -1)
    return public_place


def test_root_probes_as_the_services_account(services_place: Place) -> None:
    as_root = examined(services_place, "--json")
    assert as_root.returncode == FAULT
    sentences = {f["what"]: f for f in json.loads(as_root.stdout)["findings"]}
    assert "--user gtservice" in sentences["account"]["remedy"]
    assert "gtservice" in sentences["owner"]["sentence"]
    ended = examined(services_place, "--json", "--user", "gtservice")
    reported = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert reported["account"] == "gtservice"
    assert os.listdir(services_place.staging) == os.listdir(services_place.registry) == []


def test_another_account_gets_what_it_lacks(services_place: Place) -> None:
    account("gtalice")
    ended = examined(services_place, "--user", "gtalice")
    assert ended.returncode == FAULT
    assert "account (gtalice) can't write to the registry directory" in ended.stdout


def test_an_account_that_is_not_there(run, public_place: Place) -> None:
    code, out, err = run(*doctor(public_place, "--user", "no such account")[3:])
    assert (code, out) == (5, "")
    assert 'no account "no such account"' in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_doctor_that_is_stopped_cleans_up(public_place: Place, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [*ATTENTIVE, *doctor(public_place)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for("the doctor to begin", lambda: os.listdir(public_place.registry))
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (128 + number, 0)  # 0: it was done already
    assert b"Traceback" not in err
    assert os.listdir(public_place.staging) == os.listdir(public_place.registry) == []


def test_it_may_be_asked_while_a_service_runs(public_place: Place) -> None:
    with Running(public_place):
        before = sorted(os.listdir(public_place.registry))
        ended = examined(public_place)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert sorted(os.listdir(public_place.registry)) == before
        assert public_place.incoming() == []


def test_a_service_reports_what_it_can_live_with(public_place: Place) -> None:
    public_place.staging.chmod(0o777)
    with Running(public_place) as service:
        reported = service.output()
    assert "has no sticky bit" in reported
    assert f"chmod +t {public_place.staging}" in reported
