"""What an upload leaves in the registry besides the user's files (protocol, section 2)."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from pathlib import Path

import pytest

from .launch import present_user
from .service import TIME, Service, Symlink, link

TREE = {
    "z": b"1",
    "a": b"22",
    "Z": b"333",
    "ü": b"4444",
    "d/b": b"55555",
    "d/e/f": b"666666",
    "empty": None,
    "d/link": Symlink("b"),
    "d/also": Symlink("../z"),
    "top": Symlink("d/e/f"),
}


@pytest.fixture
def version(service: Service, project: str) -> Path:
    """A version with a bit of everything."""
    service.upload(f"{project}/asset/1", TREE)
    return service.registry / project / "asset/1"


def records_of(project: Path) -> list[Path]:
    """The JSON files of a project."""
    found = [p for p in project.rglob("..*") if p.is_file() and not p.name.startswith("..LOCK")]
    return [p for p in found if p.name != "..quota"]


def moment(text: str) -> dt.datetime:
    assert re.fullmatch(TIME, text)
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def log_files(service: Service, project: str) -> list[Path]:
    logs = sorted((service.registry / "..logs").iterdir())
    return [path for path in logs if json.loads(path.read_bytes())["project"] == project]


def is_pretty(path: Path) -> bool:
    """Whether a file is JSON with four spaces of indentation."""
    content = path.read_bytes()
    value = json.loads(content)
    forms = (json.dumps(value, indent=4, ensure_ascii=escaped) for escaped in (True, False))
    return content.rstrip(b"\n") in [form.encode() for form in forms]


class TestTheSummary:
    def test_reports_who_and_when(self, service: Service, project: str) -> None:
        before = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=2)
        service.upload(f"{project}/asset/1", {"a": b"a"})
        after = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=2)
        summary = service.read(f"{project}/asset/1/..summary")
        assert list(summary) == ["upload_user_id", "upload_start", "upload_finish"]
        assert summary["upload_user_id"] == present_user()
        start, finish = moment(summary["upload_start"]), moment(summary["upload_finish"])
        assert before <= start <= finish <= after

    @pytest.mark.parametrize(("asked", "stored"), [(True, True), (False, None), (None, None)])
    def test_mentions_probation_only_when_it_is(
        self, service: Service, project: str, asked: bool | None, stored: bool | None
    ) -> None:
        service.upload(f"{project}/asset/1", {"a": b"a"}, on_probation=asked)
        assert service.read(f"{project}/asset/1/..summary").get("on_probation") is stored


class TestTheManifest:
    def test_lists_every_file_and_empty_directory_in_order(self, version: Path) -> None:
        manifest = json.loads((version / "..manifest").read_bytes())
        assert list(manifest) == sorted(TREE)

    def test_lists_no_internal_file(self, version: Path) -> None:
        manifest = json.loads((version / "..manifest").read_bytes())
        assert not [path for path in manifest if "/.." in f"/{path}"]

    def test_has_size_and_md5_first(self, version: Path) -> None:
        manifest = json.loads((version / "..manifest").read_bytes())
        assert list(manifest["a"]) == ["size", "md5sum"]
        assert list(manifest["top"]) == ["size", "md5sum", "link"]
        assert all(re.fullmatch("[0-9a-f]{32}|", e["md5sum"]) for e in manifest.values())


class TestTheLinks:
    def test_stand_in_the_directory_of_the_links(
        self, service: Service, project: str, version: Path
    ) -> None:
        at = f"{project}/asset/1"
        assert service.read(f"{at}/..links") == {"top": link(f"{at}/d/e/f")}
        expected = {"also": link(f"{at}/z"), "link": link(f"{at}/d/b")}
        assert service.read(f"{at}/d/..links") == expected
        assert list(service.read(f"{at}/d/..links")) == ["also", "link"]

    def test_are_absent_where_there_is_none(self, version: Path) -> None:
        assert not (version / "d/e/..links").exists()
        assert not (version / "empty/..links").exists()

    def test_name_the_ancestor_last(self, service: Service, project: str, version: Path) -> None:
        service.upload(f"{project}/asset/2", {"again": Symlink(version / "top")})
        stored = service.read(f"{project}/asset/2/..links")["again"]
        assert stored == link(f"{project}/asset/1/top", f"{project}/asset/1/d/e/f")
        assert list(stored) == ["project", "asset", "version", "path", "ancestor"]

    def test_are_relative_so_that_the_registry_can_be_moved(self, version: Path) -> None:
        links = [path for path in version.rglob("*") if path.is_symlink()]
        assert links
        assert not [path for path in links if os.readlink(path).startswith("/")]


class TestTheForm:
    def test_is_json_with_four_spaces(self, service: Service, project: str, version: Path) -> None:
        records = [*records_of(service.registry / project), *log_files(service, project)]
        assert {path.name for path in records} >= {
            "..permissions",
            "..usage",
            "..latest",
            "..summary",
            "..manifest",
            "..links",
        }
        assert [path for path in records if not is_pretty(path)] == []

    @pytest.mark.beyond
    def test_is_that_in_a_new_project_too(self, service: Service, project: str) -> None:
        at = service.registry / project
        assert is_pretty(at / "..usage")
        assert is_pretty(at / "..quota")

    def test_is_readable_by_all_and_writable_by_the_service(
        self, service: Service, project: str, version: Path
    ) -> None:
        top = service.registry / project
        files = [p for p in top.rglob("*") if p.is_file() and not p.is_symlink()]
        shared = [path for path in files if not path.name.startswith("..LOCK")]
        shared += log_files(service, project)
        directories = [top, *(p for p in top.rglob("*") if p.is_dir())]
        assert {oct(path.stat().st_mode & 0o7777) for path in shared} == {oct(0o644)}
        assert {oct(path.stat().st_mode & 0o7777) for path in directories} == {oct(0o755)}

    @pytest.mark.parametrize(("file", "directory"), [(0o600, 0o700), (0o777, 0o777)])
    def test_does_not_depend_on_the_modes_of_the_source(
        self, service: Service, project: str, file: int, directory: int
    ) -> None:
        payload = service.upload_of(f"{project}/asset/1", {"d/a": b"a", "e": None})
        source = service.staging / payload["source"]
        (source / "d/a").chmod(file)
        for path in (source / "d", source / "e"):
            path.chmod(directory)
        source.chmod(directory & ~0o022)  # whoever may write here may be the author
        service.succeed("upload", payload)
        version = service.registry / project / "asset/1"
        assert oct((version / "d/a").stat().st_mode & 0o7777) == oct(0o644)
        for path in (version, version / "d", version / "e"):
            assert oct(path.stat().st_mode & 0o7777) == oct(0o755)

    def test_leaves_nothing_else_behind(self, version: Path) -> None:
        found = {str(path.relative_to(version)) for path in version.rglob("*")}
        internal = {"..summary", "..manifest", "..links", "d/..links"}
        assert found == {*TREE, "d", "d/e", *internal}
        known = {"..latest", "..LOCK", "..LOCK_NEWDIR", "1"}
        assert {path.name for path in version.parent.iterdir()} <= known


class TestLatest:
    def test_is_the_version_published_last(self, service: Service, project: str) -> None:
        for version in ("b", "a", "c", "10", "9"):
            service.upload(f"{project}/asset/{version}", {"a": version.encode()})
            assert service.read(f"{project}/asset/..latest") == {"version": version}

    def test_is_never_on_probation(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/1", {"a": b"1"}, on_probation=True)
        assert not (service.registry / project / "asset/..latest").exists()
        service.upload(f"{project}/asset/2", {"a": b"2"})
        service.upload(f"{project}/asset/3", {"a": b"3"}, on_probation=True)
        assert service.read(f"{project}/asset/..latest") == {"version": "2"}

    def test_is_of_each_asset_its_own(self, service: Service, project: str) -> None:
        service.upload(f"{project}/first/1", {"a": b"1"})
        service.upload(f"{project}/second/2", {"a": b"2"})
        assert service.read(f"{project}/first/..latest") == {"version": "1"}
        assert service.read(f"{project}/second/..latest") == {"version": "2"}


class TestUsage:
    def test_is_the_sum_of_what_is_not_linked(self, service: Service, project: str) -> None:
        service.upload(f"{project}/one/1", {"a": b"x" * 1000, "b": b"y" * 20, "l": Symlink("a")})
        assert service.read(f"{project}/..usage") == {"total": 1020}
        service.upload(f"{project}/one/2", {"a": b"x" * 1000, "c": b"z" * 3, "e": None})
        assert service.read(f"{project}/..usage") == {"total": 1023}
        service.upload(f"{project}/two/1", {"a": b"x" * 1000})
        assert service.read(f"{project}/..usage") == {"total": 2023}

    def test_counts_versions_on_probation(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/1", {"a": b"x" * 7}, on_probation=True)
        assert service.read(f"{project}/..usage") == {"total": 7}


class TestTheLog:
    def test_reports_of_every_version(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/1", {"a": b"1"})
        entry = {"type": "add-version", "project": project, "asset": "asset", "latest": True}
        assert service.logs(project) == [{**entry, "version": "1"}]
        service.upload(f"{project}/asset/2", {"a": b"2"})
        assert sorted(e["version"] for e in service.logs(project)) == ["1", "2"]

    def test_says_nothing_of_versions_on_probation(self, service: Service, project: str) -> None:
        service.upload(f"{project}/asset/1", {"a": b"1"}, on_probation=True)
        assert service.logs(project) == []

    def test_has_files_named_by_time_and_six_digits(
        self, service: Service, project: str, version: Path
    ) -> None:
        names = [path.name for path in log_files(service, project)]
        assert len(names) == 1
        assert re.fullmatch(TIME + r"_\d{6}", names[0])

    @pytest.mark.beyond
    def test_sorts_in_the_order_of_the_changes(self, service: Service, project: str) -> None:
        versions = [f"v{i}" for i in range(12)]
        for version in versions:
            service.upload(f"{project}/asset/{version}", {"a": version.encode()})
        assert [entry["version"] for entry in service.logs(project)] == versions
