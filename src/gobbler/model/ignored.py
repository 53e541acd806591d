"""Ignored fields: what a request says that the service does not understand.

Old clients must go on working, so such fields are ignored. But a field with a spelling mistake may
have been meant to limit a right, so the answer names it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct, inspect

from gobbler.errors import shortened
from gobbler.model.json_structure import QUICK_BYTES

MAX_IGNORED = 20
"""Largest number of ignored fields that are named."""

_OBJECT = dict[str, msgspec.Raw] | None

_ARRAY = list[msgspec.Raw] | None

_Shape = dict[str, Any] | list[Any] | None
"""The fields of an object by name, the only shape in an array, or ``None`` for anything else."""


def ignored_fields(data: bytes, kind: type[Struct]) -> list[str]:
    """The places of the first fields in the valid request ``data`` that ``kind`` does not have.

    A place is written like ``$.permissions.uploaders[0].untill``.
    """
    shape = shape_of(kind)
    if len(data) <= QUICK_BYTES and _is_known(data, shape):
        return []
    return list(islice(_unknown(msgspec.Raw(data), shape, "$"), MAX_IGNORED))


def _is_known(data: bytes, shape: _Shape) -> bool:
    """Whether ``data`` certainly has no field beyond ``shape``."""
    try:
        return _fits(msgspec.json.decode(data), shape)
    except (msgspec.DecodeError, ValueError):  # a number that no type can hold
        return False


def _fits(value: Any, shape: _Shape) -> bool:  # noqa: ANN401 - whatever JSON can be
    if isinstance(shape, dict) and isinstance(value, dict):
        return value.keys() <= shape.keys() and all(
            _fits(value[key], shape[key]) for key in value if shape[key] is not None
        )
    if isinstance(shape, list) and isinstance(value, list):
        return all(_fits(each, shape[0]) for each in value)
    return True


def _unknown(value: msgspec.Raw, shape: _Shape, place: str) -> Iterator[str]:
    # Only objects that the service knows are decoded: others may be large.
    if isinstance(shape, dict):
        for key, inner in (msgspec.json.decode(value, type=_OBJECT) or {}).items():
            where = f"{place}.{shortened(key)}"
            if key in shape:
                yield from _unknown(inner, shape[key], where)
            else:
                yield where
    elif isinstance(shape, list):
        for number, inner in enumerate(msgspec.json.decode(value, type=_ARRAY) or ()):
            yield from _unknown(inner, shape[0], f"{place}[{number}]")


@functools.cache
def shape_of(kind: type[Struct]) -> _Shape:
    """The fields of ``kind`` and of the objects in it."""
    return _shape(inspect.type_info(kind))


def _shape(kind: inspect.Type) -> _Shape:
    if isinstance(kind, inspect.Metadata):
        return _shape(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next((found for each in kind.types if (found := _shape(each)) is not None), None)
    if isinstance(kind, inspect.StructType):
        return {field.encode_name: _shape(field.type) for field in kind.fields}
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return [_shape(kind.item_type)]
    return None
