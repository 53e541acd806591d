"""The OpenAPI 3.1 description of the service: its endpoints, and the document around them."""

from __future__ import annotations

from typing import Any

from gobbler import __version__
from gobbler.actions import ACTIONS
from gobbler.errors import Code
from gobbler.model.answers import (
    ACTION_DOCS,
    Accepted,
    Failure,
    Info,
    LinksFound,
    Root,
)
from gobbler.service.archive import LinkMode
from gobbler.service.openapi.jobs import (
    cancel_operation,
    events_operation,
    health_operation,
    job_operation,
    metrics_operation,
)
from gobbler.service.openapi.schemas import (
    TEXT,
    Operation,
    Schema,
    completed,
    components,
    json_response,
    operation,
    parameter,
    reference,
    response,
)

_ABOUT = """\
A versioned data registry on a shared filesystem.

To request a change, write a JSON file `request-{action}-{anything}` directly into the staging
directory, `POST` its name within a minute, and remove the file after the answer. The owner of
the file is the requester; there is no other authentication. `x-actions` lists the actions: who
may request each, the schema of the file, and the schema of the answer. The service ignores
unknown fields in a request file, and `null` means the same as an absent field.

An answer that reports an error has a `code`, which is one of `x-codes` and never changes its
meaning. Its `reason` is a text for users, and may change.

All other endpoints only read. Percent-encode the components of a path once.
"""

TAGS = {
    "reading": "What anybody may read.",
    "changing": "Requests for changes.",
    "jobs": "Requests whose client does not wait for the answer.",
    "watching": "What monitoring asks.",
    "all endpoints": "What every endpoint answers.",
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


_FILE_HEADERS: Schema = {
    "ETag": {"description": "A strong validator of this content.", "schema": TEXT},
    "Last-Modified": {"description": "When the file was last changed.", "schema": TEXT},
    "Accept-Ranges": {"schema": {"const": "bytes"}},
}


def paths() -> dict[str, dict[str, Operation]]:
    """The operations by endpoint, without the prefix of a service, and by method."""
    found: dict[str, dict[str, Operation]] = {
        "/": {"get": _root()},
        "/info": {"get": _info()},
        "/list": {"get": _list()},
        "/fetch/{path}": {"get": _fetch()},
        "/archive/{path}.tar": {"get": _archive()},
        "/links/{path}": {"get": _links()},
        "/new/{request}": {"post": _new()},
        "/jobs/{job}": {"get": job_operation(), "delete": cancel_operation()},
        "/jobs/{job}/events": {"get": events_operation()},
        "/openapi.json": {"get": _openapi()},
        "/health": {"get": health_operation()},
        "/metrics": {"get": metrics_operation()},
    }
    return {path: completed(operations) for path, operations in found.items()}


def _root() -> Operation:
    answers = {200: json_response("The service's name.", reference(Root))}
    return operation("root", "reading", "The name of the service", "", answers)


def _info() -> Operation:
    answers = {200: json_response("The directories.", reference(Info))}
    return operation(
        "info",
        "reading",
        "The directories of the service",
        "Clients put requests into staging. Where the registry is mounted, they read it directly.",
        answers,
    )


def _openapi() -> Operation:
    answers = {200: json_response("An OpenAPI 3.1 document.", {"type": "object"})}
    return operation("openapi", "reading", "This description", "", answers)


def _list() -> Operation:
    names: Schema = {"type": "array", "items": TEXT, "uniqueItems": True}
    return operation(
        "list",
        "reading",
        "The content of a directory of the registry",
        "Paths are relative to `path`, sorted, and include the service's own files. Links are "
        "listed like files and not followed.",
        {200: json_response("The paths.", names)},
        (400, 404),
        (
            parameter(
                "path",
                "query",
                "The directory, relative to the registry; by default, the registry itself.",
                {**TEXT, "default": ""},
            ),
            parameter(
                "recursive",
                "query",
                "`true` or `1`: every file, and empty directories with a trailing `/`. Otherwise "
                "only the entries of the directory, directories with a trailing `/`.",
                {"enum": ["true", "false", "1", "0"], "default": "false"},
            ),
        ),
    )


def _fetch() -> Operation:
    condition = "See RFC 9110, section 13."
    length = {"Content_Length": {"description": "Bytes of the body.", "schema": TEXT}}
    anything = "*/*"
    return operation(
        "fetch",
        "reading",
        "A file of the registry",
        "A link is followed only to a file of the registry or below a whitelisted directory. A "
        "request for one range gets it; a request for several gets the whole file. The media "
        "type is guessed from the name of the file; records of the service are "
        "`application/json`.",
        {
            200: response("The file.", anything, **_named(_FILE_HEADERS), **length),
            206: response(
                "The part that `Range` asks for.",
                anything,
                **_named(_FILE_HEADERS),
                **length,
                Content_Range={
                    "description": "The bytes that were sent, and the size of the file.",
                    "schema": TEXT,
                },
            ),
            304: response("The file has not changed.", **_named(_FILE_HEADERS)),
            412: json_response(
                "A condition does not hold.", reference(Failure), ETag=_FILE_HEADERS["ETag"]
            ),
            416: json_response(
                "The range starts behind the end of the file.",
                reference(Failure),
                ETag=_FILE_HEADERS["ETag"],
                Content_Range={"description": "`bytes */` and the length.", "schema": TEXT},
            ),
        },
        (400, 404),
        (
            parameter(
                "path",
                "path",
                "The file, relative to the registry. Do not encode slashes.",
            ),
            parameter("Range", "header", "The bytes wanted, such as `bytes=1000-1999`."),
            parameter("If-Match", "header", condition),
            parameter("If-None-Match", "header", condition),
            parameter("If-Modified-Since", "header", condition),
            parameter("If-Unmodified-Since", "header", condition),
            parameter(
                "If-Range",
                "header",
                "The `ETag` or date for which `Range` is meant; else the answer is the whole file.",
            ),
        ),
    )


def _named(headers: Schema) -> Schema:
    return {name.replace("-", "_"): header for name, header in headers.items()}


def _archive() -> Operation:
    return operation(
        "archive",
        "reading",
        "A version as one archive",
        "Everything in a version, or in a directory of one, as one stream in the pax format: all "
        "that `/list` and `/fetch` return. The service's own files come first in each directory. "
        "Members are named by their path in the registry. If the version changes meanwhile, the "
        "connection breaks off before `Content-Length` bytes. Ranges are not supported.",
        {
            200: response(
                "The archive.",
                "application/x-tar",
                Content_Length={"description": "Bytes of the archive.", "schema": TEXT},
            )
        },
        (400, 404),
        (
            parameter(
                "path",
                "path",
                "`{project}/{asset}/{version}`, or a directory in it. Do not encode slashes.",
            ),
            parameter(
                "links",
                "query",
                "`files`: a link is stored as the file that it leads to. `links`: as a relative "
                "symbolic link, as in the registry.",
                {"enum": [choice.value for choice in LinkMode], "default": LinkMode.FILES.value},
            ),
            parameter(
                "max_size",
                "query",
                "Leave out files that are larger than this, in bytes.",
                {"type": "integer", "minimum": 0},
            ),
            parameter(
                "length",
                "query",
                "`true`: send `Content-Length`, for which the service walks the whole tree first. "
                "`false`: begin at once.",
                {"type": "boolean", "default": True},
            ),
        ),
    )


def _links() -> Operation:
    return operation(
        "links",
        "reading",
        "Links to a version, and shared content",
        "The links of other versions that would break if this one were deleted, and the versions "
        "that have some of the same content. A service without an index reads all manifests "
        "for it.",
        {200: json_response("What was found.", reference(LinksFound))},
        (400, 404),
        (
            parameter(
                "path",
                "path",
                "`{project}/{asset}/{version}`. Do not encode slashes.",
            ),
        ),
    )


def _new() -> Operation:
    kinds = {doc.answer.__name__: doc.answer for doc in ACTION_DOCS.values()}
    answers: Schema = {"anyOf": [reference(kind) for _, kind in sorted(kinds.items())]}
    return operation(
        "new",
        "changing",
        "Carry out a request",
        "The request is a file in staging whose owner is the requester; the body of this call is "
        "empty. `x-actions` of this document says what the file holds, and what the answer is. "
        "Without `wait=false` the answer comes when the change is complete. If the client "
        "disconnects, the service cancels the request and puts everything back.",
        {
            200: json_response("The request is carried out.", answers),
            202: json_response(
                "With `wait=false`: the request is a job now.",
                reference(Accepted),
                Location={"description": "The job, like `address`.", "schema": TEXT},
            ),
        },
        (400, 403, 404),
        (
            parameter(
                "request",
                "path",
                "The name of the request file: `request-{action}-{anything}`.",
            ),
            parameter(
                "wait",
                "query",
                "`false`, `0` or `no`: do not wait, but answer with the name of a job.",
                {"enum": ["true", "false", "1", "0", "no"], "default": "true"},
            ),
        ),
    )
