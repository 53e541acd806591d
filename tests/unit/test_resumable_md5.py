"""An MD5 whose state is kept, and continued in another place."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.fs import resumable_md5
from gobbler.fs.resumable_md5 import ResumableMd5, is_available


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    resumable_md5._library.cache_clear()
    yield
    resumable_md5._library.cache_clear()


available = pytest.mark.skipif(not is_available(), reason="this Python has it built in")


@available
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_it_is_the_md5_wherever_it_was_kept(pieces: list[bytes]) -> None:
    digest = ResumableMd5()
    whole = b""
    for piece in pieces:
        digest.update(piece)
        whole += piece
        assert digest.hexdigest() == hashlib.md5(whole).hexdigest()
        digest = ResumableMd5(digest.kept())
    assert digest.hexdigest() == hashlib.md5(whole).hexdigest()


@available
def test_it_takes_every_kind_of_memory() -> None:
    data = bytes(range(256)) * 16
    with mmap.mmap(-1, len(data)) as mapped:
        mapped.write(data)
        digest = ResumableMd5()
        with memoryview(mapped) as view, view[:100] as first, view[100:] as rest:
            digest.update(first)
            digest.update(rest)
        digest.update(memoryview(data))
        digest.update(bytearray(data))
        digest.update(memoryview(b""))
        digest.update(bytearray())
    assert digest.hexdigest() == hashlib.md5(data * 3).hexdigest()


@available
@pytest.mark.parametrize("kept", ["x", "00", "ff" * 92, "00" * 93])
def test_what_is_no_state_is_refused(kept: str) -> None:
    with pytest.raises(ValueError, match=r"state|hex"):
        ResumableMd5(kept)


@available
def test_a_library_that_keeps_it_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(ctypes.Structure):
        _fields_ = (("chain", ctypes.c_uint32 * 2), ("count", ctypes.c_uint))

    monkeypatch.setattr(resumable_md5, "_Context", Longer)
    assert not is_available()
    with pytest.raises(ValueError, match="can't keep"):
        ResumableMd5()


def test_where_md5_is_forbidden_it_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_hashlib.get_fips_mode", lambda: 1)
    assert not is_available()
