"""Permissions that are hardly meant: refused or warned about, and how to insist."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

import pygobbler
from gobbler.client.notices import Doubtful, Ignored
from gobbler.client.testing import ReservedPort
from gobbler.errors import Code, GobblerError

pytestmark = [
    pytest.mark.usefixtures("nothing_left_in_staging"),
    pytest.mark.filterwarnings("always::gobbler.client.notices.Doubtful"),
]

ME = pwd.getpwuid(os.geteuid()).pw_name

MISSPELT = {"id": ME, "untill": "2027-01-01T00:00:00Z"}


def stored(client, project):
    return client.project(project).permissions()


@pytest.mark.parametrize("asset", [None, "a"])
@pytest.mark.parametrize("append", [True, False])
def test_a_field_that_is_not_known_is_refused(client, project, asset, append):
    before = stored(client, project)
    place = client.project(project) if asset is None else client.asset(project, asset)
    for force in (False, True):
        with pytest.raises(GobblerError, match="untill"):
            place.set_permissions(uploaders=[MISSPELT], append=append, force=force)
    with pytest.raises(GobblerError, match="untill"):
        pygobbler.set_permissions(
            project,
            client.registry,
            client.staging,
            client.url,
            asset=asset,
            uploaders=[MISSPELT],
            append=append,
        )
    assert stored(client, project) == before


def test_no_project_is_made_with_such_an_entry(client, project):
    with pytest.raises(GobblerError, match="untill"):
        client.admin.create_project(f"{project}-2", uploaders=[MISSPELT])
    with pytest.raises(GobblerError, match="untill"):
        pygobbler.create_project(f"{project}-2", client.staging, client.url, uploaders=[MISSPELT])
    assert not client.project(f"{project}-2").exists()


def test_the_last_owner_goes_only_by_force(run, client, project):
    code, out, err = run("permissions", "remove", project, "--owner", ME)
    assert (code, out) == (3, "")
    assert "--force" in err
    with pytest.raises(GobblerError) as caught:
        client.project(project).set_permissions(owners=[], append=False)
    assert caught.value.code == Code.NO_OWNER
    assert stored(client, project).owners == (ME,)
    code, out, err = run("permissions", "remove", project, "--owner", ME, "--force")
    assert code == 0
    assert "nobody owns" in err
    assert stored(client, project).owners == ()


def test_owners_of_whom_none_has_an_account_are_warned_about(run, client, project):
    """Also if they were owners before: nobody else is left."""
    run("permissions", "add", project, "--owner", "no-such-user")
    code, _, err = run("permissions", "remove", project, "--owner", ME)
    assert code == 0
    assert stored(client, project).owners == ("no-such-user",)
    assert "none of the owners has an account" in err


def test_a_project_without_an_owner_is_made_only_by_force(client, project):
    with pytest.raises(GobblerError) as caught:
        client.admin.create_project(f"{project}-2", owners=[])
    assert caught.value.code == Code.NO_OWNER
    with pytest.warns(Doubtful, match="nobody owns"):
        client.admin.create_project(f"{project}-2", owners=[], force=True)


def test_pygobbler_does_what_it_did_and_warns(client, project):
    with pytest.warns(Doubtful, match="nobody owns"):
        pygobbler.set_permissions(
            project, client.registry, client.staging, client.url, owners=[], append=False
        )
    assert stored(client, project).owners == ()


@pytest.mark.parametrize(
    "words",
    [("create-project", "{}-2"), ("permissions", "add", "{}"), ("permissions", "set", "{}")],
)
def test_several_owners_in_one_are_refused(run, client, project, words):
    command = [word.format(project) for word in words]
    for option in ("--owner", "--uploader"):
        code, out, err = run(*command, option, f"{ME},ada")
        assert (code, out) == (3, "")
        assert f'"{ME}", "ada"' in err
    assert stored(client, project).owners == (ME,)
    assert not client.project(f"{project}-2").exists()


def test_an_owner_without_an_account_is_warned_about(run, client, project):
    code, _, err = run("permissions", "add", project, "--owner", "no-such-user")
    assert code == 0
    assert 'owner "no-such-user" has no account' in err
    with pytest.warns(Doubtful, match="no-such-user-2"):
        client.project(project).set_permissions(owners=["no-such-user-2"])
    with pytest.warns(Doubtful, match="no-such-user-3"):
        client.asset(project, "a").set_permissions(uploaders=[{"id": "no-such-user-3"}])


def test_what_a_service_ignores_is_told(client, project):
    with pytest.warns(Ignored, match=r"\$\.permissions\.Owners"):
        client.connection.request("set_permissions", project=project, permissions={"Owners": []})
    with pytest.warns(Ignored, match="global_write"):
        client.asset(project, "a").set_permissions(global_write=True)


@pytest.mark.parametrize(
    "entry",
    [
        '{"id": "%s", "untill": "2027-01-01T00:00:00Z"}',
        '{"id": "%s", "trusted ": true}',
        '{"id": "%s", "asset": "a", "asset": "b"}',
        '{"id": "%s", "trusted": "true"}',
    ],
)
@pytest.mark.parametrize("command", ["add", "set", "remove"])
def test_the_command_takes_no_entry_that_it_does_not_understand(
    run, client, project, command, entry
):
    client.project(project).set_permissions(uploaders=[{"id": ME}])
    before = stored(client, project)
    code, out, _ = run("permissions", command, project, "--uploader", entry % ME)
    assert (code, out) == (2, "")
    assert stored(client, project) == before


def test_what_is_stored_already_is_no_hindrance(run, service, client, project):
    """An entry of another service may be odd; others can be removed all the same."""
    path = Path(service.registry, project, "a", "..permissions")
    path.parent.mkdir()
    path.write_text('{"owners": ["a,b"], "uploaders": [{"id": " x", "asset": "z"}, {"id": "y"}]}')
    code, _, err = run("permissions", "remove", f"{project}/a", "--uploader", "y")
    assert code == 0
    assert "uploaders[0].asset" in err, "it is dropped, since it has no meaning there"
    assert [entry.id for entry in client.asset(project, "a").permissions().uploaders] == [" x"]


def test_a_service_warns_of_administrators_without_an_account(tmp_path):
    for name, mode in (("staging", 0o1777), ("registry", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (tmp_path / "spoof").write_text(f"no-such-spoofer:{ME},no-such-other\n{ME}:*,-x\n")
    with ReservedPort() as port:
        command = [sys.executable, "-m", "gobbler", "serve", "--port", str(port.number)]
        command += [f"--{name}={tmp_path / name}" for name in ("staging", "registry", "spoof")]
        command += ["--admin", f"{ME},no-such-admin"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as serving:
            assert serving.stdout is not None
            named = set()
            for line in serving.stdout:
                named |= {
                    name
                    for name in ("admin", "spoofer", "other")
                    if f'"no-such-{name}" has no account' in line.decode()
                }
                if len(named) == 3:
                    break
            serving.terminate()
            rest = serving.stdout.read().decode()
    assert named == {"admin", "spoofer", "other"}
    assert f'"{ME}" has no account' not in rest


@pytest.mark.parametrize("user", ['["%s"]', '"%s"', "*", "[%s]"])
def test_what_looks_like_json_is_no_user(run, client, project, user):
    text = user.replace("%s", ME)
    for option in ("--uploader", "--owner"):
        code, out, err = run("permissions", "add", project, option, text)
        assert (code, out) == (3, "")
        assert "is no name of a user" in err
    assert stored(client, project).owners == (ME,)
