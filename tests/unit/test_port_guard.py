"""One service at an address, of several that start at the same moment."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys

import pytest

from gobbler.service.port_guard import _name, alone_at


def test_the_second_is_not_alone_until_the_first_has_ended() -> None:
    host = secrets.token_hex(8)
    with alone_at(host, 1) as first:
        assert first
        for _ in range(3):
            with alone_at(host, 1) as second:
                assert not second
        for other in ((host, 2), (f"{host}x", 1), (host * 100, 1)):
            with alone_at(*other) as elsewhere:
                assert elsewhere
    with alone_at(host, 1) as first:
        assert first


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_another_account_that_takes_the_name_keeps_nobody_out() -> None:
    host = secrets.token_hex(8)
    name = _name(os.geteuid(), host, 1)
    program = (
        "import os, socket, sys\nos.setuid(65534)\n"
        f"held = socket.socket(socket.AF_UNIX)\nheld.bind({name!r})\n"
        "if sys.argv[1] == 'listening': held.listen(1)\n"
        "print(flush=True); sys.stdin.read()"
    )
    for how in ("listening", "silent"):
        holder = subprocess.Popen(
            [sys.executable, "-c", program, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        with alone_at(host, 1) as alone:
            assert alone
        holder.communicate(b"")


def test_a_queue_that_is_full_blocks_nobody() -> None:
    host = secrets.token_hex(8)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(_name(os.geteuid(), host, 1))
        held.listen(0)
        waiting = []
        while True:
            asking = socket.socket(socket.AF_UNIX)
            asking.setblocking(False)
            waiting.append(asking)
            if asking.connect_ex(held.getsockname()) != 0:
                break
        with alone_at(host, 1):
            pass
        for each in waiting:
            each.close()
