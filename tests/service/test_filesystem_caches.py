"""``gobbler://`` below the caches of fsspec, its blocks and ranges, and copies of it."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import fsspec
import pytest

from gobbler.client import registry_reader

# fsspec does not close the files that it maps into memory.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SMALL = b"a,b\n" + b"1,2\n" * 5000
LARGE = os.urandom(registry_reader.WHOLE_FILE + 1000)


@pytest.fixture
def version(client, project, tmp_path) -> str:
    source = tmp_path / "source of files"
    (source / "d").mkdir(parents=True)
    (source / "d" / "small.csv").write_bytes(SMALL)
    (source / "large").write_bytes(LARGE)
    (source / "nothing").touch()
    client.upload(project, "a", "1", source)
    return f"{project}/a/1"


@pytest.fixture(params=["mounted", "remote", "service"])
def options(request, service, tmp_path) -> dict[str, object]:
    if request.param == "mounted":
        return {"url": service.url, "registry": service.registry}
    cache = str(tmp_path / "cache")
    address = {"url": service.url} if request.param == "remote" else {"service": service.url}
    return {"cache": cache, "force_remote": True, **address}


@pytest.fixture
def fs(options):
    return fsspec.filesystem("gobbler", **options)


FILES = {"d/small.csv": SMALL, "large": LARGE}


@pytest.mark.parametrize("path", FILES)
def test_blocks(fs, version, path):
    data, address = FILES[path], f"{version}/{path}"
    size = len(data)
    for start, length in ((0, 10), (5, 10), (size - 3, 10), (5, None), (1000, 0)):
        end = size if length is None else start + length
        assert fs.read_block(address, start, length) == data[start:end]
    if path != "large":
        block = fs.read_block(address, 5, 10, delimiter=b"\n")
        assert block == data[8:16]
        whole = [fs.read_block(address, at, 777, delimiter=b"\n") for at in range(0, size, 777)]
        assert b"".join(whole) == data
    with fs.open(address) as file:
        assert file.size == size


@pytest.mark.parametrize("kind", ["blockcache", "cached", "filecache", "simplecache"])
@pytest.mark.parametrize("path", [*FILES, "nothing"])
def test_caches_of_fsspec(version, options, tmp_path, kind, path):
    data = FILES.get(path, b"")
    settings = {"gobbler": options, kind: {"cache_storage": str(tmp_path / "kept")}}
    for _ in range(2):
        with fsspec.open(f"{kind}::gobbler://{version}/{path}", **settings) as file:
            assert file.read(20) == data[:20]
            file.seek(max(0, len(data) - 5))
            assert file.read() == data[-5:]
            file.seek(0)
            assert file.read() == data


@pytest.mark.parametrize("kind", ["blockcache", "filecache", "simplecache"])
def test_a_cache_notices_another_version(version, options, client, tmp_path, kind):
    cached = fsspec.filesystem(
        kind,
        target_protocol="gobbler",
        target_options=options,
        cache_storage=str(tmp_path / "kept"),
        **({} if kind == "simplecache" else {"check_files": True}),
    )
    path = f"{version}/d/small.csv"
    assert cached.cat(path) == SMALL
    assert copy.deepcopy(cached).cat(path) == SMALL
    assert pickle.loads(pickle.dumps(cached)).cat(path) == SMALL
    if kind == "simplecache":
        return  # it never asks
    project, asset, name = version.split("/")
    client.admin.delete_version(project, asset, name)
    (tmp_path / "source of files" / "d" / "small.csv").write_bytes(b"other")
    client.upload(project, asset, name, tmp_path / "source of files")
    assert cached.cat(path) == b"other"


@pytest.mark.parametrize(
    "kind", ["readahead", "bytes", "all", "mmap", "first", "none", "background"]
)
def test_ways_to_read_ahead(fs, version, kind):
    for path, data in FILES.items():
        with fs.open(f"{version}/{path}", block_size=4096, cache_type=kind) as file:
            file.seek(100)
            assert file.read(5000) == data[100:5100]
            again = copy.deepcopy(file)
        with again:
            assert again.tell() == 5100
            assert again.read(3) == data[5100:5103]


def test_ranges(fs, version):
    small, large = f"{version}/d/small.csv", f"{version}/large"
    assert fs.cat_ranges([small, large, small], [0, 1000, -4], [3, 1010, None]) == [
        SMALL[:3],
        LARGE[1000:1010],
        SMALL[-4:],
    ]
    (missing,) = fs.cat_ranges([f"{version}/no"], [0], [1], on_error="return")
    assert isinstance(missing, FileNotFoundError)


def test_copies(fs, version, client, options):
    for copied in (copy.copy(fs), copy.deepcopy(fs), copy.deepcopy({"a": [fs]})["a"][0]):
        assert copied == fs
        assert copied.cat(f"{version}/d/small.csv") == SMALL
    fresh = type(fs)(**options, skip_instance_cache=True)
    assert copy.deepcopy(fresh).cat(f"{version}/d/small.csv") == SMALL
    opened = copy.deepcopy(fsspec.open(f"gobbler://{version}/d/small.csv", **options))
    with opened as file:
        assert file.read(3) == SMALL[:3]
    for each in (client, client.version(version), client.version(version) / "d"):
        assert copy.deepcopy(each) == each


def test_names(fs, version):
    assert fs.find(version) == [f"{version}/{path}" for path in ("d/small.csv", "large", "nothing")]
    assert fs.glob(f"{version}/**/*.csv") == [f"{version}/d/small.csv"]
    assert fs.info(f"{version}/large")["size"] == len(LARGE)
    assert fs.du(version) == len(SMALL) + len(LARGE)
    assert Path(fs.unstrip_protocol(version)) == Path(f"gobbler://{version}")
    assert fs.ukey(f"{version}/large").startswith(fs.checksum(f"{version}/large"))
