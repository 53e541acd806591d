"""Open once, follow nothing, and say what it is (protocol, section 9, numbers 6 to 8)."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.errors import Code, Forbidden, Missing, Refused
from gobbler.fs.open import (
    account_name,
    closing,
    exists,
    kind_of,
    open_beneath,
    open_directory,
    open_users_directory,
    open_users_file,
    read_all,
)
from gobbler.fs.record_file import read_file


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[int]:
    """An open directory; its path is ``tmp_path``."""
    with closing(open_directory(str(tmp_path))) as descriptor:
        yield descriptor


def _listen(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


def _linked(path: Path) -> None:
    path.with_name("real").write_bytes(b"x")
    path.symlink_to("real")


def _twice(path: Path) -> None:
    path.write_bytes(b"x")
    os.link(path, path.with_name("again"))


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda path: None, Code.MISSING_REQUEST, "does not exist"),
        (Path.mkdir, Code.NOT_A_FILE, "is a directory"),
        (_linked, Code.SYMBOLIC_LINK, "symbolic link"),
        (lambda path: path.symlink_to("nowhere"), Code.SYMBOLIC_LINK, "symbolic link"),
        (os.mkfifo, Code.NOT_A_FILE, "is a FIFO"),
        (_listen, Code.NOT_A_FILE, "is a socket"),
        (_twice, Code.HARD_LINK, "more than one hard link"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once_and_named(
    staging: int, tmp_path: Path, make: Callable[[Path], object], code: Code, words: str
) -> None:
    make(tmp_path / "it")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Refused, match=words) as caught:
        open_users_file(staging, "it", "request file", "/s")
    assert 'request file "it"' in caught.value.reason
    assert caught.value.code is code
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_a_device_is_not_even_opened(staging: int, tmp_path: Path) -> None:
    os.mknod(tmp_path / "it", 0o20666, os.makedev(1, 5))
    with pytest.raises(Refused, match="character device"):
        open_users_file(staging, "it", "request file", "/s")


def test_a_file_is_opened_with_the_status_of_what_was_opened(staging: int, tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"content")
    descriptor, status = open_users_file(staging, "it", "request file", "/s")
    (tmp_path / "it").rename(tmp_path / "elsewhere")
    (tmp_path / "it").write_bytes(b"something else")
    with closing(descriptor):
        assert os.path.samestat(status, os.stat(tmp_path / "elsewhere"))
        assert os.read(descriptor, 100) == b"content"
        assert not os.get_inheritable(descriptor)


def test_a_file_that_becomes_a_fifo_between_two_looks_never_blocks(
    staging: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it").write_bytes(b"x")
    real = os.open

    def swap(*arguments: object, **options: object) -> int:
        os.unlink(tmp_path / "it")
        os.mkfifo(tmp_path / "it")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(Refused, match="FIFO"):
        open_users_file(staging, "it", "request file", "/s")


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda path: None, Code.MISSING_SOURCE, "does not exist"),
        (lambda path: path.write_bytes(b""), Code.NOT_A_DIRECTORY, "not a directory"),
        (lambda path: path.symlink_to("."), Code.NOT_A_DIRECTORY, "symbolic link"),
        (os.mkfifo, Code.NOT_A_DIRECTORY, "not a directory"),
    ],
)
def test_what_is_no_directory_is_refused_and_named(
    staging: int, tmp_path: Path, make: Callable[[Path], object], code: Code, words: str
) -> None:
    make(tmp_path / "it")
    with pytest.raises(Refused, match=words) as caught:
        open_users_directory(staging, "it", "source directory", "/s")
    assert 'source directory "it"' in caught.value.reason
    assert caught.value.code is code


def test_too_long_a_name_is_the_users_mistake(staging: int) -> None:
    with pytest.raises(Refused, match="too long") as caught:
        open_users_file(staging, "x" * 300, "request file", "/s")
    assert caught.value.code is Code.INVALID_NAME


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, Code.UNREADABLE),
        (errno.EPERM, Code.UNREADABLE),
        (errno.EWOULDBLOCK, Code.FILE_IN_USE),
        (errno.ENXIO, Code.NOT_A_FILE),
        (errno.ELOOP, Code.SYMBOLIC_LINK),
    ],
)
def test_each_way_in_which_opening_fails_has_its_code(
    staging: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: Code
) -> None:
    (tmp_path / "it").write_bytes(b"x")

    def fail(*arguments: object, **options: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(Refused) as caught:
        open_users_file(staging, "it", "request file", "/s")
    assert caught.value.code is code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").write_bytes(b"deep")
    (tmp_path / "a/l").symlink_to("b")
    (tmp_path / "a/b/m").symlink_to("f")
    (tmp_path / "out").symlink_to("/")
    return tmp_path


@pytest.mark.parametrize("path", ["a/b/f", "a/b", "a"])
def test_what_is_beneath_is_opened(staging: int, tree: Path, path: str) -> None:
    with closing(open_beneath(staging, path, os.O_RDONLY)) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), os.stat(tree / path))


@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("a/l/f", {errno.ELOOP, errno.ENOTDIR}),
        ("out/etc", {errno.ELOOP, errno.ENOTDIR}),
        ("a/b/m", {errno.ELOOP}),
        ("out", {errno.ELOOP}),
        ("a/b/f/g", {errno.ENOTDIR}),
        ("a/x/f", {errno.ENOENT}),
        ("", {errno.ENOENT}),
    ],
)
def test_no_link_is_followed_at_any_depth(
    staging: int, tree: Path, path: str, numbers: set[int]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        open_beneath(staging, path, os.O_RDONLY)
    assert caught.value.errno in numbers
    assert len(os.listdir("/proc/self/fd")) == before


def test_walking_down_leaves_no_descriptor_open(staging: int, tmp_path: Path) -> None:
    deep = "/".join("d" * 50)
    (tmp_path / deep).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    os.close(open_beneath(staging, deep, os.O_RDONLY))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5000])
def test_no_more_is_read_than_the_limit_and_one_byte(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    with closing(os.open(tmp_path / "f", os.O_RDONLY)) as descriptor:
        assert len(read_all(descriptor, 100)) == min(size, 101)


def test_an_account_is_called_by_its_login() -> None:
    assert account_name(0, "it") == "root"
    words = "it belongs to user ID 54321, which has no account"
    with pytest.raises(Forbidden, match=words) as caught:
        account_name(54_321, "it")
    assert caught.value.code is Code.NO_ACCOUNT


def test_a_file_of_our_own_that_is_missing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    assert read_file(str(tmp_path / "f"), "w") == b"x"
    for path in ("g", "f/g", "d/g"):
        with pytest.raises(Missing, match="w does not exist"):
            read_file(str(tmp_path / path), "w")


def test_what_can_not_be_read_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    assert exists(str(tmp_path / "dangling"))
    assert not exists(str(tmp_path / "absent"))
    assert not exists(str(tmp_path / "dangling/below"))

    def fail(path: str) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(OSError, match="Input/output error"):
        exists(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (stat.S_IFREG, "a regular file"),
        (stat.S_IFDIR, "a directory"),
        (stat.S_IFLNK, "a symbolic link"),
        (stat.S_IFIFO, "a FIFO"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFBLK, "a block device"),
        (0, "neither a file nor a directory"),
    ],
)
def test_kinds_are_reported_in_plain_words(mode: int, words: str) -> None:
    assert kind_of(mode | 0o644) == words


@pytest.mark.parametrize("opener", [open_users_file, open_users_directory])
def test_what_can_not_be_read_is_closed_again(
    staging: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    opener: Callable[[int, str, str, str], tuple[int, os.stat_result]],
) -> None:
    (tmp_path / "f").touch() if opener is open_users_file else (tmp_path / "f").mkdir()

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        with pytest.raises(OSError, match="error") as caught:
            opener(staging, "f", "thing", "/s")
    assert caught.value.filename == "f"
    assert os.listdir("/proc/self/fd") == before
