"""What comes into a FileStore: whole or not at all, under its own name, and to stay."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gobbler.filestore import FileStore, unique_name
from gobbler.fs import atomic_write
from gobbler.fs.atomic_write import NoReplaceUnsupported, rename_new


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture(params=["renameat2", "link"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """On a filesystem that renames without replacing, and on one that does not."""
    if request.param == "link":
        monkeypatch.setattr(atomic_write, "_renameat2", None)
    return str(request.param)


def everything(store: FileStore) -> dict[str, str]:
    return {
        f"{space}/{os.path.basename(path)}": Path(path).read_text()
        for space in store.sub_dirs
        for path in store.list(space)
    }


def test_paths_are_as_good_as_strings(store: FileStore) -> None:
    assert isinstance(store.path, Path)
    with store.create(Path("a")) as file:
        file.write("x")
    store.move(Path(file.name), "tmp", "new")
    store.copy(Path("a"), "new", "cur")
    store.remove(store.path / "new" / "a", "new")
    assert everything(store) == {"cur/a": "x"}


def test_a_file_without_a_name_has_one_that_nobody_else_has(store: FileStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: store.create(), range(200)))
    for file in files:
        assert file.mode == "w"
        file.close()
    assert sorted(file.name for file in files) == store.list("tmp")
    assert len(store.list("tmp")) == 200


def test_unique_names_sort_by_their_age() -> None:
    names = [unique_name() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert [name.split("-")[0] for name in names] == sorted(name.split("-")[0] for name in names)


def test_publication(store: FileStore) -> None:
    with store.publish("a") as file:
        file.write("x")
        file.flush()
        assert store.list("new") == []
    with store.publish(mode="wb") as file:
        file.write(b"y")
        name = os.path.basename(file.name)
    assert everything(store) == {"new/a": "x", f"new/{name}": "y"}


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_what_fails_is_not_published(store: FileStore, error: type[BaseException]) -> None:
    def fail() -> None:
        with store.publish("a") as file:
            file.write("x")
            raise error

    with pytest.raises(error):
        fail()
    assert everything(store) == {}


def test_what_can_not_be_written_is_not_published(store: FileStore) -> None:
    def fill() -> None:
        with store.publish("a") as file, open("/dev/full", "w") as full:
            os.dup2(full.fileno(), file.fileno())
            file.write("x")

    with pytest.raises(OSError, match="No space"):
        fill()
    assert everything(store) == {}


def test_a_writer_may_close_the_file_itself(store: FileStore) -> None:
    with store.publish("a") as file:
        file.write("x")
        file.close()
    assert everything(store) == {"new/a": "x"}


@pytest.mark.usefixtures("either_way")
def test_what_waits_is_replaced_only_on_request(store: FileStore) -> None:
    for content in ("first", "second"):
        try:
            with store.publish("a") as file:
                file.write(content)
        except FileExistsError:
            assert content == "second"
    assert everything(store) == {"new/a": "first"}
    with store.publish("a", replace=True) as file:
        file.write("third")
    assert everything(store) == {"new/a": "third"}


@pytest.mark.usefixtures("either_way")
def test_of_many_that_publish_one_name_one_succeeds(store: FileStore) -> None:
    together = threading.Barrier(16)

    def publish(number: int) -> bool:
        try:
            with store.publish("a") as file:
                file.write(str(number))
                together.wait(60)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(publish, range(16)))
    assert done.count(True) == 1
    assert everything(store) == {"new/a": str(done.index(True))}


def test_a_move_refuses_a_collision_on_request(store: FileStore, either_way: str) -> None:
    for space in ("tmp", "new"):
        with store.create("a") as file:
            file.write(space)
        if space == "tmp":
            store.move("a", "tmp", "new")
    with pytest.raises(FileExistsError):
        store.move("a", "tmp", "new", replace=False)
    assert everything(store) == {"tmp/a": "new", "new/a": "tmp"}
    with pytest.raises(FileNotFoundError):
        store.move("missing", "tmp", "new", replace=False)
    if either_way == "renameat2":
        store.move("a", "new", "cur", replace=False)
        assert everything(store) == {"tmp/a": "new", "cur/a": "tmp"}
    else:
        with pytest.raises(NoReplaceUnsupported) as caught:
            store.move("a", "new", "cur", replace=False)
        assert caught.value.errno == errno.EOPNOTSUPP
        assert everything(store) == {"tmp/a": "new", "new/a": "tmp"}


def test_renaming_without_replacing(tmp_path: Path) -> None:
    (tmp_path / "a\udcff").write_text("a")
    rename_new(str(tmp_path / "a\udcff"), str(tmp_path / "b"))
    (tmp_path / "c").mkdir()
    for target in ("c", "b"):
        with pytest.raises(FileExistsError) as caught:
            rename_new(str(tmp_path / "b"), str(tmp_path / target))
        assert (caught.value.filename, caught.value.filename2) == (
            str(tmp_path / "b"),
            str(tmp_path / target),
        )
    with pytest.raises(FileNotFoundError):
        rename_new(str(tmp_path / "missing"), str(tmp_path / "d"))
    assert (tmp_path / "b").read_text() == "a"


@pytest.mark.parametrize("how", ["move", "publish"])
def test_a_durable_step_flushes_the_file_before_and_the_directories_after(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        done.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store.path))
        real_fsync(descriptor)

    def rename(source: Any, target: Any) -> None:
        real_rename(source, target)
        done.append("renamed")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    if how == "publish":
        with store.publish(durable=True) as file:
            file.write("x")
        name = os.path.basename(file.name)
    else:
        name = "a"
        store.create(name).close()
        store.move(name, "tmp", "new", durable=True)
    assert done == [f"tmp/{name}", "renamed", "new", "tmp"]
    done.clear()
    store.move(name, "new", "cur")
    assert done == ["renamed"]


def test_what_can_not_be_flushed_is_not_moved(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("a").close()

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"Input/output error.*tmp/a"):
        store.move("a", "tmp", "new", durable=True)
    with pytest.raises(OSError, match="Input/output error"), store.publish("b", durable=True):
        pass
    assert everything(store) == {"tmp/a": ""}


def test_what_others_planted_in_tmp_is_neither_followed_nor_waited_for(
    store: FileStore, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "store/tmp/link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "store/tmp/fifo")
    with pytest.raises(OSError, match="symbolic links"):
        store.create("link")
    with pytest.raises(OSError, match="No such device"):
        store.create("fifo")
    assert (tmp_path / "secret").read_text() == "secret"


def test_files_get_the_mode_that_the_umask_gives(store: FileStore) -> None:
    before = os.umask(0o027)
    try:
        with store.publish("a"):
            pass
    finally:
        os.umask(before)
    assert Path(store.list("new")[0]).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["../a", "a/b", "..", "", "a\0b", "..claimant-0123456789ab"])
def test_names_that_are_not_the_stores_are_refused_before_anything_is_written(
    store: FileStore, name: str
) -> None:
    with pytest.raises(ValueError, match="name"), store.publish(name):
        pytest.fail("this must not be reached")
    assert everything(store) == {}


def test_the_spool_is_of_use_without_the_rest() -> None:
    code = "import sys, gobbler.filestore; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "gobbler.filestore.watch" in loaded
    for name in (
        "asyncio",
        "httptools",
        "requests",
        "click",
        "gobbler.registry.registry",
    ):
        assert name not in loaded
