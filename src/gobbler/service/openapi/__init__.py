"""The OpenAPI 3.1 description of the service: its endpoints, and the document around them."""

from __future__ import annotations

from typing import Any

from gobbler import __version__
from gobbler.actions import ACTIONS
from gobbler.errors import Code
from gobbler.model.answers import ACTION_DOCS, Accepted, Failure, Info, LinksFound, Root
from gobbler.model.jobs import JobState
from gobbler.service.archive import Links
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
        "/jobs/{job}": {"get": _job(), "delete": _cancel()},
        "/jobs/{job}/events": {"get": _events()},
        "/openapi.json": {"get": _openapi()},
    }
    return {path: completed(operations) for path, operations in found.items()}


def _root() -> Operation:
    answers = {200: json_response("The service's name.", reference(Root))}
    return operation("root", "reading", "Which service this is", "", answers)


def _info() -> Operation:
    answers = {200: json_response("Its directories.", reference(Info))}
    return operation(
        "info",
        "reading",
        "Where staging and the registry are",
        "Clients put requests into staging, and read the registry where it is mounted.",
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
        "What is in a directory of the registry",
        "Paths are relative to `path`, in order. The service's own files are among them. Links "
        "are listed like files; none is followed.",
        {200: json_response("The paths.", names)},
        (400, 404),
        (
            parameter(
                "path",
                "query",
                "The directory, relative to the registry, which it is if absent.",
                {**TEXT, "default": ""},
            ),
            parameter(
                "recursive",
                "query",
                "`true` or `1`: every file, and empty directories with a trailing `/`. Else the "
                "entries of the directory alone, directories with a trailing `/`.",
                {"enum": ["true", "false", "1", "0"], "default": "false"},
            ),
        ),
    )


def _fetch() -> Operation:
    condition = "As RFC 9110 tells, section 13."
    length = {"Content_Length": {"description": "Bytes of the body.", "schema": TEXT}}
    anything = "*/*"
    return operation(
        "fetch",
        "reading",
        "A file of the registry",
        "A link is followed to a file of the registry or below a whitelisted directory, and "
        "nowhere else. One range is served; a request for several gets the whole file. The "
        "media type is guessed by the file's name; records of the service are "
        "`application/json`.",
        {
            200: response("The file.", anything, **_named(_FILE_HEADERS), **length),
            206: response(
                "The part that `Range` asks for.",
                anything,
                **_named(_FILE_HEADERS),
                **length,
                Content_Range={"description": "Which bytes of how many.", "schema": TEXT},
            ),
            304: response("It is the one that you have.", **_named(_FILE_HEADERS)),
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
                "The file, relative to the registry. Slashes may stand as they are.",
            ),
            parameter("Range", "header", "The bytes wanted, such as `bytes=1000-1999`."),
            parameter("If-Match", "header", condition),
            parameter("If-None-Match", "header", condition),
            parameter("If-Modified-Since", "header", condition),
            parameter("If-Unmodified-Since", "header", condition),
            parameter(
                "If-Range", "header", "The `ETag` or date for which `Range` holds; else the file."
            ),
        ),
    )


def _named(headers: Schema) -> Schema:
    return {name.replace("-", "_"): told for name, told in headers.items()}


def _archive() -> Operation:
    return operation(
        "archive",
        "reading",
        "A version as one archive",
        "Everything in a version, or in a directory of one, as one stream in the format pax: "
        "what `/list` and `/fetch` would bring. Each directory's own files come first; members "
        "are named by their path in the registry. If the version changes meanwhile the "
        "connection breaks off before `Content-Length` bytes. Ranges are not served.",
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
                "`{project}/{asset}/{version}`, or a directory in it. Slashes may stand as they "
                "are.",
            ),
            parameter(
                "links",
                "query",
                "`files`: each link is a file with the content that it leads to. `links`: it is a "
                "relative symbolic link, as in the registry.",
                {"enum": [choice.value for choice in Links], "default": Links.FILES.value},
            ),
            parameter(
                "max_size",
                "query",
                "Leave out files that are larger, in bytes.",
                {"type": "integer", "minimum": 0},
            ),
            parameter(
                "length",
                "query",
                "`true`: tell how long the archive will be, for which all in it is looked at "
                "beforehand. `false`: begin at once.",
                {"type": "boolean", "default": True},
            ),
        ),
    )


def _links() -> Operation:
    return operation(
        "links",
        "reading",
        "What is linked to a version",
        "Which links of other versions lead into it, so that they would break if it were deleted; "
        "and which versions have some of the same content. Where the service has no index, all "
        "manifests are read for that.",
        {200: json_response("What was found.", reference(LinksFound))},
        (400, 404),
        (
            parameter(
                "path",
                "path",
                "`{project}/{asset}/{version}`. Slashes may stand as they are.",
            ),
        ),
    )


def _new() -> Operation:
    kinds = {told.answer.__name__: told.answer for told in ACTION_DOCS.values()}
    answers: Schema = {"anyOf": [reference(kind) for _, kind in sorted(kinds.items())]}
    return operation(
        "new",
        "changing",
        "Carry out a request",
        "The request is a file in staging whose owner is the requester; the body of this call "
        "is empty. What the file may hold, and which answer an action has, is told in "
        "`x-actions` of this document. Without `wait=false` the answer comes when the change is "
        "complete; a client that goes away ends its request, and everything is put back.",
        {
            200: json_response("It is done.", answers),
            202: json_response(
                "With `wait=false`: the request is kept as a job.",
                reference(Accepted),
                Location={"description": "The job, as `address` tells it.", "schema": TEXT},
            ),
        },
        (400, 403, 404),
        (
            parameter(
                "request",
                "path",
                "Name of the request file: `request-{action}-{anything}`.",
            ),
            parameter(
                "wait",
                "query",
                "`false`, `0` or `no`: answer at once, with the name of a job.",
                {"enum": ["true", "false", "1", "0", "no"], "default": "true"},
            ),
        ),
    )


_JOB = parameter("job", "path", "Name of the job: `{user id}-{name of the request file}`.")


def _job() -> Operation:
    answers = {200: json_response("How far it is, or what came of it.", reference(JobState))}
    return operation(
        "job",
        "jobs",
        "How far a job is",
        "Answers are kept for seven days. Whoever knows the name of a job may ask.",
        answers,
        (404,),
        (_JOB,),
    )


def _events() -> Operation:
    return operation(
        "events",
        "jobs",
        "How far a job is, as it goes",
        "Server-sent events: one at once, one at each change, named by the state, with the "
        "state as JSON in its data. The stream ends with the job.",
        {200: response("The events.", "text/event-stream", TEXT)},
        (404,),
        (_JOB,),
    )


def _cancel() -> Operation:
    return operation(
        "cancel",
        "jobs",
        "Give a job up",
        "All of it is put back; it may still succeed if it was about to be published.",
        {200: json_response("It is being given up.", reference(ACTION_DOCS["cancel_job"].answer))},
        (400, 403, 404),
        (
            _JOB,
            parameter(
                "request",
                "query",
                "Name of a request file `request-cancel_job-{anything}` in staging, empty or not, "
                "whose owner is that of the job, or an administrator. Without it: 403.",
            ),
        ),
    )
