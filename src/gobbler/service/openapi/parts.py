"""Parts of an OpenAPI description: operations, parameters and answers, in the form of ours."""

from __future__ import annotations

from typing import Any

from gobbler.model.answers import Failure
from gobbler.service.openapi.schemas import Schema, reference

Operation = dict[str, Any]

TEXT: Schema = {"type": "string"}

_CORS: Schema = {"Access-Control-Allow-Origin": {"schema": {"const": "*"}}}

FAILURES = {
    400: "The request is wrong; the reason names the field, the file or the path.",
    403: "The user may not do that.",
    404: "What was asked for is not there.",
    500: "The service or its filesystem failed; nothing was changed.",
}


def completed(operations: dict[str, Operation]) -> dict[str, Operation]:
    """The operations of an endpoint with those that all endpoints have."""
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


def operation(
    name: str,
    tag: str,
    summary: str,
    description: str,
    answers: dict[int, Schema],
    failures: tuple[int, ...] = (),
    parameters: tuple[Schema, ...] = (),
) -> Operation:
    """One operation: its answers, and the ``failures`` that are told as :data:`FAILURES`."""
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


def parameter(name: str, where: str, description: str, schema: Schema = TEXT) -> Schema:
    """One parameter; those in the path must be given."""
    told = {"name": name, "in": where, "description": description, "schema": schema}
    return {**told, "required": True} if where == "path" else told
