"""The index of links and contents: a cache of what all manifests of a registry say.

The index is an SQLite file on a local disk, made from the registry. It is never the source of
truth: it only suggests versions, and the caller reads their manifests.
"""

from gobbler.index.index import Index
from gobbler.index.search import Search

__all__ = ["Index", "Search"]
