"""How an account may stand to a project, from the strongest to the weakest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .accounts import ALICE, BOB
from .addresses import naming
from .service import Service

ADMIN = "an administrator"
PROJECT_OWNER = "an owner of the project"
ASSET_OWNER = "an owner of the asset"
OWN_UPLOADER = "the one who uploaded the version"
UPLOADER = "an uploader of the project"
ASSET_UPLOADER = "an uploader of the asset"
OTHER_ASSET_OWNER = "an owner of another asset"
OTHER_PROJECT_OWNER = "an owner of another project"
STRANGER = "a stranger"

ROLES = (
    ADMIN,
    PROJECT_OWNER,
    ASSET_OWNER,
    OWN_UPLOADER,
    UPLOADER,
    ASSET_UPLOADER,
    OTHER_ASSET_OWNER,
    OTHER_PROJECT_OWNER,
    STRANGER,
)

TRUSTED = {"id": ALICE, "trusted": True}

OF_PROJECT: dict[str, dict[str, Any]] = {
    PROJECT_OWNER: {"owners": [BOB, ALICE]},
    OWN_UPLOADER: {"uploaders": [{"id": ALICE, "asset": "asset"}]},
    UPLOADER: {"uploaders": [TRUSTED]},
}

OF_ASSET: dict[str, dict[str, Any]] = {
    ASSET_OWNER: {"owners": [BOB, ALICE]},
    ASSET_UPLOADER: {"uploaders": [TRUSTED]},
}


@dataclass(frozen=True)
class Scene:
    """A project with ``asset/1``, final, and ``asset/2``, on probation; who asks for things."""

    project: str
    user: str | None


def set_scene(service: Service, role: str) -> Scene:
    """A new project to which the account that asks stands as ``role`` says."""
    project = service.new_project(**{"owners": [BOB], **OF_PROJECT.get(role, {})})
    service.upload(f"{project}/asset/1", {"one": b"1"})
    uploader = ALICE if role == OWN_UPLOADER else None
    service.upload(f"{project}/asset/2", {"two": b"22"}, uploader, on_probation=True)
    if role in OF_ASSET:
        payload = naming(f"{project}/asset", permissions=OF_ASSET[role])
        service.succeed("set_permissions", payload)
    if role == OTHER_ASSET_OWNER:
        payload = naming(f"{project}/other", permissions={"owners": [ALICE]})
        service.succeed("set_permissions", payload)
    if role == OTHER_PROJECT_OWNER:
        service.new_project(owners=[ALICE])
    return Scene(project, None if role == ADMIN else ALICE)
