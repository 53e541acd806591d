"""A reserved port is given to one process only, however many reserve ports at once."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from gobbler.client.testing import HOST, ReservedPort
from gobbler.errors import Fault

EACH = 40

TAKE = f"""
import sys
from gobbler.client.testing import ReservedPort
first, last = map(int, sys.argv[1:])
taken = [ReservedPort(range(first, last)) for _ in range({EACH})]
print(*(port.number for port in taken), flush=True)
sys.stdin.read()
"""


def only(port: ReservedPort) -> range:
    return range(port.number, port.number + 1)


def test_no_two_processes_get_the_same():
    # So few ports that they would, did they only look what is free.
    command = [sys.executable, "-c", TAKE, "21000", "22000"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    try:
        ingested = [int(word) for each in processes for word in each.stdout.readline().split()]
    finally:
        for process in processes:
            process.communicate()
    assert len(ingested) == len(set(ingested)) == EACH * len(processes)


def test_it_is_kept_until_it_is_released():
    with ReservedPort() as port, pytest.raises(Fault, match="free"):
        ReservedPort(only(port))
    with ReservedPort(only(port)) as again:
        assert again.number == port.number


def test_one_where_somebody_listens_is_not_given():
    with ReservedPort() as port, socket.socket() as other:
        # As one does who has not asked here.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((HOST, port.number))
        other.listen()
        port.release()
        with pytest.raises(Fault, match="free"):
            ReservedPort(only(port))


def test_a_service_can_listen_at_it():
    with ReservedPort() as port, socket.socket() as service:
        service.bind((HOST, port.number))
        service.listen()
        socket.create_connection((HOST, port.number), 30).close()
