"""Names of files are UTF-8 in the registry, whatever the locale of service and client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .processes import Place, Running, public_place

__all__ = ["public_place"]

LATIN = "en_US.ISO-8859-1"
NAME = "größe 測定.txt"


@pytest.fixture(scope="session")
def latin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a locale that is not UTF-8."""
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef")
    top = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(top / LATIN)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no sources of locales here")
    return top


@pytest.fixture(params=[LATIN, "C", "POSIX", "C.UTF-8"])
def locale(request: pytest.FixtureRequest, latin: Path) -> dict[str, str]:
    """The variables of a locale. Nothing else says that names are UTF-8."""
    return {"LC_ALL": request.param, "LANG": request.param, "LOCPATH": str(latin)}


def environment(locale: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, **locale}


def run(locale: Mapping[str, str], *words: str | bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *words], env=environment(locale), capture_output=True, timeout=120
    )


@pytest.fixture
def running(public_place: Place, locale: dict[str, str]) -> Iterator[Running]:
    variables = {**locale, "PYTHONUTF8": "0"} if locale["LC_ALL"] == LATIN else locale
    with Running(public_place, variables=variables) as started:
        yield started


def test_a_name_is_published_and_fetched_as_it_is(
    running: Running, locale: dict[str, str], tmp_path: Path
) -> None:
    place = running.place
    running.succeed("create_project", {"project": "p"})
    source = tmp_path / "Größe"
    source.mkdir()
    (source / NAME).write_text("x")
    where = ("--url", running.url, "--staging", str(place.staging))
    gobbler = ("-m", "gobbler")
    for words in (
        ("upload", os.fsencode(source), "p/a/1", *where),
        ("ls", "p/a/1", "--registry", str(place.registry)),
        ("fetch", "p/a/1", "--to", str(tmp_path / "copy"), "--url", running.url),
        ("clone", "p/a/1", str(tmp_path / "clone"), "--registry", str(place.registry)),
    ):
        done = run(locale, *gobbler, *words)
        assert done.returncode == 0, done.stderr
        if words[0] == "ls":
            assert NAME.encode() in done.stdout
    there = os.fsencode(place.registry / "p/a/1")
    assert NAME.encode() in os.listdir(there)
    for copy in ("copy", "clone"):
        assert NAME.encode() in os.listdir(os.fsencode(tmp_path / copy))
    assert place.read("p/a/1/..manifest")[NAME]["size"] == 1
    running.succeed("validate_version", {"project": "p", "asset": "a", "version": "1"})


def test_a_process_that_is_not_ours_is_told(latin: Path, public_place: Place) -> None:
    here = {"LC_ALL": LATIN, "LOCPATH": str(latin)}
    program = (
        "from gobbler.service.context import InProcess; "
        "from gobbler.service.settings import Settings; "
        f"InProcess(Settings({str(public_place.staging)!r}, {str(public_place.registry)!r}, "
        "frozenset()))"
    )
    done = run(here, "-c", program)
    assert b"takes file names for iso8859-1" in done.stderr
    warned = run(here, "-c", "from gobbler import Client; Client('http://127.0.0.1:9')")
    assert b"RuntimeWarning: file names are not UTF-8" in warned.stderr
    assert warned.returncode == 0


def test_options_that_exclude_utf_8_are_an_error_and_no_loop(latin: Path) -> None:
    done = run({"LC_ALL": LATIN, "LOCPATH": str(latin)}, "-E", "-m", "gobbler", "--version")
    assert done.returncode != 0
    assert b"PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("python", ["/nonexistent", "", None])
def test_a_python_that_can_not_be_started_again_is_told(
    latin: Path, public_place: Place, python: str | None
) -> None:
    here = {"LC_ALL": LATIN, "LOCPATH": str(latin)}
    program = f"import sys; sys.executable = {python!r}; from gobbler.cli import main; main()"
    both = (f"--registry={public_place.registry}", f"--staging={public_place.staging}")
    read = run(here, "-c", program, "ls", both[0])
    assert (read.returncode, b"file names are not UTF-8" in read.stderr) == (0, True), read.stderr
    served = run(here, "-c", program, "serve", *both)
    assert served.returncode != 0
    assert b"PYTHONUTF8=1" in served.stderr
