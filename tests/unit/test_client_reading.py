"""The same reads from the filesystem and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from gobbler.client import Client
from gobbler.client.address import unpack
from gobbler.client.handle import names_of
from gobbler.client.source import LocalSource
from gobbler.errors import Code, Fault, Missing, Refused
from gobbler.model.records import Permissions, Uploader

FILES = {
    "..logs/x": "{}",
    "..LOCK": "",
    "p/..permissions": '{"owners": ["me"], "uploaders": null, "global_write": true}',
    "p/..usage": '{"total": 17}',
    "p/a/..latest": '{"version": "v"}',
    "p/a/..permissions": '{"owners": [], "uploaders": [{"id": "you"}]}',
    "p/a/v/..manifest": '{"foo": {"size": 3, "md5sum": "' + "a" * 32 + '"}}',
    "p/a/v/..summary": '{"upload_user_id": "me", "upload_start": "t", "upload_finish": "t"}',
    "p/a/v/foo": "foo",
    "p/a/v/whee/blah": "blah",
    "p/a/v/whee/..links": "{}",
    "p/a/v/whee2": "2",
    "p/b/..LOCK": "",
}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    root = tmp_path / "registry"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "p/a/v/argo/naut").mkdir(parents=True)
    (root / "p/a/v/link").symlink_to("foo")
    return root


@pytest.fixture(params=["local", "remote"])
def client(request, registry, web, tmp_path):
    """The same registry, either way; the remote one is served from what is on disk."""
    if request.param == "local":
        return Client(registry=registry)
    source = LocalSource(str(registry))
    for path in [registry, *registry.rglob("*")]:
        relative = "." if path == registry else str(path.relative_to(registry))
        if path.is_dir():
            listed = [entry.name + "/" * entry.is_dir() for entry in os.scandir(path)]
            query = "" if relative == "." else f"?path={quote(relative, safe='')}"
            web.put(f"/list{query}", json.dumps(listed))
            walked = f"/list?path={quote(relative, safe='')}&recursive=true"
            web.put(walked, json.dumps(source.walk(relative)))
        else:
            web.put(f"/fetch/{relative}", path.read_bytes())
    return Client(web.url, registry=registry, cache=tmp_path / "cache", force_remote=True)


def test_names(client):
    assert names_of(client.projects()) == ["p"]
    assert names_of(client.project("p").assets()) == ["a", "b"]
    assert names_of(client.asset("p", "a").versions()) == ["v"]
    assert client.admin.directories() == ["..logs", "p"]
    assert client.admin.directories("p/a/v") == ["argo", "whee"]


def test_a_directory_that_is_no_registry_is_distinguished_from_one(registry, tmp_path):
    with pytest.raises(Refused, match="is not a registry") as caught:
        Client(registry=registry / "p").projects()
    assert "--registry" in caught.value.hint
    (tmp_path / "new").mkdir()
    assert names_of(Client(registry=tmp_path / "new").projects()) == []
    (tmp_path / "copy").mkdir()
    (registry / "p").rename(tmp_path / "copy/p")
    assert names_of(Client(registry=tmp_path / "copy").projects()) == ["p"]


ALL = ["..manifest", "..summary", "argo/naut/", "foo", "link", "whee/..links", "whee/blah", "whee2"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ALL),
        ("whee", ["whee/..links", "whee/blah", "whee2"]),
        ("whee/", ["whee/..links", "whee/blah"]),
        ("whee/b", ["whee/blah"]),
        ("whee/x", []),
        ("argo/", ["argo/naut/"]),
        ("argo/naut", ["argo/naut/"]),
        ("argo/naut/", ["argo/naut/"]),
        ("argo/naut/x", []),
        ("..", ["..manifest", "..summary"]),
        ("foo/", []),
        ("foo", ["foo"]),
        ("nothing/at/all", []),
        ("/", []),
        ("../a/v/", []),
        ("whee//", []),
        ("./foo", []),
    ],
)
def test_files_by_prefix(client, prefix, expected):
    assert client.version("p", "a", "v").list_files(prefix=prefix) == expected
    visible = [path for path in expected if ".." not in path]
    assert client.version("p", "a", "v").list_files(prefix=prefix, internal=False) == visible


def test_records(client):
    assert client.version("p", "a", "v").manifest()["foo"].size == 3
    assert client.version("p", "a", "v").summary().upload_user_id == "me"
    assert client.asset("p", "a").latest().name == "v"
    assert client.asset("p", "b").latest() is None
    assert client.asset("p", "missing").latest() is None
    assert client.project("p").usage() == 17
    assert client.project("p").permissions() == Permissions(("me",), (), True)
    assert client.asset("p", "a").permissions() == Permissions((), (Uploader("you"),))
    assert client.asset("p", "b").permissions() == Permissions()


def test_files_arrive(client):
    assert Path(client.fetch_file("p/a/v/whee/blah")).read_text() == "blah"
    assert sorted(os.listdir(client.fetch_directory("p/a/v/whee"))) == ["..links", "blah"]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.project("no").assets(),
        lambda c: c.asset("p", "no").versions(),
        lambda c: c.version("p", "a", "no").list_files(),
        lambda c: c.version("p", "a", "no").list_files(prefix="whee/"),
        lambda c: c.version("p", "a", "no").manifest(),
        lambda c: c.version("p", "a", "no").summary(),
        lambda c: c.project("no").usage(),
        lambda c: c.project("no").permissions(),
        lambda c: c.admin.directories("no/way"),
        lambda c: c.fetch_file("p/a/v/no"),
        lambda c: c.fetch_directory("p/a/no"),
    ],
)
def test_what_is_missing_is_missing_either_way(client, call):
    with pytest.raises(Missing):
        call(client)


@pytest.mark.parametrize("bad", ["", "a/b", "..logs", ".", "a\\b", "a\nb", "x" * 300])
def test_names_that_can_not_be(client, bad):
    with pytest.raises(Refused, match="invalid project name"):
        client.project(bad)
    with pytest.raises(Refused, match="invalid asset name"):
        client.asset("p", bad)
    with pytest.raises(Refused, match="invalid version name"):
        client.version("p", "a", bad)


def test_the_first_thing_that_is_missing_is_named(registry):
    client = Client(registry=registry)
    for path, said in (
        ("no/a/v/f", 'project "no" is not in the registry'),
        ("p/no/v/f", 'asset "p/no" is not in the registry'),
        ("p/a/no/f", 'version "p/a/no" is not in the registry'),
        ("p/a/v/no", 'file "p/a/v/no" is not in the registry'),
        ("p/a/v/foo/below", 'file "p/a/v/foo/below" is not in the registry'),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            client.fetch_file(path)
    with pytest.raises(FileNotFoundError, match='version "p/a/no" is not'):
        client.version("p", "a", "no").manifest()
    with pytest.raises(FileNotFoundError, match='project "no" is not'):
        client.project("no").permissions()


def test_files_and_directories_are_not_mixed_up(registry):
    client = Client(registry=registry)
    with pytest.raises(Refused, match="is a directory"):
        client.fetch_file("p/a/v")
    with pytest.raises(Refused, match="is a file"):
        client.fetch_directory("p/a/v/foo")


def test_local_paths_are_joined_as_they_were_given(registry, monkeypatch):
    monkeypatch.chdir(registry.parent)
    assert Client(registry="./registry").fetch_file("p/a/v/foo") == "./registry/p/a/v/foo"
    assert Client(registry="./registry").fetch_directory("p/a/v/") == "./registry/p/a/v"


def test_damage_is_reported_with_its_place(registry):
    (registry / "p/a/v/..manifest").write_text('{"foo": {"size": "3", "md5sum": ""}}')
    with pytest.raises(Fault, match=r'p/a/v/..manifest is damaged.*"foo".*\.size'):
        Client(registry=registry).version("p", "a", "v").manifest()


def test_the_registry_is_requested_when_it_is_not_given(registry, web):
    web.put("/info", json.dumps({"staging": "/s", "registry": str(registry)}))
    client = Client(web.url)
    assert web.seen == []
    assert names_of(client.projects()) == ["p"]
    assert names_of(client.project("p").assets()) == ["a", "b"]
    assert web.seen == ["/info"]
    assert client.staging == "/s"


def test_a_registry_that_is_not_here_is_read_over_http(web, tmp_path):
    web.put("/list", '["p/", "..LOCK"]')
    assert names_of(Client(web.url, registry=tmp_path / "elsewhere").projects()) == ["p"]


def test_a_project_may_be_a_link_to_another_disk(registry, tmp_path):
    (registry / "p").rename(tmp_path / "disk")
    (registry / "p").symlink_to(tmp_path / "disk")
    client = Client(registry=registry)
    assert names_of(client.projects()) == ["p"]
    assert client.version("p", "a", "v").list_files() == ALL


def test_a_clone_is_made_of_links(registry, tmp_path, monkeypatch):
    (registry / "p/a/v/..manifest").write_text(
        json.dumps(
            {
                "foo": {"size": 3, "md5sum": "a" * 32},
                "whee/blah": {"size": 4, "md5sum": "b" * 32},
                "argo/naut": {"size": 0, "md5sum": ""},
            }
        )
    )
    monkeypatch.chdir(registry.parent)
    client = Client(registry="registry")
    for _ in range(1):
        client.version("p", "a", "v").clone(tmp_path / "deep" / "clone")
    clone = tmp_path / "deep" / "clone"
    assert os.readlink(clone / "foo") == str(registry / "p/a/v/foo")
    assert (clone / "whee/blah").read_text() == "blah"
    assert (clone / "argo/naut").is_dir()
    assert not (clone / "argo/naut").is_symlink()
    with pytest.raises(FileExistsError):
        client.version("p", "a", "v").clone(clone)
    with pytest.raises(Missing):
        client.version("p", "a", "no").clone(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_clone_stays_in_its_destination(registry, tmp_path):
    manifest = {"../escaped": {"size": 3, "md5sum": "a" * 32}}
    (registry / "p/a/v/..manifest").write_text(json.dumps(manifest))
    with pytest.raises(Fault, match="a component that starts with"):
        Client(registry=registry).version("p", "a", "v").clone(tmp_path / "clone")
    assert not os.path.lexists(tmp_path / "escaped")


def test_a_clone_needs_the_registry_here(registry, web):
    with pytest.raises(Refused, match="not a directory on this machine"):
        Client(web.url, registry="/nowhere").version("p", "a", "v").clone("/tmp/x")


def test_unpack():
    four = {"project": "p", "asset": "a", "version": "v", "path": "x/y"}
    assert unpack("p/a/v/x/y") == four
    assert unpack("p/a/v") == unpack("p/a/v/") == {**four, "path": None}
    for bad in ("", "p", "p/a"):
        with pytest.raises(ValueError, match="three parts"):
            unpack(bad)


def test_the_package_alone_imports_no_client():
    code = "import gobbler, sys; gobbler.__version__; sys.exit('gobbler.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("target", ["", "/dev/zero"], ids=["FIFO", "device"])
def test_what_has_no_end_is_not_opened_as_a_file_of_the_registry(registry, target):
    path = registry / "p/a/v/foo"
    path.unlink()
    if target:
        path.symlink_to(target)
    else:
        os.mkfifo(path)
    version = Client(registry=registry).version("p", "a", "v")
    for read in (lambda: version.open("foo"), lambda: version.fetch("foo")):
        with pytest.raises(Fault, match="not a file") as caught:
            read()
        assert caught.value.code == Code.NOT_A_FILE
