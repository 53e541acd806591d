"""Hand files on between processes, without waiting for locks.

>>> from gocept.filestore import FileStore  # doctest: +SKIP
>>> store = FileStore("/var/spool/mine")  # doctest: +SKIP
>>> store.prepare()  # doctest: +SKIP

See :class:`~gocept.filestore.filestore.FileStore`, and ``docs/filestore.md``.
"""

from gocept.filestore.filestore import FileStore

__all__ = ["FileStore"]
