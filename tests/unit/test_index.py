"""The index says what the manifests say, whatever has happened to them or to it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gobbler.client.relations import found_by_reading
from gobbler.errors import GobblerError
from gobbler.index import Index, Search, database
from gobbler.index import index as index_module
from gobbler.index.database import ForeignIndex, UnusableIndex
from gobbler.index.index import IndexUpdater
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Link, LogEntry, encode
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import Shared

from .registries import KEYS, Registries, doomed, registries, rerouted, site_of, stored, write

P1, P2, Q1 = VersionKey("p", "a", "1"), VersionKey("p", "a", "2"), VersionKey("q", "a", "1")


def quietly(done: int, of: int) -> None:
    assert 0 <= done <= of


def linked(entry: Entry, key: VersionKey, path: str) -> Entry:
    return Entry(entry.size, entry.md5sum, Link.to(key, path))


FILE = stored(b"content")
CHAIN: Registries = {P1: {"f": FILE}, P2: {"f": linked(FILE, P1, "f")}, Q1: {"copy": FILE}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry in which p/a/2 links to p/a/1, and q/a/1 stores the same."""
    made = tmp_path / "registry"
    (made / "..logs").mkdir(parents=True)
    for key, manifest in CHAIN.items():
        write(made, key, manifest)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
def index(root: Path, file: Path) -> Index:
    return Index(str(file), Registry(str(root)))


def shared(search: Search, key: VersionKey) -> object:
    try:
        return search.shared_with(key, quietly)
    except GobblerError as error:
        return type(error), error.reason


def by_hand(registry: Registry, key: VersionKey) -> object:
    """What a client finds that has nothing but the files."""
    try:
        return found_by_reading(key, registry.fingerprints(), registry.manifest)
    except GobblerError as error:
        return type(error), error.reason


def same_with_and_without(root: Path, file: Path, to_delete: list[dict[str, str]]) -> None:
    plain, indexed = site_of(root), site_of(root, file)
    assert rerouted(indexed, to_delete) == rerouted(plain, to_delete)
    for key in KEYS:
        reported = shared(indexed.search, key)
        assert reported == shared(plain.search, key)
        entry = {"project": key.project, "asset": key.asset, "version": key.version}
        links = rerouted(plain, [entry])
        if isinstance(reported, list) and isinstance(links, dict):
            found = by_hand(plain.registry, key)
            assert [s.version for s in reported] == [s.version for s in found.shared]  # type: ignore[attr-defined]
            assert reported == found.shared  # type: ignore[attr-defined]
            paths = [link["path"] for link in links["changes"]]
            assert paths == [link.path for link in found.links]  # type: ignore[attr-defined]


changes = st.one_of(
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("damage"), st.sampled_from(KEYS), st.sampled_from([b"", b"{", b'{"f": 1}'])),
    st.tuples(st.just("replace"), st.sampled_from(KEYS), registries()),
)


@settings(max_examples=40, deadline=None)
@given(registries(), doomed, st.lists(changes, max_size=3))
def test_answers_and_errors_are_those_of_reading_all_manifests(
    made: Registries, to_delete: list[dict[str, str]], later: list[tuple[str, VersionKey, object]]
) -> None:
    with tempfile.TemporaryDirectory() as top:
        root, file = Path(top, "registry"), Path(top, "index.db")
        root.mkdir()
        for key, manifest in made.items():
            write(root, key, manifest)
        same_with_and_without(root, file, to_delete)
        for what, key, content in later:
            if what == "remove":
                shutil.rmtree(root / key.path, ignore_errors=True)
            elif isinstance(content, bytes):
                write(root, key, content)
            elif isinstance(content, dict):
                write(root, key, next(iter(content.values())))
            same_with_and_without(root, file, to_delete)


def test_a_size_that_sqlite_has_no_number_for_is_read_from_the_manifest(
    root: Path, file: Path
) -> None:
    huge = Entry(2**64, FILE.md5sum)
    write(root, KEYS[3], {"huge": huge, "f": linked(FILE, P1, "f")})
    write(root, KEYS[6], {"huge": huge})
    same_with_and_without(root, file, [{"project": "p", "asset": "a"}])
    found = site_of(root, file).search.shared_with(KEYS[6], quietly)
    assert found == [Shared(KEYS[3].path, 1, 2**64, 2**64)]


def test_names_that_are_no_utf_8_are_names(root: Path, file: Path) -> None:
    odd = VersionKey("p", "a", os.fsdecode(b"\xff"))
    write(root, odd, {"f": linked(FILE, P1, "f")})
    found = site_of(root, file).search.linking_into(lambda _: {P1}, quietly)
    assert found.sources == sorted([P2, odd])


def test_only_what_has_changed_is_read(root: Path, index: Index) -> None:
    def read() -> list[int]:
        seen: list[int] = []
        index.bring_up_to_date(follow=lambda done, of: seen.append(of))
        return seen[-1:]

    assert read() == [3]
    assert read() == []
    write(root, P2, {"g": FILE})
    write(root, VersionKey("q", "new", "1"), {"g": FILE})
    assert read() == [2]
    shutil.rmtree(root / "q/new")
    assert index.status()["behind"] == 1
    assert read() == [0]
    assert index.status() == {"versions": 3, "links": 0, "contents": 3, "behind": 0}


def test_a_part_of_the_registry_can_be_brought_up_to_date(root: Path, index: Index) -> None:
    index.bring_up_to_date("p", "a", follow=quietly)
    assert index.status()["versions"] == 2
    write(root, VersionKey("p", "ab", "1"), {"g": FILE})  # a name that starts alike
    index.bring_up_to_date("p", "a", follow=quietly)
    assert index.status()["behind"] == 2
    index.bring_up_to_date("p", follow=quietly)
    assert index.status()["versions"] == 3


def test_who_holds_a_content_is_reported_within_limits(root: Path, index: Index) -> None:
    search = Search(Registry(str(root)), index)
    content = (FILE.size, FILE.md5sum)

    def holding(*within: str, but: object = None) -> list[VersionKey]:
        found = search.holding(
            [content, (1, FILE.md5sum)], *within, is_wanted=lambda k: k != but, follow=quietly
        )
        assert all(contents == [content] for contents in found.values())
        return list(found)

    assert holding("p") == [P1]  # who stores it comes before who links to it
    assert holding("p", but=P1) == [P2]
    assert holding("q") == [Q1]
    assert holding("p", "b") == []


def damage(file: Path) -> None:
    """Overwrite all pages but the first, in which SQLite would notice it at once."""
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xa5" * (size - 4096))


def execute(file: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)


SPOIL: dict[str, Callable[[Path], object]] = {
    "something else": lambda file: file.write_bytes(b"no database" * 1000),
    "another database": lambda file: execute(file, "CREATE TABLE x (y)"),
    "another version": lambda file: execute(file, "PRAGMA user_version = 99"),
    "cut off": lambda file: os.truncate(file, 5000),
    "damaged": damage,
    "without a table": lambda file: execute(file, "DROP TABLE content"),
}


@pytest.mark.parametrize("how", SPOIL)
def test_what_is_spoilt_is_set_aside_and_made_again(
    root: Path, file: Path, index: Index, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how not in ("something else", "another database"):
        index.bring_up_to_date(follow=quietly)
    SPOIL[how](file)
    same_with_and_without(root, file, [{"project": "p", "asset": "a", "version": "1"}])
    assert [r.message for r in caplog.records if "rebuilding the index" in r.message]
    assert file.with_name("index.db.spoilt").exists()
    assert index.status()["versions"] == 3
    caplog.clear()
    same_with_and_without(root, file, [{"project": "q"}])
    assert caplog.records == []


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite finds no space for another page."""
    connect = sqlite3.connect

    def connected(*args: object, **options: object) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
        made.execute("PRAGMA max_page_count = 1")
        return made

    monkeypatch.setattr(database.sqlite3, "connect", connected)


@pytest.fixture
def held(index: Index, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody writes for longer than anybody waits."""
    index.bring_up_to_date("q", follow=quietly)
    monkeypatch.setattr(database, "INDEX_BUSY_SECONDS", 0.01)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@pytest.fixture
def directory(file: Path) -> None:
    """There is a directory in the place of the file."""
    file.mkdir()


@pytest.fixture
def no_place(file: Path, tmp_path: Path) -> None:
    """The lock can't even be made."""
    Path(f"{file}.lock").symlink_to(tmp_path / "elsewhere")


@pytest.mark.parametrize("trouble", ["full_disk", "held", "directory", "no_place"])
def test_an_index_that_cannot_be_used_is_gone_without(
    root: Path,
    file: Path,
    trouble: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    request.getfixturevalue(trouble)
    same_with_and_without(root, file, [{"project": "p", "asset": "a", "version": "1"}])
    assert {r.levelno for r in caplog.records} == {logging.WARNING}
    assert all("continuing without the index" in r.message for r in caplog.records)


def test_it_is_not_set_aside_while_somebody_uses_it(
    file: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "PATIENCE", 0.01)
    index.bring_up_to_date(follow=quietly)
    with (
        index._database.connected(),
        pytest.raises(UnusableIndex, match="other processes have been using it"),
    ):
        index.rebuild(quietly)
    inode = file.stat().st_ino
    index.rebuild(quietly)
    assert file.stat().st_ino != inode
    assert index.status()["behind"] == 0


def test_the_index_of_another_registry_is_left_alone(
    tmp_path: Path, file: Path, index: Index
) -> None:
    index.bring_up_to_date(follow=quietly)
    (tmp_path / "other").mkdir()
    other = Index(str(file), Registry(str(tmp_path / "other")))
    with pytest.raises(ForeignIndex, match=r"another registry: .*registry"):
        other.bring_up_to_date(follow=quietly)
    assert index.status()["versions"] == 3


def test_what_the_caller_raises_comes_through_and_leaves_nothing_half_done(index: Index) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, of: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        index.bring_up_to_date(follow=stop)
    assert index.status()["behind"] == 3
    index.bring_up_to_date(follow=quietly)
    assert index.status()["behind"] == 0


def test_many_use_it_while_the_registry_changes(root: Path, file: Path) -> None:
    """Each answer is that of a state that the registry had while it was asked."""
    wrong: list[object] = []
    ended = threading.Event()

    def ask() -> None:
        search = site_of(root, file).search
        while not ended.is_set():
            try:
                found = search.linking_into(lambda _: {P1}, quietly)
            except Exception as error:  # noqa: BLE001 - reported at the end
                wrong.append(error)
                return
            if P2 not in found.sources:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        key = VersionKey("p", "c", str(number % 7))
        if number % 3:
            write(root, key, {"f": linked(FILE, P1, "f"), "g": stored(str(number).encode())})
        else:
            shutil.rmtree(root / key.path, ignore_errors=True)
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    same_with_and_without(root, file, [{"project": "p", "asset": "a", "version": "1"}])


def log(root: Path, name: str, **fields: str) -> None:
    entry = LogEntry(type="add-version", **fields)  # type: ignore[arg-type]
    (root / "..logs" / name).write_bytes(encode(entry))


def test_the_keeper_follows_the_log(root: Path, index: Index) -> None:
    keeper = IndexUpdater(Registry(str(root)), index)
    keeper.update()
    assert index.status()["behind"] == 0
    write(root, VersionKey("p", "a", "3"), {"f": FILE})
    write(root, VersionKey("q", "z", "3"), {"f": FILE})
    keeper.update()
    assert index.status()["behind"] == 2  # it goes by the log, of which there is none
    log(root, "1", project="p", asset="a", version="3")
    (root / "..logs/2").write_text("{")
    keeper.update()
    assert index.status()["behind"] == 1
    log(root, "3", project="q")
    keeper.update()
    assert index.status()["behind"] == 0
