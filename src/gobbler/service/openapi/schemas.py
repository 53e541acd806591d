"""JSON schemas (2020-12) of requests, answers and records, and the parts of operations."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gobbler.actions import ACTIONS
from gobbler.model.answers import (
    ACTION_DOCS,
    Accepted,
    Failure,
    HealthFound,
    Info,
    LinksFound,
    Root,
)
from gobbler.model.jobs import JobState
from gobbler.model.records import (
    Latest,
    Links,
    LogEntry,
    LooseUploader,
    Manifest,
    Permissions,
    Quota,
    Summary,
    Usage,
)

Schema = dict[str, Any]

PLACE = "#/components/schemas/"

FILES: dict[str, tuple[Any, str]] = {
    "Manifest": (Manifest, "`{project}/{asset}/{version}/..manifest`: its files by path."),
    "Links": (
        Links,
        "`{project}/{asset}/{version}/{directory}/..links`: the links directly in a directory, "
        "by file name.",
    ),
}
"""Records that are maps, whose types have no name or text."""

_ELSEWHERE = {"LoosePermissions": "NewPermissions", "LooseUploader": "NewUploader"}
"""Public names for types whose own names describe how they are decoded."""

_TEXTS = {
    "NewPermissions": "Permissions in a request; what is absent or null stays as it is.",
    "NewUploader": "Who may upload what, until when (RFC 3339), and whether without approval. "
    "`null` means absent.",
    "OfVersion": "A request about one version: `reindex_version`, `validate_version`.",
}


def reference(kind: type) -> Schema:
    """A reference to the schema of ``kind``."""
    return {"$ref": PLACE + _ELSEWHERE.get(kind.__name__, kind.__name__)}


def components() -> dict[str, Schema]:
    """The schemas by name, each with a description."""
    kinds: list[Any] = [
        *(Info, Root, Accepted, Failure, JobState, LinksFound, HealthFound),
        *(doc.answer for doc in ACTION_DOCS.values()),
        *(action.request for action in ACTIONS.values()),
        *(Summary, Latest, Permissions, LooseUploader, Usage, Quota, LogEntry),
        *(kind for kind, _ in FILES.values()),
    ]
    schemas, found = msgspec.json.schema_components(
        kinds, schema_hook=_any, ref_template=PLACE + "{name}"
    )
    made = {_ELSEWHERE.get(name, name): _tidied(schema) for name, schema in found.items()}
    of_files = schemas[len(kinds) - len(FILES) :]
    for (name, (_, text)), schema in zip(FILES.items(), of_files, strict=True):
        made[name] = {"description": text, **_tidied(schema)}
    for name, text in _TEXTS.items():
        made[name]["description"] = text
    return dict(sorted(made.items()))


def _any(kind: type) -> Schema:
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(kind)


def _tidied(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """``schema`` with its texts as Markdown, and patterns as ECMAScript reads them."""
    if isinstance(schema, list | tuple):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _tidied(value) for key, value in schema.items() if key != "title"}
    if isinstance(text := made.get("description"), str):
        made["description"] = markdown(text)
    if isinstance(pattern := made.get("pattern"), str):
        made["pattern"] = pattern.replace(r"\Z", "$")
    if isinstance(place := made.get("$ref"), str):
        name = place.removeprefix(PLACE)
        made["$ref"] = PLACE + _ELSEWHERE.get(name, name)
    return made


def markdown(text: str) -> str:
    """``text``, a docstring, as Markdown on one line."""
    unquoted = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    return " ".join(unquoted.split())


Operation = dict[str, Any]

TEXT: Schema = {"type": "string"}

_CORS: Schema = {"Access-Control-Allow-Origin": {"schema": {"const": "*"}}}

FAILURES = {
    400: "The request is wrong; the reason names the field, the file or the path.",
    403: "The user may not do that.",
    404: "The project, asset, version, file or job does not exist.",
    500: "The service or its filesystem failed; nothing was changed.",
}


def completed(operations: dict[str, Operation]) -> dict[str, Operation]:
    """The operations of an endpoint, with ``HEAD`` and ``OPTIONS``."""
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
        "summary": "The preflight request of browsers",
        **({"parameters": parameters} if parameters else {}),
        "responses": {
            "204": {"description": "Pages of any origin may send requests.", "headers": _CORS}
        },
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


def operation(
    name: str,
    tag: str,
    summary: str,
    description: str,
    answers: dict[int, Schema],
    failures: tuple[int, ...] = (),
    parameters: tuple[Schema, ...] = (),
) -> Operation:
    """One operation: its answers, and those of :data:`FAILURES` with these statuses."""
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
    """One answer: its description, the type and schema of its body, and its headers."""
    made: Schema = {
        "description": description,
        "headers": {
            **_CORS,
            **{name.replace("_", "-"): header for name, header in headers.items()},
        },
    }
    if media_type:
        made["content"] = {media_type: {"schema": schema} if schema else {}}
    return made


def json_response(description: str, schema: Schema, **headers: Schema) -> Schema:
    """An answer in JSON."""
    return response(description, "application/json", schema, **headers)


def parameter(name: str, where: str, description: str, schema: Schema = TEXT) -> Schema:
    """One parameter; those in the path must be given."""
    made = {"name": name, "in": where, "description": description, "schema": schema}
    return {**made, "required": True} if where == "path" else made
