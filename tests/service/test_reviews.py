"""What a client approves is what it has shown, on disk and over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from gobbler.client import Client, Version
from gobbler.errors import Code, GobblerError

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")


@pytest.fixture(params=[False, True], ids=["mounted", "remote"])
def reviewer(request, service, tmp_path) -> Client:
    """A client that reads the registry on disk, or over HTTP."""
    return Client(service.url, cache=tmp_path / "cache", force_remote=request.param)


@pytest.fixture
def replace(client, project, source, tmp_path):
    """Publish the version on probation; again: reject it, and publish other content."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "evil").write_text("nobody saw this")
    address = f"{project}/a/beta"
    client.upload(address, source, probation=True)

    def replace(back: bool = False) -> Version:
        client.version(address).reject()
        client.upload(address, source if back else other, probation=True)
        return client.version(address)

    return replace


WAYS = {
    "the manifest": lambda version: version.manifest(),
    "the manifest, fetched again": lambda version: version.manifest(overwrite=True),
    "the files": lambda version: version.files(),
    "a directory": lambda version: version.directory(),
    "their names": list,
    "their number": len,
    "a search": lambda version: "foo" in version,
    "the changes": lambda version: version.diff({}),
    "a review": lambda version: version.review(),
    "the content": lambda version: version.fetch(),
}


@pytest.mark.parametrize("show", WAYS.values(), ids=WAYS)
def test_what_was_shown_is_approved_and_nothing_else(reviewer, client, project, replace, show):
    show(reviewer.version(f"{project}/a/beta"))
    replace()
    with pytest.raises(GobblerError) as caught:
        reviewer.version(f"{project}/a/beta").approve()
    assert caught.value.code == Code.NOT_REVIEWED
    version = client.version(f"{project}/a/beta")
    assert version.summary(overwrite=True).on_probation
    show(reviewer.version(f"{project}/a/beta"))
    reviewer.version(f"{project}/a/beta").approve()
    assert not version.summary(overwrite=True).on_probation


def test_a_summary_that_was_shown_is_approved_and_no_other(
    reviewer, service, client, project, replace
):
    version = reviewer.version(f"{project}/a/beta")
    version.summary()
    replace()
    path = Path(service.registry, project, "a", "beta", "..summary")
    path.write_text(path.read_text().replace("T", "t"))  # as if it was not the same second
    with pytest.raises(GobblerError) as caught:
        version.approve()
    assert caught.value.code == Code.NOT_REVIEWED


def test_files_that_are_opened_do_not_count_as_a_new_review(reviewer, project, replace):
    version = reviewer.version(f"{project}/a/beta")
    version.files()
    replace()
    version._reader.forget(version.key)  # both were published within the same second
    with version.open("evil") as file:
        assert file.read() == "nobody saw this"
    with pytest.raises(GobblerError) as caught:
        version.approve()
    assert caught.value.code == Code.NOT_REVIEWED


def test_a_review_is_remembered_among_many(reviewer, client, project, source, replace):
    reviewer.version(f"{project}/a/beta").manifest()
    for number in range(12):
        client.upload(f"{project}/b/{number}", source)
        reviewer.version(f"{project}/b/{number}").manifest()
    replace()
    with pytest.raises(GobblerError) as caught:
        reviewer.version(f"{project}/a/beta").approve()
    assert caught.value.code == Code.NOT_REVIEWED


def test_without_a_review_the_present_version_is_approved(reviewer, client, project, replace):
    replace()
    reviewer.version(f"{project}/a/beta").approve()
    assert not client.version(f"{project}/a/beta").summary(overwrite=True).on_probation


@pytest.mark.parametrize("as_text", [False, True])
def test_a_review_can_be_given(reviewer, project, replace, as_text):
    review = reviewer.version(f"{project}/a/beta").review()
    replace()
    version = reviewer.version(f"{project}/a/beta")
    version.manifest()  # shown by now, but not what is given
    for given in (review, review.digest, "0" * 64):
        with pytest.raises(GobblerError) as caught:
            version.approve(reviewed=given)
        assert caught.value.code == Code.NOT_REVIEWED
    with pytest.raises(GobblerError, match="not a digest"):
        version.approve(reviewed="latest")
    now = version.review()
    version.approve(reviewed=now.digest if as_text else now)


def test_the_command_approves_the_digest_that_was_listed(run, as_json, client, project, replace):
    listed = as_json("probation", "list", project)["versions"][0]["digest"]
    assert run("probation", "list", project)[1].strip().endswith(listed)
    assert as_json("show", f"{project}/a/beta")["digest"] == listed
    assert listed in run("show", f"{project}/a/beta")[1]
    replace()
    code, out, err = run("probation", "approve", f"{project}/a/beta", "--digest", listed)
    assert (code, out) == (3, "")
    assert "not the one that was reviewed" in err
    assert client.version(f"{project}/a/beta").summary().on_probation
    listed = as_json("probation", "list", project)["versions"][0]["digest"]
    code, out, _ = run("probation", "approve", f"{project}/a/beta", "--digest", listed)
    assert code == 0
    assert out.splitlines()[0] == f"approved {project}/a/beta"
    assert f"digest    {listed}" in out.splitlines()
    assert "digest" not in as_json("show", f"{project}/a/beta")


def test_the_command_shows_what_it_approves(run, as_json, project, replace):
    digest = as_json("probation", "list", project)["versions"][0]["digest"]
    shown = as_json("probation", "approve", f"{project}/a/beta")
    assert shown["digest"] == digest
    assert shown["upload_user_id"]
    assert shown["stored"]["files"] > 0
    assert run("probation", "approve", f"{project}/a/beta", "--digest", "x")[0] == 3
