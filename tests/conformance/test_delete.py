"""The actions ``delete_project`` and ``delete_asset`` (protocol, section 4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .addresses import naming
from .checks import check_usage, check_valid, latest_of, unchanged
from .service import Service, Symlink, refused


@pytest.fixture
def full(service: Service, passing_project: str) -> str:
    """A project with two assets, permissions, and a version on probation."""
    project = passing_project
    service.upload(f"{project}/asset/1", {"a": b"a", "d/b": b"bb", "e": None})
    service.upload(f"{project}/asset/2", {"a": b"a", "c": b"ccc"})
    service.upload(f"{project}/asset/beta", {"x": b"xxxx"}, on_probation=True)
    service.upload(f"{project}/other/1", {"o": b"other"})
    payload = naming(f"{project}/asset", permissions={"owners": ["somebody"]})
    service.succeed("set_permissions", payload)
    return project


class TestAProject:
    def test_is_gone_with_all_that_is_in_it(self, service: Service, full: str) -> None:
        assert service.succeed("delete_project", naming(full)) == {"status": "SUCCESS"}
        assert not (service.registry / full).exists()

    @pytest.mark.beyond
    def test_is_not_found_by_readers(self, service: Service, full: str) -> None:
        service.succeed("delete_project", naming(full))
        assert service.list(full).status_code == 404

    def test_goes_alone(self, service: Service, full: str) -> None:
        other = service.new_project()
        service.upload(f"{other}/asset/1", {"a": b"a"})
        before = service.snapshot(other)
        service.succeed("delete_project", naming(full))
        after = service.snapshot(other)
        for changed in (".", "..logs"):
            before.pop(changed)
            after.pop(changed)
        assert after == before

    def test_is_logged(self, service: Service, full: str) -> None:
        before = len(service.logs(full))
        service.succeed("delete_project", naming(full))
        entries = service.logs(full)
        assert len(entries) == before + 1
        assert {"type": "delete-project", "project": full} in entries

    def test_without_assets_goes_too(self, service: Service, project: str) -> None:
        service.succeed("delete_project", naming(project))
        assert not (service.registry / project).exists()
        assert service.logs(project) == [{"type": "delete-project", "project": project}]

    def test_can_be_made_again(self, service: Service, full: str) -> None:
        service.succeed("delete_project", naming(full))
        service.succeed("create_project", naming(full))
        assert service.read(f"{full}/..usage") == {"total": 0}
        service.upload(f"{full}/asset/1", {"n": b"new"})
        assert set(service.read(f"{full}/asset/1/..manifest")) == {"n"}
        check_valid(service, full)

    def test_that_went_already_is_a_success_that_is_not_logged(
        self, service: Service, full: str
    ) -> None:
        service.succeed("delete_project", naming(full))
        with unchanged(service, full):
            service.succeed("delete_project", naming(full))

    @pytest.mark.usefixtures("writable_registry")
    @pytest.mark.parametrize(
        "record", ["..permissions", "..usage", "asset/..latest", "asset/1/..manifest"]
    )
    def test_goes_even_if_its_records_are_damaged(
        self, service: Service, full: str, record: str
    ) -> None:
        (service.registry / full / record).write_bytes(b"{")
        service.succeed("delete_project", naming(full))
        assert not (service.registry / full).exists()


class TestAnAsset:
    def test_is_gone_with_all_that_is_in_it(self, service: Service, full: str) -> None:
        before = service.snapshot(full)
        answer = service.succeed("delete_asset", naming(f"{full}/asset"))
        assert answer == {"status": "SUCCESS"}
        after = service.snapshot(full)
        own = f"{full}/asset"
        gone = {path for path in before if path == own or path.startswith(own + "/")}
        assert set(before) - set(after) == gone
        changed = {path for path in after if after[path] != before[path]}
        assert changed == {f"{full}/..usage", "..logs"}

    def test_takes_its_usage_along(self, service: Service, full: str) -> None:
        assert service.read(f"{full}/..usage") == {"total": 3 + 3 + 4 + 5}
        service.succeed("delete_asset", naming(f"{full}/asset"))
        assert service.read(f"{full}/..usage") == {"total": 5}

    def test_is_logged_as_one(self, service: Service, full: str) -> None:
        before = service.logs(full)
        service.succeed("delete_asset", naming(f"{full}/asset"))
        entries = service.logs(full)
        assert len(entries) == len(before) + 1
        assert {"type": "delete-asset", "project": full, "asset": "asset"} in entries

    def test_with_permissions_alone_goes_too(self, service: Service, project: str) -> None:
        payload = naming(f"{project}/asset", permissions={"owners": ["somebody"]})
        service.succeed("set_permissions", payload)
        service.succeed("delete_asset", naming(f"{project}/asset"))
        assert not (service.registry / project / "asset").exists()

    def test_can_be_made_again_without_its_former_permissions(
        self, service: Service, full: str
    ) -> None:
        service.succeed("delete_asset", naming(f"{full}/asset"))
        manifest = service.upload(f"{full}/asset/1", {"a": b"a"})
        assert "link" not in manifest["a"]
        assert not (service.registry / full / "asset/..permissions").exists()
        assert latest_of(service, f"{full}/asset") == "1"
        check_usage(service, full)
        check_valid(service, full)

    def test_that_went_already_is_a_success_that_is_not_logged(
        self, service: Service, full: str
    ) -> None:
        service.succeed("delete_asset", naming(f"{full}/asset"))
        with unchanged(service, full):
            service.succeed("delete_asset", naming(f"{full}/asset"))

    def test_leaves_links_to_it_dangling(self, service: Service, full: str) -> None:
        target = service.registry / full / "asset/1/a"
        service.upload(f"{full}/linking/1", {"l": Symlink(target)})
        service.succeed("delete_asset", naming(f"{full}/asset"))
        refused(service.submit("validate_version", naming(f"{full}/linking/1")), "l")


class TestADamagedManifest:
    @pytest.fixture(autouse=True)
    def _spoil(self, full: str, writable_registry: Path) -> None:
        (writable_registry / full / "asset/1/..manifest").write_bytes(b'{"a": 5}')

    @pytest.mark.parametrize("force", [None, False])
    def test_is_in_the_way_of_deleting_the_asset(
        self, service: Service, full: str, force: bool | None
    ) -> None:
        service.refuse("delete_asset", naming(f"{full}/asset", force=force))

    def test_is_no_obstacle_with_force(self, service: Service, full: str) -> None:
        service.succeed("delete_asset", naming(f"{full}/asset", force=True))
        assert not (service.registry / full / "asset").exists()
        entry = {"type": "delete-asset", "project": full, "asset": "asset"}
        assert entry in service.logs(full)

    @pytest.mark.beyond
    def test_leaves_the_right_usage_with_force(self, service: Service, full: str) -> None:
        service.succeed("delete_asset", naming(f"{full}/asset", force=True))
        check_usage(service, full)

    def test_of_another_asset_does_not_matter(self, service: Service, full: str) -> None:
        service.succeed("delete_asset", naming(f"{full}/other"))
        assert service.read(f"{full}/..usage") == {"total": 3 + 3 + 4}


@pytest.mark.parametrize("name", ["a b", "ü", "a%2Fb", "a+b?#", ".hidden", "-rf", "日本"])
def test_odd_names_can_be_deleted(service: Service, name: str) -> None:
    project = f"{name}{service.unique()}"
    service.succeed("create_project", {"project": project})
    for version in (name, f"{name}2"):
        service.upload(f"{project}/{name}/{version}", {name: name.encode()})
    service.succeed("delete_version", naming(f"{project}/{name}/{name}"))
    assert latest_of(service, f"{project}/{name}") == f"{name}2"
    service.succeed("delete_asset", naming(f"{project}/{name}"))
    assert service.read(f"{project}/..usage") == {"total": 0}
    service.succeed("delete_project", naming(project))
    assert not (service.registry / project).exists()
