"""The store itself; it lives in :mod:`gobbler.spool.filestore`."""

from gobbler.spool.filestore import FileStore
from gocept.filestore.interfaces import IFileStore, declare

declare(FileStore)

__all__ = ["FileStore", "IFileStore"]
