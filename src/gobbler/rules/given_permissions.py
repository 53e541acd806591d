"""Permissions as a user gives them: what is not understood is refused, because it widens rights.

An entry that is to end, or to be limited to an asset, must not do neither because of a spelling
mistake. What is only unusual can be insisted on.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

import msgspec

from gobbler.errors import Refused, quoted, shortened
from gobbler.model.json_structure import duplicate_key
from gobbler.model.names import name_problem
from gobbler.model.records import TIME_HINT, LooseUploader, Uploader, parse_time

FIELDS = LooseUploader.__struct_fields__

AnyUploader = Uploader | Mapping[str, object]
"""An uploader's entry."""

_NO_LOGIN = frozenset(",:;/[]{}\"'*")
"""Characters that no login has. (From a Windows domain, it may have a space or a backslash.)"""


INSIST = "Insist if you mean it: --force; in Python, force=True."
"""The hint for what is unusual, but possible."""


def check_owners(owners: Sequence[str], stored: Collection[str], *, force: bool) -> None:
    """Check owners that are to be stored, unless they are ``stored`` already.

    Raises :class:`~gobbler.errors.Refused`. ``force`` accepts odd names.
    """
    _check_listed(owners, "owners")
    for i, owner in enumerate(owners):
        if owner not in stored:
            _check_user(owner, f"owners[{i}]", force=force)


def check_entries(
    uploaders: Sequence[AnyUploader],
    stored: Collection[Uploader],
    *,
    asset: str | None,
    force: bool,
) -> None:
    """Check uploaders that are to be stored, unless they are ``stored`` already.

    ``asset``: the asset whose own permissions they are. Raises :class:`~gobbler.errors.Refused`.
    ``force`` accepts odd names of users.
    """
    _check_listed(uploaders, "uploaders")
    for i, entry in enumerate(uploaders):
        if entry not in stored:
            _check_entry(entry, f"uploaders[{i}]", asset, force=force)


def _check_entry(entry: AnyUploader, place: str, asset: str | None, *, force: bool) -> None:
    given = _decoded(entry, place)
    _check_user(given.id, f"{place}.id", force=force)
    if given.until is not None and parse_time(given.until) is None:
        raise Refused(
            f"`until` is not a time: {quoted(given.until)} at `{place}.until`", hint=TIME_HINT
        )
    for field, name in (("asset", given.asset), ("version", given.version)):
        problem = None if name is None else name_problem(name)
        if problem is not None:
            raise Refused(f"`{field}` {problem}: {quoted(str(name))} at `{place}.{field}`")
    if asset is not None and given.asset not in (None, asset):
        raise Refused(
            f"the entry at `{place}` names the asset {quoted(str(given.asset))}, but in the "
            f"permissions of an asset it applies to that asset, {quoted(asset)}",
            hint="Leave out `asset`, or set the permissions of the project.",
        )


def decode_uploader(text: str) -> Uploader:
    """An uploader's entry in JSON, as it is given on a command line.

    Raises :class:`~gobbler.errors.Refused` for a field that is not known, or occurs twice.
    """
    try:
        data = text.encode()
        entry = msgspec.json.decode(data, type=dict[str, object])
        twice = duplicate_key(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Refused(f"{quoted(text)} is no entry of an uploader: {error}") from None
    if twice is not None:
        raise Refused(f"a key occurs twice in {quoted(text)}, at `{shortened(twice)}`")
    return _decoded(entry, "uploader").strict()


def _check_listed(given: object, what: str) -> None:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise Refused(
            f"`{what}` must be a list, not {quoted(shortened(str(given)))}",
            hint=f'Write it as a list, such as {what}=["ada"].',
        )


def _check_user(name: object, place: str, *, force: bool) -> None:
    if not isinstance(name, str):
        raise Refused(f"a user is a text, not {type(name).__name__}, at `{place}`")
    if not name:
        raise Refused(f"a user has a name: it is empty at `{place}`")
    if force or (name == name.strip() and name.isprintable() and not _NO_LOGIN.intersection(name)):
        return
    parts = [part for part in (each.strip() for each in name.split(",")) if part]
    hint = f"Name each user alone: {', '.join(map(quoted, parts))}." if len(parts) > 1 else INSIST
    raise Refused(f"{quoted(shortened(name))} is no name of a user, at `{place}`", hint=hint)


def _decoded(entry: AnyUploader, place: str) -> LooseUploader:
    fields = msgspec.structs.asdict(entry) if isinstance(entry, Uploader) else entry
    if not isinstance(fields, Mapping):
        raise Refused(
            f"an uploader's entry has fields, such as {{'id': 'ada'}}; it is "
            f"{quoted(shortened(str(entry)))} at `{place}`"
        )
    given = {key: value for key, value in fields.items() if value is not msgspec.UNSET}
    for key in given:
        if key not in FIELDS:
            raise _unknown_field(str(key), place)
    try:
        return msgspec.convert(given, LooseUploader)
    except msgspec.ValidationError as error:
        raise Refused(f"the entry at `{place}` is wrong: {error}") from None


def _unknown_field(key: str, place: str) -> Refused:
    alike = [field for field in FIELDS if field == key.strip().casefold()]
    alike += difflib.get_close_matches(key.strip().casefold()[:40], FIELDS, 1)
    known = ", ".join(f"`{field}`" for field in FIELDS)
    return Refused(
        f"{quoted(shortened(key))} is no field of an uploader's entry, at `{place}`",
        hint=f"Did you mean `{alike[0]}`?" if alike else f"It has the fields {known}.",
    )
