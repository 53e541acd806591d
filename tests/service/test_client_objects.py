"""Clients, projects, assets, versions and their files as Python objects."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import gobbler
from gobbler.client import Asset, Client, Project, RequestFailed, Version, registry_reader
from gobbler.client.handle import names_of
from gobbler.client.ranges import FileChanged
from gobbler.errors import Missing, Refused


@pytest.fixture
def published(client: Client, project: str, source: Path) -> str:
    client.upload(project, "a", "1", source)
    (source / "lines").write_text("one\ntwo\nthree\n")
    client.upload(project, "a", "2", source)
    return project


@pytest.fixture(params=["local", "remote"])
def reader(request: pytest.FixtureRequest, client: Client, remote: Client) -> Client:
    return client if request.param == "local" else remote


def test_completion_shows_few_names(client: Client) -> None:
    assert len([name for name in dir(client) if not name.startswith("_")]) <= 18


def test_collections(reader: Client, published: str) -> None:
    project = reader.project(published)
    assert project in reader.projects()
    assert project.exists()
    asset, version = project / "a", project / "a" / "2"
    assert (names_of(project), len(project)) == (["a"], 1)
    assert "a" in project
    assert asset in project
    assert "b" not in project
    assert (names_of(asset), len(asset)) == (["1", "2"], 2)
    assert "1" in asset
    assert version in asset
    assert "3" not in asset
    assert list(version) == ["foo", "lines", "whee/blah", "whee2"]
    assert len(version) == 4
    assert "whee/blah" in version
    assert "whee" not in version
    assert version / "foo" in version
    assert 1 not in version
    assert (version.asset, asset.project) == (asset, project)
    assert asset.latest() == asset.version() == version
    for thing in (project, asset, version):
        assert thing
        assert thing.exists()
    for gone in (reader.project("no"), project / "no", asset / "3", reader.asset("no", "no")):
        assert gone
        assert not gone.exists()


def test_paths(reader: Client, published: str) -> None:
    version = reader.version(f"{published}/a/2")
    blah = version / "whee" / "blah"
    assert (str(blah), blah.name) == ("whee/blah", "blah")
    assert (blah.is_file(), blah.is_dir(), blah.exists()) == (True, False, True)
    assert blah.parent == version / "whee/"
    assert blah.parent.is_dir()
    assert [str(path) for path in blah.parent.iterdir()] == ["whee/blah"]
    assert (blah.read_text(), blah.read_bytes()) == ("stuff", b"stuff")
    assert blah.fetch().read_text() == "stuff"
    assert blah.url == f"gobbler://{published}/a/2/whee/blah"
    assert not (version / "no").exists()
    for wrong in ("..", "/etc", "a/../b", ""):
        with pytest.raises(Refused, match="not a path"):
            version / wrong


def test_names_that_can_not_be(client: Client) -> None:
    for call in (
        lambda: client.project("..x"),
        lambda: client.project("p") / "a/b",
        lambda: client.asset("p", "a") / "..1",
    ):
        with pytest.raises(RequestFailed) as caught:
            call()
        assert isinstance(caught.value, Refused)


def things(client: Client, published: str) -> list[object]:
    project = client.project(published)
    version = project / "a" / "2"
    return [
        client,
        project,
        project / "a",
        version,
        version / "foo",
        client.jobs,
        client.cache,
        client.admin,
    ]


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_equal(
    reader: Client, published: str, remake: Callable[[object], object]
) -> None:
    reader.version(published, "a").files()  # they are used before
    list(reader.jobs)
    for thing in things(reader, published):
        again = remake(thing)
        assert again == thing
        assert hash(again) == hash(thing)
        assert again != object()
    version = remake(reader.version(published, "a"))
    assert isinstance(version, Version)
    assert (version / "foo").read_text() == "BAR"


def test_what_is_elsewhere_differs(client: Client, published: str) -> None:
    other = Client("http://127.0.0.1:1")
    for mine, theirs in zip(things(client, published), things(other, published), strict=True):
        if mine is not client.cache and "Cache" not in repr(mine):
            assert mine != theirs
    assert client.project("p") != client.project("q")
    assert Client("http://x") == Client("http://x/")


def test_a_pickled_client_means_the_same_service(
    service, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOBBLER_URL", service.url)
    dumped = pickle.dumps(Client().version(published, "a", "2"))
    monkeypatch.setenv("GOBBLER_URL", "http://127.0.0.1:1")
    assert pickle.loads(dumped).summary().on_probation is False


def test_how_they_look(reader: Client, published: str) -> None:
    place = reader.url
    project = reader.project(published)
    assert repr(reader) == f"<Client of {place}>"
    assert repr(project / "a") == f"<Asset {published}/a at {place}>"
    assert repr(project / "a" / "2" / "foo") == f"<VersionPath foo in {published}/a/2>"
    for thing in things(reader, published):
        html = thing._repr_html_()
        assert type(thing).__name__ in html
        assert "object at 0x" not in repr(thing)
    version = project / "a" / "2"
    version.files()
    assert "4 files" in version._repr_html_()
    hostile = Client("http://<script>")
    assert "<script>" not in hostile._repr_html_()
    assert "<script>" not in (version / "<script>")._repr_html_()
    # Nothing is read, or configured, for it.
    assert "configured" in repr(Client())


@pytest.mark.parametrize("whole", [True, False])
def test_open_files_can_be_pickled(
    reader: Client, published: str, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(registry_reader, "WHOLE_FILE", 1)
    version = reader.version(published, "a", "2")
    with version.open("lines", "rb") as file:
        assert file.readline() == b"one\n"
        for again in (copy.copy(file), pickle.loads(pickle.dumps(file))):
            with again:
                assert again.tell() == 4
                assert again.read() == b"two\nthree\n"
        assert file.read() == b"two\nthree\n"
    with version.open("lines", newline="") as text:
        assert text.readline() == "one\n"
        for again in (copy.copy(text), pickle.loads(pickle.dumps(text))):
            with again:
                assert again.readline() == "two\n"
        assert text.read() == "two\nthree\n"
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)


def test_an_open_file_is_not_taken_for_another(
    client: Client, reader: Client, project: str, source: Path
) -> None:
    client.upload(project, "a", "1", source, probation=True)
    with reader.version(project, "a", "1").open("foo", "rb") as file:
        dumped = pickle.dumps(file)
    client.version(project, "a", "1").reject()
    with pytest.raises(Missing):
        pickle.loads(dumped)
    (source / "foo").write_text("another")
    client.upload(project, "a", "1", source, probation=True)
    with pytest.raises(FileChanged):
        pickle.loads(dumped)


def test_upload_takes_an_address_and_returns_the_version(
    client: Client, project: str, source: Path
) -> None:
    asset = client.project(project) / "a"
    made = [
        client.upload(f"{project}/a/1", source),
        client.upload(asset, "2", source),
        client.upload(asset / "3", source),
        client.upload(project, "a", "4", source),
        client.upload(project, "a", version="5", directory=source),
        client.upload(f"{project}/a/6", directory=str(source)),
    ]
    assert made == [asset / str(number) for number in range(1, 7)]
    assert all(version.exists() for version in made)
    with pytest.raises(Refused, match="exists already"):
        client.upload(f"{project}/a/@latest", source)
    with pytest.raises(Refused, match="not the address of a version"):
        client.upload(f"{project}/a", source)
    for wrong in ((), (source,), (asset, source), (project, "a", source), (1, 2)):
        with pytest.raises((TypeError, Refused)):
            client.upload(*wrong)
    client.submit(asset, "7", source).wait(timeout=60)
    assert client.plan_upload(asset / "8", source).stored == {}


def test_a_child_process_reads_while_threads_of_its_parent_do(
    remote: Client, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_reader, "WHOLE_FILE", 1)
    version = remote.version(published, "a", "2")
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            remote._reader.forget()
            assert (version / "lines").read_text() == "one\ntwo\nthree\n"
            assert len(remote.project(published)) == 1

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    good = (version / "lines").read_text() == "one\ntwo\nthree\n"
                    status = 0 if good and (remote.project(published) / "a").exists() else 2
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_lock_that_is_held_at_the_fork_is_free_in_the_child(client: Client) -> None:
    lock = client._reader._lock
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child = os.fork()
        if child == 0:
            client._reader.forget()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        done.set()
        thread.join()


def test_from_gobbler_import_client() -> None:
    assert gobbler.Client is Client
    assert {"Client", "Project", "Asset", "Version"} <= set(dir(gobbler))
    assert (gobbler.Project, gobbler.Asset, gobbler.Version) == (Project, Asset, Version)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gobbler.nothing  # noqa: B018 - it raises
