"""The action ``upload``: what is taken from the source (protocol, section 5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .accounts import ALICE, BOB
from .service import EMPTY_DIRECTORY, Service, Symlink, plain
from .test_create_project import BAD_NAMES, GOOD_NAMES, NAMES_WE_REFUSE_TOO

TREE = {
    "readme.md": b"# Read me\n",
    "data/jan.csv": b"1,2,3\n",
    "data/deep/er/feb.csv": b"4,5,6\n",
    "nothing": b"",
    "binary": bytes(range(256)),
}


def content_of(directory: Path) -> dict[str, bytes]:
    """The user's files below ``directory``, links followed."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in files
        if not path.name.startswith("..")
    }


def test_every_file_is_published(service: Service, project: str) -> None:
    manifest = service.upload(f"{project}/asset/1", TREE)
    assert manifest == {path: plain(content) for path, content in TREE.items()}
    assert content_of(service.registry / project / "asset/1") == TREE


def test_the_answer_says_success_and_nothing_else(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/asset/1", TREE)
    assert service.succeed("upload", payload) == {"status": "SUCCESS"}


def test_the_source_stays_as_it_was(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/asset/1", TREE, consume=False)
    service.succeed("upload", payload)
    assert content_of(service.staging / payload["source"]) == TREE


def test_what_happens_to_the_source_later_does_not_matter(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"file": b"before"})
    service.succeed("upload", payload)
    (service.staging / payload["source"] / "file").write_bytes(b"after!")
    assert (service.registry / project / "asset/1/file").read_bytes() == b"before"


def test_equal_files_of_one_upload_are_both_stored(service: Service, project: str) -> None:
    manifest = service.upload(f"{project}/asset/1", {"a": b"same", "d/b": b"same"})
    assert manifest == {"a": plain(b"same"), "d/b": plain(b"same")}


def test_hard_links_among_ones_own_files_are_plain_files(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"a": b"twice"})
    source = service.staging / payload["source"]
    os.link(source / "a", source / "b")
    service.succeed("upload", payload)
    manifest = service.read(f"{project}/asset/1/..manifest")
    assert manifest == {"a": plain(b"twice"), "b": plain(b"twice")}


def test_a_file_of_many_blocks_is_published(service: Service, project: str) -> None:
    content = os.urandom(1 << 20) * 9 + b"tail"
    manifest = service.upload(f"{project}/asset/1", {"big": content})
    assert manifest == {"big": plain(content)}
    assert (service.registry / project / "asset/1/big").read_bytes() == content


def test_a_thousand_files_are_published(service: Service, project: str) -> None:
    tree = {f"{i % 7}/{i % 11}/{i}": str(i).encode() for i in range(1000)}
    manifest = service.upload(f"{project}/asset/1", tree)
    assert manifest == {path: plain(content) for path, content in tree.items()}


@pytest.mark.parametrize(
    "name", ["a b", " ", "a+b %.txt", "日本", "-rf", "a\\b", "x..", "a'\"&<>*?", "index.html", "ü"]
)
def test_odd_file_names_are_kept(service: Service, project: str, name: str) -> None:
    tree = {name: b"file", f"{name}.d/{name}": b"inner"}
    manifest = service.upload(f"{project}/asset/1", tree)
    assert manifest == {path: plain(content) for path, content in tree.items()}
    assert content_of(service.registry / project / "asset/1") == tree


def test_files_and_directories_that_start_with_two_dots_are_left_out(
    service: Service, project: str
) -> None:
    tree = {
        "kept": b"",
        ".kept": b"",
        "..manifest": b"forged",
        "..summary": b"forged",
        "d/..links": b"forged",
        "..secret/file": b"x",
        "d/file": b"",
        "...": b"x",
    }
    manifest = service.upload(f"{project}/asset/1", tree)
    assert set(manifest) == {"kept", ".kept", "d/file"}
    version = service.registry / project / "asset/1"
    assert not (version / "..secret").exists()
    assert not (version / "...").exists()
    assert not (version / "d/..links").exists()
    assert b"forged" not in (version / "..summary").read_bytes()


@pytest.mark.parametrize("ignore_dot", [True, False, None])
def test_ignore_dot_leaves_out_what_starts_with_a_dot(
    service: Service, project: str, ignore_dot: bool | None
) -> None:
    tree = {"a": b"", ".b": b"", ".git/config": b"", "d/.e": b"", "d/f": b"", ".g": None}
    fields = {} if ignore_dot is None else {"ignore_dot": ignore_dot}
    manifest = service.upload(f"{project}/asset/1", tree, **fields)
    assert set(manifest) == ({"a", "d/f"} if ignore_dot else set(tree))
    assert (service.registry / project / "asset/1/.git").exists() != bool(ignore_dot)


def test_empty_directories_are_kept_and_listed(service: Service, project: str) -> None:
    tree = {"file": b"x", "empty": None, "outer/inner": None, "full/file": b"y", "full/not": None}
    manifest = service.upload(f"{project}/asset/1", tree)
    assert manifest == {
        "file": plain(b"x"),
        "empty": EMPTY_DIRECTORY,
        "outer/inner": EMPTY_DIRECTORY,
        "full/file": plain(b"y"),
        "full/not": EMPTY_DIRECTORY,
    }
    version = service.registry / project / "asset/1"
    assert all((version / path).is_dir() for path in ("empty", "outer/inner", "full/not"))


def test_a_directory_with_nothing_but_left_out_names_is_empty(
    service: Service, project: str
) -> None:
    tree = {"a": b"", "d/..x": b"x", "e/.y": b"y", "f/.z/file": b""}
    manifest = service.upload(f"{project}/asset/1", tree, ignore_dot=True)
    assert manifest == {
        "a": plain(b""),
        "d": EMPTY_DIRECTORY,
        "e": EMPTY_DIRECTORY,
        "f": EMPTY_DIRECTORY,
    }


def test_a_directory_with_nothing_but_links_is_not_empty(service: Service, project: str) -> None:
    manifest = service.upload(f"{project}/asset/1", {"a": b"a", "d/b": Symlink("../a")})
    assert set(manifest) == {"a", "d/b"}


def test_an_empty_source_can_be_published(service: Service, project: str) -> None:
    manifest = service.upload(f"{project}/asset/1", {})
    assert set(manifest) <= {"."}
    assert service.read(f"{project}/asset/..latest") == {"version": "1"}


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_any_other_asset_and_version_name_is_good(
    service: Service, project: str, name: str
) -> None:
    payload = {"project": project, "asset": name, "version": name + name}
    service.succeed("upload", {**payload, "source": service.stage({"a": b"a"})})
    assert (service.registry / project / name / (name + name) / "a").read_bytes() == b"a"


@pytest.mark.parametrize("field", ["project", "asset", "version"])
class TestABadName:
    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_is_refused(self, service: Service, project: str, field: str, name: str) -> None:
        payload = service.upload_of(f"{project}/asset/1", {"a": b"a"})
        service.refuse("upload", {**payload, field: name}, field, status=400)

    @pytest.mark.beyond
    @pytest.mark.parametrize("name", NAMES_WE_REFUSE_TOO)
    def test_in_our_eyes_is_refused(
        self, service: Service, project: str, field: str, name: str
    ) -> None:
        payload = service.upload_of(f"{project}/asset/1", {"a": b"a"})
        service.refuse("upload", {**payload, field: name}, field, status=400)


def test_a_version_that_exists_is_refused_and_left_alone(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/first", {"a": b"old"})
    payload = service.upload_of(f"{project}/asset/first", {"a": b"new", "b": b"more"})
    service.refuse("upload", payload, "first", status=400)


def test_a_version_on_probation_exists_too(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/first", {"a": b"old"}, on_probation=True)
    payload = service.upload_of(f"{project}/asset/first", {"a": b"new"})
    service.refuse("upload", payload, "first", status=400)


def test_a_project_that_is_missing_is_not_found(service: Service) -> None:
    project = service.unique()
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"})
    service.refuse("upload", payload, project, status=404)
    assert not (service.registry / project).exists()


@pytest.mark.usefixtures("accounts")
def test_a_missing_project_is_not_found_by_other_users_either(service: Service) -> None:
    project = service.unique()
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, ALICE)
    service.refuse("upload", payload, project, status=404, user=ALICE)


def test_a_refused_version_can_be_uploaded_when_it_is_put_right(
    service: Service, project: str
) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"a": Symlink("missing")})
    service.refuse("upload", payload, "a")
    assert service.upload(f"{project}/asset/1", {"a": b"put right"}) == {"a": plain(b"put right")}


@pytest.mark.beyond
@pytest.mark.usefixtures("accounts")
def test_a_refused_upload_leaves_no_new_asset_behind(service: Service) -> None:
    project = service.new_project(owners=[BOB], global_write=True)
    payload = service.upload_of(f"{project}/asset/1", {"a": Symlink("missing")}, ALICE)
    service.refuse("upload", payload, "a", status=400, user=ALICE)
    assert not (service.registry / project / "asset").exists()
