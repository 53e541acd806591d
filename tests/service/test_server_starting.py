"""Starting a service: its command line, and its messages if it can't start."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from gobbler.client.testing import ReservedPort

from .processes import (
    Place,
    Running,
    account,
    own_name,
    public_place,
    run_as,
    wait_for,
)

__all__ = ["public_place"]

CLIENTS_MISTAKE, WRONG_USAGE = 1, 2


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def refusal(*flags: str, code: int = CLIENTS_MISTAKE, user: str | None = None) -> str:
    """What ``gobbler serve`` says on standard error as it refuses to start."""
    command = run_as(user, *flags)
    ended = subprocess.run(capture_output=True, text=True, timeout=30, **command)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def directories(place: Place) -> list[str]:
    return [f"--staging={place.staging}", f"--registry={place.registry}"]


def test_a_port_in_use_is_reported_with_a_way_out(place: Place) -> None:
    with socket.socket() as ingested:
        ingested.bind(("127.0.0.1", 0))
        ingested.listen()
        port = ingested.getsockname()[1]
        reported = refusal(*directories(place), f"--port={port}")
    assert f"error: port {port} of 127.0.0.1 is in use by process " in reported
    assert f'of the account "{own_name()}"' in reported
    assert "hint: " in reported
    assert "--port" in reported


def answer(url: str) -> Any:
    try:
        return requests.get(url, timeout=5).json()
    except requests.ConnectionError:
        return None


def test_of_services_that_start_at_the_same_moment_one_gets_the_port(tmp_path: Path) -> None:
    with ReservedPort() as port:
        flags = [f"--port={port.number}"]
        starting = []
        for number in range(3):
            top = tmp_path / str(number)
            top.mkdir()
            command = run_as(None, *directories(Place(top)), *flags)
            starting.append(subprocess.Popen(stderr=subprocess.PIPE, text=True, **command))
        try:
            wait_for(
                "two of them give up", lambda: sum(p.poll() is not None for p in starting) == 2
            )
            (serving,) = (process for process in starting if process.poll() is None)
            for process in starting:
                if process is not serving:
                    assert process.wait() == CLIENTS_MISTAKE
                    assert f"port {port.number} of 127.0.0.1 is in use" in process.stderr.read()
            url = f"http://127.0.0.1:{port.number}/info"
            staging = tmp_path / str(starting.index(serving)) / "staging"
            wait_for("it serves", lambda: answer(url) is not None)
            assert answer(url)["staging"] == str(staging)
        finally:
            for process in starting:
                process.terminate()
                process.communicate()


@pytest.mark.parametrize("which", ["staging", "registry"])
def test_a_missing_directory_is_reported_with_the_command_that_makes_it(
    place: Place, which: str
) -> None:
    path = getattr(place, which)
    path.rmdir()
    reported = refusal(*directories(place))
    assert f"error: the {which} directory {path} does not exist" in reported
    assert "hint: " in reported
    assert f"mkdir -m {'1733' if which == 'staging' else '0755'} {path}" in reported


@pytest.mark.parametrize("which", ["staging", "registry"])
def test_a_directory_that_the_account_can_not_write_is_reported(
    public_place: Place, which: str
) -> None:
    account("gtservice")
    other = "staging" if which == "registry" else "registry"
    os.chown(getattr(public_place, other), account("gtservice"), -1)
    os.chmod(getattr(public_place, which), 0o755)
    reported = refusal(*directories(public_place), user="gtservice")
    assert f"can't write to the {which} directory {getattr(public_place, which)}" in reported
    assert "hint: " in reported


def test_a_registry_that_everybody_can_write_is_not_served(place: Place) -> None:
    place.registry.chmod(0o777)
    reported = refusal(*directories(place))
    assert "writable by everybody" in reported
    assert f"chmod o-w {place.registry}" in reported


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--no-such-flag", "--no-such-flag"),
        ("-no-such-flag", "-n"),
        ("--port=0", "--port"),
        ("--port=http", "--port"),
        ("--workers=0", "--workers"),
        ("--grace=-1", "--grace"),
        ("--log-format=xml", "--log-format"),
        ("argument", "argument"),
    ],
)
def test_a_wrong_command_line_is_reported_with_the_usage(
    place: Place, flag: str, named: str
) -> None:
    reported = refusal(*directories(place), flag, code=WRONG_USAGE)
    assert "Usage: gobbler serve" in reported
    assert named in reported


def test_a_missing_flag_is_named() -> None:
    assert "--registry" in refusal("--staging=/tmp", code=WRONG_USAGE)


@pytest.mark.parametrize(
    ("flag", "content", "named"),
    [
        ("whitelist", "/fine\nrelative/path\n", ["line 2", "relative/path"]),
        ("spoof", "alice:bob\nnonsense\n", ["line 2", "nonsense"]),
        ("whitelist", None, ["could not read"]),
        ("spoof", None, ["could not read"]),
    ],
)
def test_a_bad_file_of_rules_is_reported_with_file_and_line(
    place: Place, flag: str, content: str | None, named: list[str]
) -> None:
    path = place.top / flag
    if content is not None:
        path.write_text(content)
    reported = refusal(*directories(place), f"--{flag}={path}")
    for words in (str(path), *named):
        assert words in reported


def test_nothing_is_made_in_directories_that_it_refuses(place: Place) -> None:
    place.registry.chmod(0o777)
    refusal(*directories(place))
    assert os.listdir(place.staging) == []
    assert os.listdir(place.registry) == []


@pytest.mark.parametrize("form", ["--{}={}", "--{} {}", "-{}={}", "-{} {}"])
def test_long_options_take_both_spellings(place: Place, form: str) -> None:
    (place.top / "list").write_text(f"{place.top}\n")
    flags = {"whitelist": f"{place.top}/list", "concurrency": "1", "prefix": "here/"}
    words = [word for name, value in flags.items() for word in form.format(name, value).split()]
    with Running(place, *words, prefix="/here") as service:
        assert requests.get(service.root + "/here/info", timeout=30).json() == {
            "staging": str(place.staging),
            "registry": str(place.registry),
        }
        assert service.terminate() == 0


def test_a_prefix_stands_before_every_endpoint(place: Place) -> None:
    with Running(place, "--prefix=/a/b/", prefix="/a/b") as service:
        service.succeed("create_project", {"project": "p"})
        assert requests.get(service.url + "/list?path=p", timeout=30).status_code == 200
        assert requests.get(service.url + "/fetch/p/..usage", timeout=30).json() == {"total": 0}
        assert "gobbler" in requests.get(service.url + "/", timeout=30).json()["name"]
        for path in ("/info", "/list", "/fetch/p/..usage", "/a/info", "/a/bb/info"):
            assert requests.get(service.root + path, timeout=30).status_code == 404
        assert requests.post(service.root + "/new/request-x-1", timeout=30).status_code == 404


def test_log_lines_are_json_on_demand(place: Place) -> None:
    with Running(place, "--log-format=json") as service:
        service.succeed("create_project", {"project": "p"})
        assert service.ask("create_project", {"project": "p\n\x1b[2J"}).status_code == 400
        assert service.terminate() == 0
    lines = [json.loads(line) for line in service.output().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    reported = [line for line in lines if line["logger"] == "gobbler.requests"]
    assert len(reported) == 2
    assert all(own_name() in line["message"] for line in reported)


def test_what_users_write_starts_no_line_of_the_log(place: Place) -> None:
    with Running(place) as service:
        name = "request-health_check-x%0a2026-11-20T00:00:00+00:00 ERROR forged"
        assert service.post(name).status_code == 400
        assert service.terminate() == 0
    assert not any(line.startswith("2026-11-20T00") for line in service.output().splitlines())


@pytest.mark.parametrize("problem", ["registry", "index", "whitelist"])
def test_a_service_that_can_not_start_takes_no_connection(place: Place, problem: str) -> None:
    """Who asks while it looks at its directories is refused, and gets no broken connection."""
    flags = directories(place)
    if problem == "registry":
        place.registry.chmod(0o777)
    else:
        flags.append(f"--{problem}={place.registry}/there")
    taken = 0
    with ReservedPort() as port:
        command = run_as(None, *flags, f"--port={port.number}")
        process = subprocess.Popen(stderr=subprocess.PIPE, text=True, **command)
        while process.poll() is None:
            with socket.socket() as client:
                taken += client.connect_ex(("127.0.0.1", port.number)) == 0
        said = process.communicate()[1]
    assert process.returncode == CLIENTS_MISTAKE
    assert "error: " in said
    assert taken == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-"])
def test_it_serves_whatever_standard_stream_is_closed(place: Place, closed: str) -> None:
    with ReservedPort() as port:
        command = run_as(None, *directories(place), f"--port={port.number}")
        command["args"] = ["bash", "-c", f'exec "$@" {closed}', "bash", *command["args"]]
        process = subprocess.Popen(stderr=subprocess.PIPE, text=True, **command)
        try:
            wait_for("it serves", lambda: answer(f"http://127.0.0.1:{port.number}/info"))
        finally:
            process.terminate()
            said = process.communicate()[1]
    assert process.returncode == 0
    assert "error" not in said


BEFORE_THE_FORK = """
import gc
from gobbler.service import child_process
def start(self):
    print(gc.isenabled(), gc.get_freeze_count() > 10_000, flush=True)
    raise SystemExit
child_process.ChildProcess.start = start
from gobbler.__main__ import run
run()
"""


def test_processes_collect_garbage_but_not_in_what_they_share(place: Place) -> None:
    with ReservedPort() as port:
        command = run_as(None, *directories(place), f"--port={port.number}")
        python, *_, serve = command["args"][:4]
        command["args"] = [python, "-c", BEFORE_THE_FORK, serve, *command["args"][4:]]
        ended = subprocess.run(capture_output=True, text=True, timeout=30, **command)
    assert ended.stdout == "True True\n", ended.stderr


def test_an_http_worker_that_always_dies_ends_the_service_with_a_reason(place: Place) -> None:
    broken = {
        "gobbler.service.http_worker:SWITCH_INTERVAL": -1.0,  # Python refuses it
        "gobbler.service.child_process:FIRST_PAUSE": 0.01,
    }
    command = run_as(None, *directories(place), "--port=1", constants=broken)
    with ReservedPort() as port:
        command["args"][-1] = f"--port={port.number}"
        ended = subprocess.run(capture_output=True, text=True, timeout=60, **command)
    assert ended.returncode == CLIENTS_MISTAKE
    assert "HTTP worker 1 has died 6 times, each time soon after its start" in ended.stderr
    assert ended.stderr.count("starting another one in") == 5
