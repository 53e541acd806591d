"""Work that is handed on in files."""

from gobbler.spool.filestore import FileStore

__all__ = ["FileStore"]
