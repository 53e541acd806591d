"""Requests: the content of ``request-{action}-{anything}``, as typed values.

Unknown fields are ignored; ``null`` is the same as absent. A request with invalid JSON (not UTF-8,
nested too deeply, a key twice, a wrong type, a missing field) is refused, and the reason names the
place.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from gobbler.errors import Code, Refused, quoted, shortened
from gobbler.model.json_structure import MAX_DEPTH, depth_exceeds, duplicate_key
from gobbler.model.names import file_name_problem
from gobbler.model.records import LoosePermissions, describe

MAX_REQUEST_BYTES = 1024 * 1024
"""Largest size of a request file; a larger one is refused unread."""

LARGE_REQUEST_BYTES = 64 * 1024
"""Size from which on requests are decoded one after the other.

Decoding takes up to 20 times the size in memory.
"""

_one_large_request = threading.Lock()

REQUEST_PREFIX = "request-"

SEND_AGAIN = "Nothing was changed; send the request again."
"""The hint for a request that was cancelled although nothing is wrong with it."""

ProjectName = Annotated[str, Meta(description="Name of the project.")]
AssetName = Annotated[str, Meta(description="Name of the asset in the project.")]
VersionName = Annotated[str, Meta(description="Name of the version of the asset.")]
Spoof = Annotated[
    str | None,
    Meta(description="User to act for, if the service allows it."),
]
Force = Annotated[
    bool | None, Meta(description="Continue if records can't be read; `false` if absent.")
]


class HealthCheck(Struct, frozen=True):
    """``health_check``; it has no fields."""


class CreateProject(Struct, frozen=True):
    """``create_project``; the requester owns the project unless ``permissions`` name owners."""

    project: ProjectName
    permissions: LoosePermissions | None = None


class Upload(Struct, frozen=True):
    """``upload``: publish the directory ``source`` of staging as a new version."""

    project: ProjectName
    asset: AssetName
    version: VersionName
    source: Annotated[
        str, Meta(description="Bare name of a directory in staging that the requester owns.")
    ]
    on_probation: Annotated[
        bool | None, Meta(description="Publish it on probation; `false` if absent.")
    ] = None
    consume: Annotated[
        bool | None,
        Meta(description="Remove the published files from `source`; `false` if absent."),
    ] = None
    ignore_dot: Annotated[
        bool | None,
        Meta(description="Leave out names that start with a dot; `false` if absent."),
    ] = None
    spoof: Spoof = None


class CheckUpload(Struct, frozen=True):
    """``check_upload``: ask whether an ``upload`` of this version would be allowed."""

    project: ProjectName
    asset: AssetName
    version: VersionName
    spoof: Spoof = None


class SetPermissions(Struct, frozen=True):
    """``set_permissions`` of a project, or of its ``asset``."""

    project: ProjectName
    permissions: LoosePermissions
    asset: Annotated[
        str | None, Meta(description="Name of an asset, to set its own permissions.")
    ] = None
    spoof: Spoof = None

    def without_meaning(self) -> list[str]:
        """The places of fields that only the permissions of a project have.

        In those of an asset, an entry for another asset applies to this one.
        """
        if self.asset is None:
            return []
        found = [
            f"$.permissions.uploaders[{number}].asset"
            for number, entry in enumerate(self.permissions.uploaders or ())
            if entry.asset not in (None, self.asset)
        ]
        if self.permissions.global_write is not None:
            found.append("$.permissions.global_write")
        return found


class OfVersion(Struct, frozen=True):
    """A request about one version: ``reindex_version``, ``validate_version``."""

    project: ProjectName
    asset: AssetName
    version: VersionName


class Approve(OfVersion, frozen=True):
    """``approve_probation``; with ``reviewed`` only in the state that was reviewed."""

    spoof: Spoof = None
    reviewed: Annotated[
        str | None,
        Meta(
            description="SHA-256, in hexadecimal digits, of `..summary` followed by `..manifest` "
            "of the version that was reviewed; another one is refused."
        ),
    ] = None


class Reject(OfVersion, frozen=True):
    """``reject_probation``; with ``force`` also if its records can't be read."""

    force: Force = None
    spoof: Spoof = None


class DeleteProject(Struct, frozen=True):
    """``delete_project``."""

    project: ProjectName


class DeleteAsset(Struct, frozen=True):
    """``delete_asset``; with ``force`` also if records in it can't be read."""

    project: ProjectName
    asset: AssetName
    force: Force = None


class DeleteVersion(OfVersion, frozen=True):
    """``delete_version``; with ``force`` also if its records can't be read."""

    force: Force = None


class ListJobs(Struct, frozen=True):
    """``list_jobs`` of the requester, or of ``all`` users."""

    all: Annotated[
        bool | None,
        Meta(description="List the jobs of all users; `false` if absent."),
    ] = None


class CancelJob(Struct, frozen=True):
    """``cancel_job``; ``job`` is its name, or that of its request file."""

    job: Annotated[str, Meta(description="Name of the job, or of its request file.")]


class RefreshLatest(Struct, frozen=True):
    """``refresh_latest``."""

    project: ProjectName
    asset: AssetName


class RefreshUsage(Struct, frozen=True):
    """``refresh_usage``."""

    project: ProjectName


class DeletionTarget(Struct, frozen=True):
    """A project, asset or version that will be deleted."""

    project: ProjectName
    asset: Annotated[str | None, Meta(description="Name of one of its assets.")] = None
    version: Annotated[str | None, Meta(description="Name of one version of that asset.")] = None


class RerouteLinks(Struct, frozen=True):
    """``reroute_links``; with ``dry_run`` the answer lists the changes, and none is made."""

    to_delete: Annotated[
        tuple[DeletionTarget, ...],
        Meta(description="What will be deleted; afterwards no link leads there."),
    ]
    dry_run: Annotated[
        bool | None, Meta(description="List the changes, and make none; `false` if absent.")
    ] = None


R = TypeVar("R", bound=Struct)


def check_request_name(name: str) -> None:
    """Raise :class:`~gobbler.errors.Refused` if ``name`` is no valid name of a request file."""
    if not name.startswith(REQUEST_PREFIX):
        raise Refused(
            f"the name of a request file starts with `{REQUEST_PREFIX}`, not {quoted(name)}",
            code=Code.INVALID_NAME,
        )
    if "/" in name or "\\" in name:
        raise Refused(f"{quoted(name)} is not a plain file name", code=Code.INVALID_NAME)
    if (problem := file_name_problem(name)) is not None:
        raise Refused(
            f"the name of the request file {quoted(name)} {problem}", code=Code.INVALID_NAME
        )


RELIEVING = frozenset(
    {
        "approve_probation",
        "cancel_job",
        "delete_asset",
        "delete_project",
        "delete_version",
        "refresh_latest",
        "refresh_usage",
        "reject_probation",
        "set_permissions",
    }
)
"""The actions that also work on a full disk, with the space of the reserves.

They free space, or need next to none.
"""


def action_of(name: str) -> str | None:
    """The action in the name of a request file; ``None`` if there is none."""
    if not name.startswith(REQUEST_PREFIX):
        return None
    action, dash, _ = name[len(REQUEST_PREFIX) :].partition("-")
    return action if dash else None


def decode_request(data: bytes, kind: type[R]) -> R:
    """Decode the content of a request file as a ``kind``.

    Raises :class:`~gobbler.errors.Refused` that names the place in the JSON.
    """
    with _one_large_request if len(data) > LARGE_REQUEST_BYTES else nullcontext():
        return _decoded(data, kind)


def _decoded(data: bytes, kind: type[R]) -> R:
    if depth_exceeds(data, MAX_DEPTH):
        raise _malformed(f"it is nested too deeply, in more than {MAX_DEPTH} arrays and objects")
    try:
        request = msgspec.json.decode(data, type=kind)
        data.decode()  # the decoder does not look into the text that it skips
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _malformed(describe(error, data, kind)) from None
    duplicate = duplicate_key(data)
    if duplicate is not None:
        raise _malformed(f"a key occurs twice, at `{shortened(duplicate)}`")
    return request


def _malformed(problem: str) -> Refused:
    return Refused(f"the request is not valid: {problem}", code=Code.MALFORMED_REQUEST)


class Subject(NamedTuple):
    """What a request says that it is about, and for whom: for logs and lists, unchecked.

    Empty where it says nothing. Long names are shortened.
    """

    project: str = ""
    asset: str = ""
    version: str = ""
    spoof: str = ""
    job: str = ""

    @property
    def address(self) -> str:
        """``project/asset/version`` as far as they are named, or the name of a job."""
        parts = (self.project, self.asset, self.version)
        return "/".join(part for part in parts if part) or self.job


def subject_of(data: bytes) -> Subject:
    """The subject of the request with this content; an empty one if it can't be read."""
    if not data or len(data) > MAX_REQUEST_BYTES or depth_exceeds(data, MAX_DEPTH):
        return Subject()
    try:
        found = msgspec.json.decode(data, type=_Subject)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Subject()
    values = (found.project, found.asset, found.version, found.spoof, found.job)
    return Subject(*[shortened(value) if isinstance(value, str) else "" for value in values])


class _Subject(Struct):
    project: object = None
    asset: object = None
    version: object = None
    spoof: object = None
    job: object = None
