"""FileStore: processes hand files on to each other through a directory.

The package stands on its own, for use in any project: it needs :mod:`gobbler.fs` and
:mod:`gobbler.errors`, and no other part of the registry. The manual is ``docs/filestore.md``.
"""

from gobbler.filestore.claim import Claim, ClaimLost
from gobbler.filestore.names import unique_name
from gobbler.filestore.store import FileStore

__all__ = ["Claim", "ClaimLost", "FileStore", "unique_name"]
