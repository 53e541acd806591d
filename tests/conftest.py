"""Options of the conformance suite; they must stand here to be known in every run."""

from __future__ import annotations

import os
import tempfile

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
