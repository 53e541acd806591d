"""Looking after the cache: the calls of a client that are about what it has fetched."""

from __future__ import annotations

from collections.abc import Iterator

from gobbler.client.cache.cache import cache_errors
from gobbler.client.cache.entries import CacheEntry, Damage, Verifier, entries
from gobbler.client.cache.prune import PruneResult, prune, remove
from gobbler.client.calls.site import Site


class Caching(Site):
    """What may be done with the cache directory; no service is asked.

    All of these are about the whole directory, whichever service its files are from.
    """

    def cached(self) -> list[CacheEntry]:
        """All that was fetched into the cache, by service and path."""
        with cache_errors(self.cache):
            return entries(self.cache)

    def verify_cache(self) -> Iterator[Damage]:
        """Read all that is in the cache and tell, one by one, what is not as it was fetched.

        That is found out for files that a manifest tells of. To mend it, give the entries
        to :meth:`remove_cached` and fetch them again.
        """
        verifier = Verifier()
        for entry in self.cached():
            with cache_errors(self.cache):
                yield from verifier.damage(entry)

    def remove_cached(self, *doomed: CacheEntry, dry_run: bool = False) -> PruneResult:
        """Remove entries from the cache."""
        with cache_errors(self.cache):
            return remove(self.cache, doomed, dry_run=dry_run)

    def prune_cache(self, older_than: float, *, dry_run: bool = False) -> PruneResult:
        """Remove from the cache what was not used for ``older_than`` seconds.

        With ``dry_run`` nothing is removed; the answer tells what would be. Files that
        somebody has open stay readable for them.
        """
        with cache_errors(self.cache):
            return prune(self.cache, older_than, dry_run=dry_run)
