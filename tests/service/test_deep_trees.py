"""Directories within directories, as deep as a path can say: nothing recurses on them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest
import requests

from gobbler.client import Client
from gobbler.client.filesystem import GobblerFileSystem
from gobbler.client.testing import TestService
from gobbler.errors import Code, Refused
from gobbler.service.staging_cleanup import clean_staging
from gobbler.transfer.scan import longest_published

LEVELS = [1200]
"""More than Python recurses; the tests below go on from where a path ends."""


def deepen(top: Path, levels: int) -> None:
    """Make directories ``d`` in each other, perhaps deeper than a path can say."""
    opened = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=opened)
        inner = os.open("d", os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = inner
    os.close(opened)


def fill(top: Path, levels: int) -> dict[str, str]:
    """A deep tree with some files; their contents by path."""
    deepen(top, levels)
    contents = {}
    for level in (0, 1, 300, levels // 2, levels):
        path = "d/" * level + "f"
        (top / path).write_text(f"file at {level}")
        contents[path] = f"file at {level}"
    for number in range(100):  # enough for an archive
        path = "d/" * (levels - 1) + f"f{number}"
        (top / path).write_text(f"file {number}")
        contents[path] = f"file {number}"
    return contents


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """Also of the caches."""
    return removed_by_us


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "s"
    top.mkdir()
    return top


def read_tree(top: Path) -> dict[str, str]:
    """The contents of the files below ``top`` by path, but not those of the service."""
    listed = subprocess.run(
        ["find", top, "-not", "-type", "d", "-not", "-name", "..*", "-printf", "%P\\0"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {path: (top / path).read_text() for path in listed.split("\0")[:-1]}


@pytest.mark.parametrize("levels", LEVELS)
def test_a_deep_tree_goes_all_ways(
    client: Client, remote: Client, service: TestService, project: str, tree: Path, levels: int, run
) -> None:
    contents = fill(tree, levels)
    plan = client.plan_upload(f"{project}/a/1", tree)
    assert set(plan.stored) == set(contents)
    client.upload(f"{project}/a/1", tree)
    version = client.version(f"{project}/a/1")
    assert {path: entry.md5sum for path, entry in version.manifest().items()} == {
        path: hashlib.md5(text.encode()).hexdigest() for path, text in contents.items()
    }
    place = Path(service.registry) / project / "a/1"
    assert read_tree(place) == contents

    for words in (
        ["validate", f"{project}/a/1"],
        ["reindex", f"{project}/a/1"],
        ["validate", f"{project}/a/1"],
        ["ls", f"{project}/a/1"],
        ["tree", f"{project}/a/1"],
        ["show", f"{project}/a/1"],
        ["cat", f"{project}/a/1/{'d/' * levels}f"],
    ):
        code, out, err = run(*words)
        assert code == 0, (words, err[-500:])
        if words[0] == "cat":
            assert out == f"file at {levels}"

    filesystem = GobblerFileSystem(url=service.url, registry=service.registry)
    below = f"{project}/a/1"
    assert {path.removeprefix(f"{below}/") for path in filesystem.find(below)} == set(contents)
    bottom_up = [path for path, _, _ in filesystem.walk(below, topdown=False)]
    assert sorted(bottom_up) == sorted(path for path, _, _ in filesystem.walk(below))
    assert bottom_up[-1] == below

    # A second version, in place, with the same files, is consumed and finds duplicates.
    copy = Path(client.allocate_upload_directory())
    assert fill(copy, levels) == contents
    (copy / "new").write_text("new")
    new = {**contents, "new": "new"}
    client.upload(f"{project}/a/2", copy, consume=True)
    assert read_tree(Path(service.registry) / project / "a/2") == new
    for number in (1, 2):
        code, _, err = run("validate", f"{project}/a/{number}")
        assert code == 0, err
    code, out, err = run("diff", f"{project}/a/1", f"{project}/a/2")
    assert "new" in out, err

    for reader in (client, remote):
        where = reader.version(f"{project}/a/2").fetch()
        assert read_tree(Path(where)) == new
    exported = tree.parent / "e"
    code, _, err = run("fetch", f"{project}/a/2", "--to", exported)
    assert code == 0, err
    assert read_tree(exported) == new
    archive = tree.parent / "archive.tar"
    with requests.get(f"{service.url}/archive/{project}/a/2.tar", timeout=60) as answer:
        assert answer.ok
        archive.write_bytes(answer.content)
    unpacked = tree.parent / "u"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", unpacked], check=True)
    assert read_tree(unpacked) == {f"{project}/a/2/{path}": text for path, text in new.items()}
    listed = requests.get(
        f"{service.url}/list", {"path": f"{project}/a/2", "recursive": "true"}, timeout=60
    ).json()
    assert {name for name in listed if "..links" not in name} == {*new, "..manifest", "..summary"}

    client.admin.delete_version(project, "a", "1")
    assert not place.exists()
    client.admin.delete_project(project)
    assert not (Path(service.registry) / project).exists()


def test_a_tree_that_no_path_can_reach_is_refused_by_name_and_cleaned_up(
    client: Client, service: TestService, project: str, tree: Path
) -> None:
    hostile = Path(service.staging) / f"hostile-{project}"
    hostile.mkdir()
    deepen(hostile, 10_000)
    with pytest.raises(Refused, match=r"d/d/d.*has a path of more than \d+ bytes") as refused:
        client.upload(f"{project}/a/1", hostile)
    assert refused.value.code is Code.INVALID_SOURCE
    assert len(refused.value.reason) < 2000
    assert not (Path(service.registry) / project / "a").exists()
    cleaned = clean_staging(service.staging, time.time() + 3600, keep=_others(service, hostile))
    assert cleaned.removed == [hostile.name]
    assert not hostile.exists()

    deepen(tree, 10_000)
    for attempt in (client.plan_upload, client.upload):
        with pytest.raises(Refused, match=r"has a path of more than \d+ bytes"):
            attempt(f"{project}/a/1", tree)
    assert os.listdir(service.staging).count(hostile.name) == 0


def _others(service: TestService, hostile: Path) -> frozenset[str]:
    return frozenset(os.listdir(service.staging)) - {hostile.name}


def test_the_longest_path_depends_on_where_the_version_will_be(
    client: Client, service: TestService, project: str, tree: Path
) -> None:
    """What fits below a short name may not below a long one; nothing is copied for that."""
    short, long = f"{project}/a/1", f"{project}/{'a' * 250}/{'v' * 250}"
    fits = longest_published(service.registry, long)
    deepen(tree, fits // 2 + 20)
    before = os.listdir(service.staging)
    for attempt in (client.plan_upload, client.upload):
        with pytest.raises(Refused, match=f"has a path of more than {fits} bytes"):
            attempt(long, tree)
    assert os.listdir(service.staging) == before
    client.upload(short, tree)
    assert client.version(short).manifest()


def test_links_that_can_have_no_text_are_refused_by_name(
    client: Client, project: str, tree: Path
) -> None:
    deepen(tree, 1000)
    deepest = tree / ("d/" * 1000)
    (deepest / "f").write_text("far below")
    (tree / "near").symlink_to("d/" * 1000 + "f")
    (deepest / "beside").symlink_to("f")
    client.upload(f"{project}/a/1", tree)
    (deepest / "far").symlink_to(Path(client.registry) / project / "a/1" / ("d/" * 1000 + "f"))
    for attempt in (client.plan_upload, client.upload):
        with pytest.raises(Refused, match="far away that the text of the link has more than"):
            attempt(f"{project}/a/2", tree)
    (deepest / "far").unlink()
    client.upload(f"{project}/a/2", tree)
    version = client.version(f"{project}/a/2")
    assert version.files()["near"].size == len("far below")
    client.admin.validate_version(project, "a", "2")
