"""Work that is handed on in files.

:class:`FileStore` is of use on its own, in any project; see ``docs/filestore.md``.
"""

from gobbler.spool.claims import Claim, ClaimLost
from gobbler.spool.filestore import FileStore
from gobbler.spool.naming import unique_name

__all__ = ["Claim", "ClaimLost", "FileStore", "unique_name"]
