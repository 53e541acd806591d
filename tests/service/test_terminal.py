"""Nothing that comes from elsewhere reaches a terminal as it is, and output may be lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.client import Asset, Client, Job, Project, Version, VersionPath
from gobbler.client.errors import error_from_answer
from gobbler.client.testing import TestService

from .commands import on_terminal

HOSTILE = "\u202etxt.exe\u2066\x9b31m"
"""Characters that are valid in a name of the registry, but for the last."""

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b5n\u202e\r\x00"


def without_styles(text: str) -> str:
    """``text`` without what rich writes to draw tables and bars."""
    return re.sub(r"\x1b\[\??[0-9;]*[A-Za-ln-z]|\x1b\[[0-9;]*m|\r", "", text)


@pytest.fixture
def published(client: Client, project: str, tmp_path: Path) -> str:
    tree = tmp_path / "tree"
    (tree / "\u202edir").mkdir(parents=True)
    (tree / "\u202edir" / "\u2066file").write_text("x")
    (tree / "[red]rich").write_text("y")
    (tree / '"quoted"').write_text("z")
    (tree / "evil").write_bytes(EVIL.encode() + b"\xff\xfe\n")
    asset = "\u202easset"
    client.upload(project, asset, "1", tree)
    (tree / "new").write_text("new")
    client.upload(project, asset, "2\u2067", tree, probation=True)
    return f"{project}/{asset}"


def test_names_on_a_terminal(service: TestService, published: str, tmp_path: Path) -> None:
    project = published.partition("/")[0]
    url = ("--url", service.url)
    for words in [
        ("ls", project),
        ("ls", published),
        ("ls", f"{published}/1"),
        ("ls", f"{published}/1", "--json"),
        ("tree", project),
        ("tree", f"{published}/1"),
        ("show", published),
        ("show", f"{published}/1", "--json"),
        ("diff", f"{published}/1", f"{published}/2\u2067"),
        ("probation", "list", project),
        ("fetch", f"{published}/1"),
        ("fetch", f"{published}/1", "--remote", "--cache", tmp_path / "\u202ecache"),
        ("cache", "ls", "--cache", tmp_path / "\u202ecache"),
        ("cat", f"{published}/1/evil"),
        ("upload", tmp_path / "tree", f"{published}/3\u202e"),
        ("upload", tmp_path / "tree", f"{published}/3\u202e"),
        ("ls", f"{published}/nothing\u202e"),
        ("jobs", "show", f"1-{EVIL[:-1]}"),
        ("fetch", f"{published}/1/\x1b[31m"),
        (f"no-command{EVIL[:-1]}",),
        ("info",),
    ]:
        full = (
            words
            if words[0] in ("cache",) or (len(words) == 1 and words != ("info",))
            else (*words, *url)
        )
        code, shown = on_terminal(*full)
        assert code in (0, 2, 3, 5), shown
        plain = without_styles(shown)
        assert plain, words
        bad = [char for char in plain if not (char.isprintable() or char in "\n\t")]
        assert bad == [], (words, shown)


def test_content_is_printed_as_it_is_for_scripts(
    service: TestService, published: str, client: Client
) -> None:
    command = [sys.executable, "-m", "gobbler", "cat", f"{published}/1/evil", "--url", service.url]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == EVIL.encode() + b"\xff\xfe\n"
    command[3:5] = ["fetch", f"{published}/1"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == os.fsencode(f"{client.registry}/{published}/1\n")
    command[3:5] = ["ls", f"{published}/1"]
    lines = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")
    # As of `git ls-files`: quoted where it is necessary, so that no two names look the same.
    assert [line.split("\t")[1] for line in lines[:-1]] == [
        '"\\"quoted\\""',
        "[red]rich",
        "evil",
        '"\\u202edir/\\u2066file"',
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True)
    assert [each["path"] for each in json.loads(done.stdout)["files"]] == [
        '"quoted"',
        "[red]rich",
        "evil",
        "\u202edir/\u2066file",
    ]
    assert done.stdout.isascii()


def test_reasons_of_a_service_are_escaped() -> None:
    error = error_from_answer(400, {"reason": f"no{EVIL}\nhint: run rm", "code": "x"})
    assert str(error) == ("no\\x1b]0;owned\\x07\\x1b[2J\\x9b5n\\u202e\\x0d\\x00\nhint: run rm")
    assert error_from_answer(400, {"reason": ["a", ("b",)]}).reason == ""


def test_objects_from_a_service_show_nothing_that_a_terminal_obeys() -> None:
    client = Client("http://user:secret@127.0.0.1:1", registry="/nowhere")
    project = Project(client._reader, f"<script>{EVIL}")
    for thing in (
        project,
        Asset(project, EVIL),
        Version(Asset(project, EVIL), EVIL),
        VersionPath(Version(Asset(project, EVIL), EVIL), EVIL),
        client.jobs[f"1-{EVIL}"],
        client,
    ):
        html = getattr(thing, "_repr_html_", str)()
        for text in (repr(thing), html) if not isinstance(thing, Job) else (repr(thing),):
            assert text.isprintable(), text
            assert "secret" not in text
        assert "<script>" not in html


def gobbler(*words: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gobbler", *map(str, words)],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


PRINTING = (["ls", "--help"], ["ls"], ["info"], ["ls", "--json"], ["cat", "{p}/a/1/foo"])
"""Help, a table, facts, a document and bytes: all that commands print, they print as these do."""

OTHERS = (
    *(["--help"], ["--version"], ["completion", "bash"], ["config", "show"]),
    *(["cache", "ls", "--json"], ["show", "{p}"], ["tree", "{p}"], ["fetch", "{p}/a/1"]),
    *(["jobs", "ls", "--json"], ["usage"], ["diff", "{p}/a/1", "{p}/a/1", "--json"]),
)


@pytest.fixture
def environment(service: TestService) -> dict[str, str]:
    return {**os.environ, "GOBBLER_URL": service.url}


@pytest.fixture
def with_a_version(client: Client, project: str, source: Path) -> str:
    client.upload(project, "a", "1", source)
    return project


@pytest.mark.parametrize("words", [*PRINTING, *OTHERS], ids=" ".join)
def test_output_that_nobody_reads(
    environment: dict[str, str], with_a_version: str, words: list[str]
) -> None:
    pipe = closed_pipe()
    command = [word.format(p=with_a_version) for word in words]
    done = gobbler(*command, stdout=pipe, env=environment)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_output_that_can_not_be_written(
    environment: dict[str, str], with_a_version: str, words: list[str]
) -> None:
    command = [word.format(p=with_a_version) for word in words]
    done = gobbler(*command, env=environment, preexec_fn=lambda: os.close(1))  # as with `>&-`
    assert done.returncode == 1
    assert done.stderr == b"error: could not write the output: Bad file descriptor\n"
    with open("/dev/full", "wb") as full:
        done = gobbler(*command, stdout=full, env=environment)
    assert (done.returncode, b"No space left on device" in done.stderr) == (1, True)
    assert b"Traceback" not in done.stderr


def test_a_change_succeeds_whether_or_not_somebody_reads_of_it(
    environment: dict[str, str], client: Client, project: str, source: Path
) -> None:
    with open("/dev/full", "wb") as full:
        for number, options in enumerate(
            [
                {"stdout": closed_pipe()},
                {"preexec_fn": lambda: os.close(1)},
                {"stdout": full},
                {"preexec_fn": lambda: os.closerange(0, 3)},
            ]
        ):
            (source / "number").write_text(str(number))
            done = gobbler("upload", source, f"{project}/a/{number}", env=environment, **options)
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done
            latest = client.asset(project, "a").latest()
            assert latest is not None
            assert latest.name == str(number)


@pytest.mark.parametrize("stream", [0, 2])
def test_other_streams_may_be_closed(
    environment: dict[str, str], project: str, stream: int
) -> None:
    options = {"stdout": subprocess.PIPE, "preexec_fn": lambda: os.close(stream)}
    done = gobbler("ls", env=environment, **options)
    assert (done.returncode, project.encode() in done.stdout) == (0, True)
    done = gobbler("ls", "nothing", env=environment, **options)
    assert done.returncode == 5


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding(
    service: TestService, client: Client, project: str, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "é\u4e2d").write_text("")
    client.upload(project, "a", "1", tmp_path)
    environment = {**os.environ, "GOBBLER_URL": service.url, "PYTHONIOENCODING": encoding}
    done = gobbler("ls", f"{project}/a/1", env=environment, stdout=subprocess.PIPE)
    assert done.returncode == 0
    expected = "0\té\u4e2d\t\n".encode(encoding, "backslashreplace")
    assert done.stdout == expected
    done = gobbler("ls", f"{project}/a/1", "--json", env=environment, stdout=subprocess.PIPE)
    assert [each["path"] for each in json.loads(done.stdout)["files"]] == ["é\u4e2d"]
    done = gobbler("ls", f"{project}/é\u4e2d", env=environment, stdout=subprocess.PIPE)
    assert (done.returncode, b"Traceback" in done.stderr) == (5, False)
