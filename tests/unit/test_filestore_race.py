"""Forty processes race for files and are killed at random: none is lost, none handled twice.

``FILESTORE_RACE_FILES`` (default 2000) sets how many files there are,
``FILESTORE_RACE_ROUNDS`` (default 1) how often each race is run; from 2 on, the races of
several hosts have as many files, and a long one is added.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from gobbler.filestore import FileStore

from . import racing

FILES = int(os.environ.get("FILESTORE_RACE_FILES", "2000"))
ROUNDS = int(os.environ.get("FILESTORE_RACE_ROUNDS", "1"))
CLAIMANTS = 40
PATIENCE = 120 + FILES / 10

ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")

OTHER_BOOT = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"'

SHELL_WRITER = """
set -e
cd "$1"
i=0
while [ $i -lt "$2" ]; do
    echo "shell-$i" > "tmp/shell-$i"
    mv "tmp/shell-$i" "new/shell-$i"
    i=$((i+1))
done
"""


@pytest.fixture(params=range(ROUNDS), ids=lambda number: f"round {number + 1}")
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    FileStore(tmp_path / "store").prepare()
    return tmp_path


@contextmanager
def host(
    place: Path, *options: str, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    command = [*prefix, sys.executable, racing.__file__, str(place), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as it:
        try:
            yield it
        finally:
            if it.poll() is None:
                os.killpg(it.pid, signal.SIGKILL)


def publish_all(place: Path, files: int) -> set[str]:
    """By a shell and by Python, while the race goes on."""
    by_shell = files // 10
    store = FileStore(place / "store")
    command = ["sh", "-c", SHELL_WRITER, "sh", str(store.path), str(by_shell)]
    with subprocess.Popen(command) as shell:
        names = [f"python-{number}" for number in range(files - by_shell)]
        for name in names:
            with store.publish(name) as file:
                file.write(name)
    assert shell.returncode == 0
    return {*names, *(f"shell-{number}" for number in range(by_shell))}


def wait_until_handled(place: Path, hosts: list[subprocess.Popen[str]]) -> None:
    store = FileStore(place / "store")
    deadline = time.monotonic() + PATIENCE
    while store.list("new") or store.list("cur"):
        for each in hosts:
            assert each.poll() is None, each.stderr and each.stderr.read()
        assert time.monotonic() < deadline, (store.list("new"), os.listdir(store.path / "cur"))
        time.sleep(0.05)


def stop(place: Path, hosts: list[subprocess.Popen[str]]) -> None:
    (place / "stop").touch()
    for each in hosts:
        _, errors = each.communicate(timeout=PATIENCE)
        assert (each.returncode, errors) == (0, "")


def judge(place: Path, published: set[str]) -> None:
    logs = list((place / "logs").iterdir())
    assert len(logs) > CLAIMANTS, "nobody was killed"
    stays: dict[str, list[list[tuple[str, int]]]] = {name: [] for name in published}
    for log in logs:
        for line in log.read_text().splitlines():
            name, what, when = line.split()
            if what == "begun":
                stays[name].append([])
            stays[name][-1].append((what, int(when)))
    for name, claims in stays.items():
        reported = [what for claim in claims for what, _ in claim]
        assert "handled" in reported, f"{name} was lost"
        assert reported.count("done") <= 1, f"{name} was done twice"
        assert "damaged" not in reported, name
        claims.sort(key=lambda claim: claim[0][1])
        for before, after in pairwise(claims):
            # A killed process shows nothing after its last report.
            assert before[-1][1] < after[0][1], f"{name} was handled twice at a time: {claims}"
    again = sum(len(claims) > 1 for claims in stays.values())
    print(f"\n{len(published)} files, {len(logs)} claimants, {again} files claimed more than once")
    store = FileStore(place / "store")
    assert store.requeue(silence=0) == []
    assert store.list("tmp") == store.list("new") == store.list("cur") == []


def test_on_one_host(place: Path) -> None:
    with host(place, "--claimants", str(CLAIMANTS), "--pause", "0.004") as it:
        published = publish_all(place, FILES)
        wait_until_handled(place, [it])
        stop(place, [it])
    judge(place, published)


def run_on_two_hosts(place: Path, *options: str, own_boots: bool) -> None:
    """Two hosts; one of them dies as a whole, and another one comes."""
    if os.geteuid() != 0:
        pytest.skip("only root can make PID namespaces")
    files = FILES if ROUNDS > 1 else FILES // 4  # these take longer
    half = ("--claimants", str(CLAIMANTS // 2), "--pause", "0.01", *options)

    def new_host(name: str) -> subprocess.Popen[str]:
        prefix: tuple[str, ...] = ELSEWHERE
        if own_boots:
            (place / f"boot-{name}").write_text(f"boot of {name}\n")
            prefix = (*ELSEWHERE, "sh", "-c", OTHER_BOOT, "sh", str(place / f"boot-{name}"))
        return stack.enter_context(host(place, *half, "--hostname", name, prefix=prefix))

    with ExitStack() as stack:
        possible = subprocess.run([*ELSEWHERE, "true"], capture_output=True, text=True)
        if possible.returncode != 0:
            pytest.skip(f"no PID namespaces here: {possible.stderr}")
        stays, dies = new_host("stays"), new_host("dies")
        while len(list(place.glob("up-*"))) < 2:
            assert stays.poll() is None, stays.stderr and stays.stderr.read()
            assert dies.poll() is None, dies.stderr and dies.stderr.read()
            time.sleep(0.01)
        published = publish_all(place, files)
        os.killpg(dies.pid, signal.SIGKILL)
        dies.wait()
        comes = new_host("comes")
        wait_until_handled(place, [stays, comes])
        stop(place, [stays, comes])
    judge(place, published)


def test_on_two_hosts_that_share_only_the_directory(place: Path) -> None:
    run_on_two_hosts(place, own_boots=False)


def test_on_two_hosts_that_were_booted_apart(place: Path) -> None:
    # Here a free lock proves nothing; a lock that is held does.
    run_on_two_hosts(place, "--silence", "0.5", own_boots=True)


@pytest.mark.skipif(ROUNDS == 1, reason="takes long: set FILESTORE_RACE_ROUNDS to more than 1")
def test_on_two_hosts_where_locks_succeed_for_everybody(place: Path) -> None:
    run_on_two_hosts(place, "--silence", "15", "--without-locks", own_boots=True)
