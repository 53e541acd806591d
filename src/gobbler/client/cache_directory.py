"""The cache as users see it: list, verify and prune what was fetched."""

from __future__ import annotations

from collections.abc import Iterator

from gobbler.client.cache.cache import cache_errors
from gobbler.client.cache.entries import CacheEntry, Damage, Verifier, entries
from gobbler.client.cache.prune import PruneResult, prune, remove
from gobbler.client.connection import Connection
from gobbler.client.handle import html_of


class CacheDirectory:
    """The directory for what is fetched over HTTP, from whichever service.

    Asks no service. ``os.fspath()`` of it is its path.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def path(self) -> str:
        """The path of the directory, which may not exist yet."""
        return self._connection.cache_directory

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<CacheDirectory {self.path}>"

    def _repr_html_(self) -> str:
        return html_of(self, self.path, "this machine")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheDirectory) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def entries(self) -> list[CacheEntry]:
        """Everything in the cache, by service and path."""
        with cache_errors(self.path):
            return entries(self.path)

    def verify(self) -> Iterator[Damage]:
        """Read everything in the cache, and yield what is no longer as it was fetched.

        Only files that a manifest lists can be verified. To repair the cache, give the entries
        to :meth:`remove` and fetch them again.
        """
        verifier = Verifier()
        for entry in self.entries():
            with cache_errors(self.path):
                yield from verifier.damage(entry)

    def remove(self, *doomed: CacheEntry, dry_run: bool = False) -> PruneResult:
        """Remove entries from the cache."""
        with cache_errors(self.path):
            return remove(self.path, doomed, dry_run=dry_run)

    def prune(self, older_than: float, *, dry_run: bool = False) -> PruneResult:
        """Remove what was not used for ``older_than`` seconds, and return what was removed.

        With ``dry_run`` nothing is removed. Files that a process has open stay readable for it.
        """
        with cache_errors(self.path):
            return prune(self.path, older_than, dry_run=dry_run)
