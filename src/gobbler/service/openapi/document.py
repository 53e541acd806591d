"""``GET /openapi.json``: the service, described by OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from gobbler import __version__
from gobbler.actions import ACTIONS
from gobbler.errors import Code
from gobbler.model.answers import ACTION_DOCS
from gobbler.service.openapi.endpoints import paths
from gobbler.service.openapi.schemas import components, reference

ROUTE = "/openapi.json"

_ABOUT = """\
A versioned data registry on a shared filesystem.

Changes are asked for by files: write a JSON file `request-{action}-{anything}` directly into
the staging directory, `POST` its name within a minute, and remove it after the answer. The
owner of the file is the requester; there is no other authentication. `x-actions` tells the
actions: who may ask, the schema of the file, and the schema of the answer. In a request file
unknown fields are ignored, and `null` is the same as absent.

Everything else only reads. Components of paths are percent-encoded once.
"""

TAGS = {
    "reading": "What anybody may ask.",
    "changing": "Having a request file carried out.",
    "jobs": "Requests that are not waited for.",
    "all endpoints": "What every endpoint answers alike.",
}


def description(prefix: str = "") -> dict[str, Any]:
    """The OpenAPI document of a service whose endpoints start with ``prefix``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gobbler",
            "version": __version__,
            "summary": "A versioned, deduplicated data registry on a shared filesystem.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths(),
        "components": {"schemas": components()},
        "x-actions": {
            name: {
                "who": ACTION_DOCS[name].who,
                "effect": ACTION_DOCS[name].effect,
                "request": reference(action.request),
                "answer": reference(ACTION_DOCS[name].answer),
            }
            for name, action in sorted(ACTIONS.items())
        },
        "x-codes": {code.value: code.description for code in Code},
    }
