"""A service that lies, or was replaced by one that does: it gains nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.cache.directory import LARGE_FILE
from gobbler.client.download import SMALL_FILE
from gobbler.client.expected import ContentMismatch
from gobbler.client.http import Http
from gobbler.errors import Code, Fault, GobblerError
from gobbler.rules.manifest import manifest_problem, path_problem, read_manifest

VERSION = "p/a/v"
LIST = "/list?path=p%2Fa%2Fv&recursive=true"
ARCHIVE = "/archive/p/a/v.tar?length=false"
MD5 = "0123456789abcdef" * 2
SUMMARY = json.dumps({"upload_user_id": "u", "upload_start": "t", "upload_finish": "t"})
FILE = {"size": 1, "md5sum": MD5}
LINK = {"project": "p", "asset": "a", "version": "v", "path": "f"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


@pytest.fixture
def client(web, cache: Path) -> Client:
    return Client(web.url, cache=cache, force_remote=True)


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()]


BAD_KEYS = [
    "../../.bashrc",
    "/etc/passwd",
    "//x",
    "a//b",
    "a/",
    "/",
    "",
    ".",
    "./a",
    "a/.",
    "..",
    "a/..",
    "a/../../x",
    "..manifest",
    "..summary",
    "sub/..links",
    "..x/y",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "a\x7f",
    "n" * 256,
    "d/" + "\u00e9" * 128 + "/x",
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_path_that_no_service_writes(web, client, cache, tmp_path, key):
    (cache.parent).mkdir()
    (cache.parent / ".bashrc").write_text("mine")
    web.put(f"/fetch/{VERSION}/..manifest", json.dumps({"fine": FILE, key: FILE}))
    web.put(f"/fetch/{VERSION}/..summary", SUMMARY)
    web.put(LIST, json.dumps(["fine", key]))
    web.put(f"/fetch/{VERSION}/fine", b"x")
    version = client.version(VERSION)
    for call in (
        lambda: client.fetch_directory(VERSION),
        lambda: client.fetch_file(f"{VERSION}/fine"),
        version.manifest,
        version.fetch,
        lambda: version.open("fine"),
    ):
        with pytest.raises(Fault) as caught:
            call()
        assert caught.value.code == Code.DAMAGED_RECORD
        assert f"{VERSION}/..manifest is damaged" in caught.value.reason
        assert "\x1b" not in caught.value.reason
        assert "\n" not in caught.value.reason
    assert (cache.parent / ".bashrc").read_text() == "mine"
    assert {path.name for path in files(tmp_path)} <= {".bashrc", "..manifest", "..summary"}


@pytest.mark.parametrize(
    "path", ["a", "a/b", ".hidden", ".a/.b", "a b", "...", "a..b", "\u00e9", "a\\b", "n" * 255]
)
def test_a_path_that_is_fine(path):
    assert path_problem(path) == (
        "has a component that starts with '..'" if path == "..." else None
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"size": -1, "md5sum": MD5}, "size"),
        ({"size": 2**63, "md5sum": MD5}, "impossible size"),
        ({"size": 10**40, "md5sum": MD5}, "impossible size"),
        ({"size": 1.5, "md5sum": MD5}, "size"),
        ({"size": "1", "md5sum": MD5}, "size"),
        ({"size": True, "md5sum": MD5}, "size"),
        ({"size": None, "md5sum": MD5}, "size"),
        ({"md5sum": MD5}, "size"),
        ({"size": 1}, "md5sum"),
        ({"size": 1, "md5sum": ""}, "no checksum"),
        ({"size": 1, "md5sum": MD5.upper()}, "md5sum"),
        ({"size": 1, "md5sum": MD5 + "\n"}, "md5sum"),
        ({"size": 1, "md5sum": "../" + MD5[3:]}, "md5sum"),
        (FILE | {"link": LINK | {"path": "../../x"}}, "link"),
        (FILE | {"link": LINK | {"path": ""}}, "link"),
        (FILE | {"link": LINK | {"project": ".."}}, "link"),
        (FILE | {"link": LINK | {"asset": "a/b"}}, "link"),
        (FILE | {"link": LINK | {"version": ""}}, "link"),
        (FILE | {"link": LINK | {"ancestor": LINK | {"path": "/etc/passwd"}}}, "link"),
        (FILE | {"link": LINK | {"ancestor": LINK | {"ancestor": LINK}}}, "ancestor"),
        (FILE | {"link": "p/a/v/f"}, "link"),
        ({"size": 0, "md5sum": "", "link": LINK}, "link"),
    ],
)
def test_an_entry_that_no_service_writes(entry, said):
    with pytest.raises(Fault, match=said) as caught:
        read_manifest(json.dumps({"the file": entry}).encode(), "p/a/v/..manifest")
    assert "the file" in caught.value.reason
    assert caught.value.code == Code.DAMAGED_RECORD


def test_a_file_can_not_be_a_directory():
    manifest = read_manifest(json.dumps({"a/b": FILE, "a/c/d": FILE, "ab": FILE}).encode(), "m")
    assert manifest_problem(manifest) is None
    with pytest.raises(Fault, match="other files below it"):
        read_manifest(json.dumps({"a/b/c": FILE, "a": FILE}).encode(), "m")


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".", "..x", "a\0"])
def test_a_latest_version_that_can_not_be_one(web, client, name):
    web.put("/fetch/p/a/..latest", json.dumps({"version": name}))
    with pytest.raises(Fault, match="is damaged") as caught:
        client.asset("p/a").latest()
    assert caught.value.code == Code.DAMAGED_RECORD


@pytest.mark.parametrize("name", ["../x/", "a/b/", "//", "/", "a//", "./"])
def test_a_name_that_is_none(web, client, name):
    web.put("/list", json.dumps([name]))
    with pytest.raises(Fault, match="the service lists") as caught:
        client.projects()
    assert caught.value.code == Code.INVALID_ANSWER


def offer(web, listed: dict[str, bytes]) -> None:
    manifest = {
        path: {"size": len(data), "md5sum": hashlib.md5(data).hexdigest()}
        for path, data in listed.items()
    }
    web.put(f"/fetch/{VERSION}/..manifest", json.dumps(manifest))
    web.put(LIST, json.dumps([*listed, "..manifest"]))
    for path, data in listed.items():
        web.put(f"/fetch/{VERSION}/{path}", data)


@pytest.mark.parametrize("size", [10, SMALL_FILE + 10, LARGE_FILE + 10])
@pytest.mark.parametrize("endless", [False, True])
def test_no_more_is_written_than_the_manifest_says(
    web, client, tmp_path, monkeypatch, size, endless
):
    offer(web, {"f": b"x" * size})
    answer = web.answers[f"/fetch/{VERSION}/f"]
    answer.body, answer.endless = b"y" * (size * 3), endless
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(len(data)) or write(fd, data))
    for fetch, path in ((client.fetch_file, f"{VERSION}/f"), (client.fetch_directory, VERSION)):
        with pytest.raises(ContentMismatch, match="bytes"):
            fetch(path)
    assert sum(written) < 10_000
    found = [path for path in files(tmp_path) if path.name != "..manifest"]
    assert all(path.stat().st_size <= size for path in found)


@pytest.mark.parametrize("path", ["/info", "/list", "/fetch/p/a/..latest"])
def test_an_answer_without_end(web, client, monkeypatch, path):
    monkeypatch.setattr("gobbler.client.http.ANSWER_LIMIT", 1 << 20)
    web.put(path, b"[" * 65536)
    web.answers[path].endless = True
    call = {"/info": client.info, "/list": client.projects}.get(path, client.asset("p/a").latest)
    with pytest.raises(GobblerError, match="more than 1048576 bytes") as caught:
        call()
    assert caught.value.code == Code.INVALID_ANSWER


def test_an_error_without_end(web, client):
    web.put("/info", b"{" * 65536, 500)
    web.answers["/info"].endless = True
    with pytest.raises(GobblerError, match="more than"):
        client.info()


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def member(path: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(path)
    made.type, made.linkname = kind, target
    return made


SMALL = {f"f{i}": b"x" * 10 for i in range(10)}

HOSTILE = {
    "a link": [(member(f"{VERSION}/f0", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "a link on the way": [
        (member(f"{VERSION}/d", tarfile.SYMTYPE, "/tmp"), b""),
        (member(f"{VERSION}/d/f"), b"x"),
    ],
    "a hard link": [(member(f"{VERSION}/f0", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "a device": [(member(f"{VERSION}/f0", tarfile.CHRTYPE), b"")],
    "a fifo": [(member(f"{VERSION}/f0", tarfile.FIFOTYPE), b"")],
    "another version": [(member("p/a/v2/f0"), b"x")],
    "outside": [(member(f"{VERSION}/../../../../x"), b"x")],
    "absolute": [(member("/etc/x"), b"x")],
    "twice": [(member(f"{VERSION}/f0"), b"x" * 10), (member(f"{VERSION}/f0"), b"x" * 10)],
    "both": [(member(f"{VERSION}/new"), b"x"), (member(f"{VERSION}/new", tarfile.DIRTYPE), b"")],
    "both, the other way": [
        (member(f"{VERSION}/new", tarfile.DIRTYPE), b""),
        (member(f"{VERSION}/new"), b"x"),
    ],
    "below a file": [(member(f"{VERSION}/f0"), b"x" * 10), (member(f"{VERSION}/f0/x"), b"x")],
    "too long": [(member(f"{VERSION}/f0"), b"x" * (SMALL_FILE + 1))],
    "too short": [(member(f"{VERSION}/f0"), b"x")],
    "wrong": [(member(f"{VERSION}/f0"), b"y" * 10)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_no_service_makes(web, client, cache, what):
    offer(web, SMALL)
    web.put(ARCHIVE, tar(*HOSTILE[what]), **{"Content-Type": "application/x-tar"})
    with pytest.raises(Fault) as caught:
        client.fetch_directory(VERSION)
    assert caught.value.code in (Code.INVALID_ANSWER, Code.CONTENT_MISMATCH)
    assert {path.name for path in files(cache)} <= {"..manifest"}


@pytest.mark.parametrize(
    "target",
    [
        "http://[::1",
        "http://[v1.x]",
        "http://a:b:c",
        "http://:80",
        "//[",
        "http://a..b",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://localhost:99999",
        "http://%zz\xff",
    ],
)
def test_a_redirection_to_what_is_no_address(web, target):
    web.put("/info", "", 302, Location=target)
    with pytest.raises(GobblerError):
        Http(web.url).get("/info", dict)
