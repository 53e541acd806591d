"""``reindex_version``: symbolic links, and the records of links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .addresses import naming, project_of
from .checks import check_valid, unchanged
from .conftest import OwnService
from .service import Service, Symlink, link, linked, plain
from .test_reindex_files import reindex
from .test_upload_links import targets


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(service: Service, project: str, writable_registry: Path) -> str:
    """Version 1 holds the files, 2 links to them, 3 to 2, with a local link to a link."""
    asset = f"{project}/asset"
    service.upload(f"{asset}/1", {"a": b"a", "d/b": b"bb"})
    service.upload(f"{asset}/2", {"a": b"a", "d/b": b"bb"})
    service.upload(f"{asset}/3", {"a": b"a", "d/b": b"bb", "l": Symlink("d/b"), "n": b"new"})
    return asset


def damage(service: Service, at: str, record: str, content: bytes | None) -> None:
    path = service.registry / at / record
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


class TestALinkThatIsExplained:
    @pytest.mark.beyond
    def test_keeps_its_parent(self, service: Service, asset: str) -> None:
        before = service.read(f"{asset}/3/..manifest")
        assert before["l"]["link"] == link(f"{asset}/3/d/b", f"{asset}/1/d/b")
        damage(service, f"{asset}/3", "..manifest", None)
        assert reindex(service, f"{asset}/3") == before

    @pytest.mark.beyond
    def test_may_lead_to_its_parent_instead_of_the_ancestor(
        self, service: Service, asset: str
    ) -> None:
        before = service.read(f"{asset}/3/..manifest")
        place = service.registry / asset / "3/a"
        place.unlink()
        place.symlink_to("../2/a")
        assert reindex(service, f"{asset}/3") == before
        assert os.readlink(place) == "../1/a"

    @pytest.mark.beyond
    @pytest.mark.parametrize("file", ["a", "d/b"])
    def test_is_made_relative(self, service: Service, asset: str, file: str) -> None:
        before = service.snapshot(project_of(asset))
        place = service.registry / asset / "3" / file
        place.unlink()
        place.symlink_to(service.registry / asset / "1" / file)
        reindex(service, f"{asset}/3")
        after = service.snapshot(project_of(asset))
        assert {path for path in after if after[path] != before.get(path)} == {"..logs"}

    def test_may_be_replaced_by_a_file(self, service: Service, asset: str) -> None:
        place = service.registry / asset / "3/d/b"
        place.unlink()
        place.write_bytes(b"own")
        (service.registry / asset / "3/l").unlink()
        manifest = reindex(service, f"{asset}/3")
        assert manifest["d/b"] == plain(b"own")
        assert not (service.registry / asset / "3/d/..links").exists()

    def test_may_be_removed(self, service: Service, asset: str) -> None:
        (service.registry / asset / "3/d/b").unlink()
        (service.registry / asset / "3/l").unlink()
        assert set(reindex(service, f"{asset}/3")) == {"a", "n", "d"}
        assert not (service.registry / asset / "3/d/..links").exists()
        assert set(service.read(f"{asset}/3/..links")) == {"a"}


class TestALinkThatIsNotExplained:
    @pytest.mark.beyond
    def test_is_resolved_as_in_an_upload(self, service: Service, asset: str) -> None:
        version = service.registry / asset / "3"
        (version / "to-file").symlink_to("../1/d/b")
        (version / "d/to-link").symlink_to("../../2/d/b")
        (version / "d/local").symlink_to("../n")
        (version / "absolute").symlink_to(service.registry / asset / "2/a")
        manifest = reindex(service, f"{asset}/3")
        assert manifest["to-file"] == linked(b"bb", link(f"{asset}/1/d/b"))
        assert manifest["d/to-link"] == linked(b"bb", link(f"{asset}/2/d/b", f"{asset}/1/d/b"))
        assert manifest["d/local"] == linked(b"new", link(f"{asset}/3/n"))
        assert manifest["absolute"] == linked(b"a", link(f"{asset}/2/a", f"{asset}/1/a"))
        assert targets(service, f"{asset}/3") == {
            "a": "../1/a",
            "d/b": "../../1/d/b",
            "l": "../1/d/b",
            "to-file": "../1/d/b",
            "d/to-link": "../../1/d/b",
            "d/local": "../n",
            "absolute": "../1/a",
        }
        links = service.read(f"{asset}/3/d/..links")
        assert links == {name: manifest[f"d/{name}"]["link"] for name in ("b", "to-link", "local")}

    def test_may_lead_to_another_project(self, service: Service, asset: str) -> None:
        other = service.new_project()
        service.upload(f"{other}/x/1", {"f": b"far"})
        target = service.registry / other / "x/1/f"
        (service.registry / asset / "1/far").symlink_to(target)
        assert reindex(service, f"{asset}/1")["far"] == linked(b"far", link(f"{other}/x/1/f"))
        assert os.readlink(service.registry / asset / "1/far") == f"../../../{other}/x/1/f"

    def test_may_lead_to_a_link_added_with_it(self, service: Service, asset: str) -> None:
        version = service.registry / asset / "1"
        (version / "first").symlink_to("d/b")
        (version / "second").symlink_to("first")
        manifest = reindex(service, f"{asset}/1")
        assert manifest["second"]["link"] == link(f"{asset}/1/first", f"{asset}/1/d/b")
        assert os.readlink(version / "second") == "d/b"

    @pytest.mark.parametrize(
        "target",
        [
            "missing",
            "d",
            ".",
            "l",
            "../2",
            "../2/..manifest",
            "../beta/b",
            "../../asset",
            "/etc/passwd",
            "../../../../../../../../../../../../../etc/passwd",
            "..summary",
        ],
    )
    def test_may_be_refused_and_changes_nothing(
        self, service: Service, asset: str, target: str
    ) -> None:
        service.upload(f"{asset}/beta", {"b": b"beta"}, on_probation=True)
        (service.registry / asset / "1/l").symlink_to(target)
        (service.registry / asset / "1/new").write_bytes(b"new")
        with unchanged(service, project_of(asset)):
            service.refuse("reindex_version", naming(f"{asset}/1"), "l")


@pytest.mark.beyond
class TestALinkThatIsExplainedOtherwise:
    def test_is_resolved_as_in_an_upload(self, service: Service, asset: str) -> None:
        place = service.registry / asset / "3/a"
        place.unlink()
        place.symlink_to("../1/d/b")
        manifest = reindex(service, f"{asset}/3")
        assert manifest["a"] == linked(b"bb", link(f"{asset}/1/d/b"))


@pytest.mark.beyond
@pytest.mark.parametrize("content", [None, b"", b"oops", b"[]", b'{"a": 5}', b'{"a": {}}'])
@pytest.mark.parametrize("record", ["..links", "d/..links"])
def test_damaged_links_are_repaired(
    service: Service, asset: str, record: str, content: bytes | None
) -> None:
    damage(service, f"{asset}/3", record, content)
    manifest = reindex(service, f"{asset}/3")
    directory = record.rpartition("..links")[0]
    expected = {
        path[len(directory) :]: entry["link"]
        for path, entry in manifest.items()
        if "link" in entry and path.rpartition("/")[0] == directory.rstrip("/")
    }
    assert service.read(f"{asset}/3/{record}") == expected
    assert manifest["d/b"]["md5sum"] == service.read(f"{asset}/1/..manifest")["d/b"]["md5sum"]
    check_valid(service, project_of(asset))


def test_links_without_any_link_are_removed(service: Service, asset: str) -> None:
    stray = service.registry / asset / "1/d/..links"
    stray.write_bytes(b'{"b": {"project": "p", "asset": "a", "version": "v", "path": "f"}}')
    manifest = reindex(service, f"{asset}/1")
    assert "link" not in manifest["d/b"]
    assert not stray.exists()


class TestALinkToAWhitelistedDirectory:
    def test_is_kept(self, own: OwnService, project: str) -> None:
        service = own.service
        target = own.whitelisted / service.unique()
        target.write_bytes(b"archived")
        at = f"{project}/asset/1"
        service.upload(at, {"kept": Symlink(target), "d/b": b"b"})
        before = service.read(f"{at}/..manifest")
        assert before["kept"] == plain(b"archived")
        (service.registry / at / "d/added").symlink_to(target)
        assert reindex(service, at) == {**before, "d/added": plain(b"archived")}
        assert targets(service, at) == {"kept": str(target), "d/added": str(target)}
        assert not (service.registry / at / "..links").exists()

    def test_is_listed_as_its_target_is_now(self, own: OwnService, project: str) -> None:
        service = own.service
        target = own.whitelisted / service.unique()
        target.write_bytes(b"archived")
        at = f"{project}/asset/1"
        service.upload(at, {"kept": Symlink(target)})
        target.write_bytes(b"grown since")
        assert reindex(service, at) == {"kept": plain(b"grown since")}

    def test_must_have_a_target(self, own: OwnService, project: str) -> None:
        service = own.service
        at = f"{project}/asset/1"
        service.upload(at, {"a": b"a"})
        (service.registry / at / "kept").symlink_to(own.whitelisted / service.unique())
        with unchanged(service, project_of(at)):
            service.refuse("reindex_version", naming(at), "kept")
