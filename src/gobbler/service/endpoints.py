"""The endpoints as OpenAPI tells them: parameters, and every status with its headers and body.

`HEAD` and `OPTIONS` are alike everywhere and are added to the others.
"""

from __future__ import annotations

from typing import Any

from gobbler.jobs import JobState
from gobbler.service.bodies import TOLD, Accepted, Failure, Info, Root
from gobbler.service.contents import Links
from gobbler.service.schemas import Schema, reference

Operation = dict[str, Any]

TEXT: Schema = {"type": "string"}

_CORS: Schema = {"Access-Control-Allow-Origin": {"schema": {"const": "*"}}}
_FILE_HEADERS: Schema = {
    "ETag": {"description": "A strong validator of this content.", "schema": TEXT},
    "Last-Modified": {"description": "When the file was last changed.", "schema": TEXT},
    "Accept-Ranges": {"schema": {"const": "bytes"}},
}

FAILURES = {
    400: "The request is wrong; the reason names the field, the file or the path.",
    403: "The user may not do that.",
    404: "What was asked for is not there.",
    405: "The endpoint has no such method; `Allow` tells those that it has.",
    500: "The service or its filesystem failed; nothing was changed.",
}


def paths() -> dict[str, dict[str, Operation]]:
    """The operations by endpoint, without the prefix of a service, and by method."""
    found: dict[str, dict[str, Operation]] = {
        "/": {"get": _root()},
        "/info": {"get": _info()},
        "/list": {"get": _list()},
        "/fetch/{path}": {"get": _fetch()},
        "/archive/{path}.tar": {"get": _archive()},
        "/new/{request}": {"post": _new()},
        "/jobs/{job}": {"get": _job(), "delete": _cancel()},
        "/jobs/{job}/events": {"get": _events()},
        "/openapi.json": {"get": _openapi()},
    }
    return {path: _completed(operations) for path, operations in found.items()}


def _completed(operations: dict[str, Operation]) -> dict[str, Operation]:
    made = dict(operations)
    if "get" in operations:
        made["head"] = _head(operations["get"])
    parameters = [
        parameter
        for parameter in next(iter(operations.values())).get("parameters", [])
        if parameter["in"] == "path"
    ]
    made["options"] = {
        "tags": ["all endpoints"],
        "operationId": "options_" + str(next(iter(operations.values()))["operationId"]),
        "summary": "What browsers ask beforehand",
        **({"parameters": parameters} if parameters else {}),
        "responses": {"204": {"description": "Pages of any origin may ask.", "headers": _CORS}},
    }
    return made


def _head(get: Operation) -> Operation:
    """The same as ``get`` without bodies."""
    return {
        **{key: value for key, value in get.items() if key not in ("description", "responses")},
        "operationId": "head_" + get["operationId"],
        "summary": f"The same without a body: {get['summary'][0].lower()}{get['summary'][1:]}",
        "responses": {
            status: {key: value for key, value in response.items() if key != "content"}
            for status, response in get["responses"].items()
        },
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    description: str,
    answers: dict[int, Schema],
    failures: tuple[int, ...] = (),
    parameters: tuple[Schema, ...] = (),
) -> Operation:
    responses = dict(answers)
    for status in (*failures, 500):
        responses[status] = json_response(FAILURES[status], reference(Failure))
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        **({"description": description} if description else {}),
        **({"parameters": list(parameters)} if parameters else {}),
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }


def response(
    description: str, media_type: str = "", schema: Schema | None = None, **headers: Schema
) -> Schema:
    """One answer: its meaning, the type and schema of its body, and its headers."""
    made: Schema = {
        "description": description,
        "headers": {**_CORS, **{name.replace("_", "-"): told for name, told in headers.items()}},
    }
    if media_type:
        made["content"] = {media_type: {"schema": schema} if schema else {}}
    return made


def json_response(description: str, schema: Schema, **headers: Schema) -> Schema:
    """An answer in JSON."""
    return response(description, "application/json", schema, **headers)


def _parameter(name: str, where: str, description: str, schema: Schema = TEXT) -> Schema:
    told = {"name": name, "in": where, "description": description, "schema": schema}
    return {**told, "required": True} if where == "path" else told


def _root() -> Operation:
    answers = {200: json_response("The service's name.", reference(Root))}
    return _operation("root", "reading", "Which service this is", "", answers)


def _info() -> Operation:
    answers = {200: json_response("Its directories.", reference(Info))}
    return _operation(
        "info",
        "reading",
        "Where staging and the registry are",
        "Clients put requests into staging, and read the registry where it is mounted.",
        answers,
    )


def _openapi() -> Operation:
    answers = {200: json_response("An OpenAPI 3.1 document.", {"type": "object"})}
    return _operation("openapi", "reading", "This description", "", answers)


def _list() -> Operation:
    names: Schema = {"type": "array", "items": TEXT, "uniqueItems": True}
    return _operation(
        "list",
        "reading",
        "What is in a directory of the registry",
        "Paths are relative to `path`, in order. The service's own files are among them. Links "
        "are listed like files; none is followed.",
        {200: json_response("The paths.", names)},
        (400, 404),
        (
            _parameter(
                "path",
                "query",
                "The directory, relative to the registry, which it is if absent.",
                {**TEXT, "default": ""},
            ),
            _parameter(
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
    return _operation(
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
            412: response("A condition does not hold.", ETag=_FILE_HEADERS["ETag"]),
            416: response(
                "The range starts behind the end of the file.",
                ETag=_FILE_HEADERS["ETag"],
                Content_Range={"description": "`bytes */` and the length.", "schema": TEXT},
            ),
        },
        (400, 404),
        (
            _parameter(
                "path",
                "path",
                "The file, relative to the registry. Slashes may stand as they are.",
            ),
            _parameter("Range", "header", "The bytes wanted, such as `bytes=1000-1999`."),
            _parameter("If-Match", "header", condition),
            _parameter("If-None-Match", "header", condition),
            _parameter("If-Modified-Since", "header", condition),
            _parameter("If-Unmodified-Since", "header", condition),
            _parameter(
                "If-Range", "header", "The `ETag` or date for which `Range` holds; else the file."
            ),
        ),
    )


def _named(headers: Schema) -> Schema:
    return {name.replace("-", "_"): told for name, told in headers.items()}


def _archive() -> Operation:
    return _operation(
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
            _parameter(
                "path",
                "path",
                "`{project}/{asset}/{version}`, or a directory in it. Slashes may stand as they "
                "are.",
            ),
            _parameter(
                "links",
                "query",
                "`files`: each link is a file with the content that it leads to. `links`: it is a "
                "relative symbolic link, as in the registry.",
                {"enum": [choice.value for choice in Links], "default": Links.FILES.value},
            ),
            _parameter(
                "max_size",
                "query",
                "Leave out files that are larger, in bytes.",
                {"type": "integer", "minimum": 0},
            ),
        ),
    )


def _new() -> Operation:
    kinds = {told.answer.__name__: told.answer for told in TOLD.values()}
    answers: Schema = {"anyOf": [reference(kind) for _, kind in sorted(kinds.items())]}
    return _operation(
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
            _parameter(
                "request",
                "path",
                "Name of the request file: `request-{action}-{anything}`.",
            ),
            _parameter(
                "wait",
                "query",
                "`false`, `0` or `no`: answer at once, with the name of a job.",
                {"enum": ["true", "false", "1", "0", "no"], "default": "true"},
            ),
        ),
    )


_JOB = _parameter("job", "path", "Name of the job: `{user id}-{name of the request file}`.")


def _job() -> Operation:
    answers = {200: json_response("How far it is, or what came of it.", reference(JobState))}
    return _operation(
        "job",
        "jobs",
        "How far a job is",
        "Answers are kept for seven days. Whoever knows the name of a job may ask.",
        answers,
        (404,),
        (_JOB,),
    )


def _events() -> Operation:
    return _operation(
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
    return _operation(
        "cancel",
        "jobs",
        "Give a job up",
        "All of it is put back; it may still succeed if it was about to be published.",
        {200: json_response("It is being given up.", reference(TOLD["cancel_job"].answer))},
        (400, 403, 404),
        (
            _JOB,
            _parameter(
                "request",
                "query",
                "Name of a request file `request-cancel_job-{anything}` in staging, empty or not, "
                "whose owner is that of the job, or an administrator. Without it: 403.",
            ),
        ),
    )
