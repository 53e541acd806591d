"""Gobbler: versions of data that never change once published, on a shared filesystem.

::

    from gobbler import Client

    client = Client()
    client.upload("weather/stations/1.4", "./results")
    path = client.version("weather/stations/1.4").fetch()

Everything else for users is in :mod:`gobbler.client`. The layers of the package are in
docs/design.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gobbler.client import Asset, Client, Project, Version

__version__ = "0.1.0"

__all__ = ["Asset", "Client", "Project", "Version", "__version__"]


def __getattr__(name: str) -> object:
    """Import the client when it is first used, so that ``gobbler --version`` need not."""
    if name in ("Asset", "Client", "Project", "Version"):
        return getattr(import_module("gobbler.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
