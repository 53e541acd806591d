"""The request that each change sends, and how the client reads the answer."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable

import pytest
import requests

from gobbler.client import Client, LinkChange, NewPermissions, RequestFailed
from gobbler.client.permissions import appended, new_permissions
from gobbler.model.records import Permissions, Uploader
from gobbler.model.requests import DeletionTarget, action_of

VERSION = {"project": "p", "asset": "a", "version": "v"}


@pytest.fixture
def asked(web, tmp_path, acting_service):
    """Call something of a client; answer its result, and the action and fields of the request."""
    staging = tmp_path / "staging"
    registry = tmp_path / "registry"
    staging.mkdir()
    (registry / "p" / "a").mkdir(parents=True)
    (registry / "p" / "..permissions").write_text(
        '{"owners": ["ada", "grace"], "uploaders": [{"id": "alan", "trusted": true}]}'
    )
    client = Client(web.url, staging=staging, registry=registry)

    def asked(call: Callable[[Client], object], *, answer: object = None):
        reported = json.dumps({"status": "SUCCESS", **(answer or {})})
        service = acting_service(staging, body=reported)
        result = call(client)
        assert os.listdir(staging) == []
        ((name, _, fields),) = service.requests or [("", 0, None)]
        return result, action_of(name), fields

    return asked


@pytest.mark.parametrize(
    ("call", "action", "fields"),
    [
        (lambda c: c.version(*"pav").approve(), "approve_probation", VERSION),
        (
            lambda c: c.version(*"pav").approve(spoof="x"),
            "approve_probation",
            VERSION | {"spoof": "x"},
        ),
        (lambda c: c.version(*"pav").reject(), "reject_probation", VERSION | {"force": False}),
        (
            lambda c: c.version(*"pav").reject(force=True, spoof="x"),
            "reject_probation",
            VERSION | {"force": True, "spoof": "x"},
        ),
        (lambda c: c.admin.delete_project("p"), "delete_project", {"project": "p"}),
        (
            lambda c: c.admin.delete_asset(*"pa"),
            "delete_asset",
            {"project": "p", "asset": "a", "force": False},
        ),
        (
            lambda c: c.admin.delete_version(*"pav", force=True),
            "delete_version",
            VERSION | {"force": True},
        ),
        (lambda c: c.admin.reindex_version(*"pav"), "reindex_version", VERSION),
        (lambda c: c.admin.validate_version(*"pav"), "validate_version", VERSION),
    ],
)
def test_calls_without_an_answer(asked, call, action, fields):
    assert asked(call) == (None, action, fields)


def test_refreshing(asked):
    fields = {"project": "p", "asset": "a"}
    assert asked(lambda c: c.admin.refresh_latest("p", "a"), answer={"version": "2"}) == (
        "2",
        "refresh_latest",
        fields,
    )
    assert asked(lambda c: c.admin.refresh_latest("p", "a"))[0] is None
    assert asked(lambda c: c.admin.refresh_usage("p"), answer={"total": 12, "usage": 12}) == (
        12,
        "refresh_usage",
        {"project": "p"},
    )


def test_rerouting(asked):
    change = {"path": "p/a/2/x", "copy": True, "source": "p/a/1/x", "usage": 3}
    to_delete = [DeletionTarget("p", "a"), {"project": "q"}]
    got, action, fields = asked(
        lambda c: c.admin.reroute_links(to_delete), answer={"changes": [change]}
    )
    assert got == [LinkChange("p/a/2/x", True, "p/a/1/x", 3)]
    assert action == "reroute_links"
    assert fields["dry_run"] is False
    assert [entry.get("asset") for entry in fields["to_delete"]] == ["a", None]
    # A Go service has null where nothing is changed.
    got, _, fields = asked(
        lambda c: c.admin.reroute_links([], dry_run=True), answer={"changes": None}
    )
    assert (got, fields) == ([], {"to_delete": [], "dry_run": True})


@pytest.mark.parametrize(
    ("method", "args", "answer", "place"),
    [
        ("refresh_usage", ["p"], {}, "total"),
        ("refresh_usage", ["p"], {"total": "12"}, r"\$\.total"),
        ("refresh_latest", ["p", "a"], {"version": 1}, r"\$\.version"),
        ("reroute_links", [[]], {"changes": [{"path": "x"}]}, r"\$\.changes\[0\]"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(asked, method, args, answer, place):
    with pytest.raises(RequestFailed, match=rf"{method} can't be read: .*{place}"):
        asked(lambda c: getattr(c.admin, method)(*args), answer=answer)


def test_setting_permissions(asked):
    alan = {"id": "alan", "trusted": True}
    bob = {"id": "bob", "until": "2999-01-01T00:00:00Z"}

    def sent(*names: str, **options: object):
        def call(client: Client) -> object:
            owned = client.project(*names) if len(names) == 1 else client.asset(*names)
            return owned.set_permissions(**options)

        result, action, fields = asked(call)
        assert action == "set_permissions"
        assert isinstance(result, NewPermissions)
        return fields

    given = {"owners": ["bob", "ada", "bob"], "uploaders": [bob, alan]}
    assert sent("p", **given) == {
        "project": "p",
        "permissions": {"owners": ["ada", "grace", "bob"], "uploaders": [alan, bob, alan]},
    }
    assert sent("p", **given, append=False)["permissions"] == given
    assert sent("p", owners=[])["permissions"] == {"owners": ["ada", "grace"]}
    assert sent("p", owners=[], append=False, force=True)["permissions"] == {"owners": []}
    assert sent("p", uploaders=[Uploader("bob")])["permissions"] == {
        "uploaders": [alan, {"id": "bob"}]
    }
    assert sent("p", global_write=False)["permissions"] == {"global_write": False}
    # An asset without permissions of its own.
    assert sent("p", "a", owners=["bob"], spoof="ada") == {
        "project": "p",
        "asset": "a",
        "permissions": {"owners": ["bob"]},
        "spoof": "ada",
    }


def test_a_dry_run_asks_for_nothing(asked):
    result, action, _ = asked(
        lambda c: c.project("p").set_permissions(owners=["bob"], dry_run=True)
    )
    assert result == NewPermissions(owners=("ada", "grace", "bob"))
    assert action is None


def test_what_only_replaces_need_not_read(web, tmp_path, acting_service):
    acting_service(tmp_path)
    client = Client(web.url, staging=tmp_path, registry="/nowhere", force_remote=True)
    client.project("p").set_permissions(owners=["x"], append=False)
    client.project("p").set_permissions(global_write=True)
    assert [path for path in web.seen if path.startswith("/fetch")] == []


def test_appending_to_nothing():
    new = new_permissions(["b", "a", "b"], None)
    assert appended(Permissions(), new) == NewPermissions(owners=("b", "a"))


def test_all_problems_of_a_version_are_on_the_error(web, tmp_path, acting_service):
    reported = {"status": "ERROR", "reason": "2 problems: x; y", "problems": ["x", "y"]}
    acting_service(tmp_path, 400, json.dumps(reported))
    with pytest.raises(requests.HTTPError, match=r"^2 problems: x; y$") as caught:
        Client(web.url, staging=tmp_path).admin.validate_version("p", "a", "v")
    assert isinstance(caught.value, RequestFailed)
    assert caught.value.problems == ["x", "y"]
    assert pickle.loads(pickle.dumps(caught.value)).problems == ["x", "y"]


@pytest.mark.parametrize("more", [{}, {"problems": None}, {"problems": "x"}])
def test_no_list_of_problems(web, tmp_path, acting_service, more):
    acting_service(tmp_path, 400, json.dumps({"status": "ERROR", "reason": "wrong", **more}))
    with pytest.raises(RequestFailed, match=r"^wrong$") as caught:
        Client(web.url, staging=tmp_path).admin.validate_version("p", "a", "v")
    assert caught.value.problems == []
