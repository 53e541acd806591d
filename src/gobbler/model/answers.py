"""Types of the answers, and the documentation of each action, for the OpenAPI description.

The actions answer plain dicts; a test compares them with these types.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from gobbler.model.jobs import JobState
from gobbler.model.records import Size


class Success(Struct, frozen=True):
    """The request succeeded, and its change survives a power cut."""

    status: Literal["SUCCESS"]
    ignored: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(description="Fields of the request that have no meaning there, by their places."),
    ] = UNSET


class Warned(Success, frozen=True, kw_only=True):
    """The answer of `create_project`, `set_permissions` and `upload`."""

    warnings: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(description="What users should know although it succeeded: texts, which may change."),
    ] = UNSET


class LatestFound(Success, frozen=True):
    """The answer of `refresh_latest`."""

    version: Annotated[
        str | UnsetType, Meta(description="The latest version; absent if the asset has none.")
    ] = UNSET


class UsageCounted(Success, frozen=True, kw_only=True):
    """The answer of `refresh_usage`."""

    total: Annotated[Size, Meta(description="Bytes that the project uses; links use none.")]
    usage: Annotated[Size, Meta(description="The same as `total`.")]
    removing: Annotated[
        Size | UnsetType,
        Meta(
            description="Bytes of versions that were deleted, whose files the service is still "
            "removing; absent if there are none. `total` is without them."
        ),
    ] = UNSET


Problems = Annotated[
    tuple[str, ...] | UnsetType,
    Meta(
        description="Manifests that can't be read. Their versions have no links there, by the "
        "files on disk; their contents are unknown."
    ),
]


class UploadAllowed(Success, frozen=True, kw_only=True):
    """The answer of `check_upload`: at this moment, the upload is allowed."""

    trusted: Annotated[
        bool, Meta(description="`false`: the version would be on probation until it is approved.")
    ]


class LinkChanged(Struct, frozen=True):
    """The change of one link that leads into what will be deleted."""

    path: Annotated[str, Meta(description="Path of the link in the registry.")]
    copy: Annotated[
        bool,
        Meta(description="`true`: a copy replaces the link; `false`: it leads elsewhere."),
    ]
    source: Annotated[str, Meta(description="The file whose deletion causes the change.")]
    usage: Annotated[Size, Meta(description="Bytes that the change adds to the project's usage.")]


class LinksRerouted(Success, frozen=True, kw_only=True):
    """The answer of `reroute_links`."""

    changes: tuple[LinkChanged, ...]
    problems: Problems = UNSET


class JobsListed(Success, frozen=True, kw_only=True):
    """The answer of `list_jobs`: jobs of the last seven days, without their answers."""

    jobs: tuple[JobState, ...]
    left_out: Annotated[Size, Meta(description="Number of older jobs that are not listed.")]


class JobCancelled(Success, frozen=True, kw_only=True):
    """The answer of `cancel_job`; the state of the job says when it is cancelled."""

    job: str


class Accepted(Struct, frozen=True):
    """The request is a job now, which survives a restart of the service."""

    status: Literal["ACCEPTED"]
    job: Annotated[str, Meta(description="Name of the job.")]
    address: Annotated[str, Meta(description="Path of the URL of its state.")]


class Failure(Struct, frozen=True):
    """The request failed, and nothing has changed."""

    status: Literal["ERROR"]
    reason: Annotated[
        str,
        Meta(description="The problem, and what to do next. A text for users, which may change."),
    ]
    code: Annotated[
        str,
        Meta(description="The kind of problem: one of `x-codes`, whose meaning never changes."),
    ]
    problems: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(description="The first 10,000 problems that `validate_version` found."),
    ] = UNSET


class Info(Struct, frozen=True):
    """The directories of the service, on its own host."""

    staging: Annotated[str, Meta(description="Absolute path of the staging directory.")]
    registry: Annotated[str, Meta(description="Absolute path of the registry.")]


class Root(Struct, frozen=True):
    """The name and the version of the service, and what it can do."""

    name: Literal["gobbler API"]
    version: Annotated[str, Meta(description="Version of the software.")]
    actions: Annotated[tuple[str, ...], Meta(description="The actions that it carries out.")]


class Shared(Struct, frozen=True):
    """The contents that another version shares with this one.

    Each content counts once, however many files have it. Empty files do not count.
    """

    version: Annotated[str, Meta(description="The other version: `{project}/{asset}/{version}`.")]
    files: Annotated[Size, Meta(description="Number of contents that both versions have.")]
    size: Annotated[Size, Meta(description="Bytes of these contents.")]
    stored: Annotated[
        Size, Meta(description="Bytes of those that the other version stores itself.")
    ]


class LinksFound(Struct, frozen=True):
    """Links to a version, and versions with the same contents."""

    links: Annotated[
        tuple[LinkChanged, ...],
        Meta(
            description="Links of other versions to files of this one, and how "
            "`reroute_links` would change each."
        ),
    ]
    shared: Annotated[
        tuple[Shared, ...], Meta(description="Other versions with some of the same contents.")
    ]
    problems: Problems = UNSET


class DirectoryHealth(Struct, frozen=True):
    """Whether the service can use a directory."""

    usable: bool
    reason: Annotated[str | UnsetType, Meta(description="Why not.")] = UNSET
    code: Annotated[str | UnsetType, Meta(description="Why not: one of `x-codes`.")] = UNSET
    free_bytes: Annotated[
        int | UnsetType, Meta(description="Space that the service's account can still use.")
    ] = UNSET


class HealthChecks(Struct, frozen=True):
    """What the service needs to work."""

    registry: DirectoryHealth
    staging: DirectoryHealth
    spool: DirectoryHealth


class HealthFound(Struct, frozen=True):
    """Whether the service can work now."""

    status: Literal["SUCCESS", "ERROR"]
    reason: Annotated[str | UnsetType, Meta(description="What can't be used, and why.")] = UNSET
    code: Annotated[str | UnsetType, Meta(description="`unhealthy` or `stopping`.")] = UNSET
    checks: Annotated[
        HealthChecks | UnsetType, Meta(description="Absent while the service is stopping.")
    ] = UNSET


class ActionDoc(NamedTuple):
    """The documentation of an action: who may do it, what it does, and the type of its answer."""

    who: str
    effect: str
    answer: type[Success] = Success


ADMINISTRATOR = "administrators"
OWNER = "owners of the project, or of the asset"

ACTION_DOCS: dict[str, ActionDoc] = {
    "approve_probation": ActionDoc(
        OWNER, "The version becomes final, and the latest if none was uploaded later."
    ),
    "cancel_job": ActionDoc(
        "the owner of the job, administrators",
        "Cancels the job and rolls it back. A job that is about to be published may still succeed.",
        JobCancelled,
    ),
    "check_upload": ActionDoc(
        "anyone",
        "Fails as an `upload` by the same user would: the project is missing, the version exists, "
        "or the user may not. Changes nothing.",
        UploadAllowed,
    ),
    "create_project": ActionDoc(
        ADMINISTRATOR,
        "Creates a project, owned by the requester unless the request names owners.",
        Warned,
    ),
    "delete_asset": ActionDoc(
        ADMINISTRATOR, "Removes an asset with all its versions. Succeeds if there is none."
    ),
    "delete_project": ActionDoc(
        ADMINISTRATOR, "Removes a project with all its assets. Succeeds if there is none."
    ),
    "delete_version": ActionDoc(
        ADMINISTRATOR,
        "Removes a version. Succeeds if there is none. Links of other versions to its files break "
        "unless they were rerouted.",
    ),
    "health_check": ActionDoc("anyone", "Does nothing; an answer shows that the service works."),
    "list_jobs": ActionDoc(
        "anyone, for their own jobs; administrators, for all jobs",
        "Lists the jobs of the last seven days.",
        JobsListed,
    ),
    "refresh_latest": ActionDoc(
        ADMINISTRATOR, "Recomputes which version is the latest.", LatestFound
    ),
    "refresh_usage": ActionDoc(
        ADMINISTRATOR, "Recomputes how many bytes a project uses.", UsageCounted
    ),
    "reindex_version": ActionDoc(
        ADMINISTRATOR, "Rebuilds manifest and links from the files on disk."
    ),
    "reject_probation": ActionDoc(
        f"{OWNER}; the uploader of the version", "Removes a version on probation."
    ),
    "reroute_links": ActionDoc(
        ADMINISTRATOR,
        "Redirects the links of all other versions that lead into what will be deleted, or "
        "replaces them by copies.",
        LinksRerouted,
    ),
    "set_permissions": ActionDoc(
        OWNER,
        "Replaces each of `owners`, `uploaders` and `global_write` that the request gives.",
        Warned,
    ),
    "upload": ActionDoc(
        "owners; uploaders whose entry matches; anyone, to a new asset of a project with "
        "`global_write`",
        "Publishes a directory of staging as a new version, whole or not at all.",
        Warned,
    ),
    "validate_version": ActionDoc(
        ADMINISTRATOR,
        "Compares every byte of a version with its records, and changes nothing. The "
        "answer for an invalid version is a 400, with the first 10,000 problems in `problems`.",
    ),
}
"""The actions by name, as in the name of a request file."""
