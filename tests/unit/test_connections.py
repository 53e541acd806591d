"""The sockets of this process."""

from __future__ import annotations

import os
import socket

import pytest

from gobbler.service import connections


@pytest.mark.parametrize("listed", [True, False])
def test_a_connection_is_found_by_its_ends(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    if not listed:  # as in a container without `/proc`

        def listdir(path: str) -> list[str]:
            raise FileNotFoundError(path)

        monkeypatch.setattr(os, "listdir", listdir)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            ends = (*client.getsockname(), port)
            found = connections.find({ends, ("127.0.0.1", 1, port)})
            assert list(found) == [ends]
            with found[ends] as ours:
                connections.break_off(ours)
            assert client.recv(1) == b""
