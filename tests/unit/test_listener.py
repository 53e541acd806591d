"""The socket of a service: nobody connects before it listens, and only one process does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from gobbler.client.testing import HOST, ReservedPort
from gobbler.errors import GobblerError, Misconfigured
from gobbler.service import connections
from gobbler.service.listener import bound_socket, listen


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0


def test_nobody_connects_before_it_listens() -> None:
    with ReservedPort() as port, bound_socket(HOST, port.number) as listener:
        assert refuses(port.number)
        listen(listener, HOST, port.number)
        with socket.create_connection((HOST, port.number)):
            assert not refuses(port.number)
    assert refuses(port.number)


def test_a_port_in_use_is_reported_with_a_way_out() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"port {port} .* in use by process") as caught:
            bound_socket(HOST, port)
        assert "--port" in caught.value.hint
    bound_socket(HOST, port).close()


@pytest.mark.parametrize(("first", "second"), [(HOST, HOST), (HOST, "0.0.0.0"), ("0.0.0.0", HOST)])
def test_of_two_that_start_at_the_same_moment_one_listens(first: str, second: str) -> None:
    with (
        ReservedPort() as port,
        bound_socket(first, port.number) as one,
        bound_socket(second, port.number) as other,
    ):
        listen(one, first, port.number)
        with pytest.raises(Misconfigured, match=f"port {port.number} .* in use by process"):
            listen(other, second, port.number)
        assert not refuses(port.number)


def test_a_port_is_free_again_while_its_former_connections_end() -> None:
    with ReservedPort() as port:
        for _ in range(2):
            with bound_socket(HOST, port.number) as listener:
                listen(listener, HOST, port.number)
                with socket.create_connection((HOST, port.number)) as client:
                    listener.accept()[0].close()  # the end that waits (TIME_WAIT) is the service's
                    assert client.recv(1) == b""


def test_every_connection_has_the_limits() -> None:
    with ReservedPort() as port, bound_socket(HOST, port.number) as listener:
        listen(listener, HOST, port.number)
        with socket.create_connection((HOST, port.number)), listener.accept()[0] as accepted:
            option = connections.TCP_USER_TIMEOUT
            assert accepted.getsockopt(socket.IPPROTO_TCP, option) == 120_000


def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(Misconfigured, match=r"203\.0\.113\.1"):
        bound_socket("203.0.113.1", 8080)
    with pytest.raises(GobblerError):
        bound_socket("no such host", 8080)


TAKE_OVER = """
import os
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="gobbler")
os.dup2({descriptor}, 3)
from gobbler.service.listener import inherited_socket
assert inherited_socket().getsockname() == {address}
assert inherited_socket() is None
print([name for name in os.environb if name.startswith(b"LISTEN")])
os.execvp("env", ["env"])
"""


def test_the_variables_of_socket_activation_are_not_left_to_any_child() -> None:
    with socket.create_server((HOST, 0)) as given:
        program = TAKE_OVER.format(descriptor=given.fileno(), address=given.getsockname())
        ended = subprocess.run(
            [sys.executable, "-uc", program],
            pass_fds=[given.fileno()],
            check=True,
            capture_output=True,
            env={**os.environ, "SEEN": "1"},
        )
    nothing, *variables = ended.stdout.splitlines()
    assert nothing == b"[]"
    assert b"SEEN=1" in variables
    assert not any(line.startswith(b"LISTEN") for line in variables)
