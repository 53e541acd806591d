"""A version as one thing: ``client.version(...)``, where the registry is mounted and where not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gobbler.client import Client, NotThere, Pair, registry_reader
from gobbler.errors import Fault, Missing, Refused
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Link


@pytest.fixture
def published(client, project, source):
    client.upload(project, "a", "1", source)
    (source / "foo").write_text("changed")
    (source / "new").write_text("ü\n")
    (source / "whee2").unlink()
    client.upload(project, "a", "2", source)
    client.upload(project, "a", "3-beta", source, probation=True)
    return project


@pytest.fixture(params=["local", "remote"])
def reader(request, client, remote) -> Client:
    return client if request.param == "local" else remote


def test_a_version_by_its_names(reader, published):
    version = reader.version(published, "a", "1")
    assert str(version) == f"{published}/a/1"
    assert version.key == VersionKey(published, "a", "1")
    assert version.url == f"gobbler://{published}/a/1"
    assert version == reader.version(f"{published}/a/1/")
    latest = reader.version(published, "a")
    assert latest.key.version == "2"
    assert reader.version(published, "a", "@latest") == latest
    assert reader.version(f"{published}/a/@latest") == latest
    for wrong in (f"{published}/a", f"{published}/a/1/foo"):
        with pytest.raises(Refused, match="not the address of a version"):
            reader.version(wrong)
    with pytest.raises(Refused, match=r"\.\.x"):
        reader.version(published, "a", "..x")
    with pytest.raises(Missing):
        reader.version(published, "no")


def test_what_it_holds(reader, published, client):
    version = reader.version(published, "a", "2")
    assert version.summary() == client.version(published, "a", "2").summary()
    assert version.manifest() == client.version(published, "a", "2").manifest()
    assert list(version.files()) == ["foo", "new", "whee/blah"]
    assert version.files("whee/") == {"whee/blah": version.manifest()["whee/blah"]}
    assert version.files("chihaya") == version.files("no") == {}
    assert version.links() == {"whee/blah": Link(published, "a", "1", "whee/blah")}


def test_open(reader, published):
    version = reader.version(published, "a", "2")
    with version.open("new") as text:
        assert text.read() == "ü\n"
    with version.open("new", encoding="latin-1") as text:
        assert text.read() == "Ã¼\n"
    with version.open("whee/blah", "rb") as file:
        file.seek(-3, os.SEEK_END)
        assert (file.read(), file.tell(), file.seek(0), file.read(2)) == (b"uff", 5, 0, b"st")
    with pytest.raises(Refused, match="never changes") as caught:
        version.open("new", "w")
    assert "gobbler upload" in caught.value.hint
    with pytest.raises(NotThere, match="whee2"):
        version.open("whee2")
    with pytest.raises(IsADirectoryError):
        version.open("whee")
    with pytest.raises(NotThere):
        version.open("../1/foo")


def test_open_of_large_files(reader, published, tmp_path, monkeypatch):
    monkeypatch.setattr(registry_reader, "WHOLE_FILE", 1)
    with reader.version(published, "a", "2").open("foo") as file:
        assert file.read() == "changed"
    with reader.version(published, "a", "3-beta").open("new") as file:
        assert file.read() == "ü\n"
    kept = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not {"foo", "new"} & set(kept)


def test_fetch(reader, published, tmp_path, service):
    version = reader.version(published, "a", "2")
    place = version.fetch()
    assert (place / "foo").read_text() == "changed"
    assert (place / "chihaya" / "kisaragi").is_dir()
    inside = (
        service.registry if reader.cache.path != str(tmp_path / "cache") else tmp_path / "cache"
    )
    assert place.is_relative_to(inside)
    assert version.fetch("foo").read_text() == "changed"
    assert (version.fetch("whee/") / "blah").read_text() == "stuff"
    with pytest.raises(NotThere, match="no"):
        version.fetch("no")


def test_what_was_on_probation_is_fetched_again(reader, published, source, client):
    version = reader.version(published, "a", "3-beta")
    assert (version.fetch() / "foo").read_text() == "changed"
    client.version(published, "a", "3-beta").reject()
    with pytest.raises(Missing):
        version.files()
    (source / "foo").write_text("anew")
    client.upload(published, "a", "3-beta", source, probation=True)
    assert (version.fetch() / "foo").read_text() == "anew"
    assert version.fetch("foo").read_text() == "anew"
    with version.open("foo") as file:
        assert file.read() == "anew"


def test_diff(reader, published, client):
    one, two = reader.version(published, "a", "1"), reader.version(published, "a", "2")
    found = one.diff(two)
    before, after = (
        client.version(published, "a", "1").manifest(),
        client.version(published, "a", "2").manifest(),
    )
    assert found.added == {"new": after["new"]}
    assert found.removed == {"whee2": before["whee2"]}
    assert found.changed == {"foo": Pair(before["foo"], after["foo"])}
    assert list(found.same) == ["chihaya/kisaragi", "whee/blah"]
    assert found.same["whee/blah"].is_relinked
    assert found
    assert not two.diff(reader.version(published, "a", "3-beta"))
    assert two.diff({"foo": Entry(7, after["foo"].md5sum)}).removed.keys() == {
        "chihaya/kisaragi",
        "new",
        "whee/blah",
    }


def test_nothing_is_read_to_compare(remote, published, service):
    for file in Path(service.registry, published, "a").glob("*/foo"):
        file.unlink()
    found = remote.version(published, "a", "1").diff(remote.version(published, "a", "2"))
    assert list(found.changed) == ["foo"]


def test_a_version_that_vanishes_is_missing(reader, published, client):
    version = reader.version(published, "a", "2")
    client.admin.delete_version(published, "a", "2")
    for call in (version.files, version.fetch, lambda: version.open("foo"), version.summary):
        with pytest.raises(Missing, match=f"{published}/a/2"):
            call()
    final = reader.version(published, "a", "1")
    assert list(final.files()) == ["foo", "whee/blah", "whee2"]
    client.admin.delete_version(published, "a", "1")
    with pytest.raises(Missing, match=f"{published}/a/1"):
        final.open("foo")


def test_a_cached_file_of_an_older_version_of_that_name(remote, published, client, source):
    """A version is final, but an administrator may delete it and publish another under its name."""
    remote.version(published, "a", "1").fetch("foo")
    other = Client(remote.url, cache=remote.cache.path, force_remote=True)
    client.admin.delete_version(published, "a", "1", force=True)
    (source / "foo").write_text("another")
    (source / "whee2").write_text("of other size")
    client.upload(published, "a", "1", source)
    with other.version(published, "a", "1").open("whee2") as file:
        assert file.read() == "of other size"
    with other.version(published, "a", "1").open("foo") as file:
        assert file.read() == "another"


def test_a_hostile_manifest(remote, published, service):
    manifest = Path(service.registry, published, "a", "1", "..manifest")
    listed = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(listed | {"../../x": listed["foo"]}))
    with pytest.raises(Fault, match="a component that starts with"):
        remote.version(published, "a", "1").files()
