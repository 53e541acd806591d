"""Entries that are nobody's project, and damage, are reported and never end a walk."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from gobbler.client import Client

from . import foreign
from .commands import forked
from .processes import Place, Running, account

SERVICE, READER = "gtservice", "gtalice"


class Site(NamedTuple):
    """A service under its own account, and its registry with foreign entries."""

    service: Running
    registry: Path
    home: Path

    def run(self, *words: str) -> tuple[int, str, str]:
        """A command of an account that is neither the service's nor root; code and output."""
        given = {"GOBBLER_CACHE": str(self.home / "cache"), "GOBBLER_URL": self.service.url}
        done = forked().run(
            words,
            environment={"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8"}
            | {"XDG_STATE_HOME": str(self.home / "state"), "GOBBLER_CONFIG": os.devnull}
            | given,
            cwd=self.home,
            user=(account(READER), pwd.getpwnam(READER).pw_gid),
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def read(self, path: str) -> Any:
        return json.loads((self.registry / path).read_bytes())


@pytest.fixture(scope="module", params=["with an index", "without an index"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="gobbler-site-") as directory:
        os.chmod(directory, 0o755)
        yield from _site(Path(directory), is_indexed=request.param == "with an index")


def _site(top: Path, *, is_indexed: bool) -> Iterator[Site]:
    uid, reader = account(SERVICE), account(READER)
    place = Place(top)
    os.chown(place.registry, uid, -1)
    flags = [f"--admin={READER}"]
    if is_indexed:
        index = top / "index"
        index.mkdir()
        os.chown(index, uid, -1)
        flags.append(f"--index={index}/i.db")
    home = top / "home"
    home.mkdir()
    os.chown(home, reader, -1)
    with Running(place, *flags, user=SERVICE) as service:
        for project in ("p", "q"):
            service.succeed("create_project", {"project": project}, reader)
            for version in ("1", "2", "3", "beta"):
                source = place.stage({"f": b"content", "d/g": b"more"}, reader)
                names = {"project": project, "asset": "a", "version": version}
                payload = {**names, "source": source, "on_probation": version == "beta"}
                service.succeed("upload", payload, reader)
        for directory in ("", "p", "p/a"):
            foreign.add_foreign(place.registry / directory)
        foreign.half_done(place.registry / "p/a", place.registry / "p/a/1")
        yield Site(service, place.registry, home)


NOT_MOUNTED = ["--registry=/nowhere/at/all"]
"""Hides the registry from a command, so that it reads over HTTP."""

OURS = {f"{project}/a/{version}" for project in "pq" for version in ("1", "2", "3", "beta")}

REPORTED = ("lost+found", "p/lost+found", ".snapshot", ".Trash-1000", r"bad\x1bname", "latin-")
"""What every walk of the whole registry names, and why it goes on."""


def check_reported(text: str) -> None:
    for name in REPORTED:
        assert name in text
    assert "Permission denied" in text


@pytest.mark.parametrize("remote", [[], NOT_MOUNTED], ids=["mounted", "over HTTP"])
def test_validating_everything_goes_on(site: Site, remote: list[str]) -> None:
    code, out, _ = site.run("validate", "--all", "--restart", "--json", *remote)
    assert code == 3  # there is a version that is half done
    found = json.loads(out)
    wrong = {"/".join((each["project"], each["asset"], each["version"])) for each in found["wrong"]}
    assert "p/a/half-done" in wrong
    assert not wrong & OURS
    assert found["verified"] >= len(OURS)
    skipped = [each["path"] for each in found["skipped"]]
    assert {"lost+found", ".snapshot", ".Trash-1000", "p/lost+found", "p/a/lost+found"} <= {
        *skipped
    }
    assert len(skipped) == len(set(skipped))
    code, out, err = site.run("validate", "--all", "--restart", *remote)
    assert code == 3
    check_reported(out + err)


def test_what_sites_have_is_not_wrong(site: Site) -> None:
    assert site.run("validate", "--all", "q", "--restart")[:2] == (0, "")
    code, out, _ = site.run("validate", "--all", "q", "--restart", "--json")
    assert (code, json.loads(out).get("skipped")) == (0, []), out


@pytest.mark.parametrize("command", [["refresh", "--all"], ["reindex", "--all", "--yes"]])
def test_repairing_everything_goes_on(site: Site, command: list[str]) -> None:
    os.unlink(site.registry / "q/..usage")
    os.unlink(site.registry / "q/a/..latest")
    manifest = site.read("q/a/2/..manifest")
    code, out, err = site.run(*command, "--restart")
    assert code == 1
    check_reported(out + err)
    assert site.run("refresh", "--all", "q", "--restart")[0] == 0
    assert site.read("q/..usage") == {"total": 11}
    assert site.read("q/a/..latest") == {"version": "3"}
    assert site.read("q/a/2/..manifest") == manifest
    for name in ("lost+found", ".snapshot", "empty"):
        assert not list((site.registry / name).glob("..*"))


@pytest.mark.parametrize("words", [["probation", "list"], ["delete", "p", "--dry-run"]])
@pytest.mark.parametrize("remote", [[], NOT_MOUNTED], ids=["mounted", "over HTTP"])
def test_listing_versions_goes_on(site: Site, words: list[str], remote: list[str]) -> None:
    code, out, err = site.run(*words, *remote)
    assert code == 0
    assert "p/a/beta" in out or "versions" in out
    assert "lost+found" in err
    assert err.count('skipping "p/a/lost+found"') == 1


@pytest.mark.parametrize(
    "words", [["ls"], ["ls", "p"], ["ls", "p/a"], ["tree", "p"], ["usage"], ["show", "p/a"]]
)
@pytest.mark.parametrize("remote", [[], NOT_MOUNTED], ids=["mounted", "over HTTP"])
def test_looking_goes_on(site: Site, words: list[str], remote: list[str]) -> None:
    code, out, err = site.run(*words, *remote)
    assert code == 0
    assert "lost+found" in out + err
    if words == ["ls", "p/a"]:
        assert "latest" in out
    if words == ["usage"]:
        assert "11\tp\t" in out


def test_links_are_found_and_led_elsewhere(site: Site) -> None:
    code, out, _ = site.run("show", "--links", "p/a/1")
    assert code == 0
    assert "p/a/2/f" in out
    code, out, _ = site.run("reroute", "p/a/1", "--dry-run", "--json")
    assert code == 0
    changes = json.loads(out)["changes"]
    assert {change["path"] for change in changes} >= {"p/a/2/f", "p/a/3/d/g", "p/a/beta/f"}


def test_a_version_is_rerouted_and_deleted(site: Site) -> None:
    reader = account(READER)
    service = site.service
    service.succeed("create_project", {"project": "gone"}, reader)
    for version in "12":
        names = {"project": "gone", "asset": "a", "version": version}
        source = service.place.stage({"f": b"gone"}, reader)
        service.succeed("upload", {**names, "source": source}, reader)
    assert site.run("reroute", "gone/a/1")[0] == 0
    foreign.add_foreign(site.registry / "gone/a")
    assert site.run("delete", "gone/a/1", "--yes")[0] == 0
    assert site.run("validate", "gone/a/2")[0] == 0
    assert site.read("gone/..usage") == {"total": 4}
    assert site.run("delete", "gone", "--yes", "--force")[0] == 0
    assert not (site.registry / "gone").exists()


def test_over_http_everything_can_be_listed(site: Site) -> None:
    def listed(**query: str) -> list[str]:
        answer = requests.get(f"{site.service.url}/list", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        found: list[str] = answer.json()
        return found

    everything = listed(recursive="true")
    assert {"lost+found/", "p/a/1/f", "q/a/3/d/g", "README", "pipe", "dangling"} <= {*everything}
    assert "f" in listed(path="p/a/half-done", recursive="true")
    assert {"latin-\ufffd/", "bad\x1bname/", "a/"} <= {*listed(path="p")}
    answer = requests.get(f"{site.service.url}/list?path=lost%2Bfound", timeout=30)
    assert answer.status_code == 400
    assert "Permission denied" in answer.json()["reason"]


@pytest.mark.parametrize("remote", [[], ["--remote"]], ids=["mounted", "over HTTP"])
@pytest.mark.parametrize("path", ["", "/f", "/d"])
def test_a_version_that_is_half_done_is_not_fetched(
    site: Site, remote: list[str], path: str
) -> None:
    code, out, _ = site.run("fetch", f"p/a/half-done{path}", "--json", *remote)
    assert code == 5
    assert json.loads(out)["error"]["code"] == "incomplete-version"


@pytest.mark.parametrize("record", ["..summary", "..manifest"])
@pytest.mark.parametrize("force_remote", [False, True], ids=["mounted", "over HTTP"])
def test_neither_is_one_without_a_record(
    site: Site, tmp_path: Path, record: str, force_remote: bool
) -> None:
    import pygobbler  # noqa: PLC0415 - as its users do

    client = Client(
        site.service.url, registry=site.registry, cache=tmp_path, force_remote=force_remote
    )
    path = site.registry / "q/a/3" / record
    kept = path.read_bytes()
    path.unlink()
    options = {"registry": str(site.registry), "url": site.service.url, "cache": str(tmp_path)}
    try:
        for fetch in (
            lambda: client.fetch_directory("q/a/3"),
            lambda: client.version("q/a/3").fetch(),
            lambda: pygobbler.fetch_directory("q/a/3", **options, force_remote=force_remote),
        ):
            kind = requests.HTTPError if force_remote else FileNotFoundError
            with pytest.raises(kind) as caught:
                fetch()
            assert caught.value.code == "incomplete-version"
        inner = pygobbler.fetch_directory("q/a/3/d", **options, force_remote=force_remote)
        assert Path(inner, "g").read_bytes() == b"more"
    finally:
        path.write_bytes(kept)
    assert Path(client.fetch_directory("q/a/3"), "f").read_bytes() == b"content"


def test_the_log_names_each_once(site: Site) -> None:
    for _ in range(3):
        assert site.run("reroute", "q/a/1", "--dry-run")[0] == 0
    log = site.service.output()
    assert log.count('/p/lost+found": Permission denied') <= len(site.service.processes())
    assert '/lost+found": Permission denied' in log


RECORDS = ("..usage", "a/..latest", "a/2/..summary", "a/2/..manifest", "a/beta/..manifest")


@pytest.fixture
def damaged(site: Site) -> Iterator[list[str]]:
    """Names of copies of a project, each with one record that is damaged in one way."""
    made = []
    pairs = [(kind, number % len(RECORDS)) for number, kind in enumerate(foreign.DAMAGE)]
    for kind, number in {*pairs, ("socket", 3), ("unreadable", 3), ("unreadable", 4)}:
        made.append(f"x-{kind}-{number}")
        shutil.copytree(site.registry / "q", site.registry / made[-1], symlinks=True)
        foreign.DAMAGE[kind](site.registry / made[-1] / RECORDS[number])
    yield made
    for name in made:
        foreign.remove(site.registry / name)


@pytest.mark.parametrize("remote", [[], NOT_MOUNTED], ids=["mounted", "over HTTP"])
def test_damaged_records_hide_nothing_else(
    site: Site, damaged: list[str], remote: list[str]
) -> None:
    code, out, _ = site.run("usage", *remote)
    assert code == 0
    assert all(name in out for name in damaged)
    code, out, err = site.run("probation", "list", *remote)
    assert code == 0, err
    assert all(f"{name}/a/beta" in out for name in (*damaged, "q"))
    for name in ("x-socket-3", "x-unreadable-3"):
        code, out, err = site.run("delete", name, "--dry-run", *remote)
        assert code == 0, err
        assert f"{name}/a/2" in out
