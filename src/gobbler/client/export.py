"""Make a tree for the user: a copy of fetched files, or a clone made of symlinks."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat

from gobbler.client.address import listed_path
from gobbler.client.cache.entries import files_below
from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.atomic_write import NoReplaceUnsupported, rename_new
from gobbler.fs.directories import make_directories
from gobbler.fs.hash import FICLONE
from gobbler.fs.open import DIRECTORY, Beneath, closing, enter_directory, kind_of, open_directory
from gobbler.fs.os_errors import raising_fault
from gobbler.fs.removal import remove
from gobbler.fs.space import check_space
from gobbler.fs.sparse import allocated, copy_parts
from gobbler.model.names import VersionKey, is_internal
from gobbler.model.progress import NoProgress
from gobbler.model.records import Manifest

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def export(source: str, destination: str) -> str:
    """Copy the file or directory ``source`` to ``destination``; return the path of the copy.

    If ``destination`` is a directory, a file is copied into it. The copy of a directory, without
    the files of the service, becomes ``destination``, which must be absent or empty. Links become
    files, and holes in files stay holes.

    A new copy is complete, or does not exist. A directory that exists stays the same directory,
    with its mode and its mount: the copy is made in a hidden directory in it, and only then moved
    up. Nothing that another user can put in the way is followed.
    """
    is_file = os.path.isfile(source)
    if is_file and os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(source))
    destination = _resolved(destination)
    check_free(destination)
    with raising_fault("copy to", destination):
        check_space(_existing(destination), _space(source), f"a copy of {quoted(source)}")
        if os.path.isdir(destination):
            with closing(open_directory(destination)) as directory:
                _fill(source, directory, destination)
        else:
            parent, name = os.path.split(destination)
            make_directories(parent)
            with closing(enter_directory(parent)) as directory:
                _make(source, directory, name, destination, is_file=is_file)
    return destination


def _existing(path: str) -> str:
    """The path itself, or the nearest directory above it that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _space(source: str) -> int:
    if not os.path.isdir(source):
        return allocated(os.stat(source))
    return sum(allocated(file.stat()) for file in files_below(source))


def check_free(destination: str) -> None:
    """Refuse a ``destination`` that exists already, except an empty directory."""
    empty = os.path.isdir(destination) and not _names(destination)
    if os.path.lexists(destination) and not empty:
        raise _exists(destination)


def _exists(destination: str) -> Refused:
    return Refused(
        f"{quoted(destination)} exists already",
        code=Code.DESTINATION_EXISTS,
        hint="Name another destination, or remove it first. Nothing is overwritten.",
    )


def _names(directory: str | int) -> list[str]:
    """What is in a directory, except what stands in the root of every new filesystem."""
    return [name for name in os.listdir(directory) if name != "lost+found"]


def _resolved(destination: str) -> str:
    """The absolute path of ``destination``; of a link to a directory that of the directory."""
    if os.path.isdir(destination):
        return os.path.realpath(destination)
    parent, name = os.path.split(destination.rstrip("/") or "/")
    # Not as text: `..` after a link to a directory leads elsewhere.
    return os.path.join(os.path.realpath(parent), name)


def _make(source: str, directory: int, name: str, destination: str, *, is_file: bool) -> None:
    """Copy ``source`` to the new ``name`` in an open directory."""
    beside = f".{name[:200]}-{secrets.token_hex(8)}"
    try:
        if is_file:
            _copy_file(source, directory, beside)
        else:
            os.mkdir(beside, dir_fd=directory)
            with closing(os.open(beside, DIRECTORY, dir_fd=directory)) as target:
                _copy_tree(source, target)
        try:
            rename_new(f"/proc/self/fd/{directory}/{beside}", f"/proc/self/fd/{directory}/{name}")
        except FileExistsError:
            raise _exists(destination) from None
        except (NoReplaceUnsupported, FileNotFoundError):  # or there is no /proc
            check_free(destination)
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        remove(directory, beside)
        raise


def _fill(source: str, directory: int, destination: str) -> None:
    """Copy all that is in ``source`` into an open directory, which is empty."""
    hidden = f".gobbler-{secrets.token_hex(8)}"
    moved: list[str] = []
    try:
        os.mkdir(hidden, 0o700, dir_fd=directory)
        with closing(os.open(hidden, DIRECTORY, dir_fd=directory)) as inner:
            _copy_tree(source, inner)
            if set(_names(directory)) != {hidden}:
                raise _exists(destination)
            for name in os.listdir(inner):
                os.rename(name, name, src_dir_fd=inner, dst_dir_fd=directory)
                moved.append(name)
        os.rmdir(hidden, dir_fd=directory)
    except BaseException:
        for name in (*moved, hidden):
            remove(directory, name)
        raise


def _copy_tree(source: str, target: int) -> None:
    """Copy what is in ``source``, without the files of the service, into an open directory."""
    beneath = Beneath(target)
    try:
        pending = [""]
        while pending:
            path = pending.pop()
            with os.scandir(f"{source}/{path}") as entries:
                listed = [
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if not is_internal(entry.name)
                ]
            for name, is_directory in listed:
                if is_directory:
                    os.mkdir(name, dir_fd=beneath.enter(path))
                    pending.append(f"{path}/{name}".lstrip("/"))
                else:
                    _copy_file(f"{source}/{path}/{name}", beneath.enter(path), name)
    finally:
        beneath.close()


def _copy_file(source: str, directory: int, name: str) -> None:
    """Copy the content of the file ``source`` to the new file ``name`` in an open directory."""
    with closing(os.open(source, _READ)) as reader:
        status = os.fstat(reader)
        if not stat.S_ISREG(status.st_mode):
            raise Fault(
                f"{quoted(source)} is {kind_of(status.st_mode)}, not a file", code=Code.NOT_A_FILE
            )
        # Without the mode: files in the cache are read-only, the copy is not.
        with closing(os.open(name, _MAKE, 0o666, dir_fd=directory)) as writer:
            try:
                fcntl.ioctl(writer, FICLONE, reader)
            except OSError:
                copied = copy_parts(reader, writer, NoProgress(), lambda _: None)
                if copied != status.st_size:
                    raise Fault(
                        f"{quoted(source)} changed while it was copied",
                        code=Code.CONTENT_CHANGED,
                    ) from None


def clone(registry: str, key: VersionKey, manifest: Manifest, destination: str) -> None:
    """Make the directories of a version at ``destination``, and a symlink for every file.

    The links are absolute, so you can move the clone. Raises ``FileExistsError`` if a link's
    path exists already; the links that were made before stay.
    """
    version = os.path.join(os.path.abspath(registry), key.path)
    make_directories(destination)
    for path, entry in manifest.items():
        target = os.path.join(destination, listed_path(path))
        if entry.is_directory:
            make_directories(target)
        else:
            make_directories(os.path.dirname(target))
            os.symlink(os.path.join(version, path), target)
