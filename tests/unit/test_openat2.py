"""Opening without following links: in one call where the kernel has it, else step by step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.fs import open as opening
from gobbler.fs.open import closing, open_beneath, open_directory, opener, read_link


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/ö").write_text("content")
    (tmp_path / "a/b/link").symlink_to("ö")
    (tmp_path / "a/there").symlink_to("b")
    with closing(open_directory(str(tmp_path))) as opened:
        yield opened


@pytest.fixture(params=["at once", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    opener.cache_clear()
    if request.param == "step by step":

        def forbidden(*arguments: object) -> int:
            opening.ctypes.set_errno(errno.EPERM)
            return -1

        monkeypatch.setattr(opening, "_syscall", forbidden)
    found = opener()
    if request.param == "at once" and found is open_beneath:
        pytest.skip("this kernel has no openat2")
    assert (found is open_beneath) == (request.param == "step by step")
    yield request.param
    opener.cache_clear()


@pytest.mark.usefixtures("way")
def test_opening(directory: int) -> None:
    with closing(opener()(directory, "a/b/ö", os.O_RDONLY)) as opened:
        assert os.read(opened, 100) == b"content"
        assert not os.get_inheritable(opened)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("a/b/link", {errno.ELOOP}),
        ("a/there/ö", {errno.ELOOP, errno.ENOTDIR}),
        ("a/b/none", {errno.ENOENT}),
        ("a/b/ö/deeper", {errno.ENOTDIR}),
        ("a/" + "n" * 300, {errno.ENAMETOOLONG}),
    ],
)
def test_what_can_not_be_opened(directory: int, path: str, numbers: set[int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        opener()(directory, path, os.O_RDONLY)
    assert caught.value.errno in numbers
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("way")
def test_reading_links(directory: int) -> None:
    assert read_link(directory, "a/b/link") == "ö"
    assert read_link(directory, "a/there") == "b"
    for path, numbers in {
        "a/there/link": (errno.ELOOP, errno.ENOTDIR),
        "a/b/ö": (errno.EINVAL,),
        "a/b/none": (errno.ENOENT,),
    }.items():
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
            read_link(directory, path)
        assert caught.value.errno in numbers
