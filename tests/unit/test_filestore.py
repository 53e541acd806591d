"""Files handed on between processes, under the name and with the manners of gocept.filestore."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import gobbler.filestore
import gobbler.filestore.store
import gocept
import gocept.filestore
import gocept.filestore.filestore
from gocept.filestore import FileStore
from gocept.filestore.interfaces import IFileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


def put(store: FileStore, name: str, content: str = "x", space: str = "new") -> None:
    with store.create(name) as file:
        file.write(content)
    if space != "tmp":
        store.move(name, "tmp", space)


def names(store: FileStore, space: str) -> list[str]:
    return [os.path.basename(path) for path in store.list(space)]


def test_one_class_wherever_it_comes_from():
    assert FileStore is gocept.filestore.filestore.FileStore
    assert FileStore is gobbler.filestore.FileStore
    assert FileStore is gobbler.filestore.store.FileStore
    store = FileStore("x")
    assert repr(store).startswith("<gocept.filestore.filestore.FileStore object at 0x")
    assert pickle.loads(pickle.dumps(store)).path == "x"


def test_gocept_is_a_namespace(tmp_path):
    assert getattr(gocept, "__file__", None) is None
    (tmp_path / "gocept" / "other").mkdir(parents=True)
    (tmp_path / "gocept" / "other" / "__init__.py").write_text("x = 1")
    code = "import gocept.filestore, gocept.other; print(gocept.other.x)"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_nothing_happens_before_prepare(tmp_path):
    store = FileStore(str(tmp_path / "store"))
    assert store.path == str(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    store.prepare()
    store.prepare()
    assert sorted(os.listdir(tmp_path / "store")) == ["cur", "new", "tmp"]


def test_prepare_makes_one_level_only(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileStore(tmp_path / "a" / "b").prepare()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        FileStore(tmp_path / "file").prepare()


def test_the_way_of_a_file(store, tmp_path):
    with store.create("a-file") as file:
        assert file.name == str(tmp_path / "store" / "tmp" / "a-file")
        assert file.mode == "w"
        file.write("Die Ente")
    assert store.list("tmp") == [str(tmp_path / "store" / "tmp" / "a-file")]
    store.move("a-file", "tmp", "new")
    (path,) = store.list("new")
    store.move(path, "new", "cur")
    (path,) = store.list("cur")
    assert Path(path).read_text() == "Die Ente"
    store.copy(path, "cur", "new")
    assert Path(store.list("new")[0]).read_text() == "Die Ente"
    assert store.list("tmp") == []
    store.remove("a-file", "cur")
    store.remove(store.list("new")[0], "new")
    assert [store.list(space) for space in store.sub_dirs] == [[], [], []]


def test_binary_files(store):
    with store.create("b", mode="wb") as file:
        assert file.mode == "wb"
        file.write(b"\0")
    assert Path(store.list("tmp")[0]).read_bytes() == b"\0"


def test_what_is_not_there(store):
    for call in (
        lambda: store.move("no", "tmp", "new"),
        lambda: store.copy("no", "tmp", "new"),
        lambda: store.remove("no", "tmp"),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert store.list("tmp") == []


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "a/b", "/etc/passwd", "../cur/x"])
def test_names_that_leave_the_store_are_refused(store, name):
    put(store, "x", space="cur")
    for call in (lambda: store.create(name), lambda: store.remove(name, "tmp")):
        with pytest.raises(ValueError, match="is not the name of a file"):
            call()
    assert names(store, "cur") == ["x"]


@pytest.mark.parametrize("name", ["..", "a/..", "", "tmp/"])
def test_names_without_a_name_are_refused(store, name):
    for call in (store.move, store.copy):
        with pytest.raises(ValueError, match="is not the name of a file"):
            call(name, "tmp", "new")


@pytest.mark.parametrize("space", ["..", "", ".", "/etc", "new/../..", "old"])
def test_other_spaces_are_refused(store, space):
    put(store, "x", space="tmp")
    for call in (
        lambda: store.list(space),
        lambda: store.move("x", "tmp", space),
        lambda: store.copy("x", "tmp", space),
        lambda: store.move("x", space, "tmp"),
        lambda: store.remove("x", space),
    ):
        with pytest.raises(ValueError, match="spaces"):
            call()
    assert names(store, "tmp") == ["x"]


def test_a_path_of_another_space_is_not_removed(store):
    put(store, "x", space="new")
    with pytest.raises(ValueError, match="is not the name"):
        store.remove(store.list("new")[0], "cur")
    assert names(store, "new") == ["x"]


def test_relative_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore("store")
    store.prepare()
    put(store, "x")
    assert store.list("new") == ["store/new/x"]
    store.remove(store.list("new")[0], "new")


def test_a_failed_copy_leaves_nothing(store):
    put(store, "x")
    os.rmdir(Path(store.path, "cur"))
    with pytest.raises(FileNotFoundError):
        store.copy("x", "new", "cur")
    assert store.list("tmp") == []


def test_the_longest_name_can_be_copied(store):
    put(store, "x" * 255)
    store.copy("x" * 255, "new", "cur")
    assert names(store, "cur") == ["x" * 255]


TAKE_ALL = """
import os, sys, time
from gocept.filestore import FileStore

store = FileStore(sys.argv[1])
while not os.path.exists(sys.argv[2]):
    time.sleep(0.001)
while files := store.list("new"):
    for file in files:
        try:
            store.move(file, "new", "cur")
        except FileNotFoundError:
            continue
        print(os.path.basename(file))
"""


def test_each_file_is_taken_once(store, tmp_path):
    everything = [f"job-{i:03}" for i in range(300)]
    for name in everything:
        put(store, name)
    command = [sys.executable, "-c", TAKE_ALL, str(store.path), str(tmp_path / "go")]
    movers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").write_text("")
    ingested = [name for mover in movers for name in mover.communicate(timeout=60)[0].split()]
    assert [mover.returncode for mover in movers] == [0, 0, 0, 0]
    assert sorted(ingested) == everything
    assert names(store, "cur") == everything


def test_the_interface_reports_the_methods():
    for name in ("prepare", "create", "list", "move", "copy", "remove"):
        assert name in dir(IFileStore) or name in IFileStore


def test_it_provides_the_interface_of_zope():
    verify = pytest.importorskip("zope.interface.verify")
    assert verify.verifyClass(IFileStore, FileStore)
    assert verify.verifyObject(IFileStore, FileStore("x"))
