"""The whitelist file: directories outside of the registry that links may lead to (section 8)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .addresses import naming
from .conftest import OwnService
from .launch import Process, new_directories
from .service import Service, Symlink, plain
from .test_upload_links import targets

INSIDE = ("plain", "slash at the end", "spaces in it", "ü", "a link's target")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories that are in the whitelist, and some that are not; each with a file."""
    outside = tmp_path_factory.mktemp("outside")
    for name in (*INSIDE, "plain and more", "elsewhere"):
        (outside / name / "d").mkdir(parents=True)
        (outside / name / "d/file").write_bytes(name.encode())
    (outside / "link").symlink_to("a link's target")
    (outside / "plain/escape").symlink_to(outside / "elsewhere")
    return outside


@pytest.fixture(scope="module")
def configured(
    own: OwnService, outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with a whitelist of some of them."""
    directory = tmp_path_factory.mktemp("whitelist")
    staging, registry = new_directories(directory)
    lines = ["plain", "slash at the end/", "spaces in it", "ü", "link", "absent"]
    content = "\n".join(f"{outside}/{line}\n" for line in lines)
    (directory / "whitelist").write_text(f"\n{content}\n")
    with Process(staging, registry, flags=[f"--whitelist={directory / 'whitelist'}"]) as process:
        client = Service(process.url, staging, registry)
        yield client
        client.close()


@pytest.mark.parametrize("name", [*INSIDE, "link"])
class TestALinkToAListedDirectory:
    def test_is_kept_valid_and_served(self, configured: Service, outside: Path, name: str) -> None:
        target = outside / name / "d/file"
        content = target.read_bytes()
        at = f"{configured.new_project()}/asset/1"
        manifest = configured.upload(at, {"kept": Symlink(target), "own": b"own"})
        assert manifest == {"kept": plain(content), "own": plain(b"own")}
        assert targets(configured, at) == {"kept": str(target)}
        configured.succeed("validate_version", naming(at))
        assert configured.fetch(f"{at}/kept").content == content

    def test_is_kept_by_reindexing(self, configured: Service, outside: Path, name: str) -> None:
        target = outside / name / "d/file"
        at = f"{configured.new_project()}/asset/1"
        configured.upload(at, {"own": b"own"})
        (configured.registry / at / "added").symlink_to(target)
        configured.succeed("reindex_version", naming(at))
        manifest = configured.read(f"{at}/..manifest")
        assert manifest["added"] == plain(target.read_bytes())
        configured.succeed("validate_version", naming(at))


@pytest.mark.parametrize(
    "path", ["plain and more/d/file", "elsewhere/d/file", "plain/../elsewhere/d/file"]
)
def test_a_link_to_another_directory_is_refused(
    configured: Service, outside: Path, path: str
) -> None:
    at = f"{configured.new_project()}/asset/1"
    payload = configured.upload_of(at, {"l": Symlink(f"{outside}/{path}")})
    configured.refuse("upload", payload, '"l"')
    configured.upload(at, {"own": b"own"})
    (configured.registry / at / "l").symlink_to(f"{outside}/{path}")
    configured.refuse("reindex_version", naming(at), '"l"')
    configured.refuse("validate_version", naming(at), '"l"')


@pytest.mark.parametrize("path", ["plain", "plain/d", "plain/missing", "absent/file"])
def test_a_link_to_what_is_no_file_is_refused(
    configured: Service, outside: Path, path: str
) -> None:
    at = f"{configured.new_project()}/asset/1"
    payload = configured.upload_of(at, {"l": Symlink(f"{outside}/{path}")})
    configured.refuse("upload", payload, '"l"')


@pytest.mark.beyond
def test_a_link_to_a_file_that_is_larger_than_its_disk_is_refused(
    configured: Service, outside: Path
) -> None:
    disk = os.statvfs(outside)
    with (outside / "plain/hole").open("wb") as file:
        file.truncate(disk.f_blocks * disk.f_frsize + 1)
    at = f"{configured.new_project()}/asset/1"
    payload = configured.upload_of(at, {"l": Symlink(outside / "plain/hole")})
    configured.refuse("upload", payload, "holes")


@pytest.mark.beyond
def test_a_link_that_leaves_a_listed_directory_by_another_link_is_refused(
    configured: Service, outside: Path
) -> None:
    at = f"{configured.new_project()}/asset/1"
    payload = configured.upload_of(at, {"l": Symlink(outside / "plain/escape/d/file")})
    configured.refuse("upload", payload, '"l"')


def test_kept_links_count_as_files(configured: Service, outside: Path) -> None:
    project = configured.new_project()
    tree = {"kept": Symlink(outside / "plain/d/file"), "own": b"own"}
    configured.upload(f"{project}/asset/1", tree)
    total = len("plain") + len("own")
    assert configured.read(f"{project}/..usage") == {"total": total}
    assert configured.succeed("refresh_usage", naming(project))["total"] == total
    configured.succeed("delete_version", naming(f"{project}/asset/1"))
    assert configured.read(f"{project}/..usage") == {"total": 0}
    assert (outside / "plain/d/file").read_bytes() == b"plain"


def test_deleting_a_version_leaves_the_targets_alone(configured: Service, outside: Path) -> None:
    project = configured.new_project()
    configured.upload(f"{project}/asset/1", {"kept": Symlink(outside / "plain/d/file")})
    configured.succeed("delete_project", naming(project))
    assert (outside / "plain/d/file").read_bytes() == b"plain"
