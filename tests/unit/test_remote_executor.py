"""Batches in other processes: same results and errors, safe to run twice, by equals only."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gobbler.cluster import remote_executor
from gobbler.cluster.remote_executor import AnyExecutor, conditions_of, run_there
from gobbler.errors import Cancelled, Code, Fault, GobblerError, Refused
from gobbler.fs import hash as hashing
from gobbler.model.progress import NeverCancelled, NoProgress, Progress
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace, new_workspace
from gobbler.rules.resumption import LeftCopy
from gobbler.rules.upload_plan import Plan
from gobbler.service.settings import Settings
from gobbler.transfer import dispatch as execute
from gobbler.transfer import piece_record
from gobbler.transfer.batch import (
    Batch,
    EarlierCopy,
    IngestedFile,
    StagedSource,
    run_batch_in_run_directory,
)
from gobbler.transfer.dispatch import Dispatcher
from gobbler.transfer.ingest import ingest_files
from gobbler.transfer.piece_record import partial_copies
from gobbler.transfer.run_directory import put_in_place, remove_run_directories, run_directories


class Place:
    """A source with files, and a registry with a job."""

    def __init__(self, top: Path, job: Workspace) -> None:
        self.top, self.job = top, job
        self.path = top / "staging/source"
        status = self.path.stat()
        self.source = StagedSource(
            str(top / "staging"), "source", status.st_dev, status.st_ino, status.st_uid, True
        )
        self.files = {
            str(path.relative_to(self.path)): path.stat().st_size
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }
        self.tree = Path(job.tree)

    def batch(self, run_directories_path: str, **more: Any) -> Batch:
        return Batch(
            self.source,
            self.job.tree,
            self.files,
            {},
            False,
            run_directories_path=run_directories_path,
            **more,
        )

    def plan(self) -> Plan:
        return Plan(["d"], self.files, {}, {}, [])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "staging/source/d").mkdir(parents=True)
    (tmp_path / "registry/..incoming").mkdir(parents=True)
    for name, content in (("a", b"one"), ("d/b", b"two two"), ("d/c", b"")):
        (tmp_path / "staging/source" / name).write_bytes(content)
    with new_workspace(str(tmp_path / "registry"), f"{time.time_ns():x}-task") as job:
        (Path(job.tree) / "d").mkdir(parents=True)
        yield Place(tmp_path, job)


def contents(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*") if p.is_file()}


WHOLE = {"a": b"one", "d/b": b"two two", "d/c": b""}


def test_of_two_runs_one_is_taken_and_the_other_leaves_no_trace(place: Place) -> None:
    with run_directories(place.job) as run_directories_path:
        first, made = run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
        second, others = run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
        assert first == second
        assert not contents(place.tree), "a run touches nothing but its own directory"
        put_in_place(made, place.job.tree)
        assert contents(place.tree) == WHOLE
        assert others.directory != made.directory
    assert contents(place.tree) == WHOLE
    assert os.listdir(place.job.path) == ["tree"]


class Paused(NoProgress):
    """Stops a run after its first file until the test lets it continue."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def advance(self, files: int, size: int) -> None:
        if not files:
            return
        self.begun.set()
        assert self.go_on.wait(30)


def give_up(place: Place, run_directories_path: str) -> None:
    remove_run_directories(run_directories_path)


def take_over(place: Place, run_directories_path: str) -> None:
    """As the next worker does, when the one that handed the batch out seems to have died."""
    del run_directories_path
    os.rename(place.job.path, f"{place.job.path}-former")
    shutil.rmtree(f"{place.job.path}-former")


@pytest.mark.parametrize("then", [give_up, take_over])
def test_a_run_whose_result_nobody_wants_any_more_ends(place: Place, then: Any) -> None:
    progress = Paused()
    with run_directories(place.job) as run_directories_path, ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            run_batch_in_run_directory, place.batch(run_directories_path), progress
        )
        assert progress.begun.wait(30)
        then(place, run_directories_path)
        progress.go_on.set()
        with pytest.raises(GobblerError):
            running.result(30)
        with pytest.raises(Cancelled):
            run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
    assert not contents(place.tree)
    assert os.path.exists(place.job.path) is (then is give_up)


def test_the_mode_does_not_depend_on_the_umask_elsewhere(place: Place) -> None:
    before = os.umask(0o077)
    try:
        with run_directories(place.job) as run_directories_path:
            _, made = run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
            put_in_place(made, place.job.tree)
    finally:
        os.umask(before)
    assert (place.tree / "a").stat().st_mode & 0o777 == 0o644


UNKNOWN = LeftCopy(is_closed=True, is_complete=True)


def test_copies_of_an_earlier_attempt_stay_if_they_are_whole(place: Place) -> None:
    with run_directories(place.job) as run_directories_path:
        ingested, made = run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
        put_in_place(made, place.job.tree)
    (place.tree / "d/b").write_bytes(b"damaged")
    kept = (place.tree / "a").stat().st_ino
    earlier = {t.path: EarlierCopy(t, UNKNOWN) for t in ingested}
    with run_directories(place.job) as run_directories_path:
        again, made = run_batch_in_run_directory(
            place.batch(run_directories_path, earlier=earlier), NoProgress()
        )
        assert again == ingested
        assert set(made.names) == {"d/b"}
        put_in_place(made, place.job.tree)
    assert contents(place.tree) == WHOLE
    assert (place.tree / "a").stat().st_ino == kept


class EndsAfter(NoProgress):
    """Ends a run after so many bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def advance(self, files: int, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise Cancelled("enough")


def test_one_run_goes_on_with_a_large_copy_that_another_has_begun(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hashing, piece_record):
        monkeypatch.setattr(module, "CHUNK", 4096)
    monkeypatch.setattr(piece_record, "PIECE_BYTES", 4096)
    monkeypatch.setattr(piece_record, "RECORDED_BYTES", 4096)
    monkeypatch.setattr(piece_record, "has_ended", lambda *_: True)
    (place.path / "a").write_bytes(large := os.urandom(50_000))
    place.files["a"] = len(large)
    top = place.job.path
    with run_directories(place.job) as path, pytest.raises(Cancelled):
        run_batch_in_run_directory(place.batch(path, workspace=top), EndsAfter(30_000))
    with run_directories(place.job) as path:
        with pytest.raises(Cancelled):
            run_batch_in_run_directory(place.batch(path, workspace=top), EndsAfter(30_000))
        partial = partial_copies(top, [top], place.files)
        assert partial["a"].ends[-1].size > 25_000
    with run_directories(place.job) as path:
        batch = place.batch(path, workspace=top, partial=partial)
        (first, made), (second, _) = (
            run_batch_in_run_directory(batch, NoProgress()) for _ in range(2)
        )
        assert [file[:4] for file in first] == [file[:4] for file in second]
        put_in_place(made, place.job.tree)
    assert contents(place.tree) == {**WHOLE, "a": large}
    assert (place.tree / "a").stat().st_ino == partial["a"].inode


def test_what_is_removed_in_the_end_is_removed_by_who_handed_it_out(place: Place) -> None:
    with run_directories(place.job) as run_directories_path:
        ingested, made = run_batch_in_run_directory(place.batch(run_directories_path), NoProgress())
        put_in_place(made, place.job.tree)
    (place.path / "a").write_bytes(b"changed, and damaged in the tree")
    (place.tree / "a").write_bytes(b"???")
    with run_directories(place.job) as run_directories_path:
        stale = {t.path: EarlierCopy(t, UNKNOWN) for t in ingested}
        _, made = run_batch_in_run_directory(
            place.batch(run_directories_path, earlier=stale), NoProgress()
        )
        assert made.drop == ["a"]
        assert (place.tree / "a").read_bytes() == b"???"
        put_in_place(made, place.job.tree)
    assert (place.tree / "a").read_bytes() == b"changed, and damaged in the tree"


class Twice(Executor):
    """Runs everything twice, and gives the result of the second run, as if the first had died."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        fn(*args, **kwargs)
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("kind", [Twice, lambda: ProcessPoolExecutor(2)])
@pytest.mark.parametrize("adopt", [False, True])
def test_a_tree_is_built_by_any_executor(
    place: Place, kind: Any, adopt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "LIGHT_BYTES", -1)
    shutil.rmtree(place.tree)
    settings = Settings(str(place.top / "staging"), str(place.top / "registry"), frozenset())
    with AnyExecutor(kind(), conditions_of(settings.staging, settings.registry)) as executor:
        dispatcher = Dispatcher(
            Registry(settings.registry),
            executor,
            2,
            write_out=True,
            workspace=place.job,
            progress=NoProgress(),
            cancel=NeverCancelled(),
        )
        entries, _ = ingest_files(
            dispatcher,
            place.source,
            place.plan(),
            None,
            consume=adopt,
            adopt=adopt,
        )
    assert set(entries) == set(WHOLE)
    assert contents(place.tree) == WHOLE
    assert set(os.listdir(place.job.path)) == {"tree", "taken"}


def refuse(batch: object, progress: Progress) -> list[IngestedFile]:
    raise Refused(f"{batch} is wrong", hint="Mend it.", fields={"problems": ["x"]})


def fail(batch: object, progress: Progress) -> list[IngestedFile]:
    raise ZeroDivisionError("in the batch")


def interrupt(batch: object, progress: Progress) -> list[IngestedFile]:
    raise KeyboardInterrupt


def die(batch: object, progress: Progress) -> list[IngestedFile]:
    os._exit(1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("staging", "registry"):
        (tmp_path / name).mkdir()
    return Settings(str(tmp_path / "staging"), str(tmp_path / "registry"), frozenset())


@pytest.mark.usefixtures("importable")
def test_errors_arrive_as_what_they_are(settings: Settings) -> None:
    with AnyExecutor(
        ProcessPoolExecutor(1), conditions_of(settings.staging, settings.registry)
    ) as executor:
        refused = executor.submit(refuse, "this", NoProgress()).exception(60)
        assert isinstance(refused, Refused)
        assert refused.answer() == {
            "status": "ERROR",
            "reason": "this is wrong. Mend it.",
            "code": "invalid-request",
            "problems": ["x"],
        }
        failed = executor.submit(fail, "this", NoProgress()).exception(60)
        assert isinstance(failed, Fault)
        assert "ZeroDivisionError: in the batch" in failed.reason
        interrupted = executor.submit(interrupt, "this", NoProgress()).exception(60)
        assert isinstance(interrupted, Fault)
        assert interrupted.code == Code.EXECUTOR_BROKEN
        died = executor.submit(die, "this", NoProgress()).exception(60)
        assert isinstance(died, Fault)
        assert died.code == Code.EXECUTOR_BROKEN
        assert "memory" in died.hint
        with pytest.raises(Fault, match="is broken") as again:
            executor.submit(refuse, "this", NoProgress())
        assert again.value.answer() == died.answer()


def test_an_executor_that_was_shut_down_is_no_failure_of_the_service(settings: Settings) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    executor = AnyExecutor(pool, conditions_of(settings.staging, settings.registry))
    with pytest.raises(Fault, match="takes no more work") as caught:
        executor.submit(refuse, "this", NoProgress())
    assert caught.value.code == Code.EXECUTOR_BROKEN


def test_what_is_given_up_need_not_be_waited_for(settings: Settings) -> None:
    class Never(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return Future()

    future = AnyExecutor(Never(), conditions_of(settings.staging, settings.registry)).submit(
        refuse, "this", NoProgress()
    )
    assert future.cancel()
    assert future.cancelled()


@pytest.mark.parametrize("what", ["version", "account", "directory", "another directory"])
def test_a_process_that_differs_gets_an_error(
    settings: Settings, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, uid, directories = conditions_of(settings.staging, settings.registry)
    expected = {
        "version": "the service 0.0.0",
        "account": f"the service as user ID {uid + 54321}",
        "directory": "can't see",
        "another directory": "sees another directory at",
    }[what]
    if what == "version":
        version = "0.0.0"
    elif what == "account":
        uid += 54321
    else:
        shutil.rmtree(settings.staging)
        if what == "another directory":
            with suppress(FileExistsError):
                Path(settings.staging + "2").mkdir()
            Path(settings.staging).symlink_to(settings.staging + "2")
            directories = ((settings.staging, directories[0][1] + 10**6), directories[1])
    with pytest.raises(Fault, match=expected) as caught:
        run_there((version, uid, directories), b"not even looked at")
    assert caught.value.hint
    assert not remote_executor._met & {(version, uid, directories)}
