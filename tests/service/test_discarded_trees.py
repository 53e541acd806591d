"""The files of deleted versions go after the answer, whatever happens to the service meanwhile."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from pathlib import Path

import pytest

from gobbler.fs.open import DIRECTORY
from gobbler.registry.discarded import FEW_ENTRIES, Freed, discard, discarded_trees

from .processes import Place, Running, interpreter, own_name, upload_of, wait_for
from .test_metrics import read

FILES = 3 * FEW_ENTRIES
VERSION = {"project": "p", "asset": "a", "version": "1"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def discarded(place: Place, size: int) -> str:
    """A discarded tree of project p, as a process left it that was killed; its path."""
    tree = place.registry / "..incoming/left/tree"
    tree.mkdir(parents=True)
    for number in range(FILES):
        (tree / str(number)).touch()
    before = discarded_trees(str(place.registry))
    discard(str(tree.parent), Freed("p", size))
    (made,) = [tree for tree in discarded_trees(str(place.registry)) if tree not in before]
    return f"{place.registry}/..incoming/{made.name}"


def test_they_are_removed_after_the_answer_and_told_of_until_then(place: Place) -> None:
    with Running(place) as service:
        service.succeed("create_project", {"project": "p"})
        source = place.stage({f"d/{number}": b"x" for number in range(FILES)})
        service.succeed("upload", upload_of(source))
        # Another service is at this one, as far as this service can know.
        path = f"{place.registry}/held"
        os.makedirs(f"{path}/tree")
        held = os.open(path, DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
        for number in range(FILES):
            Path(path, "tree", str(number)).touch()
        os.rename(path, f"{place.registry}/..incoming/held")
        discard(f"{place.registry}/..incoming/held", Freed("p", 4096))
        answer = service.succeed("refresh_usage", {"project": "p"})
        assert (answer["total"], answer["removing"]) == (FILES, 4096)
        found = read(service)
        assert found["gobbler_discarded_trees", "registry"] == 1
        assert found["gobbler_discarded_bytes", "registry"] == 4096

        service.succeed("delete_version", VERSION)
        assert not (place.registry / "p/a/1").exists()
        wait_for("the other files to go", lambda: len(place.incoming()) == 1)
        os.close(held)
        discarded(place, 7)
        wait_for("all files to go", lambda: place.incoming() == [])
        assert "removing" not in service.succeed("refresh_usage", {"project": "p"})
        assert read(service)["gobbler_discarded_removed_total", ""] >= 3 * FILES


def test_what_a_killed_service_has_left_is_removed_by_the_next(place: Place) -> None:
    with Running(place, "--workers=1"):
        pass
    tree = discarded(place, 1)
    with Running(place):
        wait_for("the files to go", lambda: not os.path.exists(tree))
    assert place.incoming() == []


def test_a_worker_without_http_removes_them_too(place: Place) -> None:
    with Running(place):
        pass
    tree = discarded(place, 1)
    python, environment = interpreter(None)
    command = [python, "-m", "gobbler", "worker", f"--admin={own_name()}"]
    command += [f"--staging={place.staging}", f"--registry={place.registry}"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            wait_for("the files to go", lambda: not os.path.exists(tree))
        finally:
            worker.send_signal(signal.SIGTERM)
