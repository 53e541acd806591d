"""The index of links and contents: a cache of what all manifests of a registry say.

It is a file of SQLite on a local disk, made from the registry alone and never the source of
truth. What it answers only *nominates* versions: whoever asks reads the manifests of these.
"""

from gobbler.index.index import Index
from gobbler.index.search import Search

__all__ = ["Index", "Search"]
