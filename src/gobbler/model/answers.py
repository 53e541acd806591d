"""Bodies of answers as types, and what is told of each action, for the description of the API.

The actions answer plain dicts, which are no part of these types: a test holds what is
answered against what is told here.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from gobbler.model.jobs import JobState
from gobbler.model.records import Size


class Success(Struct, frozen=True):
    """It is done, and survives a power cut."""

    status: Literal["SUCCESS"]


class LatestFound(Success, frozen=True):
    """What `refresh_latest` answers."""

    version: Annotated[
        str | UnsetType, Meta(description="The latest version; absent if the asset has none.")
    ] = UNSET


class UsageCounted(Success, frozen=True, kw_only=True):
    """What `refresh_usage` answers."""

    total: Annotated[Size, Meta(description="Bytes that the project takes; links take none.")]
    usage: Annotated[Size, Meta(description="The same.")]


class LinkChanged(Struct, frozen=True):
    """What became of one link, so that something that it led to can be deleted."""

    path: Annotated[str, Meta(description="Path of the link in the registry.")]
    copy: Annotated[
        bool, Meta(description="Whether a copy of the file takes its place; else it leads on.")
    ]
    source: Annotated[str, Meta(description="The file to be deleted that made it necessary.")]
    usage: Annotated[Size, Meta(description="Bytes that this adds to the project.")]


class LinksRerouted(Success, frozen=True, kw_only=True):
    """What `reroute_links` answers."""

    changes: tuple[LinkChanged, ...]


class JobsListed(Success, frozen=True, kw_only=True):
    """What `list_jobs` answers: jobs of the last seven days."""

    jobs: tuple[JobState, ...]


class JobCancelled(Success, frozen=True, kw_only=True):
    """What `cancel_job` answers: the job is being given up; its state tells when it is."""

    job: str


class Accepted(Struct, frozen=True):
    """The request is kept as a job, also across a restart of the service."""

    status: Literal["ACCEPTED"]
    job: Annotated[str, Meta(description="Name of the job.")]
    address: Annotated[str, Meta(description="Where its state is told: the path of the URL.")]


class Failure(Struct, frozen=True):
    """It was not done, and nothing has changed."""

    status: Literal["ERROR"]
    reason: Annotated[
        str, Meta(description="What is wrong and what to do next, for people; it may change.")
    ]
    code: Annotated[
        str,
        Meta(
            description="What is wrong, as one of the words in `x-codes`, for programs; it never "
            "changes its meaning."
        ),
    ]
    problems: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(description="All that is wrong, one by one: only from `validate_version`."),
    ] = UNSET


class Info(Struct, frozen=True):
    """Where the service has its directories, on its own host."""

    staging: Annotated[str, Meta(description="Absolute path of the staging directory.")]
    registry: Annotated[str, Meta(description="Absolute path of the registry.")]


class Root(Struct, frozen=True):
    """Which service this is."""

    name: Literal["gobbler API"]
    version: Annotated[str, Meta(description="Version of the software.")]


class Shared(Struct, frozen=True):
    """What another version has in common with the one that is asked about.

    Contents are counted once each, however many files of a version have it, and not if they
    are empty.
    """

    version: Annotated[str, Meta(description="The other: `{project}/{asset}/{version}`.")]
    files: Annotated[Size, Meta(description="Different contents that both have.")]
    size: Annotated[Size, Meta(description="Bytes of these.")]
    stored: Annotated[
        Size, Meta(description="Bytes of those that the other stores itself, rather than links to.")
    ]


class LinksFound(Struct, frozen=True):
    """What is linked to a version, and what has the same content."""

    links: Annotated[
        tuple[LinkChanged, ...],
        Meta(
            description="Links of other versions to files of this one, and what `reroute_links` "
            "would make of each: those with `copy` have no other place to lead to."
        ),
    ]
    shared: Annotated[
        tuple[Shared, ...], Meta(description="Other versions that have some of its contents.")
    ]


class ActionDoc(NamedTuple):
    """What is told of an action: who may do it, what it does, and the type of its answer."""

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
        "the job's owner, administrators",
        "The job is given up and all of it put back; it may still succeed if it was about to "
        "be published.",
        JobCancelled,
    ),
    "create_project": ActionDoc(
        ADMINISTRATOR, "Makes a project; its owner is the requester unless it says otherwise."
    ),
    "delete_asset": ActionDoc(
        ADMINISTRATOR, "Removes an asset with all its versions; one that is not there is a success."
    ),
    "delete_project": ActionDoc(
        ADMINISTRATOR, "Removes a project with all in it; one that is not there is a success."
    ),
    "delete_version": ActionDoc(
        ADMINISTRATOR,
        "Removes a version; one that is not there is a success. Links of other versions to its "
        "files break unless they were rerouted.",
    ),
    "health_check": ActionDoc(
        "anyone", "Nothing: whoever gets the answer knows that requests work."
    ),
    "list_jobs": ActionDoc(
        "anyone their own, administrators all",
        "Tells the jobs of the last seven days.",
        JobsListed,
    ),
    "refresh_latest": ActionDoc(
        ADMINISTRATOR, "Finds anew which version is the latest.", LatestFound
    ),
    "refresh_usage": ActionDoc(
        ADMINISTRATOR, "Counts anew how many bytes a project takes.", UsageCounted
    ),
    "reindex_version": ActionDoc(
        ADMINISTRATOR, "Makes manifest and links anew from the files that are there."
    ),
    "reject_probation": ActionDoc(f"{OWNER}, who uploaded it", "Removes a version on probation."),
    "reroute_links": ActionDoc(
        ADMINISTRATOR,
        "Leads links of all other versions around what is to be deleted: to where its links "
        "lead, or to a copy.",
        LinksRerouted,
    ),
    "set_permissions": ActionDoc(
        OWNER,
        "Each of `owners`, `uploaders` and `global_write` that is given replaces what is stored.",
    ),
    "upload": ActionDoc(
        "owners, uploaders whose entry matches; anyone to a new asset of a project with "
        "`global_write`",
        "Publishes a directory of staging as a new version, whole or not at all.",
    ),
    "validate_version": ActionDoc(
        ADMINISTRATOR,
        "Compares a version with its records, every byte of it, and changes nothing. What is "
        "wrong is a 400, all of it in `problems`.",
    ),
}
"""The actions, by the name that a request file asks with."""
