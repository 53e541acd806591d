"""``GET /``, ``/info`` and ``/openapi.json``: what the service says about itself.

These answers are made once, when the service starts, so they need no filesystem.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gobbler import __version__
from gobbler.service import openapi
from gobbler.service.responses import json_answer
from gobbler.service.settings import Settings

OPENAPI = "/openapi.json"


def info_routes(settings: Settings) -> list[Route]:
    """The three endpoints of a service with these ``settings``."""
    prefix = settings.prefix
    root = {"name": "gobbler API", "version": __version__}
    info = {"staging": settings.staging, "registry": settings.registry}
    answers = {
        f"{prefix}/": root,
        **({prefix: root} if prefix else {}),
        f"{prefix}/info": info,
        f"{prefix}{OPENAPI}": openapi.description(prefix),
    }
    return [_constant(path, value) for path, value in answers.items()]


def _constant(path: str, value: object) -> Route:
    async def answer(request: Request) -> Response:
        del request
        return json_answer(value)

    return Route(path, answer)
