"""A walk through the projects, assets and versions of a registry.

What is nobody's project, asset or version is left out and reported, and so is what can't be read:
one such entry never ends the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gobbler.client.source import Listing, Source
from gobbler.errors import GobblerError, Missing, Unreachable, quoted
from gobbler.model.names import AssetKey, VersionKey, is_internal, name_problem
from gobbler.rules.foreign import is_usual, part_problem, project_problem


class SkippedEntry(NamedTuple):
    """A directory that was left out: its ``path`` in the registry, and the ``problem`` with it.

    ``is_wrong``: it should not be there, or can't be read although it may be a project. Otherwise
    it is one of those that filesystems and file servers make.
    """

    path: str
    problem: str
    is_wrong: bool

    def __str__(self) -> str:
        return f"{quoted(self.path)}: {self.problem}"

    @property
    def names(self) -> list[str]:
        """The names in the path; bytes that are not UTF-8, which JSON can't hold, are escaped."""
        return self.path.encode("utf-8", "backslashreplace").decode().split("/")


def _ignore(_: SkippedEntry) -> None:
    return


class RegistryWalk:
    """A walk through the registry that ``source`` reads.

    ``ask`` calls a listing, and may repeat it if there is no answer. ``skipped`` has what was left
    out so far; each entry is also passed to ``report`` at once.
    """

    def __init__(
        self,
        source: Source,
        *,
        ask: Callable[[Callable[[], Listing]], Listing] = lambda call: call(),
        report: Callable[[SkippedEntry], None] = _ignore,
    ) -> None:
        self._source = source
        self._ask = ask
        self._report = report
        self.skipped: list[SkippedEntry] = []

    def projects(self) -> list[str]:
        """The names of what may be a project, in order; :meth:`assets` tells.

        Raises what listing the registry raises.
        """
        return self._valid("", self._list("."))

    def assets(self, project: str, *, is_named: bool = False) -> list[AssetKey] | None:
        """The assets of a project; ``None`` if ``project`` is none, or can't be read.

        ``is_named``: the user has named it, so it must exist. Otherwise it may have been deleted
        meanwhile. Raises :class:`~gobbler.errors.Missing`.
        """
        listing = self._inside(project, is_named=is_named)
        if listing is None:
            return None
        if not is_named and (problem := project_problem(listing.files)) is not None:
            self._skip(project, problem, is_wrong=False)
            return None
        found = [AssetKey(project, name) for name in self._valid(project, listing)]
        return [key for key in found if not is_usual(key.asset) or self._is_ours(key.path)]

    def versions(self, asset: AssetKey, *, is_named: bool = False) -> list[VersionKey]:
        """The versions of an asset; ``is_named``: see :meth:`assets`."""
        listing = self._inside(asset.path, is_named=is_named)
        if listing is None:
            return []
        found = [asset.version(name) for name in self._valid(asset.path, listing)]
        return [key for key in found if not is_usual(key.version) or self._is_ours(key.path)]

    def all_versions(self, project: str = "", asset: str = "") -> Iterator[VersionKey]:
        """The versions of the registry, of ``project``, or of its ``asset``."""
        for name in [project] if project else self.projects():
            if asset:
                yield from self.versions(AssetKey(name, asset), is_named=True)
                continue
            for key in self.assets(name, is_named=bool(project)) or ():
                yield from self.versions(key)

    def _is_ours(self, path: str) -> bool:
        """Whether a directory in a project, with a name as sites have them, is the service's."""
        listing = self._inside(path, is_named=False)
        if listing is None:
            return False
        if (problem := part_problem(listing.files)) is None:
            return True
        self._skip(path, problem, is_wrong=False)
        return False

    def _list(self, path: str) -> Listing:
        return self._ask(lambda: self._source.listing(path))

    def _inside(self, path: str, *, is_named: bool) -> Listing | None:
        try:
            return self._list(path)
        except Unreachable:
            raise
        except Missing:
            if is_named:
                raise
        except (GobblerError, OSError) as error:
            problem = str(getattr(error, "strerror", None) or error)
            self._skip(path, problem, is_wrong=is_named or not is_usual(path.rpartition("/")[2]))
        return None

    def _valid(self, above: str, listing: Listing) -> list[str]:
        found = []
        for name in sorted(listing.directories):
            if is_internal(name):
                continue
            problem = name_problem(name)
            if problem is None:
                found.append(name)
                continue
            self._skip(f"{above}/{name}" if above else name, f"its name {problem}", is_wrong=True)
        return found

    def _skip(self, path: str, problem: str, *, is_wrong: bool) -> None:
        entry = SkippedEntry(path, problem, is_wrong)
        if entry not in self.skipped:
            self.skipped.append(entry)
            self._report(entry)
