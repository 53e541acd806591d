"""The reading calls of pygobbler, either way, against the real service."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import requests

import pygobbler as pyg
from gobbler.client.testing import TestService

VISIBLE = ["chihaya/kisaragi/", "foo", "whee/blah", "whee2"]


@pytest.fixture
def published(service: TestService, project: str, source: Path) -> str:
    """A project with the asset ``list`` in the versions v1 and v2, and another one."""
    for asset, version in (("list", "v1"), ("list", "v2"), ("more-list", "foo")):
        pyg.upload_directory(
            project, asset, version, str(source), staging=service.staging, url=service.url
        )
    return project


@pytest.fixture(params=["local", "remote"])
def here(request, service, tmp_path):
    """The arguments that say where to read."""
    at = {"registry": service.registry, "url": service.url}
    return at | ({"force_remote": True} if request.param == "remote" else {})


@pytest.fixture
def cached(here, tmp_path):
    """The same, for calls that may fetch something."""
    return here | {"cache": str(tmp_path / "cache")}


def test_lists(published, here):
    assert published in pyg.list_projects(**here)
    assert not [name for name in pyg.list_projects(**here) if name.startswith("..")]
    assert pyg.list_assets(published, **here) == ["list", "more-list"]
    assert pyg.list_versions(published, "list", **here) == ["v1", "v2"]
    directories = pyg.list_registry_directories(
        ".", here["registry"], here["url"], here.get("force_remote", False)
    )
    assert "..logs" in directories


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (None, VISIBLE),
        ("whee", ["whee/blah", "whee2"]),
        ("whee/", ["whee/blah"]),
        ("chihaya", ["chihaya/kisaragi/"]),
        ("chihaya/kisaragi/", ["chihaya/kisaragi/"]),
        ("nothing/", []),
        ("foo/", []),
    ],
)
def test_list_files(published, here, prefix, expected):
    got = pyg.list_files(published, "list", "v1", prefix=prefix, include_dotdot=False, **here)
    assert got == expected
    everything = pyg.list_files(published, "list", "v1", prefix=prefix, **here)
    assert [path for path in everything if not path.startswith("..")] == expected
    assert prefix is not None or {"..manifest", "..summary"} <= set(everything)


def test_records(published, cached, here, service):
    first = pyg.fetch_manifest(published, "list", "v1", **cached)
    assert first["foo"] == {"size": 3, "md5sum": hashlib.md5(b"BAR").hexdigest()}
    assert first["chihaya/kisaragi"] == {"size": 0, "md5sum": ""}
    second = pyg.fetch_manifest(published, "list", "v2", **cached)
    assert second["whee/blah"]["link"] == {
        "project": published,
        "asset": "list",
        "version": "v1",
        "path": "whee/blah",
    }
    summary = pyg.fetch_summary(published, "list", "v1", **cached)
    assert set(summary) == {"upload_user_id", "upload_start", "upload_finish"}
    assert pyg.fetch_latest(published, "list", **here) == "v2"
    assert pyg.fetch_latest(published, "missing", **here) is None
    # The link of version v2 takes nothing, the other asset's files do.
    assert pyg.fetch_usage(published, **here) == 2 * (3 + 5 + 11)
    permissions = pyg.fetch_permissions(published, **here)
    assert permissions == {"owners": [summary["upload_user_id"]], "uploaders": []}
    assert pyg.fetch_permissions(published, asset="list", **here) == {
        "owners": [],
        "uploaders": [],
    }


def test_fetch(published, cached, service, tmp_path):
    start = cached["cache"] if "force_remote" in cached else service.registry
    path = pyg.fetch_file(f"{published}/list/v2/whee/blah", **cached)
    assert path.startswith(start)
    assert Path(path).read_text() == "stuff"
    for directory in (
        pyg.fetch_directory(f"{published}/list/v2", **cached),
        pyg.version_path(published, "list", "v2", **cached, concurrent=3, overwrite=True),
    ):
        assert directory.startswith(start)
        assert directory.endswith(f"{published}/list/v2")
        assert Path(directory, "foo").read_text() == "BAR"
        assert Path(directory, "whee", "blah").read_text() == "stuff"
        assert Path(directory, "chihaya", "kisaragi").is_dir()
        assert Path(directory, "..manifest").is_file()


def test_what_is_missing(published, cached):
    error = requests.HTTPError if "force_remote" in cached else FileNotFoundError
    for call in (
        lambda: pyg.fetch_manifest(published, "list", "v9", **cached),
        lambda: pyg.fetch_summary(published, "no", "v1", **cached),
        lambda: pyg.fetch_file(f"{published}/list/v1/no", **cached),
        lambda: pyg.fetch_directory(f"{published}/list/v9", **cached),
        lambda: pyg.version_path("no", "list", "v1", **cached),
    ):
        with pytest.raises(error, match=r"list|no"):
            call()


def test_odd_names(service, project, tmp_path, cached):
    source = tmp_path / "odd"
    names = ["100%", "a b", "a+b", "c#d?e", "ü/日本語", "q'\"<>&;", "~", "-x", "%41"]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    pyg.upload_directory(project, "odd % + ü", "1", str(source), service.staging, service.url)
    here = {key: value for key, value in cached.items() if key != "cache"}
    assert pyg.list_assets(project, **here) == ["odd % + ü"]
    assert pyg.list_files(project, "odd % + ü", "1", include_dotdot=False, **here) == sorted(names)
    directory = pyg.version_path(project, "odd % + ü", "1", **cached)
    assert [Path(directory, name).read_text() for name in names] == names


def test_clone_and_upload_again(service, published, tmp_path):
    clone = tmp_path / "clone"
    pyg.clone_version(published, "list", "v1", str(clone), service.registry)
    assert os.readlink(clone / "foo") == f"{service.registry}/{published}/list/v1/foo"
    assert (clone / "whee" / "blah").read_text() == "stuff"
    assert (clone / "chihaya" / "kisaragi").is_dir()
    (clone / "foo").unlink()
    (clone / "foo").write_text("new")
    pyg.upload_directory(
        published, "other", "1", str(clone), staging=service.staging, url=service.url
    )
    manifest = pyg.fetch_manifest(published, "other", "1", service.registry, service.url)
    assert "link" not in manifest["foo"]
    assert manifest["whee/blah"]["link"]["asset"] == "list"


def test_unpack_path():
    assert pyg.unpack_path("p/a/v/x/y") == {
        "project": "p",
        "asset": "a",
        "version": "v",
        "path": "x/y",
    }
    assert pyg.unpack_path("p/a/v/")["path"] is None
    with pytest.raises(ValueError, match="three"):
        pyg.unpack_path("p/a")
