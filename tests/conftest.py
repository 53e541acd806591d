"""What holds for every run: the environment, the order of files, and the options of the
conformance suite, which must stand here to be known.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = {"GOBBLER_SWAP_ROUNDS", "GOBBLER_SPOOL_JOBS", "GOBBLER_FAULTS_STEP"}
"""Variables for the tests, not for the software under test."""

for variable in {name for name in os.environ if name.startswith("GOBBLER_")} - OURS:
    del os.environ[variable]
# The configuration of the user who runs the tests plays no part, either.
os.environ["GOBBLER_CONFIG"] = os.devnull
# The cache and the state directory of the user who runs the tests stay untouched, too.
_data = tempfile.TemporaryDirectory(prefix="gobbler-tests-")
os.environ["XDG_DATA_HOME"] = f"{_data.name}/data"
os.environ["XDG_STATE_HOME"] = f"{_data.name}/state"

DIRECTORIES = ("service", "faults", "syscalls", "conformance", "unit")
"""In the order in which they run: files that take long come first, so that no process is left
alone with one at the end.
"""

MAX_PROCESSES = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many processes as processors: each waits for a service half of its time."""
    return min(2 * len(os.sched_getaffinity(0)), MAX_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    top = Path(__file__).parent
    ranks = {name: rank for rank, name in enumerate(DIRECTORIES)}
    items.sort(key=lambda item: ranks[item.path.relative_to(top).parts[0]])


@pytest.fixture
def removed_by_us() -> Iterator[Path]:
    """A directory for mounts and for deep trees, which pytest can't remove.

    So it is not among those that pytest makes, even if the test fails or is killed.
    """
    from gobbler.fs.removal import remove_tree  # noqa: PLC0415 - only now that variables are unset

    made = tempfile.mkdtemp(prefix="gobbler-tests-")
    yield Path(made)
    for point in reversed(_mounts_below(made)):
        subprocess.run(["umount", "--lazy", point], check=True)
    remove_tree(made)


def _mounts_below(top: str) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return sorted(point for point in points if point.startswith(f"{top}/"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "conformance suite: the service to test")
    group.addoption(
        "--service-url",
        metavar="URL",
        help="test the service at URL, its prefix included (default: start our own)",
    )
    group.addoption(
        "--staging",
        metavar="DIR",
        help="staging directory of that service (default: what its /info says)",
    )
    group.addoption(
        "--registry",
        metavar="DIR",
        help="registry of that service (default: what its /info says)",
    )
