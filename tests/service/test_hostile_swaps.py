"""Users who swap what is theirs for a link, at any moment, gain nothing by it.

Real accounts: the service has its own, and so has the user, whose process does nothing but
swap. ``GOBBLER_SWAP_ROUNDS`` sets how many requests are sent in each test (see ``ROUNDS``).
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .processes import Place, Running, account, public_place, upload_of
from .swapping import Swapper

__all__ = ["public_place"]

SERVICE, HOSTILE, VICTIM = "gtservice", "gtbob", "gtalice"

ROUNDS = int(os.environ.get("GOBBLER_SWAP_ROUNDS", "60"))

MINE, SECRET, PUBLISHED = "mine", "only the service may read this", "published before"

FILES: dict[str, bytes | int] = {"d/a": MINE.encode(), "b": MINE.encode()}


@pytest.fixture
def running(public_place: Place) -> Iterator[Running]:
    """A service as an account of its own, and a version that it has published before."""
    for path in (public_place.staging, public_place.registry):
        os.chown(path, account(SERVICE), -1)
    with Running(public_place, user=SERVICE) as service:
        service.succeed("create_project", {"project": "p", "permissions": {"owners": [HOSTILE]}})
        before = public_place.stage({"d/a": PUBLISHED.encode()}, account(HOSTILE))
        service.succeed("upload", upload_of(before, "before"), account(HOSTILE))
        yield service


@pytest.fixture
def secret(public_place: Place) -> Path:
    """A directory like the source of the hostile user, which only the service can enter."""
    top = public_place.top / "secret"
    (top / "d").mkdir(parents=True)
    for path in (top / "d/a", top / "b"):
        path.write_text(SECRET)
        path.chmod(0o600)
    for path in (*top.rglob("*"), top):
        os.chown(path, account(SERVICE), -1)
    top.chmod(0o700)
    return top


def link(path: Path, target: Path) -> Path:
    """A link of the hostile user."""
    path.symlink_to(target)
    os.chown(path, account(HOSTILE), -1, follow_symlinks=False)
    return path


def must_work(running: Running) -> None:
    """The service is up, and does what the hostile user may ask for."""
    source = running.place.stage(FILES, account(HOSTILE))
    running.succeed("upload", upload_of(source, "after"), account(HOSTILE))


def test_for_the_request_file_of_an_administrator(running: Running) -> None:
    place = running.place
    theirs = place.write_request("create_project", {"project": "theirs"})
    name = place.write_request("create_project", {"project": "mine"}, account(HOSTILE))
    trap = link(place.staging / "trap", place.staging / theirs)
    seen: Counter[int] = Counter()
    with Swapper(HOSTILE, place.staging / name, trap) as swapper:
        for _ in range(ROUNDS):
            # A second old is as good as new, and a minute old would be refused as expired.
            for path in (place.staging / name, place.staging / theirs):
                os.utime(path, follow_symlinks=False)
            os.utime(trap, follow_symlinks=False)
            seen[running.post(name).status_code] += 1
    assert set(seen) == {400, 403}, seen  # as a link, and as what only administrators may
    assert swapper.swaps > ROUNDS
    assert not (place.registry / "mine").exists()
    assert not (place.registry / "theirs").exists()
    assert running.post(theirs).status_code == 200  # nobody else has used it up
    must_work(running)


def upload_all_the_time(running: Running, source: str, **options: bool) -> Counter[int]:
    """Upload ``source`` in each round; how often each status was answered.

    Whatever is published is the hostile user's own.
    """
    seen: Counter[int] = Counter()
    for number in range(ROUNDS):
        payload = upload_of(source, f"r{number}", **options)
        response = running.ask("upload", payload, account(HOSTILE))
        seen[response.status_code] += 1
        check(running, number, response)
    return seen


def check(running: Running, number: int, response: requests.Response) -> None:
    version = running.place.registry / f"p/a/r{number}"
    assert SECRET not in response.text
    assert version.exists() == (response.status_code == 200)
    for path in version.rglob("*"):
        if path.is_file() and not path.name.startswith(".."):
            assert path.resolve().is_relative_to(running.place.registry)
            assert path.read_text() == MINE, path


@pytest.mark.parametrize("swapped", ["", "d", "b"], ids=["source", "directory", "file"])
def test_for_what_only_the_service_can_read(running: Running, secret: Path, swapped: str) -> None:
    place = running.place
    source = place.stage(FILES, account(HOSTILE))
    trap = link(place.staging / "trap", secret / swapped)
    with Swapper(HOSTILE, place.staging / source / swapped, trap) as swapper:
        seen = upload_all_the_time(running, source)
    assert set(seen) <= {200, 400}, seen
    assert seen[400]
    assert swapper.swaps > ROUNDS
    must_work(running)


def test_for_a_directory_of_another_user_in_ones_own(running: Running) -> None:
    """A directory that the hostile user may rename, but not read; only the service may."""
    place = running.place
    source = place.stage({**FILES, "..theirs/a": SECRET.encode()}, account(HOSTILE))
    theirs = place.staging / source / "..theirs"
    for path, mode in ((theirs / "a", 0o644), (theirs, 0o700)):
        os.chown(path, account(VICTIM), -1)
        path.chmod(mode)
    subprocess.run(["setfacl", "-m", f"u:{SERVICE}:rx", theirs], check=True)
    with Swapper(HOSTILE, place.staging / source / "d", theirs) as swapper:
        seen = upload_all_the_time(running, source)
    assert set(seen) <= {200, 400}, seen
    assert seen[400]
    assert swapper.swaps > ROUNDS
    must_work(running)


def test_for_the_source_of_another_user(running: Running) -> None:
    place = running.place
    theirs = place.stage({"d/a": SECRET.encode(), "b": SECRET.encode()}, account(VICTIM))
    source = place.stage(FILES, account(HOSTILE))
    trap = link(place.staging / "trap", place.staging / theirs)
    with Swapper(HOSTILE, place.staging / source, trap) as swapper:
        seen = upload_all_the_time(running, source)
    assert set(seen) <= {200, 400, 403}, seen
    assert seen[400]
    assert swapper.swaps > ROUNDS
    must_work(running)


def test_for_a_published_version_that_a_consume_would_empty(running: Running) -> None:
    place = running.place
    before = place.registry / "p/a/before"
    source = place.stage(FILES, account(HOSTILE))
    top = place.staging / source
    (top / "d").chmod(0o777)  # or the service could take nothing away
    # Nobody else may write at the top, or it would not be the user's own.
    done = subprocess.run(["setfacl", "-m", f"u:{SERVICE}:rwx", top], capture_output=True)
    if done.returncode:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    running.succeed("upload", upload_of(source, "taken", consume=True), account(HOSTILE))
    for path in (top / "d/a", top / "b"):
        assert not path.exists(), "the service takes files away"
        path.write_text(MINE)
        os.chown(path, account(HOSTILE), -1)
    trap = link(place.staging / "trap", before / "d")
    refill = {top / "d/a": MINE, top / "b": MINE}
    with Swapper(HOSTILE, top / "d", trap, refill) as swapper:
        seen = upload_all_the_time(running, source, consume=True)
    assert set(seen) <= {200, 400}, seen
    assert seen[400]
    assert swapper.swaps > ROUNDS
    assert (before / "d/a").read_text() == PUBLISHED
    running.succeed("validate_version", {"project": "p", "asset": "a", "version": "before"})
    must_work(running)
