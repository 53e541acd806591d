"""The action ``validate_version`` for valid versions, and how it reports problems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .addresses import naming
from .checks import unchanged
from .conftest import OwnService
from .service import Service, Symlink, refused

TREE = {
    "a": b"a",
    "d/b": b"bb",
    "d/e/f": b"",
    "empty/inner": None,
    "local": Symlink("d/b"),
    "d/up": Symlink("../a"),
    "ü/日本 %": b"odd",
    ".hidden": b"h",
}


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """Versions that are linked to each other in every way."""
    asset = f"{project}/asset"
    service.upload(f"{asset}/1", TREE)
    service.upload(f"{asset}/2", {**TREE, "new": b"new"})
    other = {"far": Symlink(service.registry / asset / "2/d/up"), "near": Symlink("far")}
    service.upload(f"{project}/other/1", other)
    service.upload(f"{asset}/beta", {**TREE, "beta": b"beta"}, on_probation=True)
    return asset


@pytest.mark.parametrize(
    "version",
    [
        "asset/1",
        # The Go service judges a local link to a deduplicated file by the wrong rule.
        pytest.param("asset/2", marks=pytest.mark.beyond),
        pytest.param("asset/beta", marks=pytest.mark.beyond),
        pytest.param("other/1", marks=pytest.mark.beyond),
    ],
)
def test_a_version_as_it_was_published_is_valid(
    service: Service, project: str, asset: str, version: str
) -> None:
    with unchanged(service, project):
        answer = service.succeed("validate_version", naming(f"{project}/{version}"))
    assert answer == {"status": "SUCCESS"}


def test_internal_files_that_nobody_lists_are_no_problem(
    service: Service, asset: str, writable_registry: Path
) -> None:
    version = writable_registry / asset / "1"
    (version / "..note").write_bytes(b"internal")
    (version / "d/..dir").mkdir()
    (version / "d/..dir/file").write_bytes(b"internal")
    service.succeed("validate_version", naming(f"{asset}/1"))


def test_unknown_fields_of_the_summary_are_no_problem(
    service: Service, asset: str, writable_registry: Path
) -> None:
    path = writable_registry / asset / "1/..summary"
    path.write_bytes(path.read_bytes().replace(b"{", b'{"mood": [1], ', 1))
    service.succeed("validate_version", naming(f"{asset}/1"))


class TestALinkToAWhitelistedDirectory:
    @pytest.fixture
    def kept(self, own: OwnService) -> tuple[str, Path]:
        """A version with such a link, and the target."""
        target = own.whitelisted / own.service.unique()
        target.write_bytes(b"archived")
        at = f"{own.service.new_project()}/asset/1"
        own.service.upload(at, {"d/kept": Symlink(target), "a": b"a"})
        return at, target

    def test_is_valid(self, own: OwnService, kept: tuple[str, Path]) -> None:
        own.service.succeed("validate_version", naming(kept[0]))

    @pytest.mark.parametrize("change", ["size", "content", "vanished", "directory"])
    def test_is_wrong_when_its_target_has_changed(
        self, own: OwnService, kept: tuple[str, Path], change: str
    ) -> None:
        at, target = kept
        if change == "size":
            target.write_bytes(b"archived, and more")
        elif change == "content":
            target.write_bytes(b"ARCHIVED")
        else:
            target.unlink()
            if change == "directory":
                target.mkdir()
        own.service.refuse("validate_version", naming(at), "d/kept")

    def test_is_wrong_when_it_leads_elsewhere(
        self, own: OwnService, kept: tuple[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "copy").write_bytes(b"archived")
        place = own.service.registry / kept[0] / "d/kept"
        place.unlink()
        place.symlink_to(tmp_path / "copy")
        own.service.refuse("validate_version", naming(kept[0]), "d/kept")


@pytest.mark.beyond
@pytest.mark.usefixtures("writable_registry")
class TestWhatIsTold:
    @pytest.fixture(autouse=True)
    def _damage(self, service: Service, asset: str) -> None:
        version = service.registry / asset / "2"
        (version / "new").write_bytes(b"NEW")
        for i in range(20):
            (version / f"extra {i:02}").write_bytes(b"")
        (version / "d/b").unlink()
        os.rmdir(version / "empty/inner")
        (version / "d/..links").write_bytes(b"{}")
        (version / "..summary").write_bytes(b"{}")

    @pytest.fixture
    def problems(self, service: Service, asset: str) -> list[str]:
        response = service.submit("validate_version", naming(f"{asset}/2"))
        refused(response, status=400)
        return response.json()["problems"]

    def test_is_all_that_is_wrong(self, problems: list[str]) -> None:
        for path in ("new", "d/b", "empty/inner", "d/up", "..summary", "extra 00", "extra 19"):
            assert [problem for problem in problems if path in problem], path
        extra = [problem for problem in problems if '"extra ' in problem]
        assert len(extra) == 20
        assert all("extra file" in problem for problem in extra)

    def test_says_nothing_of_what_is_right(self, problems: list[str]) -> None:
        assert not [p for p in problems if '"a"' in p or ".hidden" in p or "local" in p]

    def test_begins_with_a_few_and_their_number(
        self, service: Service, asset: str, problems: list[str]
    ) -> None:
        reason = refused(service.submit("validate_version", naming(f"{asset}/2")), status=400)
        assert f"{asset}/2" in reason
        assert str(len(problems)) in reason
        assert [problem for problem in problems if problem in reason] == problems[:3]
        assert len(reason) < 1000

    def test_is_a_single_problem_when_there_is_one(self, service: Service, asset: str) -> None:
        (service.registry / asset / "1/a").write_bytes(b"A")
        response = service.submit("validate_version", naming(f"{asset}/1"))
        refused(response, '"a"', status=400)
        assert len(response.json()["problems"]) == 1
