"""Split a path in a registry."""

from __future__ import annotations

from gobbler.client.address import unpack


def unpack_path(path: str) -> dict[str, str | None]:
    """Split a path in the registry into its parts.

    Args:
        path:
            Path like ``project/asset/version`` or ``project/asset/version/path/of/file``.

    Returns:
        A dict with ``project``, ``asset``, ``version`` and ``path``, which is ``None`` for the
        version itself.

    Raises:
        ValueError: There are fewer than three parts.
    """
    return unpack(path)
