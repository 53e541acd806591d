"""What was downloaded once and need not be again.

::

    {cache}/{URL of the service, quoted}/
        files/{path in the registry}                     files that were fetched alone
        trees/{hash of the path}/{path in the registry}  directories, whole
        temp/{random}/                                   what is under way

Everything is built below ``temp`` and renamed, so what has its final name is complete,
whatever was killed when; any number of processes may use one cache without a lock. Every
directory has a tree of its own, because one that was fetched whole must not be confused
with one in which only a part has been fetched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import platformdirs

from gobbler.client.download import download_directory, download_file
from gobbler.client.http import Http
from gobbler.client.progress import Progress
from gobbler.client.workers import Stop
from gobbler.disk.flushing import Durability, flush_filesystem
from gobbler.errors import Fault

ABANDONED_SECONDS = 30 * 24 * 3600
"""What has been under way for longer was left behind by a process that was killed."""


def default_cache() -> str:
    """Where downloads go unless told otherwise: ``$GOBBLER_CACHE``, or the user's data."""
    return os.environ.get("GOBBLER_CACHE") or platformdirs.user_data_dir("gobbler")


class Cache:
    """The part of the cache directory ``root`` that belongs to the service ``http``."""

    def __init__(self, root: str, http: Http) -> None:
        self._http = http
        self._root = os.path.join(root, quote_plus(http.url))

    def file(self, path: str, *, overwrite: bool, progress: Progress) -> str:
        """The local copy of the registry's file ``path``, fetched unless it is here.

        With ``overwrite`` it is fetched in any case; whoever has the old copy open keeps it.
        """
        target = os.path.join(self._root, "files", path)
        if not overwrite and os.path.isfile(target):
            return target
        with self._workplace() as temp:
            progress.expect(1, None)
            download_file(self._http, path, temp / "file", progress, Stop())
            _flush(temp)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            (temp / "file").replace(target)
        return target

    def directory(self, path: str, *, overwrite: bool, concurrent: int, progress: Progress) -> str:
        """The local copy of the registry's directory ``path``, complete.

        If it is here no request is made, whatever has become of it since. With
        ``overwrite`` it is fetched in any case; the old tree stays until the new one is whole.
        """
        digest = hashlib.sha256(path.encode()).hexdigest()[:24]
        tree = os.path.join(self._root, "trees", digest)
        target = os.path.join(tree, path)
        if not overwrite and os.path.isdir(target):
            return target
        with self._workplace() as temp:
            new = temp / "new"
            (new / path).mkdir(parents=True)
            download_directory(self._http, path, new / path, concurrent, progress)
            _flush(temp)
            os.makedirs(os.path.dirname(tree), exist_ok=True)
            _put(new, Path(tree), path, overwrite=overwrite)
        return target

    @contextlib.contextmanager
    def _workplace(self) -> Iterator[Path]:
        """A fresh directory on the filesystem of the cache, gone afterwards."""
        temp = Path(self._root, "temp")
        temp.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(temp)
        workplace = temp / secrets.token_hex(8)
        workplace.mkdir()
        try:
            yield workplace
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def _put(new: Path, tree: Path, path: str, *, overwrite: bool) -> None:
    """Rename ``new`` to ``tree``; what is there moves beside ``new``.

    Without ``overwrite``, a whole tree that another process has put there in the meantime
    is as good and stays.
    """
    for attempt in range(100):
        if overwrite or not (tree / path).is_dir():
            with contextlib.suppress(FileNotFoundError):
                tree.rename(new.with_name(f"old{attempt}"))
        try:
            new.rename(tree)
        except OSError as error:
            # Whether the tree is still there says nothing: another may just have moved it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not overwrite and (tree / path).is_dir():
                return
        else:
            return
    raise Fault(f"too many processes replace {tree} at the same time")


def _flush(path: Path) -> None:
    """A power cut must not leave a copy that has its final name but not its content."""
    flush_filesystem(str(path), Durability.FULL)


def _remove_abandoned(temp: Path) -> None:
    for left in temp.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
