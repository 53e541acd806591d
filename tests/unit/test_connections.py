"""What the kernel knows of connections, and the limits that it keeps for them."""

from __future__ import annotations

import socket

from gobbler.service import connections


def test_limits_of_the_listener_are_those_of_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections.limit_connections(server)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            for option, value in (
                (connections.TCP_USER_TIMEOUT, 120_000),
                (connections.TCP_NOTSENT_LOWAT, connections.UNSENT),
            ):
                assert accepted.getsockopt(socket.IPPROTO_TCP, option) == value
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_kernel_says_what_a_client_has_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as accepted,
    ):
        before = connections.taken(accepted)
        accepted.sendall(b"x" * 1000)
        assert client.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
        after = connections.taken(accepted)
        assert before is not None
        assert after is not None
        assert after >= before
    assert connections.taken(accepted) is None
