"""What an upload says of what it leaves out, and refuses before it copies anything."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pygobbler as pyg
from gobbler.client import Client
from gobbler.client.notices import LeftOut, NothingNew
from gobbler.client.testing import TestService
from gobbler.doctor.host import as_account
from gobbler.errors import Code, Forbidden, GobblerError, Missing, Refused

DOTS = {".zattrs", ".zgroup", "a/.zarray", "a/0"}


@pytest.fixture
def zarr(tmp_path: Path) -> Path:
    """A store whose metadata are in files that begin with a dot."""
    top = tmp_path / "store.zarr"
    (top / "a").mkdir(parents=True)
    for path in DOTS:
        (top / path).write_text(path)
    return top


@contextlib.contextmanager
def no_notices() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


Staged = Callable[[Path], Path]


@pytest.fixture
def staged(client: Client) -> Iterator[Staged]:
    """Make a copy of a tree in staging, which is removed at the end."""
    made: list[str] = []

    def copy(tree: Path) -> Path:
        made.append(client.allocate_upload_directory(create=False))
        shutil.copytree(tree, made[-1])
        return Path(made[-1])

    yield copy
    for path in made:
        shutil.rmtree(path)


@pytest.mark.parametrize("in_staging", [False, True])
def test_files_that_begin_with_a_dot_are_taken(
    client: Client, project: str, zarr: Path, staged: Staged, in_staging: bool
) -> None:
    client.upload(project, "a", "1", staged(zarr) if in_staging else zarr)
    assert set(client.version(project, "a", "1")) == DOTS


@pytest.mark.parametrize("in_staging", [False, True])
def test_what_is_left_out_is_named(
    client: Client, project: str, zarr: Path, staged: Staged, in_staging: bool
) -> None:
    (zarr / ".git").mkdir()
    (zarr / ".git" / "huge").write_text("not named")
    source = staged(zarr) if in_staging else zarr
    with pytest.warns(LeftOut) as told:
        client.upload(project, "a", "1", source, ignore_dot=True)
    assert str(told[0].message).startswith(
        'the upload leaves out 4 names that start with a dot: ".git", ".zattrs", ".zgroup", '
        '"a/.zarray" ('
    )
    assert set(client.version(project, "a", "1")) == {"a/0"}


def test_many_names_are_cut(client: Client, project: str, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f".{number:02}").write_text("")
    (tmp_path / "x").write_text("")
    with pytest.warns(LeftOut, match=r'12 names .*"\.04" and 7 more'):
        client.upload(project, "a", "1", tmp_path, ignore_dot=True)


@pytest.mark.parametrize("in_staging", [False, True])
def test_names_of_the_service_are_left_out_and_named(
    client: Client, project: str, zarr: Path, staged: Staged, in_staging: bool
) -> None:
    (zarr / "..manifest").write_text("{}")
    (zarr / "a" / "..links").write_text("{}")
    source = staged(zarr) if in_staging else zarr
    with pytest.warns(
        LeftOut, match=r'2 names that start with "\.\.".*"\.\.manifest", "a/\.\.links"'
    ):
        client.upload(project, "a", "1", source)
    assert set(client.version(project, "a", "1")) == DOTS


def test_pygobbler_keeps_its_default_and_warns(
    service: TestService, project: str, zarr: Path
) -> None:
    with pytest.warns(LeftOut, match='3 names that start with a dot: ".zattrs"') as told:
        pyg.upload_directory(project, "a", "1", str(zarr), service.staging, service.url)
    assert told[0].filename == __file__
    manifest = pyg.fetch_manifest(project, "a", "1", service.registry, service.url)
    assert set(manifest) == {"a/0"}


@pytest.mark.parametrize("in_staging", [False, True])
def test_an_upload_that_takes_nothing_says_so(
    client: Client, project: str, tmp_path: Path, staged: Staged, in_staging: bool
) -> None:
    (tmp_path / "empty").mkdir()
    source = staged(tmp_path) if in_staging else tmp_path
    with pytest.warns(NothingNew, match="the upload takes no file: .* has none"):
        client.upload(project, "a", "1", source)
    with pytest.warns(NothingNew, match="the upload takes no file"):
        client.upload(project, "a", "2", source)
    (source / ".only").write_text("")
    with pytest.warns(LeftOut), pytest.warns(NothingNew, match="has only what is left out"):
        client.upload(project, "a", "3", source, ignore_dot=True)


@pytest.mark.parametrize("remote", [False, True])
def test_an_upload_that_changes_nothing_says_so(
    service: TestService, client: Client, project: str, source: Path, tmp_path: Path, remote: bool
) -> None:
    if remote:
        client = Client(
            service.url, staging=service.staging, cache=tmp_path / "cache", force_remote=True
        )
    with no_notices():
        client.upload(project, "a", "1", source)
    with pytest.warns(NothingNew, match='changes nothing: it has the same files as version "1"'):
        client.upload(project, "a", "2", source)
    (source / "foo").unlink()
    with no_notices():
        client.upload(project, "a", "3", source)


def test_the_command_says_all_of_it(run: Any, project: str, zarr: Path) -> None:
    code, out, err = run("upload", zarr, f"{project}/a/1")
    assert (code, err) == (0, "")
    assert "stored    4 files" in out
    code, out, err = run("upload", zarr, f"{project}/a/2", "--json")
    assert (code, json.loads(out)["linked"]["files"]) == (0, 4)
    assert err.startswith("warning: version ")
    assert 'changes nothing: it has the same files as version "1"' in err
    for words in (["--dry-run"], ["--no-wait"], []):
        code, _, err = run("upload", zarr, f"{project}/b/1{words}", "--ignore-dot", *words)
        assert code == 0
        assert err.splitlines()[0].startswith(
            'warning: the upload leaves out 3 names that start with a dot: ".zattrs"'
        )


class Copied(Exception):
    """Something would be copied."""


@pytest.fixture
def nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise Copied

    monkeypatch.setattr("gobbler.client.staging._fill", fill)
    monkeypatch.setattr("gobbler.client.preflight.LITTLE_FILES", 0)


@pytest.mark.usefixtures("nothing_is_copied")
@pytest.mark.parametrize("way", ["upload", "submit"])
@pytest.mark.parametrize("knows", [True, False])
def test_what_the_service_would_refuse_is_refused_before_anything_is_copied(
    client: Client,
    project: str,
    source: Path,
    staged: Staged,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    knows: bool,
) -> None:
    client.upload(project, "a", "1", staged(source))
    if not knows:  # as the Go service
        monkeypatch.setattr(type(client.connection), "knows", lambda *_: False)
    upload = getattr(client, way)
    for names, code, kind in [
        ((project, "a", "1"), Code.VERSION_EXISTS, Refused),
        (("no-such-project", "a", "1"), Code.PROJECT_NOT_FOUND, Missing),
    ]:
        with pytest.raises(kind) as caught:
            upload(*names, source)
        assert caught.value.code == code
    with pytest.raises(Copied):
        upload(project, "a", "2", source)
    with pytest.raises(Copied):
        upload(project, "new", "1", source)


@pytest.mark.usefixtures("nothing_is_copied")
def test_a_missing_right_is_told_before_anything_is_copied(client: Client, project: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs another account")
    client.project(project).set_permissions(uploaders=[{"id": "nobody", "asset": "a"}])
    with tempfile.TemporaryDirectory() as source:
        os.chmod(source, 0o755)
        Path(source, "x").write_text("x")

        def attempt(asset: str, spoof: str | None = None) -> str:
            try:
                client.upload(project, asset, "1", source, spoof=spoof)
            except GobblerError as error:
                return str(error.code)
            except Copied:
                return "copied"
            return "published"

        with pytest.raises(Forbidden, match="not allowed to act for"):
            client.upload(project, "a", "1", source, spoof="ada")
        assert as_account("nobody", attempt, "a") == "copied"
        assert as_account("nobody", attempt, "b") == "not-allowed"
        assert as_account("nobody", attempt, "a", "root") == "not-allowed"
        client.project(project).set_permissions(global_write=True)
        assert as_account("nobody", attempt, "b") == "copied"


def test_a_client_of_a_service_without_the_action_uploads(
    client: Client, project: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.connection, "_actions", frozenset())
    sent = []
    real = client.connection.request

    def request(action: str, **fields: object) -> dict[str, object]:
        sent.append(action)
        return real(action, **fields)

    monkeypatch.setattr(client.connection, "request", request)
    client.upload(project, "a", "1", source)
    assert sent == ["upload"]
