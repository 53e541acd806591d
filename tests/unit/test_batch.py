"""One batch of files: each read once, and only if it is what was scanned."""

from __future__ import annotations

import hashlib
import os
import resource
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from gobbler.errors import Cancelled, Refused
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.hash import CHUNK
from gobbler.model.progress import NoProgress
from gobbler.transfer import batch as module
from gobbler.transfer.batch import Batch, DedupCandidate, IngestedFile, run_batch
from gobbler.transfer.ingest import ConfirmBatch, run_confirm_batch
from gobbler.transfer.staged_source import StagedSource

MIB = 1 << 20


class Bench:
    """A source and an empty tree side by side."""

    def __init__(self, top: Path) -> None:
        self.staging, self.tree, self.latest = top, top / "tree", top / "latest"
        self.path = top / "source"
        for directory in (self.path, self.path / "d", self.tree, self.tree / "d", self.latest):
            directory.mkdir()
        status = self.path.stat()
        self.source = StagedSource(str(top), "source", status.st_dev, status.st_ino, status.st_uid)

    def batch(
        self, *paths: str, candidates: dict[str, DedupCandidate] | None = None, adopt: bool = False
    ) -> Batch:
        files = {path: (self.path / path).stat().st_size for path in paths}
        return Batch(self.source, str(self.tree), files, candidates or {}, adopt)

    def candidate(self, path: str, content: bytes) -> dict[str, DedupCandidate]:
        place = self.latest / path.replace("/", "-")
        place.write_bytes(content)
        return {path: (md5(content), str(place))}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


CONTENTS = {
    "nothing": b"",
    "small": b"some bytes",
    "d/just-below": os.urandom(CHUNK - 1),
    "d/just-a-chunk": os.urandom(CHUNK),
    "just-above": os.urandom(CHUNK + 1),
    "large": os.urandom(2 * CHUNK + 12_345),
}


def test_files_are_copied_and_hashed_whatever_their_size(bench: Bench) -> None:
    for path, content in CONTENTS.items():
        (bench.path / path).write_bytes(content)
    for ingested in run_batch(bench.batch(*CONTENTS), NoProgress()):
        content = CONTENTS[ingested.path]
        assert (ingested.size, ingested.md5sum, ingested.same) == (
            len(content),
            md5(content),
            False,
        )
        copy = bench.tree / ingested.path
        assert copy.read_bytes() == content
        assert copy.stat().st_mode & 0o777 == 0o644
        assert copy.stat().st_ino != (bench.path / ingested.path).stat().st_ino


def test_every_byte_of_a_source_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, content in CONTENTS.items():
        (bench.path / path).write_bytes(content)
    count = 0
    for name in ("read", "readv", "pread"):
        real = getattr(os, name)

        def counted(*arguments: object, real: Callable[..., object] = real) -> object:
            nonlocal count
            result = real(*arguments)
            count += result if isinstance(result, int) else len(result)  # type: ignore[arg-type]
            return result

        monkeypatch.setattr(os, name, counted)
    run_batch(bench.batch(*CONTENTS), NoProgress())
    assert count == sum(map(len, CONTENTS.values()))


def test_it_runs_in_another_process(bench: Bench) -> None:
    (bench.path / "d/f").write_bytes(b"content")
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(run_batch, bench.batch("d/f"), NoProgress()).result() == [
            IngestedFile("d/f", 7, md5(b"content"), False, fingerprint_of(bench.path / "d/f"))
        ]
        confirmation = ConfirmBatch(str(bench.tree), {"d/f": (7, str(bench.path / "d/f"))})
        assert pool.submit(run_confirm_batch, confirmation, NoProgress()).result() == ["d/f"]


def fingerprint_of(path: Path) -> Fingerprint:
    status = path.stat()
    return Fingerprint.of(status)


def test_what_is_the_same_as_its_candidate_is_not_copied(bench: Bench) -> None:
    (bench.path / "f").write_bytes(b"the same")
    (ingested,) = run_batch(
        bench.batch("f", candidates=bench.candidate("f", b"the same")), NoProgress()
    )
    assert ingested.same
    assert ingested.md5sum == md5(b"the same")
    assert not (bench.tree / "f").exists()


@pytest.mark.parametrize("other", [b"not same", b"the samE", b"the same and more"])
def test_what_differs_from_its_candidate_is_copied_whatever_the_candidates_md5(
    bench: Bench, other: bytes
) -> None:
    (bench.path / "f").write_bytes(b"the same")
    candidates = {"f": (md5(b"the same"), bench.candidate("f", other)["f"][1])}
    (ingested,) = run_batch(bench.batch("f", candidates=candidates), NoProgress())
    assert not ingested.same
    assert (bench.tree / "f").read_bytes() == b"the same"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: (path.unlink(), path.symlink_to("/"))])
def test_a_candidate_that_is_gone_costs_nothing_but_the_copy(
    bench: Bench, spoil: Callable[[Path], object]
) -> None:
    (bench.path / "f").write_bytes(b"the same")
    candidates = bench.candidate("f", b"the same")
    spoil(Path(candidates["f"][1]))
    (ingested,) = run_batch(bench.batch("f", candidates=candidates), NoProgress())
    assert not ingested.same
    assert (bench.tree / "f").read_bytes() == b"the same"


def test_only_copies_that_are_the_same_byte_for_byte_are_confirmed(bench: Bench) -> None:
    for name, content in (("same", b"abc"), ("differs", b"abd"), ("gone", b"abc")):
        (bench.tree / name).write_bytes(content)
    (bench.latest / "real").write_bytes(b"abc")
    real, absent = str(bench.latest / "real"), str(bench.latest / "absent")
    files = {"same": (3, real), "differs": (3, real), "gone": (3, absent)}
    assert run_confirm_batch(ConfirmBatch(str(bench.tree), files), NoProgress()) == ["same"]
    assert {path.name for path in bench.tree.iterdir()} == {"d", "same", "differs", "gone"}


def changing(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], after: str = "copy_and_hash"
) -> None:
    """Have ``change`` made right after a file has been copied."""
    real = getattr(module, after)

    def wrapped(*arguments: object, **options: object) -> object:
        result = real(*arguments, **options)
        change()
        return result

    monkeypatch.setattr(module, after, wrapped)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: path.write_bytes(b"short"),
        lambda path: os.truncate(path, 0),
        lambda path: os.utime(path, (1, 1)),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    (bench.path / "f").write_bytes(b"ten bytes.")
    changing(monkeypatch, lambda: change(bench.path / "f"))
    with pytest.raises(Refused, match='"f" in the source changed') as caught:
        run_batch(bench.batch("f"), NoProgress())
    assert caught.value.hint


def test_a_file_that_grew_since_it_was_scanned_is_taken_as_it_is_now(bench: Bench) -> None:
    (bench.path / "f").write_bytes(b"before")
    batch = bench.batch("f")
    (bench.path / "f").write_bytes(b"after, and longer")
    (ingested,) = run_batch(batch, NoProgress())
    assert (ingested.size, ingested.md5sum) == (17, md5(b"after, and longer"))


@pytest.mark.parametrize("path", ["f", "d/f", "d"])
@pytest.mark.parametrize("to", ["link", "fifo", "gone"])
def test_what_was_swapped_since_it_was_scanned_is_refused(bench: Bench, path: str, to: str) -> None:
    (bench.path / "f").write_bytes(b"x")
    (bench.path / "d/f").write_bytes(b"x")
    batch = bench.batch("f", "d/f")
    (bench.path / path).rename(bench.staging / "aside")
    if to == "link":
        (bench.path / path).symlink_to(bench.staging / "aside")
    elif to == "fifo":
        os.mkfifo(bench.path / path)
    with pytest.raises(Refused, match=f'"{path}"'):
        run_batch(batch, NoProgress())


@pytest.mark.parametrize("to", ["another directory", "link", "another owner", "nothing"])
def test_a_source_that_was_replaced_is_refused(bench: Bench, to: str) -> None:
    (bench.path / "f").write_bytes(b"x")
    batch = bench.batch("f")
    if to == "another owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(bench.path, 54_321, -1)
    else:
        bench.path.rename(bench.staging / "aside")
    if to == "another directory":
        bench.path.mkdir()
        (bench.path / "f").write_bytes(b"y")
    elif to == "link":
        bench.path.symlink_to("aside")
    with pytest.raises(Refused, match='"source"'):
        run_batch(batch, NoProgress())
    assert not (bench.tree / "f").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_hard_link_to_another_users_file_is_refused(bench: Bench) -> None:
    (bench.path / "f").write_bytes(b"x")
    batch = bench.batch("f")
    os.link(bench.path / "f", bench.path / "g")
    os.chown(bench.path / "f", 54_321, -1)
    with pytest.raises(Refused, match="hard link to another user's file"):
        run_batch(batch, NoProgress())


def test_our_own_file_is_adopted_and_stays_in_the_source(bench: Bench) -> None:
    (bench.path / "f").write_bytes(b"x")
    (bench.path / "f").chmod(0o644)
    (ingested,) = run_batch(bench.batch("f", adopt=True), NoProgress())
    assert ingested.md5sum == md5(b"x")
    assert (bench.tree / "f").samefile(bench.path / "f")


@pytest.mark.parametrize("why", ["two links", "private", "of somebody else"])
def test_any_other_file_is_copied_instead(bench: Bench, why: str) -> None:
    (bench.path / "f").write_bytes(b"x")
    (bench.path / "f").chmod(0o600 if why == "private" else 0o644)
    if why == "two links":
        os.link(bench.path / "f", bench.staging / "again")
    elif why == "of somebody else":
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(bench.path / "f", 54_321, -1)
    mode = (bench.path / "f").stat().st_mode
    run_batch(bench.batch("f", adopt=True), NoProgress())
    assert not (bench.tree / "f").samefile(bench.path / "f")
    assert (bench.tree / "f").stat().st_mode & 0o777 == 0o644
    assert (bench.path / "f").stat().st_mode == mode


def test_a_batch_ends_when_its_tree_is_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANCEL_CHECK_SECONDS", 0.0)
    (bench.path / "f").write_bytes(b"x" * (3 * CHUNK))
    real = os.readv

    def readv(*arguments: object) -> int:
        bench.tree.rename(bench.staging / "discarded") if bench.tree.exists() else None
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "readv", readv)
    with pytest.raises(Cancelled):
        run_batch(bench.batch("f"), NoProgress())


def test_a_large_file_takes_no_more_memory_than_two_chunks(bench: Bench) -> None:
    with (bench.path / "f").open("wb") as handle:
        handle.truncate(256 * MIB)
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        (ingested,) = run_batch(bench.batch("f"), NoProgress())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ingested.size == (bench.tree / "f").stat().st_size == 256 * MIB
    assert peak < 2 * CHUNK + 8 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # in KiB
