"""Warnings of a change of permissions: what is allowed, but hardly meant."""

from __future__ import annotations

from gobbler.actions.context import RequestContext
from gobbler.errors import quoted
from gobbler.fs.accounts import without_account
from gobbler.model.records import LoosePermissions, Permissions

LOOKUP_SECONDS = 2.0
"""Seconds that looking up accounts may take; what is unknown by then is not warned about."""

MAX_SHOWN = 10


def permission_warnings(
    context: RequestContext, before: Permissions, asked: LoosePermissions, *, is_asset: bool
) -> dict[str, object]:
    """The field ``warnings`` of the answer, or no field.

    They are about new owners and uploaders without an account on this host, and about a project
    or an asset that has lost its last owner.
    """
    found: list[str] = []
    listed = {context.user, *before.owners, *(entry.id for entry in before.uploaders)}
    given = asked.owners or ()
    uploaders = [entry.id for entry in asked.uploaders or () if entry.id not in listed]
    missing = without_account([*given, *uploaders], LOOKUP_SECONDS)
    if asked.owners == () and not is_asset:
        found.append("nobody owns the project now; only administrators can change it")
    elif asked.owners == () and before.owners:
        found.append("nobody owns the asset now; only owners of the project can change it")
    elif given and missing[: len({*given})] == list(dict.fromkeys(given)):
        found.append("none of the owners has an account on the host of the service")
    missing = [name for name in missing if name not in listed]
    for name in missing[:MAX_SHOWN]:
        what = "owner" if name in given else "uploader"
        found.append(f"{what} {quoted(name)} has no account on the host of the service")
    if len(missing) > MAX_SHOWN:
        found.append(f"{len(missing) - MAX_SHOWN} more have no account there")
    return {"warnings": found} if found else {}
