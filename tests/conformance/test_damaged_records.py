"""Damaged records: an error that names the file and never a traceback, and no change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .accounts import ALICE
from .addresses import naming
from .checks import check_usage, check_valid, latest_of, unchanged
from .service import Service, Symlink, refused

pytestmark = pytest.mark.usefixtures("writable_registry")

NOT_JSON = {
    "nothing": b"",
    "half a file": b'{"total": 1',
    "no JSON": b"oops",
    "zeros": b"\0" * 512,
    "more than one": b"{} {}",
    "another type": b"[1]",
    "a number": b"5",
    "a text": b'"text"',
    "null": b"null",
    "not UTF-8": b"\xff\xfe{\x00}\x00",
    "deep nesting": b'{"a":' * 100_000,
    "deep arrays": b"[" * 100_000,
}

WRONG_FIELDS: dict[str, list[bytes]] = {
    "..permissions": [
        b'{"owners": "me"}',
        b'{"owners": [5]}',
        b'{"uploaders": [{"asset": "a"}]}',
        b'{"uploaders": {"id": "u"}}',
        b'{"global_write": "yes"}',
    ],
    "..usage": [b"{}", b'{"total": "5"}', b'{"total": -5}', b'{"total": null}', b'{"total": 1.5}'],
    "..latest": [b"{}", b'{"version": 5}', b'{"version": null}'],
    "..summary": [
        b"{}",
        b'{"upload_user_id": "u", "upload_start": "2024-01-01T00:00:00Z"}',
        b'{"upload_user_id": 5, "upload_start": "", "upload_finish": ""}',
    ],
    "..manifest": [
        b'{"f": 5}',
        b'{"f": {}}',
        b'{"f": {"size": -1, "md5sum": "c4ca4238a0b923820dcc509a6f75849b"}}',
        b'{"f": {"size": "1", "md5sum": "c4ca4238a0b923820dcc509a6f75849b"}}',
        b'{"f": {"size": 1, "md5sum": "no checksum"}}',
        b'{"f": {"size": 1, "md5sum": "c4ca4238a0b923820dcc509a6f75849b", "link": "x"}}',
        b'{"f": {"size": 1, "md5sum": "c4ca4238a0b923820dcc509a6f75849b", "link": {}}}',
    ],
}


def contents(*records: str) -> list[Any]:
    """Every kind of damage of ``records``: the record, and its content."""
    return [
        pytest.param(record, content, id=f"{record}: {kind}")
        for record in records
        for kind, content in [*NOT_JSON.items(), *_wrong_fields(record)]
    ]


def _wrong_fields(record: str) -> list[tuple[str, bytes]]:
    name = record.rpartition("/")[2]
    return [(content.decode(), content) for content in WRONG_FIELDS.get(name, [])]


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def damaged(service: Service, project: str, record: str, content: bytes) -> str:
    """A project of which one record is damaged; the asset has versions 1, 2 and beta."""
    for version in ("1", "2"):
        tree = {"f": version.encode(), "same": b"same", "d/l": Symlink("../f")}
        service.upload(f"{project}/asset/{version}", tree)
    service.upload(f"{project}/asset/beta", {"b": b"beta"}, on_probation=True)
    permissions = {"owners": ["somebody"]}
    service.succeed("set_permissions", naming(f"{project}/asset", permissions=permissions))
    (service.registry / project / record).write_bytes(content)
    return project


Ask = Callable[[Service, str], dict[str, Any]]
"""Makes a payload for a project."""


def upload(address: str) -> Ask:
    return lambda service, project: service.upload_of(f"{project}/{address}", {"same": b"same"})


def linking(target: str) -> Ask:
    def payload(service: Service, project: str) -> dict[str, Any]:
        tree = {"l": Symlink(service.registry / project / target)}
        return service.upload_of(f"{project}/linking/1", tree)

    return payload


def of(address: str, **fields: Any) -> Ask:
    return lambda _, project: naming(project + address, **fields)


# The actions that fail if a record is damaged, and their payloads.
HINDERED: dict[str, list[tuple[str, Ask]]] = {
    "..permissions": [
        ("upload", upload("asset/3")),
        ("upload", upload("new/1")),
        ("approve_probation", of("/asset/beta")),
        ("reject_probation", of("/asset/beta")),
    ],
    "asset/..permissions": [
        ("upload", upload("asset/3")),
        ("approve_probation", of("/asset/beta")),
        ("reject_probation", of("/asset/beta")),
    ],
    "..usage": [
        ("upload", upload("asset/3")),
        ("reject_probation", of("/asset/beta")),
        ("delete_version", of("/asset/1")),
        ("delete_asset", of("/asset")),
    ],
    "asset/..latest": [
        ("reindex_version", of("/asset/1")),
        ("delete_version", of("/asset/1")),
    ],
    "asset/1/..summary": [
        ("upload", linking("asset/1/f")),
        ("reindex_version", of("/asset/1")),
        ("delete_version", of("/asset/1")),
        ("refresh_latest", of("/asset")),
        ("approve_probation", of("/asset/1")),
        ("reject_probation", of("/asset/1")),
    ],
    "asset/2/..manifest": [
        ("upload", linking("asset/2/f")),
        ("delete_version", of("/asset/2")),
        ("delete_asset", of("/asset")),
        ("refresh_usage", of("")),
    ],
}


@pytest.mark.beyond
@pytest.mark.parametrize(("record", "content"), contents(*HINDERED))
def test_what_needs_it_fails_and_names_it(
    service: Service, damaged: str, record: str, content: bytes
) -> None:
    for action, ask in HINDERED[record]:
        payload = ask(service, damaged)
        with unchanged(service, damaged):
            response = service.submit(action, payload)
            reason = refused(response, f"{damaged}/{record}", status=500)
        assert "Traceback" not in reason
        assert reason.isprintable()
    service.succeed("health_check", {})


@pytest.mark.beyond
@pytest.mark.parametrize(
    ("record", "content"),
    contents("asset/1/..summary", "asset/1/..manifest")
    + [
        pytest.param("asset/1/d/..links", content, id=f"..links: {kind}")
        for kind, content in {**NOT_JSON, "wrong field": b'{"l": {"path": 5}}'}.items()
    ],
)
def test_validating_names_it_among_the_problems(
    service: Service, damaged: str, record: str, content: bytes
) -> None:
    response = service.submit("validate_version", naming(f"{damaged}/asset/1"))
    refused(response, record, status=400)
    assert [problem for problem in response.json()["problems"] if record in problem]


@pytest.mark.beyond
@pytest.mark.parametrize("record", [*HINDERED, "asset/1/d/..links"])
@pytest.mark.parametrize("content", [b"{}"])
def test_a_directory_in_its_place_is_an_error_that_names_it(
    service: Service, damaged: str, record: str, content: bytes
) -> None:
    path = service.registry / damaged / record
    path.unlink()
    path.mkdir()
    for action, ask in HINDERED.get(record, []):
        response = service.submit(action, ask(service, damaged))
        refused(response, f"{damaged}/{record}")
    if record.startswith("asset/1/"):
        response = service.submit("validate_version", naming(f"{damaged}/asset/1"))
        refused(response, record)
    path.rmdir()


@pytest.mark.parametrize(
    ("record", "content"), [("..permissions", b"oops"), ("..usage", b"{}"), ("..usage", b"oops")]
)
def test_what_does_not_need_it_goes_on(
    service: Service, damaged: str, record: str, content: bytes
) -> None:
    for version in ("1", "2", "beta"):
        service.succeed("validate_version", naming(f"{damaged}/asset/{version}"))
    service.succeed("refresh_latest", naming(f"{damaged}/asset"))
    assert service.fetch(f"{damaged}/asset/1/f").content == b"1"
    assert service.list(damaged, recursive=True).status_code == 200


@pytest.mark.beyond
class TestWhatCanDoWithoutIt:
    """Deduplication is optional, and nothing depends on a latest version that is damaged."""

    @pytest.mark.parametrize(
        ("record", "content"),
        [
            *contents(
                *(f"asset/{version}/..manifest" for version in "12"),
                *("asset/1/..summary", "asset/..latest"),
            ),
            pytest.param("asset/1/d/..links", b"oops", id="..links"),
        ],
    )
    def test_uploads_and_becomes_the_latest(
        self, service: Service, damaged: str, record: str, content: bytes
    ) -> None:
        tree = {"f": b"2", "same": b"same", "d/l": Symlink("../f"), "new": b"new"}
        manifest = service.upload(f"{damaged}/asset/3", tree)
        assert latest_of(service, f"{damaged}/asset") == "3"
        service.succeed("validate_version", naming(f"{damaged}/asset/3"))
        # Nothing links to a version whose records are damaged.
        version = record.split("/")[1]
        if not record.endswith("..links"):
            links = [entry["link"] for entry in manifest.values() if "link" in entry]
            assert version not in [link["version"] for link in links]
        service.succeed("approve_probation", naming(f"{damaged}/asset/beta"))
        assert latest_of(service, f"{damaged}/asset") == "3"

    @pytest.mark.parametrize("record", ["asset/1/..manifest", "asset/2/..manifest"])
    @pytest.mark.parametrize("content", [b"", b"oops"])
    def test_uploads_though_it_is_gone(
        self, service: Service, damaged: str, record: str, content: bytes
    ) -> None:
        (service.registry / damaged / record).unlink()
        service.upload(f"{damaged}/asset/3", {"f": b"2", "same": b"same"})
        service.succeed("validate_version", naming(f"{damaged}/asset/3"))

    @pytest.mark.parametrize("record", ["asset/1/..summary"])
    @pytest.mark.parametrize("content", [b"", b"oops", b"{}"])
    def test_deletes_another_version(
        self, service: Service, damaged: str, record: str, content: bytes
    ) -> None:
        service.succeed("delete_version", naming(f"{damaged}/asset/2"))
        assert latest_of(service, f"{damaged}/asset") is None
        check_usage(service, damaged)


class TestTheWayOut:
    """A damaged record is in the way of the first upload, and no more of the second."""

    @pytest.mark.beyond
    @pytest.mark.usefixtures("accounts")
    @pytest.mark.parametrize("record", ["..permissions", "asset/..permissions"])
    @pytest.mark.parametrize("content", [b"", b"oops", b'{"owners": 5}', b"[]"])
    @pytest.mark.parametrize("lost", [False, True], ids=["damaged", "lost"])
    def test_of_permissions_is_that_an_administrator_sets_them(
        self, service: Service, damaged: str, record: str, content: bytes, lost: bool
    ) -> None:
        if lost:
            (service.registry / damaged / record).unlink()
        address = damaged if record == "..permissions" else f"{damaged}/asset"
        payload = naming(address, permissions={"owners": [ALICE]})
        if not (lost and record != "..permissions"):
            service.refuse("set_permissions", payload, user=ALICE)
            response = service.submit(
                "upload", service.upload_of(f"{damaged}/asset/3", {"a": b"a"}), None
            )
            refused(response, f"gobbler permissions set {address}", status=500)
        service.succeed("set_permissions", payload)
        assert service.read(f"{address}/..permissions") == {"owners": [ALICE], "uploaders": []}
        service.upload(f"{damaged}/asset/4", {"a": b"a"}, ALICE)
        check_usage(service, damaged)

    def check(
        self, service: Service, project: str, action: str, address: str, **fields: Any
    ) -> None:
        service.succeed(action, naming(project + address, **fields))
        service.upload(f"{project}/asset/3", {"same": b"same", "n": b"new"})
        check_valid(service, project)

    @pytest.mark.parametrize("record", ["..usage"])
    @pytest.mark.parametrize("content", [b"", b"oops", b"{}", b'{"total": "5"}', b"[]"])
    def test_of_usage_is_to_refresh_it(
        self, service: Service, damaged: str, content: bytes
    ) -> None:
        self.check(service, damaged, "refresh_usage", "")
        check_usage(service, damaged)

    @pytest.mark.parametrize("record", ["asset/..latest"])
    @pytest.mark.parametrize("content", [b"", b"oops", b"{}", b'{"version": 5}', b"[]"])
    def test_of_latest_is_to_refresh_it(
        self, service: Service, damaged: str, content: bytes
    ) -> None:
        self.check(service, damaged, "refresh_latest", "/asset")
        assert latest_of(service, f"{damaged}/asset") == "3"

    @pytest.mark.parametrize("record", ["asset/2/..manifest"])
    @pytest.mark.parametrize("content", [b"", b"oops", b'{"f": 5}', b"[]"])
    def test_of_a_manifest_is_to_reindex(
        self, service: Service, damaged: str, content: bytes
    ) -> None:
        self.check(service, damaged, "reindex_version", "/asset/2")
        check_usage(service, damaged)

    @pytest.mark.beyond
    @pytest.mark.parametrize("record", ["asset/2/d/..links"])
    @pytest.mark.parametrize("content", [b"", b"oops", b'{"l": 5}', b"[]"])
    def test_of_links_is_to_reindex(self, service: Service, damaged: str, content: bytes) -> None:
        self.check(service, damaged, "reindex_version", "/asset/2")

    @pytest.mark.beyond
    @pytest.mark.parametrize("record", ["asset/2/..summary", "asset/2/..manifest"])
    @pytest.mark.parametrize("content", [b"", b"oops", b'{"f": 5}', b"[]"])
    def test_of_the_rest_is_to_delete_the_version(
        self, service: Service, damaged: str, content: bytes
    ) -> None:
        self.check(service, damaged, "delete_version", "/asset/2", force=True)
        check_usage(service, damaged)
        assert latest_of(service, f"{damaged}/asset") == "3"


@pytest.mark.beyond
@pytest.mark.parametrize(
    ("record", "repair"),
    [("asset/..latest", "refresh_latest"), ("..usage", "refresh_usage")],
)
@pytest.mark.parametrize("content", [b"oops"])
def test_a_missing_record_is_no_traceback_either(
    service: Service, damaged: str, record: str, content: bytes, repair: str
) -> None:
    path: Path = service.registry / damaged / record
    path.unlink()
    response = service.submit("upload", service.upload_of(f"{damaged}/asset/3", {"a": b"a"}))
    if response.status_code != 200:
        refused(response, record)
    service.succeed(repair, naming(damaged if repair == "refresh_usage" else f"{damaged}/asset"))
    service.upload(f"{damaged}/asset/4", {"a": b"aa"})
    check_usage(service, damaged)
