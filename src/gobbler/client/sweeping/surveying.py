"""What there is to go over, in a registry, a project or an asset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from gobbler.client.calls.reads import Reads
from gobbler.errors import Missing
from gobbler.names import AssetKey, VersionKey, name_problem


class Odd(NamedTuple):
    """A directory that can be no project, asset or version, and why."""

    project: str
    asset: str
    version: str
    problem: str


class Survey:
    """The projects, assets and versions in ``project`` and ``asset``, or all if they are empty.

    ``ask`` is given calls that ask for a listing. What is deleted meanwhile is left out.
    Raises :class:`~gobbler.errors.Missing` if ``project`` or ``asset`` is not there.
    """

    def __init__(
        self,
        client: Reads,
        project: str,
        asset: str,
        ask: Callable[[Callable[[], list[str]]], list[str]],
    ) -> None:
        self._client = client
        self._ask = ask
        self.odd: list[Odd] = []
        self.projects = [project] if project else self._named(client.projects)
        self.assets: list[AssetKey] = []
        for each in self.projects:
            if asset:
                self.assets.append(AssetKey.checked(each, asset))
            else:
                self.assets += self._assets(each, is_sure=not project)

    def _assets(self, project: str, *, is_sure: bool) -> Iterator[AssetKey]:
        names = self._named(partial(self._client.assets, project), project, is_sure=is_sure)
        return (AssetKey(project, name) for name in names)

    def versions(self) -> list[VersionKey]:
        """The versions in ``assets``."""
        return [
            key.version(name)
            for key in self.assets
            for name in self._named(
                partial(self._client.versions, key.project, key.asset),
                key.project,
                key.asset,
                is_sure=len(self.assets) > 1,
            )
        ]

    def _named(
        self, listing: Callable[[], list[str]], *above: str, is_sure: bool = False
    ) -> list[str]:
        """The valid names of a listing; nothing if ``is_sure`` that it was there before."""
        try:
            found = self._ask(listing)
        except Missing:
            if not is_sure:
                raise
            return []
        for name in found:
            if (problem := name_problem(name)) is not None:
                # Bytes that are not UTF-8 could neither be printed nor written as JSON.
                told = name.encode("utf-8", "backslashreplace").decode()
                project, asset, version = (*above, told, "", "")[:3]
                self.odd.append(Odd(project, asset, version, f"its name {problem}"))
        return [name for name in found if name_problem(name) is None]
