"""The endpoint ``/fetch`` (protocol, section 8; section 9, number 12)."""

from __future__ import annotations

import email.utils
import os
import time
from pathlib import Path

import pytest

from .service import Service, Symlink
from .test_reading import ODD

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def published(service: Service) -> str:
    """A version with one file ``file``, a link ``link`` to it, and some others."""
    address = f"{service.new_project()}/asset/1"
    tree = {"file": CONTENT, "link": Symlink("file"), "d/text.txt": b"text\n", "nothing": b""}
    service.upload(address, tree)
    return address


class TestAFile:
    @pytest.mark.parametrize("name", ["file", "link"])
    def test_comes_as_it_is(self, service: Service, published: str, name: str) -> None:
        response = service.fetch(f"{published}/{name}")
        assert response.status_code == 200
        assert response.content == CONTENT
        assert response.headers["Content-Length"] == str(len(CONTENT))
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Encoding" not in response.headers

    def test_may_be_empty(self, service: Service, published: str) -> None:
        response = service.fetch(f"{published}/nothing")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Length"] == "0"

    def test_may_be_internal(self, service: Service, published: str) -> None:
        project = published.split("/", maxsplit=1)[0]
        for path in (f"{project}/..permissions", f"{published}/..manifest"):
            response = service.fetch(path)
            assert response.status_code == 200
            assert response.content == (service.registry / path).read_bytes()

    def test_may_be_big(self, service: Service, project: str) -> None:
        content = os.urandom(1 << 20) * 20
        service.upload(f"{project}/asset/1", {"big": content})
        assert service.fetch(f"{project}/asset/1/big").content == content
        part = service.fetch(f"{project}/asset/1/big", headers={"Range": "bytes=20000000-"})
        assert part.content == content[20_000_000:]

    @pytest.mark.parametrize("name", ODD)
    def test_may_have_an_odd_name(self, service: Service, project: str, name: str) -> None:
        service.upload(f"{project}/{name}/{name}", {f"d {name}/{name}": b"odd"})
        assert service.fetch(f"{project}/{name}/{name}/d {name}/{name}").content == b"odd"

    @pytest.mark.beyond
    def test_may_be_called_index(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/1", {"index.html": b"<p>", "d/index.html": b"<b>"})
        for path, content in (("index.html", b"<p>"), ("d/index.html", b"<b>")):
            response = service.fetch(f"{project}/asset/1/{path}", allow_redirects=False)
            assert (response.status_code, response.content) == (200, content)

    @pytest.mark.parametrize("path", ["missing", "d/missing", "missing/file", "d/text.txt/x"])
    def test_that_is_missing_is_not_found(
        self, service: Service, published: str, path: str
    ) -> None:
        for version in (published, f"{published}x"):
            response = service.fetch(f"{version}/{path}")
            assert response.status_code == 404


class TestHead:
    @pytest.mark.parametrize("name", ["file", "link", "nothing"])
    def test_reports_the_same_without_the_content(
        self, service: Service, published: str, name: str
    ) -> None:
        url = f"{service.url}/fetch/{published}/{name}"
        head = service.http.head(url, timeout=30)
        got = service.http.get(url, timeout=30)
        assert (head.status_code, head.content) == (200, b"")
        for header in ("Content-Length", "Last-Modified", "Accept-Ranges", "Content-Type", "ETag"):
            assert head.headers.get(header) == got.headers.get(header)

    def test_of_what_is_missing_is_not_found(self, service: Service, published: str) -> None:
        response = service.http.head(f"{service.url}/fetch/{published}/missing", timeout=30)
        assert (response.status_code, response.content) == (404, b"")


class TestARange:
    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [
            ("0-0", 0, 0),
            ("5-9", 5, 9),
            ("10000-", 10_000, 10_239),
            ("-3", 10_237, 10_239),
            ("-99999", 0, 10_239),
            ("10239-10239", 10_239, 10_239),
            ("10000-99999", 10_000, 10_239),
        ],
    )
    def test_is_a_part(
        self, service: Service, published: str, asked: str, first: int, last: int
    ) -> None:
        for name in ("file", "link"):
            response = service.fetch(f"{published}/{name}", headers={"Range": f"bytes={asked}"})
            assert response.status_code == 206
            assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
            assert response.headers["Content-Length"] == str(last - first + 1)
            assert response.content == CONTENT[first : last + 1]

    @pytest.mark.parametrize("asked", ["10240-", "10240-10300", "99999-"])
    def test_past_the_end_can_not_be_satisfied(
        self, service: Service, published: str, asked: str
    ) -> None:
        response = service.fetch(f"{published}/file", headers={"Range": f"bytes={asked}"})
        assert response.status_code == 416
        assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"

    @pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes=9-5"])
    def test_that_is_odd_never_yields_wrong_bytes(
        self, service: Service, published: str, asked: str
    ) -> None:
        response = service.fetch(f"{published}/file", headers={"Range": asked})
        if response.status_code == 200:
            assert response.content == CONTENT
        else:
            assert response.status_code in (206, 400, 416)


class TestACondition:
    def test_by_time(self, service: Service, published: str) -> None:
        path = f"{published}/file"
        stamp = service.fetch(path).headers["Last-Modified"]
        modified = email.utils.parsedate_to_datetime(stamp).timestamp()
        assert modified == int((service.registry / path).stat().st_mtime)
        later = email.utils.formatdate(time.time() + 60, usegmt=True)
        earlier = email.utils.formatdate(modified - 60, usegmt=True)
        for since, status in ((stamp, 304), (later, 304), (earlier, 200)):
            response = service.fetch(path, headers={"If-Modified-Since": since})
            assert response.status_code == status
            assert response.content == (CONTENT if status == 200 else b"")

    @pytest.mark.beyond
    def test_by_etag(self, service: Service, published: str) -> None:
        path = f"{published}/file"
        etag = service.fetch(path).headers["ETag"]
        assert etag == service.fetch(path).headers["ETag"]
        assert etag != service.fetch(f"{published}/d/text.txt").headers["ETag"]
        for asked, status in (
            (etag, 304),
            ("*", 304),
            (f'"other", {etag}', 304),
            (f"W/{etag}", 304),
            ('"other"', 200),
        ):
            response = service.fetch(path, headers={"If-None-Match": asked})
            assert response.status_code == status, asked
            assert response.content == (CONTENT if status == 200 else b"")
            assert response.headers["ETag"] == etag

    @pytest.mark.beyond
    def test_on_a_range(self, service: Service, published: str) -> None:
        path = f"{published}/file"
        etag = service.fetch(path).headers["ETag"]
        for asked, status in ((etag, 206), ('"other"', 200)):
            response = service.fetch(path, headers={"If-Range": asked, "Range": "bytes=0-4"})
            assert response.status_code == status
            assert response.content == (CONTENT[:5] if status == 206 else CONTENT)

    @pytest.mark.beyond
    def test_by_etag_sees_an_internal_file_change(self, service: Service, project: str) -> None:
        path = f"{project}/..usage"
        etag = service.fetch(path).headers["ETag"]
        service.upload(f"{project}/asset/1", {"a": b"a"})
        response = service.fetch(path, headers={"If-None-Match": etag})
        assert response.status_code == 200
        assert response.json() == {"total": 1}


class TestNothingBut:
    @pytest.mark.parametrize(
        "path",
        ["../{0}", "%2e%2e/{0}", "..%2f{0}", "a/../../{0}", "a%2f..%2f..%2f{0}", "%2f..%2f{0}"],
    )
    def test_the_registry_is_served(self, service: Service, path: str) -> None:
        name = service.unique()
        (service.staging / name).write_text("not for the web")
        relative = os.path.relpath(service.staging / name, service.registry)
        rest = relative.removeprefix("../")
        status, body = service.raw("GET", "/fetch/" + path.format(rest))
        assert status != 200
        assert b"not for the web" not in body

    @pytest.mark.parametrize("encode", [False, True])
    def test_the_registry_is_served_by_absolute_paths(self, service: Service, encode: bool) -> None:
        path = "%2Fetc%2Fpasswd" if encode else "/etc/passwd"
        status, body = service.raw("GET", "/fetch/" + path)
        assert status != 200
        assert b"root:" not in body

    @pytest.mark.beyond
    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("levels", [0, 1, 2, 3, 4])
    def test_files_are_served(
        self, service: Service, published: str, levels: int, slash: str
    ) -> None:
        directory = "/".join([*published.split("/"), "d"][:levels])
        response = service.get(f"/fetch/{directory}{slash}", allow_redirects=False)
        assert 400 <= response.status_code < 500
        assert "text.txt" not in response.text

    @pytest.mark.beyond
    @pytest.mark.parametrize("path", ["%00", "a%00b", "%FF", "x" * 300, "x/" * 3000])
    def test_possible_paths_are_served(self, service: Service, path: str) -> None:
        status, _ = service.raw("GET", "/fetch/" + path)
        assert status in (400, 404, 414)

    @pytest.mark.beyond
    @pytest.mark.parametrize("through", ["file", "directory", "chain"])
    def test_links_that_stay_inside_are_followed(
        self, service: Service, writable_registry: Path, tmp_path: Path, through: str
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("not for the web")
        version = writable_registry / service.new_project() / "asset" / "1"
        version.mkdir(parents=True)
        (version / "file").symlink_to(secret)
        (version / "directory").symlink_to(tmp_path)
        (version / "chain").symlink_to("file")
        path = version.relative_to(writable_registry) / through
        if through == "directory":
            path /= "secret"
        response = service.fetch(str(path))
        assert response.status_code in (403, 404)
        assert "not for the web" not in response.text

    @pytest.mark.beyond
    def test_regular_files_are_served(self, service: Service, writable_registry: Path) -> None:
        project = service.new_project()
        os.mkfifo(writable_registry / project / "fifo")
        response = service.http.get(f"{service.url}/fetch/{project}/fifo", timeout=5)
        assert 400 <= response.status_code < 500
