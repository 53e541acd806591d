"""Options of the conformance suite; they must stand here to be known in every run."""

from __future__ import annotations

import pytest


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
