"""Payloads that name a project, an asset or a version."""

from __future__ import annotations

from typing import Any


def naming(address: str, **fields: Any) -> dict[str, Any]:
    """The payload that names ``project``, ``project/asset`` or ``project/asset/version``."""
    return {
        **dict(zip(("project", "asset", "version"), address.split("/"), strict=False)),
        **fields,
    }


def project_of(address: str) -> str:
    """The project of an address."""
    return address.partition("/")[0]
