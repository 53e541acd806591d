"""``gobbler://`` as others use it: pandas, zarr and fsspec itself, here and over HTTP."""

from __future__ import annotations

import copy
import datetime as dt
import errno
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from gobbler.client import NoAnswer, registry_reader
from gobbler.client.filesystem import GobblerFileSystem
from gobbler.errors import Missing, Refused
from gobbler.model.names import split_path

TABLE = "station,degrees\nberlin,3\nhelsinki,-7\n"


@pytest.fixture
def source(source: Path) -> Path:
    (source / "table.csv").write_text(TABLE)
    return source


@pytest.fixture
def published(client, project, source):
    client.upload(project, "a", "1", source)
    (source / "foo").write_text("changed")
    client.upload(project, "a", "2", source)
    client.upload(project, "a", "3-beta", source, probation=True)
    return project


@pytest.fixture(params=["local", "remote"])
def options(request, service, tmp_path):
    """Where to read: in the registry, or over HTTP into a cache that nobody else has."""
    if request.param == "local":
        return {"registry": service.registry}
    return {"service": service.url, "cache": str(tmp_path / "cache"), "force_remote": True}


@pytest.fixture
def fs(options):
    return fsspec.filesystem("gobbler", skip_instance_cache=True, **options)


@pytest.fixture
def far(service, tmp_path):
    return GobblerFileSystem(
        service.url, cache=str(tmp_path / "far"), force_remote=True, skip_instance_cache=True
    )


def test_clients_do_without_fsspec():
    code = "import gobbler.client, pygobbler, sys; sys.exit('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("version", ["2", "@latest", "3-beta"])
def test_pandas_reads_a_table(published, options, version):
    table = pd.read_csv(f"gobbler://{published}/a/{version}/table.csv", storage_options=options)
    assert table.to_dict("list") == {"station": ["berlin", "helsinki"], "degrees": [3, -7]}


def test_pandas_finds_the_service_by_the_environment(published, service, monkeypatch, tmp_path):
    monkeypatch.setenv("GOBBLER_URL", service.url)
    monkeypatch.setenv("GOBBLER_CACHE", str(tmp_path / "cache"))
    GobblerFileSystem.clear_instance_cache()
    assert len(pd.read_csv(f"gobbler://{published}/a/2/table.csv")) == 2
    GobblerFileSystem.clear_instance_cache()


def test_pandas_can_not_write(published, options):
    with pytest.raises(OSError, match="gobbler upload") as caught:
        pd.DataFrame({"x": [1]}).to_csv(f"gobbler://{published}/a/2/x", storage_options=options)
    assert caught.value.errno == errno.EROFS


def test_zarr_reads_an_array_and_a_group(client, project, tmp_path, options):
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(tmp_path / "data.zarr", mode="w")
    array = group.create_array("t", shape=(100, 10), chunks=(30, 10), dtype="i4")
    array[:] = [[10 * row + column for column in range(10)] for row in range(100)]
    group.attrs["unit"] = "K"
    client.upload(project, "z", "1", tmp_path / "data.zarr")
    url = f"gobbler://{project}/z/1"
    found = zarr.open_group(url, mode="r", storage_options=options)
    assert found.attrs["unit"] == "K"
    assert found["t"][29:31, 3].tolist() == [293, 303]
    assert int(zarr.open_array(f"{url}/t", mode="r", storage_options=options)[-1, -1]) == 999


def test_listing(fs, published):
    assert published in fs.ls("gobbler://", detail=False)
    assert published in fs.ls("", detail=False)
    assert fs.ls(f"gobbler://{published}", detail=False) == [f"{published}/a"]
    assert fs.ls(f"{published}/a/", detail=False) == [
        f"{published}/a/{version}" for version in ("1", "2", "3-beta")
    ]
    at = f"{published}/a/2"
    names = [f"{at}/{name}" for name in ("chihaya", "foo", "table.csv", "whee", "whee2")]
    assert fs.ls(at, detail=False) == names
    assert fs.ls(f"{at}/chihaya/kisaragi") == []
    assert fs.ls(f"{at}/foo", detail=False) == [f"{at}/foo"]
    assert fs.find(at) == [f"{at}/{name}" for name in ("foo", "table.csv", "whee/blah", "whee2")]
    assert fs.glob(f"{at}/*.csv") == [f"{at}/table.csv"]
    assert fs.glob(f"{published}/a/@latest/**/b*") == [f"{published}/a/@latest/whee/blah"]
    assert fs.glob(f"{published}/*/*/foo") == [
        f"{published}/a/{version}/foo" for version in ("1", "2", "3-beta")
    ]
    assert next(list(map(sorted, step[1:])) for step in fs.walk(at)) == [
        ["chihaya", "whee"],
        ["foo", "table.csv", "whee2"],
    ]
    assert fs.du(at) == 7 + len(TABLE) + 5 + 11


def test_info(fs, published, client):
    path = f"{published}/a/@latest/whee/blah"
    info = fs.info(f"gobbler://{path}")
    finished = dt.datetime.fromisoformat(
        client.version(published, "a", "2").summary().upload_finish
    )
    md5 = hashlib.md5(b"stuff").hexdigest()
    assert info == {
        "name": path,
        "size": 5,
        "type": "file",
        "md5sum": md5,
        "created": finished,
        "link": f"{published}/a/1/whee/blah",
    }
    assert fs.created(path) == fs.modified(path) == fs.created(f"{published}/a/2") == finished
    assert fs.checksum(path) == md5
    assert fs.ukey(path) == fs.ukey(f"{published}/a/1/whee/blah")
    assert fs.ukey(f"{published}/a/1/foo") != fs.ukey(f"{published}/a/2/foo")
    for directory in ("", published, f"{published}/a", f"{published}/a/@latest/chihaya"):
        assert fs.isdir(directory)
        assert fs.info(directory)["type"] == "directory"
    assert fs.isfile(path)
    assert not fs.isdir(path)
    with pytest.raises(IsADirectoryError):
        fs.checksum(f"{published}/a/1")


@pytest.mark.parametrize(
    "path",
    ["no", "{p}/no", "{p}/a/no", "{p}/a/1/no", "{p}/a/1/foo/no", "{p}/no/@latest", "{p}/..a/1/x",
     "{p}/a/1/..manifest", "{p}/a/1/../2/foo"],
)  # fmt: skip
def test_what_is_not_there(fs, published, path):
    path = path.format(p=published)
    assert not fs.exists(path)
    assert not fs.isdir(path)
    assert not fs.isfile(path)
    for call in (fs.info, fs.cat_file, fs.ls):
        with pytest.raises(FileNotFoundError) as caught:
            call(path)
        assert "Errno" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        fs.open(path)


def test_reading(fs, published):
    path = f"{published}/a/2/whee2"
    assert fs.cat_file(path) == b"ABCDEFGHIJK"
    assert fs.cat_file(path, 2, 5) == b"CDE"
    assert fs.cat_file(path, start=-3) == b"IJK"
    assert fs.cat_file(path, end=-9) == b"AB"
    assert fs.cat_file(path, 8, 100) == b"IJK"
    assert fs.cat_file(path, 5, 5) == b""
    assert fs.cat_ranges([path, path], [0, 9], [1, 11]) == [b"A", b"JK"]
    assert fs.cat([f"gobbler://{path}", f"{published}/a/1/foo"]) == {
        path: b"ABCDEFGHIJK",
        f"{published}/a/1/foo": b"BAR",
    }
    with fs.open(path) as file:
        assert (file.seek(4), file.read(2), file.tell()) == (4, b"EF", 6)
    with fs.open(path, "r") as file:
        assert file.read() == "ABCDEFGHIJK"
    with pytest.raises(IsADirectoryError):
        fs.open(f"{published}/a/2/whee")
    with pytest.raises(IsADirectoryError):
        fs.open(published)


CHANGES = [
    lambda fs, at: fs.open(f"{at}/x", "wb"),
    lambda fs, at: fs.open(f"{at}/foo", "ab"),
    lambda fs, at: fs.open(f"{at}/foo", "r+b"),
    lambda fs, at: fs.pipe(f"{at}/x", b""),
    lambda fs, at: fs.pipe_file(f"{at}/x", b""),
    lambda fs, at: fs.write_text(f"{at}/x", ""),
    lambda fs, at: fs.touch(f"{at}/x"),
    lambda fs, at: fs.mkdir(f"{at}/x"),
    lambda fs, at: fs.makedirs(f"{at}/x", exist_ok=True),
    lambda fs, at: fs.rm(at, recursive=True),
    lambda fs, at: fs.rm_file(f"{at}/foo"),
    lambda fs, at: fs.rmdir(f"{at}/whee"),
    lambda fs, at: fs.delete(at, recursive=True),
    lambda fs, at: fs.mv(f"{at}/foo", f"{at}/x"),
    lambda fs, at: fs.rename(f"{at}/foo", f"{at}/x"),
    lambda fs, at: fs.copy(f"{at}/foo", f"{at}/x"),
    lambda fs, at: fs.cp(f"{at}/foo", f"{at}/x"),
    lambda fs, at: fs.put(__file__, f"{at}/x"),
    lambda fs, at: fs.upload(__file__, f"{at}/x"),
    lambda fs, at: fs.put_file(__file__, f"{at}/x"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_can_be_written(fs, published, service, change):
    at = f"{published}/a/2"
    before = sorted(os.walk(Path(service.registry, at)))
    with pytest.raises(OSError, match="gobbler upload") as caught:
        change(fs, at)
    assert caught.value.errno == errno.EROFS
    assert sorted(os.walk(Path(service.registry, at))) == before


def test_without_an_address(monkeypatch):
    monkeypatch.delenv("GOBBLER_URL", raising=False)
    monkeypatch.delenv("GOBBLER_REGISTRY", raising=False)
    monkeypatch.setenv("GOBBLER_STAGING", "/somewhere")  # else the service on this machine is meant
    with pytest.raises(Refused, match="address of the service") as caught:
        fsspec.filesystem("gobbler")
    assert "GOBBLER_URL" in caught.value.hint


def test_without_a_service_nothing_is_said_to_be_missing(tmp_path):
    fs = GobblerFileSystem("http://127.0.0.1:1", cache=str(tmp_path), force_remote=True)
    with pytest.raises(NoAnswer, match="no service answers"):
        fs.exists("p/a/1")


def test_it_is_pickled_with_its_open_files(far, published):
    path = f"{published}/a/2/table.csv"
    assert far.cat_file(path).decode() == TABLE
    later = pickle.loads(pickle.dumps(far))
    later.invalidate_cache()
    assert later.ls(f"{published}/a/2", detail=False)[1] == f"{published}/a/2/foo"
    with later.open(path) as file:
        file.seek(7)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.tell() == 7
        file.seek(0)
        assert pd.read_csv(file).shape == (2, 2)
    assert copy.copy(later) == later


def test_a_deleted_version_is_reported_in_words(fs, published, service, client):
    at = f"{published}/a/2"
    assert fs.cat_file(f"{at}/table.csv").decode() == TABLE
    client.admin.delete_version(published, "a", "2")
    with pytest.raises(FileNotFoundError, match=r"foo|version") as caught:
        fs.open(f"{at}/foo")
    assert at in str(caught.value)
    assert isinstance(caught.value, Missing)
    fs.invalidate_cache(at)


def test_versions_on_probation_are_asked_for_again(fs, published, client, source):
    at = f"{published}/a/3-beta"
    assert fs.cat_file(f"{at}/foo") == b"changed"
    client.version(published, "a", "3-beta").reject()
    assert not fs.exists(at)
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{at}/foo")
    (source / "foo").write_text("CHANGED")
    (source / "more").write_text("more")
    client.upload(published, "a", "3-beta", source, probation=True)
    assert fs.cat_file(f"{at}/foo") == b"CHANGED"
    assert fs.exists(f"{at}/more")
    client.version(published, "a", "3-beta").approve()
    assert fs.cat_file(f"{published}/a/@latest/foo") == b"CHANGED"


def test_latest_is_looked_for_each_time(fs, published, client, source):
    path = f"{published}/a/@latest/foo"
    assert fs.cat_file(path) == b"changed"
    (source / "foo").write_text("still newer")
    client.upload(published, "a", "4", source)
    assert fs.cat_file(path) == b"still newer"


@pytest.fixture
def large(client, project, tmp_path):
    """A file that is read by ranges, and its content."""
    content = os.urandom(registry_reader.WHOLE_FILE + 1)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "data.bin").write_bytes(content)
    client.upload(project, "l", "1", tmp_path / "large")
    return f"{project}/l/1/data.bin", content


def test_large_files_are_read_by_ranges(far, large, tmp_path):
    path, content = large
    with far.open(path, block_size=1000) as file:
        file.seek(-8, os.SEEK_END)
        assert file.read() == content[-8:]
        file.seek(12_345_678)
        assert file.read(10_000) == content[12_345_678 : 12_345_678 + 10_000]
    assert far.cat_file(path, 4_000_000, 4_000_012) == content[4_000_000:4_000_012]
    stored = sum(found.stat().st_size for found in (tmp_path / "far").rglob("*"))
    assert stored < 1_000_000
    with far.open(path, block_size=1000) as file:
        file.seek(5)
        for again in (copy.copy(file), pickle.loads(pickle.dumps(file))):
            with again:
                assert (again.tell(), again.read(3)) == (5, content[5:8])
    # What the cache has whole, however it came there, is read from it.
    far.client.fetch_directory(path.rpartition("/")[0])
    assert far._reader.local_path(*split_path(path)) is not None
    assert far.cat_file(path) == content


def test_a_large_file_that_changes_while_it_is_open(far, large, service, client):
    path, content = large
    registry = Path(service.registry, path)
    with far.open(path, cache_type="none") as file:
        assert file.read(4) == content[:4]
        registry.write_bytes(content[::-1])
        with pytest.raises(OSError, match="was replaced while it was open"):
            file.read(4)
    assert far.cat_file(path, 0, 4) == content[::-1][:4]


def test_filecache_of_fsspec_keys_by_content(published, options, tmp_path):
    where = f"filecache::gobbler://{published}/a/2/table.csv"
    settings = {"gobbler": options, "filecache": {"cache_storage": str(tmp_path / "kept")}}
    for _ in range(2):
        with fsspec.open(where, "r", **settings) as file:
            assert file.read() == TABLE


def test_pickled_it_needs_no_environment(published, service, monkeypatch, tmp_path):
    monkeypatch.setenv("GOBBLER_URL", service.url)
    packed = pickle.dumps(GobblerFileSystem(cache=str(tmp_path), skip_instance_cache=True))
    monkeypatch.delenv("GOBBLER_URL")
    assert pickle.loads(packed).cat_file(f"{published}/a/1/foo") == b"BAR"


class TestsOfFsspec(AbstractGetTests, AbstractFixtures):
    """The tests that fsspec has for every filesystem, as far as they only read.

    They make their files through the filesystem; here those are published instead.
    """

    test_get_directory_recursive = None  # makes its files in the test itself

    @pytest.fixture
    def fs(self, far):
        return far

    @pytest.fixture
    def fs_path(self, project):
        return f"{project}/abstract/1"

    def _published(self, make, client, project, tmp_path):
        local = fsspec.filesystem("file", auto_mkdir=True)
        make(local, os.path.join, str(tmp_path / "made"))
        client.upload(project, "abstract", "1", tmp_path / "made")
        return f"{project}/abstract/1/source"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, client, project, tmp_path):
        return self._published(self._bulk_operations_scenario_0, client, project, tmp_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, client, project, tmp_path):
        return self._published(self._glob_edge_cases_files, client, project, tmp_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, client, project, tmp_path):
        return self._published(self._dir_and_file_with_same_name_prefix, client, project, tmp_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, client, project, tmp_path):
        return self._published(self._10_files_with_hashed_names, client, project, tmp_path)
