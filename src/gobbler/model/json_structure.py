"""The structure of JSON that a user wrote: how deep it is nested, and keys that occur twice.

Reads the text once, from left to right, and keeps only the keys of the objects that are open. So
memory stays a small multiple of the text, whatever it holds. Neither the depth nor the result
depends on the recursion limits of the interpreter, which differ between releases of Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

MAX_DEPTH = 64
"""Largest number of arrays and objects around a value in a request; the protocol needs 4."""

_STRINGS = re.compile(rb'(?:"[^"]*")+')
_OBJECTS = re.compile(rb'"([^"]*)"[ \t\r\n]*(:?)|[{}]')
_TOKENS = re.compile(rb'"([^"]*)"[ \t\r\n]*(:?)|[][{},]')

_KEY_ENDS = re.compile(rb'"[ \t\r\n]*:')

QUICK_BYTES = 4096
"""Up to this size a text is decoded to see at once that nothing is wrong with it."""

_OTHERS = bytes(code for code in range(256) if code not in b'[]{}"')


def depth_exceeds(text: bytes, limit: int) -> bool:
    """Whether more than ``limit`` arrays and objects of ``text`` are open at some place.

    Where ``text`` is no valid JSON, only what stands before the error counts for certain.
    """
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _STRINGS.sub(b"", _without_escapes(text).translate(None, _OTHERS)):
        if bracket in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif bracket in b"]}":
            depth -= 1
    return False


def duplicate_key(text: bytes) -> str | None:
    """The place of the first key that occurs twice in an object of ``text``; it is valid JSON.

    A place is written like ``$.permissions.owners[1]``.
    """
    # Inside of strings may be more of these, so only equal numbers say something.
    if len(text) <= QUICK_BYTES and len(_KEY_ENDS.findall(text)) == _decoded_keys(text):
        return None
    plain = _without_escapes(text)
    objects: list[set[bytes]] = []
    for found in _OBJECTS.finditer(plain):
        if found[2]:
            key = _key(text, found)
            if key in objects[-1]:
                return _place(text, plain, found.start())
            objects[-1].add(key)
        elif found[2] is None:
            if found[0] == b"{":
                objects.append(set())
            else:
                objects.pop()
    return None


def _decoded_keys(text: bytes) -> int:
    """The number of keys in ``text``, in which the last of equal ones counts; -1 if unknown."""
    try:
        values = [msgspec.json.decode(text)]
    except (msgspec.DecodeError, ValueError):  # a number that no type can hold
        return -1
    keys = 0
    for value in values:
        if isinstance(value, dict):
            keys += len(value)
            values += value.values()
        elif isinstance(value, list):
            values += value
    return keys


def _without_escapes(text: bytes) -> bytes:
    """``text`` with the same offsets, in which every quotation mark begins or ends a string."""
    if b"\\" not in text:
        return text
    # Neither a key nor anything outside of a string has a NUL.
    return text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")


def _key(text: bytes, found: re.Match[bytes]) -> bytes:
    start, end = found.span(1)
    raw = text[start:end]
    if b"\\" not in raw:
        return raw
    name: str = json.loads(text[start - 1 : end + 1])
    return name.encode("utf-8", "surrogatepass")


def _place(text: bytes, plain: bytes, offset: int) -> str:
    """The place of the key at ``offset``."""
    steps: list[int | bytes] = []
    for found in _TOKENS.finditer(plain, 0, offset):
        start = found[0][:1]
        if start == b"{":
            steps.append(b"")
        elif start == b"[":
            steps.append(0)
        elif start in b"]}":
            steps.pop()
        elif found[2]:
            steps[-1] = _key(text, found)
        elif start == b"," and isinstance(steps[-1], int):
            steps[-1] += 1
    last = _TOKENS.match(plain, offset)
    assert last is not None
    steps[-1] = _key(text, last)
    return "$" + "".join(_written(steps))


def _written(steps: list[int | bytes]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, int):
            yield f"[{step}]"
        else:
            yield "." + step.decode("utf-8", "replace")
