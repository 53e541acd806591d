"""Large copies: recorded while they are made, and continued from their last piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.errors import Cancelled
from gobbler.fs import hash as hashing
from gobbler.fs import resumable_md5
from gobbler.model.progress import NoProgress, Progress
from gobbler.transfer import piece_record
from gobbler.transfer.copy_state import SourceState
from gobbler.transfer.large_copy import CopyMade, LargeCopy
from gobbler.transfer.piece_record import PartialCopy, partial_copies
from gobbler.transfer.verifier import Unusable

CHUNK = 16384
CONTENT = os.urandom(10 * CHUNK + 77)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hashing, piece_record):
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    monkeypatch.setattr(hashing, "DIRECT_SIZE", CHUNK)
    monkeypatch.setattr(piece_record, "PIECE_BYTES", 2 * CHUNK)


class Ends(NoProgress):
    """Raises after ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def advance(self, files: int, size: int) -> None:
        self._left -= size
        if self._left <= 0:
            raise Cancelled("enough")


class Desk:
    """Two workspaces: that of an attempt that has ended, and that of the next."""

    def __init__(self, top: Path, *, write_out: bool) -> None:
        self.former, self.workspace = top / "former", top / "workspace"
        self.source = top / "source"
        self.source.write_bytes(CONTENT)
        for workspace in (self.former, self.workspace):
            (workspace / "tree").mkdir(parents=True)
        self.write_out = write_out

    @property
    def copy(self) -> Path:
        return self.workspace / "tree/big"

    def _in(self, workspace: Path, work: Callable[[LargeCopy, int], CopyMade]) -> CopyMade:
        tree = os.open(workspace / "tree", os.O_RDONLY)
        source = os.open(self.source, os.O_RDONLY)
        try:
            state = SourceState.of(os.fstat(source))
            place = LargeCopy(
                *(str(workspace), "big", "tree/big", tree, "big", source, state, self.write_out)
            )
            return work(place, tree)
        finally:
            os.close(tree)
            os.close(source)

    def make(self, progress: Progress) -> CopyMade:
        def work(copy: LargeCopy, tree: int) -> CopyMade:
            target = os.open("big", os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=tree)
            try:
                return copy.make(target, progress)
            finally:
                os.close(target)

        return self._in(self.former, work)

    def begun(self, size: int) -> PartialCopy:
        """A copy that has ended after ``size`` bytes, as the next attempt finds it."""
        with pytest.raises(Cancelled):
            self.make(Ends(size))
        return self.taken()

    def taken(self) -> PartialCopy:
        found = partial_copies(str(self.workspace), [str(self.former)], {"big": len(CONTENT)})
        return found["big"]

    def go_on(self, partial: PartialCopy, progress: Progress | None = None) -> CopyMade:
        watched = progress or NoProgress()
        return self._in(self.workspace, lambda copy, _: copy.go_on(partial, watched))


@pytest.fixture
def writer_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_record, "has_ended", lambda *_: True)


@pytest.fixture(params=[False, True], ids=["to memory", "to disk"])
def desk(tmp_path: Path, request: pytest.FixtureRequest, writer_has_ended: None) -> Desk:
    return Desk(tmp_path, write_out=request.param)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The bytes of each write to a copy."""
    counts: list[int] = []
    for name in ("write", "pwrite"):
        real = getattr(os, name)

        def counting(file: int, data: bytes, *at: int, real: Callable[..., int] = real) -> int:
            count = real(file, data, *at)
            if os.readlink(f"/proc/self/fd/{file}").endswith("/big"):
                counts.append(count)
            return count

        monkeypatch.setattr(os, name, counting)
    return counts


@pytest.fixture(params=["kept", "not kept", "lost"])
def states(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Whether the state of the MD5 can be kept, then can be used; call it between both."""
    if request.param == "not kept":
        monkeypatch.setattr(resumable_md5, "is_available", lambda: False)

    def lose() -> None:
        if request.param == "lost":
            monkeypatch.setattr(resumable_md5, "is_available", lambda: False)

    return lose


@pytest.mark.parametrize("chunks", [3, 8, 11])
def test_a_copy_goes_on_after_its_last_piece(
    desk: Desk, chunks: int, written: list[int], states: Callable[[], None]
) -> None:
    partial = desk.begun(min(chunks * CHUNK, len(CONTENT)))
    inode = partial.inode
    known = (chunks - 1) // 2 * 2 * CHUNK  # the last chunk is not known to be written
    assert partial.ends[-1].size == known
    states()
    written.clear()
    made = desk.go_on(partial)
    assert (made.size, made.md5sum) == (len(CONTENT), MD5)
    assert desk.copy.read_bytes() == CONTENT
    assert desk.copy.stat().st_ino == inode
    assert desk.copy.stat().st_mode & 0o777 == 0o644
    assert sum(written) == len(CONTENT) - known
    assert made.state is not None
    assert set(os.listdir(desk.workspace)) == {"tree", os.path.basename(made.state.record)}


def test_a_whole_copy_that_nobody_has_noted_is_only_read(desk: Desk, written: list[int]) -> None:
    desk.make(NoProgress())
    partial = desk.taken()
    written.clear()
    assert desk.go_on(partial)[:2] == (len(CONTENT), MD5)
    assert written == []


@pytest.mark.parametrize("piece", range(4))
def test_only_a_damaged_piece_is_copied_again(desk: Desk, piece: int, written: list[int]) -> None:
    partial = desk.begun(9 * CHUNK)
    with open(partial.copy, "r+b") as file:
        file.seek(2 * piece * CHUNK + 5)
        file.write(b"damaged")
    written.clear()
    assert desk.go_on(partial)[:2] == (len(CONTENT), MD5)
    assert desk.copy.read_bytes() == CONTENT
    assert sum(written) == len(CONTENT) - 6 * CHUNK


def test_damage_of_copy_and_source_is_found(desk: Desk, states: Callable[[], None]) -> None:
    partial = desk.begun(9 * CHUNK)
    Path(partial.copy).write_bytes(bytes(8 * CHUNK))
    with desk.source.open("r+b") as file:
        file.write(b"damaged")
    states()
    with pytest.raises(Unusable):
        desk.go_on(partial)
    assert [path.name for path in desk.workspace.rglob("*")] == ["tree"]


def test_another_run_of_the_batch_goes_on_with_it(desk: Desk) -> None:
    partial = desk.begun(9 * CHUNK)
    os.rename(partial.copy, desk.workspace / "elsewhere")
    os.unlink(partial.record)
    with pytest.raises(Unusable):
        desk.go_on(partial)
    assert sorted(os.listdir(desk.workspace)) == ["elsewhere", "tree"]


def test_holes_stay_holes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gobbler.fs.sparse.PART", CHUNK)
    with desk.source.open("r+b") as file:
        file.truncate(4096)
        file.truncate(64 * CHUNK)
    size = desk.source.stat().st_size
    with pytest.raises(Cancelled):
        desk.make(Ends(9 * CHUNK))
    former = str(desk.former)
    partial = partial_copies(str(desk.workspace), [former], {"big": size})["big"]
    assert desk.go_on(partial)[:2] == (size, hashlib.md5(desk.source.read_bytes()).hexdigest())
    assert desk.copy.read_bytes() == desk.source.read_bytes()
    assert desk.copy.stat().st_blocks * 512 < 2 * CHUNK


@pytest.mark.parametrize("size", [1, 5 * CHUNK])
def test_it_ends_when_it_is_cancelled(desk: Desk, size: int) -> None:
    partial = desk.begun(9 * CHUNK)
    with pytest.raises(Cancelled):
        desk.go_on(partial, Ends(size))


def test_a_copy_that_this_account_may_not_open_is_not_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = desk.begun(9 * CHUNK)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "not the owner")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(Unusable):
        desk.go_on(partial)
    assert not desk.copy.exists()


def test_a_copy_whose_writer_may_still_live_is_left(tmp_path: Path) -> None:
    desk = Desk(tmp_path, write_out=False)
    with pytest.raises(Cancelled):
        desk.make(Ends(9 * CHUNK))
    assert partial_copies(str(desk.workspace), [str(desk.former)], {"big": len(CONTENT)}) == {}
    assert (desk.former / "tree/big").exists()


RECORDS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda record: b"",
    "garbage": lambda record: b"\xff" * 100,
    "without pieces": lambda record: record.split(b"\n")[0] + b"\n",
    "of zeros after a power cut": lambda record: bytes(len(record)),
    "of another file": lambda record: record.replace(b'"big"', b'"pig"'),
}


@pytest.mark.parametrize("spoil", RECORDS.values(), ids=list(RECORDS))
def test_a_copy_without_a_record_is_left(desk: Desk, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Cancelled):
        desk.make(Ends(9 * CHUNK))
    (record,) = desk.former.glob("*.pieces")
    record.write_bytes(spoil(record.read_bytes()))
    assert partial_copies(str(desk.workspace), [str(desk.former)], {"big": len(CONTENT)}) == {}


@pytest.mark.parametrize("cut", [1, 100, 250])
def test_the_whole_lines_of_a_torn_record_count(desk: Desk, cut: int) -> None:
    with pytest.raises(Cancelled):
        desk.make(Ends(9 * CHUNK))
    (record,) = desk.former.glob("*.pieces")
    record.write_bytes(record.read_bytes()[:-cut])
    assert desk.go_on(desk.taken())[:2] == (len(CONTENT), MD5)


def test_states_that_are_not_those_of_the_checksums_are_not_believed(desk: Desk) -> None:
    partial = desk.begun(9 * CHUNK)
    ends = [end._replace(state=partial.ends[0].state) for end in partial.ends]
    spoiled = PartialCopy(partial.copy, partial.record, partial.inode, partial.source, ends)
    assert desk.go_on(spoiled)[:2] == (len(CONTENT), MD5)


def test_a_full_disk_costs_only_the_record(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(piece_record, "write_all", full)
    assert desk.make(NoProgress())[:2] == (len(CONTENT), MD5)
    assert [path.name for path in desk.former.rglob("*.pieces")] == []


@pytest.mark.parametrize("size", [0, 1 << 20, 1 << 30, 1 << 45])
def test_a_record_stays_small(size: int) -> None:
    piece = piece_record.piece_bytes(size)
    assert size / piece <= piece_record.MOST_PIECES
    assert piece % CHUNK == 0
