"""The reference of endpoints and requests, from the OpenAPI description."""

from __future__ import annotations

from typing import Any

from docs.generate import markdown
from gobbler.service.openapi import description

Schema = dict[str, Any]


def page() -> str:
    """The whole page."""
    document = description()
    parts = [
        "# HTTP",
        document["info"]["description"].strip(),
        "A service describes itself at `/openapi.json` (OpenAPI 3.1), the source of this page. "
        "`HEAD` answers as `GET`, without the body. Every endpoint answers `OPTIONS` with 204, "
        "and any other method that it does not have with 405. Every answer has the header "
        "`Access-Control-Allow-Origin: *`. See [../http.md](../http.md) for a guide, and "
        "[errors.md](errors.md) for the error codes.",
        "## Endpoints",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in ("head", "options"):
                parts += _operation(method, path, operation)
    parts += ["## Actions", _actions(document["x-actions"])]
    parts += [
        "## Schemas",
        "A field with `?` can be absent, or null where the type says so.",
    ]
    for name, schema in document["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "\n\n".join(part for part in parts if part)


def _operation(method: str, path: str, operation: Schema) -> list[str]:
    parameters = [
        [f"`{p['name']}`", p["in"], _type(p["schema"]), p["description"]]
        for p in operation.get("parameters", [])
    ]
    answers = [
        [status, _content(answer), _headers(answer), answer["description"]]
        for status, answer in operation["responses"].items()
    ]
    return [
        f"### {method.upper()} {path}",
        f"{operation['summary']}. {operation.get('description', '')}".strip(),
        markdown.table(["parameter", "in", "type", "meaning"], parameters) if parameters else "",
        markdown.table(["status", "body", "headers", "meaning"], answers),
    ]


def _content(answer: Schema) -> str:
    for media_type, content in answer.get("content", {}).items():
        schema = content.get("schema")
        return _type(schema) if media_type == "application/json" else f"`{media_type}`"
    return ""


def _headers(answer: Schema) -> str:
    names = [name for name in answer["headers"] if not name.startswith("Access-Control")]
    return ", ".join(f"`{name}`" for name in names)


def _actions(actions: Schema) -> str:
    rows = [
        [f"`{name}`", each["who"], _type(each["request"]), each["effect"], _type(each["answer"])]
        for name, each in actions.items()
    ]
    return markdown.table(["action", "who may", "file", "effect", "answer"], rows)


def _schema(name: str, schema: Schema) -> list[str]:
    parts = [f"### {name}", schema.get("description", "")]
    required = schema.get("required", [])
    rows = [
        [f"`{key}`" + ("" if key in required else "?"), _type(of), of.get("description", "")]
        for key, of in schema.get("properties", {}).items()
    ]
    if rows:
        parts.append(markdown.table(["field", "type", "meaning"], rows))
    elif "additionalProperties" in schema:
        parts.append(f"A map of text to {_type(schema['additionalProperties'])}.")
    else:
        parts.append("It has no fields.")
    return parts


def _type(schema: Schema) -> str:
    """The type of ``schema``, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{markdown.link(name)})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        return "object"
    words = {"string": "text", "null": "null", "boolean": "boolean", "integer": "integer"}
    return words.get(schema.get("type", ""), schema.get("type", "anything"))
