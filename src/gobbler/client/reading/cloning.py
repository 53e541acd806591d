"""A version's tree made of symlinks, to build the next version on."""

from __future__ import annotations

import os

from gobbler.client.paths import listed_path
from gobbler.names import VersionKey
from gobbler.records import Manifest


def clone(registry: str, key: VersionKey, manifest: Manifest, destination: str) -> None:
    """Make at ``destination`` the directories of a version, and a symlink for every file.

    The links are absolute, so the clone may be moved. Raises ``FileExistsError`` when
    something stands where a link should; links made until then stay.
    """
    version = os.path.join(os.path.abspath(registry), key.path)
    os.makedirs(destination, exist_ok=True)
    for path, entry in manifest.items():
        target = os.path.join(destination, listed_path(path))
        if entry.is_directory:
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.join(version, path), target)
