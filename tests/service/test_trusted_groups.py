"""``--trust-groups``: a site whose users work in common groups."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess

import pytest
import requests

from .processes import Place, Running, account, public_place, upload_of, wait_for

__all__ = ["public_place"]

ALICE, BOB = "gtalice", "gtbob"


def make_common(running: Running, names: list[str]) -> None:
    for name in names:
        path = running.place.staging / name
        os.chown(path, -1, grp.getgrnam("users").gr_gid)
        path.chmod(0o2775 if path.is_dir() else 0o664)


@pytest.mark.parametrize("trusted", [False, True])
def test_the_members_of_a_group_act_for_each_other(public_place: Place, trusted: bool) -> None:
    uid = account(ALICE)
    account(BOB)
    with Running(public_place, *(["--trust-groups"] if trusted else [])) as running:
        running.succeed("create_project", {"project": "p", "permissions": {"owners": [ALICE]}})
        source = public_place.stage({"f": b"x"}, uid)
        name = public_place.write_request("upload", upload_of(source), uid)
        make_common(running, [name])
        statuses = [running.post(name).status_code]
        make_common(running, [source])
        statuses.append(running.ask("upload", upload_of(source, "2"), uid).status_code)
        make_common(running, [waiting := public_place.write_request("health_check", {}, uid)])
        new = public_place.staging / "..spool/new" / waiting
        (public_place.staging / waiting).rename(new)
        statuses.append(ended(running, f"{uid}-{waiting}"))
        assert statuses == ([200, 200, 200] if trusted else [400, 400, 400])
        # Everybody, and users by name, remain what they are.
        name = public_place.write_request("health_check", {}, uid)
        (public_place.staging / name).chmod(0o666)
        assert running.post(name).status_code == 400
        if shutil.which("setfacl"):
            path = public_place.staging / public_place.write_request("health_check", {}, uid)
            if subprocess.run(["setfacl", "-m", f"u:{BOB}:rw", path]).returncode == 0:
                assert running.post(path.name).status_code == 400


def ended(running: Running, job: str) -> object:
    def answer() -> object:
        state = requests.get(f"{running.url}/jobs/{job}", timeout=60).json()
        return state.get("answer", {}).get("http_status")

    return wait_for("the end of a job", answer)
