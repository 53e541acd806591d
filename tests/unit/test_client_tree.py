"""Directories that are fetched as archives, or file by file, or as a mixture of both."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.archive import MARKER_SECONDS
from gobbler.client.cache.directory import LARGE_FILE
from gobbler.client.download import SMALL_FILE
from gobbler.client.errors import NoAnswer, RequestFailed
from gobbler.client.expected import ContentMismatch
from gobbler.errors import Fault, Missing
from gobbler.service.archive import END, directory_header, file_header, padding

LIST = "/list?path=p%2Fa%2Fv&recursive=true"
ARCHIVE = "/archive/p/a/v.tar?length=false"
MANIFEST = "/fetch/p/a/v/..manifest"


def entry(data: bytes) -> dict[str, object]:
    return {"size": len(data), "md5sum": hashlib.md5(data).hexdigest()}


def manifest_of(files: dict[str, bytes]) -> bytes:
    entries: dict[str, object] = {path: entry(data) for path, data in files.items()}
    return json.dumps(entries | {"empty": {"size": 0, "md5sum": ""}}).encode()


def archive_of(files: dict[str, bytes], top: str = "p/a/v") -> bytes:
    data = directory_header(top, 1) + directory_header(f"{top}/empty", 1)
    for path, content in files.items():
        data += file_header(f"{top}/{path}", len(content), 1) + content
        data += bytes(padding(len(content)))
    return data + END


FILES = {f"d{i % 3}/f{i}": f"content {i}".encode() for i in range(20)} | {"empty-file": b""}
RECORDS = {"..manifest": manifest_of(FILES), "..summary": b"{}", "d0/..links": b"{}"}
WHOLE = {**FILES, **RECORDS, "empty": None}
TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def client(web, cache):
    return Client(web.url, cache=cache, force_remote=True)


def offer(web, files=FILES, records=RECORDS):
    """A version whose files can be fetched one by one."""
    everything = {**files, **records}
    web.put(LIST, json.dumps([*everything, "empty/"]))
    for path, data in everything.items():
        web.put(f"/fetch/p/a/v/{path}", data)


def everything(directory: str) -> dict[str, bytes | None]:
    found = {}
    for path in Path(directory).rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found


def complete(cache: Path) -> list[Path]:
    return list(cache.glob("*/trees/*"))


def test_many_small_files_take_two_requests(web, client):
    web.put(MANIFEST, RECORDS["..manifest"])
    web.put(ARCHIVE, archive_of({**RECORDS, **FILES}), **TAR)
    assert everything(client.fetch_directory("p/a/v")) == WHOLE
    assert web.seen == [MANIFEST, ARCHIVE]


def test_a_part_of_a_version(web, client):
    beside = {f"x/{path}": data for path, data in FILES.items()} | {"xy/f": b"", "f": b""}
    web.put(MANIFEST, manifest_of(beside))
    web.put("/archive/p/a/v/x.tar?length=false", archive_of(FILES, "p/a/v/x"), **TAR)
    assert everything(client.fetch_directory("p/a/v/x")) == {**FILES, "empty": None}
    assert web.seen == [MANIFEST, "/archive/p/a/v/x.tar?length=false"]


def test_few_files_are_no_archive(web, client):
    few = {"a": b"1", "b": b"2"}
    records = {"..manifest": manifest_of(few), "..summary": b"{}"}
    offer(web, few, records)
    assert everything(client.fetch_directory("p/a/v")) == {**few, **records, "empty": None}
    assert ARCHIVE not in web.seen


def test_large_files_come_by_themselves(web, client):
    large = {"large": os.urandom(LARGE_FILE + 1)}
    records = {"..manifest": manifest_of({**FILES, **large}), "..summary": b"{}"}
    offer(web, {**FILES, **large}, records)
    web.put(f"{ARCHIVE}&max_size={LARGE_FILE}", archive_of({**records, **FILES}), **TAR)
    got = everything(client.fetch_directory("p/a/v"))
    assert got == {**FILES, **large, **records, "empty": None}
    assert web.seen == [MANIFEST, f"{ARCHIVE}&max_size={LARGE_FILE}", LIST, "/fetch/p/a/v/large"]


def test_files_of_middle_size_come_with_the_others(web, client):
    middle = {"middle": os.urandom(SMALL_FILE * 2 + 5), "..x": os.urandom(SMALL_FILE + 1)}
    records = {"..manifest": manifest_of({**FILES, "middle": middle["middle"]}), "..summary": b"{}"}
    web.put(MANIFEST, records["..manifest"])
    web.put(ARCHIVE, archive_of({**records, **FILES, **middle}), **TAR)
    got = everything(client.fetch_directory("p/a/v"))
    assert got == {**FILES, **middle, **records, "empty": None}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("404 page not found\n", 404, "text/plain"),
        ('{"status": "ERROR", "reason": "no such endpoint"}', 404, "application/json"),
        ("", 405, "text/plain"),
        ("<html>Welcome</html>", 200, "text/html"),
    ],
)
def test_a_service_without_archives_is_asked_for_one_once_a_day(
    web, client, cache, body, status, kind
):
    offer(web)
    web.put(ARCHIVE, body, status, **{"Content-Type": kind})
    for _ in range(2):
        path = client.fetch_directory("p/a/v", overwrite=True)
        assert everything(path) == WHOLE
    # As another process would be.
    Client(web.url, cache=cache, force_remote=True).fetch_directory("p/a/v", overwrite=True)
    assert web.seen.count(ARCHIVE) == 1
    (marker,) = cache.glob("*/no-archives")
    before = time.time() - MARKER_SECONDS - 10
    os.utime(marker, (before, before))
    client.fetch_directory("p/a/v", overwrite=True)
    assert web.seen.count(ARCHIVE) == 2


def test_a_version_that_is_gone_says_nothing_about_archives(web, client, cache):
    web.put(MANIFEST, RECORDS["..manifest"])
    with pytest.raises(Missing):
        client.fetch_directory("p/a/v")
    assert list(cache.glob("*/no-archives")) == []
    assert complete(cache) == []


def test_what_an_archive_did_not_bring_comes_file_by_file(web, client, monkeypatch):
    monkeypatch.setattr("gobbler.client.archive.PIECE_BYTES", 1000)
    offer(web)
    whole = archive_of({**RECORDS, **FILES})
    web.put(ARCHIVE, whole, **TAR)
    web.answers[ARCHIVE].breaks_after = [len(whole) // 2]
    assert everything(client.fetch_directory("p/a/v")) == WHOLE
    fetched = [path for path in web.seen if path.startswith("/fetch/")]
    assert 2 < len(fetched) < len(WHOLE) - 3


def test_an_archive_without_its_end_is_not_whole(web, client):
    offer(web)
    web.put(ARCHIVE, archive_of({**RECORDS, **FILES})[: -len(END)], **TAR)
    assert everything(client.fetch_directory("p/a/v")) == WHOLE
    assert LIST in web.seen


def altered(**changed: bytes) -> dict[str, bytes]:
    return {**RECORDS, **FILES, **{name.replace("__", "/"): data for name, data in changed.items()}}


@pytest.mark.parametrize("content", [b"content x", b"", b"content 1 and more"])
def test_an_archive_with_wrong_content_is_refused(web, client, cache, content):
    offer(web)
    web.put(ARCHIVE, archive_of(altered(d1__f1=content)), **TAR)
    with pytest.raises(ContentMismatch, match="p/a/v/d1/f1"):
        client.fetch_directory("p/a/v")
    assert complete(cache) == []


def test_a_large_file_in_an_archive_is_compared_too(web, client, cache):
    files = {**FILES, "middle": b"x" * (SMALL_FILE + 1)}
    records = {"..manifest": manifest_of(files), "..summary": b"{}"}
    web.put(MANIFEST, records["..manifest"])
    web.put(ARCHIVE, archive_of({**records, **files, "middle": b"y" * (SMALL_FILE + 1)}), **TAR)
    with pytest.raises(ContentMismatch, match="p/a/v/middle"):
        client.fetch_directory("p/a/v")
    assert complete(cache) == []


def test_another_version_of_the_same_name_is_noticed(web, client, cache):
    web.put(MANIFEST, RECORDS["..manifest"])
    other = {**RECORDS, "..manifest": manifest_of({"new": b""})}
    web.put(ARCHIVE, archive_of({**other, **FILES}), **TAR)
    with pytest.raises(Fault, match="changed while"):
        client.fetch_directory("p/a/v")
    assert complete(cache) == []


def test_a_file_that_is_in_no_archive_and_no_list_is_missed(web, client, cache):
    web.put(MANIFEST, RECORDS["..manifest"])
    files = {path: data for path, data in FILES.items() if path != "d1/f1"}
    web.put(ARCHIVE, archive_of({**RECORDS, **files}), **TAR)
    with pytest.raises(Fault, match="changed while"):
        client.fetch_directory("p/a/v")
    assert complete(cache) == []


@pytest.mark.parametrize("path", ["../v2/f", "../../../../f", "d/../../f"])
def test_a_hostile_archive_writes_nothing_elsewhere(web, client, cache, path):
    offer(web)
    web.put(ARCHIVE, archive_of({path: b"x"}), **TAR)
    with pytest.raises(Fault):
        client.fetch_directory("p/a/v")
    assert {each.name for each in cache.rglob("*") if each.is_file()} <= {"..manifest"}


def test_a_hostile_manifest_makes_no_directory_elsewhere(web, client, cache):
    web.put(MANIFEST, json.dumps({"../../../../../x": {"size": 0, "md5sum": ""}}))
    web.put(LIST, "[]")
    with pytest.raises(Fault, match="a component that starts with"):
        client.fetch_directory("p/a/v")
    assert not (cache / "x").exists()


def test_a_file_that_is_wrong_ends_it(web, client, cache):
    offer(web)
    web.put("/fetch/p/a/v/d0/f0", b"<html>Quota exceeded</html>")
    with pytest.raises(ContentMismatch, match="p/a/v/d0/f0"):
        client.fetch_directory("p/a/v")
    assert complete(cache) == []


def test_a_web_page_in_place_of_a_manifest(web, client, cache):
    offer(web)
    web.put(MANIFEST, "<html>Log in</html>", **{"Content-Type": "text/html"})
    for fetch in (client.fetch_directory, lambda path: client.fetch_file(f"{path}/d0/f0")):
        with pytest.raises(Fault) as caught:
            fetch("p/a/v")
        assert "proxy" in caught.value.hint
    assert complete(cache) == []
    web.put(MANIFEST, RECORDS["..manifest"])
    assert Path(client.fetch_file("p/a/v/d0/f0")).read_bytes() == FILES["d0/f0"]


def test_a_service_that_fails_is_no_service_without_archives(web, client, cache):
    offer(web)
    web.put(ARCHIVE, '{"status": "ERROR", "reason": "the disk is gone"}', 500)
    with pytest.raises(RequestFailed, match="the disk is gone"):
        client.fetch_directory("p/a/v")
    assert list(cache.glob("*/no-archives")) == []


def test_what_is_the_same_is_one_file(web, client):
    offer(web)
    one = Path(client.fetch_directory("p/a/v"))
    web.put("/fetch/p/a/w/..manifest", RECORDS["..manifest"])
    web.put("/archive/p/a/w.tar?length=false", archive_of({**RECORDS, **FILES}, "p/a/w"), **TAR)
    for marker in one.parents[4].glob("no-archives"):
        marker.unlink()
    other = Path(client.fetch_directory("p/a/w"))
    assert "/archive/p/a/w.tar?length=false" in web.seen
    for path, data in FILES.items():
        assert (one / path).samefile(other / path) == (data != b"")
    alone = Path(client.fetch_file("p/a/v/d0/f0"))
    assert alone.samefile(one / "d0/f0")
    assert (one / "d0/f0").stat().st_mode & 0o222 == 0


def test_what_is_the_same_within_a_version_is_one_file(web, client):
    twice = {**FILES, "again": FILES["d0/f0"]}
    records = {"..manifest": manifest_of(twice), "..summary": b"{}"}
    web.put(MANIFEST, records["..manifest"])
    web.put(ARCHIVE, archive_of({**records, **twice}), **TAR)
    got = Path(client.fetch_directory("p/a/v"))
    assert (got / "again").samefile(got / "d0/f0")


def test_what_is_here_is_not_fetched_again(web, client):
    large = {"large": os.urandom(SMALL_FILE * 2)}
    offer(web, large, {"..manifest": manifest_of(large), "..summary": b"{}"})
    client.fetch_file("p/a/v/large")
    client.fetch_directory("p/a/v")
    assert web.seen.count("/fetch/p/a/v/large") == 1


def test_what_was_damaged_here_is_fetched_again(web, client):
    offer(web)
    first = Path(client.fetch_file("p/a/v/d0/f0"))
    os.chmod(first, 0o644)
    first.write_bytes(b"CONTENT 0")
    got = Path(client.fetch_directory("p/a/v"))
    assert everything(str(got)) == WHOLE
    assert web.seen.count("/fetch/p/a/v/d0/f0") == 2


def test_without_hard_links_all_goes_well(web, client, monkeypatch):
    def link(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    offer(web)
    for path in ("p/a/v", "p/a/v"):
        assert everything(client.fetch_directory(path, overwrite=True)) == WHOLE


def test_a_large_file_goes_on_in_another_process(web, client, cache):
    large = {"large": os.urandom(SMALL_FILE * 4)}
    offer(web, large, {"..manifest": manifest_of(large), "..summary": b"{}"})
    answer = web.answers["/fetch/p/a/v/large"]
    answer.ranges, answer.headers = True, {"ETag": '"1"'}
    answer.breaks_after = [SMALL_FILE * 3, 0, 0]
    with pytest.raises(NoAnswer):
        client.fetch_directory("p/a/v")
    assert list(cache.glob("*/temp/*")) == []
    web.ranges.clear()
    other = Client(web.url, cache=cache, force_remote=True)
    assert Path(other.fetch_file("p/a/v/large")).read_bytes() == large["large"]
    assert web.ranges[-1] == f"bytes={SMALL_FILE * 3}-"
    assert list(cache.glob("*/partial/*")) == []


def test_large_files_that_came_are_kept_if_others_do_not(web, client):
    large = {"a": os.urandom(LARGE_FILE), "b": b"later"}
    offer(web, large, {"..manifest": manifest_of(large), "..summary": b"{}"})
    del web.answers["/fetch/p/a/v/b"]
    with pytest.raises(Missing):
        client.fetch_directory("p/a/v", concurrent=1)
    web.put("/fetch/p/a/v/b", large["b"])
    client.fetch_directory("p/a/v")
    assert web.seen.count("/fetch/p/a/v/a") == 1


def test_a_manifest_in_the_cache_may_be_of_another_version(web, client):
    offer(web)
    client.fetch_file("p/a/v/d0/f0")
    files = {**FILES, "d1/f1": b"published anew", "new": b"!"}
    offer(web, files, {"..manifest": manifest_of(files), "..summary": b"{}"})
    for path in ("d1/f1", "new"):
        assert Path(client.fetch_file(f"p/a/v/{path}")).read_bytes() == files[path]


def test_a_file_is_compared_with_the_manifest(web, client, cache):
    offer(web)
    web.put("/fetch/p/a/v/d0/f0", b"CONTENT 0")
    with pytest.raises(ContentMismatch):
        client.fetch_file("p/a/v/d0/f0")
    assert not list(cache.glob("*/files/p/a/v/d0/*"))


def test_a_record_that_is_broken_in_the_cache_is_fetched_again(web, client, cache):
    offer(web)
    summary = {"upload_user_id": "me", "upload_start": "t", "upload_finish": "t"}
    web.put("/fetch/p/a/v/..summary", json.dumps(summary))

    def ask(name: str) -> object:
        version = copy.copy(client).version("p", "a", "v")
        return version.manifest() if name == "..manifest" else version.summary()

    for name in ("..manifest", "..summary"):
        good = ask(name)
        (kept,) = cache.glob(f"*/files/p/a/v/{name}")
        os.chmod(kept, 0o644)
        kept.write_bytes(kept.read_bytes()[:10])
        assert ask(name) == good
    (kept,) = cache.glob("*/files/p/a/v/..manifest")
    os.chmod(kept, 0o644)
    kept.write_bytes(b"{")
    assert Path(client.fetch_file("p/a/v/d0/f0")).read_bytes() == FILES["d0/f0"]
