"""Trees of links: an upload follows them if asked to, and says what a version does not keep."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import pygobbler
from gobbler.client import Client, source_links
from gobbler.client.notices import Doubtful, NotKept
from gobbler.errors import Code, GobblerError

from .processes import account

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory beside ``elsewhere``, which has files and a directory."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "work/inner").mkdir(parents=True)
    (elsewhere / "blob").write_text("blob")
    (elsewhere / "work/one").write_text("one")
    (elsewhere / "work/inner/two").write_text("two")
    (elsewhere / "work/inner/blob").symlink_to("../../blob")
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "own").write_text("own")
    return tree


def content(service, address: str) -> dict[str, str]:
    """The content of each file of a version, and the text of each link."""
    version = Path(service.registry, address)
    return {
        str(path.relative_to(version)): f"-> {os.readlink(path)}"
        if path.is_symlink()
        else path.read_text()
        for path in version.rglob("*")
        if not path.name.startswith("..") and not path.is_dir()
    }


def agrees(client: Client, address: str, tree: Path, **options: bool) -> None:
    """Upload, as a plan has foreseen."""
    plan = client.plan_upload(address, tree, follow_links=True, **options)
    version = client.upload(address, tree, follow_links=True, **options)
    manifest = version.manifest()
    assert set(plan.stored) == {
        path for path, entry in manifest.items() if entry.link is None and not entry.is_directory
    }
    assert set(plan.linked) == {path for path, entry in manifest.items() if entry.link is not None}
    assert plan.undecided == {}


def test_what_links_lead_to_is_published_in_their_place(service, client, project, tree):
    (tree / "file").symlink_to("../elsewhere/blob")
    (tree / "d/absolute").symlink_to(tree.parent / "elsewhere/blob")
    (tree / "work").symlink_to("../elsewhere/work")
    (tree / "d/again").symlink_to(tree.parent / "elsewhere/work/inner")
    (tree / "same").symlink_to("own")
    (tree / "copy").symlink_to("d")
    (tree / "by-way").symlink_to("file")
    agrees(client, f"{project}/a/1", tree)
    assert content(service, f"{project}/a/1") == {
        "own": "own",
        "file": "blob",
        "by-way": "-> file",
        "same": "-> own",
        "d/absolute": "blob",
        "copy/absolute": "blob",
        "work/one": "one",
        "work/inner/two": "two",
        "work/inner/blob": "blob",
        "d/again/two": "two",
        "d/again/blob": "blob",
        "copy/again/two": "two",
        "copy/again/blob": "blob",
    }
    client.admin.validate_version(project, "a", "1")


def test_links_to_the_registry_stay_links(service, client, project, tree):
    client.upload(f"{project}/a/1", tree)
    (tree / "published").symlink_to(f"{service.registry}/{project}/a/1/own")
    (tree.parent / "elsewhere/work/published").symlink_to(f"{service.registry}/{project}/a/1/own")
    (tree / "work").symlink_to("../elsewhere/work")
    agrees(client, f"{project}/a/2", tree)
    found = content(service, f"{project}/a/2")
    assert found["published"] == found["own"] == "-> ../1/own"
    assert found["work/published"] == "-> ../../1/own"


def test_a_cache_of_blobs_is_published_as_files(service, client, project, tmp_path):
    """As Hugging Face keeps its snapshots."""
    model = tmp_path / "models--x"
    (model / "blobs").mkdir(parents=True)
    (model / "snapshots/abc/onnx").mkdir(parents=True)
    for name in ("1f", "2e"):
        (model / "blobs" / name).write_text(name)
    (model / "snapshots/abc/config.json").symlink_to("../../blobs/1f")
    (model / "snapshots/abc/onnx/model").symlink_to("../../../blobs/2e")
    with pytest.raises(GobblerError, match="--follow-links"):
        client.upload(f"{project}/a/1", model / "snapshots/abc")
    agrees(client, f"{project}/a/1", model / "snapshots/abc")
    assert content(service, f"{project}/a/1") == {"config.json": "1f", "onnx/model": "2e"}


@pytest.mark.parametrize("ignore_dot", [True, False])
def test_an_annex_is_published_with_or_without_its_store(
    service, client, project, tree, ignore_dot
):
    """As git-annex keeps files: below a directory whose name starts with a dot."""
    store = tree / ".git/annex/objects"
    store.mkdir(parents=True)
    (store / "key").write_text("annexed")
    (tree / "d/data").symlink_to("../.git/annex/objects/key")
    if ignore_dot:
        with pytest.warns(UserWarning, match="leaves out"):
            client.upload(f"{project}/a/1", tree, follow_links=True, ignore_dot=True)
        assert content(service, f"{project}/a/1") == {"own": "own", "d/data": "annexed"}
    else:
        agrees(client, f"{project}/a/1", tree)
        assert content(service, f"{project}/a/1")["d/data"] == "-> ../.git/annex/objects/key"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("..", "a directory that it is in"),
        (".", "a directory that it is in"),
        ("../../tree", "a directory that it is in"),
        ("../missing", "No such file"),
        ("loop", "Too many levels"),
        ("../../elsewhere/fifo", "a FIFO"),
    ],
)
@pytest.mark.parametrize("within", ["tree/d", "elsewhere/work"])
def test_what_can_not_be_followed_is_refused_by_name(
    client, project, tree, target, problem, within
):
    os.mkfifo(tree.parent / "elsewhere/fifo")
    (tree / "work").symlink_to("../elsewhere/work")
    if within == "elsewhere/work" and target == "../../tree":
        problem = "a directory that it is in"
    (tree.parent / within / "loop").symlink_to(target)
    for call in (client.plan_upload, client.upload):
        with pytest.raises(GobblerError, match=problem) as caught:
            call(f"{project}/a/1", tree, follow_links=True)
        assert caught.value.code == Code.INVALID_SOURCE
        assert "loop" in caught.value.reason
    assert not client.asset(project, "a").exists()


def test_links_that_multiply_are_refused(client, project, tmp_path, monkeypatch):
    monkeypatch.setattr(source_links, "MAX_FOLLOWED", 5000)
    for number in range(40):
        (tmp_path / f"l{number}").mkdir()
        for side in ("left", "right"):
            (tmp_path / f"l{number}" / side).symlink_to(f"../l{number + 1}")
    (tmp_path / "l40").mkdir()
    with pytest.raises(GobblerError, match="more than 5000 entries"):
        client.upload(f"{project}/a/1", tmp_path / "l0", follow_links=True)


def test_a_directory_in_staging_is_copied_and_stays_as_it_is(service, client, project, tree):
    top = Path(client.allocate_upload_directory())
    (top / "file").symlink_to(tree.parent / "elsewhere/blob")
    (top / "own").write_text("own")
    try:
        agrees(client, f"{project}/a/1", top)
        assert content(service, f"{project}/a/1") == {"file": "blob", "own": "own"}
        assert sorted(os.listdir(top)) == ["file", "own"]
        assert (top / "file").is_symlink()
    finally:
        for path in top.iterdir():
            path.unlink()
        top.rmdir()


def test_the_command_follows_links_and_names_the_option(run, service, project, tree):
    (tree / "work").symlink_to("../elsewhere/work")
    for links in ("work", "file"):
        if links == "file":
            (tree / "work").unlink()
            (tree / "work").symlink_to("../elsewhere/blob")
        code, _, err = run("upload", tree, f"{project}/a/1")
        assert code == 3
        assert "--follow-links" in err
    code, out, _ = run("upload", tree, f"{project}/a/1", "--follow-links", "--dry-run")
    assert (code, "store\twork\t4" in out) == (0, True)
    assert run("upload", tree, f"{project}/a/1", "--follow-links")[0] == 0
    assert content(service, f"{project}/a/1") == {"own": "own", "work": "blob"}


def test_a_link_to_nothing_is_no_reason_to_follow_links(run, project, tree):
    (tree / "lost").symlink_to("nothing")
    code, _, err = run("upload", tree, f"{project}/a/1")
    assert code == 3
    assert "--follow-links" not in err


class TestExecutableFiles:
    @pytest.fixture
    def scripts(self, tree: Path) -> Path:
        for number in range(5):
            (tree / f"d/run-{number}").write_text("#!/bin/sh\n")
            (tree / f"d/run-{number}").chmod(0o755)
        return tree

    def test_are_named_when_they_are_copied(self, service, client, project, scripts):
        with pytest.warns(NotKept, match=r'"d/run-0", "d/run-1", "d/run-2" and 2 more'):
            client.upload(f"{project}/a/1", scripts)
        assert Path(service.registry, project, "a/1/d/run-0").stat().st_mode & 0o777 == 0o644

    def test_are_named_by_the_command_and_pygobbler(self, run, client, project, scripts):
        assert "executable" in run("upload", scripts, f"{project}/a/1")[2]
        with pytest.warns(NotKept, match="executable"):
            pygobbler.upload_directory(project, "a", "2", str(scripts), client.staging, client.url)

    def test_are_named_by_the_service_when_it_reads_them_itself(self, client, project):
        top = Path(client.allocate_upload_directory())
        (top / "run").write_text("#!/bin/sh\n")
        (top / "run").chmod(0o755)
        try:
            with pytest.warns(Doubtful, match='executable: "run"'):
                client.upload(f"{project}/a/1", top, consume=False)
        finally:
            (top / "run").unlink()
            top.rmdir()

    def test_are_named_by_the_job_that_reads_them(self, client, project):
        top = Path(client.allocate_upload_directory())
        (top / "run").write_text("#!/bin/sh\n")
        (top / "run").chmod(0o755)
        try:
            with pytest.warns(Doubtful, match='executable: "run"'):
                client.submit(f"{project}/a/1", top, consume=False).wait()
        finally:
            (top / "run").unlink()
            top.rmdir()

    def test_are_named_if_links_lead_to_them(self, client, project, tree):
        (tree.parent / "elsewhere/work/one").chmod(0o755)
        (tree / "work").symlink_to("../elsewhere/work")
        with pytest.warns(NotKept, match='"work/one"'):
            client.upload(f"{project}/a/1", tree, follow_links=True)

    def test_others_are_no_reason_to_warn(self, client, project, tree):
        client.upload(f"{project}/a/1", tree)  # a warning would be an error


@pytest.mark.parametrize("target", ["private", "closed/open", "closed", "holds"])
def test_a_link_of_another_user_leads_to_nothing_private(client, project, tree, target):
    """Who asks for help with an upload must not get what only the helper may read."""
    mine = Path(tempfile.mkdtemp(prefix="gobbler-links-"))
    try:
        mine.chmod(0o755)
        (mine / "private").write_text("private")
        (mine / "private").chmod(0o600)
        (mine / "closed").mkdir(mode=0o700)
        (mine / "closed/open").write_text("open")
        (mine / "holds").mkdir(mode=0o755)
        (mine / "holds/key").write_text("key")
        (mine / "holds/key").chmod(0o640)
        (mine / "public").write_text("public")
        for name in ("theirs", "fine"):
            (tree / name).symlink_to(mine / (target if name == "theirs" else "public"))
            os.chown(tree / name, account("gtbob"), -1, follow_symlinks=False)
        with pytest.raises(GobblerError) as caught:
            client.upload(f"{project}/a/1", tree, follow_links=True)
        assert caught.value.code is Code.INVALID_SOURCE
        assert '"theirs' in caught.value.reason
        assert "not everybody may read" in caught.value.reason
        assert '"fine' not in caught.value.reason
        os.chown(tree / "theirs", os.geteuid(), -1, follow_symlinks=False)
        client.upload(f"{project}/a/1", tree, follow_links=True)
    finally:
        shutil.rmtree(mine)
