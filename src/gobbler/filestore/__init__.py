"""Work that is handed on in files.

:class:`FileStore` is of use on its own, in any project; see ``docs/filestore.md``.
"""

from gobbler.filestore.claim import Claim, ClaimLost
from gobbler.filestore.names import unique_name
from gobbler.filestore.store import FileStore

__all__ = ["Claim", "ClaimLost", "FileStore", "unique_name"]
