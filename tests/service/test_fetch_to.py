"""``gobbler fetch --to``: into new paths, empty directories, mount points, and through links."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.client.export import export
from gobbler.errors import Code, GobblerError, Refused

from .processes import account, identity, interpreter

USER, OTHER = "gtada", "gtmallory"


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For mounts, and a deep tree."""
    return removed_by_us


@pytest.fixture
def published(client, project, source) -> str:
    client.upload(project, "a", "1", source)
    return f"{project}/a/1"


def content(directory: Path) -> dict[str, str | None]:
    found = {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else None
        for path in directory.rglob("*")
    }
    found.pop("lost+found", None)
    return found


@pytest.fixture
def whole(source) -> dict[str, str | None]:
    return content(source)


@pytest.fixture(params=["--remote", None])
def fetch(run, published, request):
    def fetch(destination: object, *words: object, at: str = published) -> tuple[int, str, str]:
        flags = [request.param] if request.param else []
        return run("fetch", at, "--to", destination, *flags, *words)

    return fetch


def test_a_new_path(fetch, whole, tmp_path):
    assert fetch(tmp_path / "a" / "b") == (0, f"{tmp_path}/a/b\n", "")
    assert content(tmp_path / "a" / "b") == whole
    assert os.listdir(tmp_path / "a") == ["b"]


def test_an_empty_directory_stays_the_same(fetch, whole, tmp_path):
    made = tmp_path / "made"
    made.mkdir(mode=0o700)
    before = made.stat()
    assert fetch(made)[0] == 0
    assert content(made) == whole
    assert (made.stat().st_ino, stat.S_IMODE(made.stat().st_mode)) == (before.st_ino, 0o700)


def test_through_links(fetch, whole, tmp_path):
    (tmp_path / "real" / "inner" / "empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/inner")
    assert fetch(tmp_path / "link" / "new")[0] == 0
    assert content(tmp_path / "real" / "inner" / "new") == whole
    (tmp_path / "to empty").symlink_to("real/inner/empty")
    assert fetch(tmp_path / "to empty") == (0, f"{tmp_path}/real/inner/empty\n", "")
    assert content(tmp_path / "real" / "inner" / "empty") == whole
    assert (tmp_path / "to empty").is_symlink()
    # `..` after a link leads where the filesystem says.
    assert fetch(f"{tmp_path}/link/../beside")[0] == 0
    assert content(tmp_path / "real" / "beside") == whole


@pytest.mark.parametrize("what", ["file", "full", "dangling", "link to full"])
def test_nothing_is_overwritten(fetch, tmp_path, what):
    place = tmp_path / "place"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    if what == "file":
        place.write_text("mine")
    elif what == "dangling":
        place.symlink_to("nowhere")
    else:
        place.symlink_to("full")
    code, out, err = fetch(tmp_path / "full" if what == "full" else place)
    assert (code, out) == (3, "")
    assert "exists already" in err
    assert content(tmp_path / "full") == {"mine": "mine"}
    assert not (tmp_path / "nowhere").exists()


def test_a_file(fetch, published, tmp_path):
    at = f"{published}/whee/blah"
    assert fetch(tmp_path, at=at) == (0, f"{tmp_path}/blah\n", "")
    assert fetch(tmp_path / "other", at=at)[0] == 0
    assert (tmp_path / "other").read_text() == "stuff"
    assert (tmp_path / "other").stat().st_mode & 0o200
    assert fetch(tmp_path, at=at)[0] == 3
    assert (tmp_path / "blah").read_text() == "stuff"


@pytest.fixture
def mounted(tmp_path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a filesystem")
    made = tmp_path / "mounted"
    made.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", made])
    if done.returncode != 0:
        pytest.skip("a filesystem can't be mounted here")
    yield made
    subprocess.run(["umount", made], check=True)


def test_a_mount_point(fetch, mounted, whole):
    (mounted / "lost+found").mkdir()
    assert fetch(mounted)[0] == 0
    assert content(mounted) == whole


def test_a_full_disk_leaves_nothing(fetch, mounted, client, project, tmp_path):
    (tmp_path / "large").mkdir()
    for name in ("a", "b"):
        (tmp_path / "large" / name).write_bytes(os.urandom(700_000))
    client.upload(project, "l", "1", tmp_path / "large")
    for place in (mounted, mounted / "new"):
        code, out, err = fetch(place, at=f"{project}/l/1")
        assert (code, out) == (1, "")
        assert "bytes free" in err
        assert os.listdir(mounted) == []


EXPORT = "import sys\nfrom gobbler.client.export import export\nexport(*sys.argv[1:])"


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A directory of root, with an empty one of a user in it."""
    for name in (USER, OTHER):
        account(name)
    made = Path(tempfile.mkdtemp(prefix="gobbler-fetch-to-"))
    made.chmod(0o755)
    (made / "mine").mkdir()
    os.chown(made / "mine", account(USER), -1)
    yield made
    shutil.rmtree(made)


def as_user(source: Path, destination: Path) -> subprocess.CompletedProcess[str]:
    python, environment = interpreter(USER)
    return subprocess.run(
        [python, "-c", EXPORT, str(source), str(destination)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        **identity(USER),
    )


def test_into_a_directory_below_one_that_is_not_mine(service, published, foreign, whole):
    source = Path(service.registry, published)
    done = as_user(source, foreign / "mine")
    assert done.returncode == 0, done.stderr
    assert content(foreign / "mine") == whole
    done = as_user(source, foreign / "other")
    assert done.returncode != 0
    assert "Permission denied" in done.stderr
    assert os.listdir(foreign) == ["mine"]


def test_holes_stay_holes(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(1 << 30)
        file.write(b"middle")
        file.truncate(3 << 30)
    export(str(source), str(tmp_path / "copy"))
    status = (tmp_path / "copy" / "sparse").stat()
    assert status.st_size == 3 << 30
    assert status.st_blocks * 512 < 1 << 20
    with (tmp_path / "copy" / "sparse").open("rb") as file:
        assert file.read(6) == b"start\0"
        file.seek(1 << 30)
        assert file.read(7) == b"middle\0"


def test_a_deep_tree(tmp_path):
    inner = "/".join("d" for _ in range(1200))
    subprocess.run(["mkdir", "-p", f"{tmp_path}/source/{inner}"], check=True)
    Path(f"{tmp_path}/source/{inner}/f").write_text("x")
    try:
        export(f"{tmp_path}/source", f"{tmp_path}/copy")
        assert Path(f"{tmp_path}/copy/{inner}/f").read_text() == "x"
    finally:
        subprocess.run(["rm", "-rf", f"{tmp_path}/source", f"{tmp_path}/copy"], check=True)


def test_what_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    source, place = tmp_path / "source", tmp_path / "place"
    source.mkdir()
    (source / "f").write_text("new")
    copy = export.__globals__["_copy_tree"]

    def copy_late(*arguments: object) -> None:
        copy(*arguments)
        if place.is_dir():
            (place / "mine").write_text("mine")
        else:
            place.write_text("mine")

    monkeypatch.setitem(export.__globals__, "_copy_tree", copy_late)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            export(str(source), str(place))
        assert caught.value.code == Code.DESTINATION_EXISTS
        assert os.listdir(tmp_path) in (["source", "place"], ["place", "source"])
        if place.is_file():
            assert place.read_text() == "mine"
            place.unlink()
            place.mkdir()
    assert content(place) == {"mine": "mine"}


def test_something_that_is_no_file(tmp_path):
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "fifo")
    with pytest.raises(GobblerError, match="FIFO"):
        export(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
