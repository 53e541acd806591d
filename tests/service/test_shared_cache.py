"""One directory as the cache of several accounts, one of which means harm."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gobbler.client import Client
from gobbler.client.cache.entries import entries

from .processes import account, identity, interpreter

ADA, MALLORY = "gtada", "gtmallory"

FETCH = """
import sys
from pathlib import Path
from gobbler.client import Client
url, cache, at = sys.argv[1:]
client = Client(url, cache=cache, force_remote=True)
tree = client.fetch_directory(at)
file = client.fetch_file(at + "/foo")
with client.version(at).open("foo") as opened:
    print(opened.read(), Path(tree, "foo").read_text(), Path(file).read_text())
print(tree)
print(file)
"""


@pytest.fixture
def published(client, project, source) -> str:
    client.upload(project, "a", "1", source)
    return f"{project}/a/1"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that all accounts can reach."""
    for name in (ADA, MALLORY):
        account(name)
    made = Path(tempfile.mkdtemp(prefix="gobbler-shared-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def shared(place: Path) -> Path:
    made = place / "cache"
    made.mkdir()
    made.chmod(0o1777)
    return made


@pytest.fixture
def act(service, published) -> Callable[..., Any]:
    """Run a program as an account; its output."""

    def act(user: str, program: str, *words: object, umask: int = 0o022) -> str:
        python, environment = interpreter(user)
        done = subprocess.run(
            [python, "-c", program, *map(str, words)],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            umask=umask,
            **identity(user),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return act


@pytest.fixture
def fetch(act, service, published):
    """Fetch the version as an account; check what it got, and return both paths."""

    def fetch(user: str, cache: Path, **options: Any) -> tuple[Path, Path]:
        first, tree, file = act(user, FETCH, service.url, cache, published, **options).splitlines()
        assert first == "BAR BAR BAR"
        for path in (tree, file):
            assert os.lstat(path).st_uid == account(user)
        return Path(tree), Path(file)

    return fetch


@pytest.mark.parametrize(
    ("mode", "owner", "umask"),
    [
        (0o1777, "root", 0o022),
        (0o1777, ADA, 0o077),
        (0o1777, MALLORY, 0o000),
        (0o777, "root", 0o002),
        (0o1733, "root", 0o027),
    ],
)
def test_the_first_user_locks_out_nobody(shared, fetch, mode, owner, umask):
    os.chown(shared, account(owner) if owner != "root" else 0, -1)
    shared.chmod(mode)
    for user in (ADA, MALLORY, ADA):
        fetch(user, shared, umask=umask)


def test_each_sees_ones_own(shared, fetch, act, published):
    tree, _ = fetch(ADA, shared)
    other, _ = fetch(MALLORY, shared)
    assert tree != other
    assert tree.is_relative_to(shared)
    assert other.is_relative_to(shared)
    listed = act(
        ADA,
        "import sys\nfrom gobbler.client.cache.entries import entries\n"
        "print([entry.place for entry in entries(sys.argv[1])])",
        shared,
    )
    assert str(tree) in listed
    assert str(other) not in listed
    assert entries(str(shared)) == []


PLANT = """
import os, shutil, sys
top, tree, file, home, how = sys.argv[1:]
for real in (tree, file):
    # What the other had there, as far as it is visible, but with another content.
    place = real
    while not os.path.isdir(os.path.dirname(place)):
        place = os.path.dirname(place)
    if how == "files":
        os.makedirs(real if real == tree else os.path.dirname(real), exist_ok=True)
        target = real + "/foo" if real == tree else real
        open(target, "w").write("evil")
        os.chmod(target, 0o777)
    elif not os.path.lexists(place) and not os.path.islink(os.path.dirname(place)):
        os.symlink(home, place)
    above = os.path.dirname(place)
    while len(above) > len(top):
        if not os.path.islink(above) and os.lstat(above).st_uid == os.geteuid():
            os.chmod(above, 0o777)
        above = os.path.dirname(above)
"""


@pytest.mark.parametrize("how", ["files", "links"])
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_what_is_planted_is_neither_believed_nor_followed(place, shared, fetch, act, how, mode):
    shared.chmod(mode)
    home = place / "home"
    home.mkdir()
    os.chown(home, account(ADA), -1)
    home.chmod(0o755)
    # Where the files will be shows a first run, which is removed again.
    tree, file = fetch(ADA, shared)
    for made in shared.iterdir():
        shutil.rmtree(made)
    act(MALLORY, PLANT, shared, tree, file, home, how)
    before = sorted(shared.rglob("*"))
    assert before
    again, _ = fetch(ADA, shared)
    assert again != tree
    assert fetch(ADA, shared)[0] == again
    assert list(home.iterdir()) == []
    assert set(before) <= set(shared.rglob("*"))


def test_a_service_directory_of_a_former_release(shared, fetch, act, service, published):
    """It stood in the shared directory itself."""
    tree, _ = fetch(ADA, shared)
    (user,) = shared.iterdir()
    (service_directory,) = user.iterdir()
    assert stat.S_IMODE(user.stat().st_mode) == 0o700
    former = shared / service_directory.name
    service_directory.rename(former)
    os.chown(former, account(MALLORY), -1)
    fetch(ADA, shared)
    assert fetch(ADA, shared)[0] == tree


SWAP = """
import os, sys, time
top, home = sys.argv[1:]
print("ready", flush=True)
end = time.monotonic() + 8
while time.monotonic() < end:
    for name in os.listdir(top):
        path = f"{top}/{name}"
        if not name.startswith("user-") or os.path.islink(path):
            continue
        try:
            os.rename(path, f"{top}/away")
            os.symlink(home, path)
            time.sleep(0.001)
            os.unlink(path)
            os.rename(f"{top}/away", path)
        except OSError:
            pass
        time.sleep(0.002)
"""

FETCH_OFTEN = """
import sys
from pathlib import Path
from gobbler.client import Client
from gobbler.errors import GobblerError
url, cache, at = sys.argv[1:]
for _ in range(40):
    client = Client(url, cache=cache, force_remote=True)
    try:
        client.fetch_directory(at, overwrite=True)
        client.fetch_file(at + "/foo", overwrite=True)
    except (GobblerError, OSError) as error:
        print(type(error))
"""


def test_who_owns_the_directory_can_not_lead_a_write_elsewhere(
    place, shared, act, service, published
):
    os.chown(shared, account(MALLORY), -1)
    home = place / "home"
    home.mkdir()
    os.chown(home, account(ADA), -1)
    python, environment = interpreter(MALLORY)
    swapping = subprocess.Popen(
        [python, "-c", SWAP, str(shared), str(home)],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        **identity(MALLORY),
    )
    try:
        assert swapping.stdout.readline() == b"ready\n"
        act(ADA, FETCH_OFTEN, service.url, shared, published)
    finally:
        swapping.kill()
        swapping.communicate()
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not shutil.which("setfacl"), reason="needs setfacl")
def test_a_cache_that_an_acl_lets_another_write_is_shared(shared, fetch):
    os.chown(shared, account(ADA), -1)
    shared.chmod(0o755)
    subprocess.run(["setfacl", "-m", f"u:{MALLORY}:rwx", shared], check=True)
    tree, _ = fetch(ADA, shared)
    assert f"user-{account(ADA)}" in tree.parts


def test_a_cache_of_ones_own_stays_where_it_is(remote, published, tmp_path):
    place = Path(remote.fetch_directory(published))
    assert place.relative_to(tmp_path / "cache").parts[1] == "trees"
    (tmp_path / "cache").chmod(0o1777)
    again = Client(remote.url, cache=tmp_path / "cache", force_remote=True)
    assert Path(again.fetch_directory(published)) != place
