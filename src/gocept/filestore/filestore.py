"""``FileStore`` at its old import path; see :mod:`gobbler.filestore.store`."""

from gobbler.filestore.store import FileStore
from gocept.filestore.interfaces import IFileStore, declare

declare(FileStore)

__all__ = ["FileStore", "IFileStore"]
